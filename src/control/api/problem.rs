//! What goes wrong, in one shape: problem details (RFC 9457) with a code of ours, what to do, and the
//! request's id.
//!
//! Invariants: a code has one status; no text holds a secret or a name of the store; what only the
//! operator can mend names the request's id, under which the log says more.

use std::time::Duration;

use axum::response::IntoResponse;
use http::{HeaderValue, Response, StatusCode, header};
use serde::Serialize;
use utoipa::ToSchema;

use crate::control::{AdminFault, FaultKind};
use crate::store::StoreError;

/// Media type of problem details (RFC 9457, 3).
pub const MEDIA_TYPE: &str = "application/problem+json";

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal, $status:ident;)*) => {
        /// What kind of thing went wrong: for programs, and never renamed.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, ToSchema)]
        #[serde(rename_all = "snake_case")]
        pub enum Code {
            $($(#[doc = $doc])+ $name),*
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
                match self { $(Self::$name => concat!($($doc),+)),* }
            }
        }
    };
}

codes! {
    /// The request is not as documented
    Invalid = "invalid", BAD_REQUEST;
    /// Nobody is signed in
    Unauthenticated = "unauthenticated", UNAUTHORIZED;
    /// The session's request does not come from its own page
    CrossSite = "cross_site", FORBIDDEN;
    /// The token does not have the scope
    ScopeMissing = "scope_missing", FORBIDDEN;
    /// This takes another role
    Forbidden = "forbidden", FORBIDDEN;
    /// There is no such thing, or none that you may see
    NotFound = "not_found", NOT_FOUND;
    /// The path does not take this method
    MethodNotAllowed = "method_not_allowed", METHOD_NOT_ALLOWED;
    /// What is stored is against it
    Conflict = "conflict", CONFLICT;
    /// It is over or used up
    Gone = "gone", GONE;
    /// The invite was good for seven days, which are over
    InviteExpired = "invite_expired", GONE;
    /// The invite was revoked, or replaced by a newer one
    InviteRevoked = "invite_revoked", GONE;
    /// The invite was used
    InviteUsed = "invite_used", GONE;
    /// It was changed by somebody else since you saw it
    PreconditionFailed = "precondition_failed", PRECONDITION_FAILED;
    /// The body is too large
    TooLarge = "too_large", PAYLOAD_TOO_LARGE;
    /// The body has another media type than documented
    UnsupportedMediaType = "unsupported_media_type", UNSUPPORTED_MEDIA_TYPE;
    /// The request is well formed, but cannot be carried out as it is
    Rejected = "rejected", UNPROCESSABLE_ENTITY;
    /// Too many requests
    RateLimited = "rate_limited", TOO_MANY_REQUESTS;
    /// The change is stored, but something after it failed
    Partial = "partial", INTERNAL_SERVER_ERROR;
    /// The gate failed
    Internal = "internal", INTERNAL_SERVER_ERROR;
    /// This release does not have it yet
    NotImplemented = "not_implemented", NOT_IMPLEMENTED;
    /// Not now
    Unavailable = "unavailable", SERVICE_UNAVAILABLE;
}

/// One value of the request that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct FieldProblem {
    /// Where: `query.limit`, `body.name`, `path.id`.
    pub field: String,
    /// What is wrong with it.
    pub detail: String,
}

/// A request that was not carried out.
#[derive(Debug, Clone)]
pub struct Problem {
    code: Code,
    detail: String,
    help: Option<String>,
    fields: Vec<FieldProblem>,
    retry_after: Option<Duration>,
}

/// Problem details (RFC 9457).
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Problem)]
pub(super) struct ProblemBody {
    /// Names the kind; a page says more.
    #[serde(rename = "type")]
    #[schema(rename = "type", example = "/api/docs/errors#not_found")]
    kind: String,
    /// The kind in words; the same for each.
    title: &'static str,
    /// The HTTP status.
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    code: Code,
    /// What went wrong this time.
    detail: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    help: Option<String>,
    /// Values of the request that are wrong.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldProblem>,
    /// Under which the gate's log names this request; also in the header `x-request-id`.
    request_id: String,
}

