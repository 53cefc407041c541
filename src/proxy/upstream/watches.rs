//! Which resources of one upstream somebody has subscribed to: one subscription with the upstream,
//! however many clients want to hear of it.
//!
//! Invariants: a subscription lives as long as a [`Hold`] of it, whatever the upstream says meanwhile, and
//! a moment longer; their number is capped, for all and for each member; what the upstream refused, or
//! forgot, is tried again.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use parking_lot::Mutex;
use serde_json::json;
use tokio::sync::Notify;

use super::UpstreamFailure;
use super::link::Link;
use super::patience::Patience;
use crate::mcp::{Era, ReplyBody};
use crate::model::MemberId;

/// Resources of one upstream that are subscribed to at a time.
const WATCHED_MAX: usize = 1_000;
/// Of these, those of one member, over all its sessions and streams.
const WATCHED_OF_MEMBER_MAX: usize = 128;
/// A subscription that nobody holds is taken back after so long: clients come and go.
const IDLE_MAX: Duration = Duration::from_secs(10);
/// What the upstream refused is tried again after so long; the same where it only failed to answer.
const REFUSED_FOR: Duration = Duration::from_secs(600);
const FAILED_FOR: Duration = Duration::from_secs(60);
/// A client that asks again is not given an older refusal than this.
const REFUSAL_FRESH: Duration = Duration::from_secs(10);
/// How long it is waited for what the upstream says of a subscription in the stateless era.
const VERDICT_MAX: Duration = Duration::from_secs(1);
/// Subscriptions that are asked for at a time.
const ASKED_AT_ONCE: usize = 8;

/// What the upstream knows of a subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Standing {
    /// Nothing yet, or nothing any more.
    Unknown,
    Known,
    /// It will have none of it: why, since when, and when it is asked again.
    Refused {
        why: Arc<str>,
        at: Instant,
        again: Instant,
    },
}

#[derive(Debug)]
struct Watch {
    /// Which subscription of this resource it is: an earlier one's hold is none of this one.
    generation: u64,
    holders: BTreeMap<MemberId, u32>,
    standing: Standing,
    idle_since: Instant,
}

#[derive(Debug, Default)]
struct Table {
    by_uri: BTreeMap<Arc<str>, Watch>,
    /// How many resources each member holds.
    of_member: HashMap<MemberId, usize>,
    generations: u64,
}

/// The subscriptions with one upstream.
#[derive(Debug, Default)]
pub(super) struct Watches {
    table: Mutex<Table>,
    changed: Notify,
    judged: Notify,
}

/// One client's share of a subscription, given back when dropped.
#[derive(Debug)]
pub struct Hold {
    link: Weak<Link>,
    uri: Arc<str>,
    member: MemberId,
    generation: u64,
}

impl Drop for Hold {
    fn drop(&mut self) {
        if let Some(link) = self.link.upgrade() {
            link.watches.release(&self.uri, self.member, self.generation);
        }
    }
}

/// What came of a subscription.
#[derive(Debug)]
pub(super) enum Subscribed {
    /// It is, or will be.
    Known,
    /// The upstream was asked, and answered this.
    Answer(ReplyBody),
    /// The upstream has refused it: why.
    Refused(Arc<str>),
}

impl Watches {
    /// The resources that are to be heard of now: all but those that were refused not long ago.
    pub fn wanted(&self, now: Instant) -> BTreeSet<Arc<str>> {
        let table = self.table.lock();
        let wanted = table.by_uri.iter().filter(|(_, watch)| watch.is_wanted(now));
        wanted.map(|(uri, _)| Arc::clone(uri)).collect()
    }

    /// Waits until there is something to tell the upstream.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// The upstream knows none of them any more, and may judge of them otherwise.
    pub fn forgotten(&self) {
        for watch in self.table.lock().by_uri.values_mut() {
            watch.standing = Standing::Unknown;
        }
    }

    /// What the upstream does not know of and is to be told now.
    pub fn unsent(&self, now: Instant) -> Vec<Arc<str>> {
        let table = self.table.lock();
        let unsent = |watch: &Watch| watch.standing != Standing::Known && watch.is_wanted(now);
        table.by_uri.iter().filter(|(_, watch)| unsent(watch)).map(|(uri, _)| Arc::clone(uri)).collect()
    }

    /// The upstream knows of it.
    pub fn sent(&self, uri: &str) {
        self.judge(uri, Standing::Known);
    }

    /// The upstream refuses it: those who hold it go without until it is tried again.
    pub fn refused(&self, uri: &str, why: &str) {
        let at = Instant::now();
        self.judge(uri, Standing::Refused { why: Arc::from(why), at, again: at + REFUSED_FOR });
    }

