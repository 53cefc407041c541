//! What was decided, as data. A `Decision` opens no door; only `policy::Permit` does.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{CounterKey, CounterScope, PolicyId, PolicyKey, Timestamp};

/// A policy that took part in a decision, with the version that was in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyRef {
    pub key: PolicyKey,
    /// `@name`, or the key where none is given.
    pub name: Arc<str>,
    /// Version of a stored policy; 0 for a policy from a file, whose version is the bundle's digest.
    pub version: u32,
    /// Of a stored policy; a policy from a file has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<PolicyId>,
}

/// A policy whose evaluation failed. Any such failure denies (decision 7).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EvaluationError {
    pub policy: PolicyKey,
    /// Cedar's message, without values of arguments.
    pub message: String,
}

/// Why a call was denied or allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// At least one permit and no forbid.
    Permitted,
    /// A forbid matched.
    Forbidden,
    /// No permit matched: default deny.
    NoPermit,
    /// A candidate policy failed to evaluate.
    EvaluationError,
    /// The agent has not enabled the connector.
    ServiceNotEnabled,
    /// An untrusted caller without a stored policy of its own.
    NoPoliciesForMember,
    /// The upstream's definition of the tool differs from the accepted one (decision 5).
    Quarantined,
    /// No tool of that name in the connector's lock.
    UnknownTool,
    /// The call could not be counted: too many sessions or counters, or the session ended meanwhile.
    Unaccountable,
    /// The upstream cannot say what the tool is now, so nobody knows whether it is the accepted one.
    Unverified,
}

impl Reason {
    /// The name in the audit and in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Permitted => "permitted",
            Self::Forbidden => "forbidden",
            Self::NoPermit => "no_permit",
            Self::EvaluationError => "evaluation_error",
            Self::ServiceNotEnabled => "service_not_enabled",
            Self::NoPoliciesForMember => "no_policies_for_member",
            Self::Quarantined => "quarantined",
            Self::UnknownTool => "unknown_tool",
            Self::Unaccountable => "unaccountable",
            Self::Unverified => "unverified",
        }
    }
}

/// The answer of the policy set to one question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    pub allowed: bool,
    pub reason: Reason,
    /// Determining policies, as Cedar defines them, ordered by key.
    pub determining: Vec<PolicyRef>,
    /// Policies that failed to evaluate, ordered by key.
    pub errors: Vec<EvaluationError>,
    /// `@denyMessage` of the first determining forbid that carries one; at most 500 characters.
    pub deny_message: Option<Arc<str>>,
    /// Whether the determining policies let themselves be named to the caller.
    pub actionable: bool,
    /// What would have been decided if policies in shadow mode were enforced; `None` where it is the same, for
    /// the same reasons.
    pub shadow: Option<Arc<Shadowed>>,
}

/// What would have been decided if the policies in shadow mode were enforced too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shadowed {
    pub allowed: bool,
    pub reason: Reason,
    /// Those of the determining policies that are in shadow mode, ordered by key.
    pub policies: Vec<PolicyRef>,
    /// Policies in shadow mode that failed to evaluate, ordered by key.
    pub errors: Vec<EvaluationError>,
}

/// A limit that a denied call has reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitReached {
    /// `@name` of the policy that sets it.
    pub policy: Arc<str>,
    pub scope: CounterScope,
    pub key: CounterKey,
    /// The counter as policies write it.
    pub counter: String,
    /// The count at which the policy stops calls.
    pub limit: i64,
    /// The count as the decision saw it.
    pub value: i64,
}

/// What a denied caller can do about it, as far as policies that let themselves be named tell.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Lesson {
    pub limits: Vec<LimitReached>,
    /// When the same call would be permitted, all else being as it is now.
    pub opens_at: Option<Timestamp>,
}

impl Lesson {
    /// Whether it teaches nothing.
    pub fn is_empty(&self) -> bool {
        self.limits.is_empty() && self.opens_at.is_none()
    }
}

impl Decision {
    /// A denial that no policy took part in.
    pub fn denied(reason: Reason) -> Self {
        Self {
            allowed: false,
            reason,
            determining: Vec::new(),
            errors: Vec::new(),
            deny_message: None,
            actionable: false,
            shadow: None,
        }
    }
}
