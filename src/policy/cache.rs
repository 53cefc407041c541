//! A map that forgets: what was worked out once, for the next call that asks the same.
//!
//! Invariants: never more entries or bytes than its caps. A shard that is full is emptied, whole, before
//! the next entry goes in: whoever finds nothing works it out anew, so that forgetting costs time and
//! never changes an answer. Keys are whole: an entry is found only by one that is equal.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;

use parking_lot::RwLock;

/// Parts with a lock each, so that cores do not wait for each other.
const SHARDS: usize = 16;

/// How much a cache may hold.
#[derive(Debug, Clone, Copy)]
pub(super) struct Caps {
    pub(super) entries_max: usize,
    pub(super) bytes_max: usize,
}

struct Shard<K, V> {
    entries: HashMap<K, V>,
    bytes: usize,
}

/// Values that are cheap to clone, by their keys.
pub(super) struct Cache<K, V> {
    shards: [RwLock<Shard<K, V>>; SHARDS],
    caps: Caps,
}

impl<K, V> fmt::Debug for Cache<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").field("caps", &self.caps).finish_non_exhaustive()
    }
}

impl<K: Hash + Eq, V: Clone> Cache<K, V> {
    /// An empty one.
    pub(super) fn new(caps: Caps) -> Self {
        let shard = |_| RwLock::new(Shard { entries: HashMap::new(), bytes: 0 });
        Self { shards: std::array::from_fn(shard), caps }
    }

    /// What is kept under this key; `spread` is a number that follows from it.
    pub(super) fn get<Q: Hash + Eq + ?Sized>(&self, spread: u32, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        self.shard(spread)?.read().entries.get(key).cloned()
    }

    /// Keeps a value that takes up this many bytes, key included; one that is larger than a shard may
    /// be is not kept.
    pub(super) fn put(&self, spread: u32, key: K, value: V, bytes: usize) {
        let (entries_max, bytes_max) = (self.caps.entries_max / SHARDS, self.caps.bytes_max / SHARDS);
        let Some(shard) = self.shard(spread) else { return };
        if bytes > bytes_max || entries_max == 0 {
            return;
        }
        let mut shard = shard.write();
        if shard.entries.len() >= entries_max || shard.bytes.saturating_add(bytes) > bytes_max {
            *shard = Shard { entries: HashMap::new(), bytes: 0 };
        }
        shard.bytes += bytes;
        shard.entries.insert(key, value);
    }

    /// Entries and bytes that are kept now.
    #[cfg(test)]
    pub(super) fn size(&self) -> (usize, usize) {
        let sizes =
            self.shards.iter().map(|shard| shard.read()).map(|shard| (shard.entries.len(), shard.bytes));
        sizes.fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1))
    }

    fn shard(&self, spread: u32) -> Option<&RwLock<Shard<K, V>>> {
        self.shards.get(usize::try_from(spread).ok()? % SHARDS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_forgets_rather_than_grow() {
        let cache: Cache<u32, u32> = Cache::new(Caps { entries_max: 64, bytes_max: 16 * 1000 });
        for number in 0..10_000 {
            cache.put(number, number, number, 100);
            assert_eq!(cache.get(number, &number), Some(number));
            let (entries, bytes) = cache.size();
            assert!(entries <= 64 && bytes <= 6_400, "{entries} {bytes}");
        }
        let closed: Cache<u32, u32> = Cache::new(Caps { entries_max: 0, bytes_max: 1 << 20 });
        closed.put(1, 1, 1, 1);
        assert_eq!((closed.get(1, &1), closed.size()), (None, (0, 0)));
    }

    #[test]
    fn a_full_shard_is_emptied_before_the_next_goes_in() {
        // What goes into one shard, one after another, and the entries and bytes that are there then.
        let table: [(&[usize], (usize, usize)); 7] = [
            (&[100, 100, 100, 100], (4, 400)),
            (&[100, 100, 100, 100, 50], (1, 50)),
            (&[600, 400], (2, 1000)),
            (&[600, 401], (1, 401)),
            (&[1000], (1, 1000)),
            (&[1001], (0, 0)),
            (&[300, 1001], (1, 300)),
        ];
        for (sizes, expected) in table {
            let caps = Caps { entries_max: 4 * SHARDS, bytes_max: 1000 * SHARDS };
            let cache: Cache<u32, u32> = Cache::new(caps);
            for (number, bytes) in (0..).zip(sizes) {
                cache.put(7, number, number, *bytes);
            }
            assert_eq!(cache.size(), expected, "{sizes:?}");
        }
    }

    #[test]
    fn what_is_kept_is_not_printed() {
        let cache: Cache<u32, u32> = Cache::new(Caps { entries_max: 64, bytes_max: 1 << 20 });
        cache.put(1, 987_654, 987_654, 1);
        let text = format!("{cache:?}");
        assert!(text.contains("entries_max: 64") && !text.contains("987654"), "{text}");
    }
}
