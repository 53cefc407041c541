//! Counters along a replay of recorded calls, as they were and as they would have been.
//!
//! What was counted is told by the records; beside it runs, for each set of policies that is tried (a
//! lane), what that set would have counted otherwise: a call that a draft denies is not counted as a call
//! but as a denial, and every later decision of the lane sees that (decision 9).
//!
//! Invariants: the windows and tallies are those of living sessions; a lane that never differs holds
//! nothing and reads what was recorded, so that the unchanged set changes nothing; a counter whose value
//! cannot be told is never taken for 0. Sessions, members and open calls are bounded; beyond, nothing is
//! known of the new ones.

mod track;

use std::collections::{BTreeMap, HashMap, HashSet};

use self::track::{MemberTrack, SessionTrack, Standing};
use super::window::{BUCKET_MS, BUCKETS};
use crate::model::{
    CallId, CheckpointCause, CounterKey, History, MemberId, PolicyKey, ServiceKey, SessionCheckpoint,
    SessionId, Tier, Timestamp, ToolName,
};
use crate::policy::Needs;

/// Sets of policies that are tried at once: the draft's, and the one without it.
pub const LANES: usize = 2;

/// Sessions that are followed; of later ones nothing is known.
const SESSIONS_MAX: usize = 200_000;
/// Members that are followed.
const MEMBERS_MAX: usize = 50_000;
/// Calls that have begun and not ended; where there are more, those that come then stay counted.
const OPEN_CALLS_MAX: usize = 100_000;

/// How long a count stays in a member's window at most, in milliseconds.
pub const WINDOW_MS: i64 = (BUCKETS + 1) * BUCKET_MS;

/// From when on every call was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// There was none before.
    Always,
    Time(Timestamp),
}

/// Whose counters, and when.
#[derive(Debug, Clone, Copy)]
pub struct Step<'a> {
    pub call: CallId,
    pub session: SessionId,
    pub member: MemberId,
    pub at: Timestamp,
    /// The tool, where it is known.
    pub tool: Option<(&'a ServiceKey, &'a ToolName, Tier)>,
    /// The counters that the recorded decision read.
    pub recorded: &'a History,
}

/// How a call came out, as far as counters see it.
#[derive(Debug, Clone, Copy)]
pub enum Came<'a> {
    /// With the permits that determined.
    Allowed(&'a [PolicyKey]),
    /// With the forbids that determined.
    Denied(&'a [PolicyKey]),
    /// It counted in nothing.
    Uncounted,
    /// Nobody can tell; in a lane alone.
    Unknown,
}

/// Counters as a lane reads them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub history: History,
    /// False where something before could not be told for certain.
    pub exact: bool,
}

/// An allowed call that has not ended.
#[derive(Debug)]
struct Open {
    session: SessionId,
    member: MemberId,
    keys: Vec<CounterKey>,
    bucket: i64,
    /// What each lane counted instead, where it did: of an allowed call, else nothing to take back.
    lanes: [Option<Vec<CounterKey>>; LANES],
}

/// All counters of a replay.
#[derive(Debug)]
pub struct Replay {
    wanted: HashSet<CounterKey>,
    since: Since,
    sessions: HashMap<SessionId, SessionTrack>,
    members: HashMap<MemberId, MemberTrack>,
    open: HashMap<CallId, Open>,
}

impl Replay {
    /// Follows these counters alone.
    pub fn new(wanted: impl IntoIterator<Item = CounterKey>, since: Since) -> Self {
        let wanted = wanted.into_iter().collect();
        Self { wanted, since, sessions: HashMap::new(), members: HashMap::new(), open: HashMap::new() }
    }

    /// Whether any counter is followed at all.
    pub fn follows_any(&self) -> bool {
        !self.wanted.is_empty()
    }

