//! `/api/agents/{id}/members/{memberId}/key`: generated, rotated, revoked, given up as lost.
//!
//! Invariant: a key is made by its member alone and shown in one answer only.

use axum::extract::State;
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::ApiState;
use super::access::{MemberSeen, need};
use super::agents::suffix;
use super::extract::Json;
use super::problem::{Problem, Refusals};
use crate::control::reply::ShownOnce;
use crate::model::{KeyId, Timestamp};

/// A key that was just made: the only time that it is seen.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = MintedKey, example = json!({
    "key": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYX", "id": "0190b5a0-0000-7000-8000-000000000003",
    "displaySuffix": "…FRYX", "createdAt": "2026-06-12T14:02:11.000Z",
    "url": "http://127.0.0.1:7400/mcp", "replaced": null, "hindrances": []
}))]
struct MintedKeyBody {
    /// For `Authorization: Bearer …` of the member's MCP client.
    #[schema(value_type = String)]
    key: ShownOnce,
    /// As the audit has it (`memberKeyId`).
    #[schema(value_type = String, format = Uuid)]
    id: KeyId,
    display_suffix: String,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// Where MCP clients connect.
    url: String,
    /// The key that stopped working through this.
    #[schema(value_type = Option<String>, format = Uuid)]
    replaced: Option<KeyId>,
    /// Why calls with the key would be refused as things stand, if so.
    hindrances: Vec<String>,
}

/// Generate or rotate the member key (self)
///
/// Takes an approved membership. The key is shown once; the one before it stops at once.
#[utoipa::path(
    put, path = "/api/agents/{id}/members/{memberId}/key", operation_id = "replaceKey", tag = "Keys",
    params(
        ("id" = uuid::Uuid, Path, description = "The agent"),
        ("memberId" = uuid::Uuid, Path, description = "The member"),
    ),
    responses((status = 200, body = MintedKeyBody), Refusals),
    security(("session" = []), ("token" = ["keys:write"])),
)]
async fn replace_key(
    State(state): State<ApiState>,
    seen: MemberSeen<need::KeysWrite>,
) -> Result<Json<MintedKeyBody>, Problem> {
    let seen = seen.own()?;
    let minted = state.admin.replace_key(seen.caller.operator(), &seen.agent, seen.member.id).await?;
    Ok(Json(MintedKeyBody {
        key: minted.key,
        id: minted.record.id,
        display_suffix: suffix(&minted.record.display_suffix),
        created_at: minted.record.created_at,
        url: minted.url,
        replaced: minted.revoked.first().copied(),
        hindrances: minted.hindrances,
    }))
}

/// Revoke the key (the member, or the owner)
///
/// It answers 401 once this is answered, and its open streams are cut.
#[utoipa::path(
    delete, path = "/api/agents/{id}/members/{memberId}/key", operation_id = "revokeKey", tag = "Keys",
    params(
        ("id" = uuid::Uuid, Path, description = "The agent"),
        ("memberId" = uuid::Uuid, Path, description = "The member"),
    ),
    responses((status = 204, description = "The key opens nothing any more"), Refusals),
    security(("session" = []), ("token" = ["keys:write"])),
)]
async fn revoke_key(
    State(state): State<ApiState>,
    seen: MemberSeen<need::KeysWrite>,
) -> Result<StatusCode, Problem> {
    let key = state.admin.store().keys().live_of(seen.member.id).await?;
    let key = key.ok_or_else(|| Problem::not_found("key"))?;
    state.admin.revoke_key(seen.caller.operator(), "key.revoke", key.id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What giving up a lost key came to.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ResetKey, example = json!({"revoked": "0190b5a0-0000-7000-8000-000000000003", "connectionsCleared": 0}))]
struct ResetKeyBody {
    /// The lost key, where there was one that worked.
    #[schema(value_type = Option<String>, format = Uuid)]
    revoked: Option<KeyId>,
    /// Connections that only the lost key could open: none are stored in this release.
    connections_cleared: u64,
}

/// Reset a lost key (self)
///
/// The lost key stops at once. Generate another one with `PUT …/key`.
#[utoipa::path(
    post, path = "/api/agents/{id}/members/{memberId}/key/reset-lost", operation_id = "resetLostKey", tag = "Keys",
    params(
        ("id" = uuid::Uuid, Path, description = "The agent"),
        ("memberId" = uuid::Uuid, Path, description = "The member"),
    ),
    responses((status = 200, body = ResetKeyBody), Refusals),
    security(("session" = []), ("token" = ["keys:write"])),
)]
async fn reset_lost(
    State(state): State<ApiState>,
    seen: MemberSeen<need::KeysWrite>,
) -> Result<Json<ResetKeyBody>, Problem> {
    let seen = seen.own()?;
    let key = state.admin.store().keys().live_of(seen.member.id).await?;
    if let Some(key) = &key {
        state.admin.revoke_key(seen.caller.operator(), "key.reset", key.id).await?;
    }
    Ok(Json(ResetKeyBody { revoked: key.map(|key| key.id), connections_cleared: 0 }))
}

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(replace_key, revoke_key)).routes(routes!(reset_lost))
}
