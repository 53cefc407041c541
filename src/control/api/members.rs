//! `/api/agents/{id}/members`: listed, approved, rejected, removed.

use axum::extract::State;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::ApiState;
use super::access::{AgentSeen, MemberSeen, need};
use super::agents::suffix;
use super::extract::{Json, Query};
use super::invites::InviteBody;
use super::page::{Page, SortDir};
use super::part::search;
use super::problem::{Problem, Refusals};
use crate::model::{GroupName, KeyId, Member, MemberId, MemberStatus, Role, Timestamp};
use crate::store::{MemberQuery, MemberRow, MemberSort};

/// Open invites that a list of members shows; `GET …/invites` pages through all.
const INVITES_SHOWN_MAX: u64 = 100;

/// A member of an agent.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Member, example = json!({
    "id": "0190b5a0-0000-7000-8000-000000000002", "name": "bob@example.com", "email": "bob@example.com",
    "role": "member", "status": "approved", "groups": ["reviewers"],
    "key": {"id": "0190b5a0-0000-7000-8000-000000000003", "displaySuffix": "…k4Qz", "createdAt": "2026-06-12T14:02:11.000Z", "lastUsedAt": null},
    "createdAt": "2026-06-12T14:00:00.000Z"
}))]
pub(super) struct MemberBody {
    #[schema(value_type = String, format = Uuid)]
    id: MemberId,
    /// The address, or the name that the operator gave.
    name: String,
    /// The address of the member's account; none where the operator made the member on the machine itself.
    email: Option<String>,
    role: Role,
    status: MemberStatus,
    /// Groups of the agent that the member is in, for policies.
    #[schema(value_type = Vec<String>)]
    groups: Vec<GroupName>,
    /// What is known of its key, where it has one that works. Nobody sees the key itself.
    key: Option<MemberKeyBody>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
}

/// A member's key: never the key.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = MemberKey)]
pub(super) struct MemberKeyBody {
    /// As the audit has it (`memberKeyId`).
    #[schema(value_type = String, format = Uuid)]
    id: KeyId,
    /// Its last characters.
    #[schema(example = "…k4Qz")]
    display_suffix: String,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    last_used_at: Option<Timestamp>,
}

impl MemberBody {
    pub(super) fn of(row: MemberRow) -> Self {
        let MemberRow { member, email, key } = row;
        let key = key.map(|key| MemberKeyBody {
            id: key.id,
            display_suffix: suffix(&key.display_suffix),
            created_at: key.created_at,
            last_used_at: key.last_used_at,
        });
        Self {
            id: member.id,
            name: member.name,
            email: email.map(|email| email.as_str().to_owned()),
            role: member.role,
            status: member.status,
            groups: member.groups.into_iter().collect(),
            key,
            created_at: member.created_at,
        }
    }
}

/// A page of members.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Members)]
struct MembersBody {
    members: Vec<MemberBody>,
    /// How many match in all.
    total: u64,
    /// The newest invites that are open, at most 100: for the owner alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    invites: Option<Vec<InviteBody>>,
}

/// What members are sorted by.
#[derive(Debug, Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
enum SortBy {
    /// In any case.
    #[default]
    Name,
    CreatedAt,
    Status,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// Part of the name, in any case
    #[param(max_length = 100, pattern = r"^[^\x00-\x1f\x7f-\x9f]*$")]
    search: Option<String>,
    /// Those of this status
    #[param(inline)]
    status: Option<MemberStatus>,
    /// Those in this group
    #[param(value_type = Option<String>, max_length = 64, pattern = "^[a-z0-9_-]{1,64}$")]
    group: Option<GroupName>,
    /// What the list is sorted by
    #[param(inline)]
    sort_by: Option<SortBy>,
    /// Which way; `asc` where absent
    #[param(inline)]
    sort_dir: Option<SortDir>,
    /// Members of the answer; 50 where absent
    #[param(minimum = 1, maximum = 500)]
    limit: Option<u32>,
    /// Members that are passed over
    #[param(maximum = 1_000_000)]
    offset: Option<u64>,
}

