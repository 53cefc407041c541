//! API tokens: made, seen and ended by the person alone; good for what their scopes name, and no longer
//! than they are.

use hyper::Method;
use serde_json::{Value, json};

use crate::harness::{Api, Gate, GateOptions, until};
use std::time::Duration;

async fn gate() -> Gate {
    Gate::start(GateOptions::new(Vec::new())).await
}

fn new_token(scopes: Value, days: Value) -> Value {
    json!({ "name": "nightly export", "scopes": scopes, "expiresInDays": days })
}

async fn status_of(gate: &Gate, token: &str) -> u16 {
    Api::new(gate.control(), Some(token)).get("/api/auth/status").await.status.as_u16()
}

#[tokio::test]
async fn a_token_is_shown_once_opens_its_scopes_and_ends() {
    let gate = gate().await;
    let ann = gate.browser("ann@example.com").await;
    let made = ann.post("/api/tokens", new_token(json!(["account:read", "agents:read"]), json!(366))).await;
    let made = made.expect(201);
    let secret = made["token"].as_str().unwrap().to_owned();
    assert!(secret.starts_with("wkt_") && secret.len() == 47, "{secret}");
    assert_eq!(made["lastUsedAt"], Value::Null);
    let listed = ann.get("/api/tokens").await.expect(200);
    assert_eq!(listed["total"], 1);
    assert_eq!(listed["tokens"][0]["id"], made["id"]);
    assert!(secret.ends_with(listed["tokens"][0]["displaySuffix"].as_str().unwrap()));
    assert!(!listed.to_string().contains(&secret), "shown once");

    let machine = Api::new(gate.control(), Some(&secret));
    let status = machine.get("/api/auth/status").await.expect(200);
    assert_eq!(status["via"], "token");
    assert_eq!(status["scopes"], json!(["agents:read", "account:read"]));
    assert_eq!(status["csrfToken"], Value::Null, "a token needs no word and hears none");
    assert_eq!(machine.get("/api/users/me/sessions").await.expect(200)["total"], 1);
    let used = until("last use", Duration::from_secs(10), async || {
        let listed = ann.get("/api/tokens").await.expect(200);
        listed["tokens"][0]["lastUsedAt"].as_str().map(str::to_owned)
    });
    assert!(used.await.starts_with("20"));

    let path = format!("/api/tokens/{}", made["id"].as_str().unwrap());
    ann.delete(&path).await.expect(204);
    assert_eq!(machine.get("/api/users/me/sessions").await.expect(401)["code"], "unauthenticated");
    ann.delete(&path).await.expect(204);
    assert!(ann.get("/api/tokens").await.expect(200)["tokens"][0]["revokedAt"].is_string());
    gate.assert_no_panic();
}

#[tokio::test]
async fn no_token_makes_sees_or_ends_a_token_and_strangers_see_none() {
    let gate = gate().await;
    let (ann, bob) = (gate.browser("ann@example.com").await, gate.browser("bob@example.com").await);
    let made = ann.post("/api/tokens", new_token(json!(["account:read"]), json!(1))).await.expect(201);
    let path = format!("/api/tokens/{}", made["id"].as_str().unwrap());
    let all = gate.account("ann@example.com").await;
    for (client, status) in [(&all, 403), (&gate.nobody(), 401)] {
        client.get("/api/tokens").await.expect(status);
        client.post("/api/tokens", new_token(json!(["account:read"]), json!(1))).await.expect(status);
        client.delete(&path).await.expect(status);
        client.post("/api/auth/logout", json!({})).await.expect(status);
        client.delete("/api/users/me/sessions").await.expect(status);
    }
    assert_eq!(bob.get("/api/tokens").await.expect(200)["total"], 0);
    bob.delete(&path).await.expect(404);
    bob.delete("/api/tokens/0190b5a0-0000-7000-8000-000000000001").await.expect(404);
    bob.delete("/api/tokens/nonsense").await.expect(404);
    assert_eq!(status_of(&gate, made["token"].as_str().unwrap()).await, 200, "still ann's");
    let scopes = gate.nobody().get("/api/tokens/scopes").await.expect(200);
    assert_eq!(scopes["scopes"].as_array().unwrap().len(), crate::harness::SCOPES.len());
    let narrow = gate.account_with("ann@example.com", &["agents:read"]).await;
    assert_eq!(narrow.get("/api/auth/status").await.expect(403)["code"], "scope_missing");
    assert_eq!(narrow.get("/api/users/me/sessions").await.expect(403)["code"], "scope_missing");
}

