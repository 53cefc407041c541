//! Upstreams that are child processes: one child per connector, shared by all members, supervised
//! on the background runtime.
//!
//! Invariants: the data plane reaches a child only by a bounded queue; a child that ends is started
//! again after a growing pause, and its calls are never repeated; a call that waits for a child that
//! is down fails at once.

mod backoff;
mod child;
mod hands;
mod lines;
mod pending;
mod relay;
mod serve;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::backoff::Backoff;
use self::child::{Child, NoChild};
pub(super) use self::pending::Awaited;
use self::pending::Pending;
pub(super) use self::relay::StdioRelay;
use self::serve::Conversation;
use super::UpstreamFailure;
use super::environment::Environment;
use super::news::Changed;
use super::patience::Patience;
use crate::connector::{Connector, EraChoice, Limits, Transport};
use crate::mcp::envelope::UpstreamInfo;
use crate::mcp::{self, FromUpstream, ReplyBody, Revision};
use crate::model::{ServiceKey, Timestamp};
use crate::telemetry;

/// Orders that wait to be written to one child.
const ORDERS_MAX: usize = 256;

/// What the data plane asks of a child.
#[derive(Debug)]
enum Order {
    Call {
        id: u64,
        line: Bytes,
        pending: Pending,
    },
    Cancel {
        id: u64,
        reason: Option<String>,
    },
    /// To what the child asked.
    Answer {
        line: Bytes,
    },
}

/// Where a child stands.
#[derive(Debug, Clone)]
enum State {
    Starting,
    Ready(mpsc::Sender<Order>),
    Down {
        why: Arc<str>,
        again_at: Instant,
    },
    /// The program is not on this machine, and the connector says that it need not be.
    Skipped {
        why: Arc<str>,
    },
    Stopped,
}

/// What the supervisor and the data plane share.
#[derive(Debug)]
struct Core {
    service: ServiceKey,
    transport: Transport,
    limits: Limits,
    optional: bool,
    requires: Vec<String>,
    environment: Environment,
    changed: Arc<Changed>,
    next_id: AtomicU64,
    /// What the child said of itself.
    info: ArcSwapOption<UpstreamInfo>,
    /// A child ended when it was asked of which era it is: the next one is not asked.
    unasked: AtomicBool,
    state: watch::Sender<State>,
    since: parking_lot::Mutex<Timestamp>,
    restarts: AtomicU32,
    stop: CancellationToken,
    recycle: Notify,
    /// A client's roots changed, and the child is not told yet: one word, however often.
    roots: Notify,
}

impl Core {
    fn next_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    fn has_issued(&self, id: u64) -> bool {
        id < self.next_id.load(Ordering::Relaxed)
    }

    /// What the connector's file says of the child's era.
    fn era(&self) -> EraChoice {
        match &self.transport {
            Transport::Stdio { era, .. } => *era,
            Transport::Http { .. } | Transport::InProcess => EraChoice::Auto,
        }
    }

    fn tells_roots(&self) -> bool {
        matches!(&self.transport, Transport::Stdio { tell_roots: true, .. })
    }

    fn enter(&self, state: State) {
        *self.since.lock() = Timestamp::now();
        self.state.send_replace(state);
    }
}

/// The way to one child. Dropped, it stops the child.
#[derive(Debug)]
pub(super) struct StdioLink {
    core: Arc<Core>,
}

impl Drop for StdioLink {
    fn drop(&mut self) {
        self.core.stop.cancel();
    }
}

impl StdioLink {
    /// Starts the child and its supervisor on the background runtime.
    pub fn start(
        connector: &Connector,
        environment: Environment,
        changed: Arc<Changed>,
        background: &tokio::runtime::Handle,
    ) -> Self {
        let core = Arc::new(Core {
            service: connector.service.clone(),
            transport: connector.transport.clone(),
            limits: connector.limits,
            optional: connector.optional,
            requires: connector.requires.clone(),
            environment,
            changed,
            next_id: AtomicU64::new(1),
            info: ArcSwapOption::empty(),
            unasked: AtomicBool::new(false),
            state: watch::Sender::new(State::Starting),
            since: parking_lot::Mutex::new(Timestamp::now()),
            restarts: AtomicU32::new(0),
            stop: CancellationToken::new(),
            recycle: Notify::new(),
            roots: Notify::new(),
        });
        drop(background.spawn(supervise(Arc::clone(&core))));
        Self { core }
    }

    /// A fresh id for a request to this child.
    pub fn next_id(&self) -> u64 {
        self.core.next_id()
    }

