//! What is asked of a simulation.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};

use crate::control::api::ApiState;
use crate::control::api::problem::Problem;
use crate::control::policies::PolicyDraft;
use crate::control::simulate::{ROWS_MAX, WINDOW_DEFAULT_MS};
use crate::model::{Agent, CounterKey, History, MemberId, PolicyId, Timestamp};
use crate::policy::Scenario;

/// Rows of an answer where none are asked for.
const ROWS_DEFAULT: usize = 200;

/// What is simulated: a draft, a stored policy enforced, the set without one, or, with none of these, the set
/// as it is.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(example = json!({
    "draft": {"name": "No deletes", "service": "github", "effect": "forbid", "tiers": ["destructive"]},
    "from": "2026-06-11T15:00:00.000Z", "rows": 100
}))]
pub(super) struct SimulateBody {
    /// A policy as it would be created, or with `policyId` as it would replace that one.
    pub draft: Option<Box<PolicyDraft>>,
    /// A stored policy that is in shadow or off, as if it were enforced.
    #[schema(value_type = Option<String>, max_length = 64)]
    pub enforce: Option<PolicyId>,
    /// A stored policy, as if it were not there.
    #[schema(value_type = Option<String>, max_length = 64)]
    pub without: Option<PolicyId>,
    /// From when on; 24 hours before `to` where absent.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub from: Option<Timestamp>,
    /// Until when; now where absent.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub to: Option<Timestamp>,
    /// Rows of the answer; 200 where absent.
    #[schema(minimum = 0, maximum = 10000)]
    pub rows: Option<u32>,
    /// One made-up call instead of the recorded ones.
    pub call: Option<CallBody>,
}

/// A made-up call.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(example = json!({"tool": "github__delete_file", "arguments": {"owner": "acme", "repo": "site"},
    "memberId": "0190b5a0-0000-7000-8000-000000000002"}))]
pub(super) struct CallBody {
    /// As agents call it: `service__tool`.
    #[schema(max_length = 200)]
    pub tool: String,
    #[serde(default)]
    #[schema(value_type = Object)]
    pub arguments: Map<String, Value>,
    /// Who calls.
    #[schema(value_type = String, format = Uuid)]
    pub member_id: MemberId,
    /// When; now where absent.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub at: Option<Timestamp>,
    /// From where; 127.0.0.1 where absent.
    #[schema(value_type = Option<String>, max_length = 64)]
    pub caller_ip: Option<IpAddr>,
    /// Counters of the session before the call, as `denials` or `tier/write`; 0 where absent.
    #[serde(default)]
    pub session_counters: BTreeMap<String, i64>,
    /// Counters of the member's 24 hours.
    #[serde(default)]
    pub member_counters: BTreeMap<String, i64>,
}

/// Which calls are looked at.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ShadowQuery {
    /// From when on; 24 hours before `to` where absent
    #[param(value_type = Option<String>, format = DateTime)]
    pub from: Option<Timestamp>,
    /// Until when; now where absent
    #[param(value_type = Option<String>, format = DateTime)]
    pub to: Option<Timestamp>,
    /// Rows of the answer; 200 where absent
    #[param(minimum = 0, maximum = 10000)]
    pub rows: Option<u32>,
}

impl SimulateBody {
    /// The window, both ends included.
    pub fn window(&self) -> Result<(Timestamp, Timestamp), Problem> {
        window("body.from", self.from, self.to)
    }

    pub fn rows(&self) -> Result<usize, Problem> {
        rows("body.rows", self.rows)
    }
}

impl ShadowQuery {
    /// The window, both ends included.
    pub fn window(&self) -> Result<(Timestamp, Timestamp), Problem> {
        window("query.from", self.from, self.to)
    }

    pub fn rows(&self) -> Result<usize, Problem> {
        rows("query.rows", self.rows)
    }
}

fn window(
    field: &str,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
) -> Result<(Timestamp, Timestamp), Problem> {
    let to = to.unwrap_or_else(Timestamp::now);
    let from = from.unwrap_or_else(|| to.plus_millis(-WINDOW_DEFAULT_MS));
    if from > to { Err(Problem::field(field, "lies behind `to`")) } else { Ok((from, to)) }
}

fn rows(field: &str, asked: Option<u32>) -> Result<usize, Problem> {
    let rows = asked.map_or(ROWS_DEFAULT, |rows| usize::try_from(rows).unwrap_or(usize::MAX));
    let bounded = (rows <= ROWS_MAX).then_some(rows);
    bounded.ok_or_else(|| Problem::field(field, format!("is more than {ROWS_MAX}")))
}

impl CallBody {
    /// The call, of a member of this agent.
    pub async fn scenario(&self, state: &ApiState, agent: &Agent) -> Result<Scenario, Problem> {
        let members = state.admin.store().members();
        let member = members.get(self.member_id).await.ok().filter(|member| member.agent_id == agent.id);
        let member =
            member.ok_or_else(|| Problem::field("body.call.memberId", "is no member of the agent"))?;
        let counters = |field: &str, given: &BTreeMap<String, i64>| {
            let parsed = given.iter().map(|(key, value)| Ok((key.parse::<CounterKey>()?, *value)));
            parsed.collect::<Result<BTreeMap<_, _>, String>>().map_err(|why| Problem::field(field, why))
        };
        let history = History {
            session: counters("body.call.sessionCounters", &self.session_counters)?,
            member: counters("body.call.memberCounters", &self.member_counters)?,
        };
        let at = self.at.unwrap_or_else(Timestamp::now);
        Ok(Scenario {
            arguments: Value::Object(self.arguments.clone()),
            agent: agent.id,
            agent_name: agent.name.clone(),
            trust: agent.trust,
            member: member.id,
            member_name: member.name.clone(),
            role: member.role,
            groups: member.groups,
            ip: self.caller_ip.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            history,
            ..Scenario::new(&self.tool, at)
        })
    }
}
