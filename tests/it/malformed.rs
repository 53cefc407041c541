//! Malformed requests at random over sockets (reliability.md G5): no panic, no hang, nothing wrongly
//! forwarded.
//!
//! Every call that an upstream received is judged again, by parsers that are not the gate's (a Rust
//! one that detects duplicate keys, and Python's) and by plain `cedar_policy::Authorizer`; and it must
//! be the call that the journal says was decided. Short form 100,000 requests, `make malformed-long`
//! more; the seed is printed, `WICKET_TEST_SEED` repeats a run. A tenth as many go to an upstream over stdio,
//! where a line is a message: nothing that arrives may be more than one, or another one.

#[path = "malformed/judge.rs"]
mod judge;
#[path = "malformed/mutate.rs"]
mod mutate;
#[path = "malformed/python.rs"]
mod python;
#[path = "malformed/wire.rs"]
mod wire;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::harness::{Connector, Gate, GateOptions, READ_BASELINE, Random, setting_or, skip};
use crate::recorder::{Recorder, RecorderOptions, definitions};
use judge::{FORBID, Judge};
use python::PythonRecorder;
use wire::{Wire, WireFault};

const SENDERS: u64 = 24;

/// Statuses that a malformed request may be answered with. 500 is none of them.
const STATUSES: &[u16] = &[
    100, 200, 202, 204, 400, 401, 403, 404, 405, 406, 408, 411, 413, 414, 415, 417, 429, 431, 501, 502, 503,
    504, 505,
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_at_random() {
    let dir = tempfile::tempdir().unwrap();
    let upstream = Recorder::start(dir.path(), RecorderOptions { synced: false }).await;
    let mut connectors = vec![Connector::http("recorder", &upstream.url(), definitions())];
    let python = PythonRecorder::start(dir.path()).await;
    match &python {
        Some(python) => connectors.push(Connector::http("python", &python.url(), python.definitions())),
        None => skip("malformed-python-parser", "python3 is not installed"),
    }
    let forbid =
        if python.is_some() { FORBID } else { FORBID.split("@id(\"no-secrets-python").next().unwrap() };
    let options = GateOptions::new(connectors)
        .with_policy("forbid.cedar", forbid)
        .with_audit_mode("process")
        .with_config("[limits]\nheader_read_ms_max = 1000\nbody_read_ms_max = 1000\n");
    let mut gate = Gate::start(options).await;
    let counts = send_all(&gate, setting_or("WICKET_TEST_MALFORMED_REQUESTS", 100_000)).await;

    stands(&mut gate, &counts).await;

    let judge = Judge::new(READ_BASELINE, &gate.journal());
    let mut judged = 0;
    for call in upstream.calls() {
        judge.rust(&call);
        judged += 1;
    }
    if let Some(python) = &python {
        for call in python.received() {
            judged += usize::from(judge.python(&call));
        }
    }
    println!("{judged} calls arrived and were judged again");
    assert!(
        judged as u64 > counts.values().sum::<u64>() / 50,
        "so few calls passed that little was shown: {judged}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_at_random_to_a_child_process() {
    if std::process::Command::new("python3").arg("--version").output().is_err() {
        return skip("malformed-stdio", "python3 is not installed");
    }
    let dir = tempfile::tempdir().unwrap();
    let (kept, tools) = (dir.path().join("kept.jsonl"), dir.path().join("tools.json"));
    std::fs::write(&tools, serde_json::Value::from(definitions()).to_string()).unwrap();
    let script = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/upstreams/stdio.py");
    let arguments = [&script, &kept, &tools].map(|path| path.to_str().unwrap());
    let connector = Connector::stdio("recorder", "python3", &arguments, definitions())
        .with("[limits]\ndial_ms_max = 20000\ncatalogue_wait_ms_max = 20000\n");
    let options = GateOptions::new(vec![connector])
        .with_policy("forbid.cedar", FORBID.split("@id(\"no-secrets-python").next().unwrap())
        .with_audit_mode("process")
        .with_config("[limits]\nheader_read_ms_max = 1000\nbody_read_ms_max = 1000\n");
    let mut gate = Gate::start(options).await;
    let counts = send_all(&gate, setting_or("WICKET_TEST_MALFORMED_REQUESTS", 100_000) / 10).await;
    stands(&mut gate, &counts).await;
    gate.stop().await;

    let judge = Judge::new(READ_BASELINE, &gate.journal());
    let text = std::fs::read_to_string(&kept).unwrap();
    let judged = judge.lines(&text);
    println!("{judged} calls arrived over stdio and were judged again");
    assert!(
        judged as u64 > counts.values().sum::<u64>() / 50,
        "so few calls passed that little was shown: {judged}"
    );
}

/// The gate is there, never panicked, answers, and answered with nothing but what it may.
async fn stands(gate: &mut Gate, counts: &BTreeMap<u16, u64>) {
    assert!(gate.alive(), "the gate is gone:\n{}", gate.log());
    gate.assert_no_panic();
    assert!(gate.client().call("recorder__echo", serde_json::json!({ "text": "x" })).await.succeeded());
    println!("answers by status: {counts:?}");
    for status in counts.keys() {
        assert!(
            STATUSES.contains(status) || *status == 0,
            "status {status} was answered {} times",
            counts[status]
        );
    }
}

/// Sends so many; how often each status came (0: closed without a reply).
async fn send_all(gate: &Gate, requests: u64) -> BTreeMap<u16, u64> {
    let mut random = Random::announced("malformed");
    let sent = Arc::new(AtomicU64::new(0));
    let counts = Arc::new(Mutex::new(BTreeMap::new()));
    let senders: Vec<_> = (0..SENDERS)
        .map(|_| {
            let (sent, counts) = (Arc::clone(&sent), Arc::clone(&counts));
            let mut random = Random::of(random.next());
            let mut wire = Wire::new(gate.agents());
            let target = mutate::Target { host: gate.agents().to_string(), key: gate.key().to_owned() };
            tokio::spawn(async move {
                loop {
                    let number = sent.fetch_add(1, Ordering::Relaxed);
                    if number >= requests {
                        return;
                    }
                    let request = mutate::request(&mut random, &target, number);
                    let status = match wire.exchange(&request).await {
                        Ok(status) => status,
                        Err(WireFault::Closed) => 0,
                        Err(WireFault::Hang) => panic!(
                            "request {number} hangs: {}",
                            String::from_utf8_lossy(&request.bytes[..request.bytes.len().min(2_000)])
                        ),
                    };
                    *counts.lock().entry(status).or_insert(0) += 1;
                }
            })
        })
        .collect();
    for sender in senders {
        sender.await.unwrap();
    }
    Arc::try_unwrap(counts).unwrap().into_inner()
}
