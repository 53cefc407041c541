//! The way to the servers behind the gate.
//!
//! Architecture invariant: [`Upstreams::send`] is the only function that puts a call on a wire. It
//! takes the permit, the receipt and the reservation of that very call by value, so that no call
//! leaves without a decision, a record and a count; it sends a call at most once; and whatever it
//! cannot do ends as a failure that says whether the call may have run.
//!
//! One sick upstream is alone with its sickness: each has its own cap, breaker, pool or process, and
//! list of tools.

mod asks;
mod attend;
mod breaker;
mod calls;
mod catalogue;
mod dialogue;
mod egress;
mod environment;
mod failure;
mod http;
mod link;
mod news;
mod offers;
mod outbound;
mod owner;
mod parts;
mod patience;
mod pool;
mod reply;
mod roots;
mod rounds;
mod status;
mod stdio;
mod watches;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::broadcast;

use self::calls::Calls;
use self::catalogue::Listed;
use self::link::{Link, Way};
use self::patience::Patience;
use self::reply::Source;
use crate::audit::Receipt;
use crate::connector::{Connector, Connectors};
use crate::mcp::Method;
use crate::mcp::catalog::Definition;
use crate::mcp::envelope::UpstreamInfo;
use crate::model::{CallId, Digest, MemberId, OutcomeKind, ServiceKey, ToolName};
use crate::policy::Permit;
use crate::session::Reservation;
use crate::telemetry;

pub use self::catalogue::{Catalogue, Standing, Why};
pub use self::environment::Environment;
pub use self::failure::UpstreamFailure;
pub use self::news::{News, NewsKind};
pub use self::offers::Offered;
pub use self::outbound::Outbound;
pub use self::owner::UnknownOwner;
pub use self::reply::{
    AnswerSender, ClientAnswer, ProgressSender, Reply, ReplyEvent, ReplyStream, Sent, ServerRequest,
};
pub use self::status::{Shadowed, ToolNote, Unheard, UpstreamStatus};
pub use self::watches::Hold;

/// How long child processes have to leave when the gate stops.
const SHUTDOWN_MAX: Duration = Duration::from_secs(3);

/// The tools that the gate itself serves (the connector `wicket`).
#[async_trait]
pub trait InProcess: Send + Sync + fmt::Debug {
    /// Answers a call: a whole JSON-RPC response with the client's id, and its kind.
    async fn call(&self, outbound: &Outbound, upstreams: &Upstreams) -> (Bytes, OutcomeKind);
}

/// What the upstream side needs of the rest of the gate.
#[derive(Debug, Clone)]
pub struct Config {
    /// The background runtime: child processes, lists of tools and asides live there.
    pub background: Handle,
    /// What connectors may name of the gate's environment.
    pub environment: Environment,
    pub in_process: Arc<dyn InProcess>,
}

/// One upstream under its connector's present file and lock.
#[derive(Debug)]
struct Upstream {
    connector: Arc<Connector>,
    link: Arc<Link>,
    /// The last comparison, with the list and the staleness that it was made of.
    compared: Mutex<Option<(Arc<Listed>, Arc<Catalogue>)>>,
}

impl Upstream {
    /// The catalogue of this list.
    fn compare(&self, listed: &Arc<Listed>, stale: bool) -> Arc<Catalogue> {
        let mut compared = self.compared.lock();
        if let Some((of, catalogue)) = &*compared
            && Arc::ptr_eq(of, listed)
            && catalogue.stale == stale
        {
            return Arc::clone(catalogue);
        }
        let catalogue = Arc::new(Catalogue::compare(listed, &self.connector, stale));
        for (tool, why) in catalogue.quarantined.iter().chain(&catalogue.reported) {
            tracing::warn!(service = %self.connector.service, %tool, %why, "a tool is not as it was accepted");
        }
        *compared = Some((Arc::clone(listed), Arc::clone(&catalogue)));
        catalogue
    }

    /// The catalogue, as far as one was read.
    fn known(&self) -> Option<Arc<Catalogue>> {
        self.link.listed().map(|(listed, stale)| self.compare(&listed, stale))
    }
}

/// All upstreams.
#[derive(Debug)]
pub struct Upstreams {
    config: Config,
    by_service: ArcSwap<BTreeMap<ServiceKey, Arc<Upstream>>>,
    /// One reload at a time.
    applying: Mutex<()>,
    calls: Arc<Calls>,
    news: broadcast::Sender<News>,
}

impl Upstreams {
    /// No upstreams yet; see [`Upstreams::apply`].
    pub fn new(config: Config) -> Self {
        let (news, _) = broadcast::channel(news::NEWS_MAX);
        Self { config, by_service: ArcSwap::default(), applying: Mutex::new(()), calls: Arc::default(), news }
    }

