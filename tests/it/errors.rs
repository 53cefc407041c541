//! Decision 13 as a client sees it: status, code and fixed string of every row that can be reached
//! today, over a socket, and what reached the upstream meanwhile: nothing.

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use serde_json::json;

use crate::harness::{Client, Connector, Gate, GateOptions, Reply};
use crate::recorder::{Recorder, RecorderOptions, definitions};

struct Setup {
    gate: Gate,
    upstream: Recorder,
    _dir: tempfile::TempDir,
}

async fn setup(config: &str) -> Setup {
    let dir = tempfile::tempdir().unwrap();
    let upstream = Recorder::start(dir.path(), RecorderOptions::default()).await;
    let connector = Connector::http("recorder", &upstream.url(), definitions())
        .with("[limits]\nsilence_ms_max = 400\nreply_bytes_max = 65536\n");
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let down = Connector::http("down", &format!("http://{gone}/mcp"), definitions());
    let options = GateOptions::new(vec![connector, down])
        .with_policy(
            "forbid.cedar",
            "@id(\"no-deleting\")\n@denyMessage(\"nothing is deleted here\")\n\
             forbid (principal, action == Recorder::Action::\"delete_thing\", resource);\n",
        )
        .with_config(config);
    Setup { gate: Gate::start(options).await, upstream, _dir: dir }
}

/// What a row promises.
struct Row {
    status: u16,
    code: i64,
    message: &'static str,
}

fn expect(what: &str, reply: &Reply, row: &Row) {
    let error = reply.error().unwrap_or_else(|| panic!("{what}: no JSON-RPC error in {reply:?}"));
    assert_eq!(reply.status.as_u16(), row.status, "{what}: {error:?}");
    assert_eq!(error.code, row.code, "{what}: {error:?}");
    assert!(error.message.contains(row.message), "{what}: {error:?}");
    assert!(error.data["requestId"].is_string(), "{what}: no requestId in {error:?}");
    assert!(error.data["reason"].is_string(), "{what}: no reason in {error:?}");
    assert_eq!(reply.message()["jsonrpc"], "2.0", "{what}");
    if matches!(row.status, 429 | 503) {
        assert!(reply.header("retry-after").is_some(), "{what}: no Retry-After");
        assert!(error.data["retryAfterSeconds"].is_number(), "{what}: {error:?}");
    }
    if row.status == 401 {
        let challenge = reply.header("www-authenticate").unwrap_or_else(|| panic!("{what}: no challenge"));
        assert!(challenge.starts_with("Bearer") && !challenge.contains("resource_metadata"), "{challenge}");
    }
    if row.status == 405 {
        assert!(reply.header("allow").is_some(), "{what}: no Allow");
    }
}

