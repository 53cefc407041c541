//! SIGTERM: what is under way ends, nothing new begins, the journal is closed in order. And the control
//! port says how the gate is.

use std::time::Duration;

use http_body_util::BodyExt;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{Connector, Gate, GateOptions, sse_messages, until};
use crate::recorder::{Recorder, RecorderOptions, definitions};

async fn setup() -> (Gate, Recorder, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let upstream = Recorder::start(dir.path(), RecorderOptions::default()).await;
    let connector = Connector::http("recorder", &upstream.url(), definitions());
    let options = GateOptions::new(vec![connector]).with_config("[drain]\nms_max = 10_000\n");
    (Gate::start(options).await, upstream, dir)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_under_way_end_and_nothing_new_begins() {
    let (mut gate, upstream, _dir) = setup().await;
    let client = gate.client();
    let late = gate.client();
    let body = client.streamed_body("recorder__hold", &json!({ "key": "k" }));
    let mut response = client.open(client.request(body)).await;
    let first = response.body_mut().frame().await.unwrap().unwrap().into_data().unwrap();
    assert!(String::from_utf8_lossy(&first).contains("notifications/progress"), "{first:?}");

    let stopping = async {
        let status = gate.stop().await;
        assert!(status.success(), "the gate ended with {status}:\n{}", gate.log());
    };
    let finishing = async {
        until("new calls to be refused", Duration::from_secs(5), async || {
            let body = late.call_body("recorder__echo", &json!({ "nonce": "late" }));
            let refused = match late.try_send(late.request(body)).await {
                Ok(reply) => reply.status == 503,
                Err(_) => true,
            };
            refused.then_some(())
        })
        .await;
        upstream.release("k");
        let rest = response.into_body().collect().await.unwrap().to_bytes();
        assert!(sse_messages(&rest).last().unwrap()["result"].is_object(), "the call under way was cut");
    };
    tokio::join!(stopping, finishing);

    let journal = gate.journal();
    assert!(journal.open().is_empty(), "open intents after an orderly stop: {:?}", journal.open());
    let (clean, text) = gate.command(&["audit", "verify"]).await;
    assert!(clean, "{text}");
    gate.launch().await;
    assert!(gate.journal().recovered().is_empty());
    assert!(gate.client().call("recorder__echo", json!({})).await.succeeded(), "the key outlives a restart");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_control_port_says_how_the_gate_is() {
    let (gate, _upstream, _dir) = setup().await;
    assert!(gate.client().call("recorder__echo", json!({})).await.succeeded());
    for (path, expected) in [("/healthz", ""), ("/readyz", ""), ("/metrics", "wicket_")] {
        let mut stream = TcpStream::connect(gate.control()).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", gate.control());
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).await.unwrap();
        assert!(reply.starts_with("HTTP/1.1 200") && reply.contains(expected), "{path}: {reply}");
        assert!(!reply.contains(gate.key()), "{path} shows a key");
    }
}
