//! Which resources of one upstream somebody has subscribed to: one subscription with the upstream,
//! however many clients want to hear of it.
//!
//! Invariants: a subscription lives as long as a [`Hold`] of it, whatever the upstream says meanwhile, and
//! a moment longer; their number is capped, for all and for each member; what the upstream refused, or
//! forgot, is tried again, after pauses that grow; those who hold what it begins to refuse are told so,
//! once, and told again when it is heard again.

mod ask;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::UpstreamFailure;
use super::link::Link;
use crate::mcp::ReplyBody;
use crate::model::MemberId;

/// Resources of one upstream that are subscribed to at a time.
const WATCHED_MAX: usize = 1_000;
/// Of these, those of one member, over all its sessions and streams.
const WATCHED_OF_MEMBER_MAX: usize = 128;
/// A subscription that nobody holds is taken back after so long: clients come and go.
const IDLE_MAX: Duration = Duration::from_secs(10);
/// What the upstream refused is tried again after so long: twice as long each time, up to the longest.
const REFUSED_FOR_MIN: Duration = Duration::from_secs(10);
const REFUSED_FOR_MAX: Duration = Duration::from_secs(600);
/// The same where it only failed to answer.
const FAILED_FOR: Duration = Duration::from_secs(60);
/// A client that asks again is not given an older refusal than this.
const REFUSAL_FRESH: Duration = Duration::from_secs(10);
/// How long it is waited for what the upstream says of a subscription in the stateless era.
const VERDICT_MAX: Duration = Duration::from_secs(1);

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
    /// How often in a row it was refused.
    refusals: u32,
    /// Somebody holds it who believes that it is heard.
    believed: bool,
    /// Somebody was told that it is not.
    lost: bool,
}

/// What those who hold a subscription have to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// It is not heard any more.
    Lost,
    /// It is heard again: what was said meanwhile is missed.
    Back,
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

impl Hold {
    /// Whether its upstream is still the one that the gate speaks to.
    pub fn is_current(&self) -> bool {
        self.link.upgrade().is_some_and(|link| link.is_open())
    }

    /// Whether news of it may come: the upstream has not refused it, as far as is known.
    pub fn is_heard(&self) -> bool {
        let link = self.link.upgrade().filter(|link| link.is_open());
        link.is_some_and(|link| link.watches.is_heard(&self.uri, self.generation))
    }
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
            watch.refusals = 0;
        }
    }

    /// What the upstream does not know of and is to be told now.
    pub fn unsent(&self, now: Instant) -> Vec<Arc<str>> {
        let table = self.table.lock();
        let unsent = |watch: &Watch| watch.standing != Standing::Known && watch.is_wanted(now);
        table.by_uri.iter().filter(|(_, watch)| unsent(watch)).map(|(uri, _)| Arc::clone(uri)).collect()
    }

    /// The upstream knows of it. Gives what those who hold it are to be told.
    #[must_use = "clients believe what they were told last"]
    pub fn sent(&self, uri: &str) -> Option<Turn> {
        self.judge(uri, |watch| {
            watch.standing = Standing::Known;
            watch.refusals = 0;
            let lost = std::mem::take(&mut watch.lost);
            watch.believed |= lost;
            lost.then_some(Turn::Back)
        })
    }

    /// The upstream refuses it: those who hold it go without until it is tried again. Gives what they are
    /// to be told.
    #[must_use = "clients believe what they were told last"]
    pub fn refused(&self, uri: &str, why: &str) -> Option<Turn> {
        let at = Instant::now();
        self.judge(uri, |watch| {
            let pause = REFUSED_FOR_MIN.saturating_mul(1 << watch.refusals.min(16)).min(REFUSED_FOR_MAX);
            watch.refusals = watch.refusals.saturating_add(1);
            watch.standing = Standing::Refused { why: Arc::from(why), at, again: at + pause };
            watch.loses()
        })
    }

    /// The upstream could not be asked. Where nobody holds it, nobody wants it.
    #[must_use = "clients believe what they were told last"]
    fn failed(&self, uri: &str, failure: &UpstreamFailure) -> Option<Turn> {
        {
            let mut table = self.table.lock();
            if table.by_uri.get(uri).is_some_and(|watch| watch.holders.is_empty()) {
                table.by_uri.remove(uri);
            }
        }
        if failure.is_sickness() {
            return None;
        }
        let at = Instant::now();
        self.judge(uri, |watch| {
            let why = Arc::from(failure.to_string());
            watch.standing = Standing::Refused { why, at, again: at + FAILED_FOR };
            watch.loses()
        })
    }

    fn judge(&self, uri: &str, judge: impl FnOnce(&mut Watch) -> Option<Turn>) -> Option<Turn> {
        let turn = self.table.lock().by_uri.get_mut(uri).and_then(judge);
        self.judged.notify_waiters();
        turn
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
        table.by_uri.insert(Arc::clone(uri), Watch::new(generation, now));
        Ok(false)
    }

    /// The generation of what this member holds from now on; nothing where the upstream has refused it.
    fn hold(&self, uri: &str, member: MemberId) -> Option<u64> {
        let mut table = self.table.lock();
        let Table { by_uri, of_member, .. } = &mut *table;
        // Looked at and taken under one lock: a refusal in between would be told to nobody.
        let watch = by_uri.get_mut(uri).filter(|watch| !watch.is_refused())?;
        watch.believed = true;
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

    fn is_heard(&self, uri: &str, generation: u64) -> bool {
        let table = self.table.lock();
        table.by_uri.get(uri).is_some_and(|watch| watch.generation == generation && !watch.is_refused())
    }
}

impl Watch {
    fn new(generation: u64, now: Instant) -> Self {
        let (holders, standing) = (BTreeMap::new(), Standing::Unknown);
        Self { generation, holders, standing, idle_since: now, refusals: 0, believed: false, lost: false }
    }

    const fn is_refused(&self) -> bool {
        matches!(self.standing, Standing::Refused { .. })
    }

    /// Those who hold it are told that it is not heard any more, unless they know.
    fn loses(&mut self) -> Option<Turn> {
        let tell = std::mem::take(&mut self.believed) && !self.holders.is_empty();
        self.lost |= tell;
        tell.then_some(Turn::Lost)
    }

    fn is_wanted(&self, now: Instant) -> bool {
        match &self.standing {
            Standing::Unknown | Standing::Known => true,
            Standing::Refused { again, .. } => *again <= now,
        }
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
