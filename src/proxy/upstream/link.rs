//! One upstream as the gate holds it: its transport, its way in, and the list of its tools.
//!
//! Invariants: a list is asked for by one task at a time; an upstream that cannot be asked keeps its
//! old list, marked; nothing here waits for another upstream; few callers wait for a list, and not for
//! long, because each holds a place among the gate's requests meanwhile.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::{Notify, OwnedMutexGuard, Semaphore, broadcast};
use tokio_util::sync::CancellationToken;

use super::attend;
use super::breaker::Gate;
use super::catalogue::{Listed, Pages};
use super::http::HttpLink;
use super::news::{Changed, News};
use super::offers::Offer;
use super::patience::Patience;
use super::stdio::StdioLink;
use super::watches::Watches;
use super::{Config, InProcess, UpstreamFailure};
use crate::connector::{Connector, Limits, Transport, builtin};
use crate::mcp::envelope::{Offers, UpstreamInfo};
use crate::mcp::{self, FromUpstream, Primitive, ReplyBody};
use crate::model::{ServiceKey, Timestamp};

/// The longest time for reading a whole list, in milliseconds.
const LIST_MS_MAX: u32 = 60_000;
/// How long a caller waits for a list to be read again before it is shown the old one.
const REFRESH_WAIT: Duration = Duration::from_secs(2);

/// How an upstream is reached.
#[derive(Debug)]
pub(super) enum Way {
    InProcess(Arc<dyn InProcess>),
    Http(Arc<HttpLink>),
    Stdio(Arc<StdioLink>),
    /// The connector cannot be used as it is configured: why.
    Unusable(Arc<str>),
}

/// One upstream, kept over reloads that do not touch its transport or its limits.
#[derive(Debug)]
pub(super) struct Link {
    pub service: ServiceKey,
    pub way: Way,
    pub gate: Arc<Gate>,
    pub since: Timestamp,
    transport: Transport,
    pub limits: Limits,
    pub changed: Arc<Changed>,
    /// The upstream answered for the first time.
    pub met: Arc<Notify>,
    /// Lists of all kinds but tools, whose place stays empty.
    offers: [Offer; Primitive::ALL.len()],
    pub watches: Watches,
    closed: CancellationToken,
    listed: ArcSwapOption<Listed>,
    reading: Arc<tokio::sync::Mutex<()>>,
    /// Since when a list has been asked for, while it is.
    reading_since: Mutex<Option<Instant>>,
    /// Places for callers that wait for a list.
    pub waiters: Semaphore,
    /// The last failure to read it.
    failed: Mutex<Option<(Instant, UpstreamFailure)>>,
    pub background: Handle,
}

impl Link {
    /// Opens the way that the connector describes. A child process starts now.
    pub fn open(connector: &Connector, config: &Config, news: &broadcast::Sender<News>) -> Arc<Self> {
        let changed = Arc::new(Changed::new(connector.service.clone(), news.clone()));
        let limits = connector.limits;
        let way = match &connector.transport {
            Transport::InProcess => Way::InProcess(Arc::clone(&config.in_process)),
            transport @ Transport::Http { .. } => {
                let (changed, background) = (Arc::clone(&changed), config.background.clone());
                match HttpLink::new(transport, limits, &config.environment, changed, background) {
                    Ok(link) => Way::Http(Arc::new(link)),
                    Err(why) => {
                        tracing::error!(service = %connector.service, why, "the connector cannot be used");
                        Way::Unusable(Arc::from(why))
                    }
                }
            }
            Transport::Stdio { .. } => Way::Stdio(Arc::new(StdioLink::start(
                connector,
                config.environment.clone(),
                Arc::clone(&changed),
                &config.background,
            ))),
        };
        Arc::new(Self {
            service: connector.service.clone(),
            way,
            gate: Gate::new(limits.in_flight_max),
            since: Timestamp::now(),
            transport: connector.transport.clone(),
            limits,
            changed,
            met: Arc::default(),
            offers: Default::default(),
            watches: Watches::default(),
            closed: CancellationToken::new(),
            listed: ArcSwapOption::empty(),
            reading: Arc::default(),
            reading_since: Mutex::new(None),
            waiters: Semaphore::new(limits.catalogue_waiters_max as usize),
            failed: Mutex::new(None),
            background: config.background.clone(),
        })
    }

    /// Has somebody attend to what the upstream says without being asked, until the link is closed.
    pub fn attend(self: &Arc<Self>) {
        let attended = attend::attend(Arc::downgrade(self), self.closed.clone());
        drop(self.background.spawn(attended));
    }