    /// Takes these connectors into force: an upstream whose transport and limits are the same goes on
    /// untouched, others are started, restarted and stopped. Calls in flight on one that goes have
    /// half a second more.
    pub fn apply(&self, connectors: &Arc<Connectors>) {
        let _turn = self.applying.lock();
        let before = self.by_service.load_full();
        let mut after = BTreeMap::new();
        for connector in connectors.iter() {
            let former = before.get(&connector.service);
            let kept = former.filter(|former| former.link.serves(connector) && !former.link.is_skipped());
            let link = match kept {
                Some(former) => {
                    // What was accepted is what the upstream serves now, not what it served when its list
                    // was last read.
                    if !accepts_the_same(&former.connector, connector) {
                        former.link.outdate();
                        self.read_ahead(&former.link);
                    }
                    Arc::clone(&former.link)
                }
                None => {
                    let link = Link::open(connector, &self.config, &self.news);
                    link.attend();
                    self.read_ahead(&link);
                    link
                }
            };
            let (connector, service) = (Arc::clone(connector), connector.service.clone());
            after.insert(service, Arc::new(Upstream { connector, link, compared: Mutex::new(None) }));
        }
        let after = Arc::new(after);
        self.by_service.store(Arc::clone(&after));
        for (service, upstream) in before.iter() {
            let kept = after.get(service).is_some_and(|now| Arc::ptr_eq(&now.link, &upstream.link));
            if !kept {
                upstream.link.close();
                // After the others are in force, so that whoever hears it finds them.
                upstream.link.changed.tell(NewsKind::Replaced);
            }
            if !after.contains_key(service) {
                telemetry::upstream(service.as_str(), false, 0);
            }
        }
    }

    /// Has a list read before it is asked for, so that the next call finds it, and a changed tool is seen
    /// before it is called.
    fn read_ahead(&self, link: &Arc<Link>) {
        let ahead = Arc::clone(link);
        drop(self.config.background.spawn(async move { drop(ahead.whole_list().await) }));
    }

    /// Sends a call, once. The only function that can.
    ///
    /// The reply's first event is there when this returns. The reservation is released only if
    /// certainly nothing was sent.
    pub async fn send(
        &self,
        permit: Permit,
        receipt: Receipt,
        mut reservation: Reservation,
        call: Outbound,
    ) -> Sent {
        let belongs = permit.call() == call.call_id && receipt.call() == call.call_id;
        if !belongs || !permit.decision().allowed || !call.is_named() {
            tracing::error!(call = %call.call_id, "a call was not sent: it does not belong to its permit and record");
            reservation.release();
            return Sent::Failed { receipt, failure: UpstreamFailure::Unpermitted };
        }
        let mut sent = false;
        let forwarded = self.forward(&call, &mut sent).await;
        if sent {
            reservation.reached();
        } else {
            reservation.release();
        }
        match forwarded {
            Ok((status, first, rest)) => {
                Sent::Reply(Reply { receipt, status, stream: ReplyStream::new(first, rest) })
            }
            Err(failure) => Sent::Failed { receipt, failure },
        }
    }

    async fn forward(
        &self,
        call: &Outbound,
        sent: &mut bool,
    ) -> Result<(u16, ReplyEvent, Source), UpstreamFailure> {
        let upstream = self.find(&call.connector.service)?;
        // The connector may have been moved since the call was decided: then this is not the
        // upstream that was permitted.
        if !upstream.link.serves(&call.connector) {
            return Err(UpstreamFailure::unreachable("its connector was changed just now, try again"));
        }
        let slot = upstream.link.gate.enter(Instant::now())?;
        let mut guard = self.calls.enter(call.call_id, slot);
        if matches!(call.call.method(), Method::ResourcesSubscribe | Method::ResourcesUnsubscribe) {
            // Boxed: few calls are such, and all would carry its state.
            return Box::pin(self.subscription(&upstream.link, call, guard, sent)).await;
        }
        match &upstream.link.way {
            Way::Http(link) => link.call(call, guard, sent).await,
            Way::Stdio(link) => link.call(call, guard, sent).await,
            Way::InProcess(tools) => {
                let patience = Patience::begin(&call.connector.limits, guard.token());
                *sent = true;
                let answer = patience.wait(tokio::time::Instant::now(), tools.call(call, self)).await;
                let (body, kind) = answer.map_err(|failure| guard.failed(failure))?;
                guard.alive();
                Ok((0, ReplyEvent::Json { body, kind }, Source::Whole))
            }
            Way::Unusable(why) => Err(guard.failed(UpstreamFailure::unreachable(why.to_string()))),
        }
    }

    /// What an upstream offers. With `patient` a list that is due is waited for, at most 2 seconds;
    /// that is for `tools/list`. The data plane may call this; reading happens in the background.
    ///
    /// # Errors
    /// The upstream was never reached and cannot be.
    pub async fn catalogue(&self, service: &ServiceKey) -> Result<Arc<Catalogue>, UpstreamFailure> {
        self.read(service, true).await
    }

    /// What the upstream of this connector serves now, over a way of its own: see [`probe`].
    ///
    /// # Errors
    /// The upstream cannot be reached or does not answer as one.
    pub async fn probe(&self, connector: &Connector) -> Result<Vec<Definition>, UpstreamFailure> {
        probe(&self.config, connector).await
    }

