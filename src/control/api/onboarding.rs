//! `GET /api/agents/{id}/onboarding`: how far a member has come, and what comes next.

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::ApiState;
use super::access::{AgentSeen, need};
use super::agents::{ConnectionBody, KeyBody};
use super::extract::Json;
use super::problem::{Problem, Refusals};
use crate::model::{MemberId, MemberStatus, Role, Timestamp};

/// A step on the way from an invite to the first call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
enum StepName {
    /// The account is signed in.
    SignedIn,
    /// The invite was used.
    Joined,
    /// The services that ask for an account of the member's own are connected.
    Connections,
    /// The agent's owner approved.
    Approved,
    /// A key was generated.
    Key,
    /// The key was used.
    FirstCall,
}

/// One step.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OnboardingStep)]
struct StepBody {
    step: StepName,
    done: bool,
    /// What to do for it, and who.
    #[serde(rename = "do")]
    instruction: &'static str,
}

/// How far the account's own membership has come.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Onboarding, example = json!({
    "member": {"id": "0190b5a0-0000-7000-8000-000000000002", "name": "bob@example.com", "role": "member", "status": "pending", "joinedAt": "2026-06-12T14:00:00.000Z"},
    "steps": [
        {"step": "signedIn", "done": true, "do": "sign in with the invited address"},
        {"step": "joined", "done": true, "do": "open the invite's link"},
        {"step": "connections", "done": true, "do": "connect the services that ask for an account of your own"},
        {"step": "approved", "done": false, "do": "wait for the agent's owner"},
        {"step": "key", "done": false, "do": "generate your member key"},
        {"step": "firstCall", "done": false, "do": "give the key and the URL to your MCP client, and call a tool"}
    ],
    "next": "approved", "complete": false, "connections": [], "key": null, "url": "http://127.0.0.1:7400/mcp"
}))]
struct OnboardingBody {
    member: OnboardedBody,
    /// In their order.
    steps: Vec<StepBody>,
    /// The first that is not done.
    next: Option<StepName>,
    complete: bool,
    /// The member's own connections to services: none in this release, and none is asked for.
    connections: Vec<ConnectionBody>,
    /// What is known of its key, where it has one that works.
    key: Option<KeyBody>,
    /// Where MCP clients connect.
    url: String,
}

/// The membership that is asked about.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = OnboardingMember)]
struct OnboardedBody {
    #[schema(value_type = String, format = Uuid)]
    id: MemberId,
    name: String,
    role: Role,
    status: MemberStatus,
    #[schema(value_type = String, format = DateTime)]
    joined_at: Timestamp,
}

/// Member onboarding status
///
/// Of the account's own membership. An owner who is no member has none (404).
#[utoipa::path(
    get, path = "/api/agents/{id}/onboarding", operation_id = "getOnboarding", tag = "Members",
    params(("id" = uuid::Uuid, Path, description = "The agent")),
    responses((status = 200, body = OnboardingBody), Refusals),
    security(("session" = []), ("token" = ["agents:read"])),
)]
async fn get_onboarding(
    State(state): State<ApiState>,
    seen: AgentSeen<need::AgentsRead>,
) -> Result<Json<OnboardingBody>, Problem> {
    let member = seen.standing.member().cloned().ok_or_else(|| Problem::not_found("membership"))?;
    let key = state.admin.store().keys().live_of(member.id).await?;
    let used = key.as_ref().is_some_and(|key| key.last_used_at.is_some());
    let done = [
        (StepName::SignedIn, true, "sign in with the invited address"),
        (StepName::Joined, true, "open the invite's link"),
        // No connector asks for one yet.
        (StepName::Connections, true, "connect the services that ask for an account of your own"),
        (StepName::Approved, member.status == MemberStatus::Approved, "wait for the agent's owner"),
        (StepName::Key, key.is_some(), "generate your member key"),
        (StepName::FirstCall, used, "give the key and the URL to your MCP client, and call a tool"),
    ];
    let next = done.iter().find(|(_, done, _)| !done).map(|(step, ..)| *step);
    let steps = done.map(|(step, done, instruction)| StepBody { step, done, instruction });
    Ok(Json(OnboardingBody {
        member: OnboardedBody {
            id: member.id,
            name: member.name,
            role: member.role,
            status: member.status,
            joined_at: member.created_at,
        },
        steps: steps.into(),
        next,
        complete: next.is_none(),
        connections: Vec::new(),
        key: key.as_ref().map(KeyBody::of),
        url: state.admin.places().agents_url.clone(),
    }))
}

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(get_onboarding))
}
