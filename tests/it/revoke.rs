//! What an operator takes away is gone with the next call: a revoked key, a disabled agent, a member
//! that was removed, a service that was switched off; open streams are cut.

use std::time::Duration;

use http_body_util::BodyExt;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{Connector, Database, Gate, GateOptions, databases, until};
use crate::recorder::{Recorder, RecorderOptions, definitions};

/// Open streams of a revoked member end within this (reliability.md G4b: 1 s), on a loaded machine.
const CUT_MAX: Duration = Duration::from_secs(3);

async fn setup() -> (Gate, Recorder, tempfile::TempDir) {
    setup_on(&Database::sqlite()).await
}

async fn setup_on(database: &Database) -> (Gate, Recorder, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let upstream = Recorder::start(dir.path(), RecorderOptions::default()).await;
    let connector = Connector::http("recorder", &upstream.url(), definitions());
    (Gate::start(GateOptions::new(vec![connector]).with_config(&database.config)).await, upstream, dir)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_passes_once_the_operator_was_answered() {
    for database in databases() {
        nothing_passes_on(&database).await;
    }
}

async fn nothing_passes_on(database: &Database) {
    let (gate, upstream, _dir) = setup_on(database).await;
    let services = ["recorder".to_owned()];
    for round in 0..10 {
        for how in ["key", "agent", "member", "service"] {
            let agent = format!("agent-{how}-{round}");
            let key = gate.new_member(&agent, "bob", &services).await;
            let client = crate::harness::Client::new(gate.agents(), &key);
            let nonce = |what: &str| json!({ "nonce": format!("{what}-{agent}") });
            assert!(client.call("recorder__echo", nonce("before")).await.succeeded());
            let request = match how {
                "key" => {
                    let keys = gate.admin(json!({ "do": "key_list", "agent": agent })).await;
                    json!({ "do": "key_revoke", "key": keys[0]["id"] })
                }
                "agent" => json!({ "do": "agent_status", "agent": agent, "status": "disabled" }),
                "member" => json!({ "do": "member_remove", "agent": agent, "member": "bob" }),
                _ => json!({ "do": "agent_services", "agent": agent, "services": { "remove": services } }),
            };
            gate.admin(request).await;
            for _ in 0..20 {
                let reply = client.call("recorder__echo", nonce("after")).await;
                let expected = match how {
                    "key" | "member" => 401,
                    "agent" => 403,
                    _ => 200,
                };
                assert_eq!(reply.status, expected, "{how}: {reply:?}");
                assert!(reply.error().is_some(), "{how}: passed");
            }
        }
    }
    let late = upstream.calls().iter().filter(|call| call.arguments.contains("after-")).count();
    assert_eq!(late, 0, "calls arrived after the operator was answered");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn open_streams_of_a_revoked_member_are_cut() {
    for database in databases() {
        open_streams_are_cut_on(&database).await;
    }
}

async fn open_streams_are_cut_on(database: &Database) {
    let (gate, upstream, _dir) = setup_on(database).await;
    let key = gate.new_member("tester", "bob", &[]).await;
    let client = crate::harness::Client::new(gate.agents(), &key);
    let body = client.streamed_body("recorder__hold", &json!({ "key": "never" }));
    let mut response = client.open(client.request(body)).await;
    let first = response.body_mut().frame().await.unwrap().unwrap().into_data().unwrap();
    assert!(String::from_utf8_lossy(&first).contains("notifications/progress"), "{first:?}");

    let keys = gate.admin(json!({ "do": "key_list", "agent": "tester", "member": "bob" })).await;
    gate.admin(json!({ "do": "key_revoke", "key": keys[0]["id"] })).await;
    let rest = tokio::time::timeout(CUT_MAX, response.into_body().collect()).await;
    let rest = rest.expect("the stream of a revoked member stays open");
    if let Ok(rest) = rest {
        let text = String::from_utf8_lossy(&rest.to_bytes()).into_owned();
        assert!(!text.contains("\"result\""), "a cut stream looks complete: {text}");
    }
    until("the upstream's stream to be let go", CUT_MAX, async || {
        (upstream.streams_open() == 0).then_some(())
    })
    .await;
}

/// A service that is taken away while its call runs: its answer is not passed on, and its caller is told
/// why, not that its key is unknown.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_is_taken_away_in_mid_call_is_named() {
    let (gate, upstream, _dir) = setup().await;
    let client = gate.client();
    let (reply, ()) = tokio::join!(client.call("recorder__hold", json!({ "key": "never" })), async {
        until("the call to arrive", CUT_MAX, async || (!upstream.calls().is_empty()).then_some(())).await;
        let services = json!({ "remove": ["recorder"] });
        gate.admin(json!({ "do": "agent_services", "agent": "tester", "services": services })).await;
        upstream.release("never");
    });
    let error = reply.error().unwrap();
    assert_eq!((reply.status.as_u16(), error.code), (200, -32600), "{reply:?}");
    assert_eq!(error.data["reason"], "service_not_enabled", "{reply:?}");
    assert!(error.message.contains("tool 'hold' is not permitted"), "{reply:?}");
}

/// A head that was let in is not enough: the key is looked at again when the body is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_is_revoked_while_the_body_trickles_in_opens_nothing() {
    let (gate, upstream, _dir) = setup().await;
    let key = gate.new_member("tester", "bob", &[]).await;
    let client = crate::harness::Client::new(gate.agents(), &key);
    let body = client.call_body("recorder__echo", &json!({ "nonce": "armed" }));
    let (begun, rest) = body.split_at(body.len() / 2);
    let head = format!(
        "POST /mcp HTTP/1.1\r\nhost: gate\r\nauthorization: Bearer {key}\r\ncontent-type: application/json\r\n\
         accept: application/json, text/event-stream\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let mut armed = Vec::new();
    for _ in 0..20 {
        let mut stream = TcpStream::connect(gate.agents()).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(begun.as_bytes()).await.unwrap();
        armed.push(stream);
    }
    // Long enough for every head to be read.
    crate::harness::pause(200).await;
    let keys = gate.admin(json!({ "do": "key_list", "agent": "tester", "member": "bob" })).await;
    gate.admin(json!({ "do": "key_revoke", "key": keys[0]["id"] })).await;
    for mut stream in armed {
        stream.write_all(rest.as_bytes()).await.unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).await.unwrap();
        assert!(reply.starts_with("HTTP/1.1 401"), "{reply}");
    }
    assert!(upstream.calls().is_empty(), "a call was forwarded after its key was revoked");
}

