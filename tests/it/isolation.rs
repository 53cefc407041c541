//! One sick upstream is alone with its sickness: while it accepts and never answers, the calls of another
//! one pass as if it were not there.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

use crate::harness::{Client, Connector, Gate, GateOptions, pause, until};
use crate::recorder::{Recorder, RecorderOptions, definitions};

/// Callers of the sick upstream at once: far more than the gate has places.
const CALLERS: usize = 160;
/// Places of the gate.
const PLACES: usize = 100;
/// Callers that may wait for the sick upstream's tools.
const WAITERS: usize = 8;
/// How long they wait, in milliseconds.
const WAIT_MS: u64 = 1_500;
/// A call to the healthy upstream, in a debug build on two busy processors.
const FAST: Duration = Duration::from_secs(1);

/// Accepts, reads, and never says a word.
pub async fn mute() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut taken = [0; 4_096];
                while stream.read(&mut taken).await.is_ok_and(|bytes| bytes > 0) {}
                std::future::pending::<()>().await;
            });
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upstream_that_says_nothing_takes_no_other_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let upstream = Recorder::start(dir.path(), RecorderOptions::default()).await;
    let healthy = Connector::http("recorder", &upstream.url(), definitions());
    let limits = format!("[limits]\ncatalogue_wait_ms_max = {WAIT_MS}\ncatalogue_waiters_max = {WAITERS}\n");
    let sick = Connector::http("sick", &format!("http://{}/mcp", mute().await), definitions()).with(&limits);
    let config = format!("[limits]\nin_flight_max = {PLACES}\nin_flight_per_member_max = 1_000\n");
    let gate =
        Gate::start(GateOptions::new(vec![healthy, sick]).with_config(&config).with_audit_mode("process"))
            .await;
    assert!(gate.client().call("recorder__echo", json!({})).await.succeeded());

    let client = Arc::new(gate.client());
    // One after the other, so that never more than the gate's places knock in the same moment.
    let mut callers = Vec::new();
    for _ in 0..CALLERS {
        let client = Arc::clone(&client);
        callers.push(tokio::spawn(async move {
            let began = Instant::now();
            let reply = client.call("sick__echo", json!({})).await;
            (reply.status.as_u16(), began.elapsed())
        }));
        pause(4).await;
    }
    let other = Client::new(gate.agents(), gate.key());
    let mut slowest = Duration::ZERO;
    for _ in 0..30 {
        let began = Instant::now();
        let reply = other.call("recorder__echo", json!({})).await;
        assert!(reply.succeeded(), "a healthy upstream suffers: {reply:?}");
        slowest = slowest.max(began.elapsed());
        pause(20).await;
    }
    println!("slowest call of the healthy upstream: {slowest:?}");
    assert!(slowest < FAST, "{slowest:?}");

    let mut statuses = std::collections::BTreeMap::<u16, usize>::new();
    for caller in callers {
        let (status, took) = caller.await.unwrap();
        assert!(took < Duration::from_millis(WAIT_MS) + FAST, "a caller waited {took:?}");
        *statuses.entry(status).or_default() += 1;
    }
    println!("callers of the sick upstream: {statuses:?}");
    assert!(statuses.keys().all(|status| matches!(status, 502 | 503)), "{statuses:?}");
    assert!(statuses.get(&503).is_some_and(|busy| *busy > 0), "nobody was turned away: {statuses:?}");
    // Each of them is in the journal, denied as unverified.
    let refused = gate.journal().entries.iter().filter(|entry| entry["service"] == "sick").count();
    assert_eq!(refused, CALLERS);
    let quick = Instant::now();
    assert_eq!(client.call("sick__echo", json!({})).await.status, 502);
    assert!(quick.elapsed() < FAST, "a list that is overdue is waited for again");
}

/// What the operator sees of it: metrics of the breaker and of restarts, and the status.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_child_that_dies_is_seen_in_the_metrics() {
    let gate =
        Gate::start(GateOptions::new(vec![Connector::stdio("dies", "false", &[], definitions())])).await;
    let client = gate.client();
    let tries = async || {
        assert_eq!(client.call("dies__echo", json!({})).await.status, 502);
        let restarts = gate.metric("wicket_upstream_restarts_total{service=\"dies\"}").await;
        let open = gate.metric("wicket_upstream_breaker_open{service=\"dies\"}").await;
        (restarts >= Some(1) && open == Some(1)).then_some(())
    };
    until("the metrics to say so", Duration::from_secs(20), tries).await;
    let (_, status) = gate.command(&["status"]).await;
    assert!(status.contains("connector `dies` is down"), "{status}");
}
