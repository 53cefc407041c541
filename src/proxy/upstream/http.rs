//! Upstreams over streamable HTTP, of both eras (MCP 2025-11-25 and 2026-07-28, transports).
//!
//! Invariants: a call is posted once; only an answer that says that the server did not run it (404 to
//! a session that it forgot, or a refusal of the era that it is spoken to in) lets it be posted a second
//! time; connections are pooled on the runtime that calls; what is told on the side (cancellations, the
//! end of sessions) runs on the background runtime, bounded, and is dropped rather than queued.

mod call;
mod era;
mod messages;
mod mirror;
mod own;
mod post;
mod relay;
mod roots;
mod session;
mod unasked;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use http::{HeaderMap, Method, Uri};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use self::messages::Messages;
use self::post::NoResponse;
pub(super) use self::relay::HttpRelay;
pub(super) use self::session::Established;
use self::session::{Cell, SESSIONS_MAX, SessionTable};
pub(super) use self::unasked::{Opened, Said, Unasked, refusal_of};
use super::UpstreamFailure;
use super::egress::{self, Dialer};
use super::environment::Environment;
use super::news::Changed;
use super::patience::Patience;
use super::pool::{Answer, Pool};
use crate::connector::{EraChoice, Limits, Transport};
use crate::mcp::envelope::UpstreamInfo;
use crate::mcp::{self, Era};
use crate::model::{Digest, MemberId};

/// Things told on the side at a time.
const ASIDES_MAX: usize = 64;
/// The whole life of one of them, in milliseconds.
const ASIDE_MS_MAX: u32 = 5_000;

/// The way to one HTTP upstream.
#[derive(Debug)]
pub(super) struct HttpLink {
    uri: Uri,
    base: HeaderMap,
    /// For calls: its connections live on the data plane.
    calls: Pool,
    /// For everything else: its connections live on the background runtime.
    asides: Pool,
    /// What the connector's file says of its era.
    choice: EraChoice,
    /// How the upstream turned out to be spoken to, once it was asked; asked by one at a time.
    spoken: ArcSwapOption<Established>,
    asking: Cell,
    /// What it last said of itself.
    info: ArcSwapOption<UpstreamInfo>,
    sessions: SessionTable,
    limits: Limits,
    changed: Arc<Changed>,
    next_id: AtomicU64,
    background: Handle,
    aside_slots: Arc<Semaphore>,
}

impl HttpLink {
    /// A link by the connector's file; nothing is dialled yet.
    ///
    /// # Errors
    /// What in the file, the environment or the trusted roots is missing.
    pub fn new(
        transport: &Transport,
        limits: Limits,
        environment: &Environment,
        changed: Arc<Changed>,
        background: Handle,
    ) -> Result<Self, String> {
        let Transport::Http { url, headers, host, allow_private, era } = transport else {
            return Err("the connector has no URL".to_owned());
        };
        let uri: Uri = url.parse().map_err(|_| format!("`{}` is no URL", url.escape_default()))?;
        let is_https = uri.scheme_str() == Some("https");
        if !is_https && !allow_private {
            return Err(
                "its URL is not https: only an upstream with `allow_private = true` may be".to_owned()
            );
        }
        let base = post::base_headers(headers, host.as_deref(), environment)?;
        let tls = if is_https { egress::tls() } else { egress::no_tls() };
        let dial_max = Duration::from_millis(limits.dial_ms_max.into());
        let dialer =
            Dialer::new(tls.map_err(|fault| fault.to_string())?, *allow_private, dial_max, host.is_none());
        Ok(Self {
            uri,
            base,
            calls: Pool::new(dialer.clone(), usize::try_from(limits.in_flight_max).unwrap_or(usize::MAX)),
            asides: Pool::new(dialer, 2),
            choice: *era,
            spoken: ArcSwapOption::empty(),
            asking: Cell::default(),
            info: ArcSwapOption::empty(),
            sessions: SessionTable::new(SESSIONS_MAX),
            limits,
            changed,
            next_id: AtomicU64::new(1),
            background,
            aside_slots: Arc::new(Semaphore::new(ASIDES_MAX)),
        })
    }

