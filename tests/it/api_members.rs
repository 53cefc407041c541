//! Members, keys and groups over the REST API: who sees whom, which way a membership goes, whose a key is.

use hyper::Method;
use serde_json::{Value, json};

use crate::harness::{Client, Gate, GateOptions, People, each, join};

async fn setup() -> (Gate, People) {
    let gate = Gate::start(GateOptions::new(Vec::new())).await;
    let people = People::of(&gate, &["wicket"]).await;
    (gate, people)
}

#[tokio::test]
async fn the_owner_sees_all_members_and_a_member_itself_alone() {
    let (gate, people) = setup().await;
    let list = people.owner.get(&people.path("/members")).await.expect(200);
    assert_eq!(each(&list["members"], "name"), ["mona@example.com", "olga@example.com", "paul@example.com"]);
    assert_eq!(each(&list["members"], "status"), ["approved", "approved", "pending"]);
    assert_eq!(each(&list["members"], "role"), ["member", "owner", "member"]);
    assert_eq!(each(&list["members"], "email"), each(&list["members"], "name"));
    assert_eq!((&list["total"], &list["invites"]), (&json!(3), &json!([])));
    for (person, own) in [(&people.member, &people.member_id), (&people.pending, &people.pending_id)] {
        let list = person.get(&people.path("/members")).await.expect(200);
        assert_eq!((each(&list["members"], "id"), list.get("invites")), (vec![own.clone()], None));
        assert_eq!(list["total"], 1);
        // Neither a filter nor a page shows more.
        let list = person.get(&people.path("/members?search=olga")).await.expect(200);
        assert_eq!(list["total"], 0);
    }
    people.stranger.get(&people.path("/members")).await.expect(404);
    people.nobody.get(&people.path("/members")).await.expect(401);
    let names = async |query: &str| {
        let list = people.owner.get(&people.path(&format!("/members?{query}"))).await.expect(200);
        each(&list["members"], "name").iter().map(|name| name[..4].to_owned()).collect::<Vec<_>>()
    };
    for (query, expected) in [
        ("search=MON", &["mona"][..]),
        ("search=%25", &[]),
        ("status=pending", &["paul"]),
        ("sortDir=desc", &["paul", "olga", "mona"]),
        ("sortBy=createdAt", &["olga", "mona", "paul"]),
        ("sortBy=status&sortDir=desc", &["paul", "olga", "mona"]),
        ("limit=1&offset=1", &["olga"]),
        ("group=nobody", &[]),
    ] {
        assert_eq!(names(query).await, expected, "{query}");
    }
    for query in ["status=waiting", "sortBy=key", "limit=0", "colour=1", "group=A%20B"] {
        people.owner.get(&people.path(&format!("/members?{query}"))).await.expect(400);
    }
    // Another agent's owner sees nothing of these, also with a member's id that exists.
    people.stranger.post("/api/agents", json!({ "name": "other" })).await.expect(201);
    people.stranger.delete(&people.member_path("")).await.expect(404);
    let foreign =
        people.stranger.get("/api/agents").await.expect(200)["agents"][0]["id"].as_str().unwrap().to_owned();
    let path = format!("/api/agents/{foreign}/members/{}", people.member_id);
    people.stranger.delete(&path).await.expect(404);
    drop(gate);
}