    /// What the child says of itself, once it was asked.
    pub fn info(&self) -> Option<Arc<UpstreamInfo>> {
        self.core.info.load_full()
    }

    /// Asks something in the gate's own name, with these raw parameters (an object) if any, in the
    /// child's own era.
    ///
    /// # Errors
    /// There is no answer. A JSON-RPC error is an answer.
    pub async fn ask(
        &self,
        method: &str,
        params: Option<&str>,
        patience: &Patience,
    ) -> Result<ReplyBody, UpstreamFailure> {
        let upstream = self.upstream(patience).await?;
        let (began, id) = (Instant::now(), self.next_id());
        let line = mcp::reply::upstream_request(id, method, params, upstream.revision);
        let mut awaited = self.put(patience, id, line, false).await?;
        match patience.wait(began, awaited.next()).await?? {
            FromUpstream::Response { body, .. } => Ok(body),
            _ => Err(UpstreamFailure::broken("its answer is no response")),
        }
    }

    /// What the child says of itself, once it is up.
    ///
    /// # Errors
    /// It is down.
    pub async fn upstream(&self, patience: &Patience) -> Result<Arc<UpstreamInfo>, UpstreamFailure> {
        drop(self.ready(patience, Instant::now()).await?);
        let unknown = || Arc::new(UpstreamInfo::of(Revision::NEWEST_OF_SESSION_ERA));
        Ok(self.info().unwrap_or_else(unknown))
    }

    /// Queues an answer to what the child asked.
    ///
    /// # Errors
    /// The child has ended.
    pub async fn answer(&self, line: Bytes) -> Result<(), UpstreamFailure> {
        let orders = match &*self.core.state.borrow() {
            State::Ready(orders) => Some(orders.clone()),
            _ => None,
        };
        let gone = || UpstreamFailure::broken("the process has just ended");
        orders.ok_or_else(gone)?.send(Order::Answer { line: one_line(line) }).await.map_err(|_| gone())
    }

    /// Queues a request, of a client or of the gate itself. What comes back says whether it was sent.
    ///
    /// # Errors
    /// Nothing was sent: the child is down, or its queue stayed full.
    pub async fn put(
        &self,
        patience: &Patience,
        id: u64,
        line: Bytes,
        of_client: bool,
    ) -> Result<Awaited, UpstreamFailure> {
        let began = Instant::now();
        let orders = self.ready(patience, began).await?;
        let held_bytes_max = usize::try_from(self.core.limits.reply_bytes_max).unwrap_or(usize::MAX);
        let (pending, awaited) = pending::pair(held_bytes_max.saturating_mul(2), of_client);
        let order = Order::Call { id, line: one_line(line), pending };
        match patience.wait(began, orders.send(order)).await? {
            Ok(()) => Ok(awaited),
            Err(_) => Err(UpstreamFailure::unreachable("the process has just ended")),
        }
    }

    async fn ready(
        &self,
        patience: &Patience,
        began: Instant,
    ) -> Result<mpsc::Sender<Order>, UpstreamFailure> {
        let mut states = self.core.state.subscribe();
        let settled = async {
            let state = states.wait_for(|state| !matches!(state, State::Starting)).await;
            state.map_or(State::Stopped, |state| state.clone())
        };
        match patience.wait(began, settled).await? {
            State::Ready(orders) => Ok(orders),
            State::Down { why, again_at } => {
                let wait = again_at.saturating_duration_since(Instant::now()).as_millis();
                Err(UpstreamFailure::unreachable(format!("{why}; it is started again in {wait} ms")))
            }
            State::Skipped { why } => Err(UpstreamFailure::unreachable(why.to_string())),
            State::Starting | State::Stopped => Err(UpstreamFailure::unreachable("it was stopped")),
        }
    }

    /// Tells the child that a request is cancelled, if there is room to tell.
    pub fn cancel(&self, id: u64, reason: Option<String>) {
        if let State::Ready(orders) = &*self.core.state.borrow() {
            // A full queue means that the child does not read anyway.
            let _full = orders.try_send(Order::Cancel { id, reason });
        }
    }

    /// Ends the child so that it is started again: it was silent too often.
    pub fn recycle(&self) {
        // A child that is not up has nothing to answer for.
        if matches!(*self.core.state.borrow(), State::Ready(_)) {
            self.core.recycle.notify_one();
        }
    }

