//! A server that told of a resource and then refuses to: it ended, and the one that took its place will not be
//! subscribed to. Its clients are told in the way of their era, everything else goes on, and once the server agrees
//! again they hear again. And what any server says unasked reaches clients of both eras, over HTTP and from a child.
//!
//! A real server (PyPI `mcp` 2.x, `tests/upstreams/news.py`) in each era. Needs what `make tools` installs.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Client, Connector, Gate, GateOptions, until};
use crate::streams::{EVENT_MAX, Events, OPEN, Server, UPDATED, get, python, stateless};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/upstreams/news.py");
const TAG: &str = "io.modelcontextprotocol/subscriptionId";
/// What is refused is asked for again after ten seconds, and looked at every ten.
const AGAIN_MAX: Duration = Duration::from_secs(60);

/// How the server is reached.
enum Over {
    Http { server: Option<Box<Server>>, port: u16 },
    Stdio,
}

/// The server, the gate before it, and a client of each era that hears of two resources.
struct Rig {
    over: Over,
    era: &'static str,
    python: PathBuf,
    refused: tempfile::NamedTempFile,
    gate: Gate,
    session: Client,
    hears: Events,
    listener: Client,
    listens: Events,
}

impl Rig {
    async fn start(transport: &str, era: &'static str) -> Option<Self> {
        let python = python(&format!("unheard-{transport}-{era}"))?;
        let refused = tempfile::NamedTempFile::new().unwrap();
        let schema = json!({ "type": "object", "properties": { "uri": { "type": "string" } } });
        let tools = ["touch", "grow", "end"].map(|name| json!({ "name": name, "inputSchema": schema }));
        let (over, connector) = match transport {
            "http" => {
                let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
                let port = free.local_addr().unwrap().port();
                drop(free);
                let server = http(port, &python, era, refused.path()).await;
                let connector = Connector::http("news", &server.url, tools.to_vec());
                (Over::Http { server: Some(Box::new(server)), port }, connector)
            }
            _ => {
                let file = refused.path().to_str().unwrap();
                let arguments = ["-B", SCRIPT, "stdio", era, "news", file];
                let connector =
                    Connector::stdio("news", python.to_str().unwrap(), &arguments, tools.to_vec());
                (Over::Stdio, connector.with(&format!("era = \"{era}\"\n[limits]\ndial_ms_max = 30_000\n")))
            }
        };
        let gate = Gate::start(GateOptions::new(vec![connector]).with_policy("open.cedar", OPEN)).await;
        let mut session = gate.client();
        session.initialize().await;
        let hears = Events::of(get(&session, None).await).primed().await;
        let told = session.rpc("logging/setLevel", json!({ "level": "warning" })).await;
        assert!(told.succeeded(), "{told:?}");
        for uri in ["news://one", "news://two"] {
            let subscribed = session.rpc("resources/subscribe", json!({ "uri": uri })).await;
            assert!(subscribed.succeeded(), "{subscribed:?}");
        }
        let listener = gate.client();
        let (listens, honoured) = listen(&listener, "first").await;
        assert_eq!(honoured, ["news://one", "news://two"]);
        Some(Self { over, era, python, refused, gate, session, hears, listener, listens })
    }

    fn refuse(&self, uris: &str) {
        std::fs::write(self.refused.path(), uris).unwrap();
    }

    /// The server ends, and another is there in its place.
    async fn end_server(&mut self) {
        match &mut self.over {
            Over::Http { server, port } => {
                drop(server.take());
                let again = http(*port, &self.python, self.era, self.refused.path()).await;
                *server = Some(Box::new(again));
            }
            Over::Stdio => {
                let reply = self.session.call("news__end", json!({})).await;
                assert!(reply.error().is_some(), "{reply:?}");
            }
        }
    }
}

async fn http(port: u16, python: &Path, era: &str, refused: &Path) -> Server {
    Server::run_on(port, python, &[SCRIPT, "PORT", era, "news", refused.to_str().unwrap()]).await
}

