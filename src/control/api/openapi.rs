//! The API's own description (OpenAPI 3.1), made of what is written on the handlers, and served.

use axum::Router;
use axum::response::IntoResponse;
use axum::routing::get;
use http::{HeaderValue, header};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityScheme};
use utoipa::{Modify, OpenApi};
use utoipa_axum::router::OpenApiRouter;

use super::ApiState;
use super::caller::cookie::SECURE_NAME;
use super::problem::ProblemBody;

/// What there is to know of the cookie.
const SESSION: &str = "A signed-in browser's session. Over http, which is for loopback alone, the cookie is \
    named `wicket_session`. Each `POST`, `PUT` and `DELETE` by cookie comes from the gate's own origin and sends \
    the session's `csrfToken` (`GET /api/auth/status`) as `x-csrf-token`. A request with a cookie and an \
    `Authorization` is refused.";

#[derive(OpenApi)]
#[openapi(
    info(title = "Wicket", description = "The control API of the gate."),
    components(schemas(ProblemBody)),
    modifiers(&Credentials),
)]
struct Document;

struct Credentials;

impl Modify for Credentials {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let components = document.components.get_or_insert_default();
        let session = ApiKeyValue::with_description(SECURE_NAME, SESSION);
        let session = SecurityScheme::ApiKey(ApiKey::Cookie(session));
        components.add_security_scheme("session", session);
        components.add_security_scheme("token", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
    }
}

/// The document without routes.
pub(super) fn begun() -> OpenApiRouter<ApiState> {
    OpenApiRouter::with_openapi(Document::openapi())
}

/// The routes and their document beside them.
pub(super) fn served(router: Router, document: utoipa::openapi::OpenApi) -> Router {
    let text = document.to_pretty_json().unwrap_or_default();
    router.route(
        "/api/openapi.json",
        get(move || {
            let text = text.clone();
            async move {
                ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], text).into_response()
            }
        }),
    )
}
