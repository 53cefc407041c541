//! The nearest change that would turn a decision: one fact of the call, or two, that would have to be another.
//!
//! Invariants: what is told was decided, by the same functions that decide real calls; a search costs at most
//! [`DECISIONS_MAX`] decisions; nothing is counted, and no door is opened. Ideas come from the values that the
//! policies compare with: an idea that is wrong costs a decision and is told to nobody.

mod facts;
mod ideas;
mod instants;
mod places;

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::Value;

use self::facts::{Facts, Idea};
use super::ClauseResult;
use crate::model::{PolicyRef, Reason};
use crate::policy::bundle::Bundle;
use crate::policy::engine::Rule;
use crate::policy::question::{Effect, Question};

/// Decisions that one search may take.
const DECISIONS_MAX: usize = 200;
/// Of these, how many may be spent on single changes.
const SINGLES_MAX: usize = 140;
/// Turns that are told.
const TURNS_MAX: usize = 3;

/// A change that turns the decision.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Turn {
    /// One, or two where one does not do.
    pub changes: Vec<Changed>,
    /// What the decision would be.
    pub allowed: bool,
    pub determining: Vec<PolicyRef>,
    /// All of it in a sentence.
    pub says: String,
}

/// A fact of the call, and what it would have to be.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Changed {
    /// `args.path`, `groups`, `time`, `ip`, `session.denials`, `resource.isProtected`, `role`.
    pub fact: String,
    pub from: Value,
    pub to: Value,
    /// `the member were in the group `ops``.
    pub says: String,
}

/// What would turn the decision; nothing where nothing that was tried does.
pub(super) fn turns(bundle: &Bundle, question: &Question<'_>, reason: Reason) -> Vec<Turn> {
    let now = Facts::of(question);
    let allowed = reason == Reason::Permitted;
    let ideas = ideas::of(bundle, question, &now);
    let mut search = Search { bundle, now: &now, allowed, left: DECISIONS_MAX };
    let here = search.distance(&now);
    let mut turns: Vec<Turn> = Vec::new();
    let mut nearer: Vec<&Idea> = Vec::new();
    let mut told: BTreeSet<&str> = BTreeSet::new();
    for idea in ideas.iter().take(SINGLES_MAX) {
        if told.contains(idea.fact.as_str()) {
            continue;
        }
        match search.attempt(&[idea]) {
            Attempt::Turned(turn) => {
                told.insert(&idea.fact);
                turns.push(turn);
            }
            Attempt::Not(facts) if search.is_nearer(&facts, here) => nearer.push(idea),
            Attempt::Not(_) | Attempt::Spent => {}
        }
        if turns.len() == TURNS_MAX {
            return turns;
        }
    }
    if turns.is_empty() {
        turns.extend(search.pair(&nearer));
    }
    turns
}

struct Search<'a> {
    bundle: &'a Bundle,
    now: &'a Facts<'a>,
    /// What is decided as things stand.
    allowed: bool,
    left: usize,
}

enum Attempt<'a> {
    Turned(Turn),
    Not(Box<Facts<'a>>),
    Spent,
}

impl<'a> Search<'a> {
    /// Whether these changes together turn the decision.
    fn attempt(&mut self, ideas: &[&Idea]) -> Attempt<'a> {
        let Some(left) = self.left.checked_sub(1) else { return Attempt::Spent };
        self.left = left;
        let mut facts = self.now.clone();
        ideas.iter().for_each(|idea| facts.apply(idea));
        let decision = facts.ask(|question| self.bundle.decide(question));
        // An error denies, and is nobody's wish.
        if decision.allowed == self.allowed || decision.reason == Reason::EvaluationError {
            return Attempt::Not(Box::new(facts));
        }
        let changes: Vec<Changed> = ideas.iter().map(|idea| idea.changed(self.now)).collect();
        let words: Vec<&str> = changes.iter().map(|change| change.says.as_str()).collect();
        let keys: Vec<String> = decision.determining.iter().map(|one| format!("`{}`", one.key)).collect();
        let by = if keys.is_empty() { String::new() } else { format!(", by {}", keys.join(", ")) };
        let end = if decision.allowed { "allowed" } else { "denied" };
        let says = format!("it would be {end}{by}, if {}", words.join(" and "));
        Attempt::Turned(Turn { changes, allowed: decision.allowed, determining: decision.determining, says })
    }

    /// Two changes of different facts, each of which alone brings the call nearer.
    fn pair(&mut self, nearer: &[&Idea]) -> Option<Turn> {
        for sum in 1..nearer.len() * 2 {
            for first in 0..sum.div_ceil(2) {
                let (Some(one), Some(other)) = (nearer.get(first), nearer.get(sum - first)) else { continue };
                if one.fact == other.fact {
                    continue;
                }
                match self.attempt(&[one, other]) {
                    Attempt::Turned(turn) => return Some(turn),
                    Attempt::Not(_) => {}
                    Attempt::Spent => return None,
                }
            }
        }
        None
    }

    fn is_nearer(&self, facts: &Facts<'_>, than: u32) -> bool {
        self.distance(facts) < than
    }

    /// How many conditions stand in the way of the opposite.
    fn distance(&self, facts: &Facts<'_>) -> u32 {
        const FAR: u32 = 1_000;
        let marks = facts.ask(|question| self.marks(question));
        let failing = |effect| {
            let of_effect = marks.iter().filter(move |(other, _)| *other == effect);
            of_effect.map(|(_, failing)| *failing)
        };
        let matching =
            |effect| u32::try_from(failing(effect).filter(|count| *count == 0).count()).unwrap_or(FAR);
        if self.allowed {
            failing(Effect::Forbid).min().unwrap_or(FAR).min(matching(Effect::Permit))
        } else {
            matching(Effect::Forbid).saturating_add(failing(Effect::Permit).min().unwrap_or(FAR))
        }
    }

    /// Of each candidate, how many of its clauses fail.
    fn marks(&self, question: &Question<'_>) -> Vec<(Effect, u32)> {
        let count = |rule: &Rule, results: Vec<ClauseResult>| {
            let failing = results.iter().filter(|result| **result != ClauseResult::Held).count();
            (rule.body.effect, u32::try_from(failing).unwrap_or(u32::MAX))
        };
        super::with_candidates(self.bundle, question, |rule, evaluator| {
            count(rule, super::clause::each(rule, evaluator))
        })
    }
}

#[cfg(test)]
mod tests;
