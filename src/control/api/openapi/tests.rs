//! The document is the one in the repository, and what it says of every route alike is there.

use std::path::Path;

use serde_json::json;

use super::*;

/// `make openapi` writes it.
#[test]
#[expect(clippy::disallowed_methods, reason = "a test is told by its environment to accept what it finds")]
fn the_document_is_the_one_in_the_repository() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/openapi.json");
    let text = text();
    if std::env::var_os("WICKET_TEST_ACCEPT").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    let differs = kept.lines().zip(text.lines()).enumerate().find(|(_, (kept, made))| kept != made);
    assert!(
        kept == text,
        "docs/openapi.json is not what the handlers say (make openapi writes it, for you to read): {differs:?}"
    );
}

#[test]
fn the_document_names_its_license_and_its_tags() {
    assert_eq!(DOCUMENT["openapi"], "3.1.0");
    assert_eq!(DOCUMENT["info"]["license"]["identifier"], "Apache-2.0");
    assert_eq!(DOCUMENT["info"]["version"], env!("CARGO_PKG_VERSION"));
    let named: Vec<&str> = TAGS.iter().map(|(name, _)| *name).collect();
    for item in DOCUMENT["paths"].as_object().unwrap().values() {
        for operation in item.as_object().unwrap().values() {
            let tags = operation["tags"].as_array().unwrap();
            assert!(tags.len() == 1 && named.contains(&tags[0].as_str().unwrap()), "{tags:?} of {named:?}");
        }
    }
    for scope in Scope::ALL {
        let about = DOCUMENT["components"]["securitySchemes"]["token"]["description"].as_str().unwrap();
        assert!(about.contains(scope.as_str()), "{scope} is not explained");
    }
}

#[test]
fn what_cannot_be_answered_is_struck_and_the_rest_stays() {
    let shared = |status: &str| (status.to_owned(), json!({"$ref": "#/components/responses/Any"}));
    let all = ["400", "401", "403", "404", "409", "412", "413", "415", "429", "500"];
    let responses: serde_json::Map<String, Value> = all.into_iter().map(shared).collect();
    let table = [
        (json!([{}]), "get", false, false, "400 403 429 500"),
        (json!([{}]), "post", false, true, "400 401 403 409 412 413 415 429 500"),
        (json!([{}, {"session": []}]), "get", true, false, "400 403 404 429 500"),
        (json!([{"session": []}]), "get", true, false, "400 401 403 404 429 500"),
        (json!([{"session": []}]), "post", false, true, "400 401 403 409 412 413 415 429 500"),
        (json!([{"session": []}]), "delete", true, false, "400 401 403 404 409 412 429 500"),
    ];
    for (security, method, of_path, body, expected) in table {
        let mut operation = json!({"security": security, "responses": responses});
        if of_path {
            operation["parameters"] = json!([{"name": "id", "in": "path"}]);
        }
        if body {
            operation["requestBody"] = json!({});
        }
        let finished = finish::finish(json!({"paths": {"/x": {method: operation}}, "tags": []}));
        let operation = &finished["paths"]["/x"][method];
        let left: Vec<&str> =
            operation["responses"].as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(left.join(" "), expected, "{method} {security}");
        let asks = operation["security"].as_array().unwrap().iter().any(|way| way.get("csrf").is_some());
        assert_eq!(asks, method != "get" && security.to_string().contains("session"), "{method} {security}");
    }
    let own = json!({"404": {"description": "mine"}});
    let finished = finish::finish(json!({"paths": {"/x": {"get": {"responses": own}}}}));
    assert_eq!(finished["paths"]["/x"]["get"]["responses"]["404"]["description"], "mine");
}
