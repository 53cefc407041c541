//! `/api/agents`: listed, made, shown, edited, switched off and on, given connectors, deleted.

mod body;

use std::collections::BTreeSet;

use axum::extract::State;
use http::StatusCode;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use self::body::{AgentBody, AgentsBody, EditAgentBody, NewAgentBody, ServicesBody, StatusBody};
pub(super) use self::body::{ConnectionBody, KeyBody, suffix};
use super::ApiState;
use super::access::{AgentOwned, AgentSeen, Signed, need};
use super::caller::Caller;
use super::extract::{Json, Query};
use super::page::{Page, SortDir};
use super::part::{IfMatch, Versioned, in_field, search, version};
use super::problem::{Code, Problem, Refusals};
use crate::control::admin::agents::{NewAgent, check_name, check_tags};
use crate::model::{Agent, AgentStatus, Role, ServiceKey};
use crate::store::{AgentEdit, AgentQuery, AgentSort};

/// What agents are sorted by.
#[derive(Debug, Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
enum SortBy {
    /// In any case.
    #[default]
    Name,
    CreatedAt,
    Status,
    MemberCount,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// Part of the name or of a tag, in any case
    #[param(max_length = 100, pattern = r"^[^\x00-\x1f\x7f-\x9f]*$")]
    search: Option<String>,
    /// Those of this status
    #[param(inline)]
    status: Option<AgentStatus>,
    /// Those that the account owns, or those that it is a mere member of
    #[param(inline)]
    role: Option<Role>,
    /// What the list is sorted by
    #[param(inline)]
    sort_by: Option<SortBy>,
    /// Which way; `asc` where absent
    #[param(inline)]
    sort_dir: Option<SortDir>,
    /// Agents of the answer; 50 where absent
    #[param(minimum = 1, maximum = 500)]
    limit: Option<u32>,
    /// Agents that are passed over
    #[param(maximum = 1_000_000)]
    offset: Option<u64>,
}

/// List agents
///
/// Those that the account owns and those that it is a member of, pending ones too.
#[utoipa::path(
    get, path = "/api/agents", operation_id = "listAgents", tag = "Agents", params(ListQuery),
    responses((status = 200, body = AgentsBody), Refusals),
    security(("session" = []), ("token" = ["agents:read"])),
)]
async fn list_agents(
    State(state): State<ApiState>,
    signed: Signed<need::AgentsRead>,
    Query(query): Query<ListQuery>,
) -> Result<Json<AgentsBody>, Problem> {
    let page = Page::of(query.limit, query.offset)?;
    let account = signed.caller.account.id;
    let query = AgentQuery {
        account,
        search: search(query.search)?,
        status: query.status,
        role: query.role,
        sort: match query.sort_by.unwrap_or_default() {
            SortBy::Name => AgentSort::Name,
            SortBy::CreatedAt => AgentSort::CreatedAt,
            SortBy::Status => AgentSort::Status,
            SortBy::MemberCount => AgentSort::MemberCount,
        },
        descending: matches!(query.sort_dir, Some(SortDir::Desc)),
        limit: page.limit.into(),
        offset: page.offset,
    };
    let (seen, total) = state.admin.store().agents().seen_by(&query).await?;
    let agents = seen.into_iter().map(|seen| AgentBody::of(seen, account)).collect();
    Ok(Json(AgentsBody { agents, total }))
}

/// Create an agent
///
/// The account owns it and becomes its first member, approved. Names are unique on a gate.
#[utoipa::path(
    post, path = "/api/agents", operation_id = "createAgent", tag = "Agents", request_body = NewAgentBody,
    responses(
        (status = 201, body = AgentBody, headers(
            ("etag" = String, description = "The version of its settings, for `If-Match`"),
            ("location" = String, description = "Its path"),
        )),
        Refusals,
    ),
    security(("session" = []), ("token" = ["agents:write"])),
)]
async fn create_agent(
    State(state): State<ApiState>,
    signed: Signed<need::AgentsWrite>,
    Json(body): Json<NewAgentBody>,
) -> Result<Versioned<AgentBody>, Problem> {
    in_field("body.name", check_name(&body.name))?;
    in_field("body.tags", check_tags(&body.tags))?;
    in_field("body.allowedServices", state.admin.check_services(body.allowed_services.iter()))?;
    let new = NewAgent {
        name: body.name,
        trust: body.trust,
        tags: body.tags,
        services: body.allowed_services,
        rate: None,
    };
    let caller = &signed.caller;
    let agent = state.admin.create_agent(caller.operator(), new, Some(&caller.account)).await?;
    let made_at = Some(format!("/api/agents/{}", agent.id));
    Ok(Versioned { made_at, ..shown(&state, caller, agent).await? })
}

/// Agent detail
///
/// For its owner and its members. Of keys it holds the account's own alone.
#[utoipa::path(
    get, path = "/api/agents/{id}", operation_id = "getAgent", tag = "Agents",
    params(("id" = uuid::Uuid, Path, description = "The agent")),
    responses(
        (status = 200, body = AgentBody, headers(
            ("etag" = String, description = "The version of its settings, for `If-Match`"),
        )),
        Refusals,
    ),
    security(("session" = []), ("token" = ["agents:read"])),
)]
async fn get_agent(
    State(state): State<ApiState>,
    seen: AgentSeen<need::AgentsRead>,
) -> Result<Versioned<AgentBody>, Problem> {
    shown(&state, &seen.caller, seen.agent).await
}

