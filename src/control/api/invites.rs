//! Invites of an agent, and joining by one.

use axum::extract::State;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::ApiState;
use super::access::{AgentOwned, Signed, need};
use super::extract::{Json, Query};
use super::page::Page;
use super::part::Part;
use super::problem::{Code, Problem, Refusals};
use crate::control::admin::invites::JoinFault;
use crate::control::reply::ShownOnce;
use crate::model::{AgentId, EmailAddress, InviteId, MemberId, MemberStatus, Role, Timestamp};
use crate::store::InviteRow;

/// Characters of a token that are read.
const TOKEN_CHARACTERS_MAX: usize = 200;

/// What became of an invite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum InviteStatus {
    /// It can be used.
    Open,
    Used,
    /// Or replaced by a newer one.
    Revoked,
    Expired,
}

/// An invite: never its link.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Invite, example = json!({
    "id": "0190b5a0-0000-7000-8000-000000000004", "email": "bob@example.com", "status": "open",
    "createdAt": "2026-06-12T14:00:00.000Z", "expiresAt": "2026-06-19T14:00:00.000Z", "memberId": null
}))]
pub(super) struct InviteBody {
    #[schema(value_type = String, format = Uuid)]
    id: InviteId,
    email: String,
    status: InviteStatus,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
    /// The membership that it became.
    #[schema(value_type = Option<String>, format = Uuid)]
    member_id: Option<MemberId>,
}

impl InviteBody {
    pub(super) fn of(row: &InviteRow, now: Timestamp) -> Self {
        let status = match row {
            InviteRow { used_at: Some(_), .. } => InviteStatus::Used,
            InviteRow { revoked_at: Some(_), .. } => InviteStatus::Revoked,
            _ if row.is_open(now) => InviteStatus::Open,
            _ => InviteStatus::Expired,
        };
        Self {
            id: row.id,
            email: row.email.as_str().to_owned(),
            status,
            created_at: row.created_at,
            expires_at: row.expires_at,
            member_id: row.member_id,
        }
    }
}

/// Whom to invite.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewInvite, example = json!({"email": "bob@example.com"}))]
struct NewInviteBody {
    /// Only the account of exactly this address can join by the link.
    #[schema(format = Email, min_length = 3, max_length = 254)]
    email: String,
}

/// An invite that was just made: the only time that its link is shown.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = MintedInvite, example = json!({
    "id": "0190b5a0-0000-7000-8000-000000000004", "url": "https://wicket.example.com/join/wki_AZC1…",
    "token": "wki_AZC1…", "email": "bob@example.com", "expiresAt": "2026-06-19T14:00:00.000Z"
}))]
struct MintedInviteBody {
    #[schema(value_type = String, format = Uuid)]
    id: InviteId,
    /// The link to send.
    #[schema(value_type = String)]
    url: ShownOnce,
    /// Its last part, for `POST /api/agents/{id}/join`.
    #[schema(value_type = String)]
    token: ShownOnce,
    email: String,
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
}

/// Create a signed invite link (owner)
///
/// Good for seven days, for one address, once. The open invite of the same address ends.
#[utoipa::path(
    post, path = "/api/agents/{id}/invite", operation_id = "createInvite", tag = "Members",
    request_body = NewInviteBody, params(("id" = uuid::Uuid, Path, description = "The agent")),
    responses((status = 201, body = MintedInviteBody), Refusals),
    security(("session" = []), ("token" = ["members:write"])),
)]
async fn create_invite(
    State(state): State<ApiState>,
    owned: AgentOwned<need::MembersWrite>,
    Json(body): Json<NewInviteBody>,
) -> Result<(StatusCode, Json<MintedInviteBody>), Problem> {
    let email =
        EmailAddress::parse(&body.email).map_err(|error| Problem::field("body.email", error.to_string()))?;
    let caller = &owned.caller;
    let invited_by = Some(caller.account.id);
    let made = state.admin.create_invite(caller.operator(), &owned.agent, &email, invited_by).await?;
    let (invite, token) = made;
    let url = format!("{}/join/{token}", state.settings.public_url);
    let body = MintedInviteBody {
        id: invite.id,
        url: ShownOnce::new(url),
        token: ShownOnce::new(token),
        email: invite.email.as_str().to_owned(),
        expires_at: invite.expires_at,
    };
    Ok((StatusCode::CREATED, Json(body)))
}

/// A page of invites.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Invites)]
struct InvitesBody {
    /// Newest first.
    invites: Vec<InviteBody>,
    /// How many match in all.
    total: u64,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// Open ones alone
    open: Option<bool>,
    /// Invites of the answer; 50 where absent
    #[param(minimum = 1, maximum = 500)]
    limit: Option<u32>,
    /// Invites that are passed over
    #[param(maximum = 1_000_000)]
    offset: Option<u64>,
}

