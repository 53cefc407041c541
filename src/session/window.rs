//! What a member did in the past 24 hours, in five-minute buckets, whatever sessions and keys it
//! used (decision 9).
//!
//! Invariants:
//! - A count stays for at least 24 hours and at most 24 hours and 5 minutes: the running bucket and
//!   the 288 before it are summed.
//! - A counter's total is the sum of its cells; cells and totals are above 0.
//! - The clock of the window does not go back: an earlier time counts into the newest bucket.
//! - What could not be counted leaves a mark that lasts as long as the count would have.

use std::collections::{BTreeMap, HashMap, VecDeque};

use foldhash::fast::RandomState;

use crate::model::{CounterKey, MemberId, Timestamp};
use crate::store::MemberCounterRow;

/// Length of a bucket, in milliseconds.
pub(super) const BUCKET_MS: i64 = 300_000;
/// Whole buckets of a window: 24 hours.
pub(super) const BUCKETS: i64 = 288;
/// Bytes of one cell.
const CELL_BYTES: usize = size_of::<(u16, u32)>();
/// Bytes of one counter: its entry in the index (with the table's slack) and its total.
const SLOT_BYTES: usize = (size_of::<(CounterKey, u16)>() + 1) * 8 / 7 + size_of::<u32>();
/// Bytes of one bucket without its cells.
const BUCKET_BYTES: usize = size_of::<Bucket>();

/// The bucket that a time falls into.
pub(super) const fn bucket_of(now: Timestamp) -> i64 {
    now.as_millis().div_euclid(BUCKET_MS)
}

#[derive(Debug, Default)]
pub(super) struct Window {
    /// Where a counter's total stands, and what cells call it.
    /// Keys are names of connectors, tools and policies: operators choose them, and no caller does.
    slots: HashMap<CounterKey, u16, RandomState>,
    totals: Vec<u32>,
    free: Vec<u16>,
    /// Oldest first.
    buckets: VecDeque<Bucket>,
    cells: usize,
    /// The newest bucket that the clock has reached.
    reached: i64,
    /// The newest bucket in which something could not be counted.
    overflowed_in: Option<i64>,
}

#[derive(Debug)]
struct Bucket {
    index: i64,
    /// Sorted by slot.
    counts: Vec<(u16, u32)>,
    /// Not yet written to the store.
    dirty: bool,
}

/// How a window would grow by some counts.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Growth {
    pub(super) counters: usize,
    pub(super) cells: usize,
}

impl Growth {
    pub(super) const fn bytes(self) -> usize {
        self.counters * SLOT_BYTES + self.cells * CELL_BYTES + BUCKET_BYTES
    }
}

impl Window {
    /// Moves the clock and drops what is past; says whether a counter fell.
    pub(super) fn advance(&mut self, now: Timestamp) -> bool {
        self.reached = self.reached.max(bucket_of(now));
        let first = self.reached.saturating_sub(BUCKETS);
        if self.overflowed_in.is_some_and(|bucket| bucket < first) {
            self.overflowed_in = None;
        }
        let mut fell = false;
        while self.buckets.front().is_some_and(|bucket| bucket.index < first) {
            let Some(bucket) = self.buckets.pop_front() else { break };
            self.cells = self.cells.saturating_sub(bucket.counts.len());
            fell |= !bucket.counts.is_empty();
            for (slot, count) in bucket.counts {
                if let Some(total) = self.totals.get_mut(usize::from(slot)) {
                    *total = total.saturating_sub(count);
                }
            }
        }
        if fell {
            self.drop_unused();
        }
        fell
    }

    fn drop_unused(&mut self) {
        let Self { slots, totals, free, .. } = self;
        slots.retain(|_, slot| {
            let used = totals.get(usize::from(*slot)).is_some_and(|total| *total > 0);
            if !used {
                free.push(*slot);
            }
            used
        });
        if slots.is_empty() {
            *self = Self {
                buckets: std::mem::take(&mut self.buckets),
                reached: self.reached,
                overflowed_in: self.overflowed_in,
                ..Self::default()
            };
        }
    }

