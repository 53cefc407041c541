//! `/api/agents/{id}/policies`: stored policies, listed, made, shown, changed, switched, rolled back, deleted;
//! their versions; drafts previewed.
//!
//! Invariants: for the agent's owner alone, whatever the agent's kind (specification 1.2: members of a trusted
//! agent see no policy's identity); whoever sends back what was read never undoes what another did meanwhile:
//! a policy is replaced only by who names the version that was seen.

mod body;

use axum::extract::State;
use http::StatusCode;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use self::body::{RollbackBody, ToggleBody, in_form};
use super::ApiState;
use super::access::{AgentOwned, need};
use super::extract::{Json, Optional, Query};
use super::page::{Page, SortDir};
use super::part::{IfMatch, Part, Versioned, search};
use super::problem::{Code, Problem, ProblemBody, Refusals};
use crate::control::policies::{Policies, PolicyDraft, PolicyPreview, PolicyVersions, PolicyView};
use crate::control::{AdminFault, FaultKind};
use crate::model::{MemberId, PolicyEffect, PolicyId, PolicyMode, ServiceKey};
use crate::store::{PolicyQuery, PolicyRow, PolicySort};

/// What policies are sorted by.
#[derive(Debug, Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
enum SortBy {
    /// In any case.
    #[default]
    Name,
    CreatedAt,
    UpdatedAt,
    Service,
    Effect,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// Part of the name or of the key, in any case
    #[param(max_length = 100, pattern = r"^[^\x00-\x1f\x7f-\x9f]*$")]
    search: Option<String>,
    /// Those of this connector
    #[param(value_type = Option<String>, max_length = 32, pattern = "^[a-z][a-z0-9-]{0,31}$")]
    service: Option<ServiceKey>,
    /// Those that permit, or those that forbid
    #[param(inline)]
    effect: Option<PolicyEffect>,
    /// Those that are enabled, or those that are not
    enabled: Option<bool>,
    /// Those of this member, under an untrusted agent
    #[param(value_type = Option<uuid::Uuid>)]
    member_id: Option<MemberId>,
    /// Those that do this now; `off` are those that are not enabled
    #[param(inline)]
    mode: Option<PolicyMode>,
    /// What the list is sorted by
    #[param(inline)]
    sort_by: Option<SortBy>,
    /// Which way; `asc` where absent
    #[param(inline)]
    sort_dir: Option<SortDir>,
    /// Policies of the answer; 50 where absent
    #[param(minimum = 1, maximum = 500)]
    limit: Option<u32>,
    /// Policies that are passed over
    #[param(maximum = 1_000_000)]
    offset: Option<u64>,
}

/// List policies (owner)
///
/// Those that are stored for the agent. The files' guardrails, which hold for every agent, are not among them.
#[utoipa::path(
    get, path = "/api/agents/{id}/policies", operation_id = "listPolicies", tag = "Policies",
    params(("id" = uuid::Uuid, Path, description = "The agent"), ListQuery),
    responses((status = 200, body = Policies), Refusals),
    security(("session" = []), ("token" = ["policies:read"])),
)]
async fn list_policies(
    State(state): State<ApiState>,
    owned: AgentOwned<need::PoliciesRead>,
    Query(query): Query<ListQuery>,
) -> Result<Json<Policies>, Problem> {
    let page = Page::of(query.limit, query.offset)?;
    let query = PolicyQuery {
        agent: owned.agent.id,
        search: search(query.search)?,
        service: query.service,
        effect: query.effect,
        enabled: query.enabled,
        member: query.member_id,
        mode: query.mode,
        sort: match query.sort_by.unwrap_or_default() {
            SortBy::Name => PolicySort::Name,
            SortBy::CreatedAt => PolicySort::CreatedAt,
            SortBy::UpdatedAt => PolicySort::UpdatedAt,
            SortBy::Service => PolicySort::Service,
            SortBy::Effect => PolicySort::Effect,
        },
        descending: matches!(query.sort_dir, Some(SortDir::Desc)),
        limit: page.limit.into(),
        offset: page.offset,
    };
    Ok(Json(state.admin.policy_page(&query).await?))
}

