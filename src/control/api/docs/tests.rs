//! The pages hold the whole document, and nothing of it as markup.

use serde_json::json;

use super::*;
use crate::control::api::routes as api_routes;

#[test]
fn every_operation_and_every_code_has_its_place() {
    let (_, document) = api_routes().split_for_parts();
    let document = serde_json::to_value(document).unwrap();
    let page = reference(&document);
    let paths = document["paths"].as_object().unwrap();
    for operation in paths.values().flat_map(|item| item.as_object().unwrap().values()) {
        let id = operation["operationId"].as_str().unwrap();
        let anchor = identifier("op", id);
        assert!(page.contains(&format!("<article id=\"{anchor}\">")), "{id} is not on the page");
        assert!(page.contains(&format!("<a href=\"#{anchor}\">")), "{id} is not in the menu");
    }
    for (name, _) in document["components"]["schemas"].as_object().unwrap() {
        assert!(page.contains(&format!("<article id=\"{}\">", identifier("shape", name))), "{name}");
    }
    let errors = errors();
    for code in Code::ALL {
        assert!(errors.contains(&format!("<article id=\"{}\">", code.as_str())), "{}", code.as_str());
    }
    for link in page.split("href=\"#").skip(1).filter_map(|rest| rest.split('"').next()) {
        assert!(page.contains(&format!("id=\"{link}\"")), "#{link} leads nowhere");
    }
}

#[test]
fn what_a_handler_says_is_no_markup() {
    let bad = "<script>alert(1)</script>\"'";
    let document = json!({
        "info": {"description": bad, "version": bad},
        "tags": [{"name": bad, "description": bad}],
        "paths": {bad: {"get": {
            "operationId": bad, "summary": bad, "description": bad, "tags": [bad],
            "security": [{bad: [bad]}, {"token": [bad]}],
            "parameters": [{"name": bad, "in": bad, "description": bad, "schema": {"type": bad, "format": bad, "pattern": bad, "default": bad}}],
            "requestBody": {"content": {bad: {"schema": {"enum": [bad]}, "example": {bad: bad}}}},
            "responses": {bad: {"description": bad, "content": {bad: {"schema": {"$ref": format!("#/components/schemas/{bad}")}, "example": bad}}}},
        }}},
        "components": {"schemas": {bad: {"description": bad, "properties": {bad: {"description": bad}}, "oneOf": [{"description": bad, "properties": {"a": {}}}]}},
            "securitySchemes": {bad: {"description": bad}}},
    });
    let page = reference(&document);
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#39;"));
    assert!(!page.contains("<script"), "a script came through");
    assert!(!page.contains("alert(1)</script>"));
}

#[test]
fn nothing_is_loaded_and_nothing_runs() {
    assert!(
        !STYLE.contains("url(") && !STYLE.contains("@import") && !STYLE.contains("</"),
        "the style loads something"
    );
    let policy = CONTENT_POLICY.as_str();
    assert!(
        policy.starts_with("default-src 'none'; style-src 'sha256-") && !policy.contains("unsafe"),
        "{policy}"
    );
    assert!(!policy.contains("script-src"), "{policy}");
}

#[test]
fn prose_knows_code_lists_and_paragraphs() {
    assert_eq!(
        prose("One `a<b`.\n\n- x\n- `y`"),
        "<p>One <code>a&lt;b</code>.</p>\n<ul>\n<li>x</li>\n<li><code>y</code></li>\n</ul>\n"
    );
    assert_eq!(html::inline("a ` b"), "a ` b");
}
