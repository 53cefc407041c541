//! A stored policy, its versions and its preview as they are shown.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::fields::with_contents;
use super::{Applied, PolicyDraft, changed_fields, unified};
use crate::model::{
    ArgumentCondition, CounterCondition, MemberId, NetworkCondition, PolicyEffect, PolicyId, PolicyKey,
    PolicyPrincipal, PolicyText, RepositoryRestriction, ResourceConditions, ServiceKey, Show,
    StructuredPolicy, Tier, TimeConstraints, Timestamp, ToolName,
};
use crate::policy::Finding;
use crate::store::{PolicyRow, PolicyUses, PolicyVersionRow};

with_contents! {
    /// A stored policy of an agent.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
    #[serde(rename_all = "camelCase")]
    #[schema(as = Policy, example = json!({
        "id": "p_0190b5a0-0000-7000-8000-000000000009", "policyKey": "block-github-destructive-tools",
        "name": "Block GitHub destructive tools", "service": "github", "effect": "forbid",
        "tools": ["delete_file", "merge_pull_request"], "principal": {"type": "all_members"}, "enabled": true,
        "mode": "enforced", "version": 3, "memberId": null, "triggerCount": 17,
        "lastTriggered": "2026-06-11T22:40:09.000Z", "denyMessage": "Destructive GitHub operations are blocked.",
        "createdAt": "2026-05-02T09:12:00.000Z", "updatedAt": "2026-06-01T08:00:00.000Z",
        "updatedBy": "account:ann@example.com",
        "compiled": "@id(\"block-github-destructive-tools\")\nforbid (\n  principal,\n  action in [GitHubMCP::Action::\"delete_file\", GitHubMCP::Action::\"merge_pull_request\"],\n  resource\n);\n"
    }))]
    pub struct PolicyView {
        #[schema(value_type = String, pattern = "^p_[0-9a-f-]{36}$")]
        pub id: PolicyId,
        /// Its name in audit, counters and Cedar: a word made of the first `name`. It never changes.
        #[schema(value_type = String)]
        pub policy_key: PolicyKey,
        /// Whether it is evaluated at all.
        pub enabled: bool,
        /// What it does while it is enabled.
        pub mode: Applied,
        /// From 1; each change is one more. The `ETag` is this number in quotes.
        #[schema(minimum = 1)]
        pub version: u32,
        /// Whose it is, under an untrusted agent; null under a trusted one.
        #[schema(value_type = Option<String>, format = Uuid)]
        pub member_id: Option<MemberId>,
        /// Calls that it determined, some moments behind and as far as the audit reaches back.
        pub trigger_count: u64,
        /// The last of them.
        #[schema(value_type = Option<String>, format = DateTime)]
        pub last_triggered: Option<Timestamp>,
        #[schema(value_type = String, format = DateTime)]
        pub created_at: Timestamp,
        #[schema(value_type = String, format = DateTime)]
        pub updated_at: Timestamp,
        /// The Cedar text as it was saved, with its annotations; empty where the gate made the policy without
        /// compiling it.
        pub compiled: String,
        /// Who saved this version: `account:<address>`, or `uid:<number>` for the operator on the machine.
        pub updated_by: String,
    }
}

impl PolicyView {
    /// The policy as it stands.
    pub fn of(row: &PolicyRow, uses: PolicyUses) -> Self {
        let mut view = Self {
            id: row.id,
            policy_key: row.key.clone(),
            enabled: row.enabled,
            mode: Applied::of(row.mode),
            version: row.version,
            member_id: row.member,
            trigger_count: uses.calls,
            last_triggered: uses.last,
            created_at: row.created_at,
            updated_at: row.updated_at,
            compiled: row.cedar.clone(),
            updated_by: row.updated_by.clone(),
            name: row.name.clone(),
            service: row.service.clone(),
            effect: Some(row.effect),
            tools: BTreeSet::new(),
            tiers: BTreeSet::new(),
            principal: None,
            deny_message: None,
            show: None,
            time_constraints: None,
            repo_restrictions: Vec::new(),
            repo_exceptions: Vec::new(),
            channel_restrictions: BTreeSet::new(),
            channel_exceptions: BTreeSet::new(),
            page_restrictions: BTreeSet::new(),
            page_exceptions: BTreeSet::new(),
            resource_conditions: None,
            session_conditions: Vec::new(),
            network_conditions: Vec::new(),
            argument_conditions: Vec::new(),
            cedar: None,
        };
        view.put(&row.text);
        view
    }
}

