//! What a server takes back: a question that it put to a client, which is told so and whose answer it does not get
//! any more (MCP 2025-11-25, cancellation), also where the client is to come back with it in another round; a stream of its news, which over stdio ends with nothing but a word
//! (MCP 2026-07-28, cancellation), and which the gate asks for again.

use serde_json::{Value, json};

use crate::harness::{Client, Connector, Gate, GateOptions, pause, until};
use crate::rounds;
use crate::streams::{EVENT_MAX, Events, OPEN, Server, UPDATED, get, stateless};

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

const LATER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/upstreams/later.py");

/// The questions that a round asks for, its state, and which answers of the round before were in vain.
fn round(reply: &Value) -> (Vec<String>, Value, &Value) {
    assert_eq!(reply["resultType"], "input_required", "{reply}");
    let questions = reply["inputRequests"].as_object().unwrap().keys().cloned().collect();
    (questions, reply["requestState"].clone(), &reply["_meta"]["wicket/takenBack"])
}

#[expect(clippy::too_many_lines, reason = "one story, told in order")]
async fn what_is_taken_back_while_the_client_is_away(transport: &str) {
    let tools = ["ask", "withdraw", "told"];
    let tools = tools.map(|name| json!({ "name": name, "inputSchema": { "type": "object" } })).to_vec();
    let python = std::path::Path::new("python3");
    let (_server, connector) = if transport == "http" {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let server = Server::run_on(port, python, &[LATER, "PORT"]).await;
        let connector = Connector::http("later", &server.url, tools);
        (Some(server), connector)
    } else {
        (None, Connector::stdio("later", "python3", &["-S", LATER, "stdio"], tools))
    };
    let connector = connector.with("era = \"session\"\n[limits]\ndial_ms_max = 20_000\n");
    let gate = Gate::start(GateOptions::new(vec![connector]).with_policy("open.cedar", OPEN)).await;
    let (client, mut other) = (gate.client(), gate.client());
    other.initialize().await;
    let ask = async |count: u32, more: Value| {
        let mut params = json!({ "arguments": { "count": count } });
        params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let reply = rounds::call(&client, "later__ask", params).await;
        reply.result().unwrap_or_else(|| panic!("{reply:?}"))
    };
    let answers = |state: &Value, questions: &[&str]| {
        let accepted = json!({ "action": "accept", "content": {} });
        let answers = questions.iter().map(|key| ((*key).to_owned(), accepted.clone()));
        json!({ "requestState": state, "inputResponses": answers.collect::<serde_json::Map<_, _>>() })
    };
    let withdraw = async || {
        assert!(other.call("later__withdraw", json!({})).await.succeeded());
        // The word is on its way on another stream.
        pause(300).await;
    };
    let told = async || {
        other.call("later__told", json!({})).await.result().unwrap()["structuredContent"]["told"].clone()
    };

    // Nothing is taken back.
    let first = ask(1, json!({})).await;
    let (questions, state, _) = round(&first);
    assert_eq!(questions, ["question1"]);
    let done = ask(1, answers(&state, &["question1"])).await;
    assert_eq!(
        (&done["content"][0]["text"], done["_meta"].get("wicket/takenBack")),
        (&json!("went on"), None)
    );
    assert_eq!(told().await, json!(["q-1"]));

    // The only question: its answer goes nowhere, and the call is what it came to.
    let (_, state, _) = round(&ask(1, json!({})).await);
    withdraw().await;
    let done = ask(1, answers(&state, &["question1"])).await;
    assert_eq!((&done["resultType"], &done["content"][0]["text"]), (&json!("complete"), &json!("went on")));
    assert_eq!(done["_meta"]["wicket/takenBack"], json!(["question1"]), "{done}");
    assert_eq!(told().await, json!(["q-1"]));

    // One of two, and both are answered.
    let (questions, state, _) = round(&ask(2, json!({})).await);
    assert_eq!(questions, ["question1", "question2"]);
    withdraw().await;
    let done = ask(2, answers(&state, &["question1", "question2"])).await;
    assert_eq!(done["_meta"]["wicket/takenBack"], json!(["question1"]), "{done}");
    assert_eq!(told().await, json!(["q-1", "q-2"]));

    // One of two, and only that one is answered: the other is asked again.
    let (_, state, _) = round(&ask(2, json!({})).await);
    withdraw().await;
    let again = ask(2, answers(&state, &["question1"])).await;
    let (questions, state, taken_back) = round(&again);
    assert_eq!((questions, taken_back), (vec!["question2".to_owned()], &json!(["question1"])));
    let done = ask(2, answers(&state, &["question2"])).await;
    assert_eq!(
        (&done["content"][0]["text"], done["_meta"].get("wicket/takenBack")),
        (&json!("went on"), None)
    );
    assert_eq!(told().await, json!(["q-1", "q-2", "q-2"]));

    // What was taken back is not answered: nothing came in vain.
    let (_, state, _) = round(&ask(2, json!({})).await);
    withdraw().await;
    let done = ask(2, answers(&state, &["question2"])).await;
    assert_eq!(
        (&done["content"][0]["text"], done["_meta"].get("wicket/takenBack")),
        (&json!("went on"), None)
    );

    // What is taken back before the round is told is no part of it.
    let arguments = json!({ "arguments": { "count": 2, "hasty": true } });
    let hasty = ask(2, arguments.clone()).await;
    let (questions, state, _) = round(&hasty);
    assert_eq!(questions, ["question2"]);
    let mut answered = answers(&state, &["question2"]);
    answered["arguments"] = arguments["arguments"].clone();
    assert_eq!(ask(2, answered).await["content"][0]["text"], "went on");

    until("the records to be closed", EVENT_MAX, async || gate.journal().open().is_empty().then_some(()))
        .await;
    gate.assert_no_panic();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_server_takes_back_while_its_client_is_away_is_not_answered() {
    what_is_taken_back_while_the_client_is_away("http").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_child_takes_back_while_its_client_is_away_is_not_answered() {
    what_is_taken_back_while_the_client_is_away("stdio").await;
}

/// A question that is taken back at once is not even asked of a client that would have to come back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_taken_back_at_once_is_not_asked_in_a_round() {
    let gate = gate("asks", ASKS, ["ask", "told"]).await;
    let reply = rounds::call(&gate.client(), "asks__ask", json!({})).await;
    let result = reply.result().unwrap_or_else(|| panic!("{reply:?}"));
    assert_eq!(
        (&result["resultType"], &result["content"][0]["text"]),
        (&json!("complete"), &json!("went on"))
    );
}
