//! Upstreams over streamable HTTP (MCP 2025-11-25, transports).
//!
//! Invariants: a call is posted once; only an answer of 404 to a session that the upstream forgot
//! lets it be posted a second time, in a new session, since the server did not run it; connections
//! are pooled on the runtime that calls; what is told on the side (cancellations, answers, the end
//! of sessions) runs on the background runtime, bounded, and is dropped rather than queued.

mod post;
mod relay;
mod session;
mod unasked;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Response, StatusCode, Uri};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde_json::Value;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use self::post::{Content, HttpClient, NoResponse};
pub(super) use self::relay::HttpRelay;
use self::relay::Messages;
pub(super) use self::session::Established;
pub(super) use self::unasked::Unasked;
use self::session::{Cell, Holder, SESSIONS_MAX, SessionTable};
use super::calls::{CallGuard, SentTo};
use super::news::Changed;
use super::dialogue::{self, Exchange, Step};
use super::egress::{self, Dialer};
use super::environment::Environment;
use super::patience::Patience;
use super::reply::Source;
use super::{Outbound, ReplyEvent, UpstreamFailure};
use crate::connector::{Limits, Transport};
use crate::mcp::envelope::Offers;
use crate::mcp::{self, FromUpstream, ReplyBody, Revision};

/// A connection that carried nothing for so long is closed.
const IDLE_CONNECTION_MAX: Duration = Duration::from_secs(60);
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
    calls: HttpClient,
    /// For everything else: its connections live on the background runtime.
    asides: HttpClient,
    sessions: SessionTable,
    limits: Limits,
    changed: Arc<Changed>,
    /// Whether a stream of unasked messages was open once.
    heard_before: AtomicBool,
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
        let Transport::Http { url, headers, host, allow_private } = transport else {
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
        let client = |idle_max: usize| {
            hyper_util::client::legacy::Builder::new(TokioExecutor::new())
                .pool_timer(TokioTimer::new())
                .timer(TokioTimer::new())
                .pool_idle_timeout(IDLE_CONNECTION_MAX)
                .pool_max_idle_per_host(idle_max)
                .build(dialer.clone())
        };
        Ok(Self {
            uri,
            base,
            calls: client(usize::try_from(limits.in_flight_max).unwrap_or(usize::MAX)),
            asides: client(2),
            sessions: SessionTable::new(SESSIONS_MAX),
            limits,
            changed,
            heard_before: AtomicBool::new(false),
            next_id: AtomicU64::new(1),
            background,
            aside_slots: Arc::new(Semaphore::new(ASIDES_MAX)),
        })
    }

    fn next_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// Sends a call and waits for its first event. `sent` becomes true when the call may have
    /// arrived.
    pub async fn call(
        self: &Arc<Self>,
        outbound: &Outbound,
        mut guard: CallGuard,
        sent: &mut bool,
    ) -> Result<(u16, ReplyEvent, Source), UpstreamFailure> {
        let patience = Patience::begin(&self.limits, guard.token());
        let exchange = Exchange::new(self.next_id(), &outbound.call);
        let posted = self.post_call(outbound, &exchange, &patience, &mut guard, sent).await;
        let (session, response) = posted.map_err(|failure| guard.failed(failure))?;
        // A head is a sign of life, whatever it says.
        guard.alive();
        let status = response.status().as_u16();
        let content = match post::content(&response) {
            Ok(content) => content,
            Err(failure) => {
                guard.settled();
                return Err(guard.failed(failure));
            }
        };
        if content == Content::Events {
            let messages = self.messages(response);
            let relay = HttpRelay {
                link: Arc::clone(self),
                session,
                exchange,
                patience,
                guard,
                messages: Some(messages),
                server_requests: 0,
            };
            let mut relay = Box::new(relay);
            return match relay.next().await {
                ReplyEvent::Broken(failure) => Err(failure),
                first => Ok((status, first, Source::Http(relay))),
            };
        }
        match self.whole_answer(response, &exchange, &patience).await {
            Ok(event) => {
                guard.settled();
                Ok((status, event, Source::Whole))
            }
            Err(failure) => Err(guard.failed(failure)),
        }
    }

    async fn whole_answer(
        &self,
        response: Response<Incoming>,
        exchange: &Exchange,
        patience: &Patience,
    ) -> Result<ReplyEvent, UpstreamFailure> {
        let status = response.status().as_u16();
        let body = post::whole(response, self.limits.reply_bytes_max, patience).await?;
        let message = mcp::read_upstream(body, mcp::Limits::REPLY)
            .map_err(|fault| UpstreamFailure::Broken { status, why: fault.to_string().into() })?;
        match exchange.step(message)? {
            Step::Answer { body, kind } => Ok(ReplyEvent::Json { body, kind }),
            _ => Err(UpstreamFailure::Broken { status, why: "its answer is no response".into() }),
        }
    }

    async fn post_call(
        self: &Arc<Self>,
        outbound: &Outbound,
        exchange: &Exchange,
        patience: &Patience,
        guard: &mut CallGuard,
        sent: &mut bool,
    ) -> Result<(Arc<Established>, Response<Incoming>), UpstreamFailure> {
        let request_id = outbound.call_id.to_string();
        let body = outbound.message(exchange.upstream_id, exchange.token(), Revision::NEWEST_OF_SESSION_ERA);
        let cell = self.enter(Some(outbound.caller.member.id))?;
        let mut renewed = false;
        loop {
            let session = self.session(&cell, &self.calls, patience).await?;
            let to = SentTo::Http {
                link: Arc::clone(self),
                session: Arc::clone(&session),
                upstream_id: exchange.upstream_id,
            };
            // From here on a dropped future cancels upstream; a call that never left is then
            // cancelled for nothing, which a server ignores.
            guard.sent(to);
            let request = post::request(
                Method::POST,
                &self.uri,
                &self.base,
                Some(&session),
                Some(&request_id),
                body.clone(),
            );
            let response = match post::send(&self.calls, request, patience).await {
                Ok(response) => response,
                Err(NoResponse { failure, sent: may_have }) => {
                    *sent = may_have;
                    if !may_have {
                        guard.settled();
                    }
                    return Err(failure);
                }
            };
            if !renewed && self.has_forgotten(&response, &session) {
                cell.forget(&session).await;
                // Another process may serve other tools.
                self.changed.mark();
                guard.settled();
                renewed = true;
                continue;
            }
            *sent = true;
            return Ok((session, response));
        }
    }

    /// 404 to a request in a session: the server does not know the session, and ran nothing (MCP
    /// 2025-11-25, transports, session management).
    fn has_forgotten(&self, response: &Response<Incoming>, session: &Established) -> bool {
        response.status() == StatusCode::NOT_FOUND && session.id.is_some()
    }

    fn enter(self: &Arc<Self>, holder: Holder) -> Result<Arc<Cell>, UpstreamFailure> {
        let (cell, gone) = self.sessions.enter(holder, std::time::Instant::now())?;
        for cell in gone {
            self.give_back(&cell);
        }
        Ok(cell)
    }

    async fn session(
        &self,
        cell: &Cell,
        client: &HttpClient,
        patience: &Patience,
    ) -> Result<Arc<Established>, UpstreamFailure> {
        let waited = tokio::time::Instant::now();
        let session = cell.session(async {
            // No failure of the handshake is the call's own: nothing of it has left.
            self.open(client, patience).await.map_err(UpstreamFailure::before_the_call)
        });
        // The handshake has three waits of its own; one silence is enough for all of them.
        patience.wait(waited, session).await?
    }

    /// `initialize`, then `notifications/initialized`.
    async fn open(&self, client: &HttpClient, patience: &Patience) -> Result<Established, UpstreamFailure> {
        let id = self.next_id();
        let hello = mcp::reply::upstream_initialize(id, Revision::NEWEST_OF_SESSION_ERA);
        let request = post::request(Method::POST, &self.uri, &self.base, None, None, hello);
        let response = post::send(client, request, patience).await.map_err(|none| none.failure)?;
        let session_id = post::session_id(&response)?;
        let body = self.answer(response, id, patience).await?;
        let info = dialogue::agreed(&body).map_err(UpstreamFailure::broken)?;
        let session = Established { id: session_id, revision: info.revision, offers: info.offers };
        let ready = mcp::reply::upstream_initialized();
        let request = post::request(Method::POST, &self.uri, &self.base, Some(&session), None, ready);
        let response = post::send(client, request, patience).await.map_err(|none| none.failure)?;
        if !response.status().is_success() {
            let status = response.status().as_u16();
            return Err(UpstreamFailure::broken(format!(
                "it answered `notifications/initialized` with HTTP {status}"
            )));
        }
        Ok(session)
    }

    /// The answer to a request of the gate itself.
    async fn answer(
        &self,
        response: Response<Incoming>,
        id: u64,
        patience: &Patience,
    ) -> Result<ReplyBody, UpstreamFailure> {
        let mut messages = match post::content(&response)? {
            Content::Events => self.messages(response),
            Content::Json => {
                let body = post::whole(response, self.limits.reply_bytes_max, patience).await?;
                return match mcp::read_upstream(body, mcp::Limits::REPLY) {
                    Ok(FromUpstream::Response { id: of, body }) if of == id => Ok(body),
                    Ok(_) => Err(UpstreamFailure::broken("its answer is no response to the request")),
                    Err(fault) => Err(UpstreamFailure::broken(fault.to_string())),
                };
            }
        };
        loop {
            match messages.next(patience).await? {
                FromUpstream::Response { id: of, body } if of == id => {
                    drop(tokio::spawn(messages.drain()));
                    return Ok(body);
                }
                FromUpstream::Response { .. } => {
                    return Err(UpstreamFailure::broken("it answered a request that was not asked"));
                }
                // A session that is being opened has nothing to notify and may ask nothing but pings.
                FromUpstream::Notification { .. } | FromUpstream::Request { .. } => {}
            }
        }
    }

    fn messages(&self, response: Response<Incoming>) -> Messages {
        let status = response.status().as_u16();
        let Limits { event_bytes_max, reply_bytes_max, .. } = self.limits;
        Messages::new(status, response.into_body(), event_bytes_max, reply_bytes_max)
    }

    /// What the upstream declared when the gate's own session was opened.
    pub async fn offers(self: &Arc<Self>, patience: &Patience) -> Result<Offers, UpstreamFailure> {
        Ok(self.gate_session(patience).await?.1.offers)
    }

    async fn gate_session(
        self: &Arc<Self>,
        patience: &Patience,
    ) -> Result<(Arc<Cell>, Arc<Established>), UpstreamFailure> {
        let cell = self.enter(None)?;
        let session = self.session(&cell, &self.asides, patience).await?;
        Ok((cell, session))
    }

    /// A request of the gate's own, in its own session. On the background runtime.
    pub async fn ask(
        self: &Arc<Self>,
        method: &str,
        params: Option<&Value>,
        patience: &Patience,
    ) -> Result<ReplyBody, UpstreamFailure> {
        let mut renewed = false;
        loop {
            let (cell, session) = self.gate_session(patience).await?;
            let id = self.next_id();
            let message = mcp::reply::upstream_request(id, method, params.cloned());
            let request =
                post::request(Method::POST, &self.uri, &self.base, Some(&session), None, message);
            let response = post::send(&self.asides, request, patience).await.map_err(|none| none.failure)?;
            if !renewed && self.has_forgotten(&response, &session) {
                cell.forget(&session).await;
                renewed = true;
                continue;
            }
            return self.answer(response, id, patience).await;
        }
    }

    /// The upstream said something that concerns no call.
    pub fn heard(&self, method: &str, notification: &str) {
        self.changed.hear(method, notification);
    }

    /// Tells the upstream that nobody waits for this answer any more.
    pub fn cancel(self: &Arc<Self>, session: &Arc<Established>, upstream_id: u64, reason: Option<String>) {
        self.tell(session, mcp::reply::upstream_cancelled(upstream_id, reason.as_deref()));
    }

    /// Posts a message that has no answer, on the side.
    pub fn tell(self: &Arc<Self>, session: &Arc<Established>, message: Bytes) {
        self.aside(Method::POST, session, message);
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
            let request = post::request(method, &link.uri, &link.base, Some(&session), None, message);
            if let Err(none) = post::send(&link.asides, request, &patience).await {
                tracing::debug!(failure = %none.failure, "the upstream could not be told");
            }
            drop(slot);
        }));
    }
}
