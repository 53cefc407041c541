//! The answers of the statistics.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use super::Bucket;
use crate::model::Timestamp;
use crate::store::{Counted, PolicyCounts, ToolCounts};

/// Tools, and policies, that are told of each connector.
const TOP_MAX: usize = 5;

/// How long calls took whose end is known, upstream included.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Durations {
    /// Calls that this is of.
    calls: u64,
    /// Null where there is none.
    mean_ms: Option<f64>,
    max_ms: Option<u64>,
}

/// The counters.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({
    "from": "2026-06-12T00:00:00.000Z", "to": "2026-06-12T23:59:59.999Z", "bucket": "day", "calls": 120,
    "allowed": 103, "denied": 17, "allowRatio": 0.8583333333333333,
    "durations": {"calls": 103, "meanMs": 212.4, "maxMs": 1900}, "agents": 1, "members": 4, "policies": 6,
    "series": [{"from": "2026-06-12T00:00:00.000Z", "calls": 120, "allowed": 103, "denied": 17,
        "durations": {"calls": 103, "meanMs": 212.4, "maxMs": 1900}}],
    "services": [{"service": "github", "calls": 120, "allowed": 103, "denied": 17,
        "durations": {"calls": 103, "meanMs": 212.4, "maxMs": 1900},
        "tools": [{"tool": "search_code", "calls": 80, "denied": 0}],
        "denyingPolicies": [{"id": "block-github-destructive-tools", "name": "Block GitHub destructive tools", "denied": 17}]}]
}))]
pub(super) struct DashboardStats {
    #[schema(value_type = String, format = DateTime)]
    pub from: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    pub to: Timestamp,
    pub bucket: Bucket,
    pub calls: u64,
    pub allowed: u64,
    pub denied: u64,
    /// Which part was allowed; null where nothing was called.
    pub allow_ratio: Option<f64>,
    pub durations: Durations,
    /// Agents that you own or are a member of, now.
    pub agents: u64,
    /// Members of those that you own, and your own memberships of others, now.
    pub members: u64,
    /// Policies now: the files', which hold for every agent, and those that are stored for agents of yours.
    pub policies: u64,
    /// Each hour, or day, of the time, also without calls.
    #[schema(max_items = 2000)]
    pub series: Vec<BusyBucket>,
    /// The busiest first.
    pub services: Vec<ServiceStats>,
}

/// One hour, or day.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct BusyBucket {
    #[schema(value_type = String, format = DateTime)]
    from: Timestamp,
    calls: u64,
    allowed: u64,
    denied: u64,
    durations: Durations,
}

impl BusyBucket {
    pub fn of(from: Timestamp, counted: &Counted) -> Self {
        let (calls, denied) = (counted.calls, counted.denied);
        let allowed = calls.saturating_sub(denied);
        Self { from, calls, allowed, denied, durations: durations(counted) }
    }
}

/// Calls of one connector.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ServiceStats {
    service: String,
    calls: u64,
    allowed: u64,
    denied: u64,
    /// For a member of somebody else's agent these are not kept by connector: `calls` is 0 then.
    durations: Durations,
    /// The busiest.
    #[schema(max_items = 5)]
    tools: Vec<ToolStats>,
    /// Those that denied the most; told to the agents' owner alone.
    #[schema(max_items = 5)]
    denying_policies: Vec<PolicyStats>,
}

/// Calls of one tool.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ToolStats {
    tool: String,
    calls: u64,
    denied: u64,
}

/// Calls that one policy denied.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct PolicyStats {
    /// The policy's key.
    id: String,
    name: String,
    denied: u64,
}

pub(super) fn durations(counted: &Counted) -> Durations {
    let known = counted.ended > 0;
    Durations {
        calls: counted.ended,
        mean_ms: known.then(|| counted.duration_ms as f64 / counted.ended as f64),
        max_ms: known.then_some(counted.duration_ms_max),
    }
}

pub(super) fn ratio(counted: &Counted) -> Option<f64> {
    let allowed = counted.calls.saturating_sub(counted.denied);
    (counted.calls > 0).then(|| allowed as f64 / counted.calls as f64)
}

/// Tools and policies under their connectors; both come busiest first.
pub(super) fn services(tools: Vec<ToolCounts>, denying: Vec<PolicyCounts>) -> Vec<ServiceStats> {
    let mut services: BTreeMap<String, (Counted, Vec<ToolStats>, Vec<PolicyStats>)> = BTreeMap::new();
    for one in tools {
        let (counted, tools, _) = services.entry(one.service).or_default();
        counted.add(&one.counted);
        if tools.len() < TOP_MAX {
            let (calls, denied) = (one.counted.calls, one.counted.denied);
            tools.push(ToolStats { tool: one.tool, calls, denied });
        }
    }
    for one in denying {
        if let Some((_, _, policies)) = services.get_mut(&one.service)
            && policies.len() < TOP_MAX
        {
            policies.push(PolicyStats { id: one.key, name: one.name, denied: one.counted.denied });
        }
    }
    let service = |(service, (counted, tools, denying_policies)): (String, (Counted, _, _))| ServiceStats {
        service,
        calls: counted.calls,
        allowed: counted.calls.saturating_sub(counted.denied),
        denied: counted.denied,
        durations: durations(&counted),
        tools,
        denying_policies,
    };
    let mut services: Vec<_> = services.into_iter().map(service).collect();
    services.sort_by_key(|service| std::cmp::Reverse(service.calls));
    services
}
