//! Pages to read the API's description: `/api/docs`, and `/api/docs/errors` to which problems point.
//!
//! Invariants: made once from the document, which has no secret, so anybody may read them; nothing is
//! loaded from elsewhere, and nothing on them runs: the policy of contents names one style by its digest
//! and no script. Every word of the document is escaped.

mod html;
mod operation;
mod schema;

use std::sync::LazyLock;

use axum::Router;
use axum::response::IntoResponse;
use axum::routing::get;
use base64::Engine as _;
use http::header;
use serde_json::Value;
use sha2::Digest as _;

use super::problem::{Code, example};
use html::{escape, identifier, prose};

const STYLE: &str = include_str!("docs/style.css");

/// The pages' own policy of contents.
static CONTENT_POLICY: LazyLock<String> = LazyLock::new(|| {
    let digest = base64::engine::general_purpose::STANDARD.encode(sha2::Sha256::digest(STYLE.as_bytes()));
    format!(
        "default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
});

/// The pages about this document.
pub(super) fn routes(document: &'static Value) -> Router {
    static REFERENCE: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    static ERRORS: LazyLock<String> = LazyLock::new(errors);
    let page = move || async move { respond(REFERENCE.get_or_init(|| reference(document))) };
    Router::new().route("/api/docs", get(page)).route("/api/docs/errors", get(async || respond(&ERRORS)))
}

fn respond(page: &'static str) -> impl IntoResponse {
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, CONTENT_POLICY.as_str()),
    ];
    (headers, page)
}

fn shell(title: &str, menu: &str, main: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{}</title>\n\
         <style>{STYLE}</style>\n</head>\n<body>\n<nav aria-label=\"Contents\">\n{menu}</nav>\n<main>\n{main}</main>\n\
         </body>\n</html>\n",
        escape(title)
    )
}

/// The reference: every operation by its tag, then the shapes.
fn reference(document: &Value) -> String {
    let text = |pointer: &str| document.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let version = text("/info/version");
    let mut menu = "<p class=\"home\">Wicket</p>\n<p><a href=\"#start\">Start here</a></p>\n".to_owned();
    let mut main = format!(
        "<header id=\"start\">\n<h1>REST API <small>{}</small></h1>\n{}<p>The same for programs: \
         <a href=\"/api/openapi.json\">/api/openapi.json</a> (OpenAPI 3.1). \
         What goes wrong: <a href=\"/api/docs/errors\">problems and their codes</a>.</p>\n</header>\n",
        escape(version),
        prose(text("/info/description")),
    );
    main.push_str(&credentials(document));
    for tag in document.get("tags").and_then(Value::as_array).into_iter().flatten() {
        let name = tag.get("name").and_then(Value::as_str).unwrap_or_default();
        let about = tag.get("description").and_then(Value::as_str).unwrap_or_default();
        let anchor = identifier("tag", name);
        menu.push_str(&format!("<h2><a href=\"#{anchor}\">{}</a></h2>\n<ul>\n", escape(name)));
        main.push_str(&format!("<section id=\"{anchor}\">\n<h2>{}</h2>\n{}", escape(name), prose(about)));
        for found in operation::of_tag(document, name) {
            menu.push_str(&found.entry());
            main.push_str(&found.section(document));
        }
        menu.push_str("</ul>\n");
        main.push_str("</section>\n");
    }
    menu.push_str("<h2><a href=\"#shapes\">Shapes</a></h2>\n");
    main.push_str(&schema::all(document));
    shell("Wicket: REST API", &menu, &main)
}

/// How a request says who asks.
fn credentials(document: &Value) -> String {
    let mut text = "<section id=\"credentials\">\n<h2>Credentials</h2>\n<dl>\n".to_owned();
    let schemes = document.pointer("/components/securitySchemes").and_then(Value::as_object);
    let mut schemes: Vec<(&String, &Value)> = schemes.into_iter().flatten().collect();
    // The simplest first: a token, a session, and what a session needs beside it.
    schemes.sort_by_key(|(name, _)| ["token", "session"].iter().position(|first| first == name).unwrap_or(9));
    for (name, scheme) in schemes {
        let about = scheme.get("description").and_then(Value::as_str).unwrap_or_default();
        text.push_str(&format!(
            "<dt id=\"{}\">{}</dt>\n<dd>{}</dd>\n",
            identifier("credential", name),
            escape(name),
            prose(about)
        ));
    }
    text.push_str("</dl>\n</section>\n");
    text
}

/// The codes of problems, each with an anchor that a problem's `type` names.
fn errors() -> String {
    let mut menu =
        "<p class=\"home\">Wicket</p>\n<p><a href=\"/api/docs\">REST API</a></p>\n<ul>\n".to_owned();
    let mut main = "<header>\n<h1>Problems</h1>\n<p>A request that is not carried out is answered with one shape \
                    (RFC 9457), <code>application/problem+json</code>. Programs read <code>code</code>, which is never \
                    renamed; people read <code>detail</code> and <code>help</code>; <code>errors</code> names each wrong \
                    value with its place. The operator finds the request in the gate's log by \
                    <code>requestId</code>.</p>\n</header>\n"
        .to_owned();
    for code in Code::ALL {
        let name = code.as_str();
        let shown = serde_json::to_string_pretty(&example(*code)).unwrap_or_default();
        menu.push_str(&format!("<li><a href=\"#{name}\"><code>{name}</code></a></li>\n"));
        main.push_str(&format!(
            "<article id=\"{name}\">\n<h3><code>{name}</code> <span class=\"status\">{}</span></h3>\n<p>{}.</p>\n{}\
             <pre>{}</pre>\n</article>\n",
            code.status(),
            escape(code.title()),
            prose(code.advice()),
            escape(&shown),
        ));
    }
    menu.push_str("</ul>\n");
    shell("Wicket: problems", &menu, &main)
}

#[cfg(test)]
mod tests;
