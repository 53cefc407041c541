//! Everything an operator can ask of the gate, as data: one variant for each operation.
//!
//! The JSON form (`{"do": "agent_create", …}`) travels over the admin socket. Unknown fields are
//! refused, so that a misspelled one is never silently ignored. `agent` is an agent's name or id;
//! `member` a member's name or id within that agent.

mod name;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::policies::PolicyDraft;
use crate::model::{
    AccountStatus, AgentStatus, EmailAddress, GroupName, KeyId, MemberStatus, RateLimit, Role, Scope,
    ServiceKey, SessionId, Tier, Timestamp, TokenId, ToolName, TrustMode,
};

/// One administrative operation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum AdminRequest {
    /// Makes the account of this address.
    AccountCreate {
        email: EmailAddress,
    },
    AccountList {},
    /// The account with its agents, sessions and tokens.
    AccountShow {
        email: EmailAddress,
    },
    /// Shuts out or lets in. What a shut out account signed in with is ended for good.
    AccountStatus {
        email: EmailAddress,
        status: AccountStatus,
    },
    /// Makes a one-time link that signs the address in, for the operator to hand on.
    AccountLink {
        email: EmailAddress,
    },
    /// Makes the account the agent's owner.
    AccountAdopt {
        agent: String,
        email: EmailAddress,
        /// Also where another account owns it.
        #[serde(default)]
        replace: bool,
    },
    /// Mints an API token for the account of this address.
    TokenCreate {
        email: EmailAddress,
        name: String,
        scopes: Vec<Scope>,
        days: u32,
    },
    TokenList {
        email: EmailAddress,
    },
    TokenRevoke {
        token: TokenId,
    },

    AgentCreate {
        name: String,
        trust: TrustMode,
        #[serde(default)]
        services: BTreeSet<ServiceKey>,
        #[serde(default)]
        rate: Option<RateLimit>,
    },
    AgentList {},
    AgentShow {
        agent: String,
    },
    /// The kill switch, both ways.
    AgentStatus {
        agent: String,
        status: AgentStatus,
    },
    AgentServices {
        agent: String,
        services: ServicesChange,
    },
    /// `None` returns to the configured limit.
    AgentRate {
        agent: String,
        rate: Option<RateLimit>,
    },
    AgentDelete {
        agent: String,
    },

    MemberAdd {
        agent: String,
        name: String,
        role: Role,
        status: MemberStatus,
    },
    MemberList {
        agent: String,
    },
    MemberStatus {
        agent: String,
        member: String,
        status: MemberStatus,
    },
    MemberRemove {
        agent: String,
        member: String,
    },

    GroupCreate {
        agent: String,
        group: GroupName,
    },
    GroupList {
        agent: String,
    },
    GroupAdd {
        agent: String,
        group: GroupName,
        member: String,
    },
    GroupRemove {
        agent: String,
        group: GroupName,
        member: String,
    },
    GroupDelete {
        agent: String,
        group: GroupName,
    },

    /// Mints the member's key; a member that has one that works asks for a rotation instead.
    KeyCreate {
        agent: String,
        member: String,
    },
    /// Mints a key and revokes the one before, in one transaction.
    KeyRotate {
        agent: String,
        member: String,
    },
    KeyRevoke {
        key: KeyId,
    },
    /// The key's own limit, over its agent's; `None` returns to the agent's.
    KeyRate {
        key: KeyId,
        rate: Option<RateLimit>,
    },
    KeyShow {
        key: KeyId,
    },
    KeyList {
        agent: String,
        #[serde(default)]
        member: Option<String>,
    },

    SessionList {
        #[serde(default)]
        agent: Option<String>,
        #[serde(default)]
        member: Option<String>,
        /// Ended ones too, as far as the store still has them.
        #[serde(default)]
        ended: bool,
    },
    SessionReset {
        session: SessionId,
    },

    /// Stored policies of an agent; `policy` is a policy's key or id within it.
    PolicyList {
        agent: String,
        /// Part of the name or of the key, in any case.
        #[serde(default)]
        search: Option<String>,
    },
    PolicyShow {
        agent: String,
        policy: String,
    },
    /// What it was, each version against the one before.
    PolicyVersions {
        agent: String,
        policy: String,
    },
    PolicyCreate {
        agent: String,
        draft: Box<PolicyDraft>,
    },
    /// Where the draft says which version was seen, that one alone is replaced.
    PolicyUpdate {
        agent: String,
        policy: String,
        draft: Box<PolicyDraft>,
    },
    PolicyToggle {
        agent: String,
        policy: String,
        enabled: bool,
    },
    /// Makes what an earlier version said the newest.
    PolicyRollback {
        agent: String,
        policy: String,
        version: u32,
    },
    PolicyDelete {
        agent: String,
        policy: String,
    },

    Status {},
    Reload {},

    AuditQuery {
        filter: AuditQuestion,
    },
    Explain {
        question: ExplainQuestion,
    },
    /// What a simulation needs of the store: of one agent, or of all.
    SimulationGround {
        #[serde(default)]
        agent: Option<String>,
    },

    ConnectorList {},
    /// Asks the upstream for its tools and says how they differ from the lock; changes nothing.
    ConnectorDiff {
        service: ServiceKey,
    },
    /// The same, and writes the lock where none exists yet.
    ConnectorSync {
        service: ServiceKey,
    },
    /// Writes what the upstream serves now into the lock, for all tools or those named.
    ConnectorAccept {
        service: ServiceKey,
        #[serde(default)]
        tools: BTreeSet<ToolName>,
        /// Tiers that the operator chose, over those that the upstream's annotations propose.
        #[serde(default)]
        tiers: BTreeMap<ToolName, Tier>,
        /// Write the lock even where the policies would not load with it.
        #[serde(default)]
        anyway: bool,
    },
}

