//! What is asked of stored policies: pages, versions, previews; and what the operator asks by names.

use std::sync::Arc;

use super::super::Admin;
use super::{Admits, Shelf, unfit};
use crate::control::policies::{
    Policies, PolicyDraft, PolicyMember, PolicyPreview, PolicyVersion, PolicyVersions, PolicyView,
    PreviewedMembers, PreviewedTool,
};
use crate::control::{AdminFault, AdminReply, AdminRequest, Operator};
use crate::model::{Agent, PolicyId, PolicyPrincipal, PolicyText};
use crate::policy::{FindingCode, RawCedar};
use crate::store::{PolicyQuery, PolicyRow};

/// Members that a preview names.
const MEMBERS_NAMED_MAX: u64 = 50;
/// Policies of a page for the operator.
const PAGE_ROWS: u64 = 500;

impl Admin {
    /// A page of an agent's policies, as they are shown.
    ///
    /// # Errors
    /// [`AdminFault`].
    pub async fn policy_page(&self, query: &PolicyQuery) -> Result<Policies, AdminFault> {
        let store = self.store.policies();
        let (rows, total) = store.page(query).await?;
        let uses = store.uses(&rows).await?;
        let view = |row: &PolicyRow| PolicyView::of(row, uses.get(&row.id).copied().unwrap_or_default());
        Ok(Policies { policies: rows.iter().map(view).collect(), total })
    }

    /// A policy as it is shown.
    ///
    /// # Errors
    /// [`AdminFault`].
    pub async fn policy_view(&self, row: &PolicyRow) -> Result<PolicyView, AdminFault> {
        let uses = self.store.policies().uses(std::slice::from_ref(row)).await?;
        Ok(PolicyView::of(row, uses.get(&row.id).copied().unwrap_or_default()))
    }