impl Problem {
    /// A problem of this kind.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), help: None, fields: Vec::new(), retry_after: None }
    }

    /// The request is wrong.
    pub fn invalid(detail: impl Into<String>) -> Self {
        Self::new(Code::Invalid, detail)
    }

    /// One value of the request is wrong.
    pub fn field(field: impl Into<String>, detail: impl Into<String>) -> Self {
        let (field, detail) = (field.into(), detail.into());
        let mut problem = Self::new(Code::Invalid, format!("`{field}`: {detail}"));
        problem.fields.push(FieldProblem { field, detail });
        problem
    }

    /// There is no such thing, or none that this caller may see.
    pub fn not_found(noun: &str) -> Self {
        Self::new(Code::NotFound, format!("there is no such {noun}, or you may not see it"))
    }

    /// The same, with a sentence that says what to do.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The same, to be tried again after this time.
    #[must_use]
    pub const fn after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// The kind.
    pub const fn code(&self) -> Code {
        self.code
    }

    /// The answer to the request of this id.
    pub(super) fn respond(&self, request_id: &str) -> Response<axum::body::Body> {
        let body = ProblemBody {
            kind: format!("/api/docs/errors#{}", self.code.as_str()),
            title: self.code.title(),
            status: self.code.status().as_u16(),
            code: self.code,
            detail: self.detail.clone(),
            help: self.help.clone(),
            errors: self.fields.clone(),
            request_id: request_id.to_owned(),
        };
        let bytes = serde_json::to_vec(&body).unwrap_or_default();
        let mut response = Response::new(axum::body::Body::from(bytes));
        *response.status_mut() = self.code.status();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        if let Some(wait) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(wait.as_secs().max(1)));
        }
        if self.code == Code::Unauthenticated {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"wicket\""));
        }
        response
    }
}

/// The edge writes the body, for it knows the request's id.
impl IntoResponse for Problem {
    fn into_response(self) -> Response<axum::body::Body> {
        let mut response = Response::new(axum::body::Body::empty());
        *response.status_mut() = self.code.status();
        response.extensions_mut().insert(self);
        response
    }
}

impl From<AdminFault> for Problem {
    fn from(fault: AdminFault) -> Self {
        let code = match fault.kind {
            FaultKind::Invalid => Code::Invalid,
            FaultKind::NotFound => Code::NotFound,
            FaultKind::Conflict => Code::Conflict,
            FaultKind::Outdated => Code::PreconditionFailed,
            FaultKind::Rejected => Code::Rejected,
            FaultKind::Partial => Code::Partial,
            FaultKind::NotRunning | FaultKind::Unavailable => Code::Unavailable,
        };
        let mut problem = Self::new(code, fault.message);
        problem.fields = (fault.diagnostics.iter())
            .map(|diagnostic| FieldProblem { field: "file".to_owned(), detail: diagnostic.to_string() })
            .collect();
        problem.help = fault.help;
        problem
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound { noun, .. } => Self::not_found(noun),
            StoreError::Conflict { message, .. } => Self::new(Code::Conflict, message),
            StoreError::Outdated { .. } => Self::new(Code::PreconditionFailed, error.to_string()),
            error if error.is_transient() => {
                tracing::warn!(%error, "the store did not answer the control API");
                Self::new(Code::Unavailable, "the store does not answer now; nothing was changed")
                    .with_help("try again; the operator finds the cause in `wicket status`")
                    .after(Duration::from_secs(1))
            }
            error => {
                tracing::error!(%error, "the store failed the control API");
                Self::new(Code::Internal, "the store cannot be read")
                    .with_help("the operator finds the cause in the gate's log")
            }
        }
    }
}

/// The refusals that every documented route may answer with, beside its own.
pub(super) struct Refusals;

impl utoipa::IntoResponses for Refusals {
    fn responses()
    -> std::collections::BTreeMap<String, utoipa::openapi::RefOr<utoipa::openapi::response::Response>> {
        use utoipa::openapi::{Content, Ref, RefOr, ResponseBuilder};
        let mut by_status: std::collections::BTreeMap<u16, Vec<Code>> = std::collections::BTreeMap::new();
        for code in Code::ALL.iter().filter(|code| !matches!(code, Code::NotImplemented)) {
            by_status.entry(code.status().as_u16()).or_default().push(*code);
        }
        let refusal = |(status, codes): (u16, Vec<Code>)| {
            let named: Vec<String> =
                codes.iter().map(|c| format!("`{}`: {}", c.as_str(), c.title().trim())).collect();
            let content = Content::new(Some(RefOr::Ref(Ref::from_schema_name("Problem"))));
            let response = ResponseBuilder::new().description(named.join("; ")).content(MEDIA_TYPE, content);
            (status.to_string(), RefOr::T(response.build()))
        };
        by_status.into_iter().map(refusal).collect()
    }
}
