//! What must be at hand to decide one call, found before it is decided.
//!
//! Invariant: what a condition could read is in here. An expression that is not a plain attribute
//! chain counts as reading everything beneath the point where the chain ends.

use crate::model::CounterKey;

/// The counters that the candidate policies of one call read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Needs {
    /// Counters of this conversation that a candidate reads, in order, without repetition.
    pub session: Vec<CounterKey>,
    /// Counters of the member's last 24 hours that a candidate reads, in order, without repetition.
    pub member: Vec<CounterKey>,
}

impl Needs {
    /// Whether the decision depends on counters, so that it must be taken under their version
    /// (decision 9).
    pub fn reads_counters(&self) -> bool {
        !self.session.is_empty() || !self.member.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_of_either_scope_is_a_counter() {
        let table = [(0, 0, false), (1, 0, true), (0, 1, true), (2, 1, true)];
        for (session, member, expected) in table {
            let [session, member] = [session, member].map(|count| vec![CounterKey::Calls; count]);
            assert_eq!(Needs { session, member }.reads_counters(), expected);
        }
    }
}
