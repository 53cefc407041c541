//! A policy that forbids later what a client subscribed to: the client is told in the way of its era, once, the audit
//! records it, and it hears again once policies permit it again.

use serde_json::{Value, json};

use crate::harness::{Client, Gate, pause, until};
use crate::streams::{EVENT_MAX, Events, UPDATED, get, setup, stateless, touch};

const CHANGED: &str = "notifications/resources/list_changed";
const LINE: &str = "notifications/message";

async fn listen(client: &Client, id: &str) -> (Events, Value) {
    let asked = json!({ "notifications": { "resourceSubscriptions": ["news://one", "news://two"] } });
    let request = stateless(client, id, "subscriptions/listen", None, asked);
    let mut events = Events::of(client.open(request).await);
    let first = events.next_of("notifications/subscriptions/acknowledged").await;
    (events, first["params"]["notifications"]["resourceSubscriptions"].clone())
}

fn denials(gate: &Gate) -> usize {
    gate.journal().calls("denial").len()
}

async fn apply(gate: &Gate, policy: Option<&str>) {
    match policy {
        Some(text) => gate.write_policy("later.cedar", text),
        None => gate.remove_policy("later.cedar"),
    }
    gate.admin(json!({ "do": "reload" })).await;
}

/// Touches until the update of this resource is there.
async fn heard(client: &Client, uri: &str, events: &mut Events) {
    until("the update", EVENT_MAX, async || {
        touch(client, uri).await;
        let next = tokio::time::timeout(std::time::Duration::from_secs(1), events.next_of(UPDATED)).await;
        next.ok().filter(|message| message["params"]["uri"] == uri)
    })
    .await;
}

/// Reads what has come, until nothing more comes for a while.
async fn rest(events: &mut Events) -> Vec<Value> {
    let mut all = Vec::new();
    while let Ok(message) = tokio::time::timeout(std::time::Duration::from_millis(700), events.next()).await {
        all.push(message);
    }
    all
}

fn of<'a>(messages: &'a [Value], method: &str) -> Vec<&'a Value> {
    messages.iter().filter(|message| message["method"] == method).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::too_many_lines, reason = "one story, told in order")]
async fn a_policy_that_forbids_a_subscription_later_is_told_and_recorded() {
    let Some((_server, gate)) = setup("session").await else { return };
    let mut session = gate.client();
    session.initialize().await;
    let mut hears = Events::of(get(&session, None).await).primed().await;
    assert!(session.rpc("logging/setLevel", json!({ "level": "warning" })).await.succeeded());
    for uri in ["news://one", "news://two"] {
        assert!(session.rpc("resources/subscribe", json!({ "uri": uri })).await.succeeded());
    }
    let listener = gate.client();
    let (mut listens, honoured) = listen(&listener, "first").await;
    assert_eq!(honoured, json!(["news://one", "news://two"]));
    for events in [&mut hears, &mut listens] {
        heard(&session, "news://one", events).await;
    }
    for events in [&mut hears, &mut listens] {
        rest(events).await;
    }

    // Forbidden: each is told in its own way, and not by name.
    let forbid = "@id(\"not-one\")\nforbid (principal, action == News::Action::\"resources/subscribe\", resource)\n\
                  when { context.args has uri && context.args.uri == \"news://one\" };\n";
    apply(&gate, Some(forbid)).await;
    let torn_down = listens.next_of("notifications/cancelled").await;
    assert_eq!(torn_down["params"]["requestId"], "first");
    let end = listens.next().await;
    assert_eq!(
        (&end["id"], &end["error"]["data"]["reason"]),
        (&json!("first"), &json!("subscription_withdrawn"))
    );
    assert_eq!(end["error"]["data"]["resourceSubscriptions"], json!([]), "{end}");
    let told = rest(&mut hears).await;
    let lines = of(&told, LINE);
    assert_eq!(lines.len(), 1, "{told:?}");
    assert_eq!(
        (&lines[0]["params"]["level"], &lines[0]["params"]["data"]["service"]),
        (&json!("warning"), &json!("news"))
    );
    assert!(!of(&told, CHANGED).is_empty(), "{told:?}");
    assert!(!told.iter().any(|message| message.to_string().contains("news://one")), "{told:?}");
    assert_eq!(denials(&gate), 2, "one for each receiver");

    // It is told once, whatever else is edited, and is not heard of; the other one is.
    apply(
        &gate,
        Some(&format!(
            "{forbid}@id(\"more\") forbid (principal, action == News::Action::\"grow\", resource);\n"
        )),
    )
    .await;
    touch(&session, "news://one").await;
    let told = rest(&mut hears).await;
    assert!(of(&told, LINE).is_empty() && of(&told, UPDATED).is_empty(), "{told:?}");
    assert_eq!(denials(&gate), 2);
    heard(&session, "news://two", &mut hears).await;
    let (mut second, honoured) = listen(&listener, "second").await;
    assert_eq!(honoured, json!(["news://two"]));
    assert_eq!(denials(&gate), 3, "that of the request itself");

    // Permitted again: the session is told, and hears; a listener asks anew.
    apply(&gate, None).await;
    until("word that it is heard again", EVENT_MAX, async || {
        let next = hears.next_of(UPDATED).await;
        (next["params"]["uri"] == "news://one").then_some(())
    })
    .await;
    heard(&session, "news://one", &mut hears).await;
    let (mut again, honoured) = listen(&listener, "third").await;
    assert_eq!(honoured, json!(["news://one", "news://two"]));

    // What no edit brings about is noticed when there is something to tell.
    let counted = "@id(\"counted\")\nforbid (principal, action == News::Action::\"resources/subscribe\", resource)\n\
                   when { context.member.toolsUsed[\"news:grow\"] >= 1 };\n";
    apply(&gate, Some(counted)).await;
    heard(&session, "news://two", &mut again).await;
    rest(&mut hears).await;
    assert!(session.call("news__grow", json!({})).await.succeeded());
    pause(300).await;
    assert_eq!(denials(&gate), 3);
    touch(&session, "news://two").await;
    for (id, events) in [("second", &mut second), ("third", &mut again)] {
        until("the stream to end", EVENT_MAX, async || {
            let next = events.next().await;
            (next["id"] == id).then(|| assert_eq!(next["error"]["data"]["reason"], "subscription_withdrawn"))
        })
        .await;
    }
    assert_eq!(of(&rest(&mut hears).await, LINE).len(), 1);
    assert_eq!(denials(&gate), 6, "one for each of three receivers");
    gate.assert_no_panic();
}
