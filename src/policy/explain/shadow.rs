//! What policies in shadow mode would have made of a call.
//!
//! Invariants: it is what is recorded of a real call (`bundle/shadow.rs`), with the conditions beside; the
//! decision that is explained stays as it is.

use serde::Serialize;

use super::{CandidatePolicy, candidates};
use crate::model::{Decision, EvaluationError, PolicyRef, Reason};
use crate::policy::engine::rule;
use crate::policy::{Bundle, Question};

/// The call as it would be decided if the policies in shadow mode were enforced too.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InShadow {
    /// Whether the decision, or what determines it, would be another.
    pub differs: bool,
    pub allowed: bool,
    pub reason: Reason,
    /// Those in shadow mode that would determine it.
    pub determining: Vec<PolicyRef>,
    /// Those in shadow mode that fail to evaluate.
    pub errors: Vec<EvaluationError>,
    /// The policies in shadow mode whose scope matches the call.
    pub candidates: Vec<CandidatePolicy>,
    /// Counters that are read and that the question does not give: `session.denials`; they stand at 0 here.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub counters_not_given: Vec<String>,
}

/// What the shadows of this bundle make of a call that was decided so; `None` where none speaks of it.
pub(super) fn beside(bundle: &Bundle, question: &Question<'_>, decided: &Decision) -> Option<InShadow> {
    let shadow = bundle.shadow.as_deref()?;
    let set = shadow.set();
    let asked = set.asked(question);
    let scope = asked.scope().ok()?;
    let is_shadow =
        |number: &u32| rule(&set.rules, *number).is_some_and(|rule| shadow.is_in(&rule.body.reference.key));
    let numbers: Vec<u32> = asked.candidates(scope).iter().copied().filter(is_shadow).collect();
    if numbers.is_empty() {
        return None;
    }
    let prepared = asked.prepare(scope, &question.moment()).ok()?;
    let (needs, given) = (asked.needs(), question.history);
    let session = needs.session.iter().filter(|key| !given.session.contains_key(*key));
    let member = needs.member.iter().filter(|key| !given.member.contains_key(*key));
    let session = session.map(|key| format!("session.{key}"));
    let counters_not_given = session.chain(member.map(|key| format!("member.{key}"))).collect();
    let would = decided.shadow.as_deref();
    Some(InShadow {
        differs: would.is_some(),
        allowed: would.map_or(decided.allowed, |would| would.allowed),
        reason: would.map_or(decided.reason, |would| would.reason),
        determining: would.map(|would| would.policies.clone()).unwrap_or_default(),
        errors: would.map(|would| would.errors.clone()).unwrap_or_default(),
        candidates: candidates(set, &numbers, prepared),
        counters_not_given,
    })
}
