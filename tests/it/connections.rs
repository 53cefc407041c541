//! Connections that are kept open: idle ones are closed, HTTP/2 stays within its limits, and a reply that
//! nobody reads holds a bounded number of bytes for a bounded time.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::harness::{Connector, Gate, GateOptions, pause, until};
use crate::recorder::{Recorder, RecorderOptions, definitions};

async fn setup(config: &str) -> (Gate, Recorder, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let upstream = Recorder::start(dir.path(), RecorderOptions::default()).await;
    let connector = Connector::http("recorder", &upstream.url(), definitions());
    (Gate::start(GateOptions::new(vec![connector]).with_config(config)).await, upstream, dir)
}

type Sender = SendRequest<Full<Bytes>>;

/// A real HTTP/2 client on a connection of its own; the task ends when the connection does.
async fn http2(gate: &Gate) -> (Sender, JoinHandle<Result<(), hyper::Error>>) {
    let stream = TcpStream::connect(gate.agents()).await.unwrap();
    let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    (sender, tokio::spawn(connection))
}

async fn call(sender: &mut Sender, gate: &Gate, tool: &str, arguments: Value) -> (u16, Value) {
    let client = gate.client();
    let response = sender.send_request(client.request(client.call_body(tool, &arguments))).await.unwrap();
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&body).unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_connection_is_closed_and_a_used_one_is_not() {
    let (gate, upstream, _dir) = setup("[limits]\nconnection_idle_ms_max = 1_500\n").await;
    let (mut sender, connection) = http2(&gate).await;
    for _ in 0..4 {
        assert_eq!(call(&mut sender, &gate, "recorder__echo", json!({})).await.0, 200);
        pause(700).await;
    }
    // A call that is under way keeps it open, however long it takes.
    let client = gate.client();
    let body = client.streamed_body("recorder__hold", &json!({ "key": "k" }));
    let held = sender.send_request(client.request(body)).await.unwrap();
    pause(4_000).await;
    assert!(!connection.is_finished(), "closed during a call");
    upstream.release("k");
    let rest = held.into_body().collect().await.unwrap().to_bytes();
    assert!(String::from_utf8_lossy(&rest).contains("\"result\""), "the call was cut");

    let idle = Instant::now();
    let ended = tokio::time::timeout(Duration::from_secs(6), connection).await;
    let ended = ended.expect("an idle HTTP/2 connection stays open").unwrap();
    println!("HTTP/2 closed after {:?}: {ended:?}", idle.elapsed());
    assert!(ended.is_ok(), "closed without a GOAWAY: {ended:?}");
    assert!(idle.elapsed() > Duration::from_millis(1_000), "closed too early");

    let mut stream = TcpStream::connect(gate.agents()).await.unwrap();
    let body = client.call_body("recorder__echo", &json!({}));
    let request = format!(
        "POST /mcp HTTP/1.1\r\nhost: gate\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n\
         accept: application/json, text/event-stream\r\ncontent-length: {}\r\n\r\n{body}",
        gate.key(),
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let idle = Instant::now();
    let mut reply = Vec::new();
    let closed = tokio::time::timeout(Duration::from_secs(6), stream.read_to_end(&mut reply)).await;
    assert!(closed.is_ok(), "an idle HTTP/1.1 connection stays open");
    println!("HTTP/1.1 closed after {:?}", idle.elapsed());
    assert!(String::from_utf8_lossy(&reply).starts_with("HTTP/1.1 200"), "{reply:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http2_stays_within_its_limits() {
    let (gate, upstream, _dir) = setup("[limits]\nhttp2_streams_max = 3\n").await;
    let (mut sender, _connection) = http2(&gate).await;
    // From the first answer on, the client knows how many streams it may open; others wait in it.
    assert_eq!(call(&mut sender, &gate, "recorder__echo", json!({})).await.0, 200);
    let holds = || upstream.calls().iter().filter(|call| call.tool == "hold").count();
    let held: Vec<_> = (0..9)
        .map(|number| {
            let (mut sender, client) = (sender.clone(), gate.client());
            let body =
                client.call_body("recorder__hold", &json!({ "key": "k", "nonce": number.to_string() }));
            tokio::spawn(async move {
                let response = sender.send_request(client.request(body)).await.unwrap();
                (response.status().as_u16(), response.into_body().collect().await.is_ok())
            })
        })
        .collect();
    until("the first streams", Duration::from_secs(5), async || (holds() >= 3).then_some(())).await;
    pause(500).await;
    assert_eq!(holds(), 3, "more streams at once than allowed");
    upstream.release("k");
    for one in held {
        assert_eq!(one.await.unwrap(), (200, true));
    }

    // A list of headers beyond the limit.
    let (mut sender, _connection) = http2(&gate).await;
    let client = gate.client();
    let mut request = client.request(client.call_body("recorder__echo", &json!({ "nonce": "large head" })));
    for number in 0..20 {
        let name: http::HeaderName = format!("x-large-{number}").parse().unwrap();
        request.headers_mut().insert(name, "x".repeat(4_000).parse().unwrap());
    }
    let refused = sender.send_request(request).await;
    let refused = refused.map_or(true, |response| response.status() == 431);
    assert!(refused, "80 kB of headers were taken");
    assert!(upstream.calls().iter().all(|call| !call.arguments.contains("large head")));
}

/// The rapid reset: streams that are opened and given up at once. The connection is ended, not served.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_resets_ends_its_connection() {
    let (gate, upstream, _dir) = setup("").await;
    let frame = |kind: u8, flags: u8, stream: u32, payload: &[u8]| {
        let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
        bytes.extend([kind, flags]);
        bytes.extend(stream.to_be_bytes());
        bytes.extend(payload);
        bytes
    };
    // HPACK: `:method: POST`, `:scheme: http`, `:path: /mcp`, `:authority: gate`.
    let head = [&[0x83, 0x86, 0x04, 4][..], b"/mcp", &[0x01, 4], b"gate"].concat();
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(4, 0, 0, &[]));
    for number in 0..2_000_u32 {
        let stream = number * 2 + 1;
        bytes.extend(frame(1, 4, stream, &head));
        bytes.extend(frame(3, 0, stream, &8_u32.to_be_bytes()));
    }
    let mut stream = TcpStream::connect(gate.agents()).await.unwrap();
    let (mut reading, mut writing) = stream.split();
    let mut answer = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(10), async {
        let _cut = writing.write_all(&bytes).await;
        let _cut = reading.read_to_end(&mut answer).await;
    });
    assert!(ended.await.is_ok(), "the connection stays open");
    // A GOAWAY (frame type 7) with ENHANCE_YOUR_CALM (11).
    let mut rest = answer.as_slice();
    let mut calm = false;
    while rest.len() >= 9 {
        let length = u32::from_be_bytes([0, rest[0], rest[1], rest[2]]) as usize;
        let payload = &rest[9..(9 + length).min(rest.len())];
        calm |= rest[3] == 7 && payload.get(4..8) == Some(&[0, 0, 0, 11]);
        rest = &rest[(9 + length).min(rest.len())..];
    }
    assert!(calm, "no GOAWAY that asks for calm in {} bytes", answer.len());
    assert!(upstream.calls().is_empty());
    assert!(gate.client().call("recorder__echo", json!({})).await.succeeded(), "others are served");
}

