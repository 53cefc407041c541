//! Tool sessions of an agent: listed, looked into, reset (specification 6).
//!
//! Invariant: a member of a trusted agent is shown no policy of its owner (specification 1.2), here neither
//! as a count nor beside a call.

mod activity;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::ApiState;
use super::access::{AgentOwned, AgentSeen, Standing, need};
use super::extract::{Json, Query};
use super::page::{ROWS_MAX, SortDir};
use super::part::Part;
use super::problem::{Problem, Refusals};
use crate::control::admin::sessions::{SessionQuestion, ToolSession};
use crate::model::{Agent, AgentId, CounterKey, MemberId, SessionId, Timestamp, TrustMode};
use crate::store::{EndReason, SessionSort};

/// Sessions that may be passed over: those that go on are read from memory, not from an index.
const OFFSET_MAX: u64 = 10_000;

/// A tool session.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ToolSession, example = json!({
    "id": "ts_0190b5a0-0000-7000-8000-000000000005", "memberId": "0190b5a0-0000-7000-8000-000000000002",
    "agentType": "claude-code", "externalSessionId": "6f1c2e0b9a7d4c3e8f5a1b2c3d4e5f60", "isActive": true,
    "createdAt": "2026-06-12T14:02:11.000Z", "lastActivityAt": "2026-06-12T14:07:02.000Z",
    "calls": 5, "denials": 1, "toolsUsed": {"github:get_file_contents": 5},
    "policiesAllowCounts": {"reads": 5}, "policiesDenyCounts": {}, "policiesHidden": false,
    "terminatedAt": null, "terminatedReason": null
}))]
struct SessionBody {
    #[schema(value_type = String)]
    id: SessionId,
    #[schema(value_type = String, format = Uuid)]
    member_id: MemberId,
    /// What the client called itself, where it did.
    agent_type: Option<String>,
    /// Tells conversations of the client apart: a digest of what it sent, under the member.
    external_session_id: String,
    is_active: bool,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    last_activity_at: Timestamp,
    /// Allowed calls.
    calls: u64,
    /// Denied calls.
    denials: u64,
    /// Allowed calls by `service:tool`.
    tools_used: std::collections::BTreeMap<String, u64>,
    /// Allowed calls by the key of a policy that permitted them.
    policies_allow_counts: std::collections::BTreeMap<String, u64>,
    /// Denied calls by the key of a policy that forbade them.
    policies_deny_counts: std::collections::BTreeMap<String, u64>,
    /// True where the two before are empty because the account may not see the agent's policies.
    policies_hidden: bool,
    #[schema(value_type = Option<String>, format = DateTime)]
    terminated_at: Option<Timestamp>,
    terminated_reason: Option<Terminated>,
}

/// Why a session ended.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Terminated {
    /// Nothing came for the idle limit.
    Inactivity,
    /// The owner or the operator reset it.
    ManualReset,
    /// It could not be restored after a restart.
    ProxyRestart,
}

impl SessionBody {
    fn of(session: ToolSession, policies_hidden: bool) -> Self {
        let mut body = Self {
            id: session.id,
            member_id: session.member_id,
            agent_type: session.client.map(|client| client.name),
            external_session_id: hex(session.conversation.as_bytes()),
            is_active: session.ended.is_none(),
            created_at: session.created_at,
            last_activity_at: session.last_activity_at,
            calls: 0,
            denials: 0,
            tools_used: Default::default(),
            policies_allow_counts: Default::default(),
            policies_deny_counts: Default::default(),
            policies_hidden,
            terminated_at: session.ended.map(|(at, _)| at),
            terminated_reason: session.ended.map(|(_, reason)| match reason {
                EndReason::Inactivity => Terminated::Inactivity,
                EndReason::ManualReset => Terminated::ManualReset,
                EndReason::ProxyRestart => Terminated::ProxyRestart,
            }),
        };
        for (key, count) in &session.counters {
            let count = u64::try_from(*count).unwrap_or(0);
            match key {
                CounterKey::Calls => body.calls = count,
                CounterKey::Denials => body.denials = count,
                CounterKey::Tool(service, tool) => {
                    body.tools_used.insert(format!("{service}:{tool}"), count);
                }
                CounterKey::PolicyAllow(policy) if !policies_hidden => {
                    body.policies_allow_counts.insert(policy.to_string(), count);
                }
                CounterKey::PolicyDeny(policy) if !policies_hidden => {
                    body.policies_deny_counts.insert(policy.to_string(), count);
                }
                _ => {}
            }
        }
        body
    }
}

fn hex(bytes: &[u8]) -> String {
    crate::keys::hex(bytes)
}

/// Whether somebody of this standing may not see which policies decided.
fn hides_policies(agent: &Agent, standing: &Standing) -> bool {
    agent.trust == TrustMode::Trusted && !standing.is_owner()
}

/// A page of sessions.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ToolSessions)]
struct SessionsBody {
    sessions: Vec<SessionBody>,
    /// How many match in all.
    total: u64,
}

/// Which sessions.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Which {
    /// Those that go on.
    Active,
    Ended,
}

