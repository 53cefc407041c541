//! The table itself: status, code and short name of each row.

use super::code;
use super::{Era, Refusal};

/// What a row says beside its message.
pub(super) struct Row {
    pub status: u16,
    pub code: i32,
    pub kind: &'static str,
}

const fn row(status: u16, code: i32, kind: &'static str) -> Row {
    Row { status, code, kind }
}

impl Refusal {
    #[rustfmt::skip]
    pub(super) const fn row(&self) -> Row {
        match self {
            Self::Denied { .. } => row(200, code::INVALID_REQUEST, "denied"),
            Self::UnknownTool { .. } => row(200, code::INVALID_PARAMS, "unknown_tool"),
            Self::UnknownResource { .. } => row(200, code::INVALID_PARAMS, "unknown_resource"),
            Self::NoPrefix { .. } => row(400, code::INVALID_PARAMS, "no_prefix"),
            Self::UnknownService { era: Era::Session, .. } => row(200, code::METHOD_NOT_FOUND, "unknown_service"),
            Self::UnknownService { era: Era::Stateless, .. } => row(200, code::INVALID_PARAMS, "unknown_service"),
            Self::UnknownMethod { era: Era::Session, .. } => row(200, code::METHOD_NOT_FOUND, "unknown_method"),
            Self::UnknownMethod { era: Era::Stateless, .. } => row(404, code::METHOD_NOT_FOUND, "unknown_method"),
            Self::NotJson { .. } => row(400, code::PARSE_ERROR, "not_json"),
            Self::InvalidRequest { .. } => row(400, code::INVALID_REQUEST, "invalid_request"),
            Self::Batch => row(400, code::INVALID_REQUEST, "batch"),
            Self::InvalidParams { .. } => row(400, code::INVALID_PARAMS, "invalid_params"),
            Self::BadCursor => row(200, code::INVALID_PARAMS, "bad_cursor"),
            Self::NoBearer => row(401, code::INVALID_REQUEST, "no_bearer"),
            Self::UnknownKey => row(401, code::INVALID_REQUEST, "unknown_key"),
            Self::AgentDisabled { .. } => row(403, code::INVALID_REQUEST, "agent_disabled"),
            Self::MembershipNotApproved { .. } => row(403, code::INVALID_REQUEST, "membership_not_approved"),
            Self::OriginNotAllowed => row(403, code::INVALID_REQUEST, "origin_not_allowed"),
            Self::NoSuchPath => row(404, code::INVALID_REQUEST, "no_such_path"),
            Self::UnknownSession => row(404, code::INVALID_REQUEST, "unknown_session"),
            Self::MethodNotAllowed { .. } => row(405, code::INVALID_REQUEST, "method_not_allowed"),
            Self::NotAcceptable => row(406, code::INVALID_REQUEST, "not_acceptable"),
            Self::BodyTooSlow => row(408, code::INVALID_REQUEST, "body_too_slow"),
            Self::TooLarge { .. } => row(413, code::INVALID_REQUEST, "too_large"),
            Self::UnsupportedMediaType => row(415, code::INVALID_REQUEST, "unsupported_media_type"),
            Self::NoCredential { .. } => row(412, code::INTERNAL_ERROR, "no_credential"),
            Self::RateLimited { .. } => row(429, code::INVALID_REQUEST, "rate_limited"),
            Self::TooManyInFlight { .. } => row(429, code::INVALID_REQUEST, "too_many_in_flight"),
            Self::TooManySessions { .. } => row(429, code::INVALID_REQUEST, "too_many_sessions"),
            Self::Overloaded { .. } => row(503, code::INTERNAL_ERROR, "overloaded"),
            Self::Draining { .. } => row(503, code::INTERNAL_ERROR, "draining"),
            Self::CannotRecord { .. } => row(503, code::INTERNAL_ERROR, "cannot_record"),
            Self::DirectoryStale { .. } => row(503, code::INTERNAL_ERROR, "directory_stale"),
            Self::UpstreamBusy { .. } => row(503, code::INTERNAL_ERROR, "upstream_busy"),
            Self::UpstreamUnreachable { .. } => row(502, code::INTERNAL_ERROR, "upstream_unreachable"),
            Self::UpstreamBroken { .. } => row(502, code::INTERNAL_ERROR, "upstream_broken"),
            Self::UpstreamTooLarge { .. } => row(502, code::INTERNAL_ERROR, "upstream_too_large"),
            Self::ReplyDropped { .. } => row(502, code::INTERNAL_ERROR, "reply_dropped"),
            Self::UpstreamSilent { .. } => row(504, code::INTERNAL_ERROR, "upstream_silent"),
            Self::CallTooLong { .. } => row(504, code::INTERNAL_ERROR, "call_too_long"),
            Self::Internal => row(502, code::INTERNAL_ERROR, "internal"),
            Self::HeaderMismatch { .. } => row(400, code::HEADER_MISMATCH, "header_mismatch"),
            Self::UnsupportedVersion { era: Era::Session, .. } => row(400, code::INVALID_REQUEST, "unsupported_version"),
            Self::UnsupportedVersion { era: Era::Stateless, .. } => row(400, code::UNSUPPORTED_VERSION, "unsupported_version"),
            Self::MissingCapability { .. } => row(400, code::MISSING_CAPABILITY, "missing_capability"),
        }
    }
}