/// Large replies of which nobody reads a byte: together they hold no more than they may, the next one is
/// refused, and each is cut in its time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replies_that_nobody_reads_are_bounded_and_cut() {
    const REPLY: u64 = 6 << 20;
    let config = "[limits]\nreply_write_ms_max = 3_000\nreply_bytes_waiting_max = 14_000_000\n";
    let (gate, upstream, _dir) = setup(config).await;
    let client = gate.client();
    let mut readers = Vec::new();
    for version in [1, 2] {
        let body = client.call_body("recorder__large", &json!({ "bytes": REPLY }));
        if version == 1 {
            let mut stream = TcpStream::connect(gate.agents()).await.unwrap();
            let request = format!(
                "POST /mcp HTTP/1.1\r\nhost: gate\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n\
                 accept: application/json, text/event-stream\r\ncontent-length: {}\r\n\r\n{body}",
                gate.key(),
                body.len()
            );
            stream.write_all(request.as_bytes()).await.unwrap();
            readers.push(Box::new(stream) as Box<dyn std::any::Any + Send>);
        } else {
            let (mut sender, connection) = http2(&gate).await;
            let response = sender.send_request(client.request(body)).await.unwrap();
            assert_eq!(response.status(), 200);
            readers.push(Box::new((sender, connection, response)));
        }
    }
    until("both replies to wait", Duration::from_secs(10), async || {
        (gate.metric("wicket_reply_bytes_waiting").await.is_some_and(|bytes| bytes > 2 * REPLY)).then_some(())
    })
    .await;
    let third = client.call("recorder__large", json!({ "bytes": REPLY })).await;
    let error = third.error().unwrap_or_else(|| panic!("a third reply was kept"));
    assert_eq!(
        (third.status.as_u16(), error.data["reason"].as_str()),
        (502, Some("reply_dropped")),
        "{error:?}"
    );
    assert!(client.call("recorder__echo", json!({})).await.succeeded(), "small replies pass");

    // The HTTP/1.1 client is cut at the write's limit of time; the one of HTTP/2 leaves.
    drop(readers.pop());
    until("the memory to be given back", Duration::from_secs(15), async || {
        (gate.metric("wicket_reply_bytes_waiting").await == Some(0)).then_some(())
    })
    .await;
    let whole = client.call("recorder__large", json!({ "bytes": REPLY })).await;
    assert!(whole.succeeded() && whole.body.len() as u64 > REPLY, "a reader that reads gets all");
    assert_eq!(upstream.calls().len(), 5);
}
