//! Why a call is allowed or denied, for a made-up or a recorded one: every candidate with its clauses,
//! what they read, and what would have to differ.
//!
//! Invariants: the decision shown is the one that [`Bundle::decide`] makes; an explanation opens
//! nothing. It shows values of arguments and texts of policies: it is for operators, not for callers.

mod clause;
mod display;
mod nearest;
mod shadow;

use cedar_policy_core::evaluator::Evaluator;
use cedar_policy_core::extensions::Extensions;
use serde::Serialize;

use super::bundle::{Bundle, Prepared, Refused};
use super::engine::{Rule, rule};
use super::index::Classes;
use super::question::{Effect, Question};
use super::world::Unaskable;
use crate::model::{EvaluationError, PolicyRef, Reason, Timestamp};

pub(super) use clause::text as clause_text;
pub use nearest::{Changed, Turn};
pub use shadow::InShadow;

/// Policies out of scope that an explanation lists.
const NEAR_MISSES_MAX: usize = 20;

/// The answer to "why".
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// `Wicket::Member::"…"`.
    pub principal: String,
    /// The member's name, and the groups that it is in.
    pub member: String,
    pub groups: Vec<String>,
    pub agent: String,
    /// `GitHubMCP::Action::"create_issue"`.
    pub action: String,
    pub resource: String,
    pub at: Timestamp,
    pub allowed: bool,
    pub reason: Reason,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deny_message: Option<String>,
    pub determining: Vec<PolicyRef>,
    pub errors: Vec<EvaluationError>,
    /// The policies whose scope matches the call.
    pub candidates: Vec<CandidatePolicy>,
    /// Permits that speak of this action, but of another principal or resource.
    pub near_misses: Vec<NearMiss>,
    /// What would have to differ for the opposite decision, a sentence each.
    pub advice: Vec<String>,
    /// The nearest changes of the call itself that would turn the decision, each of them tried.
    pub nearest: Vec<Turn>,
    /// What policies in shadow mode would have made of it; none where none speaks of the call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shadow: Option<InShadow>,
}

/// A policy whose scope matches the call.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CandidatePolicy {
    pub policy: PolicyRef,
    pub effect: Effect,
    pub file: String,
    pub line: u32,
    pub result: ClauseResult,
    /// The conditions, taken apart where `&&` joins them; none where the scope is all there is.
    pub clauses: Vec<Clause>,
}

/// One condition, and what it read.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Clause {
    /// As it stands in the file; `!` before it for one of an `unless`.
    pub text: String,
    pub line: u32,
    pub result: ClauseResult,
    /// Why it could not be evaluated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    pub reads: Vec<Read>,
}

/// One value that a clause looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Read {
    /// `context.session.denials`.
    pub path: String,
    /// In Cedar's notation, cut where it is long; `absent`.
    pub value: String,
}

/// How a clause, or a whole policy, ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ClauseResult {
    Held,
    Failed,
    Error,
    /// A clause before it had settled the matter.
    NotReached,
}

/// A permit that speaks of the action and yet does not apply.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NearMiss {
    pub policy: PolicyRef,
    pub file: String,
    pub line: u32,
    /// `principal in Wicket::Group::"ops"`, the part of its scope that does not match.
    pub missed: Vec<String>,
}

/// Explains the decision of this bundle.
pub fn explain(bundle: &Bundle, question: &Question<'_>) -> Explanation {
    let decision = bundle.decide_beside(question);
    let shadow = shadow::beside(bundle, question, &decision);
    let caller = question.caller;
    let mut explanation = Explanation {
        principal: format!("Wicket::Member::\"{}\"", caller.member.id),
        member: caller.member.name.clone(),
        groups: caller.member.groups.iter().map(ToString::to_string).collect(),
        agent: caller.agent.name.clone(),
        action: format!("{}::Action::\"{}\"", question.connector.namespace, question.tool.name),
        resource: question.resource.uid(),
        at: question.now,
        allowed: decision.allowed,
        reason: decision.reason,
        deny_message: decision.deny_message.as_deref().map(str::to_owned),
        determining: decision.determining,
        errors: decision.errors,
        candidates: Vec::new(),
        near_misses: Vec::new(),
        advice: Vec::new(),
        nearest: Vec::new(),
        shadow,
    };
    let asked = bundle.asked(question);
    let prepared = asked.scope().map_err(Refused::clone).and_then(|scope| {
        let prepared = asked.prepare(scope, &question.moment())?;
        Ok((scope, prepared))
    });
    match prepared {
        Err(refused) => explanation.advice.push(refusal(&refused).to_owned()),
        Ok((scope, prepared)) => {
            explanation.near_misses = near_misses(bundle, scope.classes());
            explanation.candidates = candidates(bundle, asked.candidates(scope), prepared);
            explanation.advice = advice(&explanation, question);
            explanation.nearest = nearest::turns(bundle, question, explanation.reason);
        }
    }
    explanation
}

const fn refusal(refused: &Refused) -> &'static str {
    match refused {
        Refused::NoPoliciesForMember => {
            "members of an untrusted agent need an enforced stored policy of their own: save one for this \
             member, or switch one of its own on"
        }
        Refused::UnknownTool => {
            "the connector's lock has no such tool: run `wicket connector sync` and accept it"
        }
        Refused::Unaskable(Unaskable::ResourceType) => {
            "the connector and the policies come from different bundles: reload"
        }
        Refused::Unaskable(Unaskable::Time) => "the time of the call is beyond what calendars hold",
        Refused::Unaskable(Unaskable::Value) => "the resource has an attribute that Cedar cannot hold",
    }
}