/// A page of policies.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Policies {
    pub policies: Vec<PolicyView>,
    /// How many match in all.
    pub total: u64,
}

/// A version of a policy, as it was saved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({
    "version": 2, "savedAt": "2026-06-01T08:00:00.000Z", "savedBy": "account:ann@example.com", "comment": null,
    "snapshot": {
        "name": "Block GitHub destructive tools", "service": "github", "effect": "forbid",
        "tools": ["delete_file", "merge_pull_request"], "principal": {"type": "all_members"}, "enabled": true,
        "mode": "enforced"
    },
    "cedar": "forbid (\n  principal,\n  action in [GitHubMCP::Action::\"delete_file\", GitHubMCP::Action::\"merge_pull_request\"],\n  resource\n);\n",
    "changedFields": ["tools"],
    "diff": "--- version 1\n+++ version 2\n@@ -1,5 +1,5 @@\n forbid (\n   principal,\n-  action == GitHubMCP::Action::\"delete_file\",\n+  action in [GitHubMCP::Action::\"delete_file\", GitHubMCP::Action::\"merge_pull_request\"],\n   resource\n );\n"
}))]
pub struct PolicyVersion {
    #[schema(minimum = 1)]
    pub version: u32,
    #[schema(value_type = String, format = DateTime)]
    pub saved_at: Timestamp,
    /// `account:<address>`, or `uid:<number>` for the operator on the machine.
    pub saved_by: String,
    pub comment: Option<String>,
    /// The policy as it was given; it can be given again.
    pub snapshot: PolicyDraft,
    /// What it compiled to when it was saved; empty where the gate made it without compiling it.
    pub cedar: String,
    /// Fields of the snapshot that the version before had otherwise; empty for the first.
    pub changed_fields: Vec<String>,
    /// The Cedar text against that of the version before, as `diff -u` writes it; empty where it is the same.
    pub diff: String,
}

impl PolicyVersion {
    /// A version, and what it changed of the one before.
    pub fn of(row: &PolicyVersionRow, before: Option<&PolicyVersionRow>) -> Self {
        let draft = |row: &PolicyVersionRow| PolicyDraft::of(&row.name, row.enabled, row.mode, &row.text);
        let snapshot = draft(row);
        let (changed_fields, diff) = match before {
            None => (Vec::new(), String::new()),
            Some(before) => {
                let names = (format!("version {}", before.version), format!("version {}", row.version));
                let diff = unified(&before.cedar, &row.cedar, (&names.0, &names.1));
                (changed_fields(&draft(before), &snapshot), diff)
            }
        };
        Self {
            version: row.version,
            saved_at: row.saved_at,
            saved_by: row.saved_by.clone(),
            comment: row.comment.clone(),
            snapshot,
            cedar: row.cedar.clone(),
            changed_fields,
            diff,
        }
    }
}

/// A page of versions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = PolicyVersions)]
pub struct PolicyVersions {
    /// Newest first.
    pub versions: Vec<PolicyVersion>,
    pub total: u64,
}

/// A member whom a policy speaks of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PolicyMember {
    #[schema(value_type = String, format = Uuid)]
    pub id: MemberId,
    pub name: String,
}

/// A draft, compiled and tried beside what is in force; nothing is stored.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({
    "policyKey": "block-github-destructive-tools",
    "cedar": "forbid (\n  principal,\n  action == GitHubMCP::Action::\"delete_file\",\n  resource\n);\n",
    "tools": [{"tool": "delete_file", "tier": "destructive"}],
    "members": {"count": 1, "first": [{"id": "0190b5a0-0000-7000-8000-000000000002", "name": "bob@example.com"}]},
    "findings": []
}))]
pub struct PolicyPreview {
    /// The key that it would have.
    #[schema(value_type = String)]
    pub policy_key: PolicyKey,
    /// Exactly what would be evaluated.
    pub cedar: String,
    /// The tools that it speaks of as things stand, by name.
    pub tools: Vec<PreviewedTool>,
    pub members: PreviewedMembers,
    /// What its author should know.
    pub findings: Vec<Finding>,
}

/// A tool that a draft speaks of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PreviewedTool {
    #[schema(value_type = String)]
    pub tool: ToolName,
    pub tier: Tier,
}

/// The approved members whose calls a draft speaks of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PreviewedMembers {
    pub count: u64,
    /// The first of the alphabet.
    #[schema(max_items = 50)]
    pub first: Vec<PolicyMember>,
}
