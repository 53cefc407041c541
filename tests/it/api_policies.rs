//! Stored policies over the REST API: who may, what an answer looks like, that a change decides the next call,
//! and that nobody's change is undone unseen.

use std::time::Duration;

use hyper::Method;
use serde_json::{Value, json};

use crate::harness::{Client, Connector, Gate, GateOptions, People, each, until};
use crate::recorder::{Recorder, RecorderOptions, definitions};

/// The index follows the journal within this, on a loaded machine.
const INDEXED_MAX: Duration = Duration::from_secs(20);

async fn setup() -> (Gate, Recorder, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let upstream = Recorder::start(dir.path(), RecorderOptions::default()).await;
    let connector = Connector::http("recorder", &upstream.url(), definitions());
    (Gate::start(GateOptions::new(vec![connector])).await, upstream, dir)
}

fn forbid(name: &str) -> Value {
    json!({"name": name, "service": "wicket", "effect": "forbid", "tools": ["whoami"], "denyMessage": "not you"})
}

/// A tag of this version.
fn tag(version: u64) -> [(&'static str, String); 1] {
    [("if-match", format!("\"{version}\""))]
}

async fn allowed(client: &Client) -> bool {
    client.call("wicket__whoami", json!({})).await.succeeded()
}

async fn id_of(people: &People, name: &str) -> String {
    let made = people.owner.post(&people.path("/policies"), forbid(name)).await.expect(201);
    made["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_policy_decides_the_next_call_and_no_longer_than_it_stands() {
    let (gate, _upstream, _dir) = setup().await;
    let people = People::of(&gate, &["wicket", "recorder"]).await.bare().await;
    let client = people.client(&gate).await;
    assert!(allowed(&client).await);
    let made = people.owner.post(&people.path("/policies"), forbid("No Whoami")).await;
    let policy = made.expect(201);
    assert_eq!(made.header("etag"), Some("\"1\""));
    let path = people.path(&format!("/policies/{}", policy["id"].as_str().unwrap()));
    assert_eq!(made.header("location"), Some(path.as_str()));
    for (name, value) in [
        ("policyKey", json!("no-whoami")),
        ("service", json!("wicket")),
        ("effect", json!("forbid")),
        ("tools", json!(["whoami"])),
        ("principal", json!({"type": "all_members"})),
        ("enabled", json!(true)),
        ("mode", json!("enforced")),
        ("version", json!(1)),
        ("triggerCount", json!(0)),
        ("lastTriggered", Value::Null),
        ("denyMessage", json!("not you")),
        ("updatedBy", json!("account:olga@example.com")),
    ] {
        let found = policy[name].as_str().map_or(policy[name].clone(), |text| {
            // A token made the change: its id stands behind the address.
            json!(text.split(" via:").next().unwrap())
        });
        assert_eq!(found, value, "{name}");
    }
    assert!(policy["id"].as_str().unwrap().starts_with("p_"));
    let reply = client.call("wicket__whoami", json!({})).await;
    assert!(!reply.succeeded() && reply.message().to_string().contains("not you"), "{}", reply.message());
    // Off, on, off again, on by a body, and each time the very next call knows.
    for (body, expected) in
        [(None, true), (None, false), (Some(false), true), (Some(false), true), (Some(true), false)]
    {
        let body = body.map(|enabled| json!({ "enabled": enabled }));
        let toggled = people.owner.send(Method::POST, &format!("{path}/toggle"), body, &[]).await;
        toggled.expect(200);
        assert_eq!(allowed(&client).await, expected);
    }
    let mut bent = forbid("No Whoami");
    (bent["tools"], bent["version"]) = (json!(["session"]), json!(6));
    let put = people.owner.put(&path, bent).await;
    assert_eq!((put.expect(200)["version"].clone(), put.header("etag")), (json!(7), Some("\"7\"")));
    assert!(allowed(&client).await);
    let back = people.owner.post(&format!("{path}/rollback"), json!({"version": 1})).await.expect(200);
    assert_eq!((&back["version"], &back["tools"]), (&json!(8), &json!(["whoami"])));
    assert!(!allowed(&client).await);
    people.owner.delete(&path).await.expect(204);
    assert!(allowed(&client).await);
    people.owner.get(&path).await.expect(404);
    // How often it decided, and when last: some moments behind.
    let id = id_of(&people, "Counted").await;
    for _ in 0..3 {
        assert!(!allowed(&client).await);
    }
    let counted = people.path(&format!("/policies/{id}"));
    let seen = until("the count", INDEXED_MAX, async || {
        let policy = people.owner.get(&counted).await.expect(200);
        (policy["triggerCount"] == 3).then_some(policy)
    })
    .await;
    assert!(
        seen["lastTriggered"].as_str().is_some_and(|at| at >= seen["createdAt"].as_str().unwrap()),
        "{seen}"
    );
    assert_eq!(people.owner.get(&people.path("")).await.expect(200)["policyCount"], 1);
}

#[tokio::test]
async fn who_did_not_see_the_newest_version_changes_nothing() {
    let (gate, _upstream, _dir) = setup().await;
    let people = People::of(&gate, &["wicket"]).await;
    let id = id_of(&people, "Contended").await;
    let path = people.path(&format!("/policies/{id}"));
    let ask = async |method: Method, rest: &str, body: Option<Value>, version: Option<u64>| {
        let headers = version.map(tag).unwrap_or([("x-none", String::new())]);
        let [(name, value)] = &headers;
        people.owner.send(method, &format!("{path}{rest}"), body, &[(*name, value.as_str())]).await
    };
    let mut first = forbid("Contended");
    first["denyMessage"] = json!("first");
    ask(Method::PUT, "", Some(first.clone()), Some(1)).await.expect(200);
    // The second editor read version 1 as well.
    let mut second = forbid("Contended");
    second["denyMessage"] = json!("second");
    let refused = ask(Method::PUT, "", Some(second.clone()), Some(1)).await.expect(412);
    assert_eq!(refused["code"], "version_mismatch");
    let missing = ask(Method::PUT, "", Some(second.clone()), None).await.expect(428);
    assert_eq!(missing["code"], "version_missing");
    second["version"] = json!(1);
    ask(Method::PUT, "", Some(second.clone()), None).await.expect(412);
    // Both must agree where both are given.
    ask(Method::PUT, "", Some(second.clone()), Some(2)).await.expect(412);
    ask(Method::DELETE, "", None, Some(1)).await.expect(412);
    ask(Method::POST, "/toggle", None, Some(1)).await.expect(412);
    ask(Method::POST, "/rollback", Some(json!({"version": 1})), Some(1)).await.expect(412);
    let stands = people.owner.get(&path).await.expect(200);
    assert_eq!((&stands["denyMessage"], &stands["version"]), (&json!("first"), &json!(2)));
    second["version"] = json!(2);
    ask(Method::PUT, "", Some(second), None).await.expect(200);
    let list = people.owner.get(&format!("{path}/versions")).await.expect(200);
    assert_eq!(list["total"], 3);
    assert_eq!(list["versions"][0]["changedFields"], json!(["denyMessage"]));
    assert!(list["versions"][0]["diff"].as_str().unwrap().contains("-@denyMessage(\"first\")"), "{list}");
    assert_eq!(list["versions"][2]["snapshot"]["denyMessage"], "not you");
    let one = people.owner.get(&format!("{path}/versions?limit=1&offset=1")).await.expect(200);
    assert_eq!((each(&one["versions"], "diff").len(), &one["versions"][0]["version"]), (1, &json!(2)));
    assert_eq!(one["versions"][0]["changedFields"], json!(["denyMessage"]), "held against the one before it");
    // Of ten editors who all saw the same version, one is taken.
    let mut editors = Vec::new();
    for n in 0..10 {
        let (body, path) = (
            json!({"name": format!("by {n}"), "service": "wicket", "effect": "forbid",
            "tools": ["whoami"], "version": 3}),
            path.clone(),
        );
        let editor = gate.account("olga@example.com").await;
        editors.push(tokio::spawn(async move { editor.put(&path, body).await.status.as_u16() }));
    }
    let mut taken = Vec::new();
    for editor in editors {
        taken.push(editor.await.unwrap());
    }
    taken.sort_unstable();
    assert_eq!((taken[0], &taken[1..]), (200, &[412; 9][..]));
}

#[tokio::test]
async fn policies_are_their_owners_alone() {
    let (gate, _upstream, _dir) = setup().await;
    for kind in ["trusted", "untrusted"] {
        let people = People::named(&gate, kind, &["wicket"], kind).await;
        let mut draft = forbid("Secret of the owner");
        if kind == "untrusted" {
            draft["memberId"] = json!(people.member_id);
        }
        let made = people.owner.post(&people.path("/policies"), draft.clone()).await.expect(201);
        let path = people.path(&format!("/policies/{}", made["id"].as_str().unwrap()));
        for (person, status) in
            [(&people.member, 403), (&people.pending, 403), (&people.stranger, 404), (&people.nobody, 401)]
        {
            for (method, rest, body) in [
                (Method::GET, people.path("/policies"), None),
                (Method::POST, people.path("/policies"), Some(draft.clone())),
                (Method::POST, people.path("/policies/preview"), Some(draft.clone())),
                (Method::GET, path.clone(), None),
                (Method::PUT, path.clone(), Some(draft.clone())),
                (Method::POST, format!("{path}/toggle"), None),
                (Method::GET, format!("{path}/versions"), None),
                (Method::POST, format!("{path}/rollback"), Some(json!({"version": 1}))),
                (Method::DELETE, path.clone(), None),
            ] {
                let answer = person.send(method, &rest, body, &[]).await;
                let said = answer.expect(status).to_string();
                assert!(!said.contains("secret-of-the-owner") && !said.contains("Secret of"), "{said}");
            }
        }
        // Nor through what else a member sees of its calls.
        let client = people.client(&gate).await;
        let reply = client.call("wicket__whoami", json!({})).await;
        assert!(!reply.succeeded());
        if kind == "trusted" {
            assert!(!reply.message().to_string().contains("secret-of"), "{}", reply.message());
            let sessions = people.member.get(&people.path("/my-sessions")).await.expect(200).to_string();
            assert!(!sessions.contains("secret-of"), "{sessions}");
        }
        people.owner.delete(&people.path("")).await.expect(204);
        people.owner.get(&path).await.expect(404);
    }
    // Another agent's policy is not this agent's: neither for its own owner nor for who owns the other agent.
    let people = People::of(&gate, &["wicket"]).await;
    let id = id_of(&people, "Here").await;
    for (person, name) in [(&people.owner, "there"), (&people.stranger, "elsewhere")] {
        let other = person.post("/api/agents", json!({"name": name})).await.expect(201);
        let wrong = format!("/api/agents/{}/policies/{id}", other["id"].as_str().unwrap());
        for (method, rest, body) in [
            (Method::GET, "", None),
            (Method::GET, "/versions", None),
            (Method::PUT, "", Some(forbid("Taken over"))),
            (Method::POST, "/toggle", Some(json!({"enabled": false}))),
            (Method::POST, "/rollback", Some(json!({"version": 1}))),
            (Method::DELETE, "", None),
        ] {
            let [(header, seen)] = tag(1);
            let path = format!("{wrong}{rest}");
            person.send(method, &path, body, &[(header, seen.as_str())]).await.expect(404);
        }
        let mut draft = forbid("In its place");
        draft["policyId"] = json!(id);
        let preview = wrong.replace(&format!("/{id}"), "/preview");
        person.post(&preview, draft).await.expect(404);
    }
    let stands = people.owner.get(&people.path(&format!("/policies/{id}"))).await.expect(200);
    assert_eq!(
        (&stands["name"], &stands["version"], &stands["enabled"]),
        (&json!("Here"), &json!(1), &json!(true))
    );
}

#[tokio::test]
async fn lists_and_previews_say_what_the_reference_says() {
    let (gate, upstream, _dir) = setup().await;
    let people = People::of(&gate, &["wicket", "recorder"]).await.bare().await;
    let post = async |body: Value| people.owner.post(&people.path("/policies"), body).await;
    id_of(&people, "No whoami").await;
    let raw = json!({"name": "Raw", "cedar": "permit (principal, action, resource in Wicket::Service::\"recorder\");"});
    post(raw.clone()).await.expect(201);
    let mut off = forbid("Asleep");
    (off["enabled"], off["mode"], off["service"]) = (json!(false), json!("shadow"), json!("recorder"));
    off["tools"] = json!(["echo"]);
    post(off).await.expect(201);
    let list = async |query: &str| {
        let list = people.owner.get(&people.path(&format!("/policies?{query}"))).await.expect(200);
        assert_eq!(list.as_object().unwrap().keys().collect::<Vec<_>>(), ["policies", "total"]);
        each(&list["policies"], "name")
    };
    for (query, expected) in [
        ("", &["Asleep", "No whoami", "Raw"][..]),
        ("search=RAW", &["Raw"]),
        ("service=wicket&effect=forbid&enabled=true", &["No whoami"]),
        ("effect=permit", &["Raw"]),
        ("enabled=false", &["Asleep"]),
        ("mode=off", &["Asleep"]),
        ("mode=shadow", &[]),
        ("sortBy=createdAt&sortDir=desc", &["Asleep", "Raw", "No whoami"]),
        ("limit=1&offset=2", &["Raw"]),
    ] {
        assert_eq!(list(query).await, expected, "{query}");
    }
    for query in ["effect=deny", "enabled=yes", "mode=on", "sortBy=key", "limit=0", "colour=1", "service=A"] {
        people.owner.get(&people.path(&format!("/policies?{query}"))).await.expect(400);
    }
    // A draft: what it would be, whom and what it touches; nothing is stored, and nothing is sent.
    let before = upstream.received().len();
    let preview = async |body: Value| people.owner.post(&people.path("/policies/preview"), body).await;
    let shown = preview(forbid("No whoami")).await.expect(200);
    assert_eq!(shown["policyKey"], "no-whoami-2");
    assert!(shown["cedar"].as_str().unwrap().contains("WicketMCP::Action::\"whoami\""), "{shown}");
    assert_eq!(shown["tools"], json!([{"tool": "whoami", "tier": "read"}]));
    assert_eq!(each(&shown["members"]["first"], "name"), ["mona@example.com", "olga@example.com"]);
    assert_eq!(shown["members"]["count"], 2);
    let of_cedar = preview(raw).await.expect(200);
    assert!(of_cedar["cedar"].as_str().unwrap().starts_with("@id(\"raw-2\") @name(\"Raw\") "), "{of_cedar}");
    let mut instead = forbid("Renamed");
    instead["policyId"] =
        people.owner.get(&people.path("/policies?search=whoami")).await.expect(200)["policies"][0]["id"]
            .clone();
    assert_eq!(preview(instead).await.expect(200)["policyKey"], "no-whoami");
    let mut wrong = forbid("x");
    (wrong["tools"], wrong["timeConstraints"]) = (json!(["nope"]), json!({"hoursTo": 77}));
    for answer in [preview(wrong.clone()).await, post(wrong).await] {
        let problem = answer.expect(422);
        assert_eq!(problem["code"], "rejected");
        assert_eq!(each(&problem["errors"], "field"), ["body.tools", "body.timeConstraints.hoursTo"]);
    }
    for (body, field) in [
        (json!({"service": "wicket"}), "body.name"),
        (json!({"name": "x", "tool": []}), "body.tool"),
        (json!({"name": "x", "effect": "deny"}), "body.effect"),
        (json!({"name": "x", "timeConstraints": {"hours": 1}}), "body.timeConstraints.hours"),
    ] {
        let problem = preview(body).await.expect(400);
        assert_eq!(problem["errors"][0]["field"], field, "{problem}");
    }
    let large = json!({"name": "x", "cedar": format!("permit (principal, action, resource); // {}", "x".repeat(70_000))});
    let problem = post(large).await.expect(422);
    assert_eq!(problem["errors"][0]["field"], "body.cedar");
    assert_eq!((list("").await.len(), upstream.received().len()), (3, before));
}

/// The command line over the socket of the running gate, and the same on a stopped one.
#[tokio::test]
async fn the_command_line_does_the_same_and_on_a_stopped_gate() {
    let (mut gate, _upstream, _dir) = setup().await;
    let client = gate.client();
    let file = gate.dir().join("policy.json");
    std::fs::write(&file, forbid("By hand").to_string()).unwrap();
    let file = file.to_str().unwrap();
    let run = async |gate: &Gate, words: &[&str]| {
        let mut all = vec!["policy"];
        all.extend(words);
        gate.command(&all).await
    };
    let (fine, said) = run(&gate, &["create", "--agent", "tester", file]).await;
    assert!(fine && said.contains("by-hand") && said.contains("forbid ("), "{said}");
    assert!(!allowed(&client).await);
    let (fine, said) = run(&gate, &["list", "--agent", "tester"]).await;
    assert!(fine && said.contains("by-hand") && said.contains("enforced"), "{said}");
    assert!(run(&gate, &["disable", "--agent", "tester", "by-hand"]).await.0);
    assert!(allowed(&client).await);
    gate.stop().await;
    let (fine, said) = run(&gate, &["enable", "--agent", "tester", "by-hand"]).await;
    assert!(fine && said.contains("enforced"), "{said}");
    let (fine, shown) = run(&gate, &["show", "--agent", "tester", "by-hand", "--json"]).await;
    assert!(fine, "{shown}");
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!((&shown["version"], &shown["enabled"]), (&json!(3), &json!(true)));
    std::fs::write(file, shown.to_string()).unwrap();
    let (fine, said) = run(&gate, &["update", "--agent", "tester", "by-hand", file]).await;
    assert!(fine && said.contains("version     4"), "{said}");
    // The file still says version 3.
    let (fine, said) = run(&gate, &["update", "--agent", "tester", "by-hand", file]).await;
    assert!(!fine && said.contains("changed by somebody else"), "{said}");
    let (fine, said) = run(&gate, &["rollback", "--agent", "tester", "by-hand", "1"]).await;
    assert!(fine, "{said}");
    let (fine, said) = run(&gate, &["versions", "--agent", "tester", "by-hand"]).await;
    assert!(fine && said.contains("version 5") && said.contains("back to version 1"), "{said}");
    gate.launch().await;
    assert!(!allowed(&gate.client()).await, "what was stored before the start decides");
    assert!(!run(&gate, &["delete", "--agent", "tester", "by-hand"]).await.0, "it asks for --yes");
    let (fine, said) = run(&gate, &["delete", "--agent", "tester", "by-hand", "--yes"]).await;
    assert!(fine, "{said}");
    assert!(allowed(&gate.client()).await);
}