/// What `look` says of each candidate of a call.
fn with_candidates<T>(
    bundle: &Bundle,
    question: &Question<'_>,
    look: impl Fn(&Rule, &Evaluator<'_>) -> T,
) -> Vec<T> {
    let asked = bundle.asked(question);
    let Ok(scope) = asked.scope() else { return Vec::new() };
    let Ok(Prepared { request, store, .. }) = asked.prepare(scope, &question.moment()) else {
        return Vec::new();
    };
    let evaluator = Evaluator::new(request, store.entities(), Extensions::all_available());
    let rules = asked.candidates(scope).iter().filter_map(|number| rule(&bundle.rules, *number));
    rules.map(|rule| look(rule, &evaluator)).collect()
}

fn candidates(bundle: &Bundle, candidates: &[u32], prepared: Prepared) -> Vec<CandidatePolicy> {
    let Prepared { request, store, blind } = prepared;
    let evaluator = Evaluator::new(request, store.entities(), Extensions::all_available());
    let numbered = candidates.iter().filter_map(|number| Some((*number, rule(&bundle.rules, *number)?)));
    numbered
        .map(|(number, rule)| {
            let mut candidate = candidate(rule, &evaluator);
            for (_, why) in blind.iter().filter(|(blind, _)| *blind == number) {
                candidate.result = ClauseResult::Error;
                candidate.clauses.push(Clause {
                    text: "what it reads".to_owned(),
                    line: candidate.line,
                    result: ClauseResult::Error,
                    error: Some(why.clone()),
                    reads: Vec::new(),
                });
            }
            candidate
        })
        .collect()
}

fn candidate(rule: &Rule, evaluator: &Evaluator<'_>) -> CandidatePolicy {
    let (clauses, whole) = clause::clauses(rule, evaluator);
    CandidatePolicy {
        policy: rule.body.reference.clone(),
        effect: rule.body.effect,
        file: rule.place.file.to_string(),
        line: rule.place.line,
        result: whole,
        clauses,
    }
}

fn near_misses(bundle: &Bundle, classes: Classes<'_>) -> Vec<NearMiss> {
    let miss = |(number, rule): (u32, &Rule)| {
        let [action, principal, resource] = bundle.index.missed(number, classes)?;
        let body = &rule.body;
        if body.effect == Effect::Forbid || action || !(principal || resource) {
            return None;
        }
        let scope = &body.scope;
        let mut missed = Vec::new();
        if principal {
            missed.push(scope.principal.display(cedar_policy_core::ast::PrincipalOrResource::Principal));
        }
        if resource {
            missed.push(scope.resource.display(cedar_policy_core::ast::PrincipalOrResource::Resource));
        }
        let (policy, place) = (body.reference.clone(), &rule.place);
        Some(NearMiss { policy, file: place.file.to_string(), line: place.line, missed })
    };
    (0..).zip(&bundle.rules).filter_map(miss).take(NEAR_MISSES_MAX).collect()
}

/// What would have to differ.
fn advice(explanation: &Explanation, question: &Question<'_>) -> Vec<String> {
    let of_result = |effect: Effect, result: ClauseResult| {
        let fits = move |c: &&CandidatePolicy| c.effect == effect && c.result == result;
        explanation.candidates.iter().filter(fits)
    };
    match explanation.reason {
        Reason::Permitted => Vec::new(),
        Reason::Forbidden => of_result(Effect::Forbid, ClauseResult::Held).map(lift).collect(),
        Reason::EvaluationError => {
            let failing = explanation.errors.iter();
            failing.map(|error| format!("`{}`: {}", error.policy, error.message)).collect()
        }
        _ => {
            let mut advice: Vec<String> = of_result(Effect::Permit, ClauseResult::Failed).map(open).collect();
            advice.extend(explanation.near_misses.iter().map(|near| {
                let missed = near.missed.join(" and ");
                format!("`{}` would permit it for {missed} ({}:{})", near.policy.key, near.file, near.line)
            }));
            if advice.is_empty() {
                advice.push(format!(
                    "no permit speaks of it: add one for `{}`, or for its tier `{}`",
                    explanation.action, question.tool.tier
                ));
            }
            advice
        }
    }
}

/// How a forbid would not match.
fn lift(forbid: &CandidatePolicy) -> String {
    let place = format!("{}:{}", forbid.file, forbid.line);
    match forbid.clauses.as_slice() {
        [] => format!(
            "`{}` forbids it whatever the call says: only a change of {place} lifts it",
            forbid.policy.key
        ),
        clauses => {
            let texts: Vec<String> = clauses.iter().map(|clause| format!("`{}`", clause.text)).collect();
            let texts = texts.join(", ");
            format!("`{}` would not match if one of these failed: {texts} ({place})", forbid.policy.key)
        }
    }
}

/// What a permit still lacks.
fn open(permit: &CandidatePolicy) -> String {
    let failed = permit.clauses.iter().find(|clause| clause.result == ClauseResult::Failed);
    let text = failed.map_or_else(|| "its conditions".to_owned(), |clause| format!("`{}`", clause.text));
    format!("`{}` would permit it if {text} held ({}:{})", permit.policy.key, permit.file, permit.line)
}

#[cfg(test)]
mod tests;
