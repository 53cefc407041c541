//! Routes that the reference names and this release does not have: upstream credentials, connections,
//! entities and structured policies.
//!
//! Invariants: they ask for the same rights as they will (401, 403 and 404 come first), then say so (501);
//! nothing is read from a body, done or pretended.

mod credentials;

use utoipa_axum::router::OpenApiRouter;

use super::ApiState;
use super::problem::{Code, Problem};

/// The one answer.
fn answer(what: &str) -> Problem {
    Problem::new(Code::NotImplemented, format!("{what} are not in this release"))
        .with_help("nothing was done; the changelog will name the release that has them")
}

/// A route that only asks for its right: its words, its door, and what it will be about.
macro_rules! absent {
    (
        $(#[$doc:meta])* $name:ident, $what:literal, $door:ty, $scope:literal,
        $method:ident, $path:literal, $id:literal, $tag:literal, $($more:tt)*
    ) => {
        $(#[$doc])*
        #[utoipa::path(
            $method, path = $path, operation_id = $id, tag = $tag,
            responses((
                status = 501, description = "`not_implemented`: this release does not have it yet",
                body = crate::control::api::problem::ProblemBody,
                content_type = "application/problem+json",
                example = json!({
                    "type": "/api/docs/errors#not_implemented",
                    "title": "This release does not have it yet",
                    "status": 501,
                    "code": "not_implemented",
                    "detail": concat!($what, " are not in this release"),
                    "help": "nothing was done; the changelog will name the release that has them",
                    "requestId": "019700a3-5c00-7c3e-9a41-0e8f6b2d7c11"
                }),
            ), crate::control::api::problem::Refusals),
            security(("session" = []), ("token" = [$scope])),
            $($more)*
        )]
        async fn $name(_may: $door) -> crate::control::api::problem::Problem {
            super::answer($what)
        }
    };
}
use absent;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().merge(credentials::routes())
}
