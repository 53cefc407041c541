//! API tokens, for automation: made, listed, revoked by the person whose account they speak for.
//!
//! Invariants: no token makes, sees or ends a token; a token is shown in the answer that makes it and
//! nowhere else.

use axum::extract::State;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::ApiState;
use super::access::{Open, Person};
use super::extract::{Json, Query};
use super::page::Page;
use super::part::Part;
use super::problem::{Problem, Refusals};
use crate::control::admin::accounts::{TOKEN_DAYS_MAX, TOKEN_NAME_CHARACTERS_MAX};
use crate::control::reply::TokenView;
use crate::model::{Scope, TokenId};

/// A token to make.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = NewToken, example = json!({"name": "nightly export", "scopes": ["audit:read"], "expiresInDays": 90}))]
pub(super) struct NewToken {
    /// What it is for; to know it again.
    #[schema(
        min_length = 1,
        max_length = 100,
        pattern = r"^[^\s\x00-\x1f\x7f-\x9f]([^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f])?$"
    )]
    name: String,
    /// What it opens, of what the account may do anyway. Never changed afterwards.
    #[schema(min_items = 1, max_items = 13)]
    scopes: Vec<Scope>,
    /// Days until it is over.
    #[schema(minimum = 1, maximum = 366)]
    expires_in_days: u32,
}

/// A token that was just made: the only time that it is seen.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = MadeToken, example = json!({
    "token": "wkt_mB3rX0wYc1pNnV8sZ5uKQ7hT2dLfG9jAe4iOoRxW6yE",
    "id": "0190b5a0-0000-7000-8000-000000000001", "name": "nightly export", "scopes": ["audit:read"],
    "displaySuffix": "W6yE", "createdAt": "2026-06-12T14:02:11.000Z", "expiresAt": "2026-09-10T14:02:11.000Z",
    "lastUsedAt": null, "revokedAt": null}))]
pub(super) struct MadeToken {
    /// Send it as `Authorization: Bearer …`. It is not kept and not shown again.
    token: String,
    #[serde(flatten)]
    record: TokenView,
}

/// Which part of the list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct TokensAsked {
    /// How many; 50 where none is said.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<u32>,
    /// From which one on.
    #[param(minimum = 0, maximum = 1_000_000)]
    offset: Option<u64>,
}

/// An account's tokens.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Tokens, example = json!({"tokens": [{
    "id": "0190b5a0-0000-7000-8000-000000000001", "name": "nightly export", "scopes": ["audit:read"],
    "displaySuffix": "W6yE", "createdAt": "2026-06-12T14:02:11.000Z", "expiresAt": "2026-09-10T14:02:11.000Z",
    "lastUsedAt": "2026-06-13T02:00:00.000Z", "revokedAt": null}], "total": 1}))]
pub(super) struct TokensBody {
    /// Newest first; those that were revoked or are over too, for 30 days.
    tokens: Vec<TokenView>,
    total: u64,
}

/// What a token can open.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ScopeInfo)]
pub(super) struct ScopeBody {
    scope: Scope,
    /// What it opens, for people.
    description: &'static str,
}

/// Every scope.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Scopes, example = json!({"scopes": [{"scope": "agents:read",
    "description": "Agents, their connectors and onboarding, the catalogue and connectors' metadata: read."}]}))]
pub(super) struct ScopesBody {
    scopes: Vec<ScopeBody>,
}

/// List your API tokens
///
/// Their records; the tokens themselves are nowhere.
#[utoipa::path(
    get, path = "/api/tokens", operation_id = "listTokens", tag = "Tokens", params(TokensAsked),
    responses((status = 200, body = TokensBody), Refusals),
    security(("session" = [])),
)]
async fn list_tokens(
    State(state): State<ApiState>,
    person: Person,
    Query(asked): Query<TokensAsked>,
) -> Result<Json<TokensBody>, Problem> {
    let page = Page::of(asked.limit, asked.offset)?;
    let tokens = state.admin.store().tokens();
    let (rows, total) = tokens.list(person.caller.account.id, page.limit.into(), page.offset).await?;
    Ok(Json(TokensBody { tokens: rows.iter().map(TokenView::of).collect(), total }))
}

/// Make an API token
#[utoipa::path(
    post, path = "/api/tokens", operation_id = "createToken", tag = "Tokens",
    request_body = NewToken,
    responses((status = 201, body = MadeToken), Refusals),
    security(("session" = [])),
)]
async fn create_token(
    State(state): State<ApiState>,
    person: Person,
    Json(asked): Json<NewToken>,
) -> Result<(StatusCode, Json<MadeToken>), Problem> {
    if asked.name.trim().is_empty() || asked.name.chars().count() > TOKEN_NAME_CHARACTERS_MAX {
        return Err(Problem::field(
            "body.name",
            format!("1 to {TOKEN_NAME_CHARACTERS_MAX} characters are taken"),
        ));
    }
    if asked.scopes.is_empty() || asked.scopes.len() > Scope::ALL.len() {
        return Err(Problem::field("body.scopes", format!("1 to {} scopes are taken", Scope::ALL.len())));
    }
    if asked.expires_in_days == 0 || asked.expires_in_days > TOKEN_DAYS_MAX {
        return Err(Problem::field("body.expiresInDays", format!("1 to {TOKEN_DAYS_MAX} days are taken")));
    }
    let caller = person.caller;
    let (name, days) = (asked.name.as_str(), asked.expires_in_days);
    let minted =
        state.admin.create_token(caller.operator(), &caller.account, name, asked.scopes, days).await?;
    let made = MadeToken { token: minted.token.expose().to_owned(), record: minted.record };
    Ok((StatusCode::CREATED, Json(made)))
}

/// Revoke an API token
///
/// Its next request is refused. One that was revoked already stays so.
#[utoipa::path(
    delete, path = "/api/tokens/{tokenId}", operation_id = "revokeToken", tag = "Tokens",
    params(("tokenId" = String, Path, format = Uuid, description = "From the list of your tokens")),
    responses((status = 204, description = "The token is revoked"), Refusals),
    security(("session" = [])),
)]
async fn revoke_token(
    State(state): State<ApiState>,
    person: Person,
    Part(id): Part<TokenId>,
) -> Result<StatusCode, Problem> {
    let caller = person.caller;
    state.admin.revoke_token(caller.operator(), id, Some(caller.account.id)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What a token can open
#[utoipa::path(
    get, path = "/api/tokens/scopes", operation_id = "listScopes", tag = "Tokens",
    responses((status = 200, body = ScopesBody), Refusals), security(()),
)]
async fn list_scopes(_open: Open) -> Json<ScopesBody> {
    let scope = |scope: &Scope| ScopeBody { scope: *scope, description: scope.about() };
    Json(ScopesBody { scopes: Scope::ALL.iter().map(scope).collect() })
}

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(list_tokens, create_token))
        .routes(routes!(list_scopes))
        .routes(routes!(revoke_token))
}