/// How an agent's enabled connectors change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServicesChange {
    /// These and no others.
    Set(BTreeSet<ServiceKey>),
    /// These too.
    Add(BTreeSet<ServiceKey>),
    /// No longer these.
    Remove(BTreeSet<ServiceKey>),
    /// Some more and some no longer, as one change; what is in both is removed.
    Edit { add: BTreeSet<ServiceKey>, remove: BTreeSet<ServiceKey> },
}

impl ServicesChange {
    /// What is enabled after the change.
    pub fn apply(&self, before: &BTreeSet<ServiceKey>) -> BTreeSet<ServiceKey> {
        match self {
            Self::Set(services) => services.clone(),
            Self::Add(services) => before.union(services).cloned().collect(),
            Self::Remove(services) => before.difference(services).cloned().collect(),
            Self::Edit { add, remove } => {
                before.union(add).filter(|service| !remove.contains(*service)).cloned().collect()
            }
        }
    }

    /// The connectors that the change would enable.
    pub fn enabling(&self) -> impl Iterator<Item = &ServiceKey> {
        match self {
            Self::Set(services) | Self::Add(services) | Self::Edit { add: services, .. } => Some(services),
            Self::Remove(_) => None,
        }
        .into_iter()
        .flatten()
    }
}

/// The filters of specification 7.2, plus the offset that pages.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuditQuestion {
    /// Inclusive.
    pub from: Option<Timestamp>,
    /// Inclusive.
    pub to: Option<Timestamp>,
    /// Part of the agent's name, in any case.
    pub agent: Option<String>,
    pub service: Option<ServiceKey>,
    /// Part of the tool's name, in any case.
    pub tool: Option<String>,
    /// `true` for ALLOW, `false` for DENY.
    pub allowed: Option<bool>,
    /// The member's id.
    pub member: Option<crate::model::MemberId>,
    /// The key of a policy that determined the decision.
    pub policy: Option<String>,
    /// At most [`AUDIT_ROWS_MAX`].
    pub limit: Option<u32>,
    pub offset: u64,
}

/// Rows that one audit query may return (specification 7.2).
pub const AUDIT_ROWS_MAX: u32 = 500;

/// A question to `policy explain`: what would be decided for this call. A recorded call is asked about
/// with what its journal entry says it was decided on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExplainQuestion {
    pub agent: String,
    pub member: String,
    /// `service__tool`.
    pub tool: String,
    pub arguments: serde_json::Value,
    /// Now, where absent.
    #[serde(default)]
    pub at: Option<Timestamp>,
    /// The caller's address; loopback where absent.
    #[serde(default)]
    pub ip: Option<std::net::IpAddr>,
    /// Written forms of [`crate::model::CounterKey`]; absent counters stand at 0.
    #[serde(default)]
    pub session: BTreeMap<String, i64>,
    /// The same over the member's 24 hours.
    #[serde(default)]
    pub member_counters: BTreeMap<String, i64>,
    /// Whether the arguments are those of a journal's entry, where some are masked or cut.
    #[serde(default)]
    pub recorded: bool,
}

#[cfg(test)]
#[path = "request/tests.rs"]
mod tests;
