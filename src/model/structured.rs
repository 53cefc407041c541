//! Structured policies (specification 4): what an operator fills into a form, before it is Cedar.
//!
//! One policy speaks of one service. Every list that is left empty restricts nothing; what is given is
//! joined by "and". The names on the wire are the specification's where it has them; `tiers`,
//! `timeZone`, the exceptions, `ifUnknown`, `over` and the argument conditions are ours.

mod conditions;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{GroupName, MemberId, ServiceKey, Tier, ToolName};

pub use conditions::{
    ArgumentCondition, ArgumentTest, Comparison, CounterCondition, CounterKind, IfUnknown, MatchMode,
    NetworkCondition, Over, RepositoryRestriction, ResourceCondition, ResourceConditions, TimeConstraints,
};

/// What a policy does when it matches.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum PolicyEffect {
    /// Allows, unless a forbid matches as well.
    Permit,
    /// Denies, whatever is permitted.
    Forbid,
}

/// Whose calls a policy speaks of, within its agent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(example = json!({"type": "all_members"}))]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum PolicyPrincipal {
    /// Every member.
    #[default]
    AllMembers,
    /// These members.
    SpecificMembers {
        #[serde(rename = "userIds")]
        #[schema(value_type = Vec<uuid::Uuid>)]
        user_ids: BTreeSet<MemberId>,
    },
    /// Whoever is in one of these groups when the call comes.
    Groups {
        #[schema(value_type = Vec<String>)]
        groups: BTreeSet<GroupName>,
    },
}

/// How much a policy tells a denied caller of itself: its `@show`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Show {
    /// Nothing, not even its deny message.
    Hidden,
    /// Its deny message.
    #[default]
    Plain,
    /// Its deny message and its name, the limit that is reached, and when it opens, so that the caller can do something
    /// about it.
    Actionable,
}

impl Show {
    /// As `@show` writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hidden => "hidden",
            Self::Plain => "plain",
            Self::Actionable => "actionable",
        }
    }

    /// The one of this name.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Hidden, Self::Plain, Self::Actionable].into_iter().find(|show| show.as_str() == text)
    }
}

/// A policy as it is filled in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StructuredPolicy {
    /// For people, 1 to 200 characters; its slug becomes the policy's key.
    pub name: String,
    /// The connector that it speaks of.
    pub service: ServiceKey,
    pub effect: PolicyEffect,
    /// Tools by name, without prefix; MCP's methods of the connector too (`resources/read`).
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub tools: BTreeSet<ToolName>,
    /// Tools by tier, those to come too.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub tiers: BTreeSet<Tier>,
    #[serde(default)]
    pub principal: PolicyPrincipal,
    /// What a denied caller is told, 500 characters at most; on a forbid alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deny_message: Option<String>,
    /// How much it tells a denied caller of itself; what `policies.show` of the gate says where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub show: Option<Show>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_constraints: Option<TimeConstraints>,
    /// On these repositories alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub repo_restrictions: Vec<RepositoryRestriction>,
    /// On all repositories but these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub repo_exceptions: Vec<RepositoryRestriction>,
    /// In these channels alone, by id.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub channel_restrictions: BTreeSet<String>,
    /// In all channels but these.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub channel_exceptions: BTreeSet<String>,
    /// On these pages alone, by id.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub page_restrictions: BTreeSet<String>,
    /// On all pages but these.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub page_exceptions: BTreeSet<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_conditions: Option<ResourceConditions>,
    /// What the conversation, or the member, did so far: all of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub session_conditions: Vec<CounterCondition>,
    /// Where the call comes from: all of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub network_conditions: Vec<NetworkCondition>,
    /// What the tool is called with: all of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub argument_conditions: Vec<ArgumentCondition>,
}

impl StructuredPolicy {
    /// A policy of this connector without any restriction, and without the tools that it is of.
    pub fn new(name: String, service: ServiceKey, effect: PolicyEffect) -> Self {
        Self {
            name,
            service,
            effect,
            tools: BTreeSet::new(),
            tiers: BTreeSet::new(),
            principal: PolicyPrincipal::AllMembers,
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
        }
    }
}
