//! The kinds of problem: a word for programs, a status, a line for people and what to do.
//!
//! Invariants: a code has one status; no code is renamed or given another meaning, for clients branch on
//! it.

use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

macro_rules! codes {
    ($(#[doc = $title:literal] $name:ident = $text:literal, $status:ident, $advice:literal;)*) => {
        /// What kind of thing went wrong: for programs, and never renamed.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, ToSchema)]
        #[serde(rename_all = "snake_case")]
        pub enum Code {
            $(#[doc = $title] $name),*
        }

        impl Code {
            /// Every code, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The written form.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text),* }
            }

            /// The HTTP status that goes with it.
            pub const fn status(self) -> StatusCode {
                match self { $(Self::$name => StatusCode::$status),* }
            }

            /// What it means, in one line.
            pub const fn title(self) -> &'static str {
                match self { $(Self::$name => $title.trim_ascii()),* }
            }

            /// What a client does about it; for the page of errors.
            pub const fn advice(self) -> &'static str {
                match self { $(Self::$name => $advice),* }
            }
        }
    };
}

codes! {
    /// The request is not as documented
    Invalid = "invalid", BAD_REQUEST,
        "Mend what `errors` names and send it again; sent unchanged, it is refused again.";
    /// Nobody is signed in
    Unauthenticated = "unauthenticated", UNAUTHORIZED,
        "Send an API token that is neither revoked nor expired, or sign in. Which of these it was is not said.";
    /// The session's request does not come from its own page
    CrossSite = "cross_site", FORBIDDEN,
        "A browser's session changes something only with `Origin` of the gate's own page and with `x-csrf-token` as \
         `GET /api/auth/status` gives it. Programs use an API token instead.";
    /// The token does not have the scope
    ScopeMissing = "scope_missing", FORBIDDEN,
        "Create a token that has the scope; a token's scopes are never changed.";
    /// This takes another role
    Forbidden = "forbidden", FORBIDDEN,
        "You may see this, but not do it: ask whoever has the role that `detail` names.";
    /// There is no such thing, or none that you may see
    NotFound = "not_found", NOT_FOUND,
        "Look at the id and at whose account asks: what one has no part in is answered as if it were not there.";
    /// The path does not take this method
    MethodNotAllowed = "method_not_allowed", METHOD_NOT_ALLOWED,
        "The header `Allow` names the methods that the path takes.";
    /// What is stored is against it
    Conflict = "conflict", CONFLICT,
        "Read the thing again, and decide anew whether the change still makes sense.";
    /// It is over or used up
    Gone = "gone", GONE,
        "Ask for a new one: an invite, a link.";
    /// The invite was good for seven days, which are over
    InviteExpired = "invite_expired", GONE,
        "Ask the agent's owner for a new one. Only the account of the invited address hears this.";
    /// The invite was revoked, or replaced by a newer one
    InviteRevoked = "invite_revoked", GONE,
        "Look for a newer link, or ask the agent's owner for one. Only the account of the invited address hears this.";
    /// The invite was used
    InviteUsed = "invite_used", GONE,
        "`GET /api/agents` shows what you are a member of. Only the account of the invited address hears this.";
    /// It was changed by somebody else since you saw it
    PreconditionFailed = "precondition_failed", PRECONDITION_FAILED,
        "Read the thing again, make your change on what it is now, and send that with the new `ETag`.";
    /// It is not of the version that you saw
    VersionMismatch = "version_mismatch", PRECONDITION_FAILED,
        "Read the policy again, make your change on what it is now, and send that with the new `ETag`.";
    /// The version that was seen is not given
    VersionMissing = "version_missing", PRECONDITION_REQUIRED,
        "Send the `ETag` that you were given as `If-Match`, or its number as `version`: so nobody's change is undone.";
    /// The body is too large
    TooLarge = "too_large", PAYLOAD_TOO_LARGE,
        "Send less: no route takes more than 256 KiB.";
    /// The body has another media type than documented
    UnsupportedMediaType = "unsupported_media_type", UNSUPPORTED_MEDIA_TYPE,
        "Send JSON with `Content-Type: application/json`, not compressed.";
    /// The request is well formed, but cannot be carried out as it is
    Rejected = "rejected", UNPROCESSABLE_ENTITY,
        "`detail` and `errors` say what stands against it.";
    /// Too many requests
    RateLimited = "rate_limited", TOO_MANY_REQUESTS,
        "Wait as many seconds as `Retry-After` says.";
    /// The change is stored, but something after it failed
    Partial = "partial", INTERNAL_SERVER_ERROR,
        "Do not repeat it blindly: look whether it holds. The operator finds the cause in the log under `requestId`.";
    /// The gate failed
    Internal = "internal", INTERNAL_SERVER_ERROR,
        "The operator finds the cause in the log under `requestId`.";
    /// This release does not have it yet
    NotImplemented = "not_implemented", NOT_IMPLEMENTED,
        "Nothing was done. The changelog will name the release that has it.";
    /// Not now
    Unavailable = "unavailable", SERVICE_UNAVAILABLE,
        "Wait as many seconds as `Retry-After` says; before repeating a change, look whether it was made.";
}