/// Create a policy (owner)
///
/// By its fields, or as `cedar`. It is compiled and tried with the agent's whole set first; what would not load
/// is refused with every fault (422). It decides the next call once this is answered.
#[utoipa::path(
    post, path = "/api/agents/{id}/policies", operation_id = "createPolicy", tag = "Policies",
    request_body = PolicyDraft, params(("id" = uuid::Uuid, Path, description = "The agent")),
    responses(
        (status = 201, body = PolicyView, headers(
            ("etag" = String, description = "Its version, for `If-Match`"),
            ("location" = String, description = "Its path"),
        )),
        Refusals,
    ),
    security(("session" = []), ("token" = ["policies:write"])),
)]
async fn create_policy(
    State(state): State<ApiState>,
    owned: AgentOwned<need::PoliciesWrite>,
    Json(draft): Json<PolicyDraft>,
) -> Result<Versioned<PolicyView>, Problem> {
    in_form(&draft)?;
    let row = state.admin.create_policy(owned.caller.operator(), &owned.agent, &draft).await?;
    let made_at = Some(format!("/api/agents/{}/policies/{}", owned.agent.id, row.id));
    Ok(Versioned { made_at, ..shown(&state, &row).await? })
}

/// A policy (owner)
#[utoipa::path(
    get, path = "/api/agents/{id}/policies/{policyId}", operation_id = "getPolicy", tag = "Policies",
    params(
        ("id" = uuid::Uuid, Path, description = "The agent"),
        ("policyId" = String, Path, description = "The policy, as `p_…`", max_length = 64),
    ),
    responses(
        (status = 200, body = PolicyView, headers(("etag" = String, description = "Its version, for `If-Match`"))),
        Refusals,
    ),
    security(("session" = []), ("token" = ["policies:read"])),
)]
async fn get_policy(
    State(state): State<ApiState>,
    owned: AgentOwned<need::PoliciesRead>,
    Part(id): Part<PolicyId>,
) -> Result<Versioned<PolicyView>, Problem> {
    let row = state.admin.store().policies().get(owned.agent.id, id).await?;
    shown(&state, &row).await
}

/// Update a policy (owner)
///
/// The policy says this and nothing else from the next call on; `enabled` and `mode` stay where they are absent.
/// It takes the version that was seen, as `If-Match` or as `version` of the body: one that somebody replaced
/// meanwhile is not replaced (412), and without either nothing is (428).
#[utoipa::path(
    put, path = "/api/agents/{id}/policies/{policyId}", operation_id = "updatePolicy", tag = "Policies",
    request_body = PolicyDraft,
    params(
        ("id" = uuid::Uuid, Path, description = "The agent"),
        ("policyId" = String, Path, description = "The policy, as `p_…`", max_length = 64),
        ("if-match" = Option<String>, Header, description = "An `ETag` of the policy, or several", pattern = r#"^(\*|(W/)?"[!#-~]*")$"#),
    ),
    responses(
        (status = 200, body = PolicyView, headers(("etag" = String, description = "Its version, for `If-Match`"))),
        (status = 428, description = "`version_missing`: neither `If-Match` nor `version` is given",
            body = ProblemBody, content_type = "application/problem+json",
            example = json!({
                "type": "/api/docs/errors#version_missing", "title": "The version that was seen is not given",
                "status": 428, "code": "version_missing",
                "detail": "neither `If-Match` nor `version` says which version is replaced",
                "help": "read the policy, and send back its `ETag` as `If-Match`",
                "requestId": "019700a3-5c00-7c3e-9a41-0e8f6b2d7c11"
            })),
        Refusals,
    ),
    security(("session" = []), ("token" = ["policies:write"])),
)]
async fn update_policy(
    State(state): State<ApiState>,
    owned: AgentOwned<need::PoliciesWrite>,
    Part(id): Part<PolicyId>,
    condition: IfMatch,
    Json(draft): Json<PolicyDraft>,
) -> Result<Versioned<PolicyView>, Problem> {
    in_form(&draft)?;
    if !condition.is_given() && draft.version.is_none() {
        let detail = "neither `If-Match` nor `version` says which version is replaced";
        let problem = Problem::new(Code::VersionMissing, detail);
        return Err(problem.with_help("read the policy, and send back its `ETag` as `If-Match`"));
    }
    let admits =
        |version: u32| condition.admits_number(version) && draft.version.is_none_or(|seen| seen == version);
    let admin = &state.admin;
    let row = admin.update_policy(owned.caller.operator(), &owned.agent, id, &draft, &admits).await;
    shown(&state, &row.map_err(outdated)?).await
}