/// Change name and tags (owner)
///
/// What is absent stays. With `If-Match`, only where nobody changed the agent meanwhile (else 412).
#[utoipa::path(
    put, path = "/api/agents/{id}", operation_id = "editAgent", tag = "Agents", request_body = EditAgentBody,
    params(
        ("id" = uuid::Uuid, Path, description = "The agent"),
        ("if-match" = Option<String>, Header, description = "An `ETag` of the agent, or several", pattern = r#"^(\*|(W/)?"[!#-~]*")$"#),
    ),
    responses((status = 200, body = AgentBody), Refusals),
    security(("session" = []), ("token" = ["agents:write"])),
)]
async fn edit_agent(
    State(state): State<ApiState>,
    owned: AgentOwned<need::AgentsWrite>,
    condition: IfMatch,
    Json(body): Json<EditAgentBody>,
) -> Result<Versioned<AgentBody>, Problem> {
    if body.name.is_none() && body.tags.is_none() {
        return Err(Problem::new(Code::Rejected, "neither `name` nor `tags` is given: nothing would change"));
    }
    if let Some(name) = &body.name {
        in_field("body.name", check_name(name))?;
    }
    if let Some(tags) = &body.tags {
        in_field("body.tags", check_tags(tags))?;
    }
    let edit = AgentEdit { name: body.name, tags: body.tags, ..AgentEdit::default() };
    edited(&state, &owned, "agent.edit", edit, &condition).await
}

/// Toggle active/disabled (owner)
///
/// Once this is answered, every call of a disabled agent is refused and its open streams are cut. Keys
/// are untouched.
#[utoipa::path(
    put, path = "/api/agents/{id}/status", operation_id = "setAgentStatus", tag = "Agents",
    request_body = StatusBody,
    params(
        ("id" = uuid::Uuid, Path, description = "The agent"),
        ("if-match" = Option<String>, Header, description = "An `ETag` of the agent, or several", pattern = r#"^(\*|(W/)?"[!#-~]*")$"#),
    ),
    responses((status = 200, body = AgentBody), Refusals),
    security(("session" = []), ("token" = ["agents:write"])),
)]
async fn set_status(
    State(state): State<ApiState>,
    owned: AgentOwned<need::AgentsWrite>,
    condition: IfMatch,
    Json(body): Json<StatusBody>,
) -> Result<Versioned<AgentBody>, Problem> {
    let edit = AgentEdit { status: Some(body.status), ..AgentEdit::default() };
    edited(&state, &owned, "agent.status", edit, &condition).await
}

/// Set enabled connectors (owner)
///
/// These and no others. Once this is answered, calls of any other connector are refused.
#[utoipa::path(
    put, path = "/api/agents/{id}/services", operation_id = "setAgentServices", tag = "Agents",
    request_body = ServicesBody,
    params(
        ("id" = uuid::Uuid, Path, description = "The agent"),
        ("if-match" = Option<String>, Header, description = "An `ETag` of the agent, or several", pattern = r#"^(\*|(W/)?"[!#-~]*")$"#),
    ),
    responses((status = 200, body = AgentBody), Refusals),
    security(("session" = []), ("token" = ["agents:write"])),
)]
async fn set_services(
    State(state): State<ApiState>,
    owned: AgentOwned<need::AgentsWrite>,
    condition: IfMatch,
    Json(body): Json<ServicesBody>,
) -> Result<Versioned<AgentBody>, Problem> {
    // One that is enabled already may stay even where its file is gone: to remove another must not wait for
    // that.
    let added: BTreeSet<&ServiceKey> = body.services.difference(&owned.agent.services).collect();
    in_field("body.services", state.admin.check_services(added.into_iter()))?;
    let edit = AgentEdit { services: Some(body.services), ..AgentEdit::default() };
    edited(&state, &owned, "agent.services", edit, &condition).await
}

/// Delete the agent (owner)
///
/// With its members, groups, keys and invites. Its audit stays.
#[utoipa::path(
    delete, path = "/api/agents/{id}", operation_id = "deleteAgent", tag = "Agents",
    params(
        ("id" = uuid::Uuid, Path, description = "The agent"),
        ("if-match" = Option<String>, Header, description = "An `ETag` of the agent, or several", pattern = r#"^(\*|(W/)?"[!#-~]*")$"#),
    ),
    responses((status = 204, description = "It is gone; its members' keys answer 401"), Refusals),
    security(("session" = []), ("token" = ["agents:write"])),
)]
async fn delete_agent(
    State(state): State<ApiState>,
    owned: AgentOwned<need::AgentsWrite>,
    condition: IfMatch,
) -> Result<StatusCode, Problem> {
    let unchanged = |agent: &Agent| condition.admits(agent);
    state.admin.delete_agent(owned.caller.operator(), owned.agent.id, &unchanged).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn edited(
    state: &ApiState,
    owned: &AgentOwned<need::AgentsWrite>,
    what: &'static str,
    edit: AgentEdit,
    condition: &IfMatch,
) -> Result<Versioned<AgentBody>, Problem> {
    let (operator, unchanged) = (owned.caller.operator(), |agent: &Agent| condition.admits(agent));
    let agent = state.admin.edit_agent(operator, what, owned.agent.id, |_| edit, &unchanged).await?;
    shown(state, &owned.caller, agent).await
}

async fn shown(state: &ApiState, caller: &Caller, agent: Agent) -> Result<Versioned<AgentBody>, Problem> {
    let (version, account) = (version(&agent), caller.account.id);
    let seen = state.admin.store().agents().as_seen_by(agent, account).await?;
    Ok(Versioned { version, made_at: None, body: AgentBody::of(seen, account) })
}

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(list_agents, create_agent))
        .routes(routes!(get_agent, edit_agent, delete_agent))
        .routes(routes!(set_status))
        .routes(routes!(set_services))
}
