//! Invariants: what must be true of a set of policies whatever is in it, from `policies/invariants.toml`.
//!
//! Invariants of this module: an invariant is validated as strictly as a policy; one that speaks of no call
//! is refused, because it would hold of everything; unknown keys are refused.

mod file;

use std::collections::BTreeSet;
use std::sync::Arc;

use cedar_policy_core::ast::Expr;
use cedar_policy_symcc::solver::Solver;
use serde::Serialize;

use super::claim;
use super::claim::Set;
use super::kind::Kind;
use super::told::Told;
use super::{Answer, Asked, Ground, Prover, is_false, kinds_of};
use crate::connector::Connectors;
use crate::model::{Diagnostic, PolicyKey, Reason, SourceFile, TrustMode};
use crate::policy::engine::{Rule, rule};
use crate::policy::{Bundle, Effect, Scenario, Sources};

/// What must never be the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Never {
    Allow,
    Deny,
}

/// One invariant.
#[derive(Debug, Clone, Serialize)]
pub struct Invariant {
    pub name: String,
    /// Why it matters, for whoever meets it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    pub never: Never,
    /// Whether it must hold whatever else is permitted: the forbids alone keep it, as a guardrail of the files
    /// must, beside which agents store permits.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub guardrail: bool,
    /// The file, and the line where it starts, from 1.
    pub file: String,
    pub line: u32,
    #[serde(skip)]
    key: PolicyKey,
}

/// The invariants of one file, for the connectors that they were read with.
#[derive(Debug)]
pub struct Invariants {
    all: Vec<Invariant>,
    /// Each as a policy that matches the calls that it speaks of.
    bundle: Bundle,
}

/// An invariant of which is not proved that it holds.
#[derive(Debug)]
pub struct Broken {
    pub invariant: Invariant,
    pub answer: Answer,
}

impl Invariants {
    /// Reads the file.
    ///
    /// # Errors
    /// Everything that is wrong, each with its line and what to do.
    pub fn read(source: &SourceFile, connectors: &Arc<Connectors>) -> Result<Self, Vec<Diagnostic>> {
        let (all, policies) = file::read(source, connectors)?;
        let sources =
            Sources { show: Default::default(), policies, cases: None, connectors: Arc::clone(connectors) };
        let bundle = Bundle::build(&sources).map_err(|faults| {
            faults.into_iter().map(|fault| placed(fault, source, &all)).collect::<Vec<_>>()
        })?;
        let of_effect = |key: &PolicyKey| bundle.policies().iter().find(|info| info.key == *key);
        let all = all.into_iter().map(|mut one| {
            if let Some(info) = of_effect(&one.key) {
                one.never = if info.effect == Effect::Forbid { Never::Allow } else { Never::Deny };
            }
            one
        });
        Ok(Self { all: all.collect(), bundle })
    }

    /// In the order of the file.
    pub fn all(&self) -> &[Invariant] {
        &self.all
    }

    fn rule(&self, invariant: &Invariant) -> Option<&Rule> {
        self.bundle.rules.iter().find(|rule| rule.body.reference.key == invariant.key)
    }
}

/// A fault of the policy that stands for an invariant, at the invariant's line.
fn placed(fault: Diagnostic, source: &SourceFile, all: &[Invariant]) -> Diagnostic {
    let of = all.iter().find(|one| fault.file == file::name_of(&one.key));
    let Some(invariant) = of else {
        return Diagnostic { file: source.name.to_string(), line: 0, column: 0, ..fault };
    };
    let message = format!("the invariant `{}`: {}", invariant.name, fault.message);
    Diagnostic { file: source.name.to_string(), line: invariant.line, column: 0, message, ..fault }
}

