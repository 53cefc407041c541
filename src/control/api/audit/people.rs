//! `GET /api/audit/members`: whose calls the audit holds, for menus of filters.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::question::{page, searched};
use crate::control::api::ApiState;
use crate::control::api::access::{Signed, need};
use crate::control::api::extract::{Json, Query};
use crate::control::api::problem::{Problem, Refusals};
use crate::model::{AgentId, MemberId, Timestamp};
use crate::store::PeopleQuestion;

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
struct PeopleQuery {
    /// Part of the name, in any case.
    #[param(max_length = 128)]
    search: Option<String>,
    /// Members of a page.
    #[param(minimum = 1, maximum = 500, default = 500)]
    limit: Option<u32>,
    /// Members to pass over.
    #[param(minimum = 0, maximum = 100_000, default = 0)]
    offset: Option<u64>,
}

/// A member as the audit knows it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct AuditMember {
    /// For the filter `member`.
    #[schema(value_type = String, format = Uuid)]
    id: MemberId,
    /// As the member was called last.
    name: String,
    #[schema(value_type = String, format = Uuid)]
    agent_id: AgentId,
    /// When the newest call was decided.
    #[schema(value_type = String, format = DateTime)]
    last_call_at: Timestamp,
    /// Calls that the audit holds.
    calls: u64,
}

/// Members in the audit.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({
    "members": [{
        "id": "01976400-0000-7000-8000-000000000002", "name": "bob@example.com",
        "agentId": "01976400-0000-7000-8000-000000000001", "lastCallAt": "2026-06-12T15:21:43.000Z", "calls": 17
    }],
    "total": 1
}))]
struct AuditMembers {
    /// By name.
    #[schema(max_items = 500)]
    members: Vec<AuditMember>,
    total: u64,
}

/// Members in your audit data
///
/// Everybody whose calls you may see and the audit holds: also those who are members no more.
#[utoipa::path(
    get, path = "/api/audit/members", operation_id = "listAuditMembers", tag = "Audit", params(PeopleQuery),
    responses((status = 200, body = AuditMembers), Refusals),
    security(("session" = []), ("token" = ["audit:read"])),
)]
async fn list_audit_members(
    State(state): State<ApiState>,
    signed: Signed<need::AuditRead>,
    Query(query): Query<PeopleQuery>,
) -> Result<Json<AuditMembers>, Problem> {
    let audit = state.admin.store().audit();
    let (limit, offset, _) = page(query.limit, query.offset, None, None)?;
    let sight = audit.sight(signed.caller.account.id).await?;
    let search = searched("query.search", query.search.as_deref())?;
    let (people, total) = audit.people(&PeopleQuestion { sight, search, limit, offset }).await?;
    let member = |person: crate::store::AuditPerson| AuditMember {
        id: person.member,
        name: person.name,
        agent_id: person.agent,
        last_call_at: person.last_at,
        calls: person.calls,
    };
    Ok(Json(AuditMembers { members: people.into_iter().map(member).collect(), total }))
}

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(list_audit_members))
}
