//! The decision: candidates evaluated on Cedar's own evaluator, and what follows from them.
//!
//! Invariants: determining and failing policies are those that `cedar_policy::Authorizer` names over
//! the whole set (`oracle.rs` compares them); only after that does any failure deny
//! (decision 7). One arm allows; everything else denies.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use cedar_policy_core::ast::{Expr, Literal, Request, SlotEnv, ValueKind};
use cedar_policy_core::entities::Entities;
use cedar_policy_core::evaluator::{EvaluationError as CedarError, Evaluator};
use cedar_policy_core::extensions::Extensions;
use cedar_policy_core::parser;
use miette::Diagnostic as _;

use super::index::Scope;
use super::question::Effect;
use super::reads::Reads;
use super::source;
use crate::model::Show;
use crate::model::{Decision, EvaluationError, PolicyMode, PolicyRef, Reason};

/// What one policy says, wherever it stands.
#[derive(Debug, Clone)]
pub(super) struct Body {
    pub(super) effect: Effect,
    pub(super) show: Show,
    pub(super) mode: PolicyMode,
    pub(super) reference: PolicyRef,
    pub(super) deny_message: Option<Arc<str>>,
    pub(super) scope: Scope,
    /// The conditions without the scope and without their places; `None` where the scope is all there is.
    pub(super) condition: Option<Expr>,
    /// As the operator wrote it.
    pub(super) text: Arc<str>,
    /// The conditions with their places in `text`, once anyone has asked.
    pub(super) located: OnceLock<Option<Arc<Expr>>>,
}

impl Body {
    /// What the conditions read.
    pub(super) fn reads(&self) -> Reads {
        Reads::of(self.condition.as_ref())
    }

    /// The conditions with their places in the text.
    pub(super) fn located(&self) -> Option<&Expr> {
        let parse = || {
            let policy = parser::parse_policy(None, &self.text).ok()?;
            policy.non_scope_constraints().map(|condition| Arc::new(condition.clone()))
        };
        self.located.get_or_init(parse).as_deref()
    }
}

/// Where a policy's first character stands.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) file: Arc<str>,
    /// Both from 1.
    pub(super) line: u32,
    pub(super) column: u32,
}

/// One policy, ready to be evaluated.
#[derive(Debug, Clone)]
pub(super) struct Rule {
    pub(super) body: Arc<Body>,
    pub(super) place: Place,
}

impl Rule {
    /// Line and column of a byte of the policy's text.
    pub(super) fn position(&self, offset: usize) -> (u32, u32) {
        let before = self.body.text.get(..offset).unwrap_or(&self.body.text);
        source::after((self.place.line, self.place.column), before)
    }
}

/// How one condition ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Truth {
    Held,
    Failed,
    /// It could not be evaluated: why, without values, and the byte offset in the text that the
    /// expression was parsed from, where it was parsed with its places.
    Error(&'static str, Option<usize>),
}

/// Evaluates one expression to a truth.
pub(super) fn truth(evaluator: &Evaluator<'_>, slots: &SlotEnv, expr: &Expr) -> Truth {
    match evaluator.interpret(expr, slots) {
        Ok(value) => match value.value_kind() {
            ValueKind::Lit(Literal::Bool(true)) => Truth::Held,
            ValueKind::Lit(Literal::Bool(false)) => Truth::Failed,
            _ => Truth::Error("a condition is neither true nor false", None),
        },
        Err(error) => {
            let label = error.labels().and_then(|mut labels| labels.next());
            Truth::Error(sentence(&error), label.map(|label| label.offset()))
        }
    }
}

/// What failed, without the values that it failed on: arguments must not leak into the audit.
fn sentence(error: &CedarError) -> &'static str {
    match error {
        CedarError::EntityDoesNotExist(_) => "an entity whose attribute is read does not exist",
        CedarError::EntityAttrDoesNotExist(_) => "an entity has no such attribute",
        CedarError::RecordAttrDoesNotExist(_) => "a record has no such attribute",
        CedarError::TypeError(_) => "a value has another type than the condition expects",
        CedarError::IntegerOverflow(_) => "an integer overflows",
        CedarError::FailedExtensionFunctionLookup(_) => "there is no such function",
        CedarError::WrongNumArguments(_) => "a function has the wrong number of arguments",
        CedarError::FailedExtensionFunctionExecution(_) => "a function refuses its argument",
        CedarError::RecursionLimit(_) => "the condition is nested too deeply",
        CedarError::UnlinkedSlot(_) => "a template slot is not filled",
        CedarError::NonValue(_) => "the condition has no value",
    }
}