/// A change that reached the store and not the gate, as after a crash between the two, is found by the
/// gate itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revocation_that_only_the_store_knows_comes_into_force() {
    for database in databases() {
        only_the_store_knows_on(&database).await;
    }
}

async fn only_the_store_knows_on(database: &Database) {
    let (gate, upstream, _dir) = setup_on(database).await;
    let key = gate.new_member("tester", "bob", &[]).await;
    let client = crate::harness::Client::new(gate.agents(), &key);
    assert!(client.call("recorder__echo", json!({ "nonce": "before" })).await.succeeded());
    let body = client.streamed_body("recorder__hold", &json!({ "key": "never" }));
    let response = client.open(client.request(body)).await;

    let keys = gate.admin(json!({ "do": "key_list", "agent": "tester", "member": "bob" })).await;
    let id = keys[0]["id"].as_str().unwrap().parse().unwrap();
    let sqlite = format!("sqlite://{}?mode=rw", gate.data_dir().join("wicket.db").display());
    let store = wicket::store::Store::open(database.url.as_deref().unwrap_or(&sqlite)).await.unwrap();
    store.keys().revoke(id, wicket::model::Timestamp::now()).await.unwrap();

    // The store is asked every second.
    until("the revocation to hold", Duration::from_secs(5), async || {
        (client.call("recorder__echo", json!({ "nonce": "after" })).await.status == 401).then_some(())
    })
    .await;
    let rest = tokio::time::timeout(CUT_MAX, response.into_body().collect()).await;
    drop(rest.expect("the stream of a revoked member stays open"));
    let arrived = upstream.calls().len();
    for _ in 0..20 {
        assert_eq!(client.call("recorder__echo", json!({ "nonce": "late" })).await.status, 401);
    }
    assert_eq!(upstream.calls().len(), arrived);
    assert!(gate.client().call("recorder__echo", json!({})).await.succeeded(), "the other keys work");
}

/// `wicket key rate`: the key's own limit holds for its next call, on the running gate and on the store of
/// a stopped one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rate_of_one_key_holds_for_its_next_call() {
    let (mut gate, _upstream, _dir) = setup().await;
    let key = gate.new_member("tester", "bob", &[]).await;
    let keys = gate.admin(json!({ "do": "key_list", "agent": "tester", "member": "bob" })).await;
    let id = keys[0]["id"].as_str().unwrap().to_owned();
    let passed = async |gate: &Gate, tries: usize| {
        let client = crate::harness::Client::new(gate.agents(), &key);
        let mut passed = 0;
        for _ in 0..tries {
            match client.call("recorder__echo", json!({})).await.status.as_u16() {
                200 => passed += 1,
                429 => {}
                other => panic!("status {other}"),
            }
        }
        passed
    };
    assert_eq!(passed(&gate, 10).await, 10);
    let rate = ["key", "rate", "tester", "bob", "--burst", "3", "--per-second", "0.001"];
    let (done, text) = gate.command(&rate).await;
    assert!(done && text.contains("3 at once, 0.001 a second"), "{text}");
    assert_eq!(passed(&gate, 10).await, 3);
    assert!(
        gate.client().call("recorder__echo", json!({})).await.succeeded(),
        "another key is not held back"
    );
    let (_, listed) = gate.command(&["key", "list", "tester"]).await;
    assert!(listed.contains("3 at once, 0.001 a second") && listed.contains("agent's"), "{listed}");
    let (_, status) = gate.command(&["status"]).await;
    assert!(status.contains("2 keys (1 with a rate of its own)"), "{status}");

    let (done, text) = gate.command(&["key", "rate", "tester", "nobody", "--default"]).await;
    assert!(!done && text.contains("nobody"), "{text}");
    gate.stop().await;
    let (done, text) = gate.command(&["key", "rate", &id, "--default"]).await;
    assert!(done && text.contains("its agent's"), "{text}");
    let (_, shown) = gate.command(&["key", "rate", &id]).await;
    assert!(shown.contains("its agent's"), "{shown}");
    gate.launch().await;
    assert_eq!(passed(&gate, 10).await, 10);
    let changes = gate.journal().entries.iter().filter(|entry| entry["what"] == "key.rate").count();
    assert_eq!(changes, 4, "an intent and a completion of each change");
}
