//! What a caller sees of tools: a list shows what could be permitted now, and hides nothing else; what is
//! hidden is refused when it is called all the same; hundreds of tools can be searched; names are never
//! longer than clients take.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Client, Connector, Gate, GateOptions, until};
use crate::recorder::{Recorder, RecorderOptions, definitions};

const STATELESS: &str = "2026-07-28";

/// Lists as a client of the stateless era does; the result.
async fn stateless_list(client: &Client) -> Value {
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": STATELESS,
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": meta}});
    let mut request = client.request(body.to_string());
    let headers = request.headers_mut();
    headers.insert("mcp-protocol-version", STATELESS.parse().unwrap());
    headers.insert("mcp-method", "tools/list".parse().unwrap());
    let reply = client.send(request).await;
    reply.result().unwrap_or_else(|| panic!("{reply:?}"))
}

async fn lists(client: &Client, tool: &str) -> bool {
    client.tool_names().await.iter().any(|name| name == tool)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hidden_tool_is_not_listed_and_its_call_is_denied() {
    let dir = tempfile::tempdir().unwrap();
    let upstream = Recorder::start(dir.path(), RecorderOptions::default()).await;
    let connector = Connector::http("recorder", &upstream.url(), definitions());
    let policies = r#"
        @id("none") forbid(principal, action == Recorder::Action::"count", resource);
        @id("some") forbid(principal, action == Recorder::Action::"echo", resource)
        when { context has args.nonce && context.args.nonce == "bad" };
    "#;
    let gate = Gate::start(GateOptions::new(vec![connector]).with_policy("own.cedar", policies)).await;
    let client = gate.client();

    assert!(!lists(&client, "recorder__count").await, "denied whatever the arguments are");
    assert!(lists(&client, "recorder__echo").await, "denied for some arguments only");
    let denied = client.call("recorder__count", json!({})).await.error().unwrap();
    assert_eq!((denied.code, &denied.data["reason"]), (-32600, &json!("forbidden")));
    assert!(client.call("recorder__echo", json!({"nonce": "bad"})).await.error().is_some());
    assert!(client.call("recorder__echo", json!({"nonce": "good"})).await.succeeded());
    assert_eq!(upstream.calls().len(), 1);
    assert_eq!(gate.journal().calls("denial").len(), 2);

    // An edit is seen by the next list.
    gate.write_policy(
        "own.cedar",
        "@id(\"none\") forbid(principal, action == Recorder::Action::\"echo\", resource);",
    );
    until("the edit to be in force", Duration::from_secs(10), async || {
        lists(&client, "recorder__count").await.then_some(())
    })
    .await;
    assert!(!lists(&client, "recorder__echo").await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_that_is_reached_takes_the_tool_from_the_list() {
    let dir = tempfile::tempdir().unwrap();
    let upstream = Recorder::start(dir.path(), RecorderOptions::default()).await;
    let connector = Connector::http("recorder", &upstream.url(), definitions());
    let policies = r#"
        @id("twice") @show("actionable") @denyMessage("two a day")
        forbid(principal, action == Recorder::Action::"echo", resource)
        when { context.member.toolsUsed["recorder:echo"] >= 2 };
    "#;
    let gate = Gate::start(GateOptions::new(vec![connector]).with_policy("own.cedar", policies)).await;
    let client = gate.client();
    for calls in 0..2 {
        assert!(lists(&client, "recorder__echo").await, "{calls}");
        let page = stateless_list(&client).await;
        assert_eq!((&page["resultType"], &page["cacheScope"]), (&json!("complete"), &json!("private")));
        assert_eq!(page["ttlMs"], 0, "the next call may change the list");
        assert!(client.call("recorder__echo", json!({})).await.succeeded());
    }
    assert!(!lists(&client, "recorder__echo").await);
    let taught = client.call("recorder__echo", json!({})).await.error().unwrap().data;
    let limit = json!({"policy": "twice", "scope": "member", "counter": "toolsUsed[\"recorder:echo\"]",
        "limit": 2, "value": 2});
    assert_eq!(
        (&taught["denyMessage"], &taught["limits"]),
        (&json!("two a day"), &json!([limit])),
        "{taught}"
    );
    let wait_s = taught["retryAfterSeconds"].as_u64().unwrap();
    assert!((86_400..=86_700).contains(&wait_s) && taught["opensAt"].is_string(), "{taught}");
    assert_eq!(upstream.calls().len(), 2);
    // Far from every limit nothing changes soon.
    let other = gate.new_member("other", "bob", &["recorder".to_owned()]).await;
    gate.write_policy("own.cedar", &policies.replace(">= 2", ">= 200"));
    let bob = Client::new(gate.agents(), &other);
    until("the edit to be in force", Duration::from_secs(10), async || {
        (stateless_list(&bob).await["ttlMs"] == 60_000).then_some(())
    })
    .await;
    gate.remove_policy("own.cedar");
    until("the edit to be in force", Duration::from_secs(10), async || {
        (stateless_list(&bob).await["ttlMs"] == 300_000).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_listed_for_brevity_is_found_and_called() {
    let dir = tempfile::tempdir().unwrap();
    let upstream = Recorder::start(dir.path(), RecorderOptions::default()).await;
    let connector = Connector::http("recorder", &upstream.url(), definitions());
    let policy = r#"@id("none") forbid(principal, action == Recorder::Action::"count", resource);"#;
    let options = GateOptions::new(vec![connector]).with_policy("own.cedar", policy);
    let everything = Gate::start(options.clone()).await;
    let page = everything.client().rpc("tools/list", json!({})).await.result().unwrap();
    let echo =
        page["tools"].as_array().unwrap().iter().find(|tool| tool["name"] == "recorder__echo").cloned();
    assert!(!lists(&everything.client(), "wicket__search_tools").await, "few tools need no search");

    let search = "[tools]\npresentation = \"search\"\npinned = [\"recorder__hold\"]\n";
    let gate = Gate::start(options.with_config(search)).await;
    let client = gate.client();
    let listed: BTreeSet<String> = client.tool_names().await.into_iter().collect();
    let own = ["explain", "search_tools", "session", "whoami"].map(|tool| format!("wicket__{tool}"));
    let others: Vec<&String> = listed.iter().filter(|name| !own.contains(*name)).collect();
    assert!(own.iter().all(|name| listed.contains(name)), "{listed:?}");
    assert_eq!(others, ["recorder__hold"], "{listed:?}");

    let found = client.call("wicket__search_tools", json!({"query": "echo"})).await.result().unwrap();
    let tools = found["structuredContent"]["tools"].as_array().unwrap().clone();
    assert_eq!(tools.first(), echo.as_ref());
    let text: Value = serde_json::from_str(found["content"][0]["text"].as_str().unwrap()).unwrap();
    assert_eq!(text, found["structuredContent"]);
    assert!(client.call("recorder__echo", json!({})).await.succeeded());
    // The search shows no more than the list would.
    let hidden = client.call("wicket__search_tools", json!({"query": "count", "limit": 50})).await;
    let names = hidden.result().unwrap()["structuredContent"]["tools"].clone();
    assert!(names.as_array().unwrap().iter().all(|tool| tool["name"] != "recorder__count"), "{names}");
    for wrong in [
        json!({}),
        json!({"query": 1}),
        json!({"query": "a", "limit": 0}),
        json!({"query": "a", "service": 1}),
    ] {
        let reply = client.call("wicket__search_tools", wrong.clone()).await.result().unwrap();
        assert_eq!(reply["isError"], true, "{wrong}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_clients_would_cut_is_short_and_leads_to_its_tool() {
    let dir = tempfile::tempdir().unwrap();
    let upstream = Recorder::start(dir.path(), RecorderOptions::default()).await;
    let long = "echo_".repeat(20);
    let mut offered = definitions();
    offered[0]["name"] = json!(long);
    upstream.serve_definitions(offered.clone());
    let connector = Connector::http("recorder", &upstream.url(), offered);
    let gate = Gate::start(GateOptions::new(vec![connector])).await;
    let client = gate.client();
    let listed = client.tool_names().await;
    let short = listed.iter().find(|name| name.starts_with("recorder__echo_echo")).unwrap();
    assert!(listed.iter().all(|name| name.len() <= 64), "{listed:?}");
    for name in [short.as_str(), &format!("recorder__{long}")] {
        let reply = client.call(name, json!({})).await;
        assert!(upstream.calls().last().is_some_and(|call| call.tool == long), "{name}: {reply:?}");
    }
    assert_eq!(upstream.calls().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_denial_tells_what_its_policy_lets_it_and_else_what_the_gate_does() {
    let dir = tempfile::tempdir().unwrap();
    let upstream = Recorder::start(dir.path(), RecorderOptions::default()).await;
    let connector = Connector::http("recorder", &upstream.url(), definitions());
    let policies = r#"
        @id("silent") @denyMessage("not said") forbid(principal, action == Recorder::Action::"echo", resource);
        @id("own") @show("plain") @denyMessage("said") forbid(principal, action == Recorder::Action::"count", resource);
    "#;
    for (show, of_silent) in [("hidden", None), ("plain", Some("not said")), ("actionable", Some("not said"))]
    {
        let options = GateOptions::new(vec![connector.clone()])
            .with_policy("own.cedar", policies)
            .with_config(&format!("[policies]\nshow = \"{show}\"\n"));
        let gate = Gate::start(options).await;
        let form = json!({ "name": "Stored", "effect": "forbid", "service": "recorder", "tools": ["hold"],
            "denyMessage": "stored", "show": "actionable" });
        let file = gate.dir().join("form.json");
        std::fs::write(&file, form.to_string()).unwrap();
        let (fine, page) =
            gate.command(&["policy", "create", "--agent", "tester", file.to_str().unwrap()]).await;
        assert!(fine, "{page}");
        let client = gate.client();
        let told = async |tool: &str| {
            let data = client.call(tool, json!({})).await.error().unwrap().data;
            (data["denyMessage"].as_str().map(str::to_owned), data["policies"].is_array())
        };
        let said = |text: &str, named: bool| (Some(text.to_owned()), named);
        let silent = (of_silent.map(str::to_owned), show == "actionable");
        assert_eq!(told("recorder__echo").await, silent, "{show}");
        assert_eq!(told("recorder__count").await, said("said", false), "{show}");
        assert_eq!(told("recorder__hold").await, said("stored", true), "{show}");
    }
}
