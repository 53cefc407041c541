//! `GET /api/dashboard/member-stats`: who calls how much.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::shape::{Durations, durations};
use super::{question, time};
use crate::control::api::ApiState;
use crate::control::api::access::{Signed, need};
use crate::control::api::audit::question::page;
use crate::control::api::extract::{Json, Query};
use crate::control::api::problem::{Problem, Refusals};
use crate::model::{AgentId, MemberId, Timestamp};
use crate::store::MemberCounts;

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
struct MemberStatsQuery {
    /// The beginning; seven days before the end without.
    #[param(value_type = Option<String>, format = DateTime)]
    from: Option<Timestamp>,
    /// The end; now without.
    #[param(value_type = Option<String>, format = DateTime)]
    to: Option<Timestamp>,
    /// The id of the one agent whose members are counted.
    #[param(value_type = Option<String>, format = Uuid)]
    agent: Option<AgentId>,
    /// Members of a page.
    #[param(minimum = 1, maximum = 500, default = 500)]
    limit: Option<u32>,
    /// Members to pass over.
    #[param(minimum = 0, maximum = 100_000, default = 0)]
    offset: Option<u64>,
}

/// Calls of one member.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct MemberStats {
    #[schema(value_type = String, format = Uuid)]
    member_id: MemberId,
    /// As the member was called last.
    member_name: String,
    #[schema(value_type = String, format = Uuid)]
    agent_id: AgentId,
    calls: u64,
    allowed: u64,
    denied: u64,
    durations: Durations,
    /// When the newest call was decided, whatever the time that is asked for.
    #[schema(value_type = String, format = DateTime)]
    last_call_at: Timestamp,
}

/// Calls by member.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({
    "from": "2026-06-06T00:00:00.000Z", "to": "2026-06-12T23:59:59.999Z",
    "members": [{
        "memberId": "01976400-0000-7000-8000-000000000002", "memberName": "bob@example.com",
        "agentId": "01976400-0000-7000-8000-000000000001", "calls": 17, "allowed": 15, "denied": 2,
        "durations": {"calls": 15, "meanMs": 212.4, "maxMs": 1900}, "lastCallAt": "2026-06-12T15:21:43.000Z"
    }],
    "total": 1
}))]
struct MemberStatsPage {
    #[schema(value_type = String, format = DateTime)]
    from: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    to: Timestamp,
    /// The busiest first; without those who called nothing.
    #[schema(max_items = 500)]
    members: Vec<MemberStats>,
    total: u64,
}

/// Per-member activity breakdown
///
/// The members of the agents that you own, also those that are members no more, and yourself where you are a
/// member of others; those who called in the time, the busiest first. The time is widened to whole hours, or days where it is
/// longer than three.
#[utoipa::path(
    get, path = "/api/dashboard/member-stats", operation_id = "getMemberStats", tag = "Statistics",
    params(MemberStatsQuery),
    responses((status = 200, body = MemberStatsPage), Refusals),
    security(("session" = []), ("token" = ["audit:read"])),
)]
async fn get_member_stats(
    State(state): State<ApiState>,
    signed: Signed<need::AuditRead>,
    Query(query): Query<MemberStatsQuery>,
) -> Result<Json<MemberStatsPage>, Problem> {
    let (limit, offset, _) = page(query.limit, query.offset, None, None)?;
    let (from, to, _) = time(query.from, query.to, None)?;
    let asked = question(&state, signed.caller.account.id, query.agent, (from, to)).await?;
    let (members, total) = state.admin.store().statistics().members(&asked, limit, offset).await?;
    Ok(Json(MemberStatsPage { from, to, members: members.into_iter().map(stats).collect(), total }))
}

fn stats(of: MemberCounts) -> MemberStats {
    MemberStats {
        member_id: of.member,
        member_name: of.name,
        agent_id: of.agent,
        calls: of.counted.calls,
        allowed: of.counted.calls.saturating_sub(of.counted.denied),
        denied: of.counted.denied,
        durations: durations(&of.counted),
        last_call_at: of.last_at,
    }
}

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(get_member_stats))
}