/// Delete a policy (owner)
///
/// With its versions; what it was stays in the audit of changes. One whose hits another policy counts is a
/// conflict.
#[utoipa::path(
    delete, path = "/api/agents/{id}/policies/{policyId}", operation_id = "deletePolicy", tag = "Policies",
    params(
        ("id" = uuid::Uuid, Path, description = "The agent"),
        ("policyId" = String, Path, description = "The policy, as `p_…`", max_length = 64),
        ("if-match" = Option<String>, Header, description = "An `ETag` of the policy, or several", pattern = r#"^(\*|(W/)?"[!#-~]*")$"#),
    ),
    responses((status = 204, description = "It is gone, and decides no call any more"), Refusals),
    security(("session" = []), ("token" = ["policies:write"])),
)]
async fn delete_policy(
    State(state): State<ApiState>,
    owned: AgentOwned<need::PoliciesWrite>,
    Part(id): Part<PolicyId>,
    condition: IfMatch,
) -> Result<StatusCode, Problem> {
    let admits = |version: u32| condition.admits_number(version);
    let gone = state.admin.delete_policy(owned.caller.operator(), &owned.agent, id, &admits).await;
    gone.map_err(outdated)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Enable or disable a policy without deleting it (owner)
///
/// Without a body, the other of the two. It is a version more, and holds for the next call.
#[utoipa::path(
    post, path = "/api/agents/{id}/policies/{policyId}/toggle", operation_id = "togglePolicy", tag = "Policies",
    request_body(content = Option<ToggleBody>, example = json!({"enabled": false})),
    params(
        ("id" = uuid::Uuid, Path, description = "The agent"),
        ("policyId" = String, Path, description = "The policy, as `p_…`", max_length = 64),
        ("if-match" = Option<String>, Header, description = "An `ETag` of the policy, or several", pattern = r#"^(\*|(W/)?"[!#-~]*")$"#),
    ),
    responses(
        (status = 200, body = PolicyView, headers(("etag" = String, description = "Its version, for `If-Match`"))),
        Refusals,
    ),
    security(("session" = []), ("token" = ["policies:write"])),
)]
async fn toggle_policy(
    State(state): State<ApiState>,
    owned: AgentOwned<need::PoliciesWrite>,
    Part(id): Part<PolicyId>,
    condition: IfMatch,
    Optional(body): Optional<ToggleBody>,
) -> Result<Versioned<PolicyView>, Problem> {
    let admits = |version: u32| condition.admits_number(version);
    let (operator, enabled) = (owned.caller.operator(), body.map(|body| body.enabled));
    let row = state.admin.toggle_policy(operator, &owned.agent, id, enabled, &admits).await;
    shown(&state, &row.map_err(outdated)?).await
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct VersionsQuery {
    /// Versions of the answer; 50 where absent
    #[param(minimum = 1, maximum = 500)]
    limit: Option<u32>,
    /// Versions that are passed over
    #[param(maximum = 1_000_000)]
    offset: Option<u64>,
}

/// A policy's versions, with what each said (owner)
///
/// Newest first, all of them: who saved it, what it was, and what it changed of the version before.
#[utoipa::path(
    get, path = "/api/agents/{id}/policies/{policyId}/versions", operation_id = "listPolicyVersions",
    tag = "Policies",
    params(
        ("id" = uuid::Uuid, Path, description = "The agent"),
        ("policyId" = String, Path, description = "The policy, as `p_…`", max_length = 64),
        VersionsQuery,
    ),
    responses((status = 200, body = PolicyVersions), Refusals),
    security(("session" = []), ("token" = ["policies:read"])),
)]
async fn list_versions(
    State(state): State<ApiState>,
    owned: AgentOwned<need::PoliciesRead>,
    Part(id): Part<PolicyId>,
    Query(query): Query<VersionsQuery>,
) -> Result<Json<PolicyVersions>, Problem> {
    let page = Page::of(query.limit, query.offset)?;
    let part = (page.limit.into(), page.offset);
    Ok(Json(state.admin.policy_versions(&owned.agent, id, part).await.map_err(outdated)?))
}