/// What became of the candidates.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// Numbers of the permits that match, ascending.
    pub(super) permits: Vec<u32>,
    /// Numbers of the forbids that match, ascending.
    pub(super) forbids: Vec<u32>,
    /// Numbers of the policies that could not be evaluated, ascending, each with why.
    pub(super) errors: Vec<(u32, String)>,
}

/// The rule of this number.
pub(super) fn rule(rules: &[Rule], number: u32) -> Option<&Rule> {
    rules.get(usize::try_from(number).ok()?)
}

/// Evaluates the candidates, all of them: every match determines, every failure counts.
pub(super) fn evaluate(rules: &[Rule], candidates: &[u32], request: Request, entities: &Entities) -> Found {
    let evaluator = Evaluator::new(request, entities, Extensions::all_available());
    let slots = SlotEnv::new();
    let mut found = Found::default();
    for number in candidates {
        let Some(rule) = rule(rules, *number) else {
            // An index of another bundle: it cannot be, and must not pass.
            found.errors.push((*number, "no such policy".to_owned()));
            continue;
        };
        let truth = match &rule.body.condition {
            None => Truth::Held,
            Some(condition) => truth(&evaluator, &slots, condition),
        };
        match (truth, rule.body.effect) {
            (Truth::Held, Effect::Permit) => found.permits.push(*number),
            (Truth::Held, Effect::Forbid) => found.forbids.push(*number),
            (Truth::Failed, _) => {}
            (Truth::Error(why, _), _) => found.errors.push((*number, failure(rule, why, &evaluator))),
        }
    }
    found
}

/// A failure with its place, which is found by evaluating the conditions as they are written.
fn failure(rule: &Rule, why: &str, evaluator: &Evaluator<'_>) -> String {
    let located = rule.body.located().map(|condition| truth(evaluator, &SlotEnv::new(), condition));
    match located {
        Some(Truth::Error(why, offset)) => at(rule, why, offset),
        _ => at(rule, why, None),
    }
}

/// A failure with its place: `policies/a.cedar:3:5: an integer overflows`.
pub(super) fn at(rule: &Rule, why: &str, offset: Option<usize>) -> String {
    match offset {
        Some(offset) => {
            let (line, column) = rule.position(offset);
            format!("{}:{line}:{column}: {why}", rule.place.file)
        }
        None => format!("{}: {why}", rule.place.file),
    }
}

/// What follows from what became of the candidates. Forbid wins, then any failure, then a permit.
pub(super) fn conclude(rules: &[Rule], found: &Found) -> Decision {
    let mut errors: BTreeMap<&str, EvaluationError> = BTreeMap::new();
    for (number, message) in &found.errors {
        if let Some(rule) = rule(rules, *number) {
            let policy = rule.body.reference.key.clone();
            let error = EvaluationError { policy, message: message.clone() };
            errors.entry(rule.body.reference.key.as_str()).or_insert(error);
        }
    }
    let errors: Vec<EvaluationError> = errors.into_values().collect();
    let (reason, determining): (Reason, &[u32]) = if !found.forbids.is_empty() {
        (Reason::Forbidden, &found.forbids)
    } else if !found.errors.is_empty() {
        (Reason::EvaluationError, &[])
    } else if found.permits.is_empty() {
        (Reason::NoPermit, &[])
    } else {
        (Reason::Permitted, &found.permits)
    };
    let mut determining: Vec<&Body> =
        determining.iter().filter_map(|n| rule(rules, *n)).map(|rule| rule.body.as_ref()).collect();
    determining.sort_by(|a, b| a.reference.key.cmp(&b.reference.key));
    let message = |rule: &&Body| rule.deny_message.clone().filter(|_| rule.show != Show::Hidden);
    let deny_message = match reason {
        Reason::Forbidden => determining.iter().find_map(message),
        _ => None,
    };
    Decision {
        // A failure without a rule to name leaves no error in the list, and yet denies.
        allowed: reason == Reason::Permitted && errors.is_empty() && found.errors.is_empty(),
        reason,
        actionable: !determining.is_empty() && determining.iter().all(|rule| rule.show == Show::Actionable),
        determining: determining.into_iter().map(|rule| rule.reference.clone()).collect(),
        errors,
        deny_message,
        shadow: None,
    }
}

#[cfg(test)]
mod tests;