impl<S: Solver> Prover<'_, S> {
    /// Whether an invariant holds of this set.
    pub fn invariant(&mut self, bundle: &Bundle, invariants: &Invariants, invariant: &Invariant) -> Answer {
        let Some(of) = invariants.rule(invariant) else { return Answer::default() };
        let kinds: Vec<Kind<'_>> = kinds_of(bundle).into_iter().filter(|kind| kind.is_within(of)).collect();
        let ground = Ground::of(bundle, &[&invariants.bundle]);
        let asked_of = |kind: &Kind<'_>| {
            let set = Set::of(&bundle.rules, kind);
            let allowed = if invariant.guardrail { claim::unforbidden(&set) } else { claim::allowed(&set) };
            let spoken_of = claim::matches(of);
            match invariant.never {
                // Nothing at all is allowed: there is nothing to ask.
                Never::Allow if is_false(&allowed) => Some(Asked { holds: allowed, fails: Expr::val(false) }),
                Never::Allow => Some(Asked { holds: Expr::and(spoken_of, allowed), fails: Expr::val(false) }),
                Never::Deny if kind.untold => None,
                Never::Deny => Some(Asked { holds: spoken_of, fails: allowed }),
            }
        };
        let zones = invariants.zones(bundle);
        let confirm = |scenario: &Scenario| {
            let told = Told { open: invariant.guardrail, ..tell(bundle, scenario, &zones)? };
            let allowed =
                told.decision.allowed || (invariant.guardrail && told.decision.reason == Reason::NoPermit);
            let wrong = allowed == (invariant.never == Never::Allow);
            // Whether the invariant speaks of it is a question of its own, to which trust is nothing.
            let trusted = Scenario { trust: TrustMode::Trusted, ..scenario.clone() };
            (wrong && matching(&invariants.bundle, &trusted).contains(&invariant.key)).then_some(told)
        };
        self.ask_all(&kinds, &ground, &asked_of, &confirm)
    }

    /// The invariants of which is not proved that they hold.
    pub fn broken(&mut self, bundle: &Bundle, invariants: &Invariants) -> Vec<Broken> {
        let answered = invariants.all.iter().map(|invariant| {
            let answer = self.invariant(bundle, invariants, invariant);
            Broken { invariant: invariant.clone(), answer }
        });
        answered.filter(|broken| !broken.answer.holds()).collect()
    }
}

impl Invariants {
    fn zones(&self, bundle: &Bundle) -> Vec<String> {
        let zones: BTreeSet<&String> =
            self.bundle.world.zones.keys().chain(bundle.world.zones.keys()).collect();
        zones.into_iter().cloned().collect()
    }
}

impl Broken {
    /// What to tell whoever brought the policies, at the invariant's line.
    pub fn diagnostics(&self) -> Vec<Diagnostic> {
        let Invariant { name, file, line, never, guardrail, .. } = &self.invariant;
        let at = |message: String, help: &str| Diagnostic {
            file: file.clone(),
            line: *line,
            column: 0,
            message,
            help: Some(help.to_owned()),
        };
        let called = match (never, guardrail) {
            (Never::Allow, true) => "allowed by any permit",
            (Never::Allow, false) => "allowed",
            (Never::Deny, _) => "denied",
        };
        let found = self.answer.counterexamples.iter().map(|told| {
            let told = told.to_string().lines().map(str::trim).collect::<Vec<_>>().join("; ");
            let message = format!("the invariant `{name}` does not hold: a call would be {called}: {told}");
            at(message, "change the policies, or the invariant if it says too much")
        });
        let unknown = self.answer.unknown.iter().map(|(tool, why)| {
            let message = format!("whether the invariant `{name}` holds of `{tool}` is unknown: {why}");
            at(message, "unknown counts as broken; `wicket policy prove` takes its time and says more")
        });
        found.chain(unknown).collect()
    }
}

/// The call as this bundle decides it.
pub(super) fn tell(bundle: &Bundle, scenario: &Scenario, zones: &[String]) -> Option<Told> {
    let told = |(resource, decision)| Told {
        scenario: scenario.clone(),
        resource,
        decision,
        also: Vec::new(),
        open: false,
        zones: zones.to_vec(),
    };
    let answer = scenario.ask(bundle, |question| (question.resource.uid(), bundle.decide(question)));
    answer.ok().map(told)
}

/// The policies of a bundle that match a call, whatever they decide.
fn matching(bundle: &Bundle, scenario: &Scenario) -> BTreeSet<PolicyKey> {
    let found = scenario.ask(bundle, |question| {
        let asked = bundle.asked(question);
        let scope = asked.scope().ok()?;
        let prepared = asked.prepare(scope, &question.moment()).ok()?;
        Some(asked.found(scope, prepared))
    });
    let found = found.ok().flatten().unwrap_or_default();
    let numbers = found.permits.iter().chain(&found.forbids);
    numbers.filter_map(|n| rule(&bundle.rules, *n)).map(|rule| rule.body.reference.key.clone()).collect()
}
