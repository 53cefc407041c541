//! Agents over the REST API: shapes, lists, who may what, two editors at once.

use hyper::Method;
use serde_json::{Value, json};

use crate::harness::{Gate, GateOptions, People, each};

async fn setup() -> (Gate, People) {
    let gate = Gate::start(GateOptions::new(Vec::new())).await;
    let people = People::of(&gate, &["wicket"]).await;
    (gate, people)
}

#[tokio::test]
async fn an_agent_has_the_shape_of_the_reference_for_whoever_has_a_part_in_it() {
    let (_gate, people) = setup().await;
    let shown = people.owner.get(&people.path("")).await.expect(200);
    let mut fields: Vec<&str> = shown.as_object().unwrap().keys().map(String::as_str).collect();
    fields.sort_unstable();
    let expected = [
        "allowedServices",
        "connections",
        "createdAt",
        "id",
        "key",
        "membership",
        "name",
        "policyCount",
        "status",
        "tags",
        "type",
    ];
    assert_eq!(fields, expected);
    assert_eq!(shown["key"], Value::Null);
    assert_eq!(shown["type"], "trusted");
    assert_eq!(shown["allowedServices"], json!(["wicket"]));
    assert_eq!(shown["membership"]["role"], "owner");
    assert_eq!(shown["membership"]["status"], "approved");
    assert_eq!(shown["membership"]["memberCount"], 3);
    assert!(shown["createdAt"].as_str().unwrap().ends_with('Z'));

    let key = people.member.put(&people.member_path("/key"), json!({})).await.expect(200);
    let seen = people.member.get(&people.path("")).await.expect(200);
    assert_eq!(
        seen["membership"],
        json!({ "id": people.member_id, "role": "member", "status": "approved", "memberCount": 3 })
    );
    assert_eq!(seen["key"], json!({ "displaySuffix": key["displaySuffix"], "lastUsedAt": null }));
    let secret = key["key"].as_str().unwrap();
    assert_eq!(key["displaySuffix"], format!("…{}", &secret[secret.len() - 4..]));
    // Nobody sees the key of somebody else, nor the key itself again.
    for person in [&people.owner, &people.member] {
        for path in ["", "/members", "/onboarding"] {
            let answer = person.get(&people.path(path)).await;
            answer.expect(200);
            assert!(!String::from_utf8_lossy(&answer.body).contains(secret), "{path}");
        }
    }
    assert_eq!(people.owner.get(&people.path("")).await.expect(200)["key"], Value::Null);
    assert_eq!(people.pending.get(&people.path("")).await.expect(200)["membership"]["status"], "pending");
    people.stranger.get(&people.path("")).await.expect(404);
    people.nobody.get(&people.path("")).await.expect(401);
}

#[tokio::test]
async fn only_the_owner_changes_an_agent() {
    let (gate, people) = setup().await;
    let changes = [
        (Method::PUT, "", json!({ "name": "other" })),
        (Method::PUT, "/status", json!({ "status": "disabled" })),
        (Method::PUT, "/services", json!({ "services": [] })),
        (Method::DELETE, "", Value::Null),
    ];
    for (method, path, body) in &changes {
        let body = (!body.is_null()).then(|| body.clone());
        let path = people.path(path);
        for (who, person, status) in [
            ("member", &people.member, 403),
            ("pending", &people.pending, 403),
            ("stranger", &people.stranger, 404),
            ("nobody", &people.nobody, 401),
        ] {
            let answer = person.send(method.clone(), &path, body.clone(), &[]).await;
            assert_eq!(answer.status.as_u16(), status, "{who} {method} {path}: {answer:?}");
        }
        let weak = gate.account_with("olga@example.com", &["agents:read"]).await;
        assert_eq!(
            weak.send(method.clone(), &path, body.clone(), &[]).await.expect(403)["code"],
            "scope_missing"
        );
    }
    let shown = people.owner.get(&people.path("")).await.expect(200);
    assert_eq!((&shown["name"], &shown["status"]), (&json!("people"), &json!("active")));
    for (method, path, body) in changes {
        let body = (!body.is_null()).then_some(body);
        let status = if method == Method::DELETE { 204 } else { 200 };
        people.owner.send(method, &people.path(path), body, &[]).await.expect(status);
    }
    people.owner.get(&people.path("")).await.expect(404);
    people.member.get(&people.path("")).await.expect(404);
    let changes = gate.journal();
    let by: Vec<_> = (changes.entries.iter())
        .filter(|entry| entry["what"] == "agent.delete" && entry["phase"] == "completed")
        .map(|entry| entry["who"].as_str().unwrap().to_owned())
        .collect();
    assert!(by.len() == 1 && by[0].starts_with("account:olga@example.com via:"), "{by:?}");
}

