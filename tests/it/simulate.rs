//! What a simulation says of a draft is what the draft does once it is saved: calls of a real client, through
//! the gate, to an upstream that counts them.

use hyper::Method;
use serde_json::{Value, json};

use crate::harness::{Client, Connector, Gate, GateOptions, People};
use crate::recorder::{Recorder, RecorderOptions, definitions};

async fn setup() -> (Gate, People, Recorder, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let upstream = Recorder::start(dir.path(), RecorderOptions::default()).await;
    let connector = Connector::http("recorder", &upstream.url(), definitions());
    let options = GateOptions::new(vec![connector]).with_policy(
        "guardrails.cedar",
        "@id(\"all\")\npermit (principal, action, resource);\n\
         @id(\"breaker\")\nforbid (principal, action, resource)\nwhen { context.session.denials >= 3 };\n",
    );
    let gate = Gate::start(options).await;
    let people = People::named(&gate, "people", &["recorder", "wicket"], "trusted").await;
    (gate, people, upstream, dir)
}

/// Seven calls of one conversation: two deletions, and a third after which a breaker would have tripped.
const TRAFFIC: [(&str, &str); 7] = [
    ("echo", "a"),
    ("delete_thing", "b"),
    ("delete_thing", "c"),
    ("echo", "d"),
    ("delete_thing", "e"),
    ("echo", "f"),
    ("echo", "g"),
];

async fn make(client: &Client) -> Vec<bool> {
    let mut succeeded = Vec::new();
    for (tool, nonce) in TRAFFIC {
        succeeded
            .push(client.call(&format!("recorder__{tool}"), json!({ "nonce": nonce })).await.succeeded());
    }
    succeeded
}

fn draft() -> Value {
    json!({ "name": "No deletions", "service": "recorder", "effect": "forbid", "tools": ["delete_thing"] })
}

/// Of each row, oldest first: its decision by this name.
fn by_time(answer: &Value, decision: &str) -> Vec<bool> {
    let mut rows: Vec<&Value> = answer["rows"].as_array().unwrap().iter().collect();
    rows.sort_by_key(|row| (row["timestamp"].as_str().unwrap().to_owned(), row["id"].to_string()));
    rows.iter().map(|row| row[decision] == "ALLOW").collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_saved_draft_decides_as_it_was_simulated() {
    let (gate, people, upstream, _dir) = setup().await;
    let mut client = people.client(&gate).await;
    client.initialize().await;
    assert_eq!(make(&client).await, [true; 7]);
    let path = people.path("/policies/simulate");

    let unchanged = people.owner.post(&path, json!({})).await.expect(200);
    assert_eq!((&unchanged["calls"], &unchanged["changed"]), (&json!(7), &json!(0)), "{unchanged}");
    assert_eq!(unchanged["unmatched"], 0);

    let found = people.owner.post(&path, json!({ "draft": draft() })).await.expect(200);
    // Three deletions, and the two calls behind the third: with it the breaker has its three denials.
    let expected = [true, false, false, true, false, false, false];
    assert_eq!(by_time(&found, "draftDecision"), expected, "{found:#}");
    assert_eq!(by_time(&found, "decision"), [true; 7]);
    assert_eq!(by_time(&found, "baselineDecision"), [true; 7]);
    assert_eq!(
        (&found["before"], &found["after"]),
        (&json!({"allow": 7, "deny": 0}), &json!({"allow": 2, "deny": 5}))
    );
    assert_eq!((&found["newlyDenied"], &found["unmatched"]), (&json!(5), &json!(0)));
    assert_eq!(found["rows"][0]["draftPolicies"], json!(["no-deletions"]));
    assert_eq!(upstream.calls().len(), 7, "nothing was sent");

    // The same from the files, beside the running gate.
    std::fs::write(gate.dir().join("draft.json"), draft().to_string()).unwrap();
    let (fine, text) =
        gate.command(&["policy", "simulate", "--agent", "people", "--draft", "draft.json", "--json"]).await;
    assert!(fine, "{text}");
    let told: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}"));
    assert_eq!((&told["changed"], &told["after"]), (&found["changed"], &found["after"]));

    people.owner.post(&people.path("/policies"), draft()).await.expect(201);
    let mut again = people.client(&gate).await;
    again.initialize().await;
    assert_eq!(make(&again).await, expected);

    // What is in force now, and what would be without it.
    let since = by_time(&people.owner.post(&path, json!({})).await.expect(200), "draftDecision");
    assert_eq!(since, [expected, expected].concat());
    let policies = people.owner.get(&people.path("/policies")).await.expect(200);
    let id = policies["policies"]
        .as_array()
        .unwrap()
        .iter()
        .find(|one| one["policyKey"] == "no-deletions")
        .unwrap()["id"]
        .clone();
    let without = people.owner.post(&path, json!({ "without": id })).await.expect(200);
    assert_eq!(by_time(&without, "draftDecision"), [true; 14], "{without:#}");
    assert_eq!((&without["newlyAllowed"], &without["newlyDenied"]), (&json!(5), &json!(0)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_tell_the_result_and_what_is_wrong_is_refused() {
    let (gate, people, _upstream, _dir) = setup().await;
    let client = people.client(&gate).await;
    assert_eq!(make(&client).await, [true; 7]);
    let path = people.path("/policies/simulate");
    let events = [("accept", "text/event-stream")];
    let answer = people.owner.send(Method::POST, &path, Some(json!({ "draft": draft() })), &events).await;
    assert_eq!(answer.header("content-type"), Some("text/event-stream"));
    let text = String::from_utf8(answer.body.to_vec()).unwrap();
    let result = text.split("event: result\ndata: ").nth(1).unwrap_or_else(|| panic!("{text}"));
    let result: Value = serde_json::from_str(result.trim()).unwrap();
    assert_eq!((&result["calls"], &result["changed"]), (&json!(7), &json!(5)));

    let member = json!({ "tool": "recorder__delete_thing", "memberId": people.member_id });
    let one = people.owner.post(&path, json!({ "draft": draft(), "call": member })).await.expect(200);
    assert_eq!(
        (&one["rows"][0]["decision"], &one["rows"][0]["draftDecision"]),
        (&json!("ALLOW"), &json!("DENY"))
    );

    for (body, status) in [
        (json!({ "draft": { "name": "x" } }), 422),
        (
            json!({ "draft": { "name": "x", "service": "recorder", "effect": "forbid", "tools": ["nope"] } }),
            422,
        ),
        (json!({ "enforce": "p_0190b5a0-0000-7000-8000-000000000009" }), 404),
        (json!({ "draft": draft(), "enforce": "p_0190b5a0-0000-7000-8000-000000000009" }), 400),
        (json!({ "rows": 10_001 }), 400),
        (json!({ "from": "2026-01-02T00:00:00Z", "to": "2026-01-01T00:00:00Z" }), 400),
        (json!({ "drfat": draft() }), 400),
        (json!({ "call": { "tool": "recorder__nope", "memberId": people.member_id } }), 400),
    ] {
        people.owner.post(&path, body).await.expect(status);
    }
    for (person, status) in
        [(&people.member, 403), (&people.pending, 403), (&people.stranger, 404), (&people.nobody, 401)]
    {
        person.post(&path, json!({})).await.expect(status);
    }
}
