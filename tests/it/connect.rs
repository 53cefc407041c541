//! `wicket connect`: clients that can only start a program. The suites of both Python lines run over
//! it as they run over HTTP; the rest is what a client of its own sees on the pipes.

use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::clients::{everything_over_http, missing, root, run, server, setup};
use crate::harness::{Gate, GateOptions, binary, skip, until};
use crate::recorder::{Recorder, RecorderOptions};

/// The bridge answers, or says that it cannot, long before.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// A client that writes lines and reads lines.
struct Bridge {
    child: Child,
    input: Option<ChildStdin>,
    output: Lines<BufReader<ChildStdout>>,
}

impl Bridge {
    fn start(url: &str, key: &str) -> Self {
        let mut child = Command::new(binary())
            .args(["connect", url])
            .env("WICKET_KEY", key)
            .current_dir(std::env::temp_dir())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, input, output }
    }

    async fn write(&mut self, line: &str) {
        let input = self.input.as_mut().unwrap();
        input.write_all(format!("{line}\n").as_bytes()).await.unwrap();
    }

    async fn read(&mut self) -> Value {
        let line = tokio::time::timeout(ANSWER_MAX, self.output.next_line()).await.expect("no answer");
        serde_json::from_str(&line.unwrap().expect("the bridge has ended")).unwrap()
    }

    async fn ask(&mut self, message: Value) -> Value {
        self.write(&message.to_string()).await;
        self.read().await
    }

    async fn shake_hands(&mut self) -> Value {
        let answer = self
            .ask(json!({"jsonrpc": "2.0", "id": "hello", "method": "initialize", "params": {
                "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "it", "version": "1"}}}))
            .await;
        self.write(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#).await;
        answer
    }

    /// Closes the client's side: the lines that still come, and what was logged.
    async fn end(mut self) -> (Vec<String>, String) {
        drop(self.input.take());
        let mut rest = Vec::new();
        while let Some(line) =
            tokio::time::timeout(ANSWER_MAX, self.output.next_line()).await.unwrap().unwrap()
        {
            rest.push(line);
        }
        let ended = self.child.wait_with_output().await.unwrap();
        assert!(ended.status.success(), "{ended:?}");
        (rest, String::from_utf8(ended.stderr).unwrap())
    }
}

fn whoami(id: u64) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": "wicket__whoami", "arguments": {}}})
}

/// What a server over HTTP sees of a client at the pipes: here without a gate between.
#[tokio::test]
async fn each_message_is_a_post_with_the_key_and_its_session() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = Recorder::start(dir.path(), RecorderOptions::default()).await;
    let mut bridge = Bridge::start(&recorder.url(), "a-member-key");
    bridge.shake_hands().await;
    let odd = r#"{ "id" : 4 , "jsonrpc":"2.0","method":"tools/list","params":{"x":1e2} }"#;
    bridge.write(odd).await;
    assert_eq!(bridge.read().await["id"], 4);
    bridge.end().await;
    let received = recorder.received();
    let session = received[0].sequence;
    for (number, one) in received.iter().enumerate() {
        assert_eq!(one.header("authorization"), Some("Bearer a-member-key"), "{one:?}");
        let (id, version) = (one.header("mcp-session-id"), one.header("mcp-protocol-version"));
        if number == 0 {
            assert_eq!((one.method.as_str(), id, version), ("initialize", None, None));
        } else {
            let expected = format!("recorder-session-{session}");
            assert_eq!((id, version), (Some(expected.as_str()), Some("2025-11-25")), "{one:?}");
        }
    }
    assert!(received.iter().any(|one| one.body == odd), "the line was changed: {received:?}");
    let ends: Vec<&str> = received.iter().map(|one| one.http_method.as_str()).collect();
    assert_eq!(ends.last(), Some(&"DELETE"), "{ends:?}");
    assert!(ends.contains(&"GET"), "{ends:?}");
}

async fn python(line: &str, suite: &str) {
    let interpreter = root().join(format!(".tools/python/{line}/bin/python"));
    let (everything, files) = (server("everything"), server("filesystem"));
    if let Some(why) = missing(&[&interpreter, &everything, &files]) {
        return skip(&format!("connect-python-{line}"), &why);
    }
    let setup = setup().await;
    let mut command = Command::new(interpreter);
    command.args(["-B", "suite.py", suite]).current_dir(root().join("tests/clients/python"));
    command.env("WICKET_BINARY", binary());
    run(command, &setup).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn python_first_line_over_a_pipe() {
    python("mcp1", "bridge1").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn python_second_line_over_a_pipe() {
    python("mcp2", "bridge2").await;
}

#[tokio::test]
async fn what_is_asked_at_once_is_answered_each_under_its_own_id() {
    let gate = Gate::start(GateOptions::new(Vec::new())).await;
    let mut bridge = Bridge::start(&gate.url(), gate.key());
    let hello = bridge.shake_hands().await;
    assert_eq!((&hello["id"], &hello["result"]["protocolVersion"]), (&json!("hello"), &json!("2025-11-25")));
    // Written at once, answered in whatever order, each under its own id.
    for id in 1..=20 {
        bridge.write(&whoami(id).to_string()).await;
    }
    let mut answered = Vec::new();
    for _ in 1..=20 {
        let answer = bridge.read().await;
        assert!(answer["result"]["content"][0]["text"].as_str().unwrap().contains("tester"), "{answer}");
        answered.push(answer["id"].as_u64().unwrap());
    }
    answered.sort_unstable();
    assert_eq!(answered, (1..=20).collect::<Vec<_>>());
    // What is written last is still answered.
    bridge.write(&whoami(21).to_string()).await;
    let (rest, _) = bridge.end().await;
    assert!(rest.len() == 1 && rest[0].contains(r#""id":21"#), "{rest:?}");
}

#[tokio::test]
async fn a_session_that_the_gate_has_forgotten_is_begun_anew() {
    let gate = Gate::start(GateOptions::new(Vec::new())).await;
    let mut bridge = Bridge::start(&gate.url(), gate.key());
    bridge.shake_hands().await;
    assert!(bridge.ask(whoami(1)).await["result"].is_object());
    let sessions = gate.admin(json!({"do": "session_list", "agent": "tester"})).await;
    gate.admin(json!({"do": "session_reset", "session": sessions[0]["id"]})).await;
    for id in 2..=5 {
        bridge.write(&whoami(id).to_string()).await;
    }
    for _ in 2..=5 {
        let answer = bridge.read().await;
        assert!(answer["result"].is_object(), "{answer}");
    }
    let (rest, log) = bridge.end().await;
    assert!(rest.is_empty(), "{rest:?}");
    assert_eq!(log.matches("a new one was begun").count(), 1, "{log}");
}

/// Nobody asked: it comes over the stream that the bridge opens by itself.
#[tokio::test]
async fn what_a_server_says_unasked_is_written_too() {
    if let Some(why) = missing(&[&server("everything")]) {
        return skip("connect-unasked", &why);
    }
    let (_server, url) = everything_over_http().await;
    let mut bridge = Bridge::start(&url, "a-member-key");
    bridge.shake_hands().await;
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": {"name": "toggle-simulated-logging", "arguments": {}}});
    bridge.write(&call.to_string()).await;
    let said = [bridge.read().await, bridge.read().await];
    assert!(said.iter().any(|message| message["method"] == "notifications/message"), "{said:?}");
    assert!(said.iter().any(|message| message["id"] == 1), "{said:?}");
    bridge.end().await;
}

#[tokio::test]
async fn a_refused_key_and_an_absent_gate_are_told_under_the_requests_id() {
    let gate = Gate::start(GateOptions::new(Vec::new())).await;
    let key = "A".repeat(32);
    let mut bridge = Bridge::start(&gate.url(), &key);
    let answer = bridge.ask(whoami(7)).await;
    assert_eq!((&answer["id"], &answer["error"]["code"]), (&json!(7), &json!(-32600)), "{answer}");
    assert!(answer["error"]["message"].as_str().unwrap().contains("Unknown member key"), "{answer}");
    let (_, log) = bridge.end().await;
    assert!(!log.contains(&key), "{log}");

    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut bridge = Bridge::start(&format!("http://{nobody}/mcp"), gate.key());
    let answer = bridge.ask(whoami(8)).await;
    assert_eq!((&answer["id"], &answer["error"]["data"]["reason"]), (&json!(8), &json!("gate_unreachable")));
    assert!(answer["error"]["message"].as_str().unwrap().contains("wicket status"), "{answer}");
    // What is no message is told as well, and the next one is answered all the same.
    assert_eq!(bridge.ask(json!([1])).await["error"]["code"], -32700);
    assert_eq!(bridge.ask(whoami(9)).await["id"], 9);
    bridge.end().await;
}

#[tokio::test]
async fn without_a_key_nothing_starts_and_a_file_may_hold_it() {
    let gate = Gate::start(GateOptions::new(Vec::new())).await;
    let without = Command::new(binary()).arg("connect").stdin(Stdio::null()).output().await.unwrap();
    assert_eq!(without.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&without.stderr).contains("WICKET_KEY"), "{without:?}");

    let file = gate.dir().join("key");
    std::fs::write(&file, format!("{}\n", gate.key())).unwrap();
    // The gate's own folder says where it listens.
    let mut child = Command::new(binary())
        .args(["connect", "--config", "wicket.toml", "--key-file", "key"])
        .current_dir(gate.dir())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(format!("{}\n", whoami(1)).as_bytes()).await.unwrap();
    let ended = child.wait_with_output().await.unwrap();
    let answer: Value = serde_json::from_slice(&ended.stdout).unwrap();
    assert!(answer["result"].is_object(), "{answer}");
    assert!(String::from_utf8_lossy(&ended.stderr).contains("chmod 600"), "{ended:?}");
}

/// The SDK's own server is the judge of the headers; that a call was cancelled it writes down itself.
#[tokio::test]
async fn the_stateless_era_passes_with_its_headers_and_is_cancelled_by_closing() {
    let interpreter = root().join(".tools/python/mcp2/bin/python");
    if let Some(why) = missing(&[&interpreter]) {
        return skip("connect-stateless", &why);
    }
    let dir = tempfile::tempdir().unwrap();
    let cancelled = dir.path().join("cancelled");
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let _server = Command::new(&interpreter)
        .arg("-B")
        .arg(root().join("tests/upstreams/stateless.py"))
        .arg(port.to_string())
        .arg(&cancelled)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    until("the server to listen", Duration::from_secs(30), async || {
        tokio::net::TcpStream::connect(("127.0.0.1", port)).await.ok()
    })
    .await;
    let client = Command::new(&interpreter)
        .args(["-B", "stateless.py"])
        .current_dir(root().join("tests/clients/python"))
        .env("WICKET_BINARY", binary())
        .env("WICKET_URL", format!("http://127.0.0.1:{port}/mcp"))
        .env("WICKET_KEY", "a-member-key")
        .env("WICKET_CANCELLED", &cancelled)
        .kill_on_drop(true)
        .output();
    let ended =
        tokio::time::timeout(Duration::from_secs(60), client).await.expect("the client hangs").unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    assert_eq!(std::fs::read_to_string(&cancelled).unwrap(), "steps 600\n");
    // A client that lists nothing: the bridge learns by itself what travels in headers.
    let mut bridge = Bridge::start(&format!("http://127.0.0.1:{port}/mcp"), "a-member-key");
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "in region",
        "arguments": {"region": "grüße", "count": 7}, "_meta": {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {}}}});
    let answer = bridge.ask(call).await;
    assert_eq!(answer["result"]["content"][0]["text"], "7 in grüße", "{answer}");
    bridge.end().await;
}

/// A stream of `subscriptions/listen` over the bridge, acknowledged.
async fn listening(gate: &Gate, id: &str) -> Bridge {
    let mut bridge = Bridge::start(&gate.url(), gate.key());
    let acknowledged = bridge
        .ask(json!({ "jsonrpc": "2.0", "id": id, "method": "subscriptions/listen", "params": {
            "notifications": { "toolsListChanged": true },
            "_meta": { "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                "io.modelcontextprotocol/clientCapabilities": {} } } }))
        .await;
    assert_eq!(acknowledged["method"], "notifications/subscriptions/acknowledged", "{acknowledged}");
    bridge
}

/// On standard input and output a stream ends with nothing but words, whoever ends it (MCP 2026-07-28, cancellation and
/// subscriptions).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_its_client_did_not_end_is_torn_down_in_words() {
    let torn_down = |message: &Value, id: &str| {
        assert_eq!(message["method"], "notifications/cancelled", "{message}");
        assert_eq!(message["params"]["requestId"], id, "{message}");
    };
    // The bridge is told to stop.
    let gate = Gate::start(GateOptions::new(vec![])).await;
    let mut bridge = listening(&gate, "one").await;
    let pid = rustix::process::Pid::from_raw(i32::try_from(bridge.child.id().unwrap()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    torn_down(&bridge.read().await, "one");
    let result = bridge.read().await;
    assert_eq!((&result["id"], &result["result"]["resultType"]), (&json!("one"), &json!("complete")));
    assert_eq!(result["result"]["_meta"]["io.modelcontextprotocol/subscriptionId"], "one");

    // The gate stops in order.
    let mut gate = gate;
    let mut bridge = listening(&gate, "two").await;
    let stopping = tokio::spawn(async move {
        gate.stop().await;
        gate
    });
    torn_down(&bridge.read().await, "two");
    let result = bridge.read().await;
    assert_eq!((&result["id"], &result["result"]["resultType"]), (&json!("two"), &json!("complete")));
    let mut gate = stopping.await.unwrap();

    // It ends without a word.
    gate.launch().await;
    let mut bridge = listening(&gate, "three").await;
    gate.kill().await;
    torn_down(&bridge.read().await, "three");
    let error = bridge.read().await;
    assert_eq!(
        (&error["id"], &error["error"]["data"]["reason"]),
        (&json!("three"), &json!("connection_lost"))
    );
}
