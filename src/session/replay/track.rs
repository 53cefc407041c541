//! What is followed of one session and of one member.

use std::collections::BTreeMap;

use super::LANES;
use crate::model::{CounterKey, Timestamp};
use crate::session::tally::Tally;
use crate::session::window::Window;

/// How much is known of what was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// All of it.
    Exact,
    /// All but for what nobody recorded.
    Drifted,
    /// It began before the replay.
    Unknown,
}

/// What a lane counted and the truth did not, and the other way round.
#[derive(Debug, Default)]
struct Delta<T> {
    plus: T,
    minus: T,
}

/// One session.
#[derive(Debug)]
pub(super) struct SessionTrack {
    truth: Tally,
    standing: Standing,
    /// Counters of an unknown session that a record has told.
    anchored: Vec<CounterKey>,
    lanes: [Option<Box<Delta<Tally>>>; LANES],
    doubtful: [bool; LANES],
    last_at: Timestamp,
}

impl SessionTrack {
    pub(super) fn new(standing: Standing) -> Self {
        Self {
            truth: Tally::default(),
            standing,
            anchored: Vec::new(),
            lanes: Default::default(),
            doubtful: [false; LANES],
            last_at: Timestamp::from_millis(i64::MIN),
        }
    }

    /// What was counted, and whether that is certain.
    pub(super) fn known(&self, key: &CounterKey) -> Option<(i64, bool)> {
        match self.standing {
            Standing::Exact => Some((self.truth.get(key), true)),
            Standing::Drifted => Some((self.truth.get(key), false)),
            Standing::Unknown => self.anchored.contains(key).then(|| (self.truth.get(key), false)),
        }
    }

    pub(super) fn difference(&self, lane: usize, key: &CounterKey) -> i64 {
        let delta = self.lanes.get(lane).and_then(Option::as_deref);
        delta.map_or(0, |delta| delta.plus.get(key) - delta.minus.get(key))
    }

    pub(super) fn is_doubtful(&self, lane: usize) -> bool {
        self.doubtful.get(lane).copied().unwrap_or(true)
    }

    /// Takes up what a record says of counters that are not known otherwise.
    pub(super) fn anchor(&mut self, recorded: &BTreeMap<CounterKey, i64>) {
        if self.standing != Standing::Unknown {
            return;
        }
        for (key, value) in recorded {
            set(&mut self.truth, key, *value);
            if !self.anchored.contains(key) {
                self.anchored.push(key.clone());
            }
        }
    }

    pub(super) fn count(
        &mut self,
        keys: &[CounterKey],
        instead: &[Option<Vec<CounterKey>>; LANES],
        unknown: [bool; LANES],
        at: Timestamp,
    ) {
        keys.iter().for_each(|key| self.truth.add(key, 1));
        for (lane, counted) in self.lanes.iter_mut().zip(instead) {
            let Some(counted) = counted else { continue };
            let delta = lane.get_or_insert_default();
            keys.iter().for_each(|key| delta.minus.add(key, 1));
            counted.iter().for_each(|key| delta.plus.add(key, 1));
        }
        for (doubtful, unknown) in self.doubtful.iter_mut().zip(unknown) {
            *doubtful |= unknown;
        }
        self.last_at = self.last_at.max(at);
    }

    pub(super) fn take_back(&mut self, keys: &[CounterKey], lanes: &[Option<Vec<CounterKey>>; LANES]) {
        keys.iter().for_each(|key| self.truth.take_back(key));
        for (lane, counted) in self.lanes.iter_mut().zip(lanes) {
            let (Some(delta), Some(counted)) = (lane, counted) else { continue };
            keys.iter().for_each(|key| delta.minus.take_back(key));
            counted.iter().for_each(|key| delta.plus.take_back(key));
        }
    }

    pub(super) fn drift(&mut self) {
        if self.standing == Standing::Exact {
            self.standing = Standing::Drifted;
        }
    }

    /// Takes up a checkpoint, unless more is known or calls after it were read already.
    pub(super) fn adopt(
        &mut self,
        counters: BTreeMap<CounterKey, i64>,
        (at, settled): (Timestamp, bool),
        restored: bool,
    ) {
        let later = self.last_at > at;
        if later || (self.standing == Standing::Exact && !restored) {
            return;
        }
        if !settled && !restored && self.standing == Standing::Drifted {
            return;
        }
        self.truth = Tally::default();
        counters.iter().for_each(|(key, count)| set(&mut self.truth, key, *count));
        self.standing = if settled || restored { Standing::Exact } else { Standing::Drifted };
    }
}

