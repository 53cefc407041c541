use serde_json::{Value, json};

use super::*;
use crate::mcp::{self, FromUpstream};

fn page(result: &Value) -> ReplyBody {
    let text = json!({"jsonrpc": "2.0", "id": 1, "result": result}).to_string();
    match mcp::read_upstream(text.into(), mcp::Limits::REPLY) {
        Ok(FromUpstream::Response { body, .. }) => body,
        other => panic!("{other:?}"),
    }
}

fn tool(name: &str) -> Value {
    json!({"name": name, "inputSchema": {"type": "object"}})
}

#[test]
fn pages_are_put_together_and_a_name_that_comes_twice_is_refused() {
    let mut pages = Pages::new(7);
    let next = pages.take(&page(&json!({"tools": [tool("a"), tool("b")], "nextCursor": "2"})));
    assert_eq!(next, Ok(Some("2".to_owned())));
    assert_eq!(pages.take(&page(&json!({"tools": [tool("a"), tool("c"), {"name": "bad"}]}))), Ok(None));
    let listed = pages.finish();
    assert_eq!(listed.changes, 7);
    assert_eq!(listed.definitions.iter().map(|d| d.name.as_str()).collect::<Vec<_>>(), ["a", "b", "c"]);
    assert_eq!(listed.refused.iter().map(|r| r.name.as_str()).collect::<Vec<_>>(), ["bad", "a"]);
}

#[test]
fn a_list_without_end_is_given_up() {
    let mut circle = Pages::new(0);
    let same = page(&json!({"tools": [], "nextCursor": "again"}));
    assert!(circle.take(&same).is_ok());
    assert!(circle.take(&same).unwrap_err().to_string().contains("circle"));

    let mut endless = Pages::new(0);
    let given_up = (0..=PAGES_MAX)
        .find_map(|n| endless.take(&page(&json!({"tools": [], "nextCursor": n.to_string()}))).err());
    assert!(given_up.unwrap().to_string().contains("100 pages"));

    let mut crowded = Pages::new(0);
    let many: Vec<Value> = (0..6_000).map(|n| tool(&format!("t{n}"))).collect();
    assert!(crowded.take(&page(&json!({"tools": many, "nextCursor": "2"}))).is_ok());
    let more: Vec<Value> = (0..6_000).map(|n| tool(&format!("u{n}"))).collect();
    assert!(crowded.take(&page(&json!({"tools": more}))).unwrap_err().to_string().contains("10000 tools"));
}

#[test]
fn an_error_instead_of_a_list_is_a_failure() {
    let text = r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"no \u0007tools"}}"#;
    let Ok(FromUpstream::Response { body, .. }) = mcp::read_upstream(text.into(), mcp::Limits::REPLY) else {
        panic!("no response")
    };
    let failure = Pages::new(0).take(&body).unwrap_err().to_string();
    assert!(failure.contains("-32601 `no \\u{7}tools`"), "{failure}");
}

#[test]
fn a_tool_whose_header_annotations_break_the_rules_is_not_served() {
    use crate::connector::{Connectors, Lock};
    use crate::model::{ServiceKey, SourceFile};
    let annotated = |name: &str, header: &str| {
        json!({"name": name, "inputSchema": {"type": "object", "properties": {
            "a": {"type": "string", "x-mcp-header": header}}}})
    };
    let tools = [annotated("good", "Region"), annotated("bad", "no token")];
    let service = ServiceKey::parse("peer").unwrap();
    let lock = Lock::from_definitions(&service, &tools, None).unwrap().to_json().unwrap();
    let descriptor = "[transport]\nkind = \"stdio\"\ncommand = \"cat\"\n";
    let files = [SourceFile::new("peer.toml", descriptor), SourceFile::new("peer.tools.json", &lock)];
    let connectors = Connectors::read(&files).unwrap();
    let mut pages = Pages::new(0);
    pages.take(&page(&json!({ "tools": tools }))).unwrap();
    let catalogue = Catalogue::compare(&pages.finish(), connectors.get("peer").unwrap(), false);
    assert_eq!(catalogue.definitions.iter().map(|d| d.name.as_str()).collect::<Vec<_>>(), ["good"]);
    assert!(catalogue.quarantined["bad"].to_string().contains("x-mcp-header"));
}
