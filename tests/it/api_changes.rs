//! Administrative changes over the REST API: who reads of them.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Api, Gate, GateOptions, until};

async fn targets(api: &Api) -> Vec<String> {
    let found = api.get("/api/audit/changes?limit=500").await.expect(200);
    let text = |change: &Value| {
        format!("{} {}", change["what"].as_str().unwrap(), change["target"].as_str().unwrap())
    };
    found["changes"].as_array().unwrap().iter().map(text).collect()
}

/// A target is words that people chose: an agent may be called like another's member, or like an address.
#[tokio::test]
async fn nobody_reads_of_a_change_by_naming_an_agent_like_its_target() {
    let gate = Gate::start(GateOptions::new(Vec::new())).await;
    let (ann, mallory) = (gate.account("ann@example.com").await, gate.account("mallory@example.com").await);
    for name in ["payroll/bob@example.com", "bob@example.com", "payroll/", "bundle"] {
        mallory.post("/api/agents", json!({ "name": name })).await.expect(201);
    }
    let agent = ann.post("/api/agents", json!({ "name": "payroll" })).await.expect(201);
    let id = agent["id"].as_str().unwrap();
    ann.post(&format!("/api/agents/{id}/invite"), json!({ "email": "bob@example.com" })).await.expect(201);
    let _bob = gate.account("bob@example.com").await;
    until("the owner reads of the invite", Duration::from_secs(10), async || {
        targets(&ann)
            .await
            .iter()
            .any(|one| one.starts_with("invite.") && one.ends_with("payroll/bob@example.com"))
            .then_some(())
    })
    .await;
    let read = targets(&mallory).await;
    assert!(read.iter().any(|one| one == "agent.create bundle"), "{read:?}");
    assert!(
        !read.iter().any(|one| one.starts_with("invite.") || one.starts_with("token.create bob")),
        "{read:?}"
    );
}