    /// The list of this kind.
    pub const fn offer(&self, of: Primitive) -> &Offer {
        let [tools, prompts, resources, templates] = &self.offers;
        match of {
            Primitive::Tools => tools,
            Primitive::Prompts => prompts,
            Primitive::Resources => resources,
            Primitive::Templates => templates,
        }
    }

    /// Whether the upstream was left out because its program was not here: the next reload looks again.
    pub fn is_skipped(&self) -> bool {
        matches!(&self.way, Way::Stdio(link) if link.is_skipped())
    }

    /// Whether the connector describes this very way.
    pub fn serves(&self, connector: &Connector) -> bool {
        self.service == connector.service
            && self.transport == connector.transport
            && self.limits == connector.limits
    }

    /// The last list that was read, and whether it should have been read again.
    pub fn listed(&self) -> Option<(Arc<Listed>, bool)> {
        let listed = self.listed.load_full()?;
        let stale = !self.is_fresh(&listed);
        Some((listed, stale))
    }

    /// Whether the upstream has said since that its tools changed.
    pub fn is_outdated(&self, listed: &Listed) -> bool {
        listed.changes != self.changed.count()
    }

    /// Has the list read again before it is used for another call.
    pub fn outdate(&self) {
        self.changed.mark();
    }

    fn is_fresh(&self, listed: &Listed) -> bool {
        let ttl = Duration::from_millis(self.limits.catalogue_ttl_ms.into());
        !self.is_outdated(listed) && listed.read.elapsed() < ttl
    }

    /// The list, read again if it is time: without one the caller waits for it, within
    /// `catalogue_wait_ms_max` from when it was asked for; with one that the upstream called outdated, or
    /// if `patient`, the caller waits a short while; else not at all.
    ///
    /// # Errors
    /// There is no list and none can be had, or none yet; [`UpstreamFailure::Busy`] where
    /// `catalogue_waiters_max` callers wait already.
    pub async fn list(self: &Arc<Self>, patient: bool) -> Result<(Arc<Listed>, bool), UpstreamFailure> {
        let Some((listed, stale)) = self.listed() else {
            return self.first_list().await.map(|listed| (listed, false));
        };
        if !stale {
            return Ok((listed, false));
        }
        if patient || self.is_outdated(&listed) {
            let Ok(_place) = self.waiters.try_acquire() else { return Ok((listed, true)) };
            return match tokio::time::timeout(REFRESH_WAIT, self.whole_list()).await {
                Ok(Ok(fresh)) => Ok((fresh, false)),
                _ => Ok((listed, true)),
            };
        }
        // A call does not wait because time has passed; whoever comes first has it read again.
        if let Ok(turn) = Arc::clone(&self.reading).try_lock_owned() {
            drop(self.background.spawn(Arc::clone(self).read_list(turn)));
        }
        Ok((listed, true))
    }

    /// Waits for the first list as one of few, and not for long: while an upstream says nothing, later
    /// callers are not made to wait for it in their turn.
    async fn first_list(self: &Arc<Self>) -> Result<Arc<Listed>, UpstreamFailure> {
        let limit = self.limits.catalogue_waiters_max;
        let _place = self.waiters.try_acquire().map_err(|_| UpstreamFailure::Busy { limit })?;
        let wait = Duration::from_millis(self.limits.catalogue_wait_ms_max.into());
        let waited = self.reading_since.lock().map_or(Duration::ZERO, |since| since.elapsed());
        let listed = tokio::time::timeout(wait.saturating_sub(waited), self.whole_list()).await;
        listed.unwrap_or_else(|_| {
            let why = format!("it has not told its tools within {} ms", wait.as_millis());
            Err(UpstreamFailure::unreachable(why))
        })
    }

    /// The list as the upstream tells it now, however long that takes within the limits of a call. A caller
    /// that goes away leaves the reading to end by itself.
    ///
    /// # Errors
    /// It cannot be had.
    pub async fn whole_list(self: &Arc<Self>) -> Result<Arc<Listed>, UpstreamFailure> {
        let came = Instant::now();
        let turn = Arc::clone(&self.reading).lock_owned().await;
        // Who waited while another failed shares that failure instead of waiting as long again.
        if let Some((at, failure)) = &*self.failed.lock()
            && *at >= came
        {
            return Err(failure.clone());
        }
        let read = self.background.spawn(Arc::clone(self).read_list(turn)).await;
        read.unwrap_or_else(|_| Err(UpstreamFailure::unreachable("the gate is stopping")))
    }