#[tokio::test]
async fn a_membership_goes_one_way() {
    let (_gate, people) = setup().await;
    let approved = json!({ "status": "approved" });
    let pending = |rest: &str| people.path(&format!("/members/{}{rest}", people.pending_id));
    for status in ["rejected", "pending", "owner"] {
        people.owner.put(&pending("/status"), json!({ "status": status })).await.expect(400);
    }
    for (person, status) in
        [(&people.member, 404), (&people.pending, 403), (&people.stranger, 404), (&people.nobody, 401)]
    {
        person.put(&pending("/status"), approved.clone()).await.expect(status);
        person.send(Method::POST, &pending("/reject"), None, &[]).await.expect(status);
    }
    let shown = people.owner.put(&pending("/status"), approved.clone()).await.expect(200);
    assert_eq!((&shown["id"], &shown["status"]), (&json!(people.pending_id), &json!("approved")));
    let again = people.owner.put(&pending("/status"), approved.clone()).await.expect(409);
    assert!(again["help"].as_str().is_some(), "{again}");
    let reject = people.owner.send(Method::POST, &pending("/reject"), None, &[]).await.expect(409);
    assert!(reject["help"].as_str().unwrap().contains("remove"), "{reject}");
    // The owner stays; a member may go by itself, and only by itself.
    let owner = people.path(&format!("/members/{}", people.owner_id().await));
    people.owner.delete(&owner).await.expect(409);
    people.member.delete(&owner).await.expect(404);
    people.member.delete(&pending("")).await.expect(404);
    people.member.delete(&people.member_path("")).await.expect(204);
    people.member.get(&people.path("")).await.expect(404);
    people.owner.delete(&pending("")).await.expect(204);
    people.owner.delete(&pending("")).await.expect(404);
    people.pending.get(&people.path("")).await.expect(404);
    assert_eq!(people.owner.get(&people.path("/members")).await.expect(200)["total"], 1);
}

#[tokio::test]
async fn a_key_is_its_members_alone() {
    let (gate, people) = setup().await;
    let key = people.member_path("/key");
    let pending_key = people.path(&format!("/members/{}/key", people.pending_id));
    let works = async |key: &Value| {
        let client = Client::new(gate.agents(), key["key"].as_str().unwrap());
        client.call("wicket__whoami", json!({})).await.status.as_u16()
    };
    for (person, status) in
        [(&people.owner, 403), (&people.pending, 404), (&people.stranger, 404), (&people.nobody, 401)]
    {
        person.put(&key, json!({})).await.expect(status);
        person.send(Method::POST, &people.member_path("/key/reset-lost"), None, &[]).await.expect(status);
    }
    let waits = people.pending.put(&pending_key, json!({})).await.expect(409);
    assert!(waits["help"].as_str().unwrap().contains("approves"), "{waits}");
    people.member.delete(&key).await.expect(404);

    let first = people.member.put(&key, json!({})).await.expect(200);
    assert_eq!((&first["replaced"], &first["hindrances"]), (&Value::Null, &json!([])));
    assert_eq!(first["url"], gate.url());
    assert_eq!(works(&first).await, 200);
    let second = people.member.put(&key, json!({})).await.expect(200);
    assert_eq!(second["replaced"], first["id"]);
    assert_eq!((works(&first).await, works(&second).await), (401, 200));
    let listed = people.owner.get(&people.path("/members?search=mona")).await.expect(200);
    assert_eq!(listed["members"][0]["key"]["id"], second["id"]);

    let lost =
        people.member.send(Method::POST, &people.member_path("/key/reset-lost"), None, &[]).await.expect(200);
    assert_eq!(lost, json!({ "revoked": second["id"], "connectionsCleared": 0 }));
    assert_eq!(works(&second).await, 401);
    let again =
        people.member.send(Method::POST, &people.member_path("/key/reset-lost"), None, &[]).await.expect(200);
    assert_eq!(again["revoked"], Value::Null);
    for person in [&people.owner, &people.member] {
        let key_now = people.member.put(&key, json!({})).await.expect(200);
        assert_eq!(works(&key_now).await, 200);
        people.stranger.delete(&key).await.expect(404);
        people.pending.delete(&key).await.expect(404);
        person.delete(&key).await.expect(204);
        assert_eq!(works(&key_now).await, 401);
    }
    let text = serde_json::to_string(&gate.journal().entries).unwrap();
    for minted in [&first, &second] {
        assert!(!text.contains(minted["key"].as_str().unwrap()), "a key is in the journal");
    }
}

#[tokio::test]
async fn onboarding_says_what_comes_next() {
    let (gate, people) = setup().await;
    let next = async || {
        let shown = people.member.get(&people.path("/onboarding")).await.expect(200);
        let steps = shown["steps"].as_array().unwrap();
        let open = steps.iter().find(|step| step["done"] == false).map(|step| step["step"].clone());
        assert_eq!(open.unwrap_or_default(), shown["next"]);
        (shown["next"].clone(), shown["complete"].clone())
    };
    assert_eq!(next().await, (json!("key"), json!(false)));
    let client = people.client(&gate).await;
    assert_eq!(next().await, (json!("firstCall"), json!(false)));
    assert!(client.call("wicket__whoami", json!({})).await.succeeded());
    // The last use of a key is written behind.
    crate::harness::until("the first call to be known", std::time::Duration::from_secs(10), async || {
        (next().await == (Value::Null, json!(true))).then_some(())
    })
    .await;
    people.stranger.get(&people.path("/onboarding")).await.expect(404);
}

