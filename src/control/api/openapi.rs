//! The API's own description (OpenAPI 3.1), made of what is written on the handlers, and served.
//!
//! Invariant: there is no second description. What is said here is said of every route alike; what one
//! route does stands on its handler, and `finish` puts the two together.

mod example;
mod finish;
mod strict;

use std::sync::LazyLock;

use axum::Router;
use axum::middleware::from_fn;
use axum::response::IntoResponse;
use axum::routing::get;
use http::{HeaderValue, header};
use serde_json::Value;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::server::ServerBuilder;
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{LicenseBuilder, RefOr};
use utoipa::{Modify, OpenApi};
use utoipa_axum::router::OpenApiRouter;

use super::caller::cookie::LOOPBACK_NAME;
use super::problem::{ProblemBody, shared_responses};
use super::{ApiState, docs};
use crate::model::Scope;

/// What the whole is about; the first thing that a reader of the document sees.
const ABOUT: &str = "The control plane of the gate: agents, members, keys, sessions, audit. It is not the way \
of the calls themselves: an MCP client speaks to `/mcp` with its member key.\n\n\
A program sends `Authorization: Bearer <API token>`; a browser is signed in by a cookie. Times are RFC 3339 in \
UTC with milliseconds. Unknown parameters, unknown fields and values out of range are refused, with the place. \
Every refusal has one shape, `Problem` (RFC 9457), and every answer carries `x-request-id`. What an account has no \
part in is answered as if it were not there (404). A change that was answered holds for the next call.";

/// The tags, in the order of the page.
const TAGS: &[(&str, &str)] = &[
    (
        "Agents",
        "Named AI identities: what they are called, whether they are on, which connectors they may use.",
    ),
    (
        "Members",
        "Who belongs to an agent, and how far each has come: invites, joining, approval, removal, groups, onboarding.",
    ),
    (
        "Keys",
        "A member's key, with which its MCP client calls. It is shown once, and nobody else ever sees it.",
    ),
    (
        "Policies",
        "The policies that an agent stores, beside the files' guardrails, which hold for every agent: filled in as a \
         form or written as Cedar, versioned, tried before they are saved. For the agent's owner.",
    ),
    ("Connectors", "The connectors that this gate knows, and their tools."),
    ("Sessions", "Tool sessions: the calls of one conversation of one client, with their counters."),
    ("Audit", "What was called, by whom and how it was decided; who changed what."),
    ("Statistics", "Counts and times, from the audit."),
    ("Account", "The account itself: signing in, and the browsers in which it is signed in."),
    ("Tokens", "API tokens, for programs. A person makes and revokes them, signed in."),
    ("Service", "The gate's own health."),
    (
        "Policies (next)",
        "What stored policies will take. Not in this release: this asks for the right that it will take, then \
         answers 501 and does nothing.",
    ),
    (
        "Not in this release",
        "Credentials of upstreams, members' connections and harvested entities. These routes ask for the right \
         that they will take, then answer 501 and do nothing.",
    ),
];

#[derive(OpenApi)]
#[openapi(info(title = "Wicket"), components(schemas(ProblemBody)), modifiers(&Common))]
struct Document;

/// What holds of every route.
struct Common;

impl Modify for Common {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        document.info.description = Some(ABOUT.to_owned());
        document.info.contact = None;
        let license = LicenseBuilder::new().name("Apache License 2.0").identifier(Some("Apache-2.0"));
        document.info.license = Some(license.build());
        let server = ServerBuilder::new().url("/").description(Some("The gate that serves this document"));
        document.servers = Some(vec![server.build()]);
        let tag =
            |(name, about): &(&str, &str)| TagBuilder::new().name(*name).description(Some(*about)).build();
        document.tags = Some(TAGS.iter().map(tag).collect());
        let components = document.components.get_or_insert_default();
        components.responses = shared_responses();
        let text =
            Schema::Object(ObjectBuilder::new().schema_type(Type::String).max_length(Some(64)).build());
        let request_id = HeaderBuilder::new()
            .schema(Some(text))
            .description(Some("Under which the gate's log names this request."));
        components.headers.insert("RequestId".to_owned(), RefOr::T(request_id.build()));
        for (name, scheme) in credentials() {
            components.add_security_scheme(name, scheme);
        }
    }
}

fn credentials() -> [(&'static str, SecurityScheme); 3] {
    let scopes: Vec<String> =
        Scope::ALL.iter().map(|scope| format!("- `{}`: {}", scope.as_str(), scope.about())).collect();
    let token = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("wkt_…").description(Some(format!(
        "An API token: it may do what its account may do and its scopes name. A person makes one, signed in.\n\n{}",
        scopes.join("\n")
    )));
    let session = ApiKeyValue::with_description(
        LOOPBACK_NAME,
        "A browser's session: it may do what its account may do. Over https the cookie is called \
         `__Host-wicket_session`. A request with a cookie and an `Authorization` is refused.",
    );
    let word = ApiKeyValue::with_description(
        "x-csrf-token",
        "The session's own word, as `GET /api/auth/status` tells it, for whatever changes something; the request's \
         `Origin` must be the gate's own page.",
    );
    [
        ("session", SecurityScheme::ApiKey(ApiKey::Cookie(session))),
        ("csrf", SecurityScheme::ApiKey(ApiKey::Header(word))),
        ("token", SecurityScheme::Http(token.build())),
    ]
}

/// The document without routes.
pub(super) fn begun() -> OpenApiRouter<ApiState> {
    OpenApiRouter::with_openapi(Document::openapi())
}

/// The whole document.
static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
    let (_, document) = super::routes().split_for_parts();
    finish::finish(serde_json::to_value(document).unwrap_or_default())
});

/// The document as it is served and kept under `docs/`.
fn text() -> String {
    let mut text = serde_json::to_string_pretty(&*DOCUMENT).unwrap_or_default();
    text.push('\n');
    text
}

/// The routes, and beside them the document and the pages to read it.
pub(super) fn served(router: Router) -> Router {
    static TEXT: LazyLock<String> = LazyLock::new(text);
    let json = async || {
        ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], TEXT.as_str())
            .into_response()
    };
    let router = router.route_layer(from_fn(strict::no_unasked_query));
    router.route("/api/openapi.json", get(json)).merge(docs::routes(&DOCUMENT))
}

#[cfg(test)]
mod tests;
