//! The value that opens the door, and its opposite.
//!
//! Invariant: a [`Permit`] comes only out of [`Verdict::of`], which this floor alone can call, with a
//! decision that allows. It cannot be copied, defaulted, deserialised or written as a literal, so a
//! function that takes one by value cannot be reached without a decision for that very call.
//!
//! ```
//! fn forward(permit: wicket::policy::Permit) -> wicket::model::CallId {
//!     permit.call()
//! }
//! ```
//!
//! No literal:
//! ```compile_fail,E0451
//! fn forge(call: wicket::model::CallId, decision: wicket::model::Decision, bundle: wicket::model::Digest) {
//!     let _ = wicket::policy::Permit { call, decision, bundle };
//! }
//! ```
//!
//! No copy:
//! ```compile_fail,E0599
//! fn twice(permit: wicket::policy::Permit) -> (wicket::policy::Permit, wicket::policy::Permit) {
//!     (permit.clone(), permit)
//! }
//! ```
//!
//! No default:
//! ```compile_fail,E0277
//! fn default_of<T: Default>() -> T { T::default() }
//! let _: wicket::policy::Permit = default_of();
//! ```
//!
//! No way to the maker:
//! ```compile_fail,E0624
//! fn forge(call: wicket::model::CallId, decision: wicket::model::Decision, bundle: wicket::model::Digest) {
//!     let _ = wicket::policy::Verdict::of(call, decision, bundle);
//! }
//! ```

use crate::model::{CallId, Decision, Digest, Reason};

/// Leave to send one call, once. `proxy::upstream::send` takes it by value.
#[derive(Debug)]
pub struct Permit {
    call: CallId,
    decision: Decision,
    bundle: Digest,
}

impl Permit {
    /// The call that was permitted.
    pub fn call(&self) -> CallId {
        self.call
    }

    /// What was decided, for the record.
    pub fn decision(&self) -> &Decision {
        &self.decision
    }

    /// The bundle that decided.
    pub fn bundle_digest(&self) -> Digest {
        self.bundle
    }
}

/// A call that goes nowhere, and why.
#[derive(Debug)]
pub struct Denial {
    call: CallId,
    decision: Decision,
    bundle: Digest,
}

impl Denial {
    /// A denial that no policy took part in: quarantine, an unknown tool, a service not enabled.
    pub fn of(call: CallId, reason: Reason, bundle: Digest) -> Self {
        Self { call, decision: Decision::denied(reason), bundle }
    }

    /// The call that was denied.
    pub fn call(&self) -> CallId {
        self.call
    }

    /// What was decided, for the record and for the reply.
    pub fn decision(&self) -> &Decision {
        &self.decision
    }

    /// The bundle that decided.
    pub fn bundle_digest(&self) -> Digest {
        self.bundle
    }
}

/// The answer to one question.
#[derive(Debug)]
pub enum Verdict {
    /// The call may be sent.
    Allow(Permit),
    /// The call may not be sent.
    Deny(Denial),
}

impl Verdict {
    /// Turns a decision into the door that it opens, or not. One allowing arm: a decision that is
    /// marked as allowing without saying that a policy permitted it does not open anything.
    pub(in crate::policy) fn of(call: CallId, decision: Decision, bundle: Digest) -> Self {
        if decision.allowed && decision.reason == Reason::Permitted && decision.errors.is_empty() {
            return Self::Allow(Permit { call, decision, bundle });
        }
        Self::Deny(Denial { call, decision: Decision { allowed: false, ..decision }, bundle })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{EvaluationError, PolicyKey, Timestamp};

    fn call() -> CallId {
        CallId::mint(Timestamp::from_millis(1), [1; 10])
    }

    fn decision(allowed: bool, reason: Reason) -> Decision {
        Decision { allowed, ..Decision::denied(reason) }
    }

    #[test]
    fn a_permit_belongs_to_the_call_that_was_asked_about() {
        let permit = crate::policy::fixtures::permit(call());
        assert_eq!((permit.call(), permit.decision().reason), (call(), Reason::Permitted));
        let denial = crate::policy::fixtures::denial(call());
        assert_eq!((denial.call(), denial.decision().reason), (call(), Reason::NoPermit));
        assert_ne!(permit.bundle_digest(), denial.bundle_digest());
    }

    #[test]
    fn only_a_consistent_allowing_decision_becomes_a_permit() {
        let digest = Digest::of(b"bundle");
        let mut broken = decision(true, Reason::Permitted);
        broken.errors =
            vec![EvaluationError { policy: PolicyKey::parse("p").unwrap(), message: String::new() }];
        let table = [
            (decision(true, Reason::Permitted), true),
            (decision(false, Reason::Permitted), false),
            (decision(true, Reason::Forbidden), false),
            (decision(true, Reason::NoPermit), false),
            (decision(false, Reason::NoPermit), false),
            (broken, false),
        ];
        for (decision, opens) in table {
            match Verdict::of(call(), decision.clone(), digest) {
                Verdict::Allow(permit) => {
                    assert!(opens, "{decision:?}");
                    assert_eq!((permit.call(), permit.bundle_digest()), (call(), digest));
                }
                Verdict::Deny(denial) => {
                    assert!(!opens, "{decision:?}");
                    assert!(!denial.decision().allowed);
                }
            }
        }
    }
}
