//! The API's own description (OpenAPI 3.1), made of what is written on the handlers, and served.

use axum::Router;
use axum::response::IntoResponse;
use axum::routing::get;
use http::{HeaderValue, header};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityScheme};
use utoipa::{Modify, OpenApi};
use utoipa_axum::router::OpenApiRouter;

use super::ApiState;
use super::problem::ProblemBody;

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
        let session = SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::new("wicket_session")));
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
