//! A policy that stands in the store and not in a file: of one agent, and of one member where the agent is
//! an untrusted one (decision 6).

use serde::{Deserialize, Serialize};

use super::{AgentId, MemberId, PolicyId, PolicyKey, StructuredPolicy};

/// What a policy does to the calls that it matches.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum PolicyMode {
    /// It decides.
    #[default]
    Enforced,
    /// It is evaluated, and what it would have changed is recorded; it decides nothing.
    Shadow,
    /// It is as if it were not there.
    Off,
}

impl PolicyMode {
    /// The written form.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enforced => "enforced",
            Self::Shadow => "shadow",
            Self::Off => "off",
        }
    }
}

/// What a policy says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PolicyText {
    /// As it was filled in; compiled against the connectors in force.
    Structured(Box<StructuredPolicy>),
    /// Cedar, without an `@id`: the key is the policy's.
    Cedar(String),
}

/// One version of a stored policy, as the data plane knows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StoredPolicy {
    pub id: PolicyId,
    pub agent: AgentId,
    /// Whose it is, under an untrusted agent; `None` under a trusted one.
    pub member: Option<MemberId>,
    /// Its name in audit, counters and Cedar; it never changes and is the agent's only one.
    pub key: PolicyKey,
    /// From 1; each save is one more.
    pub version: u32,
    pub mode: PolicyMode,
    pub text: PolicyText,
}
