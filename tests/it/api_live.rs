//! The live feed: calls as they come, to whom they may be shown, until they may not; picked up again where
//! it was left.

use std::time::{Duration, Instant};

use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::{Value, json};

use crate::audited::World;
use crate::harness::{Api, databases};

/// One event, or comment, as it came.
#[derive(Debug, Clone, Default)]
struct Event {
    name: String,
    id: String,
    data: Value,
}

struct Feed {
    body: Incoming,
    text: String,
}

impl Feed {
    async fn open(api: &Api, query: &str, headers: &[(&str, &str)]) -> Self {
        let response = api.open(&format!("/api/audit/live{query}"), headers).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let mut feed = Self { body: response.into_body(), text: String::new() };
        // The comment that it begins with: from here on nothing is missed.
        feed.block(Duration::from_secs(10)).await.unwrap();
        feed
    }

    /// The next block; `None` when the feed ends, or nothing comes in time.
    async fn block(&mut self, max: Duration) -> Option<String> {
        let until = Instant::now() + max;
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.text = rest;
                return Some(block);
            }
            let left = until.saturating_duration_since(Instant::now());
            let frame = tokio::time::timeout(left, self.body.frame()).await.ok()??.ok()?;
            self.text.push_str(std::str::from_utf8(frame.data_ref()?).unwrap());
        }
    }

    /// The next event.
    async fn event(&mut self, max: Duration) -> Option<Event> {
        loop {
            let block = self.block(max).await?;
            let mut event = Event::default();
            for line in block.lines() {
                match line.split_once(": ") {
                    Some(("event", name)) => event.name = name.to_owned(),
                    Some(("id", id)) => event.id = id.to_owned(),
                    Some(("data", data)) => event.data = serde_json::from_str(data).unwrap(),
                    _ => {}
                }
            }
            if !event.name.is_empty() {
                return Some(event);
            }
        }
    }

    /// How long until the other side ends it.
    async fn end(mut self, max: Duration) -> Option<Duration> {
        let began = Instant::now();
        loop {
            let left = max.saturating_sub(began.elapsed());
            match tokio::time::timeout(left, self.body.frame()).await {
                Err(_) => return None,
                Ok(None | Some(Err(_))) => return Some(began.elapsed()),
                Ok(Some(Ok(_))) => {}
            }
        }
    }
}