/// List members with status
///
/// The owner sees all, and the open invites; a member sees itself alone.
#[utoipa::path(
    get, path = "/api/agents/{id}/members", operation_id = "listMembers", tag = "Members",
    params(("id" = uuid::Uuid, Path, description = "The agent"), ListQuery),
    responses((status = 200, body = MembersBody), Refusals),
    security(("session" = []), ("token" = ["members:read"])),
)]
async fn list_members(
    State(state): State<ApiState>,
    seen: AgentSeen<need::MembersRead>,
    Query(query): Query<ListQuery>,
) -> Result<Json<MembersBody>, Problem> {
    let page = Page::of(query.limit, query.offset)?;
    let owner = seen.standing.is_owner();
    let query = MemberQuery {
        agent: seen.agent.id,
        member: if owner { None } else { seen.standing.member().map(|member| member.id) },
        search: search(query.search)?,
        status: query.status,
        group: query.group,
        sort: match query.sort_by.unwrap_or_default() {
            SortBy::Name => MemberSort::Name,
            SortBy::CreatedAt => MemberSort::CreatedAt,
            SortBy::Status => MemberSort::Status,
        },
        descending: matches!(query.sort_dir, Some(SortDir::Desc)),
        limit: page.limit.into(),
        offset: page.offset,
    };
    let store = state.admin.store();
    let (rows, total) = store.members().page(&query).await?;
    let invites = if owner {
        let now = Timestamp::now();
        let (open, _) = store.invites().list(seen.agent.id, Some(now), (INVITES_SHOWN_MAX, 0)).await?;
        Some(open.iter().map(|invite| InviteBody::of(invite, now)).collect())
    } else {
        None
    };
    Ok(Json(MembersBody { members: rows.into_iter().map(MemberBody::of).collect(), total, invites }))
}

/// The one state that an owner puts a member into by this route.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Approved {
    Approved,
}

/// An approval.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = SetMemberStatus, example = json!({"status": "approved"}))]
struct StatusBody {
    #[expect(dead_code, reason = "read for its form alone: there is one value")]
    status: Approved,
}

/// Approve a pending member (owner)
///
/// From then on the member may generate a key. A member in another state is a conflict.
#[utoipa::path(
    put, path = "/api/agents/{id}/members/{memberId}/status", operation_id = "approveMember", tag = "Members",
    request_body = StatusBody,
    params(
        ("id" = uuid::Uuid, Path, description = "The agent"),
        ("memberId" = uuid::Uuid, Path, description = "The member"),
    ),
    responses((status = 200, body = MemberBody), Refusals),
    security(("session" = []), ("token" = ["members:write"])),
)]
async fn approve(
    State(state): State<ApiState>,
    seen: MemberSeen<need::MembersWrite>,
    Json(_approved): Json<StatusBody>,
) -> Result<Json<MemberBody>, Problem> {
    settled(&state, seen, MemberStatus::Approved).await
}

/// Reject a pending member (owner)
///
/// Whoever was rejected sees the agent no more, and needs a new invite to ask again.
#[utoipa::path(
    post, path = "/api/agents/{id}/members/{memberId}/reject", operation_id = "rejectMember", tag = "Members",
    params(
        ("id" = uuid::Uuid, Path, description = "The agent"),
        ("memberId" = uuid::Uuid, Path, description = "The member"),
    ),
    responses((status = 200, body = MemberBody), Refusals),
    security(("session" = []), ("token" = ["members:write"])),
)]
async fn reject(
    State(state): State<ApiState>,
    seen: MemberSeen<need::MembersWrite>,
) -> Result<Json<MemberBody>, Problem> {
    settled(&state, seen, MemberStatus::Rejected).await
}

async fn settled(
    state: &ApiState,
    seen: MemberSeen<need::MembersWrite>,
    to: MemberStatus,
) -> Result<Json<MemberBody>, Problem> {
    let seen = seen.owned()?;
    let operator = seen.caller.operator();
    let member = state.admin.settle_member(operator, &seen.agent, seen.member.id, to).await?;
    member_body(state, &member).await.map(Json)
}

/// The member as it stands now.
async fn member_body(state: &ApiState, member: &Member) -> Result<MemberBody, Problem> {
    let query = MemberQuery {
        agent: member.agent_id,
        member: Some(member.id),
        search: None,
        status: None,
        group: None,
        sort: MemberSort::Name,
        descending: false,
        limit: 1,
        offset: 0,
    };
    let (rows, _) = state.admin.store().members().page(&query).await?;
    let row = rows.into_iter().next().ok_or_else(|| Problem::not_found("member"))?;
    Ok(MemberBody::of(row))
}

/// Remove a member (owner), or leave (the member)
///
/// The member's key answers 401 once this is answered, and its open streams are cut. The owner's own
/// membership cannot be removed.
#[utoipa::path(
    delete, path = "/api/agents/{id}/members/{memberId}", operation_id = "removeMember", tag = "Members",
    params(
        ("id" = uuid::Uuid, Path, description = "The agent"),
        ("memberId" = uuid::Uuid, Path, description = "The member"),
    ),
    responses((status = 204, description = "The member is gone, and its key with it"), Refusals),
    security(("session" = []), ("token" = ["members:write"])),
)]
async fn remove(
    State(state): State<ApiState>,
    seen: MemberSeen<need::MembersWrite>,
) -> Result<StatusCode, Problem> {
    state.admin.remove_member(seen.caller.operator(), &seen.agent, seen.member.id).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(list_members))
        .routes(routes!(approve))
        .routes(routes!(reject))
        .routes(routes!(remove))
}
