//! The whole set of an agent, tried with a change before the change is made.
//!
//! Invariant: whatever a policy's mode, it is tried as if it decided: one that is off is switched on later
//! without being read again.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{AdminFault, unfit, unfit_all};
use crate::control::FaultKind;
use crate::model::{PolicyEffect, PolicyId, PolicyKey, PolicyMode, PolicyText, StoredPolicy};
use crate::policy::structured::{self, Fault, Ground};
use crate::policy::{AgentSet, BrokenPolicy, Bundle, Finding, RawCedar, Surroundings, Touched};
use crate::store::{PolicyRow, StoreError};

/// Characters of a policy's name.
const NAME_CHARACTERS_MAX: usize = 200;
/// Characters of a deny message (specification 4.1).
const DENY_MESSAGE_CHARACTERS_MAX: usize = 500;
/// Other policies that are named where a change would break them.
const BROKEN_NAMED_MAX: usize = 20;

/// An agent's stored policies, and the files' set that they stand on.
pub(super) struct Shelf {
    pub(super) base: Arc<Bundle>,
    /// The agent's set in force, for what need not be validated again.
    pub(super) previous: Option<Arc<Bundle>>,
    pub(super) before: Vec<PolicyRow>,
    /// What is known of whom a draft names, for what is found in it.
    pub(super) around: Surroundings,
}

/// A policy that loads with the rest of its set.
pub(super) struct Tried {
    /// With what its text says of itself: effect, service, Cedar.
    pub(super) row: PolicyRow,
    pub(super) tools: Vec<Touched>,
    pub(super) findings: Vec<Finding>,
    /// The agent's set with the policy in it, enforced.
    pub(super) set: Arc<Bundle>,
}

impl Shelf {
    /// The agent's policy of this id.
    pub(super) fn row(&self, id: PolicyId) -> Result<&PolicyRow, AdminFault> {
        let found = self.before.iter().find(|row| row.id == id);
        found.ok_or_else(|| StoreError::NotFound { noun: "policy", given: id.to_string() }.into())
    }

    /// A key for a policy of this name that nobody has.
    pub(super) fn key_of(&self, name: &str) -> Result<PolicyKey, AdminFault> {
        structured::key_of(name, &self.keys()).ok_or_else(|| unfit("name", "no key can be made of it"))
    }

    fn keys(&self) -> BTreeSet<PolicyKey> {
        let of_files = self.base.policies().iter().map(|info| info.key.clone());
        of_files.chain(self.before.iter().map(|row| row.key.clone())).collect()
    }

    /// Tries the set with this row in it, instead of the one of its id.
    pub(super) fn tried(&self, mut row: PolicyRow) -> Result<Tried, AdminFault> {
        let (tools, mut findings) = self.read(&mut row)?;
        let mut stored = self.besides(&[row.id]);
        stored.push(Arc::new(StoredPolicy { mode: PolicyMode::Enforced, ..row.stored() }));
        let AgentSet { bundle, broken } = self.set(&stored);
        if let Some(own) = broken.iter().find(|broken| broken.id == row.id) {
            return Err(unfit_all(own.faults.iter().map(|said| placed(said, &row)).collect()));
        }
        self.refuse_newly_broken(&broken, row.id)?;
        let place = format!("stored/{}", row.key);
        let lints = bundle.warnings().iter().filter(|warning| warning.file == place);
        // What rests on the conversation alone was found in the form already.
        let is_form = matches!(row.text, PolicyText::Structured(_));
        let lints = lints.filter(|lint| !(is_form && lint.message.contains("context.session")));
        findings.extend(lints.map(|lint| Finding::lint(lint.message.clone())));
        Ok(Tried { row, tools, findings, set: Arc::new(bundle) })
    }

    /// What is stored besides these.
    fn besides(&self, gone: &[PolicyId]) -> Vec<Arc<StoredPolicy>> {
        let others = self.before.iter().filter(|other| !gone.contains(&other.id));
        others.map(|other| Arc::new(other.stored())).collect()
    }

    fn set(&self, stored: &[Arc<StoredPolicy>]) -> AgentSet {
        Bundle::for_agent(&self.base, stored, self.previous.as_deref())
    }

    /// The set that the policy would stand in, without it.
    pub(super) fn without(&self, id: PolicyId) -> Bundle {
        self.set(&self.besides(&[id])).bundle
    }

    /// The set that decides once these rows are stored, each in the place of the one of its id.
    pub(super) fn with(&self, rows: &[PolicyRow]) -> Bundle {
        let replaced: Vec<PolicyId> = rows.iter().map(|row| row.id).collect();
        let mut stored = self.besides(&replaced);
        stored.extend(rows.iter().map(|row| Arc::new(row.stored())));
        self.set(&stored).bundle
    }

    /// Whether the set loads without this policy.
    pub(super) fn goes(&self, id: PolicyId) -> Result<(), AdminFault> {
        self.refuse_newly_broken(&self.set(&self.besides(&[id])).broken, id)
    }

