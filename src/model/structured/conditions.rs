//! The conditions of a structured policy (specification 4.2 to 4.6).

use std::collections::BTreeSet;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::model::{PolicyKey, ServiceKey, Tier};

/// When a policy holds (specification 4.2); an axis that is absent restricts nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TimeConstraints {
    /// 0 is Sunday, 6 is Saturday.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    #[schema(value_type = Vec<u8>, max_items = 7, example = json!([1, 2, 3, 4, 5]))]
    pub days_of_week: BTreeSet<u8>,
    /// First hour, 0 to 23; absent: 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(maximum = 23, example = 9)]
    pub hours_from: Option<u8>,
    /// Last hour, 0 to 23, meant whole (17 covers to 17:59); absent: 23. Smaller than `hours_from`: the
    /// window passes midnight and belongs to the day on which it starts (decision 11).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(maximum = 23, example = 17)]
    pub hours_to: Option<u8>,
    /// First day, `2026-11-22`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = Date, example = "2026-06-01")]
    pub active_from: Option<String>,
    /// Last day, inclusive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = Date, example = "2026-12-31")]
    pub active_to: Option<String>,
    /// IANA name, `Europe/Berlin`; absent: UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 64, example = "Europe/Berlin")]
    pub time_zone: Option<String>,
}

/// A repository, or all of an owner, those to come too (specification 4.3).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RepositoryRestriction {
    #[schema(min_length = 1, max_length = 1024, example = "acme")]
    pub owner: String,
    /// Empty: the whole owner.
    #[serde(default)]
    #[schema(max_length = 1024, example = "payments")]
    pub repo: String,
}

/// How conditions are joined.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum MatchMode {
    /// All of them must hold.
    #[default]
    All,
    /// One must hold at least.
    Any,
}

/// Whether a condition counts as met where what it asks about is not known (decision 8). Left out, a permit
/// takes the unknown for not met and a forbid for met: neither opens a door.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum IfUnknown {
    Met,
    NotMet,
}

/// Conditions on what the call acts on (specification 4.4).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ResourceConditions {
    #[serde(rename = "match", default)]
    pub mode: MatchMode,
    /// Only where the call acts on such a resource: `branch`, `pull_request`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 64, example = "branch")]
    pub scope: Option<String>,
    /// Several of one type are joined by "or", whatever `match` says.
    #[serde(default)]
    pub conditions: Vec<ResourceCondition>,
}

/// One condition on the resource.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ResourceCondition {
    /// An attribute of the connector's resources (`visibility`, `isProtected`), or one resource itself
    /// (`pullRequest`, `issueRef`).
    #[serde(rename = "type")]
    #[schema(max_length = 64, example = "isProtected")]
    pub kind: String,
    /// What it must be: text, number, boolean, as the attribute has it.
    #[schema(example = json!(true))]
    pub value: Value,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_unknown: Option<IfUnknown>,
}

/// Whose history a condition looks at (decision 9).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Over {
    /// This conversation.
    #[default]
    Session,
    /// The member's last 24 hours, whatever conversations or keys it opens.
    Member,
}

/// A comparison of whole numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub enum Comparison {
    #[serde(rename = ">=")]
    AtLeast,
    #[serde(rename = ">")]
    MoreThan,
    #[serde(rename = "==")]
    Exactly,
    #[serde(rename = "!=")]
    NotExactly,
    #[serde(rename = "<")]
    LessThan,
    #[serde(rename = "<=")]
    AtMost,
}

/// What a condition counts (specification 4.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum CounterKind {
    /// Whether `tool` was used at all.
    ToolUsed,
    /// Allowed calls of `tool`.
    ToolCount,
    /// Allowed calls of `service`.
    ServiceCount,
    /// Allowed calls of `tier`, over all services.
    TierCount,
    /// Allowed calls.
    TotalCallCount,
    /// Denied calls.
    TotalDenyCount,
    /// Allowed calls that the permit `policyKey` decided.
    PolicyAllowCount,
    /// Denied calls that the forbid `policyKey` decided.
    PolicyDenyCount,
}

/// One condition on what was done so far. Which of the optional members belong to it, its kind says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CounterCondition {
    pub kind: CounterKind,
    #[serde(default)]
    pub over: Over,
    /// `service:tool`, of any service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 161, example = "github:get_file_contents")]
    pub tool: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, max_length = 32, example = "github")]
    pub service: Option<ServiceKey>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier: Option<Tier>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, max_length = 100, example = "no-deletes")]
    pub policy_key: Option<PolicyKey>,
    /// Not for `toolUsed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub op: Option<Comparison>,
    /// 0 or more; not for `toolUsed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, example = 3)]
    pub value: Option<i64>,
}

/// Where a call comes from (specification 4.6).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NetworkCondition {
    /// Addresses and networks, one of which must hold the caller's.
    #[schema(value_type = Vec<String>, max_items = 1000, example = json!(["10.0.0.0/8"]))]
    pub cidrs: BTreeSet<IpNet>,
    /// None of which may hold it, instead.
    #[serde(default)]
    pub not: bool,
}

/// What an argument is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum ArgumentTest {
    /// It is `value`.
    Equals,
    /// It is not `value`.
    NotEquals,
    /// It is one of `values`.
    In,
    /// It is none of `values`.
    NotIn,
    /// A text that `pattern` fits: `*` stands for any characters, `\\*` for the character.
    Like,
    /// A text that `pattern` does not fit.
    NotLike,
    /// A number from `min` to `max`, both inclusive; one of them may be left out.
    Range,
    /// A text of `min` to `max` characters, or a list of so many items; one of them may be left out.
    Length,
    /// A list that holds all of `values`.
    Contains,
    /// A list that holds one of `values` at least.
    ContainsAny,
    /// A list that holds none of `values`.
    ContainsNone,
    /// It is given at all.
    Given,
    /// It is not given.
    NotGiven,
}

/// One condition on an argument. Values must be of the type that the tools' schemas declare; which of the
/// optional members belong to it, its `op` says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ArgumentCondition {
    /// Its name, or the names from the outermost inward, joined by `.`.
    #[schema(max_length = 1024, example = "path")]
    pub argument: String,
    pub op: ArgumentTest,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 1024, example = "/srv/*")]
    pub pattern: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_unknown: Option<IfUnknown>,
}