    /// A page of a policy's versions, newest first, each against the one before.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn policy_versions(
        &self,
        agent: &Agent,
        id: PolicyId,
        (limit, offset): (u64, u64),
    ) -> Result<PolicyVersions, AdminFault> {
        let store = self.store.policies();
        store.get(agent.id, id).await?;
        // One more than is shown, for the last of them to be held against.
        let (rows, total) = store.versions(id, (limit.saturating_add(1), offset)).await?;
        let shown = usize::try_from(limit).unwrap_or(usize::MAX);
        let versions = rows.iter().enumerate().take(shown);
        let versions = versions.map(|(at, row)| PolicyVersion::of(row, rows.get(at + 1))).collect();
        Ok(PolicyVersions { versions, total })
    }

    /// What a draft comes to beside what is in force, in the place of the policy that it names; nothing is
    /// stored.
    ///
    /// # Errors
    /// As where it were stored.
    pub async fn preview_policy(
        &self,
        agent: &Agent,
        draft: &PolicyDraft,
    ) -> Result<PolicyPreview, AdminFault> {
        let mut shelf = self.shelf(agent).await?;
        shelf.around = self.around(agent, &super::text_of(draft)?).await?;
        let row = match draft.policy_id {
            Some(id) => self.replaced(&shelf, id, draft)?,
            None => self.new_row(agent, draft, &shelf, String::new()).await?,
        };
        let mut tried = shelf.tried(row)?;
        let row = tried.row;
        let idle = self.live.idleness(Arc::clone(&tried.set), row.key.clone()).await;
        // What the form, or another policy's scope, says already need not be said twice.
        let said = [FindingCode::NeverMatches, FindingCode::Implied, FindingCode::ForbidsNothing];
        if let Some(idle) = idle.filter(|_| !tried.findings.iter().any(|one| said.contains(&one.code))) {
            tried.findings.push(idle.finding());
        }
        let own = row.member;
        let principal = match &row.text {
            PolicyText::Structured(policy) => policy.principal.clone(),
            PolicyText::Cedar(text) => principal_of(text, &shelf),
        };
        let members = self.store.members();
        let (first, count) = members.spoken_of(agent.id, &principal, own, MEMBERS_NAMED_MAX).await?;
        let first = first.into_iter().map(|(id, name)| PolicyMember { id, name }).collect();
        let tools = tried.tools.into_iter().map(|one| PreviewedTool { tool: one.tool, tier: one.tier });
        Ok(PolicyPreview {
            policy_key: row.key,
            cedar: row.cedar,
            tools: tools.collect(),
            members: PreviewedMembers { count, first },
            findings: tried.findings,
        })
    }

    fn replaced(&self, shelf: &Shelf, id: PolicyId, draft: &PolicyDraft) -> Result<PolicyRow, AdminFault> {
        let mut row = shelf.row(id)?.clone();
        if draft.member_id.is_some_and(|member| row.member != Some(member)) {
            return Err(unfit("memberId", "whose a policy is never changes"));
        }
        super::put_draft(draft, &mut row)?;
        Ok(row)
    }

    pub(in crate::control::admin) async fn on_policies(
        &self,
        operator: Operator,
        request: AdminRequest,
    ) -> Result<AdminReply, AdminFault> {
        use AdminRequest as R;
        match request {
            R::PolicyList { agent, search } => {
                let agent = self.find_agent(&agent).await?;
                let query = PolicyQuery { search, limit: PAGE_ROWS, ..PolicyQuery::of(agent.id) };
                self.policy_page(&query).await.map(AdminReply::Policies)
            }
            R::PolicyShow { agent, policy } => {
                let agent = self.find_agent(&agent).await?;
                let row = self.find_policy(&agent, &policy).await?;
                self.shown_policy(&row).await
            }
            R::PolicyVersions { agent, policy } => {
                let agent = self.find_agent(&agent).await?;
                let row = self.find_policy(&agent, &policy).await?;
                let versions = self.policy_versions(&agent, row.id, (PAGE_ROWS, 0)).await?;
                Ok(AdminReply::PolicyVersions(versions))
            }
            R::PolicyCreate { agent, draft } => {
                let agent = self.find_agent(&agent).await?;
                let row = self.create_policy(operator, &agent, &draft).await?;
                self.shown_policy(&row).await
            }
            R::PolicyUpdate { agent, policy, draft } => {
                let agent = self.find_agent(&agent).await?;
                let id = self.find_policy(&agent, &policy).await?.id;
                let seen = draft.version;
                let admits = |version: u32| seen.is_none_or(|seen| seen == version);
                let row = self.update_policy(operator, &agent, id, &draft, &admits).await?;
                self.shown_policy(&row).await
            }
            R::PolicyToggle { agent, policy, enabled } => {
                let agent = self.find_agent(&agent).await?;
                let id = self.find_policy(&agent, &policy).await?.id;
                let row = self.toggle_policy(operator, &agent, id, Some(enabled), ANY).await?;
                self.shown_policy(&row).await
            }
            R::PolicyRollback { agent, policy, version } => {
                let agent = self.find_agent(&agent).await?;
                let id = self.find_policy(&agent, &policy).await?.id;
                let row = self.roll_back_policy(operator, &agent, id, version, ANY).await?;
                self.shown_policy(&row).await
            }
            R::PolicyDelete { agent, policy } => {
                let agent = self.find_agent(&agent).await?;
                let id = self.find_policy(&agent, &policy).await?.id;
                let row = self.delete_policy(operator, &agent, id, ANY).await?;
                Ok(AdminReply::Gone(format!(
                    "deleted policy `{}` of agent `{}`, and its versions ({})",
                    row.key, agent.name, row.version
                )))
            }
            _ => Err(AdminFault::invalid("this request is not about policies")),
        }
    }

    async fn shown_policy(&self, row: &PolicyRow) -> Result<AdminReply, AdminFault> {
        Ok(AdminReply::Policy(Box::new(self.policy_view(row).await?)))
    }
}

/// Whatever version it is.
const ANY: Admits<'static> = &|_| true;

/// Whose calls Cedar text speaks of, as far as its head says.
fn principal_of(stored: &str, shelf: &Shelf) -> PolicyPrincipal {
    let (given, _) = crate::policy::unannotated(stored);
    match RawCedar::read(given, shelf.base.connectors()).ok().and_then(|raw| raw.member) {
        Some(member) => PolicyPrincipal::SpecificMembers { user_ids: [member].into() },
        None => PolicyPrincipal::AllMembers,
    }
}
