//! Stored policies: made, changed, switched, rolled back, deleted, previewed.
//!
//! Invariants: what is stored loads: the whole set of the agent is tried with the change before it is made
//! (`tried`), also where the policy is off or in shadow; each change is a version of its own, made on the
//! version that the asker saw, where it names one.

mod around;
mod asked;
mod kept;
mod tried;

use serde_json::{Value, json};

use super::members::target;
use super::{Admin, Changing, random, shown};
use crate::control::policies::PolicyDraft;
use crate::control::{AdminFault, FaultKind, Operator};
use crate::model::{Agent, MemberId, PolicyEffect, PolicyId, PolicyMode, PolicyText, Timestamp, TrustMode};
use crate::policy::Surroundings;
use crate::policy::structured::Fault;
use crate::store::{POLICIES_PER_AGENT_MAX, PolicyRow, StoreError};

pub(super) use self::kept::Kept;
use self::tried::Shelf;

/// Characters of a comment on a version.
const COMMENT_CHARACTERS_MAX: usize = 500;
/// Characters of Cedar text that the journal repeats of a policy.
const JOURNAL_CEDAR_CHARACTERS_MAX: usize = 4_000;

/// Whether an asker takes this version of a policy for the one that was seen.
pub type Admits<'a> = &'a (dyn Fn(u32) -> bool + Send + Sync);

impl Admin {
    /// Stores a new policy of the agent.
    ///
    /// # Errors
    /// `Rejected` names every field that is wrong; `Conflict` where the agent has too many.
    pub async fn create_policy(
        &self,
        operator: Operator,
        agent: &Agent,
        draft: &PolicyDraft,
    ) -> Result<PolicyRow, AdminFault> {
        if draft.version.is_some() {
            return Err(unfit("version", "a new policy has none"));
        }
        if draft.policy_id.is_some() {
            return Err(unfit("policyId", "a new policy replaces none"));
        }
        let comment = checked_comment(draft)?;
        let Changing { recorder, _one_at_a_time } = self.change(operator, "policy.create").await;
        let shelf = self.shelf(agent).await?;
        if shelf.before.len() as u64 >= POLICIES_PER_AGENT_MAX {
            let message =
                format!("the agent has {POLICIES_PER_AGENT_MAX} stored policies, as many as it may");
            return Err(AdminFault::new(FaultKind::Conflict, message).with_help("delete one first"));
        }
        let row = self.new_row(agent, draft, &shelf, recorder.operator.to_string()).await?;
        let row = shelf.tried(row)?.row;
        let _kept = self.keep_invariants(&shelf, |shelf| shelf.with(std::slice::from_ref(&row))).await?;
        let act = Box::pin(async { Ok(self.store.policies().create(&row, comment).await?) });
        recorder
            .about(agent.id)
            .made(&target(&agent.name, row.key.as_str()), Value::Null, journalled(&row), act)
            .await?;
        Ok(row)
    }

    /// Replaces what a policy says; what the draft does not say of its mode stays.
    ///
    /// # Errors
    /// `Rejected` names every field that is wrong; `Outdated` where the policy is of another version.
    pub async fn update_policy(
        &self,
        operator: Operator,
        agent: &Agent,
        id: PolicyId,
        draft: &PolicyDraft,
        admits: Admits<'_>,
    ) -> Result<PolicyRow, AdminFault> {
        let comment = checked_comment(draft)?;
        let edit = |before: &PolicyRow, row: &mut PolicyRow| {
            if draft.member_id.is_some_and(|member| before.member != Some(member)) {
                return Err(unfit(
                    "memberId",
                    "whose a policy is never changes: make another and delete this one",
                ));
            }
            if draft.policy_id.is_some_and(|named| named != before.id) {
                return Err(unfit("policyId", "names another policy than the path"));
            }
            put_draft(draft, row)
        };
        self.edit_policy((operator, "policy.update"), agent, id, admits, (comment, Box::new(edit))).await
    }

