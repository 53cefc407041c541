//! Until when the directory in force may be believed, where other gates change it too.
//!
//! Invariant: it is believed for the bound after the moment *before* which the store was last asked and
//! held nothing newer. Whatever hangs or fails after that, the moment passes: nobody has to notice.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What is believed for ever: the database is this gate's alone.
const FOR_EVER: u64 = u64::MAX;

/// Until when the directory may be believed.
#[derive(Debug)]
pub(super) struct Belief {
    bound: Option<Duration>,
    began: Instant,
    /// Milliseconds after `began`, or [`FOR_EVER`].
    until_ms: AtomicU64,
}

impl Belief {
    /// Believed from now on, for the bound.
    pub(super) fn new(bound: Option<Duration>) -> Self {
        let until_ms = AtomicU64::new(if bound.is_some() { 0 } else { FOR_EVER });
        let belief = Self { bound, began: Instant::now(), until_ms };
        belief.confirm(belief.began);
        belief
    }

    /// Believed for the bound after this moment; an earlier word shortens nothing.
    pub(super) fn confirm(&self, asked: Instant) {
        if let Some(bound) = self.bound {
            let until = asked.saturating_duration_since(self.began) + bound;
            let until_ms = u64::try_from(until.as_millis()).unwrap_or(FOR_EVER - 1);
            self.until_ms.fetch_max(until_ms, Ordering::Relaxed);
        }
    }

    /// Whether the moment has passed. The clock is read only where it matters.
    pub(super) fn is_over(&self, now: impl FnOnce() -> Instant) -> bool {
        let until_ms = self.until_ms.load(Ordering::Relaxed);
        until_ms != FOR_EVER && now().saturating_duration_since(self.began).as_millis() > u128::from(until_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_ends_by_itself_and_a_late_word_of_an_early_moment_shortens_nothing() {
        let bound = Duration::from_secs(30);
        let belief = Belief::new(Some(bound));
        let at = |ms| belief.began + Duration::from_millis(ms);
        for (confirmed, holds, over) in
            [(None, 30_000, 30_001), (Some(10_000), 40_000, 40_001), (Some(5_000), 40_000, 40_001)]
        {
            confirmed.into_iter().for_each(|ms| belief.confirm(at(ms)));
            assert!(!belief.is_over(|| at(holds)) && belief.is_over(|| at(over)), "{confirmed:?}");
        }
    }

    #[test]
    fn a_database_of_ones_own_is_believed_for_ever() {
        let belief = Belief::new(None);
        belief.confirm(belief.began);
        assert!(!belief.is_over(|| belief.began + Duration::from_secs(1 << 30)));
    }
}