/// Go back to an earlier version (owner)
///
/// What that version said is saved as the newest one; nothing of the history is lost. Whether the policy is
/// enabled stays as it is.
#[utoipa::path(
    post, path = "/api/agents/{id}/policies/{policyId}/rollback", operation_id = "rollBackPolicy",
    tag = "Policies", request_body = RollbackBody,
    params(
        ("id" = uuid::Uuid, Path, description = "The agent"),
        ("policyId" = String, Path, description = "The policy, as `p_…`", max_length = 64),
        ("if-match" = Option<String>, Header, description = "An `ETag` of the policy, or several", pattern = r#"^(\*|(W/)?"[!#-~]*")$"#),
    ),
    responses(
        (status = 200, body = PolicyView, headers(("etag" = String, description = "Its version, for `If-Match`"))),
        Refusals,
    ),
    security(("session" = []), ("token" = ["policies:write"])),
)]
async fn roll_back_policy(
    State(state): State<ApiState>,
    owned: AgentOwned<need::PoliciesWrite>,
    Part(id): Part<PolicyId>,
    condition: IfMatch,
    Json(body): Json<RollbackBody>,
) -> Result<Versioned<PolicyView>, Problem> {
    let admits = |version: u32| condition.admits_number(version);
    if body.version == 0 {
        return Err(Problem::field("body.version", "1 is the first one"));
    }
    let operator = owned.caller.operator();
    let row = state.admin.roll_back_policy(operator, &owned.agent, id, body.version, &admits).await;
    shown(&state, &row.map_err(outdated)?).await
}

/// Compile a draft to Cedar without saving it (owner)
///
/// It is tried as it would be where it was saved: what is answered loads. With the tools and members that it
/// touches as things stand, and what its author should know. With `policyId`, in the place of that policy.
#[utoipa::path(
    post, path = "/api/agents/{id}/policies/preview", operation_id = "previewPolicy", tag = "Policies",
    request_body = PolicyDraft, params(("id" = uuid::Uuid, Path, description = "The agent")),
    responses((status = 200, body = PolicyPreview), Refusals),
    security(("session" = []), ("token" = ["policies:read"])),
)]
async fn preview_policy(
    State(state): State<ApiState>,
    owned: AgentOwned<need::PoliciesRead>,
    Json(draft): Json<PolicyDraft>,
) -> Result<Json<PolicyPreview>, Problem> {
    in_form(&draft)?;
    Ok(Json(state.admin.preview_policy(&owned.agent, &draft).await?))
}

/// Somebody else was faster, in the words of this route.
fn outdated(fault: AdminFault) -> Problem {
    if fault.kind == FaultKind::Outdated {
        return Problem::new(Code::VersionMismatch, fault.message).with_help(
            "read the policy again, make your change on what it is now, and send that with its `ETag`",
        );
    }
    if fault.kind == FaultKind::NotFound {
        return Problem::not_found("policy or version");
    }
    fault.into()
}

async fn shown(state: &ApiState, row: &PolicyRow) -> Result<Versioned<PolicyView>, Problem> {
    let body = state.admin.policy_view(row).await?;
    Ok(Versioned { version: format!("\"{}\"", row.version), made_at: None, body })
}

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(list_policies, create_policy))
        .routes(routes!(preview_policy))
        .routes(routes!(get_policy, update_policy, delete_policy))
        .routes(routes!(toggle_policy))
        .routes(routes!(list_versions))
        .routes(routes!(roll_back_policy))
}
