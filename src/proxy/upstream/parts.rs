//! Which resources of an upstream of the stateless era are asked for in which `subscriptions/listen`.
//!
//! Invariants: a resource that the upstream refuses takes no other with it: a request that is refused is
//! halved until what is refused stands alone; new resources leave the streams that are open as they are;
//! few streams are open at a time, small ones are merged, and the old ones go only after the new one is
//! heard; a stream that broke is told apart from one that was closed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

/// Streams with one upstream at a time; what does not fit goes without.
const PARTS_MAX: usize = 32;
/// With more of them, small ones are merged.
const PARTS_FEW: usize = 8;
/// Requests that wait for their acknowledgement at a time.
const OPENING_MAX: usize = 8;
/// A stream that broke so often in a row before it was acknowledged counts as refused.
const BREAKS_MAX: u32 = 3;
/// The pauses before a stream that broke is asked for again.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// A request that was not refused for so long is heard, though the upstream does not say so.
const TAKEN_AFTER: Duration = Duration::from_secs(2);

type Uris = BTreeSet<Arc<str>>;

/// A request that was made.
#[derive(Debug)]
struct Part {
    uris: Uris,
    asked: Instant,
    opened: bool,
    /// How often it failed in a row, and how often the upstream was there and broke off.
    tries: u32,
    breaks: u32,
    /// What was said of these since may have been missed.
    missed: bool,
    /// The parts that it was merged of; they go when it is heard.
    replaces: Vec<u64>,
}

/// A request that is to be made.
#[derive(Debug)]
struct Due {
    uris: Uris,
    not_before: Instant,
    tries: u32,
    breaks: u32,
    missed: bool,
    replaces: Vec<u64>,
}

impl Due {
    const fn now(uris: Uris, missed: bool, now: Instant) -> Self {
        Self { uris, not_before: now, tries: 0, breaks: 0, missed, replaces: Vec::new() }
    }
}

/// What a request became.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Opened {
    /// Streams that are to be closed.
    pub close: Vec<u64>,
    /// What its listeners are to be told anew.
    pub missed: Vec<Arc<str>>,
    /// What the upstream knows of now.
    pub heard: Vec<Arc<str>>,
}

/// All requests of one upstream.
#[derive(Debug)]
pub struct Parts {
    asked: BTreeMap<u64, Part>,
    due: Vec<Due>,
    /// So many resources may be tried in one merged request.
    merge_max: usize,
}

impl Parts {
    /// Nothing asked for yet.
    pub const fn new() -> Self {
        Self { asked: BTreeMap::new(), due: Vec::new(), merge_max: usize::MAX }
    }

    /// These are wanted now. Gives the streams that nobody wants any more, to be closed; `missed` says
    /// whether news of the new ones may have been missed.
    pub fn settle(&mut self, wanted: &Uris, missed: bool, now: Instant) -> Vec<u64> {
        for due in &mut self.due {
            due.uris.retain(|uri| wanted.contains(uri));
        }
        self.due.retain(|due| !due.uris.is_empty());
        let unwanted: Vec<u64> =
            self.asked.iter().filter(|(_, part)| part.uris.is_disjoint(wanted)).map(|(id, _)| *id).collect();
        for id in &unwanted {
            self.asked.remove(id);
        }
        let new: Uris = wanted.iter().filter(|uri| !self.holds(uri)).cloned().collect();
        if !new.is_empty() {
            self.due.push(Due::now(new, missed, now));
        }
        self.merge(wanted, now);
        unwanted
    }

    fn holds(&self, uri: &Arc<str>) -> bool {
        self.asked.values().any(|part| part.uris.contains(uri))
            || self.due.iter().any(|due| due.uris.contains(uri))
    }

    /// Has the smallest parts asked for as one, once there are many; one merger at a time.
    fn merge(&mut self, wanted: &Uris, now: Instant) {
        let merging = self.due.iter().any(|due| !due.replaces.is_empty())
            || self.asked.values().any(|part| !part.replaces.is_empty());
        if self.asked.len() <= PARTS_FEW || merging {
            return;
        }
        let mut smallest: Vec<(&u64, &Part)> = self.asked.iter().filter(|(_, part)| part.opened).collect();
        smallest.sort_by_key(|(_, part)| part.uris.len());
        let (mut uris, mut replaces) = (Uris::new(), Vec::new());
        for (id, part) in smallest {
            if uris.len() + part.uris.len() > self.merge_max {
                break;
            }
            uris.extend(part.uris.intersection(wanted).cloned());
            replaces.push(*id);
        }
        if replaces.len() > 1 {
            self.due.insert(0, Due { replaces, ..Due::now(uris, false, now) });
        }
    }