    pub(super) fn get(&self, key: &CounterKey) -> i64 {
        let total = self.slots.get(key).and_then(|slot| self.totals.get(usize::from(*slot)));
        i64::from(total.copied().unwrap_or(0))
    }

    /// When the counter will have fallen below this number, if nothing more is counted.
    pub(super) fn falls_below(&self, key: &CounterKey, number: i64) -> Option<Timestamp> {
        let slot = *self.slots.get(key)?;
        let mut left = self.get(key);
        for bucket in &self.buckets {
            let count = bucket.position(slot).ok().and_then(|at| bucket.counts.get(at));
            left -= count.map_or(0, |(_, count)| i64::from(*count));
            if left < number {
                // It is summed as long as it is among the last whole buckets and the running one.
                return Some(Timestamp::from_millis((bucket.index + BUCKETS + 1).saturating_mul(BUCKET_MS)));
            }
        }
        None
    }

    /// How the window, whose clock stands at the present, would grow by counting these.
    pub(super) fn growth(&self, keys: &[CounterKey]) -> Growth {
        let running = self.buckets.iter().rev().find(|bucket| bucket.index <= self.reached);
        let running = running.filter(|bucket| bucket.index == self.reached);
        let mut growth = Growth::default();
        for key in keys {
            let slot = self.slots.get(key);
            growth.counters += usize::from(slot.is_none());
            let counted = slot.zip(running).is_some_and(|(slot, bucket)| bucket.position(*slot).is_ok());
            growth.cells += usize::from(!counted);
        }
        growth
    }

    pub(super) fn counters_len(&self) -> usize {
        self.slots.len()
    }

    pub(super) const fn cells_len(&self) -> usize {
        self.cells
    }

    /// Counts one of each in the running bucket, and says which that is.
    pub(super) fn add(&mut self, keys: &[CounterKey]) -> i64 {
        // The last place, but for a bucket from before a restart whose clock ran ahead.
        let place = self.buckets.partition_point(|bucket| bucket.index < self.reached);
        if self.buckets.get(place).is_none_or(|bucket| bucket.index != self.reached) {
            self.buckets.insert(place, Bucket { index: self.reached, counts: Vec::new(), dirty: true });
        }
        for key in keys {
            self.add_to(place, key, 1);
        }
        self.reached
    }

    fn add_to(&mut self, place: usize, key: &CounterKey, count: u32) {
        if count == 0 {
            return;
        }
        let Some(slot) = self.slot(key) else {
            // More counters than a slot's number can tell apart; limits stand far below.
            self.overflow();
            return;
        };
        if let Some(total) = self.totals.get_mut(usize::from(slot)) {
            *total = total.saturating_add(count);
        }
        let Some(bucket) = self.buckets.get_mut(place) else { return };
        bucket.dirty = true;
        match bucket.position(slot) {
            Ok(at) => {
                if let Some((_, cell)) = bucket.counts.get_mut(at) {
                    *cell = cell.saturating_add(count);
                }
            }
            Err(at) => {
                bucket.counts.insert(at, (slot, count));
                self.cells += 1;
            }
        }
    }

