//! Structured policies: eight routes, which come with the policies themselves.
//!
//! Whoever will have the right is the agent's owner: members see no policy's identity (specification 1.2).

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::absent;
use crate::control::api::ApiState;
use crate::control::api::access::{AgentOwned, need};

absent!(
    /// List policies
    ///
    /// For the agent's owner.
    list_policies, "structured policies", AgentOwned<need::PoliciesRead>, "policies:read",
    get, "/api/agents/{id}/policies", "listPolicies", "Policies (next)",
    params(("id" = String, Path, description = "The agent.", format = Uuid)),
);

absent!(
    /// Create a policy
    ///
    /// For the agent's owner.
    create_policy, "structured policies", AgentOwned<need::PoliciesWrite>, "policies:write",
    post, "/api/agents/{id}/policies", "createPolicy", "Policies (next)",
    params(("id" = String, Path, description = "The agent.", format = Uuid)),
);

absent!(
    /// Update a policy
    ///
    /// For the agent's owner.
    update_policy, "structured policies", AgentOwned<need::PoliciesWrite>, "policies:write",
    put, "/api/agents/{id}/policies/{policyId}", "updatePolicy", "Policies (next)",
    params(
        ("id" = String, Path, description = "The agent.", format = Uuid),
        ("policyId" = String, Path, description = "The policy.", min_length = 1, max_length = 64, example = "p_019700a3-5c00-7c3e-9a41-0e8f6b2d7c11"),
    ),
);

absent!(
    /// Delete a policy
    ///
    /// For the agent's owner.
    delete_policy, "structured policies", AgentOwned<need::PoliciesWrite>, "policies:write",
    delete, "/api/agents/{id}/policies/{policyId}", "deletePolicy", "Policies (next)",
    params(
        ("id" = String, Path, description = "The agent.", format = Uuid),
        ("policyId" = String, Path, description = "The policy.", min_length = 1, max_length = 64, example = "p_019700a3-5c00-7c3e-9a41-0e8f6b2d7c11"),
    ),
);

absent!(
    /// Enable or disable a policy without deleting it
    ///
    /// For the agent's owner.
    toggle_policy, "structured policies", AgentOwned<need::PoliciesWrite>, "policies:write",
    post, "/api/agents/{id}/policies/{policyId}/toggle", "togglePolicy", "Policies (next)",
    params(
        ("id" = String, Path, description = "The agent.", format = Uuid),
        ("policyId" = String, Path, description = "The policy.", min_length = 1, max_length = 64, example = "p_019700a3-5c00-7c3e-9a41-0e8f6b2d7c11"),
    ),
);

absent!(
    /// A policy's versions, with what each said
    ///
    /// For the agent's owner.
    list_versions, "structured policies", AgentOwned<need::PoliciesRead>, "policies:read",
    get, "/api/agents/{id}/policies/{policyId}/versions", "listPolicyVersions", "Policies (next)",
    params(
        ("id" = String, Path, description = "The agent.", format = Uuid),
        ("policyId" = String, Path, description = "The policy.", min_length = 1, max_length = 64, example = "p_019700a3-5c00-7c3e-9a41-0e8f6b2d7c11"),
    ),
);

absent!(
    /// Compile a draft to Cedar without saving it
    ///
    /// For the agent's owner.
    preview_policy, "structured policies", AgentOwned<need::PoliciesRead>, "policies:read",
    post, "/api/agents/{id}/policies/preview", "previewPolicy", "Policies (next)",
    params(("id" = String, Path, description = "The agent.", format = Uuid)),
);

absent!(
    /// Replay recent calls against a draft
    ///
    /// For the agent's owner.
    simulate_policy, "structured policies", AgentOwned<need::PoliciesRead>, "policies:read",
    post, "/api/agents/{id}/policies/simulate", "simulatePolicy", "Policies (next)",
    params(("id" = String, Path, description = "The agent.", format = Uuid)),
);

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(list_policies, create_policy))
        .routes(routes!(update_policy, delete_policy))
        .routes(routes!(toggle_policy))
        .routes(routes!(list_versions))
        .routes(routes!(preview_policy))
        .routes(routes!(simulate_policy))
}
