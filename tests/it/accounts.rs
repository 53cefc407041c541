//! Accounts by the operator's word: over a running gate and a stopped one, and what a word takes away.

use serde_json::{Value, json};

use crate::harness::{Api, Gate, GateOptions};

async fn gate() -> Gate {
    Gate::start(GateOptions::new(Vec::new())).await
}

/// What a command says with `--json`.
async fn said(gate: &Gate, words: &str) -> Value {
    let arguments: Vec<&str> = words.split(' ').chain(["--json"]).collect();
    let (fine, text) = gate.command(&arguments).await;
    assert!(fine, "{words}: {text}");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{words}: {error}: {text}"))
}

async fn refused(gate: &Gate, words: &str) -> String {
    let arguments: Vec<&str> = words.split(' ').collect();
    let (fine, text) = gate.command(&arguments).await;
    assert!(!fine, "{words}: {text}");
    text
}

/// Every word about accounts; the gate may run or not.
async fn every_word(gate: &Gate) {
    assert_eq!(said(gate, "account list").await, json!([]));
    let made = said(gate, "account create Ann@Example.com").await;
    assert_eq!((&made["email"], &made["status"]), (&json!("ann@example.com"), &json!("active")));
    assert!(refused(gate, "account create ann@example.com").await.contains("exists already"));
    assert!(refused(gate, "account create ann").await.contains("name@example.com"));
    assert!(refused(gate, "account show eve@example.com").await.contains("wicket account create"));
    said(gate, "account create bob@example.com").await;
    assert_eq!(said(gate, "account list").await.as_array().unwrap().len(), 2);

    let minted = said(gate, "token create ann@example.com --name nightly --scope audit:read --days 7").await;
    assert!(minted["token"].as_str().unwrap().starts_with("wkt_"));
    assert!(
        refused(gate, "token create ann@example.com --name x --scope audit:read --days 367")
            .await
            .contains("366")
    );
    assert!(
        refused(gate, "token create ann@example.com --name x --scope audit --days 7")
            .await
            .contains("not a scope")
    );
    assert_eq!(said(gate, "token list ann@example.com").await[0]["id"], minted["id"]);
    let revoked = said(gate, &format!("token revoke {}", minted["id"].as_str().unwrap())).await;
    assert!(revoked["revokedAt"].is_string());

    let link = said(gate, "account sign-in-link bob@example.com").await;
    assert!(link["url"].as_str().unwrap().contains("/sign-in#"), "{link}");
    assert!(
        refused(gate, "account sign-in-link eve@example.com")
            .await
            .contains("neither an account nor an invite")
    );

    said(gate, "agent create given --owner ann@example.com").await;
    assert!(refused(gate, "agent create lost --owner eve@example.com").await.contains("no account"));
    assert!(refused(gate, "agent show lost").await.contains("no agent"));
    said(gate, "account adopt tester ann@example.com").await;
    let shown = said(gate, "account show ann@example.com").await;
    assert_eq!(shown["agents"], json!(["given", "tester"]));
    assert_eq!(shown["tokens"], json!([]), "those that open");
    assert!(refused(gate, "account adopt tester bob@example.com").await.contains("--replace"));
    let adopted = said(gate, "account adopt tester bob@example.com --replace").await;
    let roles: Vec<_> = adopted["members"]
        .as_array()
        .unwrap()
        .iter()
        .map(|member| (&member["name"], &member["role"]))
        .collect();
    let (alice, ann, bob) = (json!("alice"), json!("ann@example.com"), json!("bob@example.com"));
    let (member, owner) = (json!("member"), json!("owner"));
    assert_eq!(roles, [(&alice, &member), (&ann, &member), (&bob, &owner)]);

    assert_eq!(said(gate, "account disable ann@example.com").await["status"], "disabled");
    assert!(refused(gate, "account sign-in-link ann@example.com").await.contains("disabled"));
    assert!(
        refused(gate, "token create ann@example.com --name x --scope audit:read --days 7")
            .await
            .contains("disabled")
    );
    assert_eq!(said(gate, "account enable ann@example.com").await["status"], "active");
    for words in ["account list", "account show ann@example.com", "token list ann@example.com"] {
        let arguments: Vec<&str> = words.split(' ').collect();
        let (fine, text) = gate.command(&arguments).await;
        assert!(fine && (text.contains("ann@example.com") || text.contains("nightly")), "{words}: {text}");
    }
}

#[tokio::test]
async fn the_operators_words_hold_with_a_gate_that_runs() {
    every_word(&gate().await).await;
}

#[tokio::test]
async fn the_operators_words_hold_with_a_gate_that_is_stopped() {
    let mut gate = gate().await;
    gate.stop().await;
    every_word(&gate).await;
    // What was made while it stood still opens when it runs.
    let minted = said(&gate, "token create bob@example.com --name t --scope account:read --days 1").await;
    gate.launch().await;
    let bob = Api::new(gate.control(), minted["token"].as_str());
    assert_eq!(bob.get("/api/auth/status").await.expect(200)["account"]["email"], "bob@example.com");
}

#[tokio::test]
async fn whoever_is_shut_out_is_out_at_once_and_for_all_they_had() {
    let gate = gate().await;
    let link = || gate.admin(json!({ "do": "account_link", "email": "ann@example.com" }));
    let browser = gate.browser("ann@example.com").await;
    let machine = gate.account("ann@example.com").await;
    let bob = gate.browser("bob@example.com").await;
    let waiting = link().await["url"].as_str().unwrap().to_owned();
    for client in [&browser, &machine, &bob] {
        client.get("/api/users/me/sessions").await.expect(200);
    }
    gate.admin(json!({ "do": "account_status", "email": "ann@example.com", "status": "disabled" })).await;
    for client in [&browser, &machine] {
        client.get("/api/users/me/sessions").await.expect(401);
    }
    bob.get("/api/users/me/sessions").await.expect(200);
    // Her member key is the agents' owners' to take away.
    gate.admin(json!({ "do": "account_status", "email": "ann@example.com", "status": "active" })).await;
    for client in [&browser, &machine] {
        client.get("/api/users/me/sessions").await.expect(401);
    }
    let secret = waiting.split_once('#').unwrap().1;
    gate.nobody().post("/api/auth/sign-in", json!({ "secret": secret })).await.expect(401);
    gate.browser("ann@example.com").await.get("/api/users/me/sessions").await.expect(200);
    gate.assert_no_panic();
}

#[tokio::test]
async fn an_agent_that_is_given_to_an_account_is_its_own_through_the_api() {
    let gate = gate().await;
    let (ann, bob) = (gate.account("ann@example.com").await, gate.account("bob@example.com").await);
    let tester = gate.admin(json!({ "do": "agent_show", "agent": "tester" })).await;
    let path = format!("/api/agents/{}/services/github/credentials", tester["id"].as_str().unwrap());
    ann.put(&path, json!({})).await.expect(404);
    gate.admin(json!({ "do": "account_adopt", "agent": "tester", "email": "ann@example.com" })).await;
    ann.put(&path, json!({})).await.expect(501);
    bob.put(&path, json!({})).await.expect(404);
    gate.admin(
        json!({ "do": "account_adopt", "agent": "tester", "email": "bob@example.com", "replace": true }),
    )
    .await;
    ann.put(&path, json!({})).await.expect(403);
    bob.put(&path, json!({})).await.expect(501);
    let entries = gate.journal().administrative();
    assert!(
        entries.iter().any(|(what, after)| what == "agent.adopt" && after == "bob@example.com"),
        "{entries:?}"
    );
}
