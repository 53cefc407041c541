//! What `/api/agents` takes and gives (specification 13).

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, Schema, Type};

use crate::model::{
    AccountId, AgentId, AgentStatus, MemberId, MemberStatus, Role, ServiceKey, Timestamp, TrustMode,
};
use crate::store::{KeyRow, SeenAgent};

/// An agent as the account sees it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Agent, example = json!({
    "id": "0190b5a0-0000-7000-8000-000000000001", "name": "my-first-agent", "tags": ["eng"],
    "type": "trusted", "status": "active", "allowedServices": ["github", "slack"],
    "key": {"displaySuffix": "…k4Qz", "lastUsedAt": "2026-06-12T14:02:11.000Z"},
    "membership": {"id": "0190b5a0-0000-7000-8000-000000000002", "role": "owner", "status": "approved", "memberCount": 4},
    "connections": [], "policyCount": 6, "createdAt": "2026-05-02T09:12:00.000Z"
}))]
pub(in crate::control::api) struct AgentBody {
    #[schema(value_type = String, format = Uuid)]
    id: AgentId,
    name: String,
    /// Words to find it by; no meaning for decisions.
    tags: Vec<String>,
    /// Whether its members share one set of policies, or each has a set of its own. Fixed when it is made.
    #[serde(rename = "type")]
    trust: TrustMode,
    status: AgentStatus,
    /// The connectors that its owner enabled.
    #[schema(value_type = Vec<String>)]
    allowed_services: BTreeSet<ServiceKey>,
    /// The account's own key, where it has one that works.
    key: Option<KeyBody>,
    membership: MembershipBody,
    /// The account's own connections to services: none in this release.
    connections: Vec<ConnectionBody>,
    /// Policies that are stored for the agent; the files' guardrails, which hold for every agent, are not
    /// among them.
    policy_count: u64,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
}

/// What is shown of a key: never the key.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Key)]
pub(in crate::control::api) struct KeyBody {
    /// Its last characters.
    #[schema(example = "…k4Qz")]
    display_suffix: String,
    #[schema(value_type = Option<String>, format = DateTime)]
    last_used_at: Option<Timestamp>,
}

impl KeyBody {
    pub(in crate::control::api) fn of(row: &KeyRow) -> Self {
        Self { display_suffix: suffix(&row.display_suffix), last_used_at: row.last_used_at }
    }
}

/// The last characters of a key, as people see them.
pub(in crate::control::api) fn suffix(characters: &str) -> String {
    format!("…{characters}")
}

/// The account's own part in an agent.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Membership)]
pub(super) struct MembershipBody {
    /// None where an owner is no member.
    #[schema(value_type = Option<String>, format = Uuid)]
    id: Option<MemberId>,
    role: Role,
    status: MemberStatus,
    /// Members of the agent, pending ones too.
    member_count: u64,
}

/// A connection of a member to a service: metadata only.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Connection, example = json!({"service": "github", "identityInfo": {"login": "alice"}}))]
pub(in crate::control::api) struct ConnectionBody {
    service: String,
    #[schema(value_type = Object)]
    identity_info: serde_json::Map<String, serde_json::Value>,
}

impl AgentBody {
    /// The agent as this account sees it.
    pub(super) fn of(seen: SeenAgent, account: AccountId) -> Self {
        let SeenAgent { agent, member, key, member_count, policy_count } = seen;
        let owner = agent.owner == Some(account);
        let membership = MembershipBody {
            id: member.as_ref().map(|member| member.id),
            role: if owner { Role::Owner } else { Role::Member },
            status: member.map_or(MemberStatus::Approved, |member| member.status),
            member_count,
        };
        Self {
            id: agent.id,
            name: agent.name,
            tags: agent.tags,
            trust: agent.trust,
            status: agent.status,
            allowed_services: agent.services,
            key: key.as_ref().map(KeyBody::of),
            membership,
            connections: Vec::new(),
            policy_count,
            created_at: agent.created_at,
        }
    }
}

/// A page of agents.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Agents)]
pub(super) struct AgentsBody {
    pub agents: Vec<AgentBody>,
    /// How many match in all.
    pub total: u64,
}

/// How tags are written, for the document.
fn tags() -> Schema {
    let tag = ObjectBuilder::new()
        .schema_type(Type::String)
        .min_length(Some(1))
        .max_length(Some(40))
        .pattern(Some(r"^[^\s\x00-\x1f\x7f-\x9f]([^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f])?$"));
    let about = "Each of 1 to 40 characters, without control characters and spaces at either end.";
    ArrayBuilder::new()
        .items(tag)
        .max_items(Some(32))
        .unique_items(true)
        .description(Some(about))
        .build()
        .into()
}

/// The same, where null is as good as nothing.
fn tags_if_any() -> Schema {
    match tags() {
        Schema::Array(mut tags) => {
            tags.schema_type = [Type::Array, Type::Null].into_iter().collect();
            Schema::Array(tags)
        }
        other => other,
    }
}

/// An agent to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = NewAgent, example = json!({"name": "my-first-agent", "type": "trusted", "tags": ["eng"], "allowedServices": ["wicket"]}))]
pub(super) struct NewAgentBody {
    /// Unique on this gate.
    #[schema(
        min_length = 1,
        max_length = 100,
        pattern = r"^[^\s\x00-\x1f\x7f-\x9f]([^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f])?$"
    )]
    pub name: String,
    /// `trusted` where absent. It cannot be changed later.
    #[serde(rename = "type", default = "trusted")]
    #[schema(default = "trusted")]
    pub trust: TrustMode,
    /// Each of 1 to 40 characters.
    #[serde(default)]
    #[schema(schema_with = tags)]
    pub tags: Vec<String>,
    /// Connectors that are enabled from the start.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    pub allowed_services: BTreeSet<ServiceKey>,
}

const fn trusted() -> TrustMode {
    TrustMode::Trusted
}

/// What changes; what is absent stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = EditAgent, example = json!({"name": "reviewer", "tags": ["eng", "reviews"]}))]
pub(super) struct EditAgentBody {
    #[schema(
        min_length = 1,
        max_length = 100,
        pattern = r"^[^\s\x00-\x1f\x7f-\x9f]([^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f])?$"
    )]
    pub name: Option<String>,
    /// Each of 1 to 40 characters.
    #[schema(schema_with = tags_if_any)]
    pub tags: Option<Vec<String>>,
}

/// The kill switch.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = SetAgentStatus, example = json!({"status": "disabled"}))]
pub(super) struct StatusBody {
    pub status: AgentStatus,
}

/// The connectors that are enabled from now on.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = SetAgentServices, example = json!({"services": ["github", "wicket"]}))]
pub(super) struct ServicesBody {
    /// Keys of connectors, as `GET /api/connectors/meta` lists them.
    #[schema(value_type = Vec<String>)]
    pub services: BTreeSet<ServiceKey>,
}
