//! The counters of one session: a sorted list, small enough for a hundred thousand of them.
//!
//! Invariant: what could not be counted leaves a mark (`overflowed`), and a marked tally takes no
//! further call, so that no limit is passed because a count is missing.

use std::collections::BTreeMap;

use crate::model::{CounterKey, Tier};

/// Bytes that one named counter costs, as estimated (its texts are shared with the catalogue).
pub(super) const COUNTER_BYTES: usize = size_of::<(CounterKey, u32)>();

#[derive(Debug, Default)]
pub(super) struct Tally {
    calls: u32,
    denials: u32,
    tiers: [u32; Tier::ALL.len()],
    /// Sorted by key; counts above 0.
    named: Vec<(CounterKey, u32)>,
    overflowed: bool,
}

/// Position of a tier's counter.
const fn tier_index(tier: Tier) -> usize {
    match tier {
        Tier::Read => 0,
        Tier::Write => 1,
        Tier::Destructive => 2,
    }
}

impl Tally {
    /// A counter that every tally has.
    fn fixed(&mut self, key: &CounterKey) -> Option<&mut u32> {
        match key {
            CounterKey::Calls => Some(&mut self.calls),
            CounterKey::Denials => Some(&mut self.denials),
            CounterKey::Tier(tier) => self.tiers.get_mut(tier_index(*tier)),
            _ => None,
        }
    }

    fn position(&self, key: &CounterKey) -> Result<usize, usize> {
        self.named.binary_search_by(|(named, _)| named.cmp(key))
    }

    pub(super) fn get(&self, key: &CounterKey) -> i64 {
        let count = match key {
            CounterKey::Calls => Some(self.calls),
            CounterKey::Denials => Some(self.denials),
            CounterKey::Tier(tier) => self.tiers.get(tier_index(*tier)).copied(),
            _ => self.position(key).ok().and_then(|at| self.named.get(at)).map(|(_, count)| *count),
        };
        i64::from(count.unwrap_or(0))
    }

    /// How many counters these keys would add.
    pub(super) fn growth(&self, keys: &[CounterKey]) -> usize {
        let fixed =
            |key: &CounterKey| matches!(key, CounterKey::Calls | CounterKey::Denials | CounterKey::Tier(_));
        keys.iter().filter(|key| !fixed(key) && self.position(key).is_err()).count()
    }

    pub(super) fn named_len(&self) -> usize {
        self.named.len()
    }

    pub(super) fn add(&mut self, key: &CounterKey, count: u32) {
        if count == 0 {
            return;
        }
        if let Some(fixed) = self.fixed(key) {
            *fixed = fixed.saturating_add(count);
            return;
        }
        match self.position(key) {
            Ok(at) => {
                if let Some((_, named)) = self.named.get_mut(at) {
                    *named = named.saturating_add(count);
                }
            }
            Err(at) => {
                // Doubling a list of many thousands of sessions would waste half of it.
                if self.named.len() == self.named.capacity() {
                    self.named.reserve_exact(4);
                }
                self.named.insert(at, (key.clone(), count));
            }
        }
    }

    pub(super) fn take_back(&mut self, key: &CounterKey) {
        if let Some(fixed) = self.fixed(key) {
            *fixed = fixed.saturating_sub(1);
            return;
        }
        let Ok(at) = self.position(key) else { return };
        if let Some((_, named)) = self.named.get_mut(at) {
            *named = named.saturating_sub(1);
            if *named == 0 {
                self.named.remove(at);
            }
        }
    }

    pub(super) fn overflow(&mut self) {
        self.overflowed = true;
    }

    pub(super) const fn overflowed(&self) -> bool {
        self.overflowed
    }

    /// Every counter above 0.
    pub(super) fn counters(&self) -> BTreeMap<CounterKey, i64> {
        let fixed = [CounterKey::Calls, CounterKey::Denials]
            .into_iter()
            .chain(Tier::ALL.into_iter().map(CounterKey::Tier))
            .map(|key| (self.get(&key), key))
            .filter(|(count, _)| *count > 0)
            .map(|(count, key)| (key, count));
        fixed.chain(self.named.iter().map(|(key, count)| (key.clone(), i64::from(*count)))).collect()
    }
}
