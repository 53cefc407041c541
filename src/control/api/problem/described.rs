//! How the API's own description tells of problems.

use std::collections::BTreeMap;

use http::StatusCode;
use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::example::ExampleBuilder;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::openapi::{Ref, RefOr, ResponseBuilder};

use super::{Code, MEDIA_TYPE, Problem};

/// The refusals that a documented route may answer with, beside its own: references to what
/// [`shared_responses`] describes. `openapi` strikes those that cannot happen to a route.
pub(in crate::control::api) struct Refusals;

impl utoipa::IntoResponses for Refusals {
    fn responses() -> BTreeMap<String, RefOr<utoipa::openapi::Response>> {
        let named = by_status().into_keys();
        named
            .map(|status| {
                (status.as_str().to_owned(), RefOr::Ref(Ref::from_response_name(response_name(status))))
            })
            .collect()
    }
}

/// Codes of refusals that any route may meet, by their status. A method that a path does not take and
/// what is not in this release are no answers of a documented route, or are its own.
fn by_status() -> BTreeMap<StatusCode, Vec<Code>> {
    let mut codes: BTreeMap<StatusCode, Vec<Code>> = BTreeMap::new();
    for code in Code::ALL
        .iter()
        .filter(|code| !matches!(code, Code::NotImplemented | Code::MethodNotAllowed | Code::VersionMissing))
    {
        codes.entry(code.status()).or_default().push(*code);
    }
    codes
}

/// `NotFound` of 404.
fn response_name(status: StatusCode) -> String {
    status.canonical_reason().unwrap_or("Refused").replace([' ', '-'], "")
}

/// What the document says of each refusal, by name.
pub(in crate::control::api) fn shared_responses() -> BTreeMap<String, RefOr<utoipa::openapi::Response>> {
    by_status()
        .into_iter()
        .map(|(status, codes)| (response_name(status), RefOr::T(shared(status, &codes))))
        .collect()
}

fn shared(status: StatusCode, codes: &[Code]) -> utoipa::openapi::Response {
    let named: Vec<String> =
        codes.iter().map(|code| format!("`{}`: {}", code.as_str(), code.title())).collect();
    let mut content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem")));
    for code in codes {
        let shown = ExampleBuilder::new().summary(code.title()).value(Some(example(*code))).build();
        content = content.examples_from_iter([(code.as_str(), shown)]);
    }
    let mut response =
        ResponseBuilder::new().description(named.join("; ")).content(MEDIA_TYPE, content.build());
    if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
        let seconds = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(1)).build();
        let header = HeaderBuilder::new()
            .schema(Some(Schema::Object(seconds)))
            .description(Some("Seconds to wait."))
            .build();
        response = response.header("retry-after", header);
    }
    if status == StatusCode::UNAUTHORIZED {
        let header = HeaderBuilder::new().description(Some("Always `Bearer realm=\"wicket\"`.")).build();
        response = response.header("www-authenticate", header);
    }
    response.build()
}

/// A problem as it is answered, for the document.
pub(in crate::control::api) fn example(code: Code) -> serde_json::Value {
    let problem = match code {
        Code::Invalid => Problem::field("query.limit", "1 to 500 is taken"),
        Code::NotFound => Problem::not_found("agent"),
        _ => Problem::new(code, code.title()),
    };
    serde_json::to_value(problem.body("019700a3-5c00-7c3e-9a41-0e8f6b2d7c11")).unwrap_or_default()
}