    /// Whether the child is told when a client's roots change: it is of the session era, and its connector says so.
    pub fn hears_of_roots(&self) -> bool {
        let is_up = matches!(*self.core.state.borrow(), State::Ready(_));
        let is_of_session_era = || self.info().is_some_and(|info| info.revision.era() == mcp::Era::Session);
        is_up && self.core.tells_roots() && is_of_session_era()
    }

    /// A client's roots changed.
    pub fn roots_changed(&self) {
        self.core.roots.notify_one();
    }

    /// Whether the connector is left out because its program is not here.
    pub fn is_skipped(&self) -> bool {
        matches!(*self.core.state.borrow(), State::Skipped { .. })
    }

    /// Asks the child to stop; calls in flight have half a second.
    pub fn stop(&self) {
        self.core.stop.cancel();
    }

    /// Waits until the child is gone.
    pub async fn stopped(&self) {
        let mut states = self.core.state.subscribe();
        drop(states.wait_for(|state| matches!(state, State::Stopped)).await);
    }

    /// A word for the state, since when, and how often the child was started again.
    pub fn status(&self) -> (&'static str, Option<String>, Timestamp, u32) {
        let (word, why) = match &*self.core.state.borrow() {
            State::Starting => ("starting", None),
            State::Ready(_) => ("up", None),
            State::Down { why, .. } => ("down", Some(why.to_string())),
            State::Skipped { why } => ("skipped", Some(why.to_string())),
            State::Stopped => ("stopped", None),
        };
        (word, why, *self.core.since.lock(), self.core.restarts.load(Ordering::Relaxed))
    }
}

/// The message without line ends: they separate messages on stdio (MCP 2025-11-25, transports). In
/// strict JSON a bare line end is white space between tokens, so a space means the same.
fn one_line(message: Bytes) -> Bytes {
    let is_end = |byte: &u8| matches!(byte, b'\n' | b'\r');
    if !message.iter().any(is_end) {
        return message;
    }
    message.iter().map(|byte| if is_end(byte) { b' ' } else { *byte }).collect()
}

/// Keeps the child running until the link is gone.
async fn supervise(core: Arc<Core>) {
    let mut backoff = Backoff::new();
    while !core.stop.is_cancelled() {
        let began = Instant::now();
        let NoChild { why, missing } = run(&core).await;
        if core.stop.is_cancelled() {
            break;
        }
        if missing && core.optional {
            tracing::warn!(service = %core.service, why, "the optional connector is skipped until the next reload");
            core.enter(State::Skipped { why: Arc::from(why) });
            core.stop.cancelled().await;
            break;
        }
        // Without randomness the pause is the whole step.
        let pause = backoff.after(began.elapsed(), getrandom::u32().unwrap_or(u32::MAX));
        core.restarts.fetch_add(1, Ordering::Relaxed);
        telemetry::upstream_restarted(core.service.as_str());
        tracing::warn!(service = %core.service, why, pause_ms = pause.as_millis(), "the upstream process ended");
        let again_at = Instant::now() + pause;
        core.enter(State::Down { why: Arc::from(why), again_at });
        tokio::select! {
            () = tokio::time::sleep_until(again_at) => core.enter(State::Starting),
            () = core.stop.cancelled() => {}
        }
    }
    core.enter(State::Stopped);
}

/// One child's life; says why it ended.
async fn run(core: &Core) -> NoChild {
    if let Some(absent) = core.requires.iter().find(|path| core.optional && !Path::new(path).exists()) {
        let why = format!("`{}` is not there (see `requires`)", absent.escape_default());
        return NoChild { why, missing: true };
    }
    let (mut child, pipes) = match Child::start(&core.service, &core.transport, &core.environment) {
        Ok(started) => started,
        Err(none) => return none,
    };
    let (orders, mut queue) = mpsc::channel(ORDERS_MAX);
    let mut conversation = Conversation::begin(core, pipes);
    let hands = tokio::select! {
        hands = conversation.shake_hands(&mut child) => hands,
        () = core.stop.cancelled() => Err("it was stopped".to_owned()),
    };
    let why = match hands {
        Ok(()) => {
            if core.restarts.load(Ordering::Relaxed) > 0 {
                // A new process may offer other tools than the one before.
                core.changed.mark();
            }
            core.enter(State::Ready(orders));
            conversation.serve(&mut child, &mut queue, &core.stop, &core.recycle).await
        }
        Err(why) => why,
    };
    core.enter(State::Down { why: Arc::from(why.as_str()), again_at: Instant::now() });
    conversation.end(&why, &mut queue);
    child.stop().await;
    NoChild::from(why)
}
