//! The one map from what went wrong to the row of the table that a client sees (decision 13), and
//! from there to an HTTP answer.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Response, StatusCode};

use crate::connector::ResolveFault;
use crate::mcp::{Era, MessageFault, Refusal, RequestId};
use crate::model::CallId;
use crate::session::SessionRefusal;
use crate::telemetry;

use super::admission::Shed;
use super::body::Body;
use super::identity::Stranger;
use super::upstream::UpstreamFailure;

/// Seconds after which a client that was turned away for load may come back.
const OVERLOAD_RETRY_S: u32 = 1;
/// Seconds after which a member with too many sessions may try again.
const SESSIONS_RETRY_S: u32 = 60;
/// Seconds after which a client may try again when nothing could be recorded.
const CANNOT_RECORD_RETRY_S: u32 = 2;

/// Media type of every JSON answer.
pub const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// A refusal of one request, with the JSON-RPC id where one was read.
#[derive(Debug)]
pub struct Refused {
    pub refusal: Refusal,
    pub id: Option<RequestId>,
}

impl Refused {
    /// The same, as the answer to the request of this id.
    #[must_use]
    pub fn to(self, id: RequestId) -> Self {
        Self { id: Some(id), ..self }
    }
}

impl<R: Into<Refusal>> From<R> for Refused {
    fn from(refusal: R) -> Self {
        Self { refusal: refusal.into(), id: None }
    }
}

/// The row for a body that is no message, with its id where one could be read.
pub fn of_message(fault: &MessageFault) -> Refused {
    Refused { refusal: fault.refusal().clone(), id: fault.id().cloned() }
}

impl From<Shed> for Refusal {
    fn from(shed: Shed) -> Self {
        match shed {
            Shed::Overload => Self::Overloaded { retry_after_s: OVERLOAD_RETRY_S },
            Shed::MemberBusy => Self::TooManyInFlight { retry_after_s: OVERLOAD_RETRY_S },
            Shed::RateLimited { retry_after_s } => Self::RateLimited { retry_after_s },
        }
    }
}

impl From<Stranger> for Refusal {
    fn from(stranger: Stranger) -> Self {
        match stranger {
            Stranger::NoKey => Self::NoBearer,
            Stranger::UnknownKey => Self::UnknownKey,
            Stranger::AgentDisabled { agent } => Self::AgentDisabled { agent },
            Stranger::NotApproved { status } => Self::MembershipNotApproved { status },
        }
    }
}

impl From<SessionRefusal> for Refusal {
    fn from(refusal: SessionRefusal) -> Self {
        match refusal {
            SessionRefusal::TooMany => Self::Overloaded { retry_after_s: OVERLOAD_RETRY_S },
            SessionRefusal::TooManyOfMember => Self::TooManySessions { retry_after_s: SESSIONS_RETRY_S },
            SessionRefusal::TooManyNew { retry_after_s } => Self::TooManySessions { retry_after_s },
        }
    }
}

/// The row for a name that resolves to no connector.
pub fn of_resolution(fault: ResolveFault, name: &str, era: Era) -> Refusal {
    match fault {
        ResolveFault::NoPrefix => Refusal::NoPrefix { name: name.to_owned() },
        ResolveFault::UnknownService(service) => Refusal::UnknownService { era, service },
    }
}

/// The row for a failure of the upstream of this service.
pub fn of_upstream(service: &str, failure: &UpstreamFailure) -> Refusal {
    let service = service.to_owned();
    match failure {
        UpstreamFailure::Unreachable(_) => Refusal::UpstreamUnreachable { service },
        UpstreamFailure::Busy { .. } | UpstreamFailure::TooManyWatched { .. } => {
            Refusal::UpstreamBusy { service, retry_after_s: OVERLOAD_RETRY_S }
        }
        UpstreamFailure::Silent { after_ms } => {
            Refusal::UpstreamSilent { service, after_s: after_ms / 1_000 }
        }
        UpstreamFailure::Expired { after_ms } => Refusal::CallTooLong { service, after_s: after_ms / 1_000 },
        UpstreamFailure::TooLarge { .. } => Refusal::UpstreamTooLarge { service },
        UpstreamFailure::Broken { .. } | UpstreamFailure::Cancelled => Refusal::UpstreamBroken { service },
        UpstreamFailure::Unpermitted => Refusal::Internal,
    }
}

/// The row for a gate that has no room left.
pub const fn overloaded() -> Refusal {
    Refusal::Overloaded { retry_after_s: OVERLOAD_RETRY_S }
}

/// The row for a key that has as many streams open as it may.
pub const fn too_many_streams() -> Refusal {
    Refusal::TooManyInFlight { retry_after_s: OVERLOAD_RETRY_S }
}

/// The row for a member that has as many calls waiting for another round as it may.
pub const fn too_many_calls() -> Refusal {
    Refusal::TooManyInFlight { retry_after_s: OVERLOAD_RETRY_S }
}

/// The row for a journal that cannot record.
pub const fn cannot_record() -> Refusal {
    Refusal::CannotRecord { retry_after_s: CANNOT_RECORD_RETRY_S }
}

/// The row for a directory that is older than it may be.
pub const fn directory_stale() -> Refusal {
    Refusal::DirectoryStale { retry_after_s: CANNOT_RECORD_RETRY_S }
}

/// The HTTP answer of a refusal.
pub fn response(refused: &Refused, call: &CallId) -> Response<Body> {
    let refusal = &refused.refusal;
    telemetry::refused(refusal.kind());
    let mut response = json(refusal.status(), refusal.body(refused.id.as_ref(), call));
    for (name, value) in refusal.headers() {
        if let Ok(value) = HeaderValue::from_str(&value) {
            response.headers_mut().insert(HeaderName::from_static(name), value);
        }
    }
    response
}

/// A JSON answer.
pub fn json(status: u16, body: Bytes) -> Response<Body> {
    let mut response = Response::new(Body::whole(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
