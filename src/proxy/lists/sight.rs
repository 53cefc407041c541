//! What each caller sees of a merged list, kept as long as nothing that it was found by has changed.
//!
//! Invariants: a sight answers only for the list, the policies and the callers that it was found for, for
//! the very counters that were read, and until the clock moves a field that a policy reads; what is kept
//! is bounded ([`SURVEYS_MAX`] times [`SIGHTS_MAX`] numbers of tools); forgetting costs time alone.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::Viewer;
use super::merged::Merged;
use super::presentation::ToolLists;
use crate::model::{Digest, History, KeyId, Timestamp};
use crate::policy::{Edge, Survey};

/// Surveys that are kept: one for each list, set of policies and kind of caller. 1,496 tools take 12 kB.
const SURVEYS_MAX: usize = 64;
/// Sights that are kept of one survey: callers that look the same, with counters of their own. 1,496 tools
/// take 12 kB.
const SIGHTS_MAX: usize = 16;
/// How long a client may take a list for fresh.
const TTL_MS_MAX: i64 = 300_000;
/// The same where policies read counters: other calls of the member move them as well.
const TTL_COUNTED_MS_MAX: i64 = 60_000;
/// Further calls that must change nothing for a list to be fresh at all where policies read counters.
const CALLS_AHEAD: i64 = 10;

/// What one caller sees of a merged list.
#[derive(Debug)]
pub(in crate::proxy) struct Sight {
    /// Places in the merged list of all that the caller may see, and so find.
    pub visible: Vec<u32>,
    /// Those that `tools/list` gives.
    pub listed: Vec<u32>,
    /// Of the list that is given; what cursors are bound to.
    pub digest: Digest,
    /// How long a client may take the list for fresh, in milliseconds; 0 where the next call may change it.
    pub ttl_ms: u64,
    at: Timestamp,
    edge: Edge,
    history: History,
    caller: Option<(IpAddr, KeyId)>,
}

impl Sight {
    /// Whether the clock stands where it stood, as far as anybody looks.
    fn holds_at(&self, now: Timestamp) -> bool {
        now == self.at
            || now > self.at
                && match self.edge {
                    Edge::Never => true,
                    Edge::At(edge) => now < edge,
                    Edge::Always => false,
                }
    }
}

/// A survey, and the sights that came of it.
#[derive(Debug)]
struct Kept {
    merged: Weak<Merged>,
    bundle: Digest,
    survey: Survey,
    sights: Mutex<VecDeque<Arc<Sight>>>,
}

/// The surveys that are kept, last used first.
#[derive(Debug, Default)]
pub(super) struct Sights(Mutex<VecDeque<Arc<Kept>>>);

impl Sights {
    /// What the viewer sees of this list.
    pub(super) fn of(&self, merged: &Arc<Merged>, viewer: &Viewer<'_>, options: &ToolLists) -> Arc<Sight> {
        let kept = self.kept(merged, viewer);
        let history = match kept.survey.needs().reads_counters() {
            true => (viewer.counters)(kept.survey.needs()),
            false => History::default(),
        };
        let caller = kept.survey.reads_caller().then_some((viewer.caller.ip, viewer.caller.key));
        let fits = |sight: &Arc<Sight>| {
            sight.holds_at(viewer.now) && sight.history == history && sight.caller == caller
        };
        let found = kept.sights.lock().iter().find(|sight| fits(sight)).map(Arc::clone);
        if let Some(sight) = found {
            return sight;
        }
        let sight = Arc::new(look(merged, &kept.survey, viewer, options, (history, caller)));
        let mut sights = kept.sights.lock();
        sights.push_front(Arc::clone(&sight));
        sights.truncate(SIGHTS_MAX);
        sight
    }

    /// The survey of this list for this viewer: a kept one, or one that is made now.
    fn kept(&self, merged: &Arc<Merged>, viewer: &Viewer<'_>) -> Arc<Kept> {
        let bundle = viewer.bundle.digest();
        let fits = |kept: &Arc<Kept>| {
            std::ptr::eq(kept.merged.as_ptr(), Arc::as_ptr(merged))
                && kept.bundle == bundle
                && kept.survey.holds_for(viewer.bundle, viewer.caller)
        };
        let found = {
            let mut all = self.0.lock();
            let place = all.iter().position(fits);
            place.and_then(|place| all.remove(place)).inspect(|kept| all.push_front(Arc::clone(kept)))
        };
        found.unwrap_or_else(|| {
            // Not under the lock: another caller may look at the same meanwhile, which costs time alone.
            let tools = merged.entries.iter().map(|entry| (&entry.service, &entry.tool));
            let survey = viewer.bundle.survey(viewer.caller, tools);
            let (merged, sights) = (Arc::downgrade(merged), Mutex::default());
            let kept = Arc::new(Kept { merged, bundle, survey, sights });
            let mut all = self.0.lock();
            all.push_front(Arc::clone(&kept));
            all.truncate(SURVEYS_MAX);
            kept
        })
    }
}

fn look(
    merged: &Merged,
    survey: &Survey,
    viewer: &Viewer<'_>,
    options: &ToolLists,
    (history, caller): (History, Option<(IpAddr, KeyId)>),
) -> Sight {
    let Viewer { bundle, now, .. } = *viewer;
    let settled = bundle.settle(survey, viewer.caller, &history, now);
    let edge = survey.edge(bundle, now);
    let mut left_ms = match edge {
        Edge::Never => TTL_MS_MAX,
        Edge::At(edge) => edge.millis_since(now).clamp(0, TTL_MS_MAX),
        Edge::Always => 0,
    };
    if survey.needs().reads_counters() && left_ms > 0 {
        let stays = bundle.settle(survey, viewer.caller, &ahead(&history), now) == settled;
        left_ms = if stays { left_ms.min(TTL_COUNTED_MS_MAX) } else { 0 };
    }
    let visible: Vec<u32> = (0..).zip(settled).filter_map(|(place, seen)| seen.then_some(place)).collect();
    let listed = options.listed(&merged.entries, &visible, bundle.connectors());
    let places: Vec<u8> = listed.iter().flat_map(|place| place.to_be_bytes()).collect();
    let digest = Digest::of_parts([merged.version.as_bytes().as_slice(), &places]);
    Sight { visible, listed, digest, ttl_ms: left_ms.unsigned_abs(), at: now, edge, history, caller }
}

/// The counters after some further calls, allowed and denied.
fn ahead(history: &History) -> History {
    let mut later = history.clone();
    for count in later.session.values_mut().chain(later.member.values_mut()) {
        *count = count.saturating_add(CALLS_AHEAD);
    }
    later
}
