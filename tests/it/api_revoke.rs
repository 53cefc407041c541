//! What the REST API took away is gone with the next call: of the calls that begin once it has answered,
//! none arrives; and open streams are cut.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use http_body_util::BodyExt;
use hyper::Method;
use serde_json::{Value, json};

use crate::harness::{Client, Connector, Gate, GateOptions, People, setting_or};
use crate::recorder::{Recorder, RecorderOptions, definitions};

/// Open streams end within this (the promise: 1 s), on a loaded machine.
const CUT_MAX: Duration = Duration::from_secs(3);
/// Clients that call at the same time, before the change and after it.
const CALLERS: u64 = 4;

/// Every way to take a right away, and what calls are then answered.
const WAYS: [(&str, u16); 7] = [
    ("revoke the key", 401),
    ("give the key up", 401),
    ("remove the member", 401),
    ("leave", 401),
    ("disable the agent", 403),
    ("delete the agent", 401),
    ("disable the service", 200),
];

async fn setup() -> (Gate, Recorder, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let upstream = Recorder::start(dir.path(), RecorderOptions::default()).await;
    let connector = Connector::http("recorder", &upstream.url(), definitions());
    (Gate::start(GateOptions::new(vec![connector])).await, upstream, dir)
}

async fn take_away(people: &People, way: &str) {
    let (person, method, path, body) = match way {
        "revoke the key" => (&people.owner, Method::DELETE, people.member_path("/key"), None),
        "give the key up" => (&people.member, Method::POST, people.member_path("/key/reset-lost"), None),
        "remove the member" => (&people.owner, Method::DELETE, people.member_path(""), None),
        "leave" => (&people.member, Method::DELETE, people.member_path(""), None),
        "disable the agent" => {
            (&people.owner, Method::PUT, people.path("/status"), Some(json!({ "status": "disabled" })))
        }
        "delete the agent" => (&people.owner, Method::DELETE, people.path(""), None),
        _ => (&people.owner, Method::PUT, people.path("/services"), Some(json!({ "services": ["wicket"] }))),
    };
    let answer = person.send(method, &path, body, &[]).await;
    assert!(answer.status.is_success(), "{way}: {answer:?}");
}

/// `WICKET_TEST_REVOKED_CALLS` calls after the changes, over all ways; the long form is 100,000.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_the_calls_after_a_revocation_none_arrives() {
    let (gate, upstream, _dir) = setup().await;
    let calls_of_way = setting_or("WICKET_TEST_REVOKED_CALLS", 5_000_u64).div_ceil(WAYS.len() as u64);
    for (number, (way, status)) in WAYS.into_iter().enumerate() {
        let people =
            People::named(&gate, &format!("agent {number}"), &["recorder", "wicket"], "trusted").await;
        let client = Arc::new(people.client(&gate).await);
        let (answered, passed) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let callers: Vec<_> = (0..CALLERS)
            .map(|_| {
                let (client, answered) = (Arc::clone(&client), Arc::clone(&answered));
                let passed = Arc::clone(&passed);
                tokio::spawn(async move {
                    let mut after = 0;
                    while after < calls_of_way / CALLERS + 1 {
                        // What is read before the call begins says which kind of call it is.
                        let late = answered.load(Ordering::SeqCst);
                        let nonce = format!("{}-{number}", if late { "after" } else { "before" });
                        let reply = client.call("recorder__echo", json!({ "nonce": nonce })).await;
                        if late {
                            after += 1;
                            assert_eq!(reply.status, status, "{way}: {reply:?}");
                            assert!(reply.error().is_some(), "{way}: passed");
                        } else if reply.succeeded() {
                            passed.fetch_add(1, Ordering::SeqCst);
                        }
                    }
                })
            })
            .collect();
        crate::harness::until("calls to pass", Duration::from_secs(20), async || {
            (passed.load(Ordering::SeqCst) >= 2 * CALLERS).then_some(())
        })
        .await;
        take_away(&people, way).await;
        answered.store(true, Ordering::SeqCst);
        for caller in callers {
            caller.await.unwrap();
        }
    }
    let arrived = upstream.calls();
    let late: Vec<_> = arrived.iter().filter(|call| call.arguments.contains("after-")).collect();
    assert!(
        late.is_empty(),
        "{} calls arrived after the change was answered: {:?}",
        late.len(),
        late.first()
    );
    assert!(arrived.len() as u64 >= WAYS.len() as u64 * 2 * CALLERS, "the calls before have arrived");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn open_streams_are_cut_whatever_took_the_right_away() {
    let (gate, upstream, _dir) = setup().await;
    for (number, (way, _)) in WAYS.into_iter().enumerate() {
        let people =
            People::named(&gate, &format!("agent {number}"), &["recorder", "wicket"], "trusted").await;
        let client = people.client(&gate).await;
        let body = client.streamed_body("recorder__hold", &json!({ "key": format!("never-{number}") }));
        let mut response = client.open(client.request(body)).await;
        let first = response.body_mut().frame().await.unwrap().unwrap().into_data().unwrap();
        assert!(String::from_utf8_lossy(&first).contains("notifications/progress"), "{first:?}");
        take_away(&people, way).await;
        let began = Instant::now();
        let rest = tokio::time::timeout(CUT_MAX, response.into_body().collect()).await;
        let rest = rest.unwrap_or_else(|_| panic!("{way}: the stream stays open"));
        println!("{way}: cut after {:?}", began.elapsed());
        if let Ok(rest) = rest {
            let text = String::from_utf8_lossy(&rest.to_bytes()).into_owned();
            assert!(!text.contains("\"result\""), "{way}: a cut stream looks complete: {text}");
        }
    }
    crate::harness::until("the upstream's streams to be let go", CUT_MAX, async || {
        (upstream.streams_open() == 0).then_some(())
    })
    .await;
}

/// Whoever was rejected or disabled and comes back has what it had, and nothing in between.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disabled_agent_comes_back_with_its_keys() {
    let (gate, _upstream, _dir) = setup().await;
    let people = People::of(&gate, &["recorder"]).await;
    let client: Client = people.client(&gate).await;
    let status = async |word: &str| {
        let shown = people.owner.put(&people.path("/status"), json!({ "status": word })).await.expect(200);
        assert_eq!(shown["status"], word);
        client.call("recorder__echo", json!({})).await.status.as_u16()
    };
    for _ in 0..10 {
        assert_eq!((status("disabled").await, status("active").await), (403, 200));
    }
    let changes: Vec<(Value, Value)> = (gate.journal().entries.iter())
        .filter(|entry| entry["what"] == "agent.status" && entry["phase"] == "completed")
        .map(|entry| (entry["before"].clone(), entry["after"].clone()))
        .collect();
    assert_eq!(changes.len(), 20);
    assert_eq!(changes[0], (json!("active"), json!("disabled")));
}
