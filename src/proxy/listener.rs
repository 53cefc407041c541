//! Listeners: a pingora service accepts (TCP, TLS by rustls, Unix sockets), hyper speaks HTTP/1.1
//! and HTTP/2 on the stream, a [`Handler`] answers.
//!
//! Sockets are bound here, before pingora starts, so that a taken port is an error with a remedy
//! instead of a panic in a service, and port 0 can be asked for. They are handed to pingora as
//! inherited descriptors, which is also how a graceful upgrade would pass them on.
//!
//! Invariants: connections are capped; a head must arrive in time and within its limits; a client
//! that takes nothing is cut (`stream`), and a connection that nobody uses closed (`activity`); after the drain began no connection is kept alive.

mod activity;
mod connection;
mod proxy_head;
mod stream;
mod tls;

use std::fmt;
use std::future::Future;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::fd::IntoRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use async_trait::async_trait;
use http::{Request, Response};
use hyper::body::Incoming;
use ipnet::IpNet;
use pingora_core::listeners::tls::TlsSettings;
use pingora_core::server::{Fds, ListenFds, ShutdownWatch};
use pingora_core::services::Service as PingoraService;
use pingora_core::services::listening::Service;

use super::body::Body;

pub use connection::Connections;
pub use tls::TlsFault;

/// Mode of a Unix socket: its owner alone.
const SOCKET_MODE: u32 = 0o600;

/// Who is at the other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// The peer's address; the one that a PROXY head vouches for, where a trusted peer sent one;
    /// the unspecified address on a Unix socket.
    pub ip: IpAddr,
    /// Whether the peer itself is a trusted proxy, whose forwarding headers count (decision 21).
    pub trusted: bool,
}

/// What answers requests on a listener.
pub trait Handler: Send + Sync + 'static {
    /// Answers one request. Must not panic for any input; a panic cuts the connection.
    fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        peer: Peer,
    ) -> impl Future<Output = Response<Body>> + Send;
}

/// Limits of one listener; times in milliseconds, sizes in bytes.
#[derive(Debug, Clone)]
pub struct ListenerLimits {
    pub connections_max: u32,
    pub headers_max: usize,
    pub header_bytes_max: usize,
    pub header_read_ms_max: u64,
    pub reply_write_ms_max: u64,
    pub http2_streams_max: u32,
    /// A connection without a request for so long is closed.
    pub connection_idle_ms_max: u64,
    /// Peers whose PROXY head is believed, and whether one is expected of them.
    pub trusted_proxies: Vec<IpNet>,
    pub proxy_protocol: bool,
}

/// A listener could not be set up.
#[derive(Debug)]
pub enum ListenFault {
    Bind { address: String, error: std::io::Error },
    Tls(TlsFault),
}

impl fmt::Display for ListenFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bind { address, error } => {
                write!(
                    f,
                    "cannot listen on `{address}`: {error}; is another gate running, or the port taken?"
                )
            }
            Self::Tls(fault) => fault.fmt(f),
        }
    }
}

impl std::error::Error for ListenFault {}

/// A bound listener with its handler: a pingora service, not yet started.
pub struct Bound<H> {
    inner: Service<Connections<H>>,
    /// The address as pingora knows it, and the descriptor to use for it.
    endpoint: (String, i32),
    drain: ShutdownWatch,
}

impl<H: Handler> Bound<H> {
    /// Binds a TCP address, with TLS where certificate and key are named.
    ///
    /// # Errors
    /// [`ListenFault`] when the address cannot be bound or the PEM files cannot be used.
    pub fn tcp(
        name: &'static str,
        address: SocketAddr,
        tls_files: Option<(&Path, &Path)>,
        handler: Arc<H>,
        limits: ListenerLimits,
        drain: ShutdownWatch,
    ) -> Result<(Self, SocketAddr), ListenFault> {
        let fault = |error| ListenFault::Bind { address: address.to_string(), error };
        let socket = TcpListener::bind(address).map_err(fault)?;
        socket.set_nonblocking(true).map_err(fault)?;
        let bound = socket.local_addr().map_err(fault)?;
        let mut inner = Service::new(name.to_owned(), Connections::new(name, handler, limits));
        match tls_files {
            None => inner.add_tcp(&bound.to_string()),
            Some((certificate, key)) => {
                let settings: TlsSettings = tls::settings(certificate, key).map_err(ListenFault::Tls)?;
                inner.add_tls_with_settings(&bound.to_string(), None, settings);
            }
        }
        let endpoint = (bound.to_string(), socket.into_raw_fd());
        Ok((Self { inner, endpoint, drain }, bound))
    }

    /// Binds a Unix socket that only its owner may open. A socket file of an earlier process is
    /// replaced: the caller holds the data directory's lock.
    ///
    /// # Errors
    /// [`ListenFault::Bind`].
    pub fn unix(
        name: &'static str,
        path: &Path,
        handler: Arc<H>,
        limits: ListenerLimits,
        drain: ShutdownWatch,
    ) -> Result<Self, ListenFault> {
        let fault = |error| ListenFault::Bind { address: path.display().to_string(), error };
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(fault(error)),
            _ => {}
        }
        let socket = UnixListener::bind(path).map_err(fault)?;
        let permissions = std::fs::Permissions::from_mode(SOCKET_MODE);
        std::fs::set_permissions(path, permissions.clone()).map_err(fault)?;
        socket.set_nonblocking(true).map_err(fault)?;
        let mut inner = Service::new(name.to_owned(), Connections::new(name, handler, limits));
        let address = path.display().to_string();
        inner.add_uds(&address, Some(permissions));
        Ok(Self { inner, endpoint: (address, socket.into_raw_fd()), drain })
    }

    /// Runs the listener on so many threads of its own.
    #[must_use]
    pub fn threads(mut self, threads: usize) -> Self {
        self.inner.threads = Some(threads);
        self
    }

    /// The count of open connections, for the status.
    pub fn connections(&self) -> Option<Arc<AtomicU32>> {
        self.inner.app_logic().map(Connections::count)
    }
}

#[async_trait]
impl<H: Handler> PingoraService for Bound<H> {
    async fn start_service(
        &mut self,
        fds: Option<ListenFds>,
        _shutdown: ShutdownWatch,
        listeners_per_fd: usize,
    ) {
        let fds: ListenFds = fds.unwrap_or_else(|| Arc::new(parking_lot::Mutex::new(Fds::new())));
        {
            let (address, descriptor) = &self.endpoint;
            let mut table = fds.lock();
            if table.get(address).is_none() {
                table.add(address.clone(), *descriptor);
            }
        }
        // The gate's own drain, not pingora's: pingora would sleep through a fixed grace period.
        self.inner.start_service(Some(fds), self.drain.clone(), listeners_per_fd).await;
    }

    fn name(&self) -> &str {
        self.inner.name()
    }

    fn threads(&self) -> Option<usize> {
        self.inner.threads
    }
}