#[tokio::test]
async fn what_is_wrong_with_an_agent_is_said_with_its_field() {
    let (_gate, people) = setup().await;
    let many: Vec<String> = (0..33).map(|n| format!("t{n}")).collect();
    for (body, field) in [
        (json!({ "name": "" }), "body.name"),
        (json!({ "name": " a" }), "body.name"),
        (json!({ "name": "x".repeat(101) }), "body.name"),
        (json!({ "name": "a\u{7}b" }), "body.name"),
        (json!({ "name": "a", "tags": [""] }), "body.tags"),
        (json!({ "name": "a", "tags": ["x", "x"] }), "body.tags"),
        (json!({ "name": "a", "tags": many }), "body.tags"),
        (json!({ "name": "a", "allowedServices": ["nothub"] }), "body.allowedServices"),
    ] {
        let problem = people.owner.post("/api/agents", body.clone()).await.expect(400);
        assert_eq!(problem["errors"][0]["field"], field, "{body}: {problem}");
    }
    for body in
        [json!({}), json!({ "name": "a", "type": "half" }), json!({ "name": "a", "colour": 1 }), json!([])]
    {
        people.owner.post("/api/agents", body).await.expect(400);
    }
    let unknown =
        people.owner.put(&people.path("/services"), json!({ "services": ["nothub"] })).await.expect(400);
    assert!(unknown["help"].as_str().unwrap().contains("`wicket`"), "{unknown}");
    people.owner.put(&people.path(""), json!({})).await.expect(422);
    people.owner.put(&people.path("/status"), json!({ "status": "off" })).await.expect(400);
    let taken = people.stranger.post("/api/agents", json!({ "name": "people" })).await.expect(409);
    assert_eq!(taken["code"], "conflict");
    for query in [
        "limit=0",
        "limit=501",
        "offset=1000001",
        "sortBy=age",
        "sortDir=up",
        "status=on",
        "role=admin",
        "colour=1",
        "search=%07",
    ] {
        let problem = people.owner.get(&format!("/api/agents?{query}")).await.expect(400);
        let field = problem["errors"][0]["field"].as_str().unwrap();
        let name = query.split('=').next().unwrap();
        assert!(field == "query" || field == format!("query.{name}"), "{query}: {problem}");
    }
}

#[tokio::test]
async fn lists_hold_what_the_account_has_a_part_in_sorted_searched_and_paged() {
    let (gate, people) = setup().await;
    let mona = &people.member;
    for (name, tags) in [("Beta", json!(["eng", "Über"])), ("alpha", json!(["ops"])), ("gamma_1", json!([]))]
    {
        mona.post("/api/agents", json!({ "name": name, "tags": tags })).await.expect(201);
    }
    gate.admin(json!({ "do": "agent_create", "name": "of the machine", "trust": "trusted", "services": [] }))
        .await;
    let names = async |query: &str| {
        let list = mona.get(&format!("/api/agents{query}")).await.expect(200);
        (each(&list["agents"], "name"), list["total"].as_u64().unwrap())
    };
    let all = ["alpha", "Beta", "gamma_1", "people"];
    assert_eq!(names("").await, (all.map(str::to_owned).to_vec(), 4));
    for (query, expected) in [
        ("?sortDir=desc", &["people", "gamma_1", "Beta", "alpha"][..]),
        ("?sortBy=createdAt", &["people", "Beta", "alpha", "gamma_1"]),
        ("?sortBy=memberCount&sortDir=desc&limit=1", &["people"]),
        ("?role=owner", &["alpha", "Beta", "gamma_1"]),
        ("?role=member", &["people"]),
        ("?search=ETA", &["Beta"]),
        ("?search=%C3%BCb", &["Beta"]),
        ("?search=ops", &["alpha"]),
        ("?search=a_1", &["gamma_1"]),
        ("?search=a%25", &[]),
        ("?search=", &["alpha", "Beta", "gamma_1", "people"]),
        ("?status=disabled", &[]),
        ("?status=active&search=machine", &[]),
    ] {
        assert_eq!(names(query).await.0, expected, "{query}");
    }
    let mut paged = Vec::new();
    for offset in 0..4 {
        let (page, total) = names(&format!("?limit=1&offset={offset}")).await;
        assert_eq!((page.len(), total), (1, 4));
        paged.extend(page);
    }
    assert_eq!(paged, all);
    let beta =
        mona.get("/api/agents?search=beta").await.expect(200)["agents"][0]["id"].as_str().unwrap().to_owned();
    mona.put(&format!("/api/agents/{beta}"), json!({ "name": "Delta", "tags": ["new"] })).await.expect(200);
    assert_eq!(names("?search=beta").await.0, Vec::<String>::new());
    assert_eq!(names("?search=NEW").await.0, ["Delta"]);
    // A membership that was rejected is none.
    let path = people.path(&format!("/members/{}/reject", people.pending_id));
    people.owner.send(Method::POST, &path, None, &[]).await.expect(200);
    assert_eq!(people.pending.get("/api/agents").await.expect(200), json!({ "agents": [], "total": 0 }));
    assert_eq!(people.owner.get(&people.path("")).await.expect(200)["membership"]["memberCount"], 2);
}

