//! What goes wrong, in one shape: problem details (RFC 9457) with a code of ours, what to do, and the
//! request's id.
//!
//! Invariants: a code has one status; no text holds a secret or a name of the store; what only the
//! operator can mend names the request's id, under which the log says more.

mod code;
mod described;

use std::time::Duration;

use axum::response::IntoResponse;
use http::{HeaderValue, Response, header};
use serde::Serialize;
use utoipa::ToSchema;

pub use code::Code;
pub(super) use described::{Refusals, example, shared_responses};

use crate::control::{AdminFault, FaultKind};
use crate::store::StoreError;

/// Media type of problem details (RFC 9457, 3).
pub const MEDIA_TYPE: &str = "application/problem+json";

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

    /// What went wrong this time.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    fn body(&self, request_id: &str) -> ProblemBody {
        ProblemBody {
            kind: format!("/api/docs/errors#{}", self.code.as_str()),
            title: self.code.title(),
            status: self.code.status().as_u16(),
            code: self.code,
            detail: self.detail.clone(),
            help: self.help.clone(),
            errors: self.fields.clone(),
            request_id: request_id.to_owned(),
        }
    }

    /// The answer to the request of this id.
    pub(super) fn respond(&self, request_id: &str) -> Response<axum::body::Body> {
        let bytes = serde_json::to_vec(&self.body(request_id)).unwrap_or_default();
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

/// What is answered, for tests.
#[cfg(test)]
pub(super) fn shown(problem: &Problem) -> serde_json::Value {
    serde_json::to_value(problem.body("an-id")).unwrap_or_default()
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
        problem.fields.extend(fault.fields.iter().map(|fault| FieldProblem {
            field: format!("body.{}", fault.field),
            detail: match &fault.help {
                Some(help) => format!("{} ({help})", fault.detail),
                None => fault.detail.clone(),
            },
        }));
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
