//! Counters hold under concurrency: 1,000 parallel calls against a limit of 10 pass exactly 10.

use serde_json::json;

use crate::harness::{Connector, Gate, GateOptions};
use crate::recorder::{Recorder, RecorderOptions, definitions};

const PARALLEL: usize = 1_000;

async fn gate_with(policy: &str, dir: &tempfile::TempDir) -> (Gate, Recorder) {
    let upstream = Recorder::start(dir.path(), RecorderOptions::default()).await;
    let connector =
        Connector::http("recorder", &upstream.url(), definitions()).with("[limits]\nin_flight_max = 64\n");
    let options = GateOptions::new(vec![connector])
        .with_policy("limit.cedar", policy)
        .with_config("[limits]\nin_flight_max = 4096\nin_flight_per_member_max = 4096\n");
    (Gate::start(options).await, upstream)
}

/// Statuses and successes of so many calls at once, over connections of their own.
async fn at_once(gate: &Gate, calls: usize) -> usize {
    let client = std::sync::Arc::new(gate.client());
    let running: Vec<_> = (0..calls)
        .map(|number| {
            let client = std::sync::Arc::clone(&client);
            tokio::spawn(async move {
                let reply = client.call("recorder__echo", json!({ "nonce": number.to_string() })).await;
                assert_eq!(reply.status, 200, "{reply:?}");
                match reply.error() {
                    None => true,
                    Some(error) => {
                        assert_eq!(error.code, -32600, "{error:?}");
                        false
                    }
                }
            })
        })
        .collect();
    let mut passed = 0;
    for call in running {
        passed += usize::from(call.await.unwrap());
    }
    passed
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_parallel_calls_against_a_limit_of_ten_pass_ten() {
    let dir = tempfile::tempdir().unwrap();
    let (gate, upstream) = gate_with(
        "@id(\"ten-a-day\")\n@denyMessage(\"ten calls a day are enough\")\n\
         forbid (principal, action == Recorder::Action::\"echo\", resource)\n\
         when { context.member.calls >= 10 };\n",
        &dir,
    )
    .await;
    let passed = at_once(&gate, PARALLEL).await;
    assert_eq!((passed, upstream.calls().len()), (10, 10), "answered and arrived");

    // The limit stays reached, and every refusal was recorded.
    assert_eq!(at_once(&gate, 20).await, 0);
    let journal = gate.journal();
    assert_eq!(journal.calls("intent").len(), 10);
    assert_eq!(journal.calls("denial").len(), PARALLEL + 20 - 10);
}

/// A call that never reached its upstream is given back to the limit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_not_sent_is_given_back() {
    let dir = tempfile::tempdir().unwrap();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let connector = Connector::http("recorder", &format!("http://{closed}/mcp"), definitions());
    let options = GateOptions::new(vec![connector]).with_policy(
        "limit.cedar",
        "@id(\"three\")\nforbid (principal, action == Recorder::Action::\"echo\", resource)\n\
         when { context.member.calls >= 3 };\n",
    );
    let gate = Gate::start(options).await;
    let client = gate.client();
    for attempt in 0..6 {
        let reply = client.call("recorder__echo", json!({})).await;
        assert_eq!(reply.status, 502, "attempt {attempt}: {reply:?}");
    }
    drop(dir);
}

/// Who begins a new session for every call, by whatever name clients have for one, escapes no limit of the
/// member's, and opens only so many.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_session_for_every_call_escapes_no_limit() {
    let dir = tempfile::tempdir().unwrap();
    let upstream = Recorder::start(dir.path(), RecorderOptions::default()).await;
    let connector = Connector::http("recorder", &upstream.url(), definitions());
    let options = GateOptions::new(vec![connector])
        .with_policy(
            "limit.cedar",
            "@id(\"five\")\nforbid (principal, action == Recorder::Action::\"echo\", resource)\n\
             when { context.member.toolsUsed[\"recorder:echo\"] >= 5 };\n",
        )
        .with_config("[sessions]\nnew_per_member_per_hour_max = 40\n");
    let gate = Gate::start(options).await;
    let body = |number: usize| {
        let meta = json!({"baggage": format!("gen_ai.conversation.id=c-{number}")});
        let params = json!({"name": "recorder__echo", "arguments": {}, "_meta": meta});
        json!({"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}).to_string()
    };
    let mut passed = 0;
    for number in 0..24 {
        let mut client = gate.client();
        let reply = match number % 4 {
            0 => {
                client.initialize().await;
                client.call("recorder__echo", json!({})).await
            }
            1 => client.post(body(number)).await,
            way => {
                let header = if way == 2 { "x-wicket-session-id" } else { "x-claude-code-session-id" };
                let mut request = client.request(client.call_body("recorder__echo", &json!({})));
                request.headers_mut().insert(header, format!("mine-{number}").parse().unwrap());
                client.send(request).await
            }
        };
        passed += usize::from(reply.succeeded());
    }
    assert_eq!((passed, upstream.calls().len()), (5, 5));
    // Sessions themselves are limited, too.
    let mut refused = 0;
    for number in 0..40 {
        let client = gate.client();
        let mut request = client.request(client.call_body("recorder__get", &json!({})));
        request.headers_mut().insert("x-wicket-session-id", format!("more-{number}").parse().unwrap());
        refused += usize::from(client.send(request).await.status == 429);
    }
    assert!(refused >= 20, "{refused} of 40 new sessions were refused");
}
