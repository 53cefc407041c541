//! Requests of 2026-07-28 that need another round: a state opens for its own request, once, in time; a
//! call that waits for its client's answers is bounded; what an upstream asks is decided and recorded.
//!
//! The upstream is the backend of the conformance suite (PyPI `mcp`), of both eras or of one.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::process::{Child, Command};

use crate::harness::{Client, Connector, Gate, GateOptions, Reply, skip};

const PYTHON: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/.tools/python/mcp2/bin/python");
const BACKEND: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/conformance/backend/main.py");
const STATED: &str = "conf__test_input_required_result_request_state";
const BARE: &str = "conf__test_input_required_result_elicitation";

/// The backend and the gate before it.
struct Rig {
    gate: Gate,
    _backend: Child,
}

impl Rig {
    /// `None`, and loud, where Python's `mcp` is missing.
    async fn start(era: &str, policy: &str, config: &str) -> Option<Self> {
        if !Path::new(PYTHON).exists() {
            skip("rounds", "Python's mcp 2 is not installed (make tools)");
            return None;
        }
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let backend = Command::new(PYTHON)
            .args([BACKEND, "--port", &port.to_string(), "--era", era])
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let began = Instant::now();
        while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            assert!(began.elapsed() < Duration::from_secs(60), "the backend is not up");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let definitions = definitions(port, era).await;
        let connector = Connector::http("conf", &format!("http://127.0.0.1:{port}/mcp"), definitions);
        let everything = "@id(\"all\")\npermit (principal, action, resource);\n";
        let options = GateOptions::new(vec![connector])
            .with_policy("all.cedar", everything)
            .with_policy("rounds.cedar", policy)
            .with_config(config);
        Some(Self { gate: Gate::start(options).await, _backend: backend })
    }
}

/// The tools that the backend lists, for the lock.
async fn definitions(port: u16, era: &str) -> Vec<Value> {
    let mut client = Client::new(std::net::SocketAddr::from(([127, 0, 0, 1], port)), "none");
    let (mut tools, mut cursor) = (Vec::new(), Value::Null);
    if era == "session" {
        client.initialize().await;
    }
    loop {
        let params = if cursor.is_null() { json!({}) } else { json!({"cursor": cursor}) };
        let reply = match era {
            "session" => client.rpc("tools/list", params).await,
            _ => stateless(&client, "tools/list", "", params).await,
        };
        let result = reply.result().unwrap_or_else(|| panic!("{reply:?}"));
        tools.extend(result["tools"].as_array().unwrap().iter().cloned());
        cursor = result["nextCursor"].clone();
        if cursor.is_null() {
            return tools;
        }
    }
}

/// One request of 2026-07-28, by a client that can be asked everything.
pub async fn stateless(client: &Client, method: &str, name: &str, mut params: Value) -> Reply {
    params["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {"elicitation": {}, "sampling": {}, "roots": {}},
        "io.modelcontextprotocol/clientInfo": {"name": "wicket-it", "version": "1"},
    });
    let body = json!({"jsonrpc": "2.0", "id": client.fresh_id(), "method": method, "params": params});
    let mut request = client.request(body.to_string());
    let head = request.headers_mut();
    head.insert("mcp-protocol-version", "2026-07-28".parse().unwrap());
    head.insert("mcp-method", method.parse().unwrap());
    if !name.is_empty() {
        head.insert("mcp-name", name.parse().unwrap());
    }
    client.send(request).await
}

pub async fn call(client: &Client, tool: &str, params: Value) -> Reply {
    let mut params = params;
    params["name"] = json!(tool);
    if params["arguments"].is_null() {
        params["arguments"] = json!({});
    }
    stateless(client, "tools/call", tool, params).await
}

/// The key and the state of a round that is asked for.
fn asked(reply: &Reply) -> (String, String) {
    let result = reply.result().unwrap_or_else(|| panic!("{reply:?}"));
    assert_eq!(result["resultType"], "input_required", "{result}");
    let key = result["inputRequests"].as_object().unwrap().keys().next().unwrap().clone();
    (key, result["requestState"].as_str().unwrap().to_owned())
}

fn answer(key: &str, state: &str, content: &Value) -> Value {
    json!({"inputResponses": {key: {"action": "accept", "content": content}}, "requestState": state})
}