/// List invites (owner)
///
/// Those that ended are kept for 90 days.
#[utoipa::path(
    get, path = "/api/agents/{id}/invites", operation_id = "listInvites", tag = "Members",
    params(("id" = uuid::Uuid, Path, description = "The agent"), ListQuery),
    responses((status = 200, body = InvitesBody), Refusals),
    security(("session" = []), ("token" = ["members:read"])),
)]
async fn list_invites(
    State(state): State<ApiState>,
    owned: AgentOwned<need::MembersRead>,
    Query(query): Query<ListQuery>,
) -> Result<Json<InvitesBody>, Problem> {
    let page = Page::of(query.limit, query.offset)?;
    let now = Timestamp::now();
    let open_at = query.open.unwrap_or(false).then_some(now);
    let invites = state.admin.store().invites();
    let (rows, total) = invites.list(owned.agent.id, open_at, (page.limit.into(), page.offset)).await?;
    Ok(Json(InvitesBody { invites: rows.iter().map(|row| InviteBody::of(row, now)).collect(), total }))
}

/// Revoke an invite before it is used (owner)
#[utoipa::path(
    delete, path = "/api/agents/{id}/invites/{inviteId}", operation_id = "revokeInvite", tag = "Members",
    params(
        ("id" = uuid::Uuid, Path, description = "The agent"),
        ("inviteId" = uuid::Uuid, Path, description = "The invite"),
    ),
    responses((status = 204, description = "Nobody joins by it any more"), Refusals),
    security(("session" = []), ("token" = ["members:write"])),
)]
async fn revoke_invite(
    State(state): State<ApiState>,
    owned: AgentOwned<need::MembersWrite>,
    Part(invite): Part<InviteId>,
) -> Result<StatusCode, Problem> {
    state.admin.revoke_invite(owned.caller.operator(), &owned.agent, invite).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// By which invite.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Join, example = json!({"token": "wki_AZC1…"}))]
struct JoinBody {
    /// The last part of the invite's link.
    #[schema(min_length = 1, max_length = 200)]
    token: String,
}

/// A membership that was just entered.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Joined, example = json!({
    "agent": {"id": "0190b5a0-0000-7000-8000-000000000001", "name": "my-first-agent"},
    "membership": {"id": "0190b5a0-0000-7000-8000-000000000002", "role": "member", "status": "pending"}
}))]
struct JoinedBody {
    agent: JoinedAgentBody,
    membership: JoinedMemberBody,
}

/// The agent that was joined.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = JoinedAgent)]
struct JoinedAgentBody {
    #[schema(value_type = String, format = Uuid)]
    id: AgentId,
    name: String,
}

/// The membership as it begins.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = JoinedMember)]
struct JoinedMemberBody {
    #[schema(value_type = String, format = Uuid)]
    id: MemberId,
    role: Role,
    status: MemberStatus,
}

/// Join with an invite token
///
/// The account's address must be exactly the invited one; whoever else asks hears 404, whatever the token.
/// The membership waits for the owner's approval.
#[utoipa::path(
    post, path = "/api/agents/{id}/join", operation_id = "joinAgent", tag = "Members",
    request_body = JoinBody, params(("id" = uuid::Uuid, Path, description = "The agent")),
    responses((status = 201, body = JoinedBody), Refusals),
    security(("session" = []), ("token" = ["members:write"])),
)]
async fn join(
    State(state): State<ApiState>,
    signed: Signed<need::MembersWrite>,
    Part(agent): Part<AgentId>,
    Json(body): Json<JoinBody>,
) -> Result<(StatusCode, Json<JoinedBody>), Problem> {
    if body.token.is_empty() || body.token.chars().count() > TOKEN_CHARACTERS_MAX {
        return Err(Problem::field(
            "body.token",
            format!("1 to {TOKEN_CHARACTERS_MAX} characters are taken"),
        ));
    }
    let caller = &signed.caller;
    let joined = state.admin.join(caller.operator(), &caller.account, agent, &body.token).await;
    let (agent, member) = joined.map_err(not_joined)?;
    let body = JoinedBody {
        agent: JoinedAgentBody { id: agent.id, name: agent.name },
        membership: JoinedMemberBody { id: member.id, role: member.role, status: member.status },
    };
    Ok((StatusCode::CREATED, Json(body)))
}

fn not_joined(fault: JoinFault) -> Problem {
    let ask = "ask the agent's owner for a new one";
    match fault {
        JoinFault::Unknown => Problem::not_found("invite")
            .with_help("sign in with the address that was invited, and take the whole link"),
        JoinFault::Expired => Problem::new(Code::InviteExpired, "the invite has expired").with_help(ask),
        JoinFault::Revoked => {
            Problem::new(Code::InviteRevoked, "the invite was revoked or replaced").with_help(ask)
        }
        JoinFault::Used => Problem::new(Code::InviteUsed, "the invite was used already")
            .with_help("`GET /api/agents` shows what you are a member of"),
        JoinFault::Fault(fault) => fault.into(),
    }
}

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(create_invite))
        .routes(routes!(list_invites))
        .routes(routes!(revoke_invite))
        .routes(routes!(join))
}