#[tokio::test]
async fn groups_are_the_owners_and_decide_the_next_call() {
    let policy = "@id(\"leads\")\npermit (principal in Wicket::Group::\"leads\", \
                  action == WicketMCP::Action::\"whoami\", resource);\n";
    let mut options = GateOptions::new(Vec::new());
    options.policies = vec![("leads.cedar".to_owned(), policy.to_owned())];
    let gate = Gate::start(options).await;
    let people = People::of(&gate, &["wicket"]).await.bare().await;
    let client = people.client(&gate).await;
    let allowed = async || client.call("wicket__whoami", json!({})).await.succeeded();
    let (groups, place) =
        (people.path("/groups"), people.path(&format!("/groups/leads/members/{}", people.member_id)));
    for (person, status) in
        [(&people.member, 403), (&people.pending, 403), (&people.stranger, 404), (&people.nobody, 401)]
    {
        person.get(&groups).await.expect(status);
        person.post(&groups, json!({ "name": "leads" })).await.expect(status);
        person.delete(&people.path("/groups/leads")).await.expect(status);
    }
    people.owner.put(&place, json!({})).await.expect(404);
    let made = people.owner.post(&groups, json!({ "name": "leads" })).await.expect(201);
    assert_eq!((&made["name"], &made["memberCount"]), (&json!("leads"), &json!(0)));
    people.owner.post(&groups, json!({ "name": "leads" })).await.expect(409);
    for name in ["", "Leads", "a b", &"x".repeat(65)] {
        let problem = people.owner.post(&groups, json!({ "name": name })).await.expect(400);
        assert_eq!(problem["errors"][0]["field"], "body.name");
    }
    assert!(!allowed().await);
    people.member.put(&place, json!({})).await.expect(403);
    people.owner.put(&place, json!({})).await.expect(204);
    people.owner.put(&place, json!({})).await.expect(204);
    assert!(allowed().await, "the group holds for the next call");
    let list = people.owner.get(&groups).await.expect(200);
    assert_eq!((&list["total"], &list["groups"][0]["memberCount"]), (&json!(1), &json!(1)));
    let in_it = people.owner.get(&people.path("/members?group=leads")).await.expect(200);
    assert_eq!(each(&in_it["members"], "id"), std::slice::from_ref(&people.member_id));
    assert_eq!(in_it["members"][0]["groups"], json!(["leads"]));
    people.owner.delete(&place).await.expect(204);
    people.owner.delete(&place).await.expect(404);
    assert!(!allowed().await, "who left the group is not in it for the next call");
    people.owner.put(&place, json!({})).await.expect(204);
    people.owner.delete(&people.path("/groups/leads")).await.expect(204);
    assert!(!allowed().await);
    people.owner.delete(&people.path("/groups/leads")).await.expect(404);
    people.owner.delete(&people.path("/groups/NOT%20ONE")).await.expect(404);
}

/// A page of ten thousand is a page: see `make scale` for its time.
#[tokio::test]
async fn pages_of_members_neither_repeat_nor_skip() {
    let (gate, people) = setup().await;
    for n in 0..25 {
        let email = format!("m{}@example.com", n % 25);
        let person = gate.account(&email).await;
        join(&people.agent, &people.owner, &person, &email).await;
    }
    let mut seen = Vec::new();
    for offset in (0..28).step_by(5) {
        let page = people
            .owner
            .get(&people.path(&format!("/members?sortBy=status&limit=5&offset={offset}")))
            .await
            .expect(200);
        assert_eq!(page["total"], 28);
        seen.extend(each(&page["members"], "id"));
    }
    let mut once = seen.clone();
    once.sort();
    once.dedup();
    assert_eq!((seen.len(), once.len()), (28, 28));
}
