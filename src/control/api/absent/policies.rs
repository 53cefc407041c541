//! The route of stored policies that is not there yet.
//!
//! Whoever will have the right is the agent's owner: members see no policy's identity (specification 1.2).

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::absent;
use crate::control::api::ApiState;
use crate::control::api::access::{AgentOwned, need};

absent!(
    /// Replay recent calls against a draft
    ///
    /// For the agent's owner.
    simulate_policy, "simulations", AgentOwned<need::PoliciesRead>, "policies:read",
    post, "/api/agents/{id}/policies/simulate", "simulatePolicy", "Policies (next)",
    params(("id" = String, Path, description = "The agent.", format = Uuid)),
);

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(simulate_policy))
}
