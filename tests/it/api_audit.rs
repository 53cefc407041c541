//! The audit over the REST API: who sees which calls and which policies, every filter, paging while calls
//! arrive, the export, administrative changes.

use serde_json::{Value, json};

use crate::audited::{World, entries};
use crate::harness::{Api, databases, until};

async fn total(api: &Api, query: &str) -> u64 {
    let page = api.get(&format!("/api/audit?{query}")).await.expect(200);
    assert_eq!(page["totalIsEstimate"], false);
    assert_eq!(entries(&page).len() as u64, page["total"].as_u64().unwrap(), "{query}");
    page["total"].as_u64().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_sees_what_is_theirs_and_a_member_no_policy_of_a_trusted_agent() {
    for database in databases() {
        let world = World::on(&database).await;
        world.some_calls().await;
        for (who, api, sees) in [
            ("ann", &world.ann, 6),
            ("ben", &world.ben, 1),
            ("bob", &world.bob, 6),
            ("carol", &world.carol, 0),
            ("eve", &world.eve, 0),
        ] {
            assert_eq!(total(api, "").await, sees, "{who} on {}", database.kind);
        }
        world.gate.nobody().get("/api/audit").await.expect(401);
        let narrow = world.gate.account_with("ann@example.com", &["agents:read"]).await;
        assert_eq!(narrow.get("/api/audit").await.expect(403)["code"], "scope_missing");

        let denied = world.ann.get("/api/audit?result=DENY&agent=ALPH&tool=ECH").await.expect(200);
        let entry = &entries(&denied)[0];
        assert_eq!(denied["total"], 1);
        for (field, expected) in [
            ("agentName", json!("Alpha")),
            ("memberName", json!("bob@example.com")),
            ("user", json!("bob@example.com")),
            ("service", json!("recorder")),
            ("tool", json!("echo")),
            ("action", json!("Recorder::Action::\"echo\"")),
            ("callerIp", json!("127.0.0.1")),
            ("decision", json!("DENY")),
            ("reason", json!("Not this one.")),
            ("reasonCode", json!("forbidden")),
            ("matchedPolicyIds", json!(["block-bad"])),
            ("matchedPolicyNames", json!(["Block bad nonces"])),
            ("redacted", json!(false)),
            ("toolArgs", json!({"nonce": "bad"})),
        ] {
            assert_eq!(entry[field], expected, "{field}");
        }
        members_know_no_policies(&world).await;
    }
}

async fn members_know_no_policies(world: &World) {
    let page = world.bob.get("/api/audit?agent=alpha").await;
    let text = String::from_utf8_lossy(&page.body).to_lowercase();
    for hidden in ["block-bad", "block bad", "no-count", "read-baseline"] {
        assert!(!text.contains(hidden), "{hidden}: {text}");
    }
    let page = page.expect(200);
    let of_tool = |tool: &str| entries(&page).iter().find(|e| e["tool"] == tool && e["decision"] == "DENY");
    assert_eq!(of_tool("echo").unwrap()["reason"], "Not this one.");
    assert_eq!(of_tool("count").unwrap()["reason"], "forbidden", "the message names the policy");
    assert!(entries(&page).iter().all(|entry| entry["redacted"] == true && entry["callerIp"] == "127.0.0.1"));
    // Nor are calls found by what may not be known.
    assert_eq!(total(&world.bob, "policy=block-bad").await, 0);
    assert_eq!(total(&world.ann, "policy=block-bad").await, 1);
    let beta = world.bob.get("/api/audit?agent=beta").await.expect(200);
    assert_eq!(entries(&beta)[0]["redacted"], false);
    // A member who is removed sees nothing more; the owner still does.
    world.gate.admin(json!({"do": "member_remove", "agent": "Alpha", "member": "bob@example.com"})).await;
    assert_eq!(total(&world.bob, "agent=alpha").await, 0);
    assert_eq!(total(&world.ann, &format!("member={}", world.bob_of_alpha)).await, 5);
    let people = world.ann.get("/api/audit/members?search=BOB").await.expect(200);
    assert_eq!((&people["total"], &people["members"][0]["name"]), (&json!(1), &json!("bob@example.com")));
    assert_eq!(people["members"][0]["calls"], 5);
    assert_eq!(world.eve.get("/api/audit/members").await.expect(200)["total"], 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_filter_and_what_is_refused() {
    let world = World::begin().await;
    world.some_calls().await;
    let all = world.ann.get("/api/audit").await.expect(200);
    let newest = entries(&all)[0]["timestamp"].as_str().unwrap().to_owned();
    let oldest = entries(&all)[5]["timestamp"].as_str().unwrap().to_owned();
    let session = entries(&all)[5]["sessionId"].as_str().unwrap().to_owned();
    for (query, expected) in [
        ("result=ALLOW".to_owned(), 4),
        ("result=DENY".to_owned(), 2),
        ("service=recorder".to_owned(), 6),
        ("service=github".to_owned(), 0),
        ("tool=COUN".to_owned(), 1),
        ("agent=lph".to_owned(), 6),
        ("agent=beta".to_owned(), 0),
        (format!("member={}", world.bob_of_alpha), 5),
        ("policy=no-count".to_owned(), 1),
        ("policy=no-count&result=ALLOW".to_owned(), 0),
        (format!("from={oldest}"), 6),
        (format!("from={oldest}&to={newest}"), 6),
        ("from=2099-01-01T00:00:00Z".to_owned(), 0),
        ("to=2001-01-01T00:00:00%2B01:00".to_owned(), 0),
        ("agent=%25".to_owned(), 0),
        ("tool=".to_owned(), 6),
    ] {
        assert_eq!(total(&world.ann, &query).await, expected, "{query}");
    }
    assert!(total(&world.ann, &format!("session={session}")).await >= 1);
    for (query, field) in [
        ("limit=0", "query.limit"),
        ("limit=501", "query.limit"),
        ("offset=100001", "query.offset"),
        ("result=allow", "query.result"),
        ("member=bob@example.com", "query.member"),
        ("from=yesterday", "query.from"),
        ("before=x", "query.before"),
        ("agnet=x", "query"),
        ("service=No", "query.service"),
    ] {
        let problem = world.ann.get(&format!("/api/audit?{query}")).await.expect(400);
        let named = problem["errors"][0]["field"].as_str().unwrap();
        assert!(named.starts_with(field), "{query}: {problem}");
    }
    let cursor = entries(&all)[2]["cursor"].as_str().unwrap();
    world.ann.get(&format!("/api/audit?before={cursor}&after={cursor}")).await.expect(400);
    let newer = world.ann.get(&format!("/api/audit?after={cursor}&limit=1")).await.expect(200);
    assert_eq!(entries(&newer)[0]["id"], entries(&all)[1]["id"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_neither_repeat_nor_skip_while_calls_arrive() {
    let world = World::begin().await;
    for n in 0..30 {
        assert!(world.calls.call("recorder__echo", json!({ "nonce": format!("n{n}") })).await.succeeded());
    }
    let indexed = async || (total(&world.ann, "").await >= 30).then_some(());
    until("thirty calls to be indexed", std::time::Duration::from_secs(20), indexed).await;
    let mut seen = Vec::new();
    let mut next = String::new();
    loop {
        let page = world.ann.get(&format!("/api/audit?limit=7{next}")).await.expect(200);
        for entry in entries(&page) {
            seen.push(entry["toolArgs"]["nonce"].as_str().unwrap().to_owned());
        }
        let Some(cursor) = page["next"].as_str() else { break };
        next = format!("&before={cursor}");
        let late = format!("late{}", seen.len());
        assert!(world.calls.call("recorder__echo", json!({ "nonce": late })).await.succeeded());
    }
    let expected: Vec<String> = (0..30).rev().map(|n| format!("n{n}")).collect();
    assert_eq!(seen, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_is_the_same_entries_without_formulas() {
    let world = World::begin().await;
    world.some_calls().await;
    let answer = world.ann.get("/api/audit/export?exportAll=true").await;
    assert_eq!(answer.header("content-type").unwrap().split(';').next(), Some("text/csv"));
    assert!(answer.header("content-disposition").unwrap().contains("audit.csv"));
    let rows = csv_rows(&answer.body);
    assert_eq!(rows.len(), 6);
    let listed = world.ann.get("/api/audit").await.expect(200);
    for (row, entry) in rows.iter().zip(entries(&listed)) {
        for field in ["id", "timestamp", "memberName", "tool", "decision", "reason", "callerIp"] {
            assert_eq!(row[field], entry[field], "{field}");
        }
        let arguments: Value = serde_json::from_str(row["toolArgs"].as_str().unwrap()).unwrap();
        assert_eq!(arguments, entry["toolArgs"]);
    }
    assert_eq!(csv_rows(&world.ann.get("/api/audit/export?max=2&offset=1").await.body).len(), 2);
    assert_eq!(csv_rows(&world.ann.get("/api/audit/export?result=DENY").await.body).len(), 2);
    assert_eq!(csv_rows(&world.eve.get("/api/audit/export?exportAll=true").await.body).len(), 0);
    world.ann.get("/api/audit/export?max=501").await.expect(400);
    let bobs = world.bob.get("/api/audit/export?exportAll=true").await;
    assert!(!String::from_utf8_lossy(&bobs.body).contains("block-bad"));
    // A name that a spreadsheet would run.
    world.gate.admin(json!({"do": "agent_create", "name": "=1+1", "trust": "trusted", "services": []})).await;
}

fn csv_rows(body: &[u8]) -> Vec<Value> {
    let mut reader = csv::Reader::from_reader(body);
    let names = reader.headers().unwrap().clone();
    let row = |record: csv::StringRecord| {
        names.iter().zip(&record).map(|(n, v)| (n.to_owned(), json!(v))).collect()
    };
    reader.records().map(|record| row(record.unwrap())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_changed_what_is_told_to_the_agents_owner_and_to_who_did_it() {
    let world = World::begin().await;
    let gate = &world.gate;
    gate.admin(json!({"do": "agent_status", "agent": "Alpha", "status": "disabled"})).await;
    gate.admin(json!({"do": "agent_status", "agent": "Beta", "status": "disabled"})).await;
    gate.admin(
        json!({"do": "member_status", "agent": "Alpha", "member": "carol@example.com", "status": "approved"}),
    )
    .await;
    let changes = async |api: &Api, query: &str| {
        let page = api.get(&format!("/api/audit/changes?{query}")).await.expect(200);
        page["changes"].as_array().unwrap().clone()
    };
    let status = until("the changes to be indexed", std::time::Duration::from_secs(20), async || {
        let found = changes(&world.ann, "what=member.status").await;
        found.first().filter(|change| change["phase"] == "completed").cloned()
    })
    .await;
    assert_eq!(status["target"], "Alpha/carol@example.com");
    assert_eq!((&status["before"], &status["after"]), (&json!("pending"), &json!("approved")));
    assert_eq!(status["agentId"], world.alpha.to_string());
    assert!(status["who"].as_str().unwrap().starts_with("uid:"), "{status}");
    let of_ann = changes(&world.ann, "what=agent.").await;
    assert!(of_ann.iter().all(|change| change["target"] == "Alpha") && !of_ann.is_empty(), "{of_ann:?}");
    // Keys of members are changes of their agent.
    assert_eq!(changes(&world.ann, "what=key.create").await.len(), 2);
    assert_eq!(changes(&world.ben, "").await.iter().filter(|c| c["what"] == "agent.status").count(), 1);
    for api in [&world.bob, &world.eve] {
        assert!(changes(api, "").await.is_empty(), "a member is told no changes");
    }
    let rows = csv_rows(&world.ann.get("/api/audit/export?kind=changes&exportAll=true").await.body);
    assert_eq!(rows.len(), changes(&world.ann, "").await.len());
    assert_eq!(rows[0]["what"], changes(&world.ann, "limit=1").await[0]["what"]);
    world.ann.get("/api/audit/changes?account=nobody").await.expect(400);
}
