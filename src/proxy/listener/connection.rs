//! One connection: hyper on a pingora stream, from the first byte to the graceful end.

use std::net::{IpAddr, Ipv4Addr};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use pingora_core::apps::ServerApp;
use pingora_core::protocols::Stream;
use pingora_core::server::ShutdownWatch;

use super::activity::Activity;
use super::{Handler, ListenerLimits, Peer, proxy_head, stream::Guarded};
use crate::telemetry;

/// hyper's smallest read buffer.
const HEADER_BYTES_MIN: usize = 8 << 10;
/// Streams that a peer may reset before they were accepted (the rapid-reset attack).
const HTTP2_PENDING_RESETS_MAX: usize = 20;
/// Streams that hyper itself may reset because of a peer's faults (the MadeYouReset attack).
const HTTP2_LOCAL_RESETS_MAX: usize = 100;
/// An HTTP/2 connection on which nothing comes is pinged so often, in seconds.
const HTTP2_PING_S: u64 = 30;
/// And closed when the answer to a ping takes so long, in seconds.
const HTTP2_PONG_S: u64 = 20;
/// Bytes of one HTTP/2 stream's answer that hyper holds for a slow client.
const HTTP2_SEND_BYTES_MAX: usize = 64 << 10;
/// How long a peer has to part once its idle connection is being closed.
const PARTING: Duration = Duration::from_secs(5);

/// The connections of one listener.
pub struct Connections<H> {
    name: &'static str,
    handler: Arc<H>,
    limits: ListenerLimits,
    open: Arc<AtomicU32>,
    builder: Builder<TokioExecutor>,
}

/// Counts a connection until it is dropped.
struct Open(Arc<AtomicU32>, &'static str);

impl Drop for Open {
    fn drop(&mut self) {
        let left = self.0.fetch_sub(1, Ordering::AcqRel).saturating_sub(1);
        telemetry::connections(self.1, left);
    }
}

impl<H: Handler> Connections<H> {
    /// Connections that this handler answers within these limits.
    pub fn new(name: &'static str, handler: Arc<H>, limits: ListenerLimits) -> Self {
        let builder = http(&limits);
        Self { name, handler, limits, open: Arc::default(), builder }
    }

    /// The count of open connections.
    pub fn count(&self) -> Arc<AtomicU32> {
        Arc::clone(&self.open)
    }

    fn admit(&self) -> Option<Open> {
        let open = self.open.fetch_add(1, Ordering::AcqRel).saturating_add(1);
        let guard = Open(Arc::clone(&self.open), self.name);
        telemetry::connections(self.name, open);
        (open <= self.limits.connections_max).then_some(guard)
    }

    /// Who is there. `None` closes the connection: a PROXY head was expected and is broken.
    async fn peer(&self, stream: &mut Stream) -> Option<Peer> {
        let address = stream
            .get_socket_digest()
            .and_then(|digest| digest.peer_addr().and_then(|address| address.as_inet().copied()));
        let Some(address) = address else {
            return Some(Peer { ip: IpAddr::V4(Ipv4Addr::UNSPECIFIED), trusted: false });
        };
        let ip = address.ip().to_canonical();
        let trusted = self.limits.trusted_proxies.iter().any(|network| network.contains(&ip));
        if !(trusted && self.limits.proxy_protocol) {
            return Some(Peer { ip, trusted });
        }
        let wait = Duration::from_millis(self.limits.header_read_ms_max);
        let head = tokio::time::timeout(wait, proxy_head::read(stream)).await;
        match head {
            Ok(Ok(Some(vouched))) => Some(Peer { ip: vouched.to_canonical(), trusted: false }),
            Ok(Ok(None)) => Some(Peer { ip, trusted }),
            Ok(Err(_)) | Err(_) => None,
        }
    }
}

fn http(limits: &ListenerLimits) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(limits.header_read_ms_max))
        .max_headers(limits.headers_max)
        .max_buf_size(limits.header_bytes_max.max(HEADER_BYTES_MIN))
        .half_close(true)
        .pipeline_flush(false);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.http2_streams_max)
        .max_header_list_size(u32::try_from(limits.header_bytes_max).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(HTTP2_PENDING_RESETS_MAX)
        .max_local_error_reset_streams(HTTP2_LOCAL_RESETS_MAX)
        .max_send_buf_size(HTTP2_SEND_BYTES_MAX)
        .keep_alive_interval(Duration::from_secs(HTTP2_PING_S))
        .keep_alive_timeout(Duration::from_secs(HTTP2_PONG_S));
    builder
}

#[async_trait]
impl<H: Handler> ServerApp for Connections<H> {
    async fn process_new(self: &Arc<Self>, mut stream: Stream, drain: &ShutdownWatch) -> Option<Stream> {
        let Some(_open) = self.admit() else {
            telemetry::connection_refused();
            return None;
        };
        let Some(peer) = self.peer(&mut stream).await else {
            telemetry::connection_refused();
            return None;
        };
        let guarded = Guarded::new(stream, Duration::from_millis(self.limits.reply_write_ms_max));
        let handler = &self.handler;
        let activity = Activity::new();
        let used = Arc::clone(&activity);
        let service = service_fn(move |request| {
            let (handler, begun) = (Arc::clone(handler), used.request());
            async move {
                let answer = handler.answer(request, peer).await;
                Ok::<_, std::convert::Infallible>(answer.map(|body| begun.answered(body)))
            }
        });
        let mut connection = pin!(self.builder.serve_connection(TokioIo::new(guarded), service));
        let mut drain = drain.clone();
        let patience = Duration::from_millis(self.limits.header_read_ms_max);
        let idle_max = Duration::from_millis(self.limits.connection_idle_ms_max);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = activity.nothing_asked(patience) => Ok(()),
            () = activity.idle(idle_max) => {
                connection.as_mut().graceful_shutdown();
                tokio::time::timeout(PARTING, connection).await.unwrap_or(Ok(()))
            }
            () = draining(&mut drain) => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(peer = %peer.ip, %error, "connection ended with a fault");
        }
        None
    }
}

/// Returns when the drain begins, never if its sender is gone.
async fn draining(drain: &mut ShutdownWatch) {
    if drain.wait_for(|begun| *begun).await.is_err() {
        std::future::pending::<()>().await;
    }
}
