//! What one session did: its counts, and its newest calls out of the audit's index.

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{SessionBody, hides_policies, of_agent};
use crate::control::api::ApiState;
use crate::control::api::access::{AgentSeen, need};
use crate::control::api::extract::Json;
use crate::control::api::part::Part;
use crate::control::api::problem::{Problem, Refusals};
use crate::model::{CallId, SessionId, Timestamp};
use crate::store::AuditRow;

/// Calls that an answer shows; `GET /api/audit` pages through all.
const CALLS_SHOWN_MAX: u32 = 100;

/// What became of a call's decision.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
#[schema(as = ActivityDecision)]
enum Decided {
    Allow,
    Deny,
}

/// One call of a session.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = SessionCall)]
struct CallBody {
    /// As the audit has it.
    #[schema(value_type = String, format = Uuid)]
    id: CallId,
    #[schema(value_type = String, format = DateTime)]
    timestamp: Timestamp,
    service: String,
    /// Without its prefix.
    tool: String,
    resource: String,
    decision: Decided,
    reason: String,
    /// Keys of the policies that decided; empty where they are hidden.
    matched_policy_ids: Vec<String>,
    matched_policy_names: Vec<String>,
    /// None while the call goes on, and for denied calls.
    duration_ms: Option<u64>,
}

impl CallBody {
    fn of(row: AuditRow, policies_hidden: bool) -> Self {
        let reason = if policies_hidden { row.said_without_policies() } else { row.said() }.to_owned();
        let policies = if policies_hidden { Vec::new() } else { row.policies };
        Self {
            id: row.call,
            timestamp: row.at,
            service: row.service,
            tool: row.tool,
            resource: row.resource,
            decision: if row.allowed { Decided::Allow } else { Decided::Deny },
            reason,
            matched_policy_ids: policies.iter().map(|policy| policy.key.to_string()).collect(),
            matched_policy_names: policies.iter().map(|policy| policy.name.to_string()).collect(),
            duration_ms: row.outcome.map(|outcome| outcome.duration_ms),
        }
    }
}

/// What a session did.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SessionActivity)]
struct ActivityBody {
    #[serde(flatten)]
    session: SessionBody,
    /// Its newest calls, at most 100, some moments behind.
    #[serde(rename = "recentCalls")]
    recent_calls: Vec<CallBody>,
}

/// Per-session tool usage and policy hit counts
///
/// For the agent's owner, and for the member whose session it is.
#[utoipa::path(
    get, path = "/api/agents/{id}/sessions/{sessionId}/activity", operation_id = "getSessionActivity",
    tag = "Sessions",
    params(
        ("id" = uuid::Uuid, Path, description = "The agent"),
        ("sessionId" = String, Path, description = "The session, as `ts_…`"),
    ),
    responses((status = 200, body = ActivityBody), Refusals),
    security(("session" = []), ("token" = ["sessions:read"])),
)]
async fn get_activity(
    State(state): State<ApiState>,
    seen: AgentSeen<need::SessionsRead>,
    Part(id): Part<SessionId>,
) -> Result<Json<ActivityBody>, Problem> {
    let session = of_agent(&state, &seen.agent, id).await?;
    let own = seen.standing.member().is_some_and(|member| member.id == session.member_id);
    if !own && !seen.standing.is_owner() {
        return Err(Problem::not_found("session"));
    }
    let hidden = hides_policies(&seen.agent, &seen.standing);
    let calls = state.admin.store().audit().of_session(id, CALLS_SHOWN_MAX).await?;
    Ok(Json(ActivityBody {
        session: SessionBody::of(session, hidden),
        recent_calls: calls.into_iter().map(|row| CallBody::of(row, hidden)).collect(),
    }))
}

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(get_activity))
}
