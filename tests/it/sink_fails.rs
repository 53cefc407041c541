//! No record, no call: while the journal cannot be written every call is 503 and nothing is forwarded;
//! once it can, calls pass again without a restart (reliability.md G1b).

use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::{Connector, Gate, GateOptions, until};
use crate::recorder::{Recorder, RecorderOptions, definitions};

/// A refusal for want of a record comes within this (G1b). What a busy machine adds is measured in the
/// same breath, by a request that touches no journal.
const REFUSAL_MAX: Duration = Duration::from_millis(250);
/// Calls pass again within this after the repair (G1b).
const RECOVERY_MAX: Duration = Duration::from_secs(2);

/// A full disk by its own means: the files that the gate writes may not grow beyond a limit that is
/// lowered and raised again from outside (`RLIMIT_FSIZE`, soft).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_calls_until_it_is_mended() {
    for mode in ["process", "durable"] {
        let dir = tempfile::tempdir().unwrap();
        let upstream = Recorder::start(dir.path(), RecorderOptions::default()).await;
        let connector = Connector::http("recorder", &upstream.url(), definitions());
        let gate = Gate::start(GateOptions::new(vec![connector]).with_audit_mode(mode)).await;
        let client = gate.client();
        assert!(client.call("recorder__echo", json!({ "nonce": "before" })).await.succeeded());

        limit_files(gate.pid(), Some(1));
        let before = upstream.calls().len();
        let (mut refused, mut slowest) = (0, Duration::ZERO);
        for _ in 0..20 {
            let began = Instant::now();
            assert_eq!(client.rpc("ping", json!({})).await.status, 200);
            let machine = began.elapsed();
            let began = Instant::now();
            let reply = client.call("recorder__echo", json!({ "nonce": "while full" })).await;
            assert_eq!(reply.status, 503, "{mode}: {reply:?}");
            assert_eq!(reply.error().unwrap().code, -32603);
            assert!(reply.header("retry-after").is_some());
            let took = began.elapsed();
            assert!(took < REFUSAL_MAX + machine, "{mode}: refused after {took:?}, a ping took {machine:?}");
            slowest = slowest.max(took);
            refused += 1;
        }
        let status = gate.admin(json!({ "do": "status" })).await;
        assert_eq!(status["journal"]["healthy"], false, "{mode}: {status}");
        assert_eq!(upstream.calls().len(), before, "{mode}: forwarded without a record");
        assert_eq!(refused, 20);

        limit_files(gate.pid(), None);
        let repaired = Instant::now();
        until("calls to pass again", RECOVERY_MAX, async || {
            client.call("recorder__echo", json!({ "nonce": "after" })).await.succeeded().then_some(())
        })
        .await;
        println!(
            "{mode}: {refused} refused, the slowest after {slowest:?}; again after {:?}",
            repaired.elapsed()
        );
        let intents = gate.journal().calls("intent");
        for call in upstream.calls() {
            assert!(intents.contains(call.header("x-request-id").unwrap()), "{mode}: no intent for {call:?}");
        }
        let (clean, text) = gate.command(&["audit", "verify"]).await;
        assert!(clean, "{mode}: the journal does not verify after the repair:\n{text}");
    }
}

/// Sets how large a file the process may write: so many bytes, or as before.
fn limit_files(pid: u32, bytes: Option<u64>) {
    use rustix::process::{Pid, Resource, Rlimit, prlimit};
    let pid = Pid::from_raw(pid as i32).unwrap();
    prlimit(Some(pid), Resource::Fsize, Rlimit { current: bytes, maximum: None }).unwrap();
}