    /// How a tool stands, before it is decided: the first call waits for the list of tools, later
    /// ones use the last that was read. A list that the upstream itself called outdated, and that
    /// cannot be read again, says nothing any more.
    ///
    /// # Errors
    /// The upstream was never reached and cannot be: nobody knows what the tool is now.
    pub async fn standing(&self, service: &ServiceKey, tool: &ToolName) -> Result<Standing, UpstreamFailure> {
        let upstream = self.find(service)?;
        let (listed, stale) = upstream.link.list(false).await?;
        if stale && upstream.link.is_outdated(&listed) {
            return Err(UpstreamFailure::unreachable("its tools changed and it does not tell how"));
        }
        Ok(upstream.compare(&listed, stale).standing(tool))
    }

    async fn read(&self, service: &ServiceKey, patient: bool) -> Result<Arc<Catalogue>, UpstreamFailure> {
        let upstream = self.find(service)?;
        let (listed, stale) = upstream.link.list(patient).await?;
        Ok(upstream.compare(&listed, stale))
    }

    /// What this upstream said of itself when it was last spoken to.
    pub fn info(&self, service: &ServiceKey) -> Option<Arc<UpstreamInfo>> {
        self.by_service.load().get(service)?.link.info()
    }

    /// The catalogue as it was last read, without asking anybody.
    pub fn known(&self, service: &ServiceKey) -> Option<Arc<Catalogue>> {
        self.by_service.load().get(service)?.known()
    }

    /// A client's session with the gate is over: what upstreams hold for it is given back.
    pub fn client_gone(&self, member: MemberId, mcp_session: Digest) {
        for upstream in self.by_service.load().values() {
            if let Way::Http(link) = &upstream.link.way {
                link.client_gone(member, Some(mcp_session));
            }
        }
    }

    /// Ends a call in flight and tells its upstream. Its stream ends with
    /// [`UpstreamFailure::Cancelled`]. False where no such call is in flight.
    pub fn cancel(&self, call: CallId, reason: Option<&str>) -> bool {
        self.calls.cancel(call, reason)
    }

    /// How every upstream stands, by service key.
    pub fn status(&self) -> Vec<UpstreamStatus> {
        let mut shadowed = self.shadowed();
        let upstreams = self.by_service.load();
        let status = |(service, upstream): (&ServiceKey, &Arc<Upstream>)| {
            let shadowed = shadowed.remove(service).unwrap_or_default();
            UpstreamStatus { shadowed, ..UpstreamStatus::of(upstream) }
        };
        upstreams.iter().map(status).collect()
    }

    /// Measures every upstream, for the metrics.
    pub fn measure(&self) {
        for (service, upstream) in self.by_service.load().iter() {
            let quarantined = upstream.known().map_or(0, |catalogue| catalogue.quarantined.len());
            telemetry::upstream(service.as_str(), upstream.link.gate.health().0, quarantined);
        }
    }

    /// Stops everything: sessions are given back, child processes leave or are killed, within three
    /// seconds.
    pub async fn shutdown(&self) {
        let upstreams = self.by_service.swap(Arc::default());
        for upstream in upstreams.values() {
            upstream.link.close();
        }
        let gone = async {
            for upstream in upstreams.values() {
                if let Way::Stdio(child) = &upstream.link.way {
                    child.stopped().await;
                }
            }
        };
        if tokio::time::timeout(SHUTDOWN_MAX, gone).await.is_err() {
            tracing::warn!("an upstream process did not leave in time and is killed");
        }
    }

    fn find(&self, service: &ServiceKey) -> Result<Arc<Upstream>, UpstreamFailure> {
        let upstreams = self.by_service.load();
        upstreams.get(service).cloned().ok_or_else(|| UpstreamFailure::unreachable("no such connector"))
    }
}

/// What the upstream of this connector serves now, over a connection (or a child process) of its own that
/// is closed again. For `wicket connector sync | diff | accept`: it needs no lock, and no gate.
///
/// # Errors
/// The upstream cannot be reached or does not answer as one.
pub async fn probe(config: &Config, connector: &Connector) -> Result<Vec<Definition>, UpstreamFailure> {
    let (nobody, _) = broadcast::channel(1);
    let link = Link::open(connector, config, &nobody);
    let listed = link.whole_list().await;
    link.close();
    if let Way::Stdio(child) = &link.way
        && tokio::time::timeout(SHUTDOWN_MAX, child.stopped()).await.is_err()
    {
        tracing::warn!(service = %connector.service, "the probed process did not leave in time and is killed");
    }
    listed.map(|listed| listed.definitions.clone())
}

/// Whether both locks hold the same tools.
fn accepts_the_same(one: &Connector, other: &Connector) -> bool {
    let digests = |connector: &Connector| {
        connector.tools.iter().map(|(name, tool)| (name.clone(), tool.digest)).collect::<Vec<_>>()
    };
    digests(one) == digests(other)
}

#[cfg(test)]
mod tests;
