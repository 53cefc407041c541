//! `/api/agents/{id}/groups`: groups of members, which policies name as `Wicket::Group::"<name>"`.

use axum::extract::State;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::ApiState;
use super::access::{AgentOwned, MemberSeen, need};
use super::extract::{Json, Query};
use super::page::Page;
use super::part::Part;
use super::problem::{Problem, Refusals};
use crate::model::{GroupName, Timestamp};
use crate::store::GroupSummary;

/// A group; `GET …/members?group=` lists who is in it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Group, example = json!({"name": "reviewers", "memberCount": 2, "createdAt": "2026-06-12T14:00:00.000Z"}))]
struct GroupBody {
    #[schema(value_type = String)]
    name: GroupName,
    member_count: u64,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
}

/// A page of groups.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Groups)]
struct GroupsBody {
    /// By name.
    groups: Vec<GroupBody>,
    /// How many there are in all.
    total: u64,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// Groups of the answer; 50 where absent
    #[param(minimum = 1, maximum = 500)]
    limit: Option<u32>,
    /// Groups that are passed over
    #[param(maximum = 1_000_000)]
    offset: Option<u64>,
}

/// List groups (owner)
#[utoipa::path(
    get, path = "/api/agents/{id}/groups", operation_id = "listGroups", tag = "Members",
    params(("id" = uuid::Uuid, Path, description = "The agent"), ListQuery),
    responses((status = 200, body = GroupsBody), Refusals),
    security(("session" = []), ("token" = ["members:read"])),
)]
async fn list_groups(
    State(state): State<ApiState>,
    owned: AgentOwned<need::MembersRead>,
    Query(query): Query<ListQuery>,
) -> Result<Json<GroupsBody>, Problem> {
    let page = Page::of(query.limit, query.offset)?;
    let groups = state.admin.store().groups();
    let (rows, total) = groups.summaries(owned.agent.id, (page.limit.into(), page.offset)).await?;
    let body = |row: GroupSummary| GroupBody {
        name: row.name,
        member_count: row.member_count,
        created_at: row.created_at,
    };
    Ok(Json(GroupsBody { groups: rows.into_iter().map(body).collect(), total }))
}

/// A group to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewGroup, example = json!({"name": "reviewers"}))]
struct NewGroupBody {
    /// `a-z`, `0-9`, `-` and `_`.
    #[schema(min_length = 1, max_length = 64, pattern = "^[a-z0-9_-]{1,64}$")]
    name: String,
}

/// Create a group (owner)
#[utoipa::path(
    post, path = "/api/agents/{id}/groups", operation_id = "createGroup", tag = "Members",
    request_body = NewGroupBody, params(("id" = uuid::Uuid, Path, description = "The agent")),
    responses((status = 201, body = GroupBody), Refusals),
    security(("session" = []), ("token" = ["members:write"])),
)]
async fn create_group(
    State(state): State<ApiState>,
    owned: AgentOwned<need::MembersWrite>,
    Json(body): Json<NewGroupBody>,
) -> Result<(StatusCode, Json<GroupBody>), Problem> {
    let name =
        GroupName::parse(&body.name).map_err(|error| Problem::field("body.name", error.to_string()))?;
    let created_at = state.admin.create_group(owned.caller.operator(), &owned.agent, &name).await?;
    Ok((StatusCode::CREATED, Json(GroupBody { name, member_count: 0, created_at })))
}

/// Delete a group (owner)
///
/// Its members stay members of the agent. Policies that name the group match nobody from then on.
#[utoipa::path(
    delete, path = "/api/agents/{id}/groups/{group}", operation_id = "deleteGroup", tag = "Members",
    params(
        ("id" = uuid::Uuid, Path, description = "The agent"),
        ("group" = String, Path, description = "The group's name"),
    ),
    responses((status = 204, description = "It is gone"), Refusals),
    security(("session" = []), ("token" = ["members:write"])),
)]
async fn delete_group(
    State(state): State<ApiState>,
    owned: AgentOwned<need::MembersWrite>,
    Part(group): Part<GroupName>,
) -> Result<StatusCode, Problem> {
    state.admin.delete_group(owned.caller.operator(), &owned.agent, &group).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Put a member into a group (owner)
#[utoipa::path(
    put, path = "/api/agents/{id}/groups/{group}/members/{memberId}", operation_id = "addToGroup", tag = "Members",
    params(
        ("id" = uuid::Uuid, Path, description = "The agent"),
        ("group" = String, Path, description = "The group's name"),
        ("memberId" = uuid::Uuid, Path, description = "The member"),
    ),
    responses((status = 204, description = "The member is in the group"), Refusals),
    security(("session" = []), ("token" = ["members:write"])),
)]
async fn add_to_group(
    State(state): State<ApiState>,
    seen: MemberSeen<need::MembersWrite>,
    Part(group): Part<GroupName>,
) -> Result<StatusCode, Problem> {
    placed(&state, seen, &group, true).await
}

/// Take a member out of a group (owner)
#[utoipa::path(
    delete, path = "/api/agents/{id}/groups/{group}/members/{memberId}", operation_id = "removeFromGroup",
    tag = "Members",
    params(
        ("id" = uuid::Uuid, Path, description = "The agent"),
        ("group" = String, Path, description = "The group's name"),
        ("memberId" = uuid::Uuid, Path, description = "The member"),
    ),
    responses((status = 204, description = "The member is not in the group any more"), Refusals),
    security(("session" = []), ("token" = ["members:write"])),
)]
async fn remove_from_group(
    State(state): State<ApiState>,
    seen: MemberSeen<need::MembersWrite>,
    Part(group): Part<GroupName>,
) -> Result<StatusCode, Problem> {
    placed(&state, seen, &group, false).await
}

async fn placed(
    state: &ApiState,
    seen: MemberSeen<need::MembersWrite>,
    group: &GroupName,
    joins: bool,
) -> Result<StatusCode, Problem> {
    let seen = seen.owned()?;
    state.admin.change_group(seen.caller.operator(), &seen.agent, group, &seen.member, joins).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(list_groups, create_group))
        .routes(routes!(delete_group))
        .routes(routes!(add_to_group, remove_from_group))
}