    /// Enables or disables a policy; without a word, the other of the two.
    ///
    /// # Errors
    /// `Outdated` where the policy is of another version; `Rejected` where one that is enabled would not load.
    pub async fn toggle_policy(
        &self,
        operator: Operator,
        agent: &Agent,
        id: PolicyId,
        enabled: Option<bool>,
        admits: Admits<'_>,
    ) -> Result<PolicyRow, AdminFault> {
        let edit = |before: &PolicyRow, row: &mut PolicyRow| {
            row.enabled = enabled.unwrap_or(!before.enabled);
            Ok(())
        };
        self.edit_policy((operator, "policy.toggle"), agent, id, admits, (None, Box::new(edit))).await
    }

    /// Makes what an earlier version said the newest version. Whether the policy is enabled stays as it is.
    ///
    /// # Errors
    /// `NotFound`: there is no such version; `Outdated` where the policy is of another version than the asker
    /// saw; `Rejected` where the earlier one does not load any more.
    pub async fn roll_back_policy(
        &self,
        operator: Operator,
        agent: &Agent,
        id: PolicyId,
        to: u32,
        admits: Admits<'_>,
    ) -> Result<PolicyRow, AdminFault> {
        self.store.policies().get(agent.id, id).await?;
        let earlier = self.store.policies().version(id, to).await?;
        let comment = format!("back to version {to}");
        let edit = |_: &PolicyRow, row: &mut PolicyRow| {
            (row.name, row.mode, row.text) = (earlier.name, earlier.mode, earlier.text);
            Ok(())
        };
        self.edit_policy((operator, "policy.rollback"), agent, id, admits, (Some(&comment), Box::new(edit)))
            .await
    }