    /// The next request to make, under this id, if one is due and there is room for it.
    pub fn next(&mut self, id: u64, now: Instant) -> Option<Vec<Arc<str>>> {
        let opening = self.asked.values().filter(|part| !part.opened).count();
        if opening >= OPENING_MAX {
            return None;
        }
        let is_full = self.asked.len() >= PARTS_MAX;
        let is_next = |due: &Due| due.not_before <= now && (!is_full || !due.replaces.is_empty());
        let due = self.due.remove(self.due.iter().position(is_next)?);
        let uris = due.uris.iter().cloned().collect();
        let Due { uris: of, tries, breaks, missed, replaces, .. } = due;
        let part = Part { uris: of, asked: now, opened: false, tries, breaks, missed, replaces };
        self.asked.insert(id, part);
        Some(uris)
    }

    /// When there may be something to do next.
    pub fn wakes(&self) -> Option<Instant> {
        let opening: Vec<_> = self.asked.values().filter(|part| !part.opened).collect();
        let (may_ask, has_room) = (opening.len() < OPENING_MAX, self.asked.len() < PARTS_MAX);
        let due = self.due.iter().filter(|due| may_ask && (has_room || !due.replaces.is_empty()));
        let taken = opening.iter().map(|part| part.asked + TAKEN_AFTER);
        taken.chain(due.map(|due| due.not_before)).min()
    }

    /// Requests that were neither refused nor acknowledged for a while.
    pub fn taken(&self, now: Instant) -> Vec<u64> {
        let is_taken = |part: &Part| !part.opened && part.asked + TAKEN_AFTER <= now;
        self.asked.iter().filter(|(_, part)| is_taken(part)).map(|(id, _)| *id).collect()
    }

    /// The upstream acknowledged a request, for these resources if it says which. Gives those that it left
    /// out beside what follows.
    pub fn opened(&mut self, id: u64, honoured: Option<&[String]>) -> (Opened, Vec<Arc<str>>) {
        let Some(part) = self.asked.get_mut(&id) else { return Default::default() };
        let mut left_out = Vec::new();
        if let Some(honoured) = honoured {
            let honoured: BTreeSet<&str> = honoured.iter().map(String::as_str).collect();
            left_out.extend(part.uris.extract_if(.., |uri| !honoured.contains(&**uri)));
        }
        part.opened = true;
        (part.tries, part.breaks) = (0, 0);
        let heard: Vec<Arc<str>> = part.uris.iter().cloned().collect();
        let missed = if std::mem::take(&mut part.missed) { heard.clone() } else { Vec::new() };
        let close = std::mem::take(&mut part.replaces);
        if part.uris.is_empty() {
            self.asked.remove(&id);
        }
        for id in &close {
            self.asked.remove(id);
        }
        (Opened { close, missed, heard }, left_out)
    }

    /// The upstream refused a request: gives the one resource that it refuses, or asks again by halves.
    pub fn refused(&mut self, id: u64, now: Instant) -> Option<Arc<str>> {
        let Part { uris, missed, replaces, .. } = self.asked.remove(&id)?;
        if !replaces.is_empty() {
            self.merge_max = uris.len() / 2;
        }
        if !replaces.is_empty() && replaces.iter().all(|id| self.asked.contains_key(id)) {
            return None;
        }
        if uris.len() < 2 {
            return uris.into_iter().next();
        }
        let half = uris.len() / 2;
        let first: Uris = uris.iter().take(half).cloned().collect();
        let rest: Uris = uris.into_iter().skip(half).collect();
        self.due.insert(0, Due::now(rest, missed, now));
        self.due.insert(0, Due::now(first, missed, now));
        None
    }

    /// A request is given up with all that it names.
    pub fn given_up(&mut self, id: u64) -> Vec<Arc<str>> {
        let part = self.asked.remove(&id);
        part.into_iter().flat_map(|part| part.uris).filter(|uri| !self.holds(uri)).collect()
    }

    /// A stream broke: it is asked for again after a pause, and what was said meanwhile is missed. Gives
    /// a resource whose stream breaks again and again before it is acknowledged, as one that is refused.
    pub fn broken(&mut self, id: u64, counts: bool, now: Instant) -> Option<Arc<str>> {
        let part = self.asked.get(&id)?;
        let (tries, breaks) = (part.tries, part.breaks + u32::from(counts && !part.opened));
        if breaks >= BREAKS_MAX {
            return self.refused(id, now);
        }
        let Part { uris, .. } = self.asked.remove(&id)?;
        let uris: Uris = uris.into_iter().filter(|uri| !self.holds(uri)).collect();
        if !uris.is_empty() {
            let pause = PAUSE_MIN.saturating_mul(1 << tries.min(6)).min(PAUSE_MAX);
            let due = Due::now(uris, true, now);
            self.due.push(Due { not_before: now + pause, tries: tries + 1, breaks, ..due });
        }
        None
    }

    /// What there is no room for: the upstream takes too few resources in one request. They are not asked
    /// for any more.
    pub fn left_out(&mut self) -> Vec<Arc<str>> {
        let merging = self.asked.values().any(|part| !part.replaces.is_empty());
        let may_merge = self.due.iter().any(|due| !due.replaces.is_empty());
        if self.asked.len() < PARTS_MAX || merging || may_merge {
            return Vec::new();
        }
        self.due.drain(..).flat_map(|due| due.uris).collect()
    }
}

#[cfg(test)]
mod tests;
