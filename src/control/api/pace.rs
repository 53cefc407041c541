//! How fast the API may be asked: a bucket for each account, and one for each address that comes without
//! one.
//!
//! Invariants: the number of buckets is bounded, and whoever has none of its own when they are full shares
//! one; a wrong credential costs its address, and an account that is known is never held back for what
//! others at its address did.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use parking_lot::Mutex;

use crate::model::{AccountId, RateLimit, Timestamp};

/// Buckets of each kind that are kept.
const BUCKETS_MAX: usize = 10_000;
/// A full map is looked through for buckets that are full again so often, in milliseconds.
const SWEEP_MS: i64 = 1_000;
/// What a request costs.
const REQUEST: u32 = 1;
/// What a credential that does not open costs its address, beside the request.
const WRONG: u32 = 9;
/// What a link costs the address that asks for it, beside the request.
const LINK: u32 = 19;

/// How fast each may ask.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rates {
    /// An account, whichever of its credentials it uses.
    pub account: RateLimit,
    /// An address, with requests that no account makes.
    pub address: RateLimit,
}

/// The buckets of one gate.
#[derive(Debug)]
pub struct Pace {
    accounts: Buckets<AccountId>,
    addresses: Buckets<IpAddr>,
}

impl Pace {
    /// Full buckets of these rates.
    pub fn new(rates: Rates) -> Self {
        Self { accounts: Buckets::new(rates.account), addresses: Buckets::new(rates.address) }
    }

    /// A request of this account.
    ///
    /// # Errors
    /// How long to wait.
    pub fn account(&self, account: AccountId, now: Timestamp) -> Result<(), Duration> {
        self.accounts.spend(account, REQUEST, now)
    }

    /// A request of nobody, from this address.
    ///
    /// # Errors
    /// How long to wait.
    pub fn nobody(&self, address: IpAddr, now: Timestamp) -> Result<(), Duration> {
        self.addresses.spend(network(address), REQUEST, now)
    }

    /// A credential from this address did not open: what comes from it next waits the longer.
    pub fn wrong(&self, address: IpAddr, now: Timestamp) {
        self.addresses.owe(network(address), WRONG, now);
    }

    /// A link that this address asks for.
    ///
    /// # Errors
    /// How long to wait.
    pub fn link(&self, address: IpAddr, now: Timestamp) -> Result<(), Duration> {
        self.addresses.spend(network(address), LINK, now)
    }
}

/// Who shares a bucket: of IPv6 a site has 2^64 addresses and more.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
        v4 => v4,
    }
}

/// Token buckets, each as the time in microseconds at which it is full again (generic cell rate
/// algorithm, ITU-T I.371).
#[derive(Debug)]
struct Buckets<K> {
    token_us: i64,
    burst_us: i64,
    kept: Mutex<Kept<K>>,
}

#[derive(Debug)]
struct Kept<K> {
    full_at_us: HashMap<K, i64>,
    /// Of all that have none of their own.
    shared_us: i64,
    swept_at_us: i64,
}

impl<K: Eq + Hash> Buckets<K> {
    fn new(rate: RateLimit) -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "a saturating cast of a positive number")]
        let token_us = ((1_000_000.0 / rate.per_second.max(1e-6)) as i64).max(1);
        let burst_us = token_us.saturating_mul(i64::from(rate.burst.max(1)));
        let kept = Kept { full_at_us: HashMap::new(), shared_us: 0, swept_at_us: 0 };
        Self { token_us, burst_us, kept: Mutex::new(kept) }
    }

    fn spend(&self, key: K, tokens: u32, now: Timestamp) -> Result<(), Duration> {
        let now_us = now.as_millis().saturating_mul(1_000);
        // What costs more than a whole bucket takes a whole one.
        let cost_us = self.token_us.saturating_mul(i64::from(tokens)).min(self.burst_us);
        let (burst_us, mut kept) = (self.burst_us, self.kept.lock());
        let full_at_us = kept.bucket(key, now_us);
        // A clock that was set back must not lock anybody out for as long: twice empty is the worst.
        let from_us = (*full_at_us).clamp(now_us, now_us.saturating_add(burst_us.saturating_mul(2)));
        let next_us = from_us.saturating_add(cost_us);
        let over_us = next_us.saturating_sub(now_us).saturating_sub(burst_us);
        if over_us > 0 {
            return Err(Duration::from_micros(over_us.unsigned_abs()));
        }
        *full_at_us = next_us;
        Ok(())
    }

    /// Takes what is not there either, down to a second bucket's worth.
    fn owe(&self, key: K, tokens: u32, now: Timestamp) {
        let now_us = now.as_millis().saturating_mul(1_000);
        let cost_us = self.token_us.saturating_mul(i64::from(tokens));
        let worst_us = now_us.saturating_add(self.burst_us.saturating_mul(2));
        let mut kept = self.kept.lock();
        let full_at_us = kept.bucket(key, now_us);
        *full_at_us = (*full_at_us).max(now_us).saturating_add(cost_us).min(worst_us);
    }
}

