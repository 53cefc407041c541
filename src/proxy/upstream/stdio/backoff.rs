//! How long to wait before a child is started again: doubling, capped, with jitter, so that many
//! children that died together do not come back together. Randomness is an argument.

use std::time::Duration;

/// The pause after the first death.
const FIRST: Duration = Duration::from_millis(200);
/// The longest pause.
const LONGEST: Duration = Duration::from_secs(30);
/// A child that lived this long was well: the next pause is the first again.
const WELL: Duration = Duration::from_secs(60);

/// The pauses of one child.
#[derive(Debug)]
pub struct Backoff {
    next: Duration,
}

impl Backoff {
    /// Nothing has died yet.
    pub const fn new() -> Self {
        Self { next: FIRST }
    }

    /// The pause after a child that lived so long: between a half and the whole of the step.
    pub fn after(&mut self, lived: Duration, random: u32) -> Duration {
        if lived >= WELL {
            self.next = FIRST;
        }
        let step = self.next;
        self.next = (step * 2).min(LONGEST);
        let half = step / 2;
        half + half.mul_f64(f64::from(random) / f64::from(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_to_their_cap_and_start_again_after_a_good_life() {
        let mut backoff = Backoff::new();
        let mut expect = FIRST;
        for _ in 0..12 {
            assert_eq!(backoff.after(Duration::ZERO, u32::MAX), expect);
            expect = (expect * 2).min(LONGEST);
        }
        assert_eq!(backoff.after(Duration::ZERO, 0), LONGEST / 2);
        assert_eq!(backoff.after(WELL, u32::MAX), FIRST);
        assert_eq!(backoff.after(Duration::ZERO, 0), FIRST, "half of the doubled step");
    }
}
