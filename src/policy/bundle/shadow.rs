//! Policies in shadow mode: evaluated and recorded, and not applied.
//!
//! Invariants: nothing that decides, counts or lists looks in here; what would have been decided is said by
//! the same engine, over a set in which they are enforced beside all others; where there are none, a call
//! pays for a look at an empty place.

use std::collections::HashSet;
use std::sync::Arc;

use super::agent::{Over, Stored};
use super::{Asked, Bundle};
use crate::model::{Decision, History, PolicyKey, Shadowed};
use crate::policy::engine::Rule;
use crate::policy::needs::Needs;
use crate::policy::world::Moment;

/// The policies in shadow mode.
#[derive(Debug)]
pub(in crate::policy) struct Shadow {
    pub(super) rules: Vec<Rule>,
    keys: HashSet<PolicyKey>,
    /// The set in which they are enforced.
    set: Bundle,
}

impl Shadow {
    /// These policies beside those of `bundle`; `None` where there are none. `stored` says whose own policies
    /// there would be.
    pub(super) fn over(bundle: &Bundle, rules: Vec<Rule>, stored: Stored) -> Option<Box<Self>> {
        if rules.is_empty() {
            return None;
        }
        let keys = rules.iter().map(|rule| rule.body.reference.key.clone()).collect();
        let set = Over {
            rules: bundle.rules.iter().chain(&rules).cloned().collect(),
            infos: Vec::new(),
            warnings: Vec::new(),
            digest: bundle.digest,
            zones: bundle.world.zones.clone(),
            counters: Arc::clone(&bundle.world.counters),
            stored,
        };
        Some(Box::new(Self { rules, keys, set: set.bundle(bundle) }))
    }

    /// The set in which they are enforced beside all others.
    pub(in crate::policy) fn set(&self) -> &Bundle {
        &self.set
    }

    /// Whether a policy of that set is in shadow mode.
    pub(in crate::policy) fn is_in(&self, key: &PolicyKey) -> bool {
        self.keys.contains(key)
    }

    /// What would have been decided, where that differs from what was.
    fn beside(&self, decided: &Decision, would: Decision) -> Option<Arc<Shadowed>> {
        let same = would.allowed == decided.allowed
            && would.determining == decided.determining
            && would.errors == decided.errors;
        if same {
            return None;
        }
        let Decision { allowed, reason, determining, errors, .. } = would;
        let policies = determining.into_iter().filter(|policy| self.is_in(&policy.key)).collect();
        let errors = errors.into_iter().filter(|error| self.is_in(&error.policy)).collect();
        Some(Arc::new(Shadowed { allowed, reason, policies, errors }))
    }
}

impl Asked<'_> {
    /// The decision with what policies in shadow mode would have made of it. `counters` reads those that they
    /// read and the decision may not have; it is asked only where there are any.
    pub(super) fn shadowed(
        &self,
        decided: Decision,
        moment: &Moment<'_>,
        counters: impl FnOnce(&Needs) -> History,
    ) -> Decision {
        let Some(shadow) = &self.bundle.shadow else { return decided };
        let would = Asked::new(&shadow.set, self.caller, self.connector, self.tool, self.resource);
        let needs = would.needs();
        let mut history = if needs.reads_counters() { counters(needs) } else { History::default() };
        // What the decision read, they see as it did.
        history.session.extend(moment.history.session.iter().map(|(key, count)| (key.clone(), *count)));
        history.member.extend(moment.history.member.iter().map(|(key, count)| (key.clone(), *count)));
        let would = would.decide(&Moment { history: &history, ..*moment });
        let shadow = shadow.beside(&decided, would);
        Decision { shadow, ..decided }
    }
}

#[cfg(test)]
mod tests;
