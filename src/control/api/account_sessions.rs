//! The browsers in which an account is signed in: seen, and signed out from afar.

use axum::extract::State;
use axum::response::IntoResponse as _;
use http::{Response, StatusCode};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::ApiState;
use super::access::{Person, Signed, need};
use super::auth::forget_cookie;
use super::caller::Via;
use super::extract::Json;
use super::part::Part;
use super::problem::{Problem, Refusals};
use crate::model::{Timestamp, WebSessionId};
use crate::store::WebSessionRow;

/// A browser that is signed in.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AccountSession)]
pub(super) struct SessionBody {
    #[schema(value_type = String, format = Uuid)]
    id: WebSessionId,
    /// Whether it is the one that asks.
    current: bool,
    /// What the browser called itself when it signed in.
    user_agent: String,
    /// Where it signed in from.
    caller_ip: String,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// May lag by a minute.
    #[schema(value_type = String, format = DateTime)]
    last_seen_at: Timestamp,
    /// When it is over, however much it is used.
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
}

impl SessionBody {
    fn of(row: WebSessionRow, asking: Option<WebSessionId>) -> Self {
        Self {
            id: row.id,
            current: asking == Some(row.id),
            user_agent: row.user_agent,
            caller_ip: row.caller_ip.to_string(),
            created_at: row.created_at,
            last_seen_at: row.last_seen_at,
            expires_at: row.expires_at,
        }
    }
}

/// Browsers that are signed in.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AccountSessions, example = json!({"sessions": [{
    "id": "0190b5a0-0000-7000-8000-000000000001", "current": true, "userAgent": "Mozilla/5.0",
    "callerIp": "192.0.2.7", "createdAt": "2026-06-12T09:00:00.000Z", "lastSeenAt": "2026-06-12T14:02:00.000Z",
    "expiresAt": "2026-06-19T09:00:00.000Z"}], "total": 1}))]
pub(super) struct SessionsBody {
    /// Last seen first; at most 20.
    sessions: Vec<SessionBody>,
    total: u64,
}

/// How many were ended.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SessionsEnded, example = json!({"ended": 2}))]
pub(super) struct EndedBody {
    ended: u64,
}

const fn asking(via: &Via) -> Option<WebSessionId> {
    match via {
        Via::Session(id) => Some(*id),
        Via::Token { .. } => None,
    }
}

/// Active dashboard sessions for your account
#[utoipa::path(
    get, path = "/api/users/me/sessions", operation_id = "listAccountSessions", tag = "Account",
    responses((status = 200, body = SessionsBody), Refusals),
    security(("session" = []), ("token" = ["account:read"])),
)]
async fn list_my_sessions(
    State(state): State<ApiState>,
    signed: Signed<need::AccountRead>,
) -> Result<Json<SessionsBody>, Problem> {
    let (account, now) = (signed.caller.account.id, Timestamp::now());
    let seen_after = now.plus_millis(-state.settings.sessions.idle_ms_max);
    let rows = state.admin.store().web_sessions().live(account, now, seen_after).await?;
    let current = asking(&signed.caller.via);
    let sessions: Vec<_> = rows.into_iter().map(|row| SessionBody::of(row, current)).collect();
    Ok(Json(SessionsBody { total: sessions.len() as u64, sessions }))
}

/// Sign one browser out
///
/// Holds from that browser's next request on. It may be the one that asks.
#[utoipa::path(
    delete, path = "/api/users/me/sessions/{sessionId}", operation_id = "endMySession", tag = "Account",
    params(("sessionId" = String, Path, format = Uuid, description = "From the list of your sessions")),
    responses((status = 204, description = "The session is ended"), Refusals),
    security(("session" = [])),
)]
async fn end_my_session(
    State(state): State<ApiState>,
    person: Person,
    Part(id): Part<WebSessionId>,
) -> Result<Response<axum::body::Body>, Problem> {
    let caller = person.caller;
    state.admin.end_session(caller.operator(), &caller.account, id).await?;
    let mut response = StatusCode::NO_CONTENT.into_response();
    if asking(&caller.via) == Some(id) {
        forget_cookie(&state, response.headers_mut());
    }
    Ok(response)
}

/// Sign all other browsers out
///
/// All but the one that asks; tokens stay.
#[utoipa::path(
    delete, path = "/api/users/me/sessions", operation_id = "endMyOtherSessions", tag = "Account",
    responses((status = 200, body = EndedBody), Refusals),
    security(("session" = [])),
)]
async fn end_my_other_sessions(
    State(state): State<ApiState>,
    person: Person,
) -> Result<Json<EndedBody>, Problem> {
    let caller = person.caller;
    // A person has a session: that is how they are known to be one.
    let Some(kept) = asking(&caller.via) else { return Ok(Json(EndedBody { ended: 0 })) };
    let ended = state.admin.end_other_sessions(caller.operator(), &caller.account, kept).await?;
    Ok(Json(EndedBody { ended }))
}

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(list_my_sessions, end_my_other_sessions))
        .routes(routes!(end_my_session))
}
