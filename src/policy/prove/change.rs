//! What a change of policies allows and denies, which policies change nothing, and whether any can fail.

use std::collections::BTreeSet;

use cedar_policy_core::ast::Expr;
use cedar_policy_symcc::solver::Solver;
use serde::Serialize;

use super::claim::{self, Set};
use super::invariant::tell;
use super::kind::Kind;
use super::puzzle::Found;
use super::sample::Sampler;
use super::{Answer, Asked, Ground, Progress, Prover, TOLD_MAX, YEARS, is_false, kinds_of};
use crate::model::PolicyKey;
use crate::policy::{Bundle, Effect, Finding, FindingCode, Scenario};

/// What another set of policies decides otherwise.
#[derive(Debug, Clone)]
pub struct Changes {
    /// Calls that become allowed.
    pub allowed: Answer,
    /// Calls that become denied.
    pub denied: Answer,
}

/// Why a policy could as well not be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Idleness {
    /// There is no call that it matches.
    NeverMatches,
    /// Without it every call is decided as it is with it.
    ChangesNothing,
}

impl Idleness {
    /// What is to be said of such a policy.
    pub fn finding(self) -> Finding {
        let calls = format!("of the years {YEARS} whose arguments can be read (proved)");
        match self {
            Self::NeverMatches => {
                let says = format!("this policy can never match: its conditions hold of no call {calls}");
                Finding::new(FindingCode::NeverMatches, says)
            }
            Self::ChangesNothing => {
                let says = format!("beside the others it changes nothing: it turns no call {calls}");
                Finding::new(FindingCode::Implied, says)
            }
        }
    }
}

/// A policy that could as well not be there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Idle {
    pub policy: PolicyKey,
    pub why: Idleness,
}

impl<S: Solver> Prover<'_, S> {
    /// Calls that `new` allows and `old` does not. Both have to be of the same connectors.
    pub fn wider(&mut self, old: &Bundle, new: &Bundle) -> Answer {
        let kinds = kinds_of(new);
        let ground = Ground::of(new, &[old]);
        let asked_of = |kind: &Kind<'_>| {
            let (before, after) = (Set::of(&old.rules, kind), Set::of(&new.rules, kind));
            let holds = if before.is_like(&after) { Expr::val(false) } else { claim::allowed(&after) };
            Some(Asked { holds, fails: claim::allowed(&before) })
        };
        let zones = zones_of(new, old);
        let confirm = |scenario: &Scenario| {
            let told = tell(new, scenario, &zones)?;
            let before = scenario.ask(old, |question| old.decide(question)).ok()?;
            (told.decision.allowed && !before.allowed).then_some(told)
        };
        self.ask_all(&kinds, &ground, &asked_of, &confirm)
    }

    /// What becomes allowed and what denied where `new` takes the place of `old`.
    pub fn changes(&mut self, old: &Bundle, new: &Bundle) -> Changes {
        let mut denied = self.wider(new, old);
        // Found as what the old set allows: told as the new one decides it.
        for told in &mut denied.counterexamples {
            if let Some(now) = tell(new, &told.scenario, &told.zones) {
                told.decision = now.decision;
            }
        }
        Changes { allowed: self.wider(old, new), denied }
    }

    /// Calls for which a policy fails.
    pub fn failing(&mut self, bundle: &Bundle) -> Answer {
        let asked_of = |kind: &Kind<'_>| {
            let fails = || claim::nothing_fails(&Set::of(&bundle.rules, kind));
            (!kind.untold).then(|| Asked { holds: Expr::val(true), fails: fails() })
        };
        let zones: Vec<String> = bundle.world.zones.keys().cloned().collect();
        let confirm = |scenario: &Scenario| {
            tell(bundle, scenario, &zones).filter(|told| !told.decision.errors.is_empty())
        };
        self.ask_all(&kinds_of(bundle), &Ground::of(bundle, &[]), &asked_of, &confirm)
    }

    /// Why a policy could as well not be there, of calls whose resource can be told; nothing where it makes
    /// a difference, or nobody knows.
    pub fn idleness(&mut self, bundle: &Bundle, policy: &PolicyKey) -> Option<Idleness> {
        let of = bundle.rules.iter().find(|rule| rule.body.reference.key == *policy)?;
        let mut kinds = kinds_of(bundle);
        kinds.retain(|kind| kind.is_within(of) && !kind.untold);
        let matching = |_: &Kind<'_>| Asked { holds: claim::matches(of), fails: Expr::val(false) };
        if self.there_is_none(bundle, &kinds, &matching) {
            return Some(Idleness::NeverMatches);
        }
        let turning = |kind: &Kind<'_>| {
            let with = Set::of(&bundle.rules, kind);
            let (with, without) = (claim::allowed(&with), claim::allowed(&with.without(of)));
            match of.body.effect {
                Effect::Permit => Asked { holds: with, fails: without },
                Effect::Forbid => Asked { holds: without, fails: with },
            }
        };
        self.there_is_none(bundle, &kinds, &turning).then_some(Idleness::ChangesNothing)
    }

    /// The policies that could as well not be there, in their order.
    pub fn idle(&mut self, bundle: &Bundle) -> Vec<Idle> {
        let keys = bundle.rules.iter().map(|rule| rule.body.reference.key.clone());
        let idle = |policy: PolicyKey| self.idleness(bundle, &policy).map(|why| Idle { policy, why });
        keys.filter_map(idle).collect()
    }

    /// Whether the solver refutes every kind.
    fn there_is_none(
        &mut self,
        bundle: &Bundle,
        kinds: &[Kind<'_>],
        asked_of: &dyn Fn(&Kind<'_>) -> Asked,
    ) -> bool {
        let ground = Ground::of(bundle, &[]);
        kinds.iter().enumerate().all(|(done, kind)| {
            let asked = asked_of(kind);
            let progress = Progress { done, of: kinds.len(), questions: self.questions };
            is_false(&asked.holds)
                || ((self.patience)(progress)
                    && matches!(self.ask(kind, &ground, asked), Ok((_, _, Found::Nothing))))
        })
    }
}

/// The zones that either of them speaks of, each once.
fn zones_of(new: &Bundle, old: &Bundle) -> Vec<String> {
    let zones: BTreeSet<&String> = new.world.zones.keys().chain(old.world.zones.keys()).collect();
    zones.into_iter().cloned().collect()
}

/// What a sample of so many made-up calls says of a change; it finds, and proves nothing.
pub fn sampled(old: &Bundle, new: &Bundle, calls: usize) -> Changes {
    let mut changes = Changes { allowed: Answer::default(), denied: Answer::default() };
    let zones = zones_of(new, old);
    let mut sampler = Sampler::new(&[new, old], 1);
    let mut seen: BTreeSet<(String, Vec<PolicyKey>)> = BTreeSet::new();
    for scenario in std::iter::from_fn(|| sampler.scenario()).take(calls) {
        let Some(now) = tell(new, &scenario, &zones) else { continue };
        let Ok(before) = scenario.ask(old, |question| old.decide(question)) else { continue };
        if now.decision.allowed == before.allowed {
            continue;
        }
        let answer = if now.decision.allowed { &mut changes.allowed } else { &mut changes.denied };
        let by = now.decision.determining.iter().map(|one| one.key.clone()).collect();
        // One call of a tool and of the policies that decide it is enough to see.
        if answer.counterexamples.len() < TOLD_MAX && seen.insert((scenario.tool.clone(), by)) {
            answer.counterexamples.push(now);
        }
    }
    changes
}
