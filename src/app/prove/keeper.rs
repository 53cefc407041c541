//! Invariants before a set of policies is taken.
//!
//! Invariants: where it is configured, a set of which an invariant does not hold is refused with the call
//! that breaks it; so is one of which nobody knows, a missing solver included, unless the configuration says
//! otherwise. Where it is not configured, nothing is asked and nothing is started.

mod idle;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::{Cvc5, Patience, find};
use crate::app::config::{Prove, ProveUnknown};
use crate::model::{Diagnostic, SourceFile};
use crate::policy::Bundle;
use crate::policy::prove::{Broken, Invariants, Progress, Prover};

/// Where invariants stand, for a message where they do not.
const INVARIANTS: &str = "policies/invariants.toml";

/// Asks the solver before a set is taken.
#[derive(Debug, Clone)]
pub struct Keeper {
    solver: Result<PathBuf, String>,
    patience: Patience,
    unknown: ProveUnknown,
}

impl Keeper {
    /// As configured; `None` where invariants are not asked before a set is taken.
    pub fn new(
        config: &crate::app::config::Policies,
        environment: &BTreeMap<String, String>,
    ) -> Option<Self> {
        let millis = |ms: u32| Duration::from_millis(ms.into());
        let patience =
            Patience { question: millis(config.prove_question_ms_max), whole: millis(config.prove_ms_max) };
        match config.prove {
            Prove::Off => None,
            Prove::Reload => {
                Some(Self { solver: find(environment), patience, unknown: config.prove_unknown })
            }
        }
    }

    /// Whether every invariant of this file holds of each of these sets, which are of the same connectors;
    /// the set of an agent comes with the agent's name.
    ///
    /// # Errors
    /// That there is no file; what is wrong with it; each call that breaks an invariant; and, unless unknown
    /// ones are accepted, what nobody knows.
    pub fn check(
        &self,
        sets: &[(Option<&str>, &Bundle)],
        invariants: Option<&SourceFile>,
    ) -> Result<(), Vec<Diagnostic>> {
        let Some((_, first)) = sets.first() else { return Ok(()) };
        // Whoever loses the file loses no guard unnoticed.
        let Some(source) = invariants else {
            let missing =
                Diagnostic::of_file(INVARIANTS, "is missing, and `policies.prove` asks for what it says");
            return Err(vec![missing.with_help(
                "write it, an empty one if nothing is to be kept, or set `policies.prove = \"off\"`",
            )]);
        };
        let invariants = Invariants::read(source, first.connectors())?;
        if invariants.all().is_empty() {
            return Ok(());
        }
        let (faults, refuted) = match self.broken(sets, &invariants) {
            Ok(found) => found,
            Err(why) => {
                let message = format!("the invariants cannot be proved: {why}");
                let help = "install the solver, or set `policies.prove_unknown` or `policies.prove`";
                return self
                    .unless_accepted(vec![Diagnostic::of_file(&source.name, message).with_help(help)]);
            }
        };
        match (faults.is_empty(), refuted) {
            (true, _) => Ok(()),
            (false, true) => Err(faults),
            (false, false) => self.unless_accepted(faults),
        }
    }

    /// What is wrong or unknown, and whether anything is wrong for certain.
    fn broken(
        &self,
        sets: &[(Option<&str>, &Bundle)],
        invariants: &Invariants,
    ) -> Result<(Vec<Diagnostic>, bool), String> {
        let solver = Cvc5::new(self.solver.clone()?, self.patience.question);
        // Each set has its time; what was answered of one need not be asked of the next.
        let end = Cell::new(None);
        let goes_on = |_: Progress| end.get().is_none_or(|end| Instant::now() < end);
        let mut prover = Prover::new(solver, goes_on)?;
        let (mut faults, mut refuted) = (Vec::new(), false);
        for (agent, bundle) in sets {
            end.set(Instant::now().checked_add(self.patience.whole));
            let broken = prover.broken(bundle, invariants);
            refuted |= broken.iter().any(|broken| !broken.answer.counterexamples.is_empty());
            faults.extend(broken.iter().flat_map(Broken::diagnostics).map(|fault| match agent {
                Some(agent) => Diagnostic { message: format!("agent `{agent}`: {}", fault.message), ..fault },
                None => fault,
            }));
        }
        Ok((faults, refuted))
    }

    fn unless_accepted(&self, unknown: Vec<Diagnostic>) -> Result<(), Vec<Diagnostic>> {
        match self.unknown {
            ProveUnknown::Refuse => Err(unknown),
            ProveUnknown::Accept => {
                for one in &unknown {
                    tracing::warn!("{one}; accepted, as `policies.prove_unknown` says");
                }
                Ok(())
            }
        }
    }
}
