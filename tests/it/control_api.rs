//! The REST API: who is let in, and how it says what is wrong.

use crate::harness::{Gate, GateOptions};

#[tokio::test]
async fn a_token_opens_what_its_scopes_name_and_nobody_opens_nothing() {
    let gate = Gate::start(GateOptions::new(Vec::new())).await;
    assert_eq!(gate.nobody().get("/api/status").await.expect(200)["status"], "ok");
    let path = "/api/agents/0190b5a0-0000-7000-8000-000000000001/services/github/credentials";
    let unknown = gate.nobody().put(path, serde_json::json!({})).await;
    let problem = unknown.expect(401);
    assert_eq!(problem["code"], "unauthenticated");
    assert_eq!(unknown.header("content-type"), Some("application/problem+json"));
    assert_eq!(problem["requestId"].as_str(), unknown.header("x-request-id"));
    let ann = gate.account_with("ann@example.com", &["agents:read"]).await;
    assert_eq!(ann.put(path, serde_json::json!({})).await.expect(403)["code"], "scope_missing");
    let ann = gate.account("ann@example.com").await;
    assert_eq!(ann.put(path, serde_json::json!({})).await.expect(404)["code"], "not_found");
    assert_eq!(ann.get("/api/nothing").await.expect(404)["code"], "not_found");
    assert_eq!(
        ann.post("/api/status", serde_json::json!({})).await.expect(405)["code"],
        "method_not_allowed"
    );
    assert_eq!(ann.delete("/api/status").await.expect(405)["code"], "method_not_allowed");
    let document = gate.nobody().get("/api/openapi.json").await.expect(200);
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"), "{document}");
}
