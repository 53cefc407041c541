//! `GET /api/audit` and `GET /api/audit/members`: the audit's index, for those who may see it
//! (specification 7).
//!
//! Invariants: the account's sight is read anew for each request and is part of the question, so that no
//! row is fetched that may not be seen; what a member may not know of a trusted agent's policies is taken
//! out here, in [`entry`], for the list, the export and the live feed alike.

mod asker;
pub(super) mod entry;
mod export;
mod lasting;
mod live;
mod people;
pub(super) mod question;

use axum::extract::State;
use serde::Serialize;
use tokio::sync::{Semaphore, SemaphorePermit};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use self::entry::AuditEntry;
use self::question::AuditQuery;
use super::ApiState;
use super::access::{Signed, need};
use super::extract::{Json, Query};
use super::problem::{Code, Problem, Refusals};

/// Long questions that are worked on at once: the store has connections for others then.
static LONG: Semaphore = Semaphore::const_new(2);
/// So many more may wait for a place, and no longer than this.
const WAIT_MAX: std::time::Duration = std::time::Duration::from_secs(5);

/// A place for a question that may take long.
pub(super) async fn place() -> Result<SemaphorePermit<'static>, Problem> {
    let busy = || {
        Problem::new(Code::Unavailable, "others ask the audit right now")
            .after(std::time::Duration::from_secs(1))
    };
    tokio::time::timeout(WAIT_MAX, LONG.acquire()).await.map_err(|_| busy())?.map_err(|_| busy())
}

/// A page of the audit.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({
    "entries": [{
        "id": "0197646e-7f18-7c3e-9a41-0e8f6b2d7c11", "timestamp": "2026-06-12T15:21:43.000Z",
        "agentId": "01976400-0000-7000-8000-000000000001", "agentName": "my-first-agent",
        "memberId": "01976400-0000-7000-8000-000000000002", "memberName": "bob@example.com",
        "user": "bob@example.com", "memberKeyId": "01976400-0000-7000-8000-000000000003",
        "sessionId": "ts_01976400-0000-7000-8000-000000000004", "service": "github", "tool": "delete_file",
        "principal": "Wicket::Member::\"01976400-0000-7000-8000-000000000002\"",
        "action": "GitHubMCP::Action::\"delete_file\"", "resource": "GitHubMCP::Repo::\"acme/site\"",
        "callerIp": "203.0.113.7", "toolArgs": {"path": "README.md"}, "decision": "DENY",
        "reason": "Destructive GitHub operations are blocked.", "reasonCode": "forbidden",
        "matchedPolicyIds": ["block-github-destructive-tools"],
        "matchedPolicyUuids": ["p_0197648f-8a18-7c3d-9e2b-2f4f1d1f0a01"],
        "matchedPolicyNames": ["Block GitHub destructive tools"], "matchedPolicyVersions": [1],
        "redacted": false, "outcome": null, "status": null, "durationMs": null,
        "shadow": null,
        "bundle": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "cursor": "AAABl2R24xgAAAAAAAAAKgAAAAAAAAAH"
    }],
    "total": 1, "totalIsEstimate": false, "next": null
}))]
pub(super) struct AuditPage {
    /// Newest first.
    #[schema(max_items = 500)]
    entries: Vec<AuditEntry>,
    /// How many entries match; exact up to 10,000.
    total: u64,
    /// There are more than 10,000, and `total` is a guess.
    total_is_estimate: bool,
    /// Where the next page goes on: `before` (or `after`, if that was asked) of the next request; null at
    /// the end.
    next: Option<String>,
}

/// Query audit entries
///
/// The owner of an agent sees all its calls, also those of members that are members no more; a member sees
/// their own, on trusted agents without policies' names. Agents without a part of yours are not there.
///
/// Go on with `before` and the answer's `next`, and pages neither repeat nor skip while calls arrive;
/// `offset` counts from the newest.
#[utoipa::path(
    get, path = "/api/audit", operation_id = "queryAudit", tag = "Audit", params(AuditQuery),
    responses((status = 200, body = AuditPage), Refusals),
    security(("session" = []), ("token" = ["audit:read"])),
)]
async fn query_audit(
    State(state): State<ApiState>,
    signed: Signed<need::AuditRead>,
    Query(query): Query<AuditQuery>,
) -> Result<Json<AuditPage>, Problem> {
    let audit = state.admin.store().audit();
    let filter = query.filter(audit.sight(signed.caller.account.id).await?)?;
    let _place = place().await?;
    let found = audit.query(&filter).await?;
    Ok(Json(AuditPage {
        entries: found.rows.iter().map(|(at, row)| AuditEntry::of(*at, row, &filter.sight)).collect(),
        total: found.total.count,
        total_is_estimate: found.total.estimated || found.total.count > crate::store::EXACT_TOTAL_MAX,
        next: found.next.map(|cursor| cursor.to_string()),
    }))
}

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(query_audit))
        .merge(people::routes())
        .merge(export::routes())
        .merge(live::routes())
}
