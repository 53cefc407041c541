//! What is true of every call, said to the solver: without it the solver would find calls at 25 o'clock
//! with fewer than no denials.
//!
//! Invariants: each sentence holds of every call that the gate decides in the years that
//! [`time::YEARS`] names, with counters up to [`COUNT_MAX`]; a sentence that holds of some calls only would
//! prove what is not so. Leaving one out is safe: then a solver may find a call that there is not, which
//! the gate's own decision does not confirm.

pub(super) mod resource;
pub(super) mod time;

use cedar_policy_core::ast::Expr;
use cedar_policy_core::parser;

use super::claim;
use super::kind::Kind;
use super::read::Looks;
use crate::model::{CounterKey, MemberId};
use crate::policy::argument::quoted;
use crate::policy::reads::{Reads, place_of};
use crate::policy::schema::NAMESPACE;
use crate::policy::strip::strip;

/// What a counter counts at most.
pub(super) const COUNT_MAX: i64 = 1_000_000_000_000;

/// Members that a sentence lists; with more it is left out.
const OWNERS_MAX: usize = 200;

/// The sentences for a question that looks at this.
///
/// `owners`: the members of an untrusted agent who may call at all; nobody where the agent is a trusted one.
pub(super) fn axioms(kind: &Kind<'_>, looks: &Looks, owners: &[MemberId]) -> Result<Option<Expr>, String> {
    let mut sentences = Vec::new();
    caller(&looks.reads, owners, &mut sentences);
    counters("session", &looks.session, &mut sentences);
    counters("member", &looks.member, &mut sentences);
    time::sentences(looks, &mut sentences);
    resource::sentences(kind, &looks.reads, &mut sentences);
    if sentences.is_empty() {
        return Ok(None);
    }
    let joined = sentences.iter().map(|sentence| format!("({sentence})")).collect::<Vec<_>>().join(" && ");
    let text = format!("permit(principal, action, resource) when {{ {joined} }};");
    let parsed = parser::parse_policy(None, &text).map_err(|error| format!("{error}: {text}"))?;
    Ok(parsed.non_scope_constraints().map(|axioms| claim::leaning(&strip(axioms))))
}

fn caller(reads: &Reads, owners: &[MemberId], sentences: &mut Vec<String>) {
    if (1..=OWNERS_MAX).contains(&owners.len()) {
        let owners: Vec<String> = owners.iter().map(|id| format!("{NAMESPACE}::Member::\"{id}\"")).collect();
        sentences.push(format!("principal in [{}]", owners.join(", ")));
    }
    if !reads.principal {
        return;
    }
    sentences.push("principal.role == \"owner\" || principal.role == \"member\"".to_owned());
    // Members of an untrusted agent without policies of their own are denied before Cedar is asked.
    let trust = if owners.is_empty() { "trusted" } else { "untrusted" };
    sentences.push(format!("principal.agent.trust == {}", quoted(trust)));
    sentences.push("principal in principal.agent".to_owned());
    let agent = format!("{NAMESPACE}::Agent");
    for named in reads.literals.iter().filter(|uid| uid.entity_type().to_string() == agent) {
        sentences.push(format!("(principal in {named}) == (principal.agent == {named})"));
    }
}

fn counters<'a>(scope: &str, keys: impl IntoIterator<Item = &'a CounterKey>, sentences: &mut Vec<String>) {
    for key in keys {
        let (record, name) = place_of(key);
        let place = match record {
            None => format!("context.{scope}.{name}"),
            Some(record) => format!("context.{scope}.{record}[{}]", quoted(&name)),
        };
        sentences.push(format!("{place} >= 0 && {place} <= {COUNT_MAX}"));
    }
}
