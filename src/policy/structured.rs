//! From a structured policy to the Cedar text that is evaluated (specification 4.7).
//!
//! The text is meant to be read: a comment says each clause in words, and each clause is a `when` of its
//! own. It passes the same strict validation as a file that somebody wrote.
//!
//! Invariants: pure; a policy that names what its connector does not have is refused with every fault
//! and its field; what is not known opens no door (decision 8): a condition over `x` becomes
//! `known(x) && cond` where the unknown counts as not met, and `!(known(x) && !cond)` where it counts as
//! met, which is `!known(x) || cond` in the form that strict validation can follow; text that an operator
//! gave stands in the result inside string literals and comments alone, where it cannot end them.

mod arguments;
pub mod baseline;
mod expression;
mod head;
mod history;
mod key;
mod network;
mod resource;
mod time;

#[cfg(test)]
mod laws;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::connector::{Connector, Connectors};
use crate::model::{IfUnknown, MemberId, PolicyEffect, PolicyKey, StructuredPolicy};

use super::finding::{Finding, FindingCode};
use expression::Clause;
pub(super) use expression::quoted;
pub use key::key_of;

/// Conditions of one kind.
const CONDITIONS_MAX: usize = 50;
/// Values of one condition, entries of one restriction.
const VALUES_MAX: usize = 1_000;
/// Bytes of one text that is compared.
const TEXT_BYTES_MAX: usize = 1_024;
/// Characters of a name.
const NAME_CHARACTERS_MAX: usize = 200;
/// Characters of a deny message (specification 4.1).
const DENY_MESSAGE_CHARACTERS_MAX: usize = 500;

/// What a policy is compiled against.
#[derive(Clone, Copy)]
pub struct Ground<'a> {
    pub connectors: &'a Connectors,
    /// Policies that conditions may count hits of.
    pub policies: &'a BTreeSet<PolicyKey>,
}

/// Something in a policy that cannot be compiled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// Where, in the names of the wire: `sessionConditions[0].tool`.
    pub field: String,
    /// What is wrong with it.
    pub detail: String,
    /// What to write instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: {}", self.field, self.detail)?;
        match &self.help {
            Some(help) => write!(f, " ({help})"),
            None => Ok(()),
        }
    }
}

/// A policy as Cedar.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Compiled {
    pub key: PolicyKey,
    /// One Cedar policy with its comments and annotations.
    pub text: String,
    /// What the author should know: conditions that cannot be known yet, and the like.
    pub findings: Vec<Finding>,
}

/// Compiles a policy under this key.
///
/// # Errors
/// Everything that is wrong with it, each with its field.
pub fn compile(
    policy: &StructuredPolicy,
    key: &PolicyKey,
    ground: Ground<'_>,
) -> Result<Compiled, Vec<Fault>> {
    compile_for(policy, (key, None), ground)
}

/// The same, as one of this member's own: it speaks of no other (decision 6).
///
/// # Errors
/// As [`compile`]; also where it names other members alone.
pub fn compile_for(
    policy: &StructuredPolicy,
    (key, member): (&PolicyKey, Option<MemberId>),
    ground: Ground<'_>,
) -> Result<Compiled, Vec<Fault>> {
    let Some(connector) = ground.connectors.get(policy.service.as_str()) else {
        let known: Vec<&str> = ground.connectors.iter().map(|connector| connector.service.as_str()).collect();
        let detail = format!("there is no connector `{}`", policy.service);
        let help = Some(format!("the connectors are {}", known.join(", ")));
        return Err(vec![Fault { field: "service".to_owned(), detail, help }]);
    };
    let mut draft = Draft { policy, connector, ground, member, faults: Vec::new(), findings: Vec::new() };
    let annotations = draft.annotations(key);
    let head = draft.head();
    let mut clauses: Vec<Clause> = head.clauses;
    clauses.extend(draft.time());
    clauses.extend(draft.restrictions());
    clauses.extend(draft.resource_conditions());
    clauses.extend(draft.history());
    clauses.extend(draft.network());
    clauses.extend(draft.arguments());
    if !draft.faults.is_empty() {
        return Err(draft.faults);
    }
    let mut text = format!("{annotations}{}", head.scope);
    for clause in &clauses {
        text.push('\n');
        text.push_str(&clause.render());
    }
    text.push_str(";\n");
    Ok(Compiled { key: key.clone(), text, findings: draft.findings })
}

/// A policy while it is compiled.
struct Draft<'a> {
    policy: &'a StructuredPolicy,
    connector: &'a Connector,
    ground: Ground<'a>,
    /// Whose own it is, under an untrusted agent.
    member: Option<MemberId>,
    faults: Vec<Fault>,
    findings: Vec<Finding>,
}

impl Draft<'_> {
    fn fault(&mut self, field: impl Into<String>, detail: impl Into<String>, help: &str) {
        let help = (!help.is_empty()).then(|| help.to_owned());
        self.faults.push(Fault { field: field.into(), detail: detail.into(), help });
    }

    fn finding(&mut self, code: FindingCode, says: impl Into<String>) {
        self.findings.push(Finding::new(code, says));
    }

    /// Whether the unknown counts as met: what the condition says, else what opens no door.
    fn unknown_is_met(&self, chosen: Option<IfUnknown>) -> bool {
        match chosen {
            Some(IfUnknown::Met) => true,
            Some(IfUnknown::NotMet) => false,
            None => self.policy.effect == PolicyEffect::Forbid,
        }
    }

    /// Whether there are not too many; a fault where there are.
    fn bounded(&mut self, field: &str, count: usize, most: usize) -> bool {
        if count > most {
            self.fault(field, format!("{count} are too many: {most} at most"), "split the policy");
        }
        count <= most
    }

    /// Whether the text can be compared with; a fault where it cannot.
    fn comparable(&mut self, field: &str, text: &str) -> bool {
        let fits = !text.is_empty() && text.len() <= TEXT_BYTES_MAX;
        if !fits {
            self.fault(field, format!("a text of 1 to {TEXT_BYTES_MAX} bytes is expected"), "");
        }
        fits
    }
}