const SOON: Duration = Duration::from_secs(15);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_come_as_they_are_made_to_those_who_may_see_them() {
    for database in databases() {
        let world = World::on(&database).await;
        let mut ann = Feed::open(&world.ann, "", &[]).await;
        let mut bob = Feed::open(&world.bob, "?result=DENY", &[]).await;
        let mut eve = Feed::open(&world.eve, "", &[]).await;
        assert!(world.calls.call("recorder__echo", json!({"nonce": "one"})).await.succeeded());
        assert!(world.calls.call("recorder__echo", json!({"nonce": "bad"})).await.error().is_some());
        let (first, second) = (ann.event(SOON).await.unwrap(), ann.event(SOON).await.unwrap());
        assert_eq!((&*first.name, &first.data["toolArgs"]["nonce"]), ("entry", &json!("one")));
        assert_eq!(
            (&second.data["decision"], &second.data["matchedPolicyIds"][0]),
            (&json!("DENY"), &json!("block-bad"))
        );
        assert_eq!(second.data["cursor"], second.id);
        let of_bob = bob.event(SOON).await.unwrap();
        assert_eq!((&of_bob.data["id"], &of_bob.data["matchedPolicyIds"]), (&second.data["id"], &json!([])));
        assert!(eve.event(Duration::from_millis(300)).await.is_none());
        // The same again, picked up behind the first.
        drop(ann);
        assert!(world.calls.call("recorder__echo", json!({"nonce": "two"})).await.succeeded());
        let mut again = Feed::open(&world.ann, "", &[("last-event-id", &first.id)]).await;
        let mut nonces = Vec::new();
        while nonces.len() < 2 {
            let event = again.event(SOON).await.unwrap();
            let nonce = event.data["toolArgs"]["nonce"].as_str().unwrap().to_owned();
            // Where gates share a database, what was heard may come again.
            if !(database.kind == "postgresql" && event.data["id"] == first.data["id"]) {
                nonces.push(nonce);
            }
        }
        assert_eq!(nonces, ["bad", "two"], "on {}", database.kind);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_away_for_long_is_told_what_was_left_out() {
    const AWAY: usize = 700;
    let world = World::begin().await;
    let mut ann = Feed::open(&world.ann, "", &[]).await;
    assert!(world.calls.call("recorder__echo", json!({"nonce": "first"})).await.succeeded());
    let first = ann.event(SOON).await.unwrap();
    drop(ann);
    for _ in 0..AWAY {
        assert!(world.calls.call("recorder__echo", json!({"nonce": "away"})).await.succeeded());
    }
    let indexed = async || {
        let page = world.ann.get("/api/audit?limit=1").await.expect(200);
        (page["total"].as_u64() == Some(AWAY as u64 + 1)).then_some(())
    };
    crate::harness::until("the index to have them", SOON, indexed).await;
    let mut again = Feed::open(&world.ann, "", &[("last-event-id", &first.id)]).await;
    let (mut told, mut last) = (0, Value::Null);
    let gap = loop {
        let event = again.event(SOON).await.unwrap();
        if event.name == "gap" {
            break event.data;
        }
        (told, last) = (told + 1, event.data["cursor"].clone());
    };
    assert!((1..AWAY).contains(&told), "{told} told");
    assert_eq!(gap, json!({"missed": null, "after": last}), "it begins where the telling ended");
    let after = gap["after"].as_str().unwrap();
    let rest = world.ann.get(&format!("/api/audit?after={after}&limit=500")).await.expect(200);
    assert_eq!(told + rest["entries"].as_array().unwrap().len(), AWAY, "all of them, none twice");
    // And goes on with what comes now.
    assert!(world.calls.call("recorder__echo", json!({"nonce": "now"})).await.succeeded());
    let next = again.event(SOON).await.unwrap();
    assert_eq!((&*next.name, &next.data["toolArgs"]["nonce"]), ("entry", &json!("now")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_loses_the_right_hears_no_more_within_a_second() {
    let world = World::begin().await;
    let mut bob = Feed::open(&world.bob, "?agent=alpha", &[]).await;
    world.gate.admin(json!({"do": "member_remove", "agent": "Alpha", "member": "bob@example.com"})).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    // Another's call is no matter of bob's, and his own rights are gone.
    assert!(world.calls_of_ann.call("recorder__echo", json!({"nonce": "x"})).await.succeeded());
    assert!(bob.event(Duration::from_secs(2)).await.is_none());
    let ann = Feed::open(&world.ann, "", &[]).await;
    world.gate.admin(json!({"do": "account_status", "email": "ann@example.com", "status": "disabled"})).await;
    let ended = ann.end(Duration::from_secs(5)).await.expect("the feed of a disabled account goes on");
    println!("a disabled account's feed ended after {ended:?}");
    assert!(ended < Duration::from_millis(1_500));
    world.gate.nobody().get("/api/audit/live").await.expect(401);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn feeds_are_few_and_a_cursor_is_one_of_theirs() {
    let world = World::begin().await;
    let mut open = Vec::new();
    for _ in 0..4 {
        open.push(Feed::open(&world.ann, "", &[]).await);
    }
    let refused = world.ann.get("/api/audit/live").await;
    assert_eq!(refused.expect(429)["code"], "rate_limited");
    assert!(refused.header("retry-after").is_some());
    let _other = Feed::open(&world.bob, "", &[]).await;
    open.clear();
    crate::harness::until("the places to be free again", SOON, async || {
        (world.ann.open("/api/audit/live", &[]).await.status() == 200).then_some(())
    })
    .await;
    let answer = world.ann.send(hyper::Method::GET, "/api/audit/live", None, &[("last-event-id", "x")]).await;
    assert_eq!(answer.expect(400)["errors"][0]["field"], "header.Last-Event-ID");
    world.ann.get("/api/audit/live?limit=3").await.expect(400);
    // A feed does not hold up the end of the gate.
    let mut world = world;
    let _open = Feed::open(&world.bob, "", &[]).await;
    let began = Instant::now();
    world.gate.stop().await;
    println!("stopped with a feed open after {:?}", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(12));
}