    /// Another policy that loaded before must load afterwards, too.
    fn refuse_newly_broken(&self, broken: &[BrokenPolicy], own: PolicyId) -> Result<(), AdminFault> {
        if broken.iter().all(|broken| broken.id == own) {
            return Ok(());
        }
        let before = self.set(&self.besides(&[])).broken;
        let was_broken: BTreeSet<&PolicyKey> = before.iter().map(|broken| &broken.key).collect();
        let new = broken.iter().filter(|broken| broken.id != own && !was_broken.contains(&broken.key));
        let new: Vec<String> = new
            .take(BROKEN_NAMED_MAX)
            .map(|broken| format!("`{}`: {}", broken.key, broken.faults.join("; ")))
            .collect();
        if new.is_empty() {
            return Ok(());
        }
        let message = format!("other policies of the agent would no longer load: {}", new.join(". "));
        Err(AdminFault::new(FaultKind::Conflict, message).with_help("change or delete those first"))
    }

    /// Reads off the text what the row says of it, or every fault with its field.
    fn read(&self, row: &mut PolicyRow) -> Result<(Vec<Touched>, Vec<Finding>), AdminFault> {
        match row.text.clone() {
            PolicyText::Structured(policy) => {
                let mut keys = self.keys();
                keys.insert(row.key.clone());
                let ground = Ground { connectors: self.base.connectors(), policies: &keys };
                let compiled = structured::compile_for(&policy, (&row.key, row.member), ground);
                let compiled = compiled.map_err(unfit_all)?;
                (row.service, row.effect) = (Some(policy.service.clone()), policy.effect);
                row.cedar = compiled.text;
                let (tools, remarks) = self.without(row.id).remarks_in(&policy, &self.around);
                Ok((tools, compiled.findings.into_iter().chain(remarks).collect()))
            }
            PolicyText::Cedar(stored) => {
                let (given, deny_message) = crate::policy::unannotated(&stored);
                let mut faults = head_faults(&row.name, deny_message.as_deref());
                let raw = RawCedar::read(given, self.base.connectors()).unwrap_or_else(|found| {
                    faults.extend(found);
                    RawCedar { effect: PolicyEffect::Forbid, service: None, member: row.member }
                });
                if raw.effect == PolicyEffect::Permit && deny_message.is_some() {
                    faults.push(fault("denyMessage", "a permit denies nothing"));
                }
                if let Some(own) = row.member.filter(|own| raw.member != Some(*own)) {
                    let detail = format!(
                        "it is one member's own, so its head must say `principal == Wicket::Member::\"{own}\"`"
                    );
                    faults.push(fault("cedar", &detail));
                }
                if !faults.is_empty() {
                    return Err(unfit_all(faults));
                }
                (row.service, row.effect) = (raw.service, raw.effect);
                row.cedar = format!("{}{stored}", id_of(row));
                Ok((Vec::new(), Vec::new()))
            }
        }
    }
}

/// What stands before a stored text where it is evaluated.
fn id_of(row: &PolicyRow) -> String {
    format!("@id(\"{}\") ", row.key)
}

/// What was found in a policy's text, with its place in the text that was given.
fn placed(said: &str, row: &PolicyRow) -> Fault {
    let PolicyText::Cedar(stored) = &row.text else { return fault("policy", said) };
    let found = said.strip_prefix(&format!("stored/{}:", row.key)).and_then(|rest| {
        let (line, rest) = rest.split_once(':')?;
        let (column, rest) = rest.split_once(": ")?;
        Some((line.parse::<usize>().ok()?, column.parse::<usize>().ok()?, rest))
    });
    let Some((line, column, rest)) = found else { return fault("cedar", said) };
    let (given, _) = crate::policy::unannotated(stored);
    // What the store put before it stands on its first line.
    let before = id_of(row).chars().count() + stored.chars().count() - given.chars().count();
    let column = if line == 1 { column.saturating_sub(before).max(1) } else { column };
    fault("cedar", &format!("line {line}, column {column}: {rest}"))
}

/// What of name and message cannot stand before Cedar text.
fn head_faults(name: &str, deny_message: Option<&str>) -> Vec<Fault> {
    let fits = |text: &str, most: usize| {
        !text.trim().is_empty() && text.chars().count() <= most && !text.chars().any(char::is_control)
    };
    let mut faults = Vec::new();
    if !fits(name, NAME_CHARACTERS_MAX) {
        let detail = format!("a name of 1 to {NAME_CHARACTERS_MAX} characters on one line is expected");
        faults.push(fault("name", &detail));
    }
    if deny_message.is_some_and(|message| !fits(message, DENY_MESSAGE_CHARACTERS_MAX)) {
        let detail = format!("1 to {DENY_MESSAGE_CHARACTERS_MAX} characters on one line are expected");
        faults.push(fault("denyMessage", &detail));
    }
    faults
}

fn fault(field: &str, detail: &str) -> Fault {
    Fault { field: field.to_owned(), detail: detail.to_owned(), help: None }
}