/// A stream of the stateless era, and the resources that it is accepted for.
async fn listen(client: &Client, id: &str) -> (Events, Vec<String>) {
    let asked = json!({ "notifications": {
        "promptsListChanged": true,
        "resourceSubscriptions": ["news://one", "news://two"],
    } });
    let mut events =
        Events::of(client.open(stateless(client, id, "subscriptions/listen", None, asked)).await);
    let first = events.next().await;
    assert_eq!(first["method"], "notifications/subscriptions/acknowledged", "{first}");
    let uris = first["params"]["notifications"]["resourceSubscriptions"].as_array();
    (events, uris.into_iter().flatten().map(|uri| uri.as_str().unwrap().to_owned()).collect())
}

/// Touches until the event is there: the gate's own subscription may take a moment to reach the server, and
/// the server one to start.
async fn heard(client: &Client, uri: &str, events: &mut Events) -> Value {
    let began = std::time::Instant::now();
    while began.elapsed() < AGAIN_MAX {
        let touched = client.call("news__touch", json!({ "uri": uri })).await;
        let next = async {
            loop {
                let message = events.next_of(UPDATED).await;
                if message["params"]["uri"] == *uri {
                    return message;
                }
            }
        };
        if let Ok(message) = tokio::time::timeout(Duration::from_secs(1), next).await
            && touched.succeeded()
        {
            return message;
        }
    }
    panic!("nothing is heard of {uri}");
}

/// Reads until the message that is looked for.
async fn until_message(events: &mut Events, what: &str, is: impl Fn(&Value) -> bool) -> Value {
    let mut passed = Vec::new();
    let found = async {
        loop {
            let message = events.next().await;
            if is(&message) {
                return message;
            }
            passed.push(message);
        }
    };
    let found = tokio::time::timeout(AGAIN_MAX, found).await;
    found.unwrap_or_else(|_| panic!("no {what} after {passed:?}"))
}

/// What a server says unasked reaches a client of each era.
async fn everything_is_heard(rig: &mut Rig) {
    heard(&rig.session, "news://one", &mut rig.hears).await;
    let updated = heard(&rig.session, "news://two", &mut rig.listens).await;
    assert_eq!(updated["params"]["_meta"][TAG], "first");
    assert!(rig.session.call("news__grow", json!({})).await.succeeded());
    rig.hears.next_of("notifications/prompts/list_changed").await;
    let grown = rig.listens.next_of("notifications/prompts/list_changed").await;
    assert_eq!(grown["params"]["_meta"][TAG], "first");
    let prompts = rig.session.rpc("prompts/list", json!({})).await.result().unwrap();
    assert_eq!(prompts["prompts"].as_array().unwrap().len(), 3, "{prompts}");
}

