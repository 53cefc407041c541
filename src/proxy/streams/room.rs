//! How much all receivers together may keep, and how many streams one key may hold open.
//!
//! Invariant: what is taken is given back on every path, by the drop of what took it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};

use dashmap::DashMap;

use crate::model::KeyId;

/// Bytes of messages that wait, or are kept to be sent again, for all receivers together.
const BYTES_MAX: i64 = 64 * 1024 * 1024;
/// Streams that one key may hold open: of sessions, and `subscriptions/listen`.
pub const STREAMS_PER_KEY_MAX: u32 = 32;

/// The bytes of all mailboxes.
#[derive(Debug, Default)]
pub struct Room(AtomicI64);

impl Room {
    /// Counts so many bytes. False where it is too much now; they count all the same.
    pub fn take(&self, bytes: i64) -> bool {
        self.0.fetch_add(bytes, Ordering::AcqRel).saturating_add(bytes) <= BYTES_MAX
    }

    /// Gives bytes back.
    pub fn give_back(&self, bytes: i64) {
        self.0.fetch_sub(bytes, Ordering::AcqRel);
    }
}

/// The open streams of each key.
#[derive(Debug, Clone, Default)]
pub struct Seats(Arc<DashMap<KeyId, Arc<AtomicU32>>>);

/// One open stream, over when dropped.
#[derive(Debug)]
pub struct Seat {
    seats: Seats,
    key: KeyId,
    count: Arc<AtomicU32>,
}

impl Seats {
    /// A seat, if the key has one left.
    pub fn take(&self, key: KeyId) -> Option<Seat> {
        let count = Arc::clone(&self.0.entry(key).or_default());
        let free = |open: u32| (open < STREAMS_PER_KEY_MAX).then_some(open + 1);
        count.fetch_update(Ordering::AcqRel, Ordering::Acquire, free).ok()?;
        Some(Seat { seats: self.clone(), key, count })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if self.count.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.seats.0.remove_if(&self.key, |_, count| {
                Arc::strong_count(count) <= 2 && count.load(Ordering::Acquire) == 0
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Timestamp;

    #[test]
    fn a_key_has_so_many_seats_and_no_more() {
        let seats = Seats::default();
        let key = KeyId::mint(Timestamp::from_millis(1), [7; 10]);
        let mut taken: Vec<_> = (0..STREAMS_PER_KEY_MAX).map(|_| seats.take(key).unwrap()).collect();
        assert!(seats.take(key).is_none());
        assert!(seats.take(KeyId::mint(Timestamp::from_millis(1), [8; 10])).is_some());
        taken.pop();
        assert!(seats.take(key).is_some());
        taken.clear();
        assert!(seats.0.is_empty());
    }
}
