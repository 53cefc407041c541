//! Streams pass as they come, a cut one never looks complete, and each side may go away.

use std::time::{Duration, Instant};

use http_body_util::BodyExt;
use serde_json::{Value, json};

use crate::harness::{Connector, Gate, GateOptions, sse_messages, until};
use crate::recorder::{Recorder, RecorderOptions, definitions};

async fn setup() -> (Gate, Recorder, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let upstream = Recorder::start(dir.path(), RecorderOptions::default()).await;
    let connector = Connector::http("recorder", &upstream.url(), definitions());
    (Gate::start(GateOptions::new(vec![connector])).await, upstream, dir)
}

fn with_progress(tool: &str, id: &Value, token: &Value, arguments: &Value) -> String {
    json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call",
        "params": { "name": tool, "arguments": arguments, "_meta": { "progressToken": token } } })
    .to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_pass_as_they_come() {
    let (gate, _upstream, _dir) = setup().await;
    let client = gate.client();
    let body = with_progress(
        "recorder__count",
        &json!("mine"),
        &json!("token-1"),
        &json!({ "steps": 5, "gap_ms": 200 }),
    );
    let began = Instant::now();
    let mut response = client.open(client.request(body)).await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut arrivals = Vec::new();
    let mut whole = Vec::new();
    while let Some(frame) = response.body_mut().frame().await {
        if let Ok(data) = frame.unwrap().into_data() {
            let before = sse_messages(&whole).len();
            whole.extend_from_slice(&data);
            arrivals.extend((before..sse_messages(&whole).len()).map(|_| began.elapsed()));
        }
    }
    let messages = sse_messages(&whole);
    assert_eq!(messages.len(), 6, "{}", String::from_utf8_lossy(&whole));
    for (number, message) in messages.iter().take(5).enumerate() {
        assert_eq!(message["method"], "notifications/progress");
        assert_eq!(message["params"]["progressToken"], "token-1", "the client's own token: {message}");
        assert_eq!(message["params"]["progress"], number + 1);
    }
    assert_eq!(messages[5]["id"], "mine");
    assert!(messages[5]["result"].is_object());
    let spread = arrivals[4] - arrivals[0];
    assert!(spread > Duration::from_millis(600), "the events came in one heap: {arrivals:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_stream_never_looks_complete() {
    let (gate, upstream, _dir) = setup().await;
    let client = gate.client();
    for tool in ["cut_inside", "cut_between", "end_early"] {
        for _ in 0..5 {
            let body = with_progress(&format!("recorder__{tool}"), &json!(5), &json!(1), &json!({}));
            let outcome = client.try_send(client.request(body)).await;
            match outcome {
                Err(_) => {}
                Ok(reply) => {
                    let message = reply.message();
                    assert!(message.get("result").is_none(), "{tool}: {message}");
                    assert_eq!(message["id"], 5, "{tool}: a clean end without an answer: {reply:?}");
                    assert_eq!(message["error"]["code"], -32603, "{tool}: {message}");
                }
            }
        }
    }
    assert_eq!(upstream.calls().len(), 15, "a call was repeated, or never sent");
    let journal = gate.journal();
    let entries = journal.entries.iter().filter(|entry| entry["type"] == "completion");
    let outcomes: Vec<_> = entries.map(|entry| entry["outcome"].clone()).collect();
    assert!(outcomes.iter().all(|outcome| outcome == "broken"), "{outcomes:?}");
}

/// Session era: a client that goes away has not cancelled; its call ends by itself, and its slot is
/// free again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_goes_away_does_not_cancel() {
    let (gate, upstream, _dir) = setup().await;
    let client = gate.client();
    let body = with_progress("recorder__hold", &json!(1), &json!(1), &json!({ "key": "later" }));
    let mut response = client.open(client.request(body)).await;
    assert!(response.body_mut().frame().await.unwrap().is_ok());
    drop(response);
    drop(client);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(upstream.cancelled_ids().is_empty(), "a disconnect was taken for a cancellation");
    upstream.release("later");
    until("the call to end", Duration::from_secs(5), async || (upstream.streams_open() == 0).then_some(()))
        .await;
    until("the completion", Duration::from_secs(5), async || gate.journal().open().is_empty().then_some(()))
        .await;
    until("the slot to be free", Duration::from_secs(5), async || {
        let status = gate.admin(json!({ "do": "status" })).await;
        (status["calls"]["inFlight"] == 0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_call_is_cancelled_upstream_under_its_own_id() {
    let (gate, upstream, _dir) = setup().await;
    let mut client = gate.client();
    client.initialize().await;
    let body = with_progress("recorder__hold", &json!("abc"), &json!(1), &json!({ "key": "never" }));
    let mut response = client.open(client.request(body)).await;
    assert!(response.body_mut().frame().await.unwrap().is_ok());
    let notification = json!({ "jsonrpc": "2.0", "method": "notifications/cancelled",
        "params": { "requestId": "abc", "reason": "changed my mind" } });
    let accepted = client.post(notification.to_string()).await;
    assert_eq!(accepted.status, 202);
    let named =
        tokio::time::timeout(Duration::from_secs(3), upstream.cancelled()).await.expect("not cancelled");
    let held = upstream.calls().into_iter().find(|call| call.tool == "hold").unwrap();
    assert_eq!(named, held.id, "the upstream knows the call by another id");
    let rest = tokio::time::timeout(Duration::from_secs(5), response.into_body().collect()).await;
    assert!(rest.is_ok(), "the stream of a cancelled call stays open");
}

/// Somebody else's id cancels nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_caller_itself_cancels() {
    let (gate, upstream, _dir) = setup().await;
    let mut client = gate.client();
    client.initialize().await;
    let body = with_progress("recorder__hold", &json!("abc"), &json!(1), &json!({ "key": "k" }));
    let mut response = client.open(client.request(body)).await;
    assert!(response.body_mut().frame().await.unwrap().is_ok());
    let bob = gate.new_member("tester", "bob", &[]).await;
    let notification =
        json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": "abc" } });
    let mut stranger = crate::harness::Client::new(gate.agents(), &bob);
    stranger.initialize().await;
    assert_eq!(stranger.post(notification.to_string()).await.status, 202);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(upstream.cancelled_ids().is_empty());
    upstream.release("k");
    let rest = response.into_body().collect().await.unwrap().to_bytes();
    assert!(sse_messages(&rest).last().unwrap()["result"].is_object());
}

/// Two clients with the same ids at the same time get their own answers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn equal_ids_of_two_clients_do_not_mix() {
    let (gate, _upstream, _dir) = setup().await;
    let calls: Vec<_> = (0..40)
        .map(|number| {
            let client = gate.client();
            tokio::spawn(async move {
                let arguments = json!({ "nonce": format!("n-{number}"), "steps": 2 });
                let tool = if number % 2 == 0 { "recorder__echo" } else { "recorder__count" };
                let body = with_progress(tool, &json!(1), &json!(1), &arguments);
                let reply = client.post(body).await;
                let text = reply.message()["result"]["content"][0]["text"].as_str().unwrap().to_owned();
                assert!(text.contains(&format!("\"n-{number}\"")), "{number} got {text}");
            })
        })
        .collect();
    for call in calls {
        call.await.unwrap();
    }
}
