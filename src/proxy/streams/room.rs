//! How much all receivers together, and those of one member, may keep, and how many streams one key may hold
//! open.
//!
//! Invariant: what is taken is given back on every path, by the drop of what took it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};

use dashmap::DashMap;

use crate::model::{KeyId, MemberId};

/// Bytes of messages that wait, or are kept to be sent again, for all receivers together.
const BYTES_MAX: i64 = 64 * 1024 * 1024;
/// Of these, those for the receivers of one member.
const BYTES_OF_MEMBER_MAX: i64 = 8 * 1024 * 1024;
/// Streams that one key may hold open: of sessions, and `subscriptions/listen`.
pub const STREAMS_PER_KEY_MAX: u32 = 32;

/// The bytes of all mailboxes.
#[derive(Debug, Clone, Default)]
pub struct Room {
    all: Arc<AtomicI64>,
    of_member: Arc<DashMap<MemberId, Arc<AtomicI64>>>,
}

impl Room {
    /// The share of one receiver of this member.
    pub fn of(&self, member: MemberId) -> Share {
        let count = Arc::clone(&self.of_member.entry(member).or_default());
        Share { room: self.clone(), member, count }
    }
}

/// What one receiver takes of the room.
#[derive(Debug)]
pub struct Share {
    room: Room,
    member: MemberId,
    /// The bytes of all receivers of the member.
    count: Arc<AtomicI64>,
}

impl Share {
    /// Counts so many bytes. False where it is too much now, for all or for this member; they count all the
    /// same.
    pub fn take(&self, bytes: i64) -> bool {
        let add = |count: &AtomicI64| count.fetch_add(bytes, Ordering::AcqRel).saturating_add(bytes);
        let (all, of_member) = (add(&self.room.all), add(&self.count));
        all <= BYTES_MAX && of_member <= BYTES_OF_MEMBER_MAX
    }

    /// Gives bytes back.
    pub fn give_back(&self, bytes: i64) {
        self.room.all.fetch_sub(bytes, Ordering::AcqRel);
        self.count.fetch_sub(bytes, Ordering::AcqRel);
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        // The table's own and this one: nobody else of the member is left.
        self.room.of_member.remove_if(&self.member, |_, count| Arc::strong_count(count) <= 2);
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
    fn a_member_fills_its_own_share_and_not_the_room() {
        let room = Room::default();
        let member = |n| MemberId::mint(Timestamp::from_millis(1), [n; 10]);
        let greedy = [room.of(member(1)), room.of(member(1))];
        assert!(greedy[0].take(BYTES_OF_MEMBER_MAX - 1) && greedy[1].take(1));
        assert!(!greedy[1].take(1), "of both together");
        let other = room.of(member(2));
        assert!(other.take(BYTES_OF_MEMBER_MAX));
        greedy[0].give_back(BYTES_OF_MEMBER_MAX);
        assert!(greedy[1].take(1));
        let many: Vec<_> = (3..11).map(|n| room.of(member(n))).collect();
        let taken = many.iter().filter(|share| share.take(BYTES_OF_MEMBER_MAX)).count();
        assert_eq!(taken, 6, "all together have the room");
        drop((greedy, other, many));
        assert!(room.of_member.is_empty());
    }

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