fn set(tally: &mut Tally, key: &CounterKey, value: i64) {
    let held = tally.get(key);
    if value > held {
        tally.add(key, u32::try_from(value - held).unwrap_or(u32::MAX));
    }
    for _ in value..held {
        tally.take_back(key);
    }
}

/// One member's sliding 24 hours.
#[derive(Debug)]
pub(super) struct MemberTrack {
    truth: Window,
    /// From here on the window holds every call of its 24 hours.
    exact_from: Timestamp,
    /// Until here something is in it that nobody recorded.
    drifted_until: Timestamp,
    lanes: [Option<Box<Delta<Window>>>; LANES],
    doubtful_until: [Timestamp; LANES],
    last_at: Timestamp,
}

impl MemberTrack {
    pub(super) fn new(exact_from: Timestamp) -> Self {
        let never = Timestamp::from_millis(i64::MIN);
        Self {
            truth: Window::default(),
            exact_from,
            drifted_until: never,
            lanes: Default::default(),
            doubtful_until: [never; LANES],
            last_at: never,
        }
    }

    /// Moves the clock of all windows.
    pub(super) fn advance(&mut self, now: Timestamp) {
        self.truth.advance(now);
        for delta in self.lanes.iter_mut().flatten() {
            delta.plus.advance(now);
            delta.minus.advance(now);
        }
    }

    pub(super) fn known(&self, key: &CounterKey, at: Timestamp) -> Option<(i64, bool)> {
        (at >= self.exact_from).then(|| (self.truth.get(key), at >= self.drifted_until))
    }

    pub(super) fn difference(&self, lane: usize, key: &CounterKey) -> i64 {
        let delta = self.lanes.get(lane).and_then(Option::as_deref);
        delta.map_or(0, |delta| delta.plus.get(key) - delta.minus.get(key))
    }

    pub(super) fn is_doubtful(&self, lane: usize, at: Timestamp) -> bool {
        self.doubtful_until.get(lane).is_none_or(|until| at < *until)
    }

    /// Counts now, where the clock was moved to; says in which bucket.
    pub(super) fn count(
        &mut self,
        keys: &[CounterKey],
        instead: &[Option<Vec<CounterKey>>; LANES],
        unknown: [bool; LANES],
        at: Timestamp,
    ) -> i64 {
        let bucket = self.truth.add(keys);
        let clock = self.last_at.max(at);
        for (lane, counted) in self.lanes.iter_mut().zip(instead) {
            let Some(counted) = counted else { continue };
            let delta = lane.get_or_insert_default();
            for window in [&mut delta.plus, &mut delta.minus] {
                window.advance(clock);
            }
            delta.minus.add(keys);
            delta.plus.add(counted);
        }
        for (until, unknown) in self.doubtful_until.iter_mut().zip(unknown) {
            if unknown {
                *until = at.plus_millis(super::WINDOW_MS);
            }
        }
        self.last_at = clock;
        bucket
    }

    pub(super) fn take_back(
        &mut self,
        keys: &[CounterKey],
        lanes: &[Option<Vec<CounterKey>>; LANES],
        bucket: i64,
    ) {
        self.truth.take_back(keys, bucket);
        for (lane, counted) in self.lanes.iter_mut().zip(lanes) {
            let (Some(delta), Some(counted)) = (lane, counted) else { continue };
            delta.minus.take_back(keys, bucket);
            delta.plus.take_back(counted, bucket);
        }
    }

    pub(super) fn drift(&mut self, until: Timestamp) {
        self.drifted_until = self.drifted_until.max(until);
    }

    /// Takes up a checkpoint of the whole window, unless more is known or calls after it were read already.
    pub(super) fn adopt(
        &mut self,
        buckets: &[(i64, BTreeMap<CounterKey, i64>)],
        at: Timestamp,
        restored: bool,
    ) {
        let exact = at >= self.exact_from && at >= self.drifted_until;
        if self.last_at > at || (exact && !restored) {
            return;
        }
        let mut window = Window::default();
        for (bucket, counters) in buckets {
            window.restore(*bucket, counters);
        }
        window.advance(at);
        self.truth = window;
        self.exact_from = self.exact_from.min(at);
        self.drifted_until = at;
    }
}