    async fn edit_policy(
        &self,
        (operator, what): (Operator, &'static str),
        agent: &Agent,
        id: PolicyId,
        admits: Admits<'_>,
        (comment, edit): (Option<&str>, Edit<'_>),
    ) -> Result<PolicyRow, AdminFault> {
        let Changing { recorder, _one_at_a_time } = self.change(operator, what).await;
        let shelf = self.shelf(agent).await?;
        let before = shelf.row(id)?;
        if !admits(before.version) {
            return Err(StoreError::Outdated { noun: "policy" }.into());
        }
        let mut row = before.clone();
        edit(before, &mut row)?;
        row.version = before.version.saturating_add(1);
        row.updated_at = Timestamp::now();
        row.updated_by = recorder.operator.to_string();
        // Switching off is never refused: it may be what mends the set.
        let row = if row.enabled || row.text != before.text { shelf.tried(row)?.row } else { row };
        let _kept = self.keep_invariants(&shelf, |shelf| shelf.with(std::slice::from_ref(&row))).await?;
        let (was, becomes) = (journalled(before), journalled(&row));
        let act = Box::pin(async { Ok(self.store.policies().update(&row, comment).await?) });
        recorder.about(agent.id).made(&target(&agent.name, row.key.as_str()), was, becomes, act).await?;
        Ok(row)
    }

    /// Deletes a policy with its versions.
    ///
    /// # Errors
    /// `NotFound`; `Outdated` where the policy is of another version; `Conflict` where another policy counts
    /// its hits.
    pub async fn delete_policy(
        &self,
        operator: Operator,
        agent: &Agent,
        id: PolicyId,
        admits: Admits<'_>,
    ) -> Result<PolicyRow, AdminFault> {
        let Changing { recorder, _one_at_a_time } = self.change(operator, "policy.delete").await;
        let before = self.store.policies().get(agent.id, id).await?;
        if !admits(before.version) {
            return Err(StoreError::Outdated { noun: "policy" }.into());
        }
        // Where the files do not load, nobody can tell, and deleting must be possible.
        let _kept = match self.shelf(agent).await {
            Ok(shelf) => {
                shelf.goes(id)?;
                self.keep_invariants(&shelf, |shelf| shelf.without(id)).await?
            }
            Err(_) => Kept::nothing(),
        };
        let act = Box::pin(async { Ok(self.store.policies().delete(agent.id, id, before.version).await?) });
        recorder
            .about(agent.id)
            .made(&target(&agent.name, before.key.as_str()), journalled(&before), Value::Null, act)
            .await?;
        Ok(before)
    }

    /// The agent's policies and what they stand on.
    async fn shelf(&self, agent: &Agent) -> Result<Shelf, AdminFault> {
        let base = self.live.bundle().map_err(|diagnostics| {
            AdminFault::rejected("the policies and connectors of the files do not load", diagnostics)
                .with_help("mend the files first: `wicket check` tries them")
        })?;
        let before = self.store.policies().of_agent(agent.id).await?;
        // Of a gate that cannot build it, nothing is taken over.
        let previous = self.live.bundle_for(agent.id).await.ok();
        Ok(Shelf { base, previous, before, around: Surroundings::default() })
    }

    async fn new_row(
        &self,
        agent: &Agent,
        draft: &PolicyDraft,
        shelf: &Shelf,
        by: String,
    ) -> Result<PolicyRow, AdminFault> {
        let member = self.whose(agent, draft.member_id).await?;
        let text = text_of(draft)?;
        let now = Timestamp::now();
        Ok(PolicyRow {
            id: PolicyId::mint(now, random()?),
            agent: agent.id,
            member,
            key: shelf.key_of(draft.name.trim())?,
            name: draft.name.trim().to_owned(),
            // Both are read off the text when it is tried.
            service: None,
            effect: PolicyEffect::Forbid,
            enabled: draft.enabled.unwrap_or(true),
            mode: draft.mode.unwrap_or_default().mode(),
            version: 1,
            text,
            cedar: String::new(),
            created_at: now,
            updated_at: now,
            updated_by: by,
        })
    }

    /// Whose a new policy is.
    pub(super) async fn whose(
        &self,
        agent: &Agent,
        given: Option<MemberId>,
    ) -> Result<Option<MemberId>, AdminFault> {
        let Some(id) = given else {
            return match agent.trust {
                TrustMode::Trusted => Ok(None),
                TrustMode::Untrusted => {
                    let detail = "is missing: each policy of an untrusted agent is one member's own";
                    Err(unfit("memberId", detail))
                }
            };
        };
        if agent.trust == TrustMode::Trusted {
            let detail =
                "the agent is trusted: its members share their policies; name members in `principal`";
            return Err(unfit("memberId", detail));
        }
        match super::found(self.store.members().get(id).await)? {
            Some(member) if member.agent_id == agent.id => Ok(Some(id)),
            _ => Err(unfit("memberId", "the agent has no such member")),
        }
    }
}

/// How a policy is changed: from what it is to what it becomes.
type Edit<'a> = Box<dyn FnOnce(&PolicyRow, &mut PolicyRow) -> Result<(), AdminFault> + Send + 'a>;

fn put_draft(draft: &PolicyDraft, row: &mut PolicyRow) -> Result<(), AdminFault> {
    row.text = text_of(draft)?;
    row.name = draft.name.trim().to_owned();
    row.enabled = draft.enabled.unwrap_or(row.enabled);
    row.mode = draft.mode.map_or(row.mode, crate::control::policies::Applied::mode);
    Ok(())
}

pub(super) fn text_of(draft: &PolicyDraft) -> Result<PolicyText, AdminFault> {
    draft.text().map_err(unfit_all)
}

pub(super) fn unfit(field: &str, detail: &str) -> AdminFault {
    unfit_all(vec![Fault { field: field.to_owned(), detail: detail.to_owned(), help: None }])
}

pub(super) fn unfit_all(faults: Vec<Fault>) -> AdminFault {
    AdminFault::unfit("the policy cannot be stored as it is", faults)
}

fn checked_comment(draft: &PolicyDraft) -> Result<Option<&str>, AdminFault> {
    let Some(comment) = draft.comment.as_deref().filter(|comment| !comment.is_empty()) else {
        return Ok(None);
    };
    if comment.chars().count() > COMMENT_CHARACTERS_MAX || comment.chars().any(char::is_control) {
        let detail = format!("at most {COMMENT_CHARACTERS_MAX} characters on one line are taken");
        return Err(unfit("comment", &detail));
    }
    Ok(Some(comment))
}

/// A policy as the journal keeps it before and after a change; the whole text stands in its versions.
fn journalled(row: &PolicyRow) -> Value {
    let mode = if row.enabled { row.mode } else { PolicyMode::Off };
    json!({
        "id": row.id, "name": shown(&row.name), "version": row.version, "mode": mode, "memberId": row.member,
        "cedar": row.cedar.chars().take(JOURNAL_CEDAR_CHARACTERS_MAX).collect::<String>(),
    })
}
