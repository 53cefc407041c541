//! The admin protocol: HTTP/1.1 with JSON over `admin.sock` in the data directory.
//!
//! `POST /v1/admin` takes an [`AdminRequest`] and answers an [`super::AdminReply`] (200) or an
//! [`AdminFault`] (4xx, 5xx); `GET /v1/status` answers the status alone, for scripts with `curl
//! --unix-socket`. Invariants: the socket's mode (0600 in a 0700 directory) is the only authentication,
//! so this service is never mounted on a TCP listener; bodies are bounded both ways.

pub mod client;

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body::Body;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};

use super::health::json;
use super::{Admin, AdminFault, AdminReply, AdminRequest, FaultKind, Operator, operator};

/// Bytes of a request: the largest holds the arguments of a call to explain.
pub const REQUEST_BYTES_MAX: usize = 8 << 20;
/// Bytes of a reply that the client takes: 500 audit rows of arguments of ordinary size.
pub const REPLY_BYTES_MAX: usize = 64 << 20;
/// Where requests are posted.
pub const ADMIN_PATH: &str = "/v1/admin";
/// Where the status is read.
pub const STATUS_PATH: &str = "/v1/status";

/// Answers on the admin socket.
#[derive(Clone)]
pub struct AdminSocket {
    admin: Arc<Admin>,
}

impl AdminSocket {
    /// The service over the running gate's `Admin`.
    pub fn new(admin: Arc<Admin>) -> Self {
        Self { admin }
    }

    /// Answers one request.
    pub async fn handle<B>(&self, request: Request<B>) -> Response<Full<Bytes>>
    where
        B: Body<Data = Bytes> + Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        match self.answer(request).await {
            Ok(reply) => json(StatusCode::OK, &reply),
            Err(fault) => {
                let status =
                    StatusCode::from_u16(fault.kind.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                json(status, &fault)
            }
        }
    }

    async fn answer<B>(&self, request: Request<B>) -> Result<AdminReply, AdminFault>
    where
        B: Body<Data = Bytes> + Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        // A browser cannot reach a Unix socket; a proxy that somebody put in front of it can.
        if request.headers().contains_key(header::ORIGIN) {
            return Err(AdminFault::invalid("the admin socket answers no browsers"));
        }
        let operator = operator_of(&request)?;
        match (request.method(), request.uri().path()) {
            (&Method::GET, STATUS_PATH) => self.perform(operator, AdminRequest::Status {}).await,
            (&Method::POST, ADMIN_PATH) => {
                let asked = read(request.into_body()).await?;
                self.perform(operator, asked).await
            }
            (_, ADMIN_PATH | STATUS_PATH) => {
                Err(AdminFault::invalid(format!("POST {ADMIN_PATH} and GET {STATUS_PATH} are answered")))
            }
            _ => Err(AdminFault::new(FaultKind::NotFound, "nothing is at this path")
                .with_help(format!("POST {ADMIN_PATH} and GET {STATUS_PATH} are answered"))),
        }
    }
}

impl AdminSocket {
    /// Carries the request out in a task of its own: an asker that hangs up drops the answer, not a
    /// change between its commit and the refresh that makes it hold.
    async fn perform(&self, operator: Operator, asked: AdminRequest) -> Result<AdminReply, AdminFault> {
        let admin = Arc::clone(&self.admin);
        tokio::spawn(async move { admin.perform(operator, asked).await }).await.unwrap_or_else(|_| {
            Err(AdminFault::new(FaultKind::Partial, "the request broke off within the gate")
                .with_help("look at the gate's log, and with `list` or `show` at what was done"))
        })
    }
}

fn operator_of<B>(request: &Request<B>) -> Result<Operator, AdminFault> {
    match request.headers().get(operator::OPERATOR_HEADER) {
        // The socket's mode lets in this account and root alone: unsaid, it is this account.
        None => Ok(Operator::this_process()),
        Some(value) => value.to_str().ok().and_then(Operator::parse_local).ok_or_else(|| {
            AdminFault::invalid(format!("`{}` must be like uid:1000", operator::OPERATOR_HEADER))
        }),
    }
}

async fn read<B>(body: B) -> Result<AdminRequest, AdminFault>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let bytes = Limited::new(body, REQUEST_BYTES_MAX).collect().await.map_err(|error| {
        if error.is::<LengthLimitError>() {
            AdminFault::invalid(format!("the request is larger than {REQUEST_BYTES_MAX} bytes"))
        } else {
            AdminFault::invalid(format!("the request broke off: {error}"))
        }
    })?;
    serde_json::from_slice(&bytes.to_bytes())
        .map_err(|error| AdminFault::invalid(format!("this is no request of this version: {error}")))
}

#[cfg(test)]
#[path = "socket/tests.rs"]
mod tests;