const fn row(status: u16, code: i64, message: &'static str) -> Row {
    Row { status, code, message }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_body_can_get_wrong() {
    let Setup { gate, upstream, _dir } = setup("").await;
    let client = gate.client();
    let call = |name: &str| {
        format!(
            r#"{{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{{"name":"{name}","arguments":{{}}}}}}"#
        )
    };
    let denied = "Authorization denied: tool 'delete_thing' is not permitted for agent 'tester'";
    let rows: Vec<(&str, Vec<u8>, Row)> = vec![
        ("denied by policy", call("recorder__delete_thing").into(), row(200, -32600, denied)),
        ("no permit", call("recorder__write_note").into(), row(200, -32600, "Authorization denied: tool 'write_note'")),
        ("unknown tool", call("recorder__no_such").into(), row(200, -32602, "Unknown tool")),
        ("no prefix", call("echo").into(), row(400, -32602, "service__tool")),
        ("unknown service", call("nobody__echo").into(), row(200, -32601, "Unknown service")),
        ("unknown method", br#"{"jsonrpc":"2.0","id":7,"method":"resources/imagine"}"#.to_vec(), row(200, -32601, "resources/imagine")),
        ("bad cursor", br#"{"jsonrpc":"2.0","id":7,"method":"tools/list","params":{"cursor":"zzz"}}"#.to_vec(), row(200, -32602, "cursor")),
        ("not JSON", b"{".to_vec(), row(400, -32700, "not valid JSON")),
        ("empty", b"".to_vec(), row(400, -32700, "")),
        ("not UTF-8", b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"\xff\"}".to_vec(), row(400, -32700, "")),
        ("trailing data", br#"{"jsonrpc":"2.0","id":1,"method":"ping"} x"#.to_vec(), row(400, -32700, "")),
        ("duplicate key", br#"{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}"#.to_vec(), row(400, -32700, "")),
        ("duplicate key, escaped", br#"{"jsonrpc":"2.0","id":1,"\u0069d":2,"method":"ping"}"#.to_vec(), row(400, -32700, "")),
        ("lone surrogate", br#"{"jsonrpc":"2.0","id":"\ud800","method":"ping"}"#.to_vec(), row(400, -32700, "")),
        ("number out of range", br#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{"x":1e400}}"#.to_vec(), row(400, -32700, "")),
        ("too deep", format!("{}{}", "[".repeat(65), "]".repeat(65)).into(), row(400, -32700, "")),
        ("batch", br#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#.to_vec(), row(400, -32600, "Batch")),
        ("no version", br#"{"id":1,"method":"ping"}"#.to_vec(), row(400, -32600, "")),
        ("null id", br#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#.to_vec(), row(400, -32600, "")),
        ("fractional id", br#"{"jsonrpc":"2.0","id":1.5,"method":"ping"}"#.to_vec(), row(400, -32600, "")),
        ("arguments are no object", br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"recorder__echo","arguments":[]}}"#.to_vec(), row(400, -32602, "")),
    ];
    for (what, body, row) in rows {
        let reply = client.post(body).await;
        expect(what, &reply, &row);
    }
    let told = client.post(call("recorder__delete_thing")).await.error().unwrap();
    assert_eq!(told.data["denyMessage"], "nothing is deleted here");
    assert_eq!(told.data["reason"], "forbidden");
    assert!(told.data.get("policies").is_none(), "policy names are for owners: {told:?}");
    assert!(upstream.calls().is_empty(), "forwarded: {:?}", upstream.calls());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_head_can_get_wrong() {
    let Setup { gate, upstream, _dir } = setup("").await;
    let client = gate.client();
    let body = || client.call_body("recorder__echo", &json!({}));
    let bend = |change: &dyn Fn(&mut Request<Full<Bytes>>)| {
        let mut request = client.request(body());
        change(&mut request);
        request
    };
    let header = |name: &'static str, value: &'static str| {
        bend(&|request| drop(request.headers_mut().insert(name, value.parse().unwrap())))
    };
    let without = |name: &'static str| bend(&|request| drop(request.headers_mut().remove(name)));
    let rows = [
        (
            "no bearer",
            without("authorization"),
            row(401, -32600, "Missing Bearer token — add your member key to the MCP client config"),
        ),
        ("basic", header("authorization", "Basic YTpi"), row(401, -32600, "Missing Bearer token")),
        (
            "unknown key",
            header("authorization", "Bearer AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"),
            row(401, -32600, "Unknown member key — re-authenticate at the UI to get a new key"),
        ),
        ("no key at all", header("authorization", "Bearer x"), row(401, -32600, "Unknown member key")),
        ("foreign origin", header("origin", "https://evil.example"), row(403, -32600, "Origin")),
        ("accepts JSON only", header("accept", "application/json"), row(406, -32600, "Not acceptable")),
        ("content type", header("content-type", "text/plain"), row(415, -32600, "Unsupported media type")),
        ("packed", header("content-encoding", "gzip"), row(415, -32600, "Unsupported media type")),
        (
            "unknown session",
            header("mcp-session-id", "00000000000000000000000000000000"),
            row(404, -32600, "Unknown session"),
        ),
        (
            "GET without a session",
            bend(&|request| *request.method_mut() = hyper::Method::GET),
            row(405, -32600, ""),
        ),
        ("PUT", bend(&|request| *request.method_mut() = hyper::Method::PUT), row(405, -32600, "")),
        (
            "unsupported version",
            header("mcp-protocol-version", "1999-01-01"),
            row(400, -32600, "Unsupported protocol version"),
        ),
        (
            "path",
            bend(&|request| *request.uri_mut() = format!("http://{}/other", gate.agents()).parse().unwrap()),
            row(404, -32600, ""),
        ),
    ];
    for (what, request, row) in rows {
        expect(what, &client.send(request).await, &row);
    }
    assert!(upstream.calls().is_empty(), "forwarded: {:?}", upstream.calls());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_upstream_can_get_wrong() {
    let Setup { gate, upstream, _dir } = setup("").await;
    let client = gate.client();
    let rows = [
        ("unreachable", "down__echo", row(502, -32603, "'down'")),
        ("not JSON", "recorder__not_json", row(502, -32603, "'recorder'")),
        ("status 500", "recorder__http_error", row(502, -32603, "'recorder'")),
        ("redirect", "recorder__redirect", row(502, -32603, "'recorder'")),
        ("somebody else's id", "recorder__wrong_id", row(502, -32603, "'recorder'")),
        ("silent", "recorder__silent", row(504, -32603, "'recorder'")),
    ];
    for (what, tool, row) in rows {
        let reply = client.call(tool, json!({})).await;
        expect(what, &reply, &row);
        assert!(!reply.message().to_string().contains("secret-internal-detail"), "{what}: {reply:?}");
    }
    let large = client.call("recorder__large", json!({ "bytes": 200_000 })).await;
    expect("too large a reply", &large, &row(502, -32603, "'recorder'"));

    let tool_error = client.call("recorder__tool_error", json!({})).await;
    assert_eq!(tool_error.result().unwrap()["isError"], true);
    let rpc_error = client.call("recorder__rpc_error", json!({})).await.error().unwrap();
    assert_eq!((rpc_error.code, rpc_error.message.as_str()), (-32042, "the upstream's own error"));
    assert_eq!(upstream.calls().len(), 8, "each was forwarded once, and never again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_not_call_at_all() {
    let Setup { gate, upstream, _dir } = setup("").await;
    let call = async |client: &Client| client.call("recorder__echo", json!({})).await;

    let services = ["wicket".to_owned()];
    let narrow = Client::new(gate.agents(), &gate.new_member("narrow", "bob", &services).await);
    expect(
        "service not enabled",
        &call(&narrow).await,
        &row(200, -32600, "Authorization denied: tool 'echo' is not permitted for agent 'narrow'"),
    );

    gate.admin(json!({ "do": "member_status", "agent": "tester", "member": "alice", "status": "pending" }))
        .await;
    expect("pending", &call(&gate.client()).await, &row(403, -32600, "not approved"));
    gate.admin(json!({ "do": "member_status", "agent": "tester", "member": "alice", "status": "rejected" }))
        .await;
    expect("rejected", &call(&gate.client()).await, &row(403, -32600, "rejected"));
    gate.admin(json!({ "do": "member_status", "agent": "tester", "member": "alice", "status": "approved" }))
        .await;
    gate.admin(json!({ "do": "agent_status", "agent": "tester", "status": "disabled" })).await;
    expect("disabled", &call(&gate.client()).await, &row(403, -32600, "Agent is disabled"));
    assert!(upstream.calls().is_empty(), "forwarded: {:?}", upstream.calls());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_bucket_is_429() {
    let Setup { gate, upstream, _dir } = setup("[limits]\nrate_burst = 3\nrate_per_second = 0.001\n").await;
    let client = gate.client();
    for _ in 0..3 {
        assert!(client.call("recorder__echo", json!({})).await.succeeded());
    }
    let reply = client.call("recorder__echo", json!({})).await;
    expect("bucket", &reply, &row(429, -32600, "Rate limit exceeded — too many requests per key"));
    assert_eq!(upstream.calls().len(), 3);
}

/// Really overloaded: every place of the gate is taken by a call that is under way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_gate_is_503_until_a_place_is_free() {
    let Setup { gate, upstream, _dir } = setup("[limits]\nin_flight_max = 3\n").await;
    let client = std::sync::Arc::new(gate.client());
    let held: Vec<_> = (0..3)
        .map(|_| {
            let client = std::sync::Arc::clone(&client);
            tokio::spawn(async move { client.call("recorder__hold", json!({ "key": "k" })).await })
        })
        .collect();
    crate::harness::until("all places to be taken", std::time::Duration::from_secs(5), async || {
        (upstream.calls().len() == 3).then_some(())
    })
    .await;
    let overload = || row(503, -32603, "Overloaded — try again later");
    for _ in 0..20 {
        let reply = client.call("recorder__echo", json!({ "nonce": "late" })).await;
        expect("overload", &reply, &overload());
        assert_eq!(reply.error().unwrap().data["reason"], "overloaded");
    }
    // Whoever asks, and whatever for: nobody is identified first.
    let stranger = Client::new(gate.agents(), "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
    expect("a stranger", &stranger.rpc("tools/list", json!({})).await, &overload());
    upstream.release("k");
    for call in held {
        assert!(call.await.unwrap().succeeded());
    }
    assert!(client.call("recorder__echo", json!({})).await.succeeded(), "the places are free again");
    assert_eq!(upstream.calls().len(), 4, "nothing was forwarded meanwhile");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn caps_of_calls_under_way_answer_at_once() {
    let Setup { gate, upstream, _dir } =
        setup("[limits]\nin_flight_max = 4\nin_flight_per_member_max = 2\n").await;
    let client = std::sync::Arc::new(gate.client());
    let held: Vec<_> = (0..2)
        .map(|_| {
            let client = std::sync::Arc::clone(&client);
            tokio::spawn(async move { client.call("recorder__hold", json!({ "key": "k" })).await })
        })
        .collect();
    crate::harness::until("both calls to be held", std::time::Duration::from_secs(5), async || {
        (upstream.calls().len() == 2).then_some(())
    })
    .await;
    let reply = client.call("recorder__echo", json!({})).await;
    expect("per member", &reply, &row(429, -32600, "Too many calls under way"));
    upstream.release("k");
    for call in held {
        assert!(call.await.unwrap().succeeded());
    }
    assert!(client.call("recorder__echo", json!({})).await.succeeded(), "the slots are free again");
}