/// What sessions are sorted by.
#[derive(Debug, Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
enum SortBy {
    #[default]
    LastActivityAt,
    CreatedAt,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// Both where absent
    #[param(inline)]
    status: Option<Which>,
    /// Of this member alone
    #[param(value_type = Option<uuid::Uuid>)]
    member_id: Option<MemberId>,
    /// What the list is sorted by
    #[param(inline)]
    sort_by: Option<SortBy>,
    /// The latest first where absent
    #[param(inline)]
    sort_dir: Option<SortDir>,
    /// Sessions of the answer; 50 where absent
    #[param(minimum = 1, maximum = 500)]
    limit: Option<u32>,
    /// Sessions that are passed over
    #[param(maximum = 10_000)]
    offset: Option<u64>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct OwnQuery {
    /// Both where absent
    #[param(inline)]
    status: Option<Which>,
    /// What the list is sorted by
    #[param(inline)]
    sort_by: Option<SortBy>,
    /// The latest first where absent
    #[param(inline)]
    sort_dir: Option<SortDir>,
    /// Sessions of the answer; 50 where absent
    #[param(minimum = 1, maximum = 500)]
    limit: Option<u32>,
    /// Sessions that are passed over
    #[param(maximum = 10_000)]
    offset: Option<u64>,
}

impl ListQuery {
    fn question(&self, agent: AgentId) -> Result<SessionQuestion, Problem> {
        let limit = self.limit.unwrap_or(super::page::ROWS);
        let offset = self.offset.unwrap_or(0);
        if limit == 0 || limit > ROWS_MAX {
            return Err(Problem::field("query.limit", format!("1 to {ROWS_MAX} is taken")));
        }
        if offset > OFFSET_MAX {
            return Err(Problem::field(
                "query.offset",
                format!("0 to {OFFSET_MAX} is taken; narrow the question"),
            ));
        }
        Ok(SessionQuestion {
            agent,
            member: self.member_id,
            active: self.status.map(|which| matches!(which, Which::Active)),
            sort: match self.sort_by.unwrap_or_default() {
                SortBy::LastActivityAt => SessionSort::LastActivityAt,
                SortBy::CreatedAt => SessionSort::CreatedAt,
            },
            descending: !matches!(self.sort_dir, Some(SortDir::Asc)),
            limit,
            offset,
        })
    }
}

async fn page(
    state: &ApiState,
    question: &SessionQuestion,
    policies_hidden: bool,
) -> Result<Json<SessionsBody>, Problem> {
    let (sessions, total) = state.admin.tool_sessions(question).await?;
    let sessions = sessions.into_iter().map(|session| SessionBody::of(session, policies_hidden)).collect();
    Ok(Json(SessionsBody { sessions, total }))
}

/// Tool sessions for the agent (owner)
///
/// Those that go on as this gate has them now, and those that ended as the store has them, some
/// seconds behind.
#[utoipa::path(
    get, path = "/api/agents/{id}/sessions", operation_id = "listSessions", tag = "Sessions",
    params(("id" = uuid::Uuid, Path, description = "The agent"), ListQuery),
    responses((status = 200, body = SessionsBody), Refusals),
    security(("session" = []), ("token" = ["sessions:read"])),
)]
async fn list_sessions(
    State(state): State<ApiState>,
    owned: AgentOwned<need::SessionsRead>,
    Query(query): Query<ListQuery>,
) -> Result<Json<SessionsBody>, Problem> {
    page(&state, &query.question(owned.agent.id)?, false).await
}

/// Your own tool sessions
#[utoipa::path(
    get, path = "/api/agents/{id}/my-sessions", operation_id = "listMySessions", tag = "Sessions",
    params(("id" = uuid::Uuid, Path, description = "The agent"), OwnQuery),
    responses((status = 200, body = SessionsBody), Refusals),
    security(("session" = []), ("token" = ["sessions:read"])),
)]
async fn list_my_sessions(
    State(state): State<ApiState>,
    seen: AgentSeen<need::SessionsRead>,
    Query(query): Query<OwnQuery>,
) -> Result<Json<SessionsBody>, Problem> {
    let OwnQuery { status, sort_by, sort_dir, limit, offset } = query;
    let Some(member) = seen.standing.member() else {
        return Ok(Json(SessionsBody { sessions: Vec::new(), total: 0 }));
    };
    let query = ListQuery { status, member_id: Some(member.id), sort_by, sort_dir, limit, offset };
    let hidden = hides_policies(&seen.agent, &seen.standing);
    page(&state, &query.question(seen.agent.id)?, hidden).await
}

/// The session of the path, where it is the agent's.
async fn of_agent(state: &ApiState, agent: &Agent, id: SessionId) -> Result<ToolSession, Problem> {
    let found = state.admin.tool_session(id).await?.filter(|session| session.agent_id == agent.id);
    found.ok_or_else(|| Problem::not_found("session"))
}

/// Terminate a session: session-condition counters start fresh (owner)
///
/// The client carries on, its next call opens a new session. The member's own 24 hours are not touched.
/// For the owner alone: a member who could reset its own session could shed the limits that stop it.
#[utoipa::path(
    post, path = "/api/agents/{id}/sessions/{sessionId}/reset", operation_id = "resetSession", tag = "Sessions",
    params(
        ("id" = uuid::Uuid, Path, description = "The agent"),
        ("sessionId" = String, Path, description = "The session, as `ts_…`"),
    ),
    responses((status = 200, body = SessionBody), Refusals),
    security(("session" = []), ("token" = ["sessions:write"])),
)]
async fn reset_session(
    State(state): State<ApiState>,
    owned: AgentOwned<need::SessionsWrite>,
    Part(id): Part<SessionId>,
) -> Result<Json<SessionBody>, Problem> {
    of_agent(&state, &owned.agent, id).await?;
    let session = state.admin.reset_session(owned.caller.operator(), id).await?;
    Ok(Json(SessionBody::of(session, false)))
}

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(list_sessions))
        .routes(routes!(list_my_sessions))
        .routes(routes!(reset_session))
        .merge(activity::routes())
}
