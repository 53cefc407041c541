//! Servers of both eras on a socket, byte by byte.

use std::sync::atomic::{AtomicBool, Ordering};

use super::server::{
    Act, Peer, Received, chunk, discovered, echo, event, events, initialized, last_chunk, reply, reply_with,
    status,
};
use super::*;

const SHORT: &str = "silence_ms_max = 1000\ncall_ms_max = 5000\ndial_ms_max = 500";

fn mirrored() -> Value {
    json!({"name": "echo", "description": "does echo", "inputSchema": {"type": "object", "properties": {
        "region": {"type": "string", "x-mcp-header": "Region"}}}})
}

fn result(request: &Received, result: Value) -> Value {
    json!({"jsonrpc": "2.0", "id": request.body["id"], "result": result})
}

/// A peer of the stateless era alone.
async fn modern(on_call: impl Fn(&Received) -> Vec<Act> + Send + Sync + 'static) -> Peer {
    Peer::with(move |request| match request.rpc() {
        "server/discover" => vec![reply(&discovered(request))],
        "tools/list" => vec![reply(&result(request, json!({"tools": [mirrored()]})))],
        "tools/call" | "prompts/get" | "resources/read" => on_call(request),
        _ => vec![status("400 Bad Request", r#"{"jsonrpc":"2.0","error":{"code":-32020,"message":"no"}}"#)],
    })
    .await
}

#[tokio::test]
async fn a_stateless_upstream_gets_each_request_for_itself() {
    let peer = modern(|request| vec![reply(&echo(request))]).await;
    let rig = Rig::new(&peer.descriptor(SHORT), &[mirrored()]);
    for arguments in [json!({"region": "eu"}), json!({"region": "ü"}), json!({})] {
        let went = rig.call("echo", arguments.clone()).await;
        assert_eq!((went.content(), went.sent, went.status), (arguments, true, 200));
        assert!(
            went.answer()["result"].get("resultType").is_none(),
            "a client of the session era gets it as it is"
        );
    }
    let calls = peer.requests("tools/call");
    let mut names: Vec<&str> =
        calls[0].head.iter().skip(1).map(|line| line.split(':').next().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "accept",
            "authorization",
            "content-length",
            "content-type",
            "host",
            "mcp-method",
            "mcp-name",
            "mcp-param-region",
            "mcp-protocol-version",
            "user-agent",
            "x-request-id"
        ],
        "and nothing else"
    );
    let header = |call: &Received, name: &str| call.header(name);
    assert_eq!(header(&calls[0], "mcp-protocol-version").unwrap(), "2026-07-28");
    assert_eq!(header(&calls[0], "mcp-method").unwrap(), "tools/call");
    assert_eq!(header(&calls[0], "mcp-name").unwrap(), "echo");
    assert_eq!(header(&calls[0], "mcp-param-region").unwrap(), "eu");
    assert_eq!(header(&calls[1], "mcp-param-region").unwrap(), "=?base64?w7w=?=");
    assert_eq!(header(&calls[2], "mcp-param-region"), None);
    let meta = &calls[0].body["params"]["_meta"];
    assert_eq!(meta["io.modelcontextprotocol/protocolVersion"], "2026-07-28");
    assert_eq!(meta["io.modelcontextprotocol/clientCapabilities"], json!({}));
    assert!(peer.requests("initialize").is_empty());
    assert_eq!(peer.requests("server/discover").len(), 1, "asked once");
    rig.upstreams.catalogue(&rig.service()).await.unwrap();
    let status = rig.status();
    assert_eq!((status.era, status.revision), (Some("stateless"), Some("2026-07-28")));
}

#[tokio::test]
async fn a_client_of_the_stateless_era_gets_whole_results() {
    let (peer, rig) = {
        let peer = Peer::start(vec![definition("echo")], |request| vec![reply(&echo(request))]).await;
        let rig = Rig::new(&peer.descriptor(SHORT), &[definition("echo")]);
        (peer, rig)
    };
    let mut outbound = rig.outbound("peer", "echo", &json!({"a": 1}), None);
    outbound.client = client(Revision::R2026_07_28, Capabilities::default());
    let result = rig.go(outbound).await.answer()["result"].clone();
    assert_eq!(result["resultType"], "complete");
    assert_eq!(result["_meta"]["io.modelcontextprotocol/serverInfo"], json!({"name": "p", "version": "1"}));
    assert_eq!(rig.status().revision, Some("2025-11-25"));
    assert_eq!(peer.requests("server/discover").len(), 1);
}

type OnDiscover = Box<dyn Fn(&Received) -> Vec<Act> + Send + Sync>;

/// 400 with this error.
fn refusal(code: i32, supported: Option<&[&str]>) -> OnDiscover {
    let data = supported.map_or(json!({}), |versions| json!({ "supported": versions }));
    let body = json!({"jsonrpc": "2.0", "id": null, "error": {"code": code, "message": "m", "data": data}});
    Box::new(move |_| vec![status("400 Bad Request", &body.to_string())])
}

/// Every answer to `server/discover`, and how the upstream is spoken to after it.
fn answers_to_the_question() -> Vec<(&'static str, OnDiscover, &'static str)> {
    let unknown_method = |request: &Received| {
        let id = &request.body["id"];
        vec![reply(&json!({"jsonrpc": "2.0", "id": id, "error": {"code": -32601, "message": "m"}}))]
    };
    vec![
        ("a result", Box::new(|r| vec![reply(&discovered(r))]), "stateless"),
        ("a stream", Box::new(|r| vec![events(), event(&discovered(r)), last_chunk()]), "stateless"),
        ("others and ours", refusal(-32022, Some(&["2031-01-01", "2026-07-28"])), "stateless"),
        ("a header is wrong", refusal(-32020, None), "stateless"),
        ("only old revisions", refusal(-32022, Some(&["2025-11-25"])), "session"),
        ("only unknown revisions", refusal(-32022, Some(&["2031-01-01"])), "none"),
        ("no session", refusal(-32000, None), "session"),
        ("an empty 404", Box::new(|_| vec![status("404 Not Found", "")]), "session"),
        ("an error", Box::new(|_| vec![status("500 Internal Server Error", "<html>")]), "session"),
        ("accepted", Box::new(|_| vec![status("202 Accepted", "")]), "session"),
        ("unknown method", Box::new(unknown_method), "session"),
        ("another's result", Box::new(|r| vec![reply(&result(r, json!({"tools": []})))]), "session"),
        ("closes", Box::new(|_| vec![Act::Close]), "session"),
        ("says nothing", Box::new(|_| vec![Act::Wait(800), Act::Close]), "session"),
    ]
}

#[tokio::test]
async fn the_answer_to_the_question_decides_the_era() {
    for (name, on_discover, expect) in answers_to_the_question() {
        let peer = Peer::with(move |request| match request.rpc() {
            "server/discover" => on_discover(request),
            "initialize" => vec![reply_with("mcp-session-id: s-1\r\n", &initialized(request))],
            "tools/list" => vec![reply(&result(request, json!({"tools": [mirrored()]})))],
            "tools/call" => vec![reply(&echo(request))],
            _ => vec![status("202 Accepted", "")],
        })
        .await;
        let rig = Rig::new(&peer.descriptor(SHORT), &[mirrored()]);
        let went = rig.call("echo", json!({"a": 1})).await;
        if expect == "none" {
            assert!(!went.sent && went.failed().to_string().contains("no revision"), "{name}: {went:?}");
            assert!(
                peer.requests("initialize").is_empty() && peer.requests("tools/call").is_empty(),
                "{name}"
            );
            continue;
        }
        assert_eq!(went.content(), json!({"a": 1}), "{name}");
        assert_eq!(rig.status().era, Some(expect), "{name}");
        assert_eq!(peer.requests("initialize").is_empty(), expect == "stateless", "{name}");
    }
}

#[tokio::test]
async fn a_connectors_word_on_the_era_is_taken() {
    for (era, asked) in [("session", 0), ("stateless", 1)] {
        let peer = Peer::with(|request| match request.rpc() {
            "server/discover" => vec![reply(&discovered(request))],
            "initialize" => vec![reply(&initialized(request))],
            "tools/call" => vec![reply(&echo(request))],
            "tools/list" => vec![reply(&result(request, json!({"tools": [mirrored()]})))],
            _ => vec![status("202 Accepted", "")],
        })
        .await;
        let descriptor = peer.descriptor(SHORT).replace("[limits]", &format!("era = \"{era}\"\n[limits]"));
        let rig = Rig::new(&descriptor, &[mirrored()]);
        assert_eq!(rig.call("echo", json!({})).await.content(), json!({}));
        assert_eq!(rig.status().era, Some(era));
        assert_eq!(peer.requests("server/discover").len(), asked);
    }
    let old = Peer::start(vec![mirrored()], |request| vec![reply(&echo(request))]).await;
    let descriptor = old.descriptor(SHORT).replace("[limits]", "era = \"stateless\"\n[limits]");
    let went = Rig::new(&descriptor, &[mirrored()]).call("echo", json!({})).await;
    assert!(!went.sent && went.failed().to_string().contains("server/discover"), "{went:?}");
    assert!(old.requests("initialize").is_empty());
}

#[tokio::test]
async fn an_upstream_that_is_of_the_other_era_now_is_asked_again() {
    let is_modern = Arc::new(AtomicBool::new(false));
    let now = Arc::clone(&is_modern);
    let peer = Peer::with(move |request| {
        let modern = now.load(Ordering::SeqCst);
        let says_modern = request.header("mcp-method").is_some();
        match request.rpc() {
            "server/discover" if modern => vec![reply(&discovered(request))],
            _ if modern && !says_modern => {
                let no = r#"{"jsonrpc":"2.0","error":{"code":-32020,"message":"Mcp-Method is missing"}}"#;
                vec![status("400 Bad Request", no)]
            }
            "initialize" => vec![reply(&initialized(request))],
            _ if !modern && says_modern => {
                let no = r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"Server not initialized"}}"#;
                vec![status("400 Bad Request", no)]
            }
            "tools/call" => vec![reply(&echo(request))],
            "tools/list" => vec![reply(&result(request, json!({"tools": [mirrored()]})))],
            _ => vec![status("202 Accepted", "")],
        }
    })
    .await;
    let rig = Rig::new(&peer.descriptor(SHORT), &[mirrored()]);
    for (turn, (modern, posts)) in [(false, 1), (true, 3), (true, 4), (false, 6)].into_iter().enumerate() {
        is_modern.store(modern, Ordering::SeqCst);
        let went = rig.call("echo", json!({ "turn": turn })).await;
        assert_eq!(went.content(), json!({ "turn": turn }), "{went:?}");
        assert_eq!(rig.status().era, Some(if modern { "stateless" } else { "session" }));
        assert_eq!(peer.requests("tools/call").len(), posts, "one refused by its era, one run");
    }
}