    async fn read_list(self: Arc<Self>, turn: OwnedMutexGuard<()>) -> Result<Arc<Listed>, UpstreamFailure> {
        // Another caller may have read it while this one waited for its turn.
        if let Some((listed, false)) = self.listed() {
            return Ok(listed);
        }
        let mut slot = self.gate.look(Instant::now())?;
        *self.reading_since.lock() = Some(Instant::now());
        let read = self.read_pages().await;
        *self.reading_since.lock() = None;
        match &read {
            Ok(listed) => {
                slot.succeeded();
                self.met.notify_one();
                self.listed.store(Some(Arc::clone(listed)));
                tracing::debug!(service = %self.service, tools = listed.definitions.len(), "read the list of tools");
            }
            Err(failure) => {
                slot.failed(failure, Instant::now());
                *self.failed.lock() = Some((Instant::now(), failure.clone()));
                tracing::warn!(service = %self.service, %failure, "the list of tools cannot be read");
            }
        }
        drop(turn);
        read
    }

    async fn read_pages(&self) -> Result<Arc<Listed>, UpstreamFailure> {
        let call_ms_max = self.limits.call_ms_max.min(LIST_MS_MAX);
        let limits = Limits { call_ms_max, ..self.limits };
        let patience = Patience::begin(&limits, CancellationToken::new());
        let mut pages = Pages::new(self.changed.count());
        let mut cursor: Option<String> = None;
        loop {
            let body = self.page(cursor.as_deref(), &patience).await?;
            cursor = pages.take(&body)?;
            if cursor.is_none() {
                return Ok(Arc::new(pages.finish()));
            }
        }
    }

    async fn page(&self, cursor: Option<&str>, patience: &Patience) -> Result<ReplyBody, UpstreamFailure> {
        let params = cursor.map(|cursor| serde_json::json!({ "cursor": cursor }).to_string());
        self.ask("tools/list", params.as_deref(), patience).await
    }

    /// What the upstream declares; it is asked where nobody did.
    ///
    /// # Errors
    /// It cannot be reached.
    pub async fn offers(&self, patience: &Patience) -> Result<Offers, UpstreamFailure> {
        match &self.way {
            Way::InProcess(_) => Ok(Offers { tools: true, ..Offers::default() }),
            _ => Ok(self.upstream(patience).await?.offers),
        }
    }

    /// What the upstream says of itself; it is asked where nobody did. The gate itself is none.
    ///
    /// # Errors
    /// It cannot be reached.
    pub async fn upstream(&self, patience: &Patience) -> Result<Arc<UpstreamInfo>, UpstreamFailure> {
        match &self.way {
            Way::Http(link) => link.upstream(patience).await,
            Way::Stdio(link) => link.upstream(patience).await,
            Way::InProcess(_) => Err(UpstreamFailure::unreachable("the gate is no upstream")),
            Way::Unusable(why) => Err(UpstreamFailure::unreachable(why.to_string())),
        }
    }

    /// Asks something in the gate's own name, in the upstream's own era, with these raw parameters (an
    /// object) if any. On the background runtime.
    ///
    /// # Errors
    /// There is no answer. A JSON-RPC error is an answer.
    pub async fn ask(
        &self,
        method: &str,
        params: Option<&str>,
        patience: &Patience,
    ) -> Result<ReplyBody, UpstreamFailure> {
        match &self.way {
            Way::Http(link) => link.ask(method, params, patience).await,
            Way::Stdio(link) => link.ask(method, params, patience).await,
            Way::InProcess(_) => {
                let list = match method {
                    "tools/list" => builtin::TOOLS_LIST_RESULT,
                    _ => return Err(UpstreamFailure::unreachable("the gate offers tools alone")),
                };
                let list = Bytes::from(format!(r#"{{"jsonrpc":"2.0","id":0,"result":{list}}}"#));
                let listing = mcp::read_upstream(list, mcp::Limits::REPLY);
                match listing.map_err(|fault| UpstreamFailure::broken(fault.to_string()))? {
                    FromUpstream::Response { body, .. } => Ok(body),
                    _ => Err(UpstreamFailure::broken("its answer is no response")),
                }
            }
            Way::Unusable(why) => Err(UpstreamFailure::unreachable(why.to_string())),
        }
    }

    /// What the upstream says of itself, in `initialize` or `server/discover`; nothing while it was
    /// not reached yet.
    pub fn info(&self) -> Option<Arc<UpstreamInfo>> {
        match &self.way {
            Way::Http(link) => link.info(),
            Way::Stdio(link) => link.info(),
            Way::InProcess(_) | Way::Unusable(_) => None,
        }
    }

    /// Whether it was not closed.
    pub fn is_open(&self) -> bool {
        !self.closed.is_cancelled()
    }

    /// Ends the way: sessions are given back, the child is stopped. Calls in flight have a moment.
    pub fn close(&self) {
        self.closed.cancel();
        match &self.way {
            Way::Http(link) => link.close(),
            Way::Stdio(link) => link.stop(),
            Way::InProcess(_) | Way::Unusable(_) => {}
        }
    }
}