#[tokio::test]
async fn what_is_wrong_with_a_new_token_is_named() {
    let gate = gate().await;
    let ann = gate.browser("ann@example.com").await;
    let good = json!(["account:read"]);
    for (body, field) in [
        (new_token(good.clone(), json!(0)), "body.expiresInDays"),
        (new_token(good.clone(), json!(367)), "body.expiresInDays"),
        (new_token(good.clone(), json!(-1)), "body"),
        (new_token(good.clone(), json!("7")), "body"),
        (new_token(json!([]), json!(7)), "body.scopes"),
        (new_token(json!(["agents:own"]), json!(7)), "body"),
        (json!({ "name": "", "scopes": good, "expiresInDays": 7 }), "body.name"),
        (json!({ "name": "x".repeat(101), "scopes": good, "expiresInDays": 7 }), "body.name"),
        (json!({ "name": "x", "scopes": good }), "body"),
        (json!({ "name": "x", "scopes": good, "expiresInDays": 7, "for": "ever" }), "body"),
    ] {
        let problem = ann.post("/api/tokens", body.clone()).await.expect(400);
        let named = problem["errors"][0]["field"].as_str().unwrap();
        assert!(named.starts_with(field), "{body}: {problem}");
    }
    assert_eq!(ann.get("/api/tokens").await.expect(200)["total"], 0);
    for (query, field) in [
        ("limit=0", "query.limit"),
        ("limit=501", "query.limit"),
        ("offset=-1", "query.offset"),
        ("offset=1000001", "query.offset"),
        ("sort=name", "query"),
    ] {
        let problem = ann.get(&format!("/api/tokens?{query}")).await.expect(400);
        let named = problem["errors"][0]["field"].as_str().unwrap();
        assert!(named.starts_with(field), "{query}: {problem}");
    }
    ann.get("/api/tokens?limit=500&offset=1000000").await.expect(200);
}

#[tokio::test]
async fn a_credential_is_one_and_whole() {
    let gate = gate().await;
    let ann = gate.browser("ann@example.com").await;
    let made = ann.post("/api/tokens", new_token(json!(["account:read"]), json!(1))).await.expect(201);
    let bearer = format!("Bearer {}", made["token"].as_str().unwrap());
    let cookie = ann.session().cookie.clone();
    let path = "/api/users/me/sessions";
    let send = async |headers: &[(&str, &str)]| gate.nobody().send(Method::GET, path, None, headers).await;
    send(&[("authorization", &bearer)]).await.expect(200);
    send(&[("cookie", &cookie)]).await.expect(200);
    for (headers, status) in [
        (vec![("authorization", bearer.as_str()), ("cookie", cookie.as_str())], 400),
        (vec![("authorization", "Bearer wkt_nothing"), ("cookie", cookie.as_str())], 400),
        (vec![("authorization", "Basic YW5uOmFubg=="), ("cookie", cookie.as_str())], 401),
        (vec![("authorization", bearer.as_str()), ("authorization", bearer.as_str())], 401),
        (vec![("authorization", &bearer[..bearer.len() - 1])], 401),
        (vec![("authorization", gate.key())], 401),
        (vec![("cookie", cookie.as_str()), ("cookie", cookie.as_str())], 401),
        (vec![("cookie", &cookie[..cookie.len() - 1])], 401),
    ] {
        send(&headers).await.expect(status);
    }
}