async fn a_server_begins_to_refuse(transport: &str, era: &'static str) {
    let Some(mut rig) = Rig::start(transport, era).await else { return };
    everything_is_heard(&mut rig).await;
    rig.refuse("news://one");
    rig.end_server().await;

    // The session is nudged: the resource and the list may be others, and the log says why.
    let line = until_message(&mut rig.hears, "line for the log", |message| {
        message["method"] == "notifications/message"
    })
    .await;
    assert_eq!(line["params"]["level"], "warning", "{line}");
    let data = &line["params"]["data"];
    assert_eq!((&data["service"], &data["uri"]), (&json!("news"), &json!("news://one")), "{line}");
    let refused = rig.session.rpc("resources/subscribe", json!({ "uri": "news://one" })).await;
    assert!(refused.error().is_some(), "who asks again hears the refusal: {refused:?}");

    // The listener's stream ends with why, after the nudge; asked anew, it is told what is left.
    until_message(&mut rig.listens, "nudge", |message| message["params"]["uri"] == "news://one").await;
    let torn_down = rig.listens.next_of("notifications/cancelled").await;
    assert_eq!(torn_down["params"]["requestId"], "first", "{torn_down}");
    let end = until_message(&mut rig.listens, "end of the stream", |message| message["id"] == "first").await;
    let error = &end["error"];
    assert_eq!(
        (&error["code"], &error["data"]["reason"]),
        (&json!(-32603), &json!("subscription_withdrawn"))
    );
    assert_eq!(error["data"]["resourceSubscriptions"], json!(["news://one"]), "{end}");
    assert_eq!(rig.listens.try_next().await, Ok(None), "and nothing after it");
    let (mut again, honoured) = listen(&rig.listener, "second").await;
    assert_eq!(honoured, ["news://two"]);

    // All else goes on, and it is known to the operator.
    heard(&rig.session, "news://two", &mut again).await;
    heard(&rig.session, "news://two", &mut rig.hears).await;
    let (_, status) = rig.gate.command(&["status"]).await;
    assert!(status.contains("news://one"), "{status}");
    let lost = rig.gate.metric("wicket_subscriptions_lost_total{service=\"news\"}").await;
    assert_eq!(lost, Some(1), "told once");

    // The server agrees again: the session hears without asking.
    rig.refuse("");
    until_message(&mut rig.hears, "word that it is heard again", |message| {
        message["method"] == UPDATED && message["params"]["uri"] == "news://one"
    })
    .await;
    heard(&rig.session, "news://one", &mut rig.hears).await;
    let (_, honoured) = listen(&rig.listener, "third").await;
    assert_eq!(honoured, ["news://one", "news://two"]);
    rig.gate.assert_no_panic();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_of_the_session_era_begins_to_refuse() {
    a_server_begins_to_refuse("http", "session").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_of_the_stateless_era_begins_to_refuse() {
    a_server_begins_to_refuse("http", "stateless").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_child_of_the_session_era_begins_to_refuse() {
    a_server_begins_to_refuse("stdio", "session").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_child_of_the_stateless_era_begins_to_refuse() {
    a_server_begins_to_refuse("stdio", "stateless").await;
}

/// The connector is moved: what its clients subscribed to is subscribed to where it is now.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscriptions_move_with_their_connector() {
    let Some(mut rig) = Rig::start("stdio", "stateless").await else { return };
    everything_is_heard(&mut rig).await;
    let file = rig.gate.dir().join("connectors/news.toml");
    let moved = std::fs::read_to_string(&file).unwrap().replace("30_000", "31_000");
    std::fs::write(&file, moved).unwrap();
    let (done, said) = rig.gate.command(&["reload"]).await;
    assert!(done, "{said}");
    for events in [&mut rig.hears, &mut rig.listens] {
        heard(&rig.session, "news://one", events).await;
    }

    // Moved to a server that refuses one of them.
    rig.refuse("news://one");
    let moved = std::fs::read_to_string(&file).unwrap().replace("31_000", "32_000");
    std::fs::write(&file, moved).unwrap();
    let (done, said) = rig.gate.command(&["reload"]).await;
    assert!(done, "{said}");
    let end = until_message(&mut rig.listens, "end of the stream", |message| message["id"] == "first").await;
    assert_eq!(end["error"]["data"]["resourceSubscriptions"], json!(["news://one"]), "{end}");

    // A service that is taken away takes its subscriptions along.
    let (mut again, honoured) = listen(&rig.listener, "second").await;
    assert_eq!(honoured, ["news://two"]);
    let change = json!({ "remove": ["news"] });
    rig.gate.admin(json!({ "do": "agent_services", "agent": "tester", "services": change })).await;
    let end = until_message(&mut again, "end of the stream", |message| message["id"] == "second").await;
    assert_eq!(end["error"]["data"]["resourceSubscriptions"], json!([]), "{end}");
    until("the stream to be over", EVENT_MAX, async || {
        matches!(again.try_next().await, Ok(None)).then_some(())
    })
    .await;
}