    /// The upstream could not be asked. Where nobody holds it, nobody wants it.
    fn failed(&self, uri: &str, failure: &UpstreamFailure) {
        let at = Instant::now();
        let mut table = self.table.lock();
        let Some(watch) = table.by_uri.get_mut(uri) else { return };
        if watch.holders.is_empty() {
            table.by_uri.remove(uri);
        } else if !failure.is_sickness() {
            let why = Arc::from(failure.to_string());
            watch.standing = Standing::Refused { why, at, again: at + FAILED_FOR };
        }
    }

    fn judge(&self, uri: &str, standing: Standing) {
        if let Some(watch) = self.table.lock().by_uri.get_mut(uri) {
            watch.standing = standing;
        }
        self.judged.notify_waiters();
    }

    /// Why the upstream refuses it, once it said so; nothing where it agreed, or says nothing for a moment.
    async fn verdict(&self, uri: &str) -> Option<Arc<str>> {
        let judged = async {
            loop {
                let judged = self.judged.notified();
                let standing = self.table.lock().by_uri.get(uri).map(|watch| watch.standing.clone());
                match standing {
                    Some(Standing::Refused { why, .. }) => return Some(why),
                    Some(Standing::Unknown) => {}
                    Some(Standing::Known) | None => return None,
                }
                judged.await;
            }
        };
        tokio::time::timeout(VERDICT_MAX, judged).await.unwrap_or(None)
    }

    /// What is held and refused all the same, and why, at most so many.
    pub fn unheard(&self, count_max: usize) -> Vec<(Arc<str>, Arc<str>)> {
        let table = self.table.lock();
        let refused = table.by_uri.iter().filter_map(|(uri, watch)| match &watch.standing {
            Standing::Refused { why, .. } if !watch.holders.is_empty() => {
                Some((Arc::clone(uri), Arc::clone(why)))
            }
            _ => None,
        });
        refused.take(count_max).collect()
    }

    /// Takes out what nobody has held for a while.
    pub fn take_idle(&self, now: Instant) -> Vec<Arc<str>> {
        let idle =
            |watch: &Watch| watch.holders.is_empty() && now.duration_since(watch.idle_since) >= IDLE_MAX;
        self.table.lock().by_uri.extract_if(.., |_, watch| idle(watch)).map(|(uri, _)| uri).collect()
    }

    /// Makes room for it, if this member may hold one more. True where the upstream knows of it.
    fn enter(&self, uri: &Arc<str>, member: MemberId) -> Result<bool, UpstreamFailure> {
        let (mut table, now) = (self.table.lock(), Instant::now());
        let is_held = table.by_uri.get(uri).is_some_and(|watch| watch.holders.contains_key(&member));
        let held = table.of_member.get(&member).copied().unwrap_or_default();
        if !is_held && held >= WATCHED_OF_MEMBER_MAX {
            return Err(UpstreamFailure::TooManyWatched { limit: WATCHED_OF_MEMBER_MAX });
        }
        if let Some(watch) = table.by_uri.get_mut(uri) {
            watch.idle_since = now;
            if matches!(watch.standing, Standing::Refused { at, .. } if now >= at + REFUSAL_FRESH) {
                watch.standing = Standing::Unknown;
            }
            return Ok(watch.standing == Standing::Known);
        }
        if table.by_uri.len() >= WATCHED_MAX {
            return Err(UpstreamFailure::TooManyWatched { limit: WATCHED_MAX });
        }
        table.generations += 1;
        let generation = table.generations;
        let (holders, standing) = (BTreeMap::new(), Standing::Unknown);
        table.by_uri.insert(Arc::clone(uri), Watch { generation, holders, standing, idle_since: now });
        Ok(false)
    }

    /// The generation of what this member holds from now on.
    fn hold(&self, uri: &str, member: MemberId) -> Option<u64> {
        let mut table = self.table.lock();
        let Table { by_uri, of_member, .. } = &mut *table;
        let watch = by_uri.get_mut(uri)?;
        let holds = watch.holders.entry(member).or_default();
        *holds += 1;
        if *holds == 1 {
            *of_member.entry(member).or_default() += 1;
        }
        Some(watch.generation)
    }

    fn release(&self, uri: &str, member: MemberId, generation: u64) {
        let mut table = self.table.lock();
        let Table { by_uri, of_member, .. } = &mut *table;
        let Some(watch) = by_uri.get_mut(uri).filter(|watch| watch.generation == generation) else { return };
        watch.idle_since = Instant::now();
        let Some(holds) = watch.holders.get_mut(&member) else { return };
        *holds = holds.saturating_sub(1);
        if *holds == 0 {
            watch.holders.remove(&member);
            let left = of_member.get(&member).copied().unwrap_or_default().saturating_sub(1);
            if left == 0 {
                of_member.remove(&member);
            } else {
                of_member.insert(member, left);
            }
        }
    }

