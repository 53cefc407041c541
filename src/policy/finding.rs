//! What the author of a policy should know before it is saved, as values that an API and a page can show.
//!
//! Invariant: a finding refuses nothing; what cannot be saved is a fault.

use std::fmt;

use serde::Serialize;

use crate::model::PolicyKey;

/// Something about a policy that its author may not have meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    pub code: FindingCode,
    pub severity: Severity,
    /// A sentence for people.
    #[schema(example = "`guardrail` forbids all of its tools whatever else is permitted")]
    pub says: String,
    /// Other policies that have to do with it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub policies: Vec<PolicyKey>,
}

/// What kind of finding it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FindingCode {
    /// A forbid without conditions takes away what this permit gives.
    Shadowed,
    /// Another policy gives already what this one gives, or takes what this one takes.
    Implied,
    /// It forbids what nothing permits.
    ForbidsNothing,
    /// Its conditions cannot hold together, or no longer.
    NeverMatches,
    /// It permits whole tiers on everything.
    WidensEverything,
    /// It rests on what the conversation counted alone: a new conversation starts at 0.
    SessionAlone,
    /// It names a group that does not exist.
    UnknownGroup,
    /// It names a group that nobody is in.
    EmptyGroup,
    /// It names a member that is not one of the agent's.
    UnknownMember,
    /// It asks for what the gate does not know yet.
    NotKnownYet,
    /// Some of its tools never say what it asks for.
    NotNamed,
    /// What a lint says of its text.
    Lint,
}

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Good to know.
    Info,
    /// It probably does not do what its author means.
    Warning,
}

impl FindingCode {
    /// How much it matters.
    const fn severity(self) -> Severity {
        match self {
            Self::Implied | Self::EmptyGroup | Self::NotKnownYet | Self::NotNamed => Severity::Info,
            Self::Shadowed
            | Self::ForbidsNothing
            | Self::NeverMatches
            | Self::WidensEverything
            | Self::SessionAlone
            | Self::UnknownGroup
            | Self::UnknownMember
            | Self::Lint => Severity::Warning,
        }
    }
}

impl Finding {
    /// A finding of this kind.
    pub(super) fn new(code: FindingCode, says: impl Into<String>) -> Self {
        Self { code, severity: code.severity(), says: says.into(), policies: Vec::new() }
    }

    /// What a lint says of a policy's text.
    pub fn lint(says: impl Into<String>) -> Self {
        Self::new(FindingCode::Lint, says)
    }

    /// The same, with another policy that has to do with it.
    #[must_use]
    pub(super) fn with(mut self, policy: &PolicyKey) -> Self {
        self.policies.push(policy.clone());
        self
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.says)
    }
}
