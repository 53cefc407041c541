//! `kill -9` under load: no call at the upstream without an intent in the journal, and what nobody
//! knows is counted, not silent (reliability.md G1, P1, P2).
//!
//! The oracle is the upstream's own fsynced file. Short form 25 kills in each mode and 10 on PostgreSQL; `make kill-long`
//! sets `WICKET_TEST_KILLS`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde_json::json;

use crate::harness::{Connector, Database, Gate, GateOptions, Random, pause, setting_or, until};
use crate::recorder::{Recorder, RecorderOptions, definitions};

/// Calls under way at once.
const CALLERS: usize = 16;
/// The most that may end `unknown` (P2): the gate's cap of calls in flight. Little above the callers, so
/// that it binds: completions are written behind the reply, and without the bound those that wait would
/// come on top of the calls under way.
const IN_FLIGHT_MAX: usize = 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_arrives_without_an_intent_durable() {
    kills("durable", &Database::sqlite(), 25).await;
}

/// The journal is the gate's own on either database; its start reads the store.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_arrives_without_an_intent_on_postgresql() {
    let Some(database) = Database::postgresql() else { return };
    kills("durable", &database, 10).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_arrives_without_an_intent_process() {
    kills("process", &Database::sqlite(), 25).await;
}

async fn kills(mode: &'static str, database: &Database, short: u64) {
    let dir = tempfile::tempdir().unwrap();
    let upstream = Recorder::start(dir.path(), RecorderOptions::default()).await;
    let connector = Connector::http("recorder", &upstream.url(), definitions());
    let cap = format!("[limits]\nin_flight_max = {IN_FLIGHT_MAX}\n{}", database.config);
    let options = GateOptions::new(vec![connector]).with_audit_mode(mode).with_config(&cap);
    let mut gate = Gate::start(options).await;
    let mut random = Random::announced("kill");
    let kills = setting_or("WICKET_TEST_KILLS", short);
    let (mut unknown_in_all, mut answered_in_all, mut open_most) = (0, 0, 0);
    for round in 0..kills {
        let load = Load::start(&gate);
        pause(20 + random.next() % 250).await;
        gate.kill().await;
        answered_in_all += load.stop().await;

        let arrived = arrived(&upstream).await;
        let journal = gate.journal();
        let without: Vec<_> = arrived.difference(&journal.calls("intent")).cloned().collect();
        assert!(without.is_empty(), "{mode}, kill {round}: arrived without an intent: {without:?}");
        assert!(journal.intents_twice().is_empty(), "{mode}: {:?}", journal.intents_twice());
        let open = journal.open();
        assert!(open.len() <= IN_FLIGHT_MAX, "{mode}, kill {round}: {} open intents", open.len());

        open_most = open_most.max(open.len());

        gate.launch().await;
        let recovered = gate.journal().recovered();
        let uncounted: Vec<_> = open.difference(&recovered).collect();
        assert!(uncounted.is_empty(), "{mode}, kill {round}: open and not counted: {uncounted:?}");
        unknown_in_all += open.len();
        assert_eq!(recovered.len(), unknown_in_all, "{mode}, kill {round}: recovered is not what was open");
        if round % 5 == 4 || round + 1 == kills {
            let (clean, text) = gate.command(&["audit", "verify"]).await;
            assert!(clean, "{mode}, kill {round}: the journal does not verify:\n{text}");
        }
    }
    println!(
        "{mode} on {}: {kills} kills, {answered_in_all} calls answered, {unknown_in_all} unknown, at most {open_most} at once",
        database.kind
    );
    assert!(answered_in_all > kills, "the load was no load: {answered_in_all} calls in {kills} rounds");
}

/// Call ids that the upstream has on disk, once no more come.
async fn arrived(upstream: &Recorder) -> BTreeSet<String> {
    let mut before = usize::MAX;
    until("the upstream to read what was sent", Duration::from_secs(5), async || {
        let calls = upstream.calls();
        let quiet = calls.len() == before;
        before = calls.len();
        pause(20).await;
        quiet.then(|| {
            calls
                .iter()
                .map(|call| call.header("x-request-id").expect("no x-request-id upstream").to_owned())
                .collect()
        })
    })
    .await
}

/// Callers in a closed loop until they are stopped; broken connections are what they expect.
struct Load {
    stopped: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    callers: Vec<tokio::task::JoinHandle<()>>,
}

impl Load {
    fn start(gate: &Gate) -> Self {
        let stopped = Arc::new(AtomicBool::new(false));
        let answered = Arc::new(AtomicU64::new(0));
        let callers = (0..CALLERS)
            .map(|caller| {
                let (client, stopped, answered) =
                    (gate.client(), Arc::clone(&stopped), Arc::clone(&answered));
                tokio::spawn(async move {
                    while !stopped.load(Ordering::Relaxed) {
                        let tool = if caller % 4 == 0 { "recorder__count" } else { "recorder__echo" };
                        let body = client.call_body(tool, &json!({ "nonce": format!("{caller}") }));
                        match client.try_send(client.request(body)).await {
                            Ok(reply) if reply.succeeded() => drop(answered.fetch_add(1, Ordering::Relaxed)),
                            Ok(reply) => panic!("a call was refused: {reply:?}"),
                            Err(_) => return,
                        }
                    }
                })
            })
            .collect();
        Self { stopped, answered, callers }
    }

    /// Calls that were answered.
    async fn stop(self) -> u64 {
        self.stopped.store(true, Ordering::Relaxed);
        for caller in self.callers {
            caller.await.unwrap();
        }
        self.answered.load(Ordering::Relaxed)
    }
}
