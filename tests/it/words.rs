//! What a client says unasked and a server may hear: that its roots changed (MCP 2025-11-25, roots), and how far it is
//! with what the server asked (progress). Only the server that was told of it, or that asked, hears it, and of nobody
//! else's.
//!
//! A real server (PyPI `mcp` 2.x, `tests/upstreams/words.py`), over HTTP and as a child. Needs what `make tools` installs.

use serde_json::{Value, json};

use crate::harness::{Client, Connector, Gate, GateOptions, pause, until};
use crate::streams::{EVENT_MAX, Events, OPEN, Server, python};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/upstreams/words.py");
const CHANGED: &str = "notifications/roots/list_changed";

/// The server, if it is one over HTTP, and the gate before it.
struct Rig {
    gate: Gate,
    _server: Option<Server>,
}

impl Rig {
    async fn start(transport: &str, of_transport: &str) -> Option<Self> {
        let python = python(&format!("words-{transport}"))?;
        let tools = ["heard", "ask"]
            .map(|name| json!({ "name": name, "inputSchema": { "type": "object" } }))
            .to_vec();
        let (server, connector) = if transport == "http" {
            let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let port = free.local_addr().unwrap().port();
            drop(free);
            let server = Server::run_on(port, &python, &[SCRIPT, "PORT"]).await;
            let connector = Connector::http("words", &server.url, tools);
            (Some(server), connector.with("era = \"session\"\n"))
        } else {
            let connector =
                Connector::stdio("words", python.to_str().unwrap(), &["-B", SCRIPT, "stdio"], tools);
            (
                None,
                connector
                    .with(&format!("era = \"session\"\n{of_transport}\n[limits]\ndial_ms_max = 30_000\n")),
            )
        };
        let gate = Gate::start(GateOptions::new(vec![connector]).with_policy("open.cedar", OPEN)).await;
        Some(Self { gate, _server: server })
    }

    /// A client of this name that declares this.
    async fn client(&self, name: &str, capabilities: Value) -> Client {
        greet(self.gate.client(), name, capabilities).await
    }
}

async fn greet(client: Client, name: &str, capabilities: Value) -> Client {
    let params = json!({ "protocolVersion": "2025-11-25", "capabilities": capabilities,
        "clientInfo": { "name": name, "version": "1" } });
    let reply = client.rpc("initialize", params).await;
    let session = reply.header("mcp-session-id").unwrap().to_owned();
    client.with_session(&session)
}

async fn say(client: &Client, method: &str, params: &Value) {
    let body = json!({ "jsonrpc": "2.0", "method": method, "params": params });
    assert_eq!(client.post(body.to_string()).await.status, 202);
}

async fn heard(client: &Client) -> Value {
    client.call("words__heard", json!({})).await.result().unwrap()["structuredContent"].clone()
}