#[track_caller]
fn assert_refused(reply: &Reply, why: &str) {
    let error = reply.error().unwrap_or_else(|| panic!("{why}: {reply:?}"));
    assert_eq!((error.code, reply.status.as_u16()), (-32602, 400), "{why}: {error:?}");
    assert!(error.message.contains("requestState"), "{why}: {error:?}");
}

/// Every misuse of a state, then its use, then its second use.
async fn holds(rig: &Rig, tool: &str, content: &Value) {
    let alice = rig.gate.client();
    let bob = rig.gate.new_member("tester", "bob", &["conf".to_owned()]).await;
    let bob = Client::new(rig.gate.agents(), &bob);
    let (key, state) = asked(&call(&alice, tool, json!({})).await);
    let answers = answer(&key, &state, content);
    assert_refused(&call(&bob, tool, answers.clone()).await, "another member");
    let other = if tool == STATED { BARE } else { STATED };
    assert_refused(&call(&alice, other, answers.clone()).await, "another tool");
    let mut moved = answers.clone();
    moved["arguments"] = json!({"extra": 1});
    assert_refused(&call(&alice, tool, moved).await, "other arguments");
    let tampered = answer(&key, &format!("{state}A"), content);
    assert_refused(&call(&alice, tool, tampered).await, "tampered");

    let done = call(&alice, tool, answers.clone()).await;
    let result = done.result().unwrap_or_else(|| panic!("{done:?}"));
    assert_eq!(result["resultType"], "complete", "{result}");
    assert_refused(&call(&alice, tool, answers).await, "used");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_of_a_stateless_upstream_opens_once_for_its_own_request() {
    let Some(rig) = Rig::start("both", "", "").await else { return };
    holds(&rig, STATED, &json!({"ok": true})).await;
    rig.gate.assert_no_panic();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_waits_at_an_upstream_of_the_session_era_goes_on_once() {
    let Some(rig) = Rig::start("session", "", "").await else { return };
    holds(&rig, BARE, &json!({"name": "ada"})).await;
    let journal = rig.gate.journal();
    let intents = journal.intents();
    let asked = intents.values().filter(|entry| entry.to_string().contains("elicitation/create"));
    assert!(asked.count() >= 1, "what was asked is recorded");
    rig.gate.assert_no_panic();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rounds_of_one_request_count_once() {
    let policy = "@id(\"one\")\nforbid (principal, action, resource)\n\
                  when { context.member.toolsUsed[\"conf:test_input_required_result_request_state\"] >= 1 };\n";
    let policy = policy.replace("action,", "action in Wicket::Action::\"destructive\",");
    let Some(rig) = Rig::start("both", &policy, "").await else { return };
    let client = rig.gate.client();
    let (key, state) = asked(&call(&client, STATED, json!({})).await);
    let done = call(&client, STATED, answer(&key, &state, &json!({"ok": true}))).await;
    let result = done.result().unwrap_or_else(|| panic!("{done:?}"));
    assert_eq!(result["resultType"], "complete", "{result}");
    let again = call(&client, STATED, json!({})).await;
    assert_eq!(again.error().map(|error| error.code), Some(-32600), "{again:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_round_that_nobody_answers_is_over() {
    let Some(rig) = Rig::start("session", "", "[limits]\nround_ms_max = 700\n").await else { return };
    let client = rig.gate.client();
    let (key, state) = asked(&call(&client, BARE, json!({})).await);
    let began = Instant::now();
    loop {
        let journal = rig.gate.journal();
        if journal.open().is_empty() {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(20), "the call is still open: {}", rig.gate.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_refused(&call(&client, BARE, answer(&key, &state, &json!({"name": "ada"}))).await, "over");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_may_not_be_asked_is_not_asked() {
    let policy = "@id(\"no-forms\")\nforbid (principal, action in Wicket::Action::\"elicitation/create\", resource);\n";
    for era in ["session", "both"] {
        let Some(rig) = Rig::start(era, policy, "").await else { return };
        let reply = call(&rig.gate.client(), BARE, json!({})).await;
        let text = String::from_utf8_lossy(&reply.body).into_owned();
        assert!(!text.contains("input_required"), "{era}: {text}");
        assert!(rig.gate.journal().calls("denial").len() == 1, "{era}: the denial is recorded");
    }
}

/// `logging/setLevel` of a session reaches the upstream's session, as an operation that is decided.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_level_is_told_to_upstreams_that_may_be_told() {
    let Some(rig) = Rig::start("session", "", "").await else { return };
    let mut client = rig.gate.client();
    client.initialize().await;
    let echoed = client.call("conf__test_simple_text", json!({})).await;
    assert!(echoed.succeeded(), "{echoed:?}");
    assert!(client.rpc("logging/setLevel", json!({"level": "error"})).await.succeeded());
    let told = |gate: &Gate| {
        let journal = gate.journal();
        let intents = journal.intents();
        intents.values().filter(|entry| entry.to_string().contains("logging/setLevel")).count()
    };
    assert_eq!(told(&rig.gate), 1);
    let refused = client.rpc("logging/setLevel", json!({"level": "loud"})).await;
    assert_eq!(refused.error().map(|error| error.code), Some(-32602), "{refused:?}");
    rig.gate.write_policy(
        "level.cedar",
        "@id(\"no-levels\")\nforbid (principal, action in Wicket::Action::\"logging/setLevel\", resource);\n",
    );
    rig.gate.admin(json!({"do": "reload"})).await;
    assert!(client.rpc("logging/setLevel", json!({"level": "debug"})).await.succeeded(), "kept all the same");
    assert_eq!(told(&rig.gate), 1);
    assert_eq!(rig.gate.journal().calls("denial").len(), 1);
}

/// Answers to what nobody was asked go no further: no policy saw the question.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_without_a_question_are_not_passed_on() {
    let policy = "@id(\"no-forms\")\nforbid (principal, action in Wicket::Action::\"elicitation/create\", resource);\n";
    let Some(rig) = Rig::start("both", policy, "").await else { return };
    let client = rig.gate.client();
    let forged = json!({"inputResponses": {"user_name": {"action": "accept", "content": {"name": "EVIL"}}}});
    let reply = call(&client, BARE, forged.clone()).await;
    assert!(!String::from_utf8_lossy(&reply.body).contains("EVIL"), "{reply:?}");
    // Nor from a client of the session era.
    let mut session = rig.gate.client();
    session.initialize().await;
    let mut params = forged;
    (params["name"], params["arguments"]) = (json!(BARE), json!({}));
    let reply = session.rpc("tools/call", params).await;
    assert!(!String::from_utf8_lossy(&reply.body).contains("EVIL"), "{reply:?}");
}

/// A later round is decided by what is in force then, and one that is denied leaves the first counted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_round_is_decided_anew() {
    let limit = |tool: &str| {
        format!(
            "@id(\"one\")\nforbid (principal, action in Wicket::Action::\"destructive\", resource)\n\
             when {{ context.member.toolsUsed[\"conf:{tool}\"] >= 1 }};\n"
        )
    };
    for (era, tool, content) in
        [("both", STATED, json!({"ok": true})), ("session", BARE, json!({"name": "ada"}))]
    {
        let own = tool.strip_prefix("conf__").unwrap();
        let Some(rig) = Rig::start(era, &limit(own), "").await else { return };
        let client = rig.gate.client();
        let (key, state) = asked(&call(&client, tool, json!({})).await);
        let closed =
            "@id(\"closed\")\nforbid (principal, action in Wicket::Action::\"destructive\", resource);\n";
        rig.gate.write_policy("closed.cedar", closed);
        rig.gate.admin(json!({"do": "reload"})).await;
        let denied = call(&client, tool, answer(&key, &state, &content)).await;
        assert_eq!(denied.error().map(|error| error.code), Some(-32600), "{era}: {denied:?}");
        rig.gate.remove_policy("closed.cedar");
        rig.gate.admin(json!({"do": "reload"})).await;
        let again = call(&client, tool, json!({})).await;
        assert_eq!(again.error().map(|error| error.code), Some(-32600), "{era}: still counted: {again:?}");
        let gone = call(&client, tool, answer(&key, &state, &content)).await;
        assert_refused(&gone, "the denied round is over");
    }
}
