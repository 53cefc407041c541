//! What clients hear without asking, through the gate from a real server (PyPI `mcp` 2.x) of either era:
//! lists of prompts, resources and templates; a resource that is updated reaches whoever subscribed, on the
//! stream of a session and on `subscriptions/listen`; what was missed is sent again; revocation cuts.
//!
//! Needs what `make tools` installs; says so where it is missing.

#[path = "streams/heard.rs"]
mod heard;

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use hyper::Method;
use serde_json::{Value, json};
use tokio::process::{Child, Command};

pub use self::heard::{Events, get, python, stateless};
use crate::harness::{Client, Connector, Gate, GateOptions, until};
use crate::recorder::{Recorder, RecorderOptions, definitions};

/// No event takes longer on a loaded machine.
pub const EVENT_MAX: Duration = Duration::from_secs(20);
/// A server in Python needs a while to start on one.
const SERVER_MAX: Duration = Duration::from_secs(60);
pub const OPEN: &str = "@id(\"all\")\npermit (principal, action, resource);\n";

/// One server of the SDK.
pub struct Server {
    _child: Child,
    pub url: String,
}

impl Server {
    async fn start(era: &str, name: &str) -> Option<Self> {
        Self::run(era, &["tests/upstreams/news.py", "PORT", era, name]).await
    }

    /// A script of the SDK's, `PORT` replaced.
    async fn run(era: &str, script: &[&str]) -> Option<Self> {
        let python = python(&format!("streams-{era}"))?;
        let port = {
            let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            free.local_addr().unwrap().port()
        };
        Some(Self::run_on(port, &python, script).await)
    }

    /// The same, on this port.
    pub async fn run_on(port: u16, python: &Path, script: &[&str]) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let child = Command::new(python)
            .arg("-B")
            .args(script.iter().map(|word| word.replace("PORT", &port.to_string())))
            .current_dir(root)
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        until("the server to listen", SERVER_MAX, async || {
            tokio::net::TcpStream::connect(("127.0.0.1", port)).await.ok().map(drop)
        })
        .await;
        Self { _child: child, url: format!("http://127.0.0.1:{port}/mcp") }
    }

    fn connector(&self, name: &str) -> Connector {
        let schema = json!({ "type": "object", "properties": { "uri": { "type": "string" } } });
        let tools = ["touch", "grow"].map(|name| json!({ "name": name, "inputSchema": schema }));
        Connector::http(name, &self.url, tools.to_vec())
    }
}

pub async fn setup(era: &str) -> Option<(Server, Gate)> {
    let server = Server::start(era, "news").await?;
    let options = GateOptions::new(vec![server.connector("news")])
        .with_policy("open.cedar", OPEN)
        .with_config("[limits]\ntools_page_max = 2\n");
    Some((server, Gate::start(options).await))
}

pub const UPDATED: &str = "notifications/resources/updated";

pub async fn touch(client: &Client, uri: &str) {
    let reply = client.call("news__touch", json!({ "uri": uri })).await;
    assert!(reply.succeeded(), "{reply:?}");
}

async fn names(client: &Client, method: &str, key: &str, name: &str) -> Vec<String> {
    let (mut names, mut cursor) = (Vec::new(), None);
    loop {
        let params = cursor.map_or_else(|| json!({}), |cursor: String| json!({ "cursor": cursor }));
        let result = client.rpc(method, params).await.result().unwrap();
        let page = result[key].as_array().unwrap_or_else(|| panic!("{result}"));
        assert!(page.len() <= 2, "{result}");
        names.extend(page.iter().map(|entry| entry[name].as_str().unwrap().to_owned()));
        match result["nextCursor"].as_str() {
            Some(next) => cursor = Some(next.to_owned()),
            None => return names,
        }
    }
}

