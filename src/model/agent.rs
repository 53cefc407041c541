//! Agents and their members (specification 1).

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{AccountId, AgentId, GroupName, MemberId, ServiceKey, Timestamp};

/// Which policies apply to an agent's callers (specification 1.3, decision 6). Fixed at creation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum TrustMode {
    /// One agent-wide set for all members.
    Trusted,
    /// A separate set for each member; none means denied.
    Untrusted,
}

/// The kill switch (specification 1.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum AgentStatus {
    /// Calls are decided.
    Active,
    /// Every call answers 403 at once; keys are untouched.
    Disabled,
}

/// Where a membership stands (specification 1.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum MemberStatus {
    /// Joined, not yet approved by the owner: calls answer 403.
    Pending,
    /// May hold a key and call.
    Approved,
    /// Refused by the owner.
    Rejected,
}

/// What a member may do to the agent (specification 1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The account that created the agent.
    Owner,
    /// Anyone else.
    Member,
}

/// A token bucket per key (decision 15).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RateLimit {
    /// Requests that may come at once; at least 1.
    pub burst: u32,
    /// Requests a second that refill the bucket; above 0.
    pub per_second: f64,
}

impl Default for RateLimit {
    fn default() -> Self {
        Self { burst: 60, per_second: 1.0 }
    }
}

/// A named identity that owns connectors, policies and members.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Agent {
    pub id: AgentId,
    /// Display name, unique on this gate, 1 to 100 characters; it stands in denial messages.
    pub name: String,
    #[serde(rename = "type")]
    pub trust: TrustMode,
    pub status: AgentStatus,
    /// The connectors that the owner enabled (`allowedServices`).
    #[serde(rename = "allowedServices")]
    pub services: BTreeSet<ServiceKey>,
    /// Overrides the configured limit for every key of this agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<RateLimit>,
    /// The account that created it and owns it; none where the operator made it on the machine itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<AccountId>,
    /// Words to find it by; no meaning for decisions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    pub created_at: Timestamp,
}

/// One person's membership of one agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    pub id: MemberId,
    pub agent_id: AgentId,
    /// E-mail address or display name, unique within the agent, 1 to 254 characters.
    pub name: String,
    pub role: Role,
    pub status: MemberStatus,
    /// Groups of this agent that the member belongs to, for policies.
    pub groups: BTreeSet<GroupName>,
    /// The account of the person; none for a member that the operator made on the machine itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<AccountId>,
    pub created_at: Timestamp,
}