impl<K: Eq + Hash> Kept<K> {
    fn bucket(&mut self, key: K, now_us: i64) -> &mut i64 {
        let full = self.full_at_us.len() >= BUCKETS_MAX && !self.full_at_us.contains_key(&key);
        if full && (now_us - self.swept_at_us).abs() >= SWEEP_MS * 1_000 {
            self.swept_at_us = now_us;
            self.full_at_us.retain(|_, full_at_us| *full_at_us > now_us);
        }
        if full && self.full_at_us.len() >= BUCKETS_MAX {
            return &mut self.shared_us;
        }
        self.full_at_us.entry(key).or_insert(now_us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millis(1_800_000_000_000 + ms)
    }

    fn pace(burst: u32, per_second: f64) -> Pace {
        let rate = RateLimit { burst, per_second };
        Pace::new(Rates { account: rate, address: rate })
    }

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate_to_each_account() {
        let pace = pace(3, 1.0);
        let (one, other) = (AccountId::mint(at(0), [1; 10]), AccountId::mint(at(0), [2; 10]));
        for _ in 0..3 {
            assert_eq!(pace.account(one, at(0)), Ok(()));
        }
        assert_eq!(pace.account(one, at(0)), Err(Duration::from_secs(1)));
        assert_eq!(pace.account(other, at(0)), Ok(()));
        assert_eq!(pace.account(one, at(1_000)), Ok(()));
        // The clock was set back by a day: as much as two buckets are waited for, not a day.
        assert!(pace.account(one, at(-86_400_000)).unwrap_err() <= Duration::from_secs(4));
    }

    #[test]
    fn wrong_credentials_slow_their_address_and_no_other() {
        let pace = pace(20, 1.0);
        let (one, other): (IpAddr, IpAddr) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        for _ in 0..2 {
            assert_eq!(pace.nobody(one, at(0)), Ok(()));
            pace.wrong(one, at(0));
        }
        assert_eq!(pace.nobody(one, at(0)), Err(Duration::from_secs(1)));
        for _ in 0..100 {
            pace.wrong(one, at(0));
        }
        assert_eq!(pace.nobody(one, at(0)), Err(Duration::from_secs(21)), "bounded");
        assert_eq!(pace.nobody(other, at(0)), Ok(()));
        assert_eq!(pace.link(other, at(0)), Ok(()));
        assert!(pace.link(other, at(0)).is_err());
    }

    #[test]
    fn a_site_of_ipv6_and_a_mapped_address_are_one() {
        let pace = pace(1, 1.0);
        assert!(pace.nobody("2001:db8::1".parse().unwrap(), at(0)).is_ok());
        assert!(pace.nobody("2001:db8::ffff:1".parse().unwrap(), at(0)).is_err());
        assert!(pace.nobody("2001:db8:0:1::1".parse().unwrap(), at(0)).is_ok());
        assert!(pace.nobody("192.0.2.1".parse().unwrap(), at(0)).is_ok());
        assert!(pace.nobody("::ffff:192.0.2.1".parse().unwrap(), at(0)).is_err());
    }

    #[test]
    fn the_number_of_buckets_is_bounded_and_the_rest_share_one() {
        let buckets = Buckets::new(RateLimit { burst: 1, per_second: 1.0 });
        for key in 0..BUCKETS_MAX {
            assert_eq!(buckets.spend(key, 1, at(0)), Ok(()));
        }
        assert_eq!(buckets.spend(BUCKETS_MAX, 1, at(0)), Ok(()));
        assert!(buckets.spend(BUCKETS_MAX + 1, 1, at(0)).is_err(), "shared");
        assert!(buckets.spend(0, 1, at(0)).is_err(), "its own");
        assert_eq!(buckets.kept.lock().full_at_us.len(), BUCKETS_MAX);
        assert_eq!(buckets.spend(BUCKETS_MAX + 2, 1, at(2_000)), Ok(()));
        assert_eq!(buckets.kept.lock().full_at_us.len(), 1);
    }
}