    fn slot(&mut self, key: &CounterKey) -> Option<u16> {
        if let Some(slot) = self.slots.get(key) {
            return Some(*slot);
        }
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => {
                let slot = u16::try_from(self.totals.len()).ok()?;
                self.totals.push(0);
                slot
            }
        };
        if let Some(total) = self.totals.get_mut(usize::from(slot)) {
            *total = 0;
        }
        self.slots.insert(key.clone(), slot);
        Some(slot)
    }

    /// Uncounts one of each in the bucket that they were counted in, if it is still there.
    pub(super) fn take_back(&mut self, keys: &[CounterKey], bucket: i64) {
        let Some(bucket) = self.buckets.iter_mut().rev().find(|found| found.index == bucket) else { return };
        bucket.dirty = true;
        for key in keys {
            let Some(slot) = self.slots.get(key).copied() else { continue };
            let Ok(at) = bucket.position(slot) else { continue };
            let Some((_, cell)) = bucket.counts.get_mut(at) else { continue };
            *cell = cell.saturating_sub(1);
            if *cell == 0 {
                bucket.counts.remove(at);
                self.cells = self.cells.saturating_sub(1);
            }
            let Some(total) = self.totals.get_mut(usize::from(slot)) else { continue };
            *total = total.saturating_sub(1);
            if *total == 0 {
                self.slots.remove(key);
                self.free.push(slot);
            }
        }
    }

    /// Something was not counted now: calls are refused until it would have left the window.
    pub(super) fn overflow(&mut self) {
        self.overflowed_in = Some(self.reached);
    }

    pub(super) const fn overflowed(&self) -> bool {
        self.overflowed_in.is_some()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.buckets.is_empty() && self.overflowed_in.is_none()
    }

    /// What it keeps, in bytes, as estimated.
    pub(super) fn bytes(&self) -> usize {
        self.totals.len() * SLOT_BYTES + self.cells * CELL_BYTES + self.buckets.len() * BUCKET_BYTES
    }

    /// Every counter above 0.
    pub(super) fn counters(&self) -> BTreeMap<CounterKey, i64> {
        self.slots.keys().map(|key| (key.clone(), self.get(key))).collect()
    }

    /// The counts of each bucket from this one on, oldest first.
    pub(super) fn buckets_from(&self, first: i64) -> Vec<(i64, BTreeMap<CounterKey, i64>)> {
        let keys: HashMap<u16, &CounterKey> = self.slots.iter().map(|(key, slot)| (*slot, key)).collect();
        let counts = |bucket: &Bucket| {
            let counted = bucket.counts.iter();
            counted
                .filter_map(|(slot, count)| Some(((*keys.get(slot)?).clone(), i64::from(*count))))
                .collect()
        };
        let buckets = self.buckets.iter().filter(|bucket| bucket.index >= first);
        buckets.map(|bucket| (bucket.index, counts(bucket))).collect()
    }

    /// The buckets that changed since this was last asked. A bucket that was emptied comes too: its
    /// row in the store must be emptied.
    pub(super) fn take_dirty(&mut self, member: MemberId) -> Vec<MemberCounterRow> {
        if !self.buckets.iter().any(|bucket| bucket.dirty) {
            return Vec::new();
        }
        let keys: HashMap<u16, &CounterKey> = self.slots.iter().map(|(key, slot)| (*slot, key)).collect();
        let mut rows = Vec::new();
        for bucket in self.buckets.iter_mut().filter(|bucket| bucket.dirty) {
            bucket.dirty = false;
            let counted = bucket
                .counts
                .iter()
                .filter_map(|(slot, count)| keys.get(slot).map(|key| ((*key).clone(), i64::from(*count))));
            rows.push(MemberCounterRow {
                member_id: member,
                bucket: bucket.index,
                counters: counted.collect(),
            });
        }
        rows
    }

    /// The store did not take these buckets.
    pub(super) fn mark_dirty(&mut self, buckets: impl IntoIterator<Item = i64>) {
        for index in buckets {
            if let Some(bucket) = self.buckets.iter_mut().find(|bucket| bucket.index == index) {
                bucket.dirty = true;
            }
        }
    }

    /// Takes up a stored bucket. Rows come in any order, each bucket once.
    pub(super) fn restore(&mut self, index: i64, counters: &BTreeMap<CounterKey, i64>) {
        let at = self.buckets.partition_point(|bucket| bucket.index < index);
        self.buckets.insert(at, Bucket { index, counts: Vec::new(), dirty: false });
        for (key, count) in counters {
            self.add_to(at, key, u32::try_from(*count).unwrap_or(if *count < 0 { 0 } else { u32::MAX }));
        }
        if let Some(bucket) = self.buckets.get_mut(at) {
            bucket.dirty = false;
        }
    }
}

impl Bucket {
    fn position(&self, slot: u16) -> Result<usize, usize> {
        self.counts.binary_search_by_key(&slot, |(slot, _)| *slot)
    }
}