    /// The counters that a lane's decision reads before this call; `None` where one of them cannot be told.
    pub fn read(&mut self, lane: usize, step: &Step<'_>, needs: &Needs) -> Option<Seen> {
        let mut seen = Seen { history: History::default(), exact: true };
        if !needs.session.is_empty() {
            let track = self.session(step)?;
            seen.history.session = values(
                &needs.session,
                &step.recorded.session,
                &mut seen.exact,
                |key| track.known(key),
                |key| track.difference(lane, key),
            )?;
            seen.exact &= !track.is_doubtful(lane);
        }
        if !needs.member.is_empty() {
            let track = self.member(step)?;
            track.advance(step.at);
            let at = step.at;
            seen.history.member = values(
                &needs.member,
                &step.recorded.member,
                &mut seen.exact,
                |key| track.known(key, at),
                |key| track.difference(lane, key),
            )?;
            seen.exact &= !track.is_doubtful(lane, at);
        }
        Some(seen)
    }

    /// Counts a call: as it came out, and as it would have in each lane.
    pub fn count(&mut self, step: &Step<'_>, truth: Came<'_>, lanes: [Came<'_>; LANES]) {
        if !self.follows_any() {
            return;
        }
        let keys = self.keys(step, truth);
        let mut instead = [const { None }; LANES];
        for (slot, lane) in instead.iter_mut().zip(lanes) {
            // Of what nobody can tell the likeliest is that it came out as it did.
            if !matches!(lane, Came::Unknown) {
                let counted = self.keys(step, lane);
                *slot = (counted != keys).then_some(counted);
            }
        }
        let unknown = lanes.map(|lane| matches!(lane, Came::Unknown));
        if let Some(track) = self.session(step) {
            track.anchor(&step.recorded.session);
            track.count(&keys, &instead, unknown, step.at);
        }
        let Some(track) = self.member(step) else { return };
        track.advance(step.at);
        let bucket = track.count(&keys, &instead, unknown, step.at);
        let counts = !keys.is_empty() || instead.iter().flatten().any(|counted| !counted.is_empty());
        if matches!(truth, Came::Allowed(_)) && counts && self.open.len() < OPEN_CALLS_MAX {
            for (slot, lane) in instead.iter_mut().zip(lanes) {
                if let (Some(counted), false) = (slot.as_mut(), matches!(lane, Came::Allowed(_))) {
                    // A denial stays counted, whatever becomes of the call that was sent.
                    counted.clear();
                }
            }
            let open = Open { session: step.session, member: step.member, keys, bucket, lanes: instead };
            self.open.insert(step.call, open);
        }
    }

    /// The call ended. One that was never sent is uncounted, wherever it was allowed.
    pub fn ended(&mut self, call: CallId, sent: bool) {
        let Some(open) = self.open.remove(&call) else { return };
        if sent {
            return;
        }
        if let Some(track) = self.sessions.get_mut(&open.session) {
            track.take_back(&open.keys, &open.lanes);
        }
        if let Some(track) = self.members.get_mut(&open.member) {
            track.take_back(&open.keys, &open.lanes, open.bucket);
        }
    }

    /// The call goes on in another round, which is counted in its place: nobody records which.
    pub fn goes_on(&mut self, call: CallId, at: Timestamp) {
        let Some(open) = self.open.remove(&call) else { return };
        if let Some(track) = self.sessions.get_mut(&open.session) {
            track.drift();
        }
        if let Some(track) = self.members.get_mut(&open.member) {
            track.drift(at.plus_millis(WINDOW_MS));
        }
    }

    /// Takes up what a checkpoint says, where the replay knows less.
    pub fn checkpoint(&mut self, checkpoint: &SessionCheckpoint) {
        if !self.follows_any() {
            return;
        }
        let restored = checkpoint.cause == CheckpointCause::Restored;
        let recorded = History::default();
        let step = Step {
            call: CallId::from_uuid(uuid::Uuid::nil()),
            session: checkpoint.session,
            member: checkpoint.member,
            at: checkpoint.at,
            tool: None,
            recorded: &recorded,
        };
        if checkpoint.ended.is_some() {
            self.sessions.remove(&checkpoint.session);
        } else {
            let counters = self.wanted_of(&checkpoint.counters);
            if let Some(track) = self.session(&step) {
                track.adopt(counters, (checkpoint.at, checkpoint.settled), restored);
            }
        }
        let Some(window) = checkpoint.window.as_ref().filter(|window| window.whole && window.settled) else {
            return;
        };
        if window.bucket_ms != BUCKET_MS {
            return;
        }
        let buckets: Vec<(i64, BTreeMap<CounterKey, i64>)> =
            window.buckets.iter().map(|(bucket, counts)| (*bucket, self.wanted_of(counts))).collect();
        if let Some(track) = self.member(&step) {
            track.adopt(&buckets, checkpoint.at, restored);
        }
    }

    fn wanted_of(&self, counters: &BTreeMap<CounterKey, i64>) -> BTreeMap<CounterKey, i64> {
        let wanted = counters.iter().filter(|(key, _)| self.wanted.contains(*key));
        wanted.map(|(key, count)| (key.clone(), *count)).collect()
    }

    fn session(&mut self, step: &Step<'_>) -> Option<&mut SessionTrack> {
        if !self.sessions.contains_key(&step.session) {
            if self.sessions.len() >= SESSIONS_MAX {
                return None;
            }
            let standing = match self.since {
                Since::Always => Standing::Exact,
                Since::Time(since) if opened(step.session) >= since => Standing::Exact,
                Since::Time(_) => Standing::Unknown,
            };
            self.sessions.insert(step.session, SessionTrack::new(standing));
        }
        self.sessions.get_mut(&step.session)
    }

    fn member(&mut self, step: &Step<'_>) -> Option<&mut MemberTrack> {
        if !self.members.contains_key(&step.member) {
            if self.members.len() >= MEMBERS_MAX {
                return None;
            }
            let exact_from = match self.since {
                Since::Always => Timestamp::from_millis(i64::MIN),
                Since::Time(since) => since.plus_millis(WINDOW_MS),
            };
            self.members.insert(step.member, MemberTrack::new(exact_from));
        }
        self.members.get_mut(&step.member)
    }

    /// What a call counts in, of what is followed.
    fn keys(&self, step: &Step<'_>, came: Came<'_>) -> Vec<CounterKey> {
        let mut keys = Vec::new();
        let mut add = |key: CounterKey| {
            if self.wanted.contains(&key) {
                keys.push(key);
            }
        };
        match came {
            Came::Uncounted | Came::Unknown => {}
            Came::Denied(forbids) => {
                super::reserve::denial_keys(forbids.iter()).for_each(&mut add);
            }
            Came::Allowed(permits) => {
                // An allowed call is of a known tool.
                if let Some((service, tool, tier)) = step.tool {
                    super::reserve::call_keys((service, tool, tier), permits.iter()).for_each(&mut add);
                }
            }
        }
        keys
    }
}

/// When a session was opened: its id says (UUIDv7).
fn opened(session: SessionId) -> Timestamp {
    let millis = session.as_uuid().as_u128() >> 80;
    Timestamp::from_millis(i64::try_from(millis).unwrap_or(i64::MAX))
}

/// The values of these counters in a lane: as the record says, else as far as they are known, and what the
/// lane counted otherwise.
fn values(
    keys: &[CounterKey],
    recorded: &BTreeMap<CounterKey, i64>,
    exact: &mut bool,
    known: impl Fn(&CounterKey) -> Option<(i64, bool)>,
    difference: impl Fn(&CounterKey) -> i64,
) -> Option<BTreeMap<CounterKey, i64>> {
    let mut values = BTreeMap::new();
    for key in keys {
        let base = match recorded.get(key) {
            Some(value) => *value,
            None => {
                let (value, sure) = known(key)?;
                *exact &= sure;
                value
            }
        };
        values.insert(key.clone(), base.saturating_add(difference(key)).max(0));
    }
    Some(values)
}

#[cfg(test)]
mod tests;
