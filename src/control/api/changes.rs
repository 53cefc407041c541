//! `GET /api/audit/changes`: who changed what, from what to what. The reference has none; ours are in the
//! journal's chain like the calls.
//!
//! Invariant: an account sees the changes of agents that it owns, and those that it made itself.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::ApiState;
use super::access::{Signed, need};
use super::audit::question::{page, searched};
use super::extract::{Json, Query};
use super::problem::{Problem, Refusals};
use crate::model::{AgentId, CallId, EmailAddress, Timestamp};
use crate::store::{AuditCursor, ChangeFilter, ChangePhase, ChangeRow, Sight};

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
struct ChangesQuery {
    /// Changes begun then or later.
    #[param(value_type = Option<String>, format = DateTime)]
    from: Option<Timestamp>,
    /// Changes begun then or earlier.
    #[param(value_type = Option<String>, format = DateTime)]
    to: Option<Timestamp>,
    /// The agent's id.
    #[param(value_type = Option<String>, format = Uuid)]
    agent: Option<AgentId>,
    /// `agent.create`, or `agent.` for all that is done to agents.
    #[param(max_length = 128, example = "key.")]
    what: Option<String>,
    /// Part of the name of what it was done to, in any case.
    #[param(max_length = 128)]
    target: Option<String>,
    /// The address of the account that made it.
    #[param(value_type = Option<String>, max_length = 254)]
    account: Option<EmailAddress>,
    /// Changes of a page.
    #[param(minimum = 1, maximum = 500, default = 500)]
    limit: Option<u32>,
    /// Changes to pass over, counted from the newest.
    #[param(minimum = 0, maximum = 100_000, default = 0)]
    offset: Option<u64>,
    /// A cursor: changes older than it.
    #[param(value_type = Option<String>, max_length = 32)]
    before: Option<AuditCursor>,
    /// A cursor: the changes next to it that are newer.
    #[param(value_type = Option<String>, max_length = 32)]
    after: Option<AuditCursor>,
}

/// An administrative change.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ChangeEntry {
    #[schema(value_type = String, format = Uuid)]
    pub id: CallId,
    /// When it was begun.
    #[schema(value_type = String, format = DateTime)]
    pub timestamp: Timestamp,
    /// When it was made, or was not; null where the gate stopped before it knew.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ended_at: Option<Timestamp>,
    pub phase: ChangePhase,
    /// `account:ann@example.com`, with ` via:<id>` where a token made it; `uid:1000` for the operator on the
    /// machine.
    pub who: String,
    /// The account's address, where it was one.
    pub account: Option<String>,
    /// `agent.create`, `key.revoke` …
    pub what: String,
    pub target: String,
    /// The agent that it concerns.
    #[schema(value_type = Option<String>, format = Uuid)]
    pub agent_id: Option<AgentId>,
    /// What was before, redacted.
    pub before: Option<Value>,
    /// What was after, redacted.
    pub after: Option<Value>,
    /// The change's place, for `before` and `after` of the query.
    pub cursor: String,
}

impl ChangeEntry {
    pub fn of(cursor: AuditCursor, row: ChangeRow) -> Self {
        let json = |text: Option<String>| {
            text.map(|text| serde_json::from_str(&text).unwrap_or(Value::String(text)))
        };
        Self {
            id: row.change,
            timestamp: row.at,
            ended_at: row.ended_at,
            phase: row.phase,
            who: row.who,
            account: row.account.map(|account| account.to_string()),
            what: row.what,
            target: row.target,
            agent_id: row.agent,
            before: json(row.before),
            after: json(row.after),
            cursor: cursor.to_string(),
        }
    }

    /// The phase as it is written.
    pub const fn phase_word(&self) -> &'static str {
        match self.phase {
            ChangePhase::Intent => "intent",
            ChangePhase::Completed => "completed",
            ChangePhase::Failed => "failed",
        }
    }
}

/// A page of administrative changes.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({
    "changes": [{
        "id": "0197646e-7f18-7c3e-9a41-0e8f6b2d7c11", "timestamp": "2026-06-12T15:21:43.000Z",
        "endedAt": "2026-06-12T15:21:43.004Z", "phase": "completed", "who": "account:ann@example.com",
        "account": "ann@example.com", "what": "agent.status", "target": "my-first-agent",
        "agentId": "01976400-0000-7000-8000-000000000001", "before": "active", "after": "disabled",
        "cursor": "AAABl2R24xgAAAAAAAAAKgAAAAAAAAAH"
    }],
    "total": 1, "totalIsEstimate": false, "next": null
}))]
struct ChangesPage {
    /// Newest first.
    #[schema(max_items = 500)]
    changes: Vec<ChangeEntry>,
    /// How many match; exact up to 10,000.
    total: u64,
    /// There are more than 10,000, and `total` is a guess.
    total_is_estimate: bool,
    /// Where the next page goes on; null at the end.
    next: Option<String>,
}

/// Administrative changes
///
/// What was done to the agents that you own, whoever did it, and what you did yourself: who, what, before and
/// after. Each is in the journal before it is made; what the journal holds only the beginning of has the phase
/// `intent`.
#[utoipa::path(
    get, path = "/api/audit/changes", operation_id = "queryChanges", tag = "Audit", params(ChangesQuery),
    responses((status = 200, body = ChangesPage), Refusals),
    security(("session" = []), ("token" = ["audit:read"])),
)]
async fn query_changes(
    State(state): State<ApiState>,
    signed: Signed<need::AuditRead>,
    Query(query): Query<ChangesQuery>,
) -> Result<Json<ChangesPage>, Problem> {
    let store = state.admin.store();
    let (limit, offset, place) = page(query.limit, query.offset, query.before, query.after)?;
    let account = signed.caller.account;
    let owned = match store.audit().sight(account.id).await? {
        Sight::Account { owned, .. } => owned,
        Sight::Everything => Vec::new(),
    };
    let filter = ChangeFilter {
        sight: Some((owned, account.email)),
        from: query.from,
        to: query.to,
        agent: query.agent,
        what: searched("query.what", query.what.as_deref())?,
        target: searched("query.target", query.target.as_deref())?,
        account: query.account,
        limit,
        offset,
        place,
    };
    let found = store.changes().query(&filter).await?;
    Ok(Json(ChangesPage {
        changes: found.rows.into_iter().map(|(cursor, row)| ChangeEntry::of(cursor, row)).collect(),
        total: found.total.count,
        total_is_estimate: found.total.estimated,
        next: found.next.map(|cursor| cursor.to_string()),
    }))
}

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(query_changes))
}