    /// Whether it is there, and the upstream has not refused it.
    fn is_subscribed(&self, uri: &str) -> bool {
        let table = self.table.lock();
        table.by_uri.get(uri).is_some_and(|watch| !matches!(watch.standing, Standing::Refused { .. }))
    }
}

impl Watch {
    fn is_wanted(&self, now: Instant) -> bool {
        match &self.standing {
            Standing::Unknown | Standing::Known => true,
            Standing::Refused { again, .. } => *again <= now,
        }
    }
}

impl Link {
    /// Subscribes to a resource for this member.
    ///
    /// # Errors
    /// The upstream cannot be asked, or too much is subscribed to already.
    pub async fn subscribe(
        &self,
        uri: &Arc<str>,
        member: MemberId,
        patience: &Patience,
    ) -> Result<Subscribed, UpstreamFailure> {
        if self.watches.enter(uri, member)? {
            return Ok(Subscribed::Known);
        }
        if self.upstream(patience).await?.revision.era() == Era::Stateless {
            // A stream is asked for that carries it.
            self.watches.changed.notify_one();
            let refused = self.watches.verdict(uri).await;
            return Ok(refused.map_or(Subscribed::Known, Subscribed::Refused));
        }
        self.ask_to_watch(uri, patience).await.map(Subscribed::Answer)
    }

    async fn ask_to_watch(&self, uri: &str, patience: &Patience) -> Result<ReplyBody, UpstreamFailure> {
        let params = json!({ "uri": uri }).to_string();
        let answer = self.ask("resources/subscribe", Some(&params), patience).await;
        match &answer {
            Ok(body) if body.result().is_some() => self.watches.sent(uri),
            Ok(body) => {
                let code = body.error().map_or(0, |(code, _)| code);
                self.watches.refused(uri, &format!("it answers with the error {code}"));
            }
            Err(failure) => self.watches.failed(uri, failure),
        }
        answer
    }

    /// Holds a subscription for this member. Where the upstream does not know of it yet, it is told soon.
    /// Nothing where the upstream has just refused it.
    ///
    /// # Errors
    /// Too much is subscribed to already.
    pub fn hold(self: &Arc<Self>, uri: &str, member: MemberId) -> Result<Option<Hold>, UpstreamFailure> {
        let uri: Arc<str> = Arc::from(uri);
        let is_known = self.watches.enter(&uri, member)?;
        if !self.watches.is_subscribed(&uri) {
            return Ok(None);
        }
        if !is_known {
            self.watches.changed.notify_one();
        }
        let generation = self.watches.hold(&uri, member);
        let link = Arc::downgrade(self);
        Ok(generation.map(|generation| Hold { link, uri, member, generation }))
    }

    /// Tells an upstream of the session era what it does not know: new subscriptions, and those that nobody
    /// holds any more. What cannot be told now is left for the next time.
    pub async fn settle_watches(&self, patience: &Patience) {
        let now = Instant::now();
        let mut asked = futures_util::stream::iter(self.watches.unsent(now))
            .map(|uri| async move { self.watch_again(&uri, patience).await })
            .buffer_unordered(ASKED_AT_ONCE);
        while let Some(told) = asked.next().await {
            if let Err(failure) = told
                && failure.is_sickness()
            {
                return tracing::debug!(service = %self.service, %failure, "subscriptions wait");
            }
        }
        let mut asked = futures_util::stream::iter(self.watches.take_idle(now))
            .map(|uri| async move {
                let params = json!({ "uri": &*uri }).to_string();
                // An upstream that is not told tells of what nobody hears.
                drop(self.ask("resources/unsubscribe", Some(&params), patience).await);
            })
            .buffer_unordered(ASKED_AT_ONCE);
        while asked.next().await.is_some() {}
    }

    async fn watch_again(&self, uri: &str, patience: &Patience) -> Result<(), UpstreamFailure> {
        let mut slot = self.gate.look(Instant::now())?;
        let answer = self.ask_to_watch(uri, patience).await;
        match &answer {
            Ok(_) => slot.succeeded(),
            Err(failure) => {
                slot.failed(failure, Instant::now());
            }
        }
        answer.map(drop)
    }
}

#[cfg(test)]
impl Hold {
    /// One of an upstream that is gone.
    pub fn of_nothing() -> Self {
        let member = MemberId::from_uuid(uuid::Uuid::nil());
        Self { link: Weak::new(), uri: Arc::from("x://gone"), member, generation: 0 }
    }
}

#[cfg(test)]
mod tests;
