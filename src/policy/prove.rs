//! What can be said of all calls at once, with the help of a solver: Cedar's symbolic compiler turns a
//! question about policies into one about logic, and a solver finds that there is no such call, or names it.
//!
//! Invariants: "it holds" is said only where the solver refuted every kind of call that the question is
//! about; a counterexample is told only after [`Bundle::decide`] has confirmed it; everything else is
//! "unknown". This is pure: the solver is a part that the caller brings, and so is the patience.

mod axioms;
mod change;
mod claim;
mod invariant;
mod kind;
mod puzzle;
mod read;
mod realise;
mod sample;
mod told;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use cedar_policy_core::ast::{Expr, ExprKind, Literal};
use cedar_policy_symcc::CedarSymCompiler;
use cedar_policy_symcc::solver::Solver;

use self::kind::Kind;
use self::puzzle::{Found, Puzzle};
use self::read::Looks;
use super::{Bundle, Scenario};
use crate::model::{CounterKey, Digest, MemberId};

pub use self::axioms::time::YEARS;
pub use self::change::{Changes, Idle, Idleness, sampled};
pub use self::invariant::{Broken, Invariant, Invariants, Never};
pub use self::sample::Sampler;
pub use self::told::Told;

/// Counterexamples of one question that are told.
const TOLD_MAX: usize = 10;
/// Reasons of one question that are told.
const UNKNOWN_MAX: usize = 10;

/// What became of one question.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    /// Calls for which it does not hold, each confirmed by the gate's own decision.
    pub counterexamples: Vec<Told>,
    /// Kinds of calls of which nothing is known, by tool, each with why.
    pub unknown: BTreeMap<String, String>,
    /// Kinds of calls that the question is about: a tool on a type of resource.
    pub kinds: usize,
}

impl Answer {
    /// Whether it is proved.
    pub fn holds(&self) -> bool {
        self.counterexamples.is_empty() && self.unknown.is_empty()
    }

    /// Adds a call, or its tool to one that tells the same story; where it stands.
    fn add(&mut self, told: Told) -> usize {
        if let Some(at) = self.counterexamples.iter().position(|known| known.tells_the_same(&told)) {
            if let Some(known) = self.counterexamples.get_mut(at) {
                known.also.push(told.scenario.tool);
            }
            return at;
        }
        self.counterexamples.push(told);
        self.counterexamples.len() - 1
    }

    fn add_unknown(&mut self, kind: &Kind<'_>, why: String) {
        if self.unknown.len() < UNKNOWN_MAX {
            self.unknown.entry(kind.tool_name()).or_insert(why);
        }
    }
}

/// What the sets of a question bring beside their policies.
struct Ground {
    /// Every counter that there is.
    counters: BTreeSet<CounterKey>,
    /// Of an untrusted agent the members who may call at all, in the order of their ids; else nobody.
    owners: Vec<MemberId>,
}

impl Ground {
    /// Of this set, and others for what they count.
    fn of(bundle: &Bundle, others: &[&Bundle]) -> Self {
        let sets = [bundle].into_iter().chain(others.iter().copied());
        let counters = sets.flat_map(|set| set.world.counters.iter().cloned()).collect();
        let mut owners: Vec<MemberId> = bundle.stored.owners().iter().copied().collect();
        owners.sort_by_key(|id| *id.as_uuid());
        Self { counters, owners }
    }
}

/// What is asked of one kind of call.
struct Asked {
    /// What holds of the call that is looked for,
    holds: Expr,
    /// and what does not.
    fails: Expr,
}

/// Asks a solver.
pub struct Prover<'p, S: Solver> {
    compiler: CedarSymCompiler<S>,
    answers: HashMap<Digest, Found>,
    /// Whether to go on: asked before each question.
    patience: Box<dyn FnMut(Progress) -> bool + 'p>,
    questions: usize,
}

/// How far a proof is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Kinds of calls that are done, and that there are, of the question at hand.
    pub done: usize,
    pub of: usize,
    /// Questions that the solver was asked so far, over all.
    pub questions: usize,
}

