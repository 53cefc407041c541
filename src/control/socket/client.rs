//! The other end of the admin socket: how the command line asks a running gate.
//!
//! Invariant: "no gate runs" and "a gate runs but does not answer" are told apart, for in the second
//! case nobody may work on the store behind its back.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

use super::{ADMIN_PATH, REPLY_BYTES_MAX};
use crate::control::operator::{OPERATOR_HEADER, Operator};
use crate::control::{AdminFault, AdminReply, AdminRequest, FaultKind};

/// A gate that accepts no connection for so long counts as not answering.
const CONNECT_MAX: Duration = Duration::from_secs(2);
/// The longest operation is a sync, which waits for an upstream (30 s) that may have to start first.
const REPLY_MAX: Duration = Duration::from_secs(90);

/// The gate's socket could not be used.
#[derive(Debug)]
pub enum Unreachable {
    /// No socket, or one that nobody listens on: no gate runs on this data directory.
    NotRunning { path: PathBuf },
    /// There is somebody, who does not answer as a gate does.
    Silent { path: PathBuf, reason: String },
}

impl fmt::Display for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotRunning { path } => write!(f, "no gate answers on `{}`", path.display()),
            Self::Silent { path, reason } => {
                write!(f, "the gate on `{}` does not answer: {reason}", path.display())
            }
        }
    }
}

impl std::error::Error for Unreachable {}

/// A connection to the running gate, for one request after the other.
#[derive(Debug)]
pub struct AdminClient {
    path: PathBuf,
    sender: hyper::client::conn::http1::SendRequest<Full<Bytes>>,
}

impl AdminClient {
    /// Connects to the socket.
    ///
    /// # Errors
    /// [`Unreachable`] tells an absent gate from a silent one.
    pub async fn connect(path: &Path) -> Result<Self, Unreachable> {
        let not_running = || Unreachable::NotRunning { path: path.to_owned() };
        let silent = |reason: String| Unreachable::Silent { path: path.to_owned(), reason };
        let stream = match tokio::time::timeout(CONNECT_MAX, UnixStream::connect(path)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                return Err(match error.kind() {
                    std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused => not_running(),
                    _ => silent(error.to_string()),
                });
            }
            Err(_) => return Err(silent(format!("no connection within {} s", CONNECT_MAX.as_secs()))),
        };
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| silent(error.to_string()))?;
        // Ends with the sender or the stream; its error reaches the request that waits.
        tokio::spawn(async move { drop(connection.await) });
        Ok(Self { path: path.to_owned(), sender })
    }

    /// Asks the gate.
    ///
    /// # Errors
    /// The gate's own fault, or [`FaultKind::Unavailable`] when the answer does not come.
    pub async fn ask(
        &mut self,
        operator: Operator,
        request: &AdminRequest,
    ) -> Result<AdminReply, AdminFault> {
        match tokio::time::timeout(REPLY_MAX, self.exchange(operator, request)).await {
            Ok(Ok((true, body))) => serde_json::from_slice(&body).map_err(|error| self.misread(&error)),
            Ok(Ok((false, body))) => {
                Err(serde_json::from_slice(&body).unwrap_or_else(|error| self.misread(&error)))
            }
            Ok(Err(reason)) => Err(self.silent(&reason)),
            Err(_) => Err(self.silent(&format!("no answer within {} s", REPLY_MAX.as_secs()))),
        }
    }

    async fn exchange(
        &mut self,
        operator: Operator,
        request: &AdminRequest,
    ) -> Result<(bool, Bytes), String> {
        let body = serde_json::to_vec(request).map_err(|error| error.to_string())?;
        let request = Request::post(ADMIN_PATH)
            .header(header::HOST, "wicket")
            .header(header::CONTENT_TYPE, "application/json")
            .header(OPERATOR_HEADER, operator.to_string())
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| error.to_string())?;
        self.sender.ready().await.map_err(|error| error.to_string())?;
        let response: Response<Incoming> =
            self.sender.send_request(request).await.map_err(|error| error.to_string())?;
        let done = response.status().is_success();
        let body = Limited::new(response.into_body(), REPLY_BYTES_MAX)
            .collect()
            .await
            .map_err(|error| error.to_string())?;
        Ok((done, body.to_bytes()))
    }

    fn silent(&self, reason: &str) -> AdminFault {
        AdminFault::new(
            FaultKind::Unavailable,
            format!("the gate on `{}` did not answer: {reason}", self.path.display()),
        )
        .with_help("whether the change was made is open: look with `list` or `show` before you repeat it")
    }

    fn misread(&self, error: &serde_json::Error) -> AdminFault {
        AdminFault::new(
            FaultKind::Unavailable,
            format!("the gate on `{}` answered something else than this version knows: {error}", self.path.display()),
        )
        .with_help("the running gate and this command may be of different versions: compare `wicket --version` with `wicket status`, restart the gate")
    }
}
