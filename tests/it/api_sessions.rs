//! Tool sessions over the REST API: who sees which, what they did, and the reset.

use std::time::Duration;

use hyper::Method;
use serde_json::{Value, json};

use crate::harness::{Connector, Gate, GateOptions, People, each, until};
use crate::recorder::{Recorder, RecorderOptions, definitions};

async fn setup(kind: &str) -> (Gate, People, Recorder, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let upstream = Recorder::start(dir.path(), RecorderOptions::default()).await;
    let connector = Connector::http("recorder", &upstream.url(), definitions());
    let options = GateOptions::new(vec![connector])
        .with_policy(
            "limit.cedar",
            "@id(\"two\")\nforbid (principal, action == RecorderMCP::Action::\"echo\", resource)\n\
             when { context.session.calls >= 2 };\n"
                .replace("RecorderMCP", "Recorder")
                .as_str(),
        )
        .with_config("[sessions]\nwrite_behind_ms = 50\n");
    let gate = Gate::start(options).await;
    let people = People::named(&gate, "people", &["recorder", "wicket"], kind).await;
    (gate, people, upstream, dir)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_is_listed_looked_into_and_reset_by_who_may() {
    let (gate, people, upstream, _dir) = setup("trusted").await;
    let client = people.client(&gate).await;
    let echo = async || client.call("recorder__echo", json!({ "nonce": "n" })).await.succeeded();
    assert!(echo().await && echo().await && !echo().await, "two calls, then the limit");
    let list = people.owner.get(&people.path("/sessions")).await.expect(200);
    assert_eq!(list["total"], 1, "{list}");
    let session = list["sessions"][0].clone();
    let id = session["id"].as_str().unwrap().to_owned();
    assert!(id.starts_with("ts_"));
    assert_eq!((&session["memberId"], &session["isActive"]), (&json!(people.member_id), &json!(true)));
    assert_eq!((&session["calls"], &session["denials"]), (&json!(2), &json!(1)));
    assert_eq!(session["toolsUsed"], json!({ "recorder:echo": 2 }));
    assert_eq!(session["policiesAllowCounts"], json!({ "reads": 2, "baseline-recorder-read-tools": 2 }));
    assert_eq!(session["policiesDenyCounts"], json!({ "two": 1 }));
    assert_eq!(session["terminatedAt"], Value::Null);

    // The member sees its own, without the owner's policies.
    let own = people.member.get(&people.path("/my-sessions")).await.expect(200);
    assert_eq!(each(&own["sessions"], "id"), std::slice::from_ref(&id));
    assert_eq!(own["sessions"][0]["policiesDenyCounts"], json!({}));
    assert_eq!(own["sessions"][0]["policiesHidden"], true);
    assert_eq!(people.owner.get(&people.path("/my-sessions")).await.expect(200)["total"], 0);
    let activity = people.path(&format!("/sessions/{id}/activity"));
    let calls = until("the index", Duration::from_secs(10), async || {
        let shown = people.owner.get(&activity).await.expect(200);
        (shown["recentCalls"].as_array().unwrap().len() == 3).then(|| shown["recentCalls"].clone())
    })
    .await;
    assert_eq!(each(&calls, "decision"), ["DENY", "ALLOW", "ALLOW"]);
    assert_eq!(calls[0]["matchedPolicyIds"], json!(["two"]));
    let own = people.member.get(&activity).await.expect(200);
    assert_eq!(own["toolsUsed"], json!({ "recorder:echo": 2 }));
    assert!(!own.to_string().contains("\"two\""), "{own}");
    for (person, status) in [(&people.pending, 404), (&people.stranger, 404), (&people.nobody, 401)] {
        person.get(&activity).await.expect(status);
    }
    for (person, status) in [(&people.member, 403), (&people.pending, 403), (&people.stranger, 404)] {
        person.get(&people.path("/sessions")).await.expect(status);
    }

    // A member who could reset its session could shed the limit.
    let reset = people.path(&format!("/sessions/{id}/reset"));
    for (person, status) in
        [(&people.member, 403), (&people.pending, 403), (&people.stranger, 404), (&people.nobody, 401)]
    {
        person.send(Method::POST, &reset, None, &[]).await.expect(status);
    }
    assert!(!echo().await);
    let ended = people.owner.send(Method::POST, &reset, None, &[]).await.expect(200);
    assert_eq!((&ended["isActive"], &ended["terminatedReason"]), (&json!(false), &json!("manual_reset")));
    assert!(echo().await, "the next call opens a fresh session");
    assert_eq!(upstream.calls().len(), 3);
    until("the ended session to be written", Duration::from_secs(10), async || {
        let list = people.owner.get(&people.path("/sessions?status=ended")).await.expect(200);
        (list["total"] == 1).then_some(())
    })
    .await;
    people.owner.send(Method::POST, &reset, None, &[]).await.expect(409);
    let active = people.owner.get(&people.path("/sessions?status=active")).await.expect(200);
    assert_eq!((active["total"].as_u64(), &active["sessions"][0]["calls"]), (Some(1), &json!(1)));
    let both = people.owner.get(&people.path("/sessions?sortBy=createdAt&sortDir=asc")).await.expect(200);
    assert_eq!((each(&both["sessions"], "id")[0].clone(), both["total"].as_u64()), (id, Some(2)));
    let second =
        people.owner.get(&people.path("/sessions?sortBy=createdAt&limit=1&offset=1")).await.expect(200);
    assert_eq!(each(&second["sessions"], "id"), [each(&both["sessions"], "id")[0].clone()]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_is_found_under_its_own_agent_alone() {
    let (gate, people, _upstream, _dir) = setup("trusted").await;
    let client = people.client(&gate).await;
    assert!(client.call("recorder__echo", json!({})).await.succeeded());
    let list = people.owner.get(&people.path("/sessions")).await.expect(200);
    let id = list["sessions"][0]["id"].as_str().unwrap();
    let other = people.owner.post("/api/agents", json!({ "name": "other" })).await.expect(201);
    let other = other["id"].as_str().unwrap();
    people.owner.get(&format!("/api/agents/{other}/sessions/{id}/activity")).await.expect(404);
    people
        .owner
        .send(Method::POST, &format!("/api/agents/{other}/sessions/{id}/reset"), None, &[])
        .await
        .expect(404);
    assert_eq!(people.owner.get(&format!("/api/agents/{other}/sessions")).await.expect(200)["total"], 0);
    let unknown = "ts_0190b5a0-0000-7000-8000-00000000ffff";
    for id in [unknown, "ts_x", "x"] {
        people.owner.get(&people.path(&format!("/sessions/{id}/activity"))).await.expect(404);
        people
            .owner
            .send(Method::POST, &people.path(&format!("/sessions/{id}/reset")), None, &[])
            .await
            .expect(404);
    }
    let by_member = people.path(&format!("/sessions?memberId={}", people.pending_id));
    assert_eq!(people.owner.get(&by_member).await.expect(200)["total"], 0);
    for query in ["memberId=x", "status=open", "limit=501", "offset=10001", "sortBy=calls"] {
        people.owner.get(&people.path(&format!("/sessions?{query}"))).await.expect(400);
    }
}
