//! Credentials of upstreams, members' connections, harvested entities: six routes.

use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::absent;
use crate::control::api::ApiState;
use crate::control::api::access::{AgentOwned, AgentSeen, MemberSeen, need};

/// An agent's OAuth app for a connector, and the secret that signs the connector's webhooks.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(example = json!({"clientId": "Iv1.8a61f9b3a7aba766", "clientSecret": "…", "webhookSecret": "…"}))]
#[expect(dead_code, reason = "documents a body that this release does not read")]
struct ServiceCredentials {
    /// The OAuth app's id, as the provider shows it.
    #[schema(min_length = 1, max_length = 256)]
    client_id: Option<String>,
    /// The OAuth app's secret. It is never shown again.
    #[schema(min_length = 1, max_length = 1024, format = Password)]
    client_secret: Option<String>,
    /// Slack, Linear, Stripe and Hugging Face: the secret that signs what they send.
    #[schema(min_length = 1, max_length = 1024, format = Password)]
    webhook_secret: Option<String>,
    /// Removes the stored webhook secret; not together with `webhookSecret`.
    clear_webhook_secret: Option<bool>,
}

absent!(
    /// Set the agent's OAuth app for a connector
    ///
    /// For the agent's owner. Slack, Linear, Stripe and Hugging Face also take `webhookSecret`, or
    /// `clearWebhookSecret: true` to remove a stored one.
    put_credentials, "upstream credentials", AgentOwned<need::CredentialsWrite>, "credentials:write",
    put, "/api/agents/{id}/services/{service}/credentials", "putServiceCredentials", "Not in this release",
    params(
        ("id" = String, Path, description = "The agent.", format = Uuid),
        ("service" = String, Path, description = "The connector's key.", min_length = 1, max_length = 64, example = "github"),
    ),
    request_body(content = ServiceCredentials, content_type = "application/json"),
);

absent!(
    /// Remove the agent's OAuth app for a connector
    ///
    /// For the agent's owner.
    delete_credentials, "upstream credentials", AgentOwned<need::CredentialsWrite>, "credentials:write",
    delete, "/api/agents/{id}/services/{service}/credentials", "deleteServiceCredentials", "Not in this release",
    params(
        ("id" = String, Path, description = "The agent.", format = Uuid),
        ("service" = String, Path, description = "The connector's key.", min_length = 1, max_length = 64, example = "github"),
    ),
);

absent!(
    /// Which connectors have credentials configured
    ///
    /// For whoever has a part in the agent: members connect what is configured. It will never show a secret.
    list_credentials, "upstream credentials", AgentSeen<need::CredentialsRead>, "credentials:read",
    get, "/api/agents/{id}/services/credentials", "listServiceCredentials", "Not in this release",
    params(("id" = String, Path, description = "The agent.", format = Uuid)),
);

absent!(
    /// Disconnect your own connection to a service
    ///
    /// For members, each of its own.
    delete_connection, "connections", AgentSeen<need::CredentialsWrite>, "credentials:write",
    delete, "/api/agents/{id}/connect/{service}", "deleteConnection", "Not in this release",
    params(
        ("id" = String, Path, description = "The agent.", format = Uuid),
        ("service" = String, Path, description = "The connector's key.", min_length = 1, max_length = 64, example = "github"),
    ),
);

absent!(
    /// A member's connections
    ///
    /// For that member and the agent's owner. Metadata alone: never a token.
    list_connections, "connections", MemberSeen<need::CredentialsRead>, "credentials:read",
    get, "/api/agents/{id}/members/{memberId}/connections", "listMemberConnections", "Not in this release",
    params(
        ("id" = String, Path, description = "The agent.", format = Uuid),
        ("memberId" = String, Path, description = "The member.", format = Uuid),
    ),
);

absent!(
    /// Harvested entities of a kind, for choosing in policies
    ///
    /// Repositories, channels, teams and the like. For the agent's owner, who writes the policies.
    list_entities, "harvested entities", AgentOwned<need::PoliciesRead>, "policies:read",
    get, "/api/agents/{id}/entities/{service}/{type}", "listEntities", "Not in this release",
    params(
        ("id" = String, Path, description = "The agent.", format = Uuid),
        ("service" = String, Path, description = "The connector's key.", min_length = 1, max_length = 64, example = "github"),
        ("type" = String, Path, description = "The kind of entity.", min_length = 1, max_length = 64, example = "repository"),
    ),
);

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(put_credentials, delete_credentials))
        .routes(routes!(list_credentials))
        .routes(routes!(delete_connection))
        .routes(routes!(list_connections))
        .routes(routes!(list_entities))
}
