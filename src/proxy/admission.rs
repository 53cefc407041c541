//! Who may be answered at all right now: caps on requests in flight and a token bucket per key.
//!
//! Invariants: a slot is given back when its [`Slot`] is dropped, on every path, a panic included;
//! all maps are bounded by the number of members and keys that exist.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};

use dashmap::DashMap;

use crate::model::{KeyId, MemberId, RateLimit, Timestamp};
use crate::telemetry;

/// Why a request is turned away before it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shed {
    /// As many requests are in flight as the gate takes.
    Overload,
    /// As many of this member's requests are in flight as one member may have.
    MemberBusy,
    /// The key's bucket is empty; a token comes in so many seconds.
    RateLimited { retry_after_s: u32 },
}

/// A place among the requests in flight.
#[derive(Debug)]
pub struct Slot {
    all: Arc<AtomicU32>,
    member: Option<Arc<AtomicU32>>,
}

impl Drop for Slot {
    fn drop(&mut self) {
        let left = self.all.fetch_sub(1, Ordering::AcqRel).saturating_sub(1);
        telemetry::in_flight(left);
        if let Some(member) = &self.member {
            member.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

/// Caps and buckets of one gate.
#[derive(Debug)]
pub struct Admission {
    in_flight_max: u32,
    in_flight_per_member_max: u32,
    all: Arc<AtomicU32>,
    members: DashMap<MemberId, Arc<AtomicU32>>,
    buckets: DashMap<KeyId, Bucket>,
}

impl Admission {
    /// Caps of requests in flight: in all, and of one member.
    pub fn new(in_flight_max: u32, in_flight_per_member_max: u32) -> Self {
        Self {
            in_flight_max,
            in_flight_per_member_max,
            all: Arc::new(AtomicU32::new(0)),
            members: DashMap::new(),
            buckets: DashMap::new(),
        }
    }

    /// Takes a slot for a request that nobody has been identified for yet.
    ///
    /// # Errors
    /// [`Shed::Overload`] when none is free.
    pub fn enter(&self) -> Result<Slot, Shed> {
        let taken = take(&self.all, self.in_flight_max).ok_or(Shed::Overload)?;
        telemetry::in_flight(taken);
        Ok(Slot { all: Arc::clone(&self.all), member: None })
    }

    /// Counts the slot against its member too.
    ///
    /// # Errors
    /// [`Shed::MemberBusy`] when the member has as many requests in flight as it may.
    pub fn assign(&self, slot: &mut Slot, member: MemberId) -> Result<(), Shed> {
        let known = self.members.get(&member).map(|count| Arc::clone(&count));
        let count = known.unwrap_or_else(|| Arc::clone(&self.members.entry(member).or_default()));
        take(&count, self.in_flight_per_member_max).ok_or(Shed::MemberBusy)?;
        slot.member = Some(count);
        Ok(())
    }

    /// Takes a token of the key's bucket.
    ///
    /// # Errors
    /// [`Shed::RateLimited`] says when the next token comes.
    pub fn spend(&self, key: KeyId, rate: RateLimit, now: Timestamp) -> Result<(), Shed> {
        if let Some(bucket) = self.buckets.get(&key) {
            return bucket.spend(rate, now);
        }
        self.buckets.entry(key).or_default().spend(rate, now)
    }

    /// When each key was last used, since this was last asked (`lastUsedAt`).
    pub fn take_uses(&self) -> Vec<(KeyId, Timestamp)> {
        let taken =
            self.buckets.iter().map(|bucket| (*bucket.key(), bucket.used_at_ms.swap(0, Ordering::Relaxed)));
        taken.filter(|(_, at)| *at > 0).map(|(key, at)| (key, Timestamp::from_millis(at))).collect()
    }

    /// Requests in flight.
    pub fn in_flight(&self) -> u32 {
        self.all.load(Ordering::Acquire)
    }

    /// Forgets members and keys that are gone, after a change of the directory.
    pub fn retain(&self, member_exists: impl Fn(&MemberId) -> bool, key_exists: impl Fn(&KeyId) -> bool) {
        self.members.retain(|member, count| member_exists(member) || count.load(Ordering::Acquire) > 0);
        self.buckets.retain(|key, _| key_exists(key));
    }
}

fn take(count: &AtomicU32, max: u32) -> Option<u32> {
    count
        .fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| (n < max).then_some(n.saturating_add(1)))
        .ok()
        .map(|before| before.saturating_add(1))
}

/// A token bucket as one number: the time, in microseconds, at which it will be full again
/// (generic cell rate algorithm, ITU-T I.371).
#[derive(Debug, Default)]
struct Bucket {
    full_at_us: AtomicI64,
    /// Microseconds that a token took when one was last asked for; 0 at first.
    token_us: AtomicI64,
    /// When the key was last presented, in milliseconds; 0 once that was told to the store.
    used_at_ms: AtomicI64,
}

impl Bucket {
    fn spend(&self, rate: RateLimit, now: Timestamp) -> Result<(), Shed> {
        self.used_at_ms.store(now.as_millis(), Ordering::Relaxed);
        let now_us = now.as_millis().saturating_mul(1_000);
        #[expect(clippy::cast_possible_truncation, reason = "a saturating cast of a positive number")]
        let token_us = ((1_000_000.0 / rate.per_second.max(1e-6)) as i64).max(1);
        let burst_us = token_us.saturating_mul(i64::from(rate.burst.max(1)));
        self.reprice(token_us, now_us);
        // A clock that was set back must not lock a key out for as long: empty is the worst.
        self.full_at_us.fetch_min(now_us.saturating_add(burst_us), Ordering::AcqRel);
        let spent = self.full_at_us.fetch_update(Ordering::AcqRel, Ordering::Acquire, |full_at_us| {
            let next = full_at_us.max(now_us).saturating_add(token_us);
            (next.saturating_sub(now_us) <= burst_us).then_some(next)
        });
        spent.map(drop).map_err(|full_at_us| {
            let wait_us = full_at_us.saturating_add(token_us).saturating_sub(now_us).saturating_sub(burst_us);
            let retry_after_s = u32::try_from(wait_us.max(0) / 1_000_000 + 1).unwrap_or(u32::MAX);
            Shed::RateLimited { retry_after_s }
        })
    }

    /// Where the rate was changed: what is owed is so many tokens, not so much time. A raised rate helps a
    /// key at once that was just used up.
    fn reprice(&self, token_us: i64, now_us: i64) {
        let before = self.token_us.swap(token_us, Ordering::AcqRel);
        if before == token_us || before == 0 {
            return;
        }
        let _repriced = self.full_at_us.fetch_update(Ordering::AcqRel, Ordering::Acquire, |full_at_us| {
            let owed_us = full_at_us.saturating_sub(now_us).max(0);
            Some(now_us.saturating_add((owed_us / before).saturating_mul(token_us)))
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_rate_holds_at_once_for_a_key_that_is_used_up() {
        let bucket = Bucket::default();
        let now = Timestamp::from_millis(1_000_000);
        let rate = |burst, per_second| RateLimit { burst, per_second };
        let spent = |rate| (0..100_000).take_while(|_| bucket.spend(rate, now).is_ok()).count();
        assert_eq!(spent(rate(60, 1.0)), 60);
        assert_eq!(spent(rate(100, 1_000_000.0)), 40);
        assert_eq!(spent(rate(100, 0.001)), 0, "a lowered rate forgives nothing");
        assert_eq!(spent(rate(101, 50.0)), 1);
    }

    #[test]
    fn a_bucket_gives_its_burst_and_then_one_a_second() {
        let admission = Admission::new(1, 1);
        let key = KeyId::mint(Timestamp::from_millis(1), [1; 10]);
        let rate = RateLimit { burst: 3, per_second: 1.0 };
        let at = |ms: i64| admission.spend(key, rate, Timestamp::from_millis(1_000_000 + ms));
        for _ in 0..3 {
            assert_eq!(at(0), Ok(()));
        }
        assert_eq!(at(0), Err(Shed::RateLimited { retry_after_s: 2 }));
        assert_eq!(at(999), Err(Shed::RateLimited { retry_after_s: 1 }));
        assert_eq!(at(1_000), Ok(()));
        assert!(at(1_000).is_err());
        for _ in 0..3 {
            assert_eq!(at(60_000), Ok(()));
        }
        assert!(at(60_000).is_err());
        // The clock is set back by an hour.
        assert_eq!(at(-3_600_000), Err(Shed::RateLimited { retry_after_s: 2 }));
        assert_eq!(at(-3_598_000), Ok(()));
    }

    #[test]
    fn slots_come_back_when_they_are_dropped() {
        let admission = Admission::new(2, 1);
        let member = MemberId::mint(Timestamp::from_millis(1), [2; 10]);
        let mut first = admission.enter().unwrap();
        let mut second = admission.enter().unwrap();
        assert_eq!(admission.enter().err(), Some(Shed::Overload));
        assert_eq!(admission.assign(&mut first, member), Ok(()));
        assert_eq!(admission.assign(&mut second, member), Err(Shed::MemberBusy));
        drop(first);
        assert_eq!(admission.assign(&mut second, member), Ok(()));
        drop(second);
        assert_eq!(admission.in_flight(), 0);
        admission.retain(|_| false, |_| false);
        assert!(admission.members.is_empty());
    }
}
