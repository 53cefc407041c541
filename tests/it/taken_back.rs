//! What a server takes back: a question that it put to a client, which is told so and whose answer it does not get
//! any more (MCP 2025-11-25, cancellation); a stream of its news, which over stdio ends with nothing but a word
//! (MCP 2026-07-28, cancellation), and which the gate asks for again.

use serde_json::{Value, json};

use crate::harness::{Client, Connector, Gate, GateOptions, until};
use crate::streams::{EVENT_MAX, Events, OPEN, UPDATED, get, stateless};

/// A server of the session era on standard input and output: `ask` asks for a form, takes that back, and answers with
/// what it was told meanwhile.
const ASKS: &str = r#"
import json, sys
def say(message):
    print(json.dumps({"jsonrpc": "2.0", **message}), flush=True)
told = []
for line in sys.stdin:
    message = json.loads(line)
    method, id = message.get("method"), message.get("id")
    if method == "initialize":
        say({"id": id, "result": {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}},
                                  "serverInfo": {"name": "asks", "version": "1"}}})
    elif method == "tools/list":
        say({"id": id, "result": {"tools": [{"name": name, "inputSchema": {"type": "object"}} for name in ["ask", "told"]]}})
    elif method == "tools/call" and message["params"]["name"] == "told":
        say({"id": id, "result": {"content": [], "structuredContent": {"told": told}}})
    elif method == "tools/call":
        form = {"message": "Which?", "requestedSchema": {"type": "object", "properties": {}}}
        say({"id": "q-1", "method": "elicitation/create", "params": form})
        say({"method": "notifications/cancelled", "params": {"requestId": "q-1", "reason": "never mind"}})
        say({"method": "notifications/cancelled", "params": {"requestId": "q-2"}})
        say({"id": "p-1", "method": "ping"})
        pending = id
    elif method is None and id == "p-1":
        say({"id": pending, "result": {"content": [{"type": "text", "text": "went on"}]}})
    elif method is None:
        told.append(id)
"#;

/// One of the stateless era: it tears down the stream of its resources whenever `drop` is called.
const DROPS: &str = r#"
import json, sys
def say(message):
    print(json.dumps({"jsonrpc": "2.0", **message}), flush=True)
streams, asked = {}, 0
for line in sys.stdin:
    message = json.loads(line)
    method, params, id = message.get("method"), message.get("params", {}), message.get("id")
    def answer(result):
        say({"id": id, "result": {"resultType": "complete", "ttlMs": 0, "cacheScope": "private", **result}})
    if method == "server/discover":
        offers = {"tools": {}, "resources": {"subscribe": True, "listChanged": True}}
        answer({"supportedVersions": ["2026-07-28"], "capabilities": offers})
    elif method == "tools/list":
        answer({"tools": [{"name": name, "inputSchema": {"type": "object"}} for name in ["drop", "touch"]]})
    elif method == "resources/list":
        answer({"resources": [{"uri": "drops://one", "name": "one"}]})
    elif method == "resources/templates/list":
        answer({"resourceTemplates": []})
    elif method == "subscriptions/listen":
        streams[id], asked = params["notifications"], asked + 1
        say({"method": "notifications/subscriptions/acknowledged", "params": {
            "_meta": {"io.modelcontextprotocol/subscriptionId": id}, "notifications": params["notifications"]}})
    elif method == "notifications/cancelled":
        streams.pop(params["requestId"], None)
    elif method == "tools/call" and params["name"] == "drop":
        for stream in list(streams):
            streams.pop(stream)
            say({"method": "notifications/cancelled", "params": {"requestId": stream, "reason": "housekeeping"}})
        answer({"content": []})
    elif method == "tools/call":
        for stream, notifications in streams.items():
            for uri in notifications.get("resourceSubscriptions", []):
                say({"method": "notifications/resources/updated", "params": {
                    "_meta": {"io.modelcontextprotocol/subscriptionId": stream}, "uri": uri}})
        answer({"content": [], "structuredContent": {"asked": asked, "open": len(streams)}})
"#;

async fn gate(service: &str, script: &str, tools: [&str; 2]) -> Gate {
    let tools = tools.map(|name| json!({ "name": name, "inputSchema": { "type": "object" } }));
    let arguments = ["-S", "-c", script];
    let connector = Connector::stdio(service, "python3", &arguments, tools.to_vec());
    let connector = connector.with("[limits]\ndial_ms_max = 20_000\n");
    Gate::start(GateOptions::new(vec![connector]).with_policy("open.cedar", OPEN)).await
}

/// A client that can be asked for forms.
async fn asked(gate: &Gate) -> Client {
    let params = json!({ "protocolVersion": "2025-11-25", "capabilities": { "elicitation": {} },
        "clientInfo": { "name": "wicket-it", "version": "1" } });
    let reply = gate.client().rpc("initialize", params).await;
    let session = reply.header("mcp-session-id").unwrap().to_owned();
    gate.client().with_session(&session)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_that_is_taken_back_is_taken_back_from_the_client() {
    let gate = gate("asks", ASKS, ["ask", "told"]).await;
    let client = asked(&gate).await;
    let body = client.call_body("asks__ask", &json!({}));
    let mut events = Events::of(client.open(client.request(body)).await);
    let question = events.next_of("elicitation/create").await;
    let taken_back = events.next_of("notifications/cancelled").await;
    assert_eq!(taken_back["params"]["requestId"], question["id"], "under the id that the client knows");
    let answer = events.next().await;
    assert_eq!(answer["result"]["content"][0]["text"], "went on", "{answer}");

    // An answer that crossed it on its way goes nowhere, and the question's record is closed.
    let late = json!({ "jsonrpc": "2.0", "id": question["id"], "result": { "action": "cancel" } });
    assert_eq!(client.post(late.to_string()).await.status, 202);
    let told = client.call("asks__told", json!({})).await.result().unwrap();
    assert_eq!(told["structuredContent"]["told"], json!([]), "{told}");
    until("the records to be closed", EVENT_MAX, async || gate.journal().open().is_empty().then_some(()))
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_a_child_tears_down_is_asked_for_again() {
    let gate = gate("drops", DROPS, ["drop", "touch"]).await;
    let mut session = gate.client();
    session.initialize().await;
    let mut hears = Events::of(get(&session, None).await).primed().await;
    let subscribed = session.rpc("resources/subscribe", json!({ "uri": "drops://one" })).await;
    assert!(subscribed.succeeded(), "{subscribed:?}");
    let filter = json!({ "notifications": { "resourceSubscriptions": ["drops://one"] } });
    let listener = gate.client();
    let request = stateless(&listener, "l", "subscriptions/listen", None, filter);
    let mut listens = Events::of(listener.open(request).await);
    listens.next_of("notifications/subscriptions/acknowledged").await;
    let state = async || -> Value {
        session.call("drops__touch", json!({})).await.result().unwrap()["structuredContent"].clone()
    };
    let before = until("both streams to be open", EVENT_MAX, async || {
        Some(state().await).filter(|state| state["open"] == 2)
    })
    .await;
    for events in [&mut hears, &mut listens] {
        events.next_of(UPDATED).await;
    }
    assert!(session.call("drops__drop", json!({})).await.succeeded());
    let after = until("both streams to be open again", EVENT_MAX, async || {
        Some(state().await).filter(|state| state["open"] == 2)
    })
    .await;
    let asked = |state: &Value| state["asked"].as_u64().unwrap();
    assert_eq!(asked(&after), asked(&before) + 2, "each once more");
    for events in [&mut hears, &mut listens] {
        events.next_of(UPDATED).await;
    }
}