#[tokio::test]
async fn errors_of_the_stateless_era_are_answers_unless_they_are_the_gates_own_fault() {
    let code = |code: i32| {
        move |request: &Received| {
            let id = &request.body["id"];
            let body = json!({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": "no"}});
            vec![status("400 Bad Request", &body.to_string())]
        }
    };
    for (given, expect) in [
        (-32602, Some(-32602)),
        (-32601, Some(-32601)),
        (-32021, Some(-32603)),
        (-32020, None),
        (-32022, None),
    ] {
        let peer = modern(code(given)).await;
        let rig = Rig::new(&peer.descriptor(SHORT), &[mirrored()]);
        let went = rig.call("echo", json!({})).await;
        assert!(went.sent, "{given}");
        match expect {
            Some(code) => assert_eq!(went.answer()["error"]["code"], code, "{given}"),
            None => assert_eq!((went.failed().label(), went.failed().status()), ("broken", 400), "{given}"),
        }
        assert_eq!(peer.requests("tools/call").len(), 1, "{given}: never again");
    }
}

#[tokio::test]
async fn a_cancelled_call_of_the_stateless_era_loses_its_connection_and_no_word_is_said() {
    let log = json!({"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info"}});
    let peer = modern(move |_| {
        vec![events(), event(&log), Act::Wait(300), chunk(":\n\n"), Act::Wait(300), chunk(":\n\n")]
    })
    .await;
    let rig = Rig::new(&peer.descriptor(SHORT), &[mirrored()]);
    rig.upstreams.catalogue(&rig.service()).await.unwrap();
    let outbound = rig.outbound("peer", "echo", &json!({}), None);
    let call_id = outbound.call_id;
    let (went, ()) = tokio::join!(rig.go(outbound), async {
        rig.until("the call is there", |_| !peer.requests("tools/call").is_empty()).await;
        assert!(rig.upstreams.cancel(call_id, None));
    });
    assert_eq!((went.sent, went.failed()), (true, UpstreamFailure::Cancelled));
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(peer.requests("notifications/cancelled").is_empty());
    let went = rig.call("echo", json!({})).await;
    let calls = peer.requests("tools/call");
    assert_ne!(calls[0].connection, calls[1].connection, "{went:?}");
}

#[tokio::test]
async fn what_went_with_the_session_era_is_seen_to_by_the_gate() {
    let peer = modern(|request| vec![reply(&echo(request))]).await;
    let rig = Rig::new(&peer.descriptor(SHORT), &[mirrored()]);
    let mut outbound = rig.outbound("peer", "echo", &json!({}), None);
    let text = r#"{"jsonrpc":"2.0","id":"c-1","method":"logging/setLevel","params":{"level":"info"}}"#;
    outbound.call = match mcp::read(Bytes::from(text), mcp::Limits::REQUEST) {
        Ok(mcp::Message::Request(mcp::Request::Call(call))) => Arc::new(call),
        other => panic!("{other:?}"),
    };
    outbound.tool = ToolName::parse("logging/setLevel").unwrap();
    let went = rig.go(outbound).await;
    assert_eq!(went.answer(), json!({"jsonrpc": "2.0", "id": "c-1", "result": {}}));
    assert!(peer.requests("logging/setLevel").is_empty());
}