impl<'p, S: Solver> Prover<'p, S> {
    /// One that asks this solver for as long as `patience` says.
    ///
    /// # Errors
    /// Where the symbolic compiler cannot be set up.
    pub fn new(solver: S, patience: impl FnMut(Progress) -> bool + 'p) -> Result<Self, String> {
        let compiler = CedarSymCompiler::new(solver).map_err(|error| error.to_string())?;
        let patience = Box::new(patience);
        Ok(Self { compiler, answers: HashMap::new(), patience, questions: 0 })
    }

    /// Questions that the solver was asked so far.
    pub fn questions(&self) -> usize {
        self.questions
    }

    /// Asks one question of every kind of call; `confirm` says whether the gate agrees with a
    /// counterexample, and tells it.
    fn ask_all(
        &mut self,
        kinds: &[Kind<'_>],
        ground: &Ground,
        asked_of: &dyn Fn(&Kind<'_>) -> Option<Asked>,
        confirm: &dyn Fn(&Scenario) -> Option<Told>,
    ) -> Answer {
        let mut answer = Answer::default();
        // The kinds that have the same counterexample, by question.
        let mut seen: BTreeMap<Digest, usize> = BTreeMap::new();
        for (done, kind) in kinds.iter().enumerate() {
            let Some(asked) = asked_of(kind) else { continue };
            answer.kinds += 1;
            if is_false(&asked.holds) {
                continue;
            }
            if !(self.patience)(Progress { done, of: kinds.len(), questions: self.questions }) {
                answer.add_unknown(kind, "there was no time left to ask".to_owned());
                continue;
            }
            match self.ask(kind, ground, asked) {
                Err(why) => answer.add_unknown(kind, why),
                Ok((_, _, Found::Nothing)) => {}
                Ok((_, _, Found::Unknown(why))) => answer.add_unknown(kind, why),
                Ok((digest, looks, Found::Call(env))) => {
                    if let Some(told) = seen.get(&digest).and_then(|at| answer.counterexamples.get_mut(*at)) {
                        told.also.push(kind.tool_name());
                        continue;
                    }
                    if answer.counterexamples.len() >= TOLD_MAX {
                        continue;
                    }
                    let tried = realise::scenarios(kind, &looks, &ground.owners, &env);
                    match tried.iter().find_map(confirm) {
                        Some(told) => drop(seen.insert(digest, answer.add(told))),
                        None => answer.add_unknown(kind, unconfirmed(&env)),
                    }
                }
            }
        }
        answer
    }

    /// Asks one question of one kind of call: the question's name, what it looks at, and the answer.
    fn ask(
        &mut self,
        kind: &Kind<'_>,
        ground: &Ground,
        asked: Asked,
    ) -> Result<(Digest, Looks, Found), String> {
        let Asked { holds, fails } = asked;
        let asked = Looks::at(&[&holds, &fails], &ground.counters);
        let holds = match axioms::axioms(kind, &asked, &ground.owners)? {
            Some(axioms) => claim::leaning(&Expr::and(axioms, holds)),
            None => holds,
        };
        let looks = Looks::at(&[&holds, &fails], &ground.counters);
        let action = format!("{}::{}", kind.action_type(), super::argument::quoted(looks.action(kind)));
        let (schema, resource) = (looks.schema(kind), kind.resource_type());
        let puzzle = Puzzle { schema, action, resource, holds, fails };
        let digest = puzzle.digest();
        if let Some(known) = self.answers.get(&digest) {
            return Ok((digest, asked, known.clone()));
        }
        self.questions += 1;
        let found = puzzle.ask(&mut self.compiler);
        self.answers.insert(digest, found.clone());
        Ok((digest, asked, found))
    }
}

fn is_false(expr: &Expr) -> bool {
    matches!(expr.expr_kind(), ExprKind::Lit(Literal::Bool(false)))
}

/// The solver names a call that cannot be made, or that the gate decides otherwise.
fn unconfirmed(env: &cedar_policy_symcc::Env) -> String {
    let shown: String = env.request.to_string().chars().take(300).collect();
    format!("the solver names a call that the gate does not confirm: {shown}")
}

/// Every kind of call that a bundle decides.
fn kinds_of(bundle: &Bundle) -> Vec<Kind<'_>> {
    kind::kinds(&bundle.connectors)
}
