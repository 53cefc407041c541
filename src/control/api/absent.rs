//! Routes that the reference names and this release does not have: upstream credentials, connections and
//! entities. They ask for the same rights as they will, then say so (501); nothing is pretended.

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::ApiState;
use super::access::{AgentOwned, need};
use super::problem::{Code, MEDIA_TYPE, Problem, ProblemBody, Refusals};

fn absent(what: &str) -> Problem {
    Problem::new(Code::NotImplemented, format!("{what} are not in this release"))
        .with_help("the changelog will name the release that has them")
}

macro_rules! absent {
    ($(#[$doc:meta])* $name:ident, $id:literal, $method:ident, $path:literal, $what:literal, $door:ty, $scope:literal) => {
        $(#[$doc])*
        #[utoipa::path(
            $method, path = $path, operation_id = $id, tag = "Not in this release",
            responses((status = 501, description = "`not_implemented`", body = ProblemBody, content_type = MEDIA_TYPE), Refusals),
            security(("session" = []), ("token" = [$scope])),
        )]
        async fn $name(_may: $door) -> Problem {
            absent($what)
        }
    };
}

absent!(
    /// Set the agent's OAuth app credentials for a connector (owner)
    put_credentials, "putServiceCredentials", put, "/api/agents/{id}/services/{service}/credentials",
    "upstream credentials", AgentOwned<need::CredentialsWrite>, "credentials:write"
);

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(put_credentials))
}