    fn next_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// A request to this upstream.
    fn request(
        &self,
        method: Method,
        session: Option<&Established>,
        mirrored: Option<&mirror::Mirrored>,
        request_id: Option<&str>,
        body: Bytes,
    ) -> http::Request<Bytes> {
        let mut request = post::request(method, &self.uri, &self.base, session, request_id, body);
        if let Some(mirrored) = mirrored {
            mirrored.write(request.headers_mut());
        }
        request
    }

    fn messages(&self, response: Answer) -> Messages {
        let status = response.status.as_u16();
        let Limits { event_bytes_max, reply_bytes_max, .. } = self.limits;
        Messages::new(status, response.body, event_bytes_max, reply_bytes_max)
    }

    /// The upstream said something that concerns no call.
    pub fn heard(&self, method: &str, notification: &str) {
        self.changed.hear(method, notification);
    }

    /// What the upstream says of itself, as far as it was asked.
    pub fn info(&self) -> Option<Arc<UpstreamInfo>> {
        self.info.load_full()
    }

    /// Gives back the sessions of a client that has gone.
    pub fn client_gone(self: &Arc<Self>, member: MemberId, mcp_session: Option<Digest>) {
        for cell in self.sessions.leave(member, mcp_session, std::time::Instant::now()) {
            self.give_back(&cell);
        }
    }

    /// Tells the upstream that nobody waits for this answer any more. In the stateless era the end of
    /// the connection says so (MCP 2026-07-28, cancellation).
    pub fn cancel(self: &Arc<Self>, session: &Arc<Established>, upstream_id: u64, reason: Option<String>) {
        if session.era() == Era::Stateless {
            return;
        }
        self.tell(session, mcp::reply::upstream_cancelled(upstream_id, reason.as_deref()));
    }

    /// Posts a message that has no answer, on the side.
    pub fn tell(self: &Arc<Self>, session: &Arc<Established>, message: Bytes) {
        self.aside(Method::POST, session, message);
    }

    /// Posts a client's answer to what the upstream asked in this session.
    ///
    /// # Errors
    /// It did not arrive, so the call that waits for it cannot go on.
    pub async fn deliver(&self, session: &Established, answer: Bytes) -> Result<(), UpstreamFailure> {
        let limits = Limits { call_ms_max: ASIDE_MS_MAX, ..self.limits };
        let patience = Patience::begin(&limits, CancellationToken::new());
        let request = self.request(Method::POST, Some(session), None, None, answer);
        let why = match post::send(&self.calls, request, &patience).await {
            Ok(response) if response.status.is_success() => return Ok(()),
            Ok(response) => {
                format!("it refused the client's answer with HTTP {}", response.status.as_u16())
            }
            Err(NoResponse { failure, .. }) => format!("the client's answer did not arrive: {failure}"),
        };
        Err(UpstreamFailure::broken(why))
    }

    /// Gives every session back.
    pub fn close(self: &Arc<Self>) {
        for cell in self.sessions.drain() {
            self.give_back(&cell);
        }
    }

    fn give_back(self: &Arc<Self>, cell: &Cell) {
        if let Some(session) = cell.take().filter(|session| session.id.is_some()) {
            self.aside(Method::DELETE, &session, Bytes::new());
        }
    }

    fn aside(self: &Arc<Self>, method: Method, session: &Arc<Established>, message: Bytes) {
        // With no slot left it is not said at all: all of it is courtesy.
        let Ok(slot) = Arc::clone(&self.aside_slots).try_acquire_owned() else { return };
        let (link, session) = (Arc::clone(self), Arc::clone(session));
        drop(self.background.spawn(async move {
            let limits = Limits { call_ms_max: ASIDE_MS_MAX, ..link.limits };
            let patience = Patience::begin(&limits, CancellationToken::new());
            let request = link.request(method, Some(&session), None, None, message);
            if let Err(none) = post::send(&link.asides, request, &patience).await {
                tracing::debug!(failure = %none.failure, "the upstream could not be told");
            }
            drop(slot);
        }));
    }
}
