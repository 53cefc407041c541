//! The journal of a running gate as its operator meets it: sessions' checkpoints, figures, retention in
//! the status, and a start that finds entries missing.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::harness::{Connector, Gate, GateOptions, until};
use crate::recorder::{Recorder, RecorderOptions, definitions};

const OFTEN: &str = "[audit]\nsession_checkpoint_calls_max = 3\n";

async fn gate(dir: &std::path::Path) -> (Recorder, Gate) {
    let upstream = Recorder::start(dir, RecorderOptions::default()).await;
    let connector = Connector::http("recorder", &upstream.url(), definitions());
    (upstream, Gate::start(GateOptions::new(vec![connector]).with_config(OFTEN)).await)
}

async fn metrics(gate: &Gate) -> String {
    let mut stream = TcpStream::connect(gate.control()).await.unwrap();
    let request = format!("GET /metrics HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", gate.control());
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).await.unwrap();
    reply
}

/// The sessions' checkpoints with this cause.
fn checkpoints(gate: &Gate, cause: &str) -> Vec<Value> {
    let entries = gate.journal().entries;
    entries.into_iter().filter(|entry| entry["type"] == "session" && entry["cause"] == cause).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_is_recorded_with_its_counters_and_again_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (_upstream, mut gate) = gate(dir.path()).await;
    let client = gate.client();
    for n in 0..4 {
        assert!(client.call("recorder__echo", json!({ "nonce": n.to_string() })).await.succeeded());
    }
    let entry = until("the session's checkpoint", Duration::from_secs(20), async || {
        checkpoints(&gate, "calls").pop()
    })
    .await;
    assert_eq!(entry["counters"]["calls"], 4);
    assert_eq!(entry["settled"], true);
    let journal = gate.journal();
    assert!(journal.intents().values().all(|intent| intent["sessionId"] == entry["sessionId"]));
    assert_eq!(entry["window"]["series"]["calls"][1], 4, "{entry}");
    let (_, tail) = gate.command(&["audit", "tail"]).await;
    assert!(tail.contains("SESSION") && tail.contains("4 calls, 0 denied (calls)"), "{tail}");

    assert!(gate.stop().await.success());
    gate.launch().await;
    let entry =
        until("it is taken up", Duration::from_secs(20), async || checkpoints(&gate, "restored").pop()).await;
    assert_eq!(entry["counters"]["calls"], 4);
    let (clean, text) = gate.command(&["audit", "verify"]).await;
    assert!(clean, "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_that_finds_entries_missing_says_so_everywhere_and_records_on() {
    let dir = tempfile::tempdir().unwrap();
    let (_upstream, mut gate) = gate(dir.path()).await;
    let status = gate.admin(json!({ "do": "status" })).await;
    assert_eq!(status["journal"]["damaged"], Value::Null, "{status}");
    assert_eq!(status["journal"]["retention"], "kept 400 days", "{status}");
    assert!(gate.client().call("recorder__echo", json!({ "nonce": "a" })).await.succeeded());
    assert!(gate.stop().await.success());

    // Somebody takes the last entries; the witness knows better.
    let segment = gate.data_dir().join("journal/segment-00000001.jsonl");
    let text = std::fs::read_to_string(&segment).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    std::fs::write(&segment, lines[..lines.len() - 2].join("\n") + "\n").unwrap();
    gate.launch().await;
    let status = gate.admin(json!({ "do": "status" })).await;
    assert!(status["journal"]["damaged"].as_str().unwrap().contains("entries are lost"), "{status}");
    let (_, page) = gate.command(&["status"]).await;
    assert!(page.contains("is not what it was before this start"), "{page}");
    until("the metric says so", Duration::from_secs(10), async || {
        let metrics = metrics(&gate).await;
        let has = |line: &str| metrics.lines().any(|one| one.starts_with(line));
        (has("wicket_journal_damaged 1")
            && has("wicket_journal_segments 2")
            && has("wicket_journal_open_intents 0")
            && has("wicket_journal_bytes ")
            && has("wicket_audit_index_lag_entries "))
        .then_some(())
    })
    .await;
    assert!(gate.client().call("recorder__echo", json!({ "nonce": "b" })).await.succeeded());
    let (clean, text) = gate.command(&["audit", "verify"]).await;
    assert!(!clean && text.contains("what lay between is lost"), "{text}");
}