async fn heard_of(client: &Client, roots: Value) {
    until("the server to hear of it", EVENT_MAX, async || {
        (heard(client).await["roots"] == roots).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_hears_that_the_roots_of_its_own_client_changed() {
    let Some(rig) = Rig::start("http", "").await else { return };
    let tells = rig.client("tells", json!({ "roots": { "listChanged": true } })).await;
    let other = rig.client("other", json!({ "roots": { "listChanged": true } })).await;
    let never = rig.client("never", json!({ "roots": {} })).await;
    assert_eq!(heard(&tells).await, json!({ "roots": {}, "declared": { "listChanged": true } }));
    assert_eq!(heard(&other).await["declared"], json!({ "listChanged": true }));
    assert_eq!(heard(&never).await["declared"], json!({}));
    // One that did not say that it would is not passed on, nor one without a session.
    say(&never, CHANGED, &json!({})).await;
    say(&rig.gate.client(), CHANGED, &json!({})).await;
    say(&tells, CHANGED, &json!({})).await;
    heard_of(&tells, json!({ "tells": 1 })).await;
    // However often it is said at once, the last of it is heard.
    for _ in 0..20 {
        say(&other, CHANGED, &json!({})).await;
    }
    pause(700).await;
    let said = heard(&tells).await;
    let times = said["roots"]["other"].as_u64().unwrap();
    assert!((1..20).contains(&times), "{said}");

    // A server that may not ask for the roots need not know that they changed.
    let forbid =
        "@id(\"no-roots\")\nforbid (principal, action in Wicket::Action::\"roots/list\", resource);\n";
    rig.gate.write_policy("roots.cedar", forbid);
    rig.gate.admin(json!({ "do": "reload" })).await;
    say(&tells, CHANGED, &json!({})).await;
    pause(500).await;
    assert_eq!(heard(&tells).await["roots"]["tells"], 1);
    rig.gate.remove_policy("roots.cedar");
    rig.gate.admin(json!({ "do": "reload" })).await;
    say(&tells, CHANGED, &json!({})).await;
    heard_of(&tells, json!({ "tells": 2, "other": times })).await;
    rig.gate.assert_no_panic();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_child_hears_that_roots_changed_where_its_connector_says_so() {
    for (said, times) in [("tell_roots = true", 1), ("", 0)] {
        let Some(rig) = Rig::start("stdio", said).await else { return };
        let tells = rig.client("tells", json!({ "roots": { "listChanged": true } })).await;
        let before = heard(&tells).await;
        let declared = if times == 1 { json!({ "listChanged": true }) } else { json!({}) };
        assert_eq!(before, json!({ "roots": {}, "declared": declared }), "{said}");
        say(&tells, CHANGED, &json!({})).await;
        match times {
            // All clients are one to it.
            1 => heard_of(&tells, json!({ "wicket": 1 })).await,
            _ => {
                pause(500).await;
                assert_eq!(heard(&tells).await["roots"], json!({}));
            }
        }
    }
}

async fn progress_reaches_who_asked(transport: &str) {
    let Some(rig) = Rig::start(transport, "").await else { return };
    let forms = json!({ "elicitation": {} });
    let client = rig.client("asked", forms.clone()).await;
    let same_member = rig.client("other", forms.clone()).await;
    let bob = rig.gate.new_member("tester", "bob", &["words".to_owned()]).await;
    let bob = greet(Client::new(rig.gate.agents(), &bob), "bob", forms).await;
    let body = client.call_body("words__ask", &json!({}));
    let mut events = Events::of(client.open(client.request(body)).await);
    let question = events.next_of("elicitation/create").await;
    let token = &question["params"]["_meta"]["progressToken"];
    assert!(
        token.as_str().is_some_and(|token| token.starts_with("wicket-")),
        "a token of the gate's: {question}"
    );
    let report =
        |amount: f64| json!({ "progressToken": token, "progress": amount, "total": 9, "message": "p" });
    // Nobody else reports for it, and nothing that is none.
    for stranger in [&same_member, &bob, &rig.gate.client()] {
        say(stranger, "notifications/progress", &report(5.0)).await;
    }
    say(&client, "notifications/progress", &json!({ "progressToken": 1, "progress": 6 })).await;
    say(&client, "notifications/progress", &json!({ "progressToken": token, "progress": "7" })).await;
    for amount in [1.0, 0.5, 1.0, 2.0] {
        say(&client, "notifications/progress", &report(amount)).await;
        pause(250).await;
    }
    let began = std::time::Instant::now();
    for step in 1..=40_u32 {
        say(&client, "notifications/progress", &report(2.0 + f64::from(step) / 100.0)).await;
    }
    let most = 2 + began.elapsed().as_millis() / 100;
    pause(250).await;
    let answer = json!({ "jsonrpc": "2.0", "id": question["id"], "result": { "action": "decline" } });
    assert_eq!(client.post(answer.to_string()).await.status, 202);
    say(&client, "notifications/progress", &report(8.0)).await;
    let answered = events.next().await;
    let said = &answered["result"]["structuredContent"];
    assert_eq!(said["action"], "decline", "{answered}");
    let reports = said["reports"].as_array().unwrap();
    assert_eq!(reports[..2], [json!([1.0, 9.0, "p"]), json!([2.0, 9.0, "p"])], "{said}");
    assert_eq!(reports.last().unwrap()[0], 2.4, "the last one is not lost: {said}");
    assert!(reports.len() >= 3 && reports.len() as u128 - 2 <= most, "{most} at most: {said}");
    rig.gate.assert_no_panic();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn progress_with_a_question_reaches_the_server_that_asked() {
    progress_reaches_who_asked("http").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn progress_with_a_question_reaches_the_child_that_asked() {
    progress_reaches_who_asked("stdio").await;
}
