//! `auth/status` and `auth/logout`: who is signed in by this request, and no longer being so.
//!
//! Invariant: the session's word is given to the session alone, never to a token.

use axum::extract::State;
use axum::response::IntoResponse as _;
use http::{HeaderMap, Response, StatusCode, header};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::ApiState;
use super::access::{Person, Whoever, need};
use super::caller::cookie::Cookie;
use super::caller::{Caller, Via, claims};
use super::extract::Json;
use super::problem::{Problem, Refusals};
use crate::model::{Account, AccountId, AccountStatus, EmailAddress, Scope, Timestamp};

/// An account, for itself.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Account)]
pub(super) struct AccountBody {
    #[schema(value_type = String, format = Uuid)]
    id: AccountId,
    /// In lower case.
    #[schema(value_type = String, format = Email)]
    email: EmailAddress,
    status: AccountStatus,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
}

impl From<Account> for AccountBody {
    fn from(account: Account) -> Self {
        let Account { id, email, status, created_at } = account;
        Self { id, email, status, created_at }
    }
}

/// By what the account was known.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum ViaBody {
    /// A signed-in browser's cookie.
    Session,
    /// An API token.
    Token,
}

/// Who is signed in.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AuthStatus)]
pub(super) struct AuthBody {
    /// False: nobody is, and nothing else is said.
    authenticated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<AccountBody>,
    #[serde(skip_serializing_if = "Option::is_none")]
    via: Option<ViaBody>,
    /// What the session's page sends as `x-csrf-token` with each `POST`, `PUT` and `DELETE`; for sessions
    /// alone, and the same for as long as the session lasts.
    #[serde(skip_serializing_if = "Option::is_none")]
    csrf_token: Option<String>,
    /// When this is over unless it is used; a session's later requests move it on, up to a bound.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
    /// What a token opens.
    #[serde(skip_serializing_if = "Option::is_none")]
    scopes: Option<Vec<Scope>>,
}

impl AuthBody {
    const NOBODY: Self = Self {
        authenticated: false,
        account: None,
        via: None,
        csrf_token: None,
        expires_at: None,
        scopes: None,
    };

    /// What is said of a caller.
    pub(super) fn of(caller: Caller) -> Self {
        let (via, scopes) = match caller.via {
            Via::Session(_) => (ViaBody::Session, None),
            Via::Token { scopes, .. } => (ViaBody::Token, Some(scopes)),
        };
        Self {
            authenticated: true,
            account: Some(caller.account.into()),
            via: Some(via),
            csrf_token: caller.word.map(|word| word.expose().to_owned()),
            expires_at: Some(caller.expires_at),
            scopes,
        }
    }
}

/// Current session state
///
/// Answers anybody. A browser that sends a cookie which no longer opens is told to forget it.
#[utoipa::path(
    get, path = "/api/auth/status", operation_id = "getAuthStatus", tag = "Account",
    responses(
        (status = 200, body = AuthBody, examples(
            ("nobody" = (value = json!({"authenticated": false}))),
            ("a browser" = (value = json!({
                "authenticated": true,
                "account": {"id": "0190b5a0-0000-7000-8000-000000000001", "email": "ann@example.com",
                    "status": "active", "createdAt": "2026-06-01T08:00:00.000Z"},
                "via": "session",
                "csrfToken": "q0Yq3uWm6gkHnq0b4cQeU0d8m2s7v1xJrT5zLw9aBcE",
                "expiresAt": "2026-06-13T02:02:11.000Z"
            }))),
        )),
        Refusals,
    ),
    security((), ("session" = []), ("token" = ["account:read"])),
)]
async fn get_auth_status(
    State(state): State<ApiState>,
    whoever: Whoever<need::AccountRead>,
    headers: HeaderMap,
) -> Response<axum::body::Body> {
    let Some(caller) = whoever.caller else {
        let mut response = Json(AuthBody::NOBODY).into_response();
        if claims(&state, &headers) {
            forget_cookie(&state, response.headers_mut());
        }
        return response;
    };
    Json(AuthBody::of(caller)).into_response()
}

/// End the session
///
/// The session of this request, and no other; its cookie opens nothing from the answer on.
#[utoipa::path(
    post, path = "/api/auth/logout", operation_id = "logout", tag = "Account",
    responses((status = 204, description = "The session is ended"), Refusals),
    security(("session" = [])),
)]
async fn logout(
    State(state): State<ApiState>,
    person: Person,
) -> Result<Response<axum::body::Body>, Problem> {
    let caller = person.caller;
    if let Via::Session(id) = caller.via {
        state.admin.end_session(caller.operator(), &caller.account, id).await?;
    }
    let mut response = StatusCode::NO_CONTENT.into_response();
    forget_cookie(&state, response.headers_mut());
    Ok(response)
}

/// Has the browser forget the session's cookie.
pub(super) fn forget_cookie(state: &ApiState, headers: &mut HeaderMap) {
    if let Some(cookie) = Cookie::forget(&state.settings.public_url) {
        headers.append(header::SET_COOKIE, cookie);
    }
}

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(get_auth_status)).routes(routes!(logout))
}