#[tokio::test]
async fn two_editors_do_not_lose_each_others_change() {
    let (_gate, people) = setup().await;
    let path = people.path("");
    let first = people.owner.get(&path).await;
    let seen = first.header("etag").unwrap().to_owned();
    let edit = |tag: &'static str| json!({ "tags": [tag] });
    let with = |etag: &str| vec![("if-match".to_owned(), etag.to_owned())];
    let send = async |method: Method, path: &str, body: Option<Value>, etag: &str| {
        let headers = with(etag);
        let headers: Vec<(&str, &str)> = headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        people.owner.send(method, path, body, &headers).await
    };
    let changed = send(Method::PUT, &path, Some(edit("one")), &seen).await;
    changed.expect(200);
    let now = changed.header("etag").unwrap().to_owned();
    assert_ne!(now, seen);
    assert_eq!(people.owner.get(&path).await.header("etag"), Some(&*now));
    let late = send(Method::PUT, &path, Some(edit("two")), &seen).await.expect(412);
    assert_eq!(late["code"], "precondition_failed");
    send(Method::PUT, &people.path("/status"), Some(json!({ "status": "disabled" })), &seen)
        .await
        .expect(412);
    send(Method::PUT, &people.path("/services"), Some(json!({ "services": [] })), &seen).await.expect(412);
    send(Method::DELETE, &path, None, &seen).await.expect(412);
    send(Method::PUT, &path, Some(edit("x")), "no quotes").await.expect(400);
    let shown = people.owner.get(&path).await.expect(200);
    assert_eq!((&shown["tags"], &shown["status"]), (&json!(["one"]), &json!("active")));
    send(Method::PUT, &path, Some(edit("three")), &format!("\"old\", {now}")).await.expect(200);
    people.owner.put(&path, edit("four")).await.expect(200);
    // Of editors who saw the same, one alone gets through.
    let seen = people.owner.get(&path).await.header("etag").unwrap().to_owned();
    let all = futures_util::future::join_all(
        (0..8).map(|n| send(Method::PUT, &path, Some(json!({ "tags": [format!("t{n}")] })), &seen)),
    )
    .await;
    let through = all.iter().filter(|answer| answer.status == 200).count();
    assert_eq!(through, 1, "{:?}", all.iter().map(|answer| answer.status).collect::<Vec<_>>());
}

#[tokio::test]
async fn connectors_and_their_tools_are_shown_to_whoever_is_signed_in() {
    let (_gate, people) = setup().await;
    let meta = people.stranger.get("/api/connectors/meta").await.expect(200);
    assert_eq!(meta["total"], 1);
    let wicket = &meta["connectors"][0];
    assert_eq!(
        (&wicket["service"], &wicket["transport"], &wicket["oauth"]),
        (&json!("wicket"), &json!("inProcess"), &json!(false))
    );
    assert_eq!(wicket["tiers"]["read"].as_u64().unwrap(), 4);
    assert_eq!(wicket["resourceKinds"], json!(["Service"]));
    assert!(wicket["description"].as_str().is_some());
    people.nobody.get("/api/connectors/meta").await.expect(401);

    let catalog = people.stranger.get("/api/tools/catalog?service=wicket").await.expect(200);
    assert_eq!(catalog["total"], 4);
    let tools = &catalog["services"][0]["tools"];
    assert!(each(tools, "prefixedName").contains(&"wicket__whoami".to_owned()), "{tools}");
    assert_eq!(tools[0]["inputSchemaDigest"].as_str().unwrap().len(), "sha256:".len() + 64);
    assert_eq!((&tools[0]["tier"], &tools[0]["quarantined"]), (&json!("read"), &json!(false)));
    assert!(tools[0]["description"].as_str().is_some_and(|text| !text.is_empty()));
    let unknown = people.stranger.get("/api/tools/catalog?service=nothub").await.expect(400);
    assert_eq!(unknown["errors"][0]["field"], "query.service");
}