async fn lists(era: &str) {
    let Some((_server, gate)) = setup(era).await else { return };
    let mut client = gate.client();
    client.initialize().await;
    assert_eq!(names(&client, "prompts/list", "prompts", "name").await, ["news__greet", "news__part"]);
    let uris = names(&client, "resources/list", "resources", "uri").await;
    assert_eq!(uris, ["news://one", "news://two", "shared://both"]);
    let templates = names(&client, "resources/templates/list", "resourceTemplates", "uriTemplate").await;
    assert_eq!(templates, ["news://item/{id}"]);
    let refused = client.rpc("prompts/list", json!({ "cursor": "made-up" })).await;
    assert_eq!(refused.error().unwrap().code, -32602);
    // What a template matches finds its server.
    let read = client.rpc("resources/read", json!({ "uri": "news://item/7" })).await;
    assert_eq!(read.result().unwrap()["contents"][0]["text"], "of news");
    let nobody = client.rpc("resources/read", json!({ "uri": "nowhere://x" })).await;
    assert!(nobody.error().is_some(), "{nobody:?}");
    let journal = gate.journal();
    let mut recorded = journal.entries.iter().map(Value::to_string);
    assert!(recorded.any(|entry| entry.contains(r#"Wicket::Resource::\"nowhere://x\""#)), "{recorded:?}");

    let client = gate.client();
    let listed =
        client.send(stateless(&client, "l", "prompts/list", None, json!({}))).await.result().unwrap();
    assert_eq!(listed["resultType"], "complete");
    assert_eq!(listed["cacheScope"], "private");
    assert!(listed["ttlMs"].as_u64().is_some(), "{listed}");
    assert_eq!(listed["_meta"]["io.modelcontextprotocol/serverInfo"]["name"], "wicket");
    assert_eq!(listed["prompts"][0]["title"], "A é greet", "an entry loses nothing");

    // Policies decide what is listed.
    gate.write_policy(
        "closed.cedar",
        "@id(\"no-prompts\")\nforbid (principal, action == News::Action::\"prompts/list\", resource);\n",
    );
    until("the policy to hold", EVENT_MAX, async || {
        let result = client.rpc("prompts/list", json!({})).await.result().unwrap();
        result["prompts"].as_array().unwrap().is_empty().then_some(())
    })
    .await;
    assert_eq!(names(&client, "resources/list", "resources", "uri").await.len(), 3);
    for (operation, allowed) in [("prompts/list", false), ("resources/list", true)] {
        let asked = json!({ "tool": format!("news__{operation}") });
        let said = client.call("wicket__explain", asked).await.result().unwrap();
        let said: Value = serde_json::from_str(said["content"][0]["text"].as_str().unwrap()).unwrap();
        assert_eq!(said["allowed"], allowed, "{said}");
        assert_eq!(said["action"], format!("News::Action::\"{operation}\""), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prompts_and_resources_of_the_session_era_are_listed_by_pages() {
    lists("session").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prompts_and_resources_of_the_stateless_era_are_listed_by_pages() {
    lists("stateless").await;
}

/// Touches until the event is there: the gate's own subscription may take a moment to reach the server.
async fn touched_until_heard(client: &Client, uri: &str, events: &mut Events) -> Value {
    for _ in 0..20 {
        touch(client, uri).await;
        let heard = tokio::time::timeout(Duration::from_secs(1), events.next_of(UPDATED)).await;
        if let Ok(message) = heard {
            return message;
        }
    }
    panic!("nothing is heard of {uri}");
}

async fn a_session_hears(era: &str) {
    let Some((_server, gate)) = setup(era).await else { return };
    let mut client = gate.client();
    let sessionless = get(&client, None).await;
    assert_eq!(sessionless.status(), 405, "without a session there is no stream");
    client.initialize().await;
    let mut first = Events::of(get(&client, None).await).primed().await;
    let subscribed = client.rpc("resources/subscribe", json!({ "uri": "news://one" })).await;
    assert!(subscribed.succeeded(), "{subscribed:?}");
    let message = touched_until_heard(&client, "news://one", &mut first).await;
    assert_eq!(message["params"]["uri"], "news://one");
    assert!(message["params"]["_meta"].is_null(), "another's subscription: {message}");

    // A second stream takes over: the first ends in order.
    let second = Events::of(get(&client, first.last.as_deref()).await).primed().await;
    while let Some(_late) = first.try_next().await.unwrap() {}
    let last = second.last.clone().or(first.last.clone());

    // Broken: what comes meanwhile is sent again.
    drop(second);
    let subscribed = client.rpc("resources/subscribe", json!({ "uri": "news://two" })).await;
    assert!(subscribed.succeeded(), "{subscribed:?}");
    crate::harness::pause(1_000).await;
    touch(&client, "news://two").await;
    crate::harness::pause(1_000).await;
    let mut third = Events::of(get(&client, last.as_deref()).await);
    let missed = loop {
        let message = third.next_of(UPDATED).await;
        if message["params"]["uri"] == "news://two" {
            break message;
        }
    };
    assert_eq!(missed["params"]["uri"], "news://two");

    // Lists change.
    assert!(client.call("news__grow", json!({})).await.succeeded());
    third.next_of("notifications/prompts/list_changed").await;
    let prompts = names(&client, "prompts/list", "prompts", "name").await;
    assert_eq!(prompts.len(), 3, "{prompts:?}");

    // An id of another life says nothing: everything is said anew.
    drop(third);
    let mut anew = Events::of(get(&client, Some("u-00000000-7")).await);
    anew.next_of("notifications/tools/list_changed").await;

    // The session ends, and its stream with it.
    let mut ended = client.request("");
    *ended.method_mut() = Method::DELETE;
    assert_eq!(client.open(ended).await.status(), 204);
    while let Some(_late) = anew.try_next().await.unwrap() {}
    assert_eq!(get(&client, None).await.status(), 404);
    gate.assert_no_panic();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_hears_a_server_of_the_session_era() {
    a_session_hears("session").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_hears_a_server_of_the_stateless_era() {
    a_session_hears("stateless").await;
}

async fn a_listener_hears(era: &str) {
    let Some((_server, mut gate)) = setup(era).await else { return };
    let client = gate.client();
    let asked = json!({ "notifications": {
        "promptsListChanged": true,
        "resourceSubscriptions": ["news://one", "nowhere://x"],
    } });
    let request = stateless(&client, "listen-1", "subscriptions/listen", None, asked);
    let mut events = Events::of(client.open(request).await);
    let tag = "io.modelcontextprotocol/subscriptionId";
    let first = events.next().await;
    assert_eq!(first["method"], "notifications/subscriptions/acknowledged", "{first}");
    assert_eq!(first["params"]["_meta"][tag], "listen-1");
    let honoured = json!({ "promptsListChanged": true, "resourceSubscriptions": ["news://one"] });
    assert_eq!(first["params"]["notifications"], honoured);

    let updated = touched_until_heard(&client, "news://one", &mut events).await;
    assert_eq!(
        (&updated["params"]["uri"], &updated["params"]["_meta"][tag]),
        (&json!("news://one"), &json!("listen-1"))
    );
    assert!(client.call("news__grow", json!({})).await.succeeded());
    let grown = events.next_of("notifications/prompts/list_changed").await;
    assert_eq!(grown["params"]["_meta"][tag], "listen-1");
    assert_eq!(events.last, None, "the stateless era knows no ids of events");

    // It was decided and recorded like any other request.
    let journal = gate.journal();
    let recorded =
        journal.intents().values().any(|intent| intent.to_string().contains("resources/subscribe"));
    assert!(recorded, "no record of the subscription");

    // The gate stops: the stream is torn down, and ends with a result.
    let stopping = tokio::spawn(async move { gate.stop().await });
    let torn_down = events.next_of("notifications/cancelled").await;
    assert_eq!(torn_down["params"]["requestId"], "listen-1", "{torn_down}");
    assert_eq!(torn_down["params"]["_meta"][tag], "listen-1");
    let result = events.next().await;
    assert_eq!(result["id"], "listen-1", "nothing in between: {result}");
    assert_eq!(result["result"]["resultType"], "complete", "{result}");
    assert_eq!(result["result"]["_meta"][tag], "listen-1");
    assert_eq!(events.try_next().await, Ok(None));
    assert!(stopping.await.unwrap().success());
}

/// However long it is, and written out in JSON each of these URIs takes six bytes a letter.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_filter_is_acknowledged() {
    let Some((_server, gate)) = setup("session").await else { return };
    let uris: Vec<String> = (0..64).map(|n| format!("news://one/{n}{}", "\u{1}".repeat(900))).collect();
    let asked = json!({ "notifications": { "resourceSubscriptions": uris } });
    let client = gate.client();
    let request = stateless(&client, "long", "subscriptions/listen", None, asked);
    let first = Events::of(client.open(request).await).next().await;
    assert_eq!(first["params"]["notifications"]["resourceSubscriptions"], json!(uris), "{}", first["method"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_hears_a_server_of_the_session_era() {
    a_listener_hears("session").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_hears_a_server_of_the_stateless_era() {
    a_listener_hears("stateless").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revocation_cuts_every_stream_and_a_forbidden_update_reaches_nobody() {
    let Some((_server, gate)) = setup("session").await else { return };
    let key = gate.new_member("tester", "bob", &[]).await;
    let mut bob = Client::new(gate.agents(), &key);
    bob.initialize().await;
    let mut unasked = Events::of(get(&bob, None).await).primed().await;
    let asked = json!({ "notifications": { "resourceSubscriptions": ["news://one"] } });
    let listen = stateless(&gate.client(), "1", "subscriptions/listen", None, asked.clone());
    let mut alice = Events::of(gate.client().open(listen).await);
    alice.next().await;
    let stateless_bob = Client::new(gate.agents(), &key);
    let listen = stateless(&stateless_bob, "2", "subscriptions/listen", None, asked);
    let mut listening = Events::of(stateless_bob.open(listen).await);
    listening.next().await;

    let keys = gate.admin(json!({ "do": "key_list", "agent": "tester", "member": "bob" })).await;
    gate.admin(json!({ "do": "key_revoke", "key": keys[0]["id"] })).await;
    for (events, torn_down) in [(&mut unasked, 0), (&mut listening, 1)] {
        let mut told = 0;
        loop {
            match events.try_next().await {
                Ok(Some(message)) if message["method"] == "notifications/cancelled" => {
                    assert_eq!(message["params"]["requestId"], "2", "{message}");
                    told += 1;
                }
                Ok(Some(message)) => assert_eq!(message.get("result"), None, "a cut stream looks complete"),
                Ok(None) => panic!("a cut stream ends in order"),
                Err(why) => {
                    assert_ne!(why, "a hang");
                    break;
                }
            }
        }
        assert_eq!(told, torn_down, "of the stateless era alone");
    }
    // The other key's stream goes on.
    touched_until_heard(&gate.client(), "news://one", &mut alice).await;

    // What may not be subscribed to any more is not told any more.
    gate.write_policy(
        "closed.cedar",
        "@id(\"no-updates\")\nforbid (principal, action == News::Action::\"resources/subscribe\", resource);\n",
    );
    let client = gate.client();
    until("the policy to hold", EVENT_MAX, async || {
        let asked = client.rpc("resources/subscribe", json!({ "uri": "news://one" })).await;
        asked.error().map(|error| {
            assert!(error.message.contains("operation 'resources/subscribe' is not permitted"), "{asked:?}");
        })
    })
    .await;
    touch(&client, "news://one").await;
    let mut last = Value::Null;
    while let Some(message) = alice.try_next().await.unwrap() {
        last = message;
    }
    assert_eq!(last["error"]["data"]["reason"], "subscription_withdrawn", "{last}");
}

/// A reply that is streamed to a session goes on over another connection; one that broke does not look whole
/// there either.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_comes_back_for_a_reply_with_the_id_of_its_last_event() {
    let dir = tempfile::tempdir().unwrap();
    let upstream = Recorder::start(dir.path(), RecorderOptions::default()).await;
    let gate =
        Gate::start(GateOptions::new(vec![Connector::http("recorder", &upstream.url(), definitions())]))
            .await;
    let mut client = gate.client();
    client.initialize().await;
    let mut first = Events::of(
        client.open(client.request(client.streamed_body("recorder__hold", &json!({ "key": "k" })))).await,
    );
    assert_eq!(first.next().await["method"], "notifications/progress");
    let last = first.last.clone().expect("events have ids");
    drop(first);
    let mut second = Events::of(get(&client, Some(&last)).await);
    upstream.release("k");
    let answer = second.next().await;
    assert!(answer["result"].is_object(), "{answer}");
    assert_eq!(second.try_next().await, Ok(None));
    // Once more from the very beginning: all of it is given again.
    let prime = format!("{}0", last.trim_end_matches(|c: char| c.is_ascii_digit()));
    let mut third = Events::of(get(&client, Some(&prime)).await);
    assert_eq!(third.next().await["method"], "notifications/progress");
    assert_eq!(third.next().await, answer);
    assert_eq!(third.try_next().await, Ok(None));

    // Nor is that of a reply whose service was taken from the agent.
    let services = |what: &str| {
        let change = json!({ what: ["recorder"] });
        gate.admin(json!({ "do": "agent_services", "agent": "tester", "services": change }))
    };
    services("remove").await;
    let mut taken = Events::of(get(&client, Some(&prime)).await);
    let heard = taken.next().await;
    assert_eq!(heard["method"], "notifications/tools/list_changed", "{heard}");
    drop(taken);
    services("add").await;

    // Another member's id is nothing.
    let key = gate.new_member("tester", "bob", &[]).await;
    let mut bob = Client::new(gate.agents(), &key);
    bob.initialize().await;
    let mut foreign = Events::of(get(&bob, Some(&prime)).await);
    let heard = foreign.next().await;
    assert_eq!(heard["method"], "notifications/tools/list_changed", "{heard}");

    let body = client.streamed_body("recorder__end_early", &json!({}));
    let mut broken = Events::of(client.open(client.request(body)).await);
    let mut seen = vec![broken.next().await];
    let prime = format!("{}0", broken.last.clone().unwrap().trim_end_matches(|c: char| c.is_ascii_digit()));
    while let Ok(Some(message)) = broken.try_next().await {
        seen.push(message);
    }
    let mut again = Events::of(get(&client, Some(&prime)).await);
    let mut seen_again = Vec::new();
    while let Ok(Some(message)) = again.try_next().await {
        seen_again.push(message);
    }
    assert_eq!(seen_again, seen);
    assert!(seen.iter().all(|message| message.get("result").is_none()), "{seen:?}");
}

/// A server that closes the stream of an answer and keeps the answer: the gate comes back for it, and so
/// does its client, whose own stream is closed meanwhile; one that cannot come back just waits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_gate_comes_back_to_a_server_for_an_answer() {
    let script = ["tests/conformance/backend/main.py", "--port", "PORT", "--era", "session"];
    let Some(server) = Server::run("resumed", &script).await else { return };
    let address = server.url.strip_prefix("http://").unwrap().strip_suffix("/mcp").unwrap();
    let mut direct = Client::new(address.parse().unwrap(), "none");
    direct.initialize().await;
    let listed = direct.rpc("tools/list", json!({})).await.result().unwrap();
    let tools = listed["tools"].as_array().unwrap().clone();
    let options = GateOptions::new(vec![Connector::http("backend", &server.url, tools)])
        .with_policy("open.cedar", OPEN);
    let gate = Gate::start(options).await;
    let mut client = gate.client();
    client.initialize().await;
    let body = client.call_body("backend__test_reconnection", &json!({}));
    let mut answer = Events::of(client.open(client.request(body)).await);
    assert_eq!(answer.try_next().await, Ok(None), "closed in order, before the answer");
    let mut rest = Events::of(get(&client, answer.last.as_deref()).await);
    assert!(rest.next().await["result"]["content"].is_array());
    let sessionless = gate.client().call("backend__test_reconnection", json!({})).await;
    assert!(sessionless.succeeded(), "{sessionless:?}");
    until("the record to be closed", EVENT_MAX, async || gate.journal().open().is_empty().then_some(()))
        .await;
}

/// A counter that hides a tool is told like an edit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_counter_that_changes_what_is_seen_is_told() {
    let Some(server) = Server::start("session", "news").await else { return };
    let once = "@id(\"grow-once\")\nforbid (principal, action == News::Action::\"grow\", resource)\n\
                when { context.member.toolsUsed[\"news:grow\"] >= 1 };\n";
    let options = GateOptions::new(vec![server.connector("news")])
        .with_policy("open.cedar", OPEN)
        .with_policy("once.cedar", once);
    let gate = Gate::start(options).await;
    let mut client = gate.client();
    client.initialize().await;
    assert!(client.tool_names().await.contains(&"news__grow".to_owned()));
    let mut events = Events::of(get(&client, None).await).primed().await;
    // The first look is what later ones are compared with.
    crate::harness::pause(1_500).await;
    assert!(client.call("news__grow", json!({})).await.succeeded());
    events.next_of("notifications/tools/list_changed").await;
    assert!(!client.tool_names().await.contains(&"news__grow".to_owned()));
}

/// Two servers list the same: the first in order has it, and `wicket status` tells.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_uri_that_two_servers_list_belongs_to_the_first() {
    let Some(one) = Server::start("session", "alpha").await else { return };
    let Some(two) = Server::start("stateless", "beta").await else { return };
    let options =
        GateOptions::new(vec![one.connector("alpha"), two.connector("beta")]).with_policy("open.cedar", OPEN);
    let gate = Gate::start(options).await;
    let client = gate.client();
    let listed = client.rpc("resources/list", json!({})).await.result().unwrap();
    let uris: Vec<&str> =
        listed["resources"].as_array().unwrap().iter().map(|r| r["uri"].as_str().unwrap()).collect();
    assert_eq!(uris, ["alpha://one", "alpha://two", "shared://both", "beta://one", "beta://two"]);
    for (uri, expect) in [
        ("shared://both", "of alpha"),
        ("alpha://item/1", "of alpha"),
        ("beta://item/1", "of beta"),
        ("beta://one/deeper", "of beta"),
    ] {
        let read = client.rpc("resources/read", json!({ "uri": uri })).await;
        assert_eq!(read.result().unwrap()["contents"][0]["text"], expect, "{uri}");
    }
    let (_, status) = gate.command(&["status"]).await;
    assert!(status.contains("shared://both") && status.contains("alpha"), "{status}");
    let prompts = client.rpc("prompts/list", json!({})).await.result().unwrap();
    let prompts: Vec<&str> =
        prompts["prompts"].as_array().unwrap().iter().map(|p| p["name"].as_str().unwrap()).collect();
    assert_eq!(prompts, ["alpha__greet", "alpha__part", "beta__greet", "beta__part"]);
}
