//! Subscriptions with servers that refuse some of them, break off, or forget them.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::server::{Act, Peer, Received, event, events, initialized, last_chunk, reply, reply_with, status};
use super::*;

const SHORT: &str = "silence_ms_max = 1000\ncall_ms_max = 5000\ndial_ms_max = 500";

fn result(request: &Received, result: Value) -> Value {
    json!({"jsonrpc": "2.0", "id": request.body["id"], "result": result})
}

fn offers() -> Value {
    json!({"tools": {"listChanged": true}, "resources": {"subscribe": true, "listChanged": true}})
}

/// What a `subscriptions/listen` asks for.
fn listened(request: &Received) -> Vec<String> {
    let uris = request.body["params"]["notifications"]["resourceSubscriptions"].as_array();
    uris.into_iter().flatten().map(|uri| uri.as_str().unwrap().to_owned()).collect()
}

fn acknowledged(request: &Received) -> Value {
    json!({"jsonrpc": "2.0", "method": "notifications/subscriptions/acknowledged", "params": {
        "_meta": {"io.modelcontextprotocol/subscriptionId": request.body["id"]},
        "notifications": request.body["params"]["notifications"]}})
}

type Flag = Arc<AtomicBool>;

fn until(flag: &Flag) -> Act {
    let flag = Arc::clone(flag);
    Act::Until(Arc::new(move || flag.load(Ordering::SeqCst)))
}

/// A peer of the stateless era, whose streams are what `on_listen` says.
async fn modern(on_listen: impl Fn(&Received) -> Vec<Act> + Send + Sync + 'static) -> Peer {
    Peer::with(move |request| match request.rpc() {
        "server/discover" => {
            let mut said = server::discovered(request);
            said["result"]["capabilities"] = offers();
            vec![reply(&said)]
        }
        "tools/list" => vec![reply(&result(request, json!({"tools": [definition("echo")]})))],
        "resources/list" => vec![reply(&result(request, json!({"resources": []})))],
        "subscriptions/listen" => on_listen(request),
        _ => vec![status("400 Bad Request", r#"{"jsonrpc":"2.0","error":{"code":-32020,"message":"no"}}"#)],
    })
    .await
}

async fn watch(rig: &Rig, uri: &str) -> Option<Hold> {
    rig.upstreams.watch(&rig.service(), uri, rig.caller.member.id).await.unwrap()
}

/// Waits, at most 10 seconds.
async fn eventually(what: &str, mut is: impl FnMut() -> bool) {
    let waited = async {
        while !is() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), waited).await.unwrap_or_else(|_| panic!("never: {what}"));
}

fn told(news: &mut broadcast::Receiver<News>) -> Vec<String> {
    let mut all = Vec::new();
    while let Ok(one) = news.try_recv() {
        all.push(match one.kind {
            NewsKind::ListChanged(of) => format!("{of:?}"),
            NewsKind::ResourceUpdated { uri, .. } => uri.to_string(),
            NewsKind::Log { level, .. } => level.to_string(),
            NewsKind::Unheard { uri } => format!("lost {uri}"),
            NewsKind::Replaced => "replaced".to_owned(),
        });
    }
    all
}

#[tokio::test]
async fn a_resource_that_is_refused_silences_nothing_else() {
    let (never, changes): (Flag, Flag) = Default::default();
    let said = Arc::clone(&changes);
    let peer = modern(move |request| {
        let uris = listened(request);
        if uris.iter().any(|uri| uri.contains("bad")) {
            return vec![status("413 Payload Too Large", "")];
        }
        let mut acts = vec![events(), event(&acknowledged(request))];
        if uris.is_empty() {
            let changed = json!({"jsonrpc": "2.0", "method": "notifications/resources/list_changed"});
            acts.extend([until(&said), event(&changed)]);
        }
        acts.push(until(&never));
        acts
    })
    .await;
    let rig = Rig::new(&peer.descriptor(SHORT), &[definition("echo")]);
    rig.upstreams.catalogue(&rig.service()).await.unwrap();
    eventually("the lists are listened for", || !peer.requests("subscriptions/listen").is_empty()).await;
    let mut news = rig.upstreams.news();
    let uris: Vec<String> = (0..40).map(|n| format!("x://{n}")).chain(["x://bad".to_owned()]).collect();
    let holds = futures_util::future::join_all(uris.iter().map(|uri| watch(&rig, uri))).await;
    let refused: Vec<_> =
        holds.iter().zip(&uris).filter(|(hold, _)| hold.is_none()).map(|(_, uri)| uri.as_str()).collect();
    assert_eq!(refused, ["x://bad"]);

    let requests: Vec<_> = peer.requests("subscriptions/listen").iter().map(listened).collect();
    let of_lists = requests.iter().filter(|uris| uris.is_empty()).count();
    assert_eq!(of_lists, 1, "the stream of the lists was not touched");
    let asked: BTreeSet<&String> = requests.iter().flatten().collect();
    assert_eq!(asked.len(), 41);
    assert!(requests.len() < 20, "asked together: {} requests", requests.len());
    assert_eq!(told(&mut news), [""; 0], "nothing broke: nothing was missed");
    changes.store(true, Ordering::SeqCst);
    let mut heard = Vec::new();
    eventually("the change is told", || {
        heard.extend(told(&mut news));
        !heard.is_empty()
    })
    .await;
    assert_eq!(heard, ["Resources"]);

    // With the holds gone nothing is asked for any more; a client that comes back is.
    assert_eq!(rig.status().unheard, []);
    drop(holds);
    assert!(watch(&rig, "x://7").await.is_some());
}

#[tokio::test]
async fn a_stream_that_breaks_tells_what_was_missed_and_a_later_refusal_is_shown() {
    let (breaks, refuses): (Flag, Flag) = Default::default();
    let never: Flag = Flag::default();
    let (breaking, refusing) = (Arc::clone(&breaks), Arc::clone(&refuses));
    let peer = modern(move |request| {
        let uris = listened(request);
        if refusing.load(Ordering::SeqCst) && uris.contains(&"x://1".to_owned()) {
            let error = json!({"code": -32602, "message": "gone"});
            return vec![reply(&json!({"jsonrpc": "2.0", "id": request.body["id"], "error": error}))];
        }
        let open = vec![events(), event(&acknowledged(request))];
        let ends = match uris.is_empty() {
            true => vec![until(&never)],
            false => vec![until(&breaking), last_chunk(), Act::Close],
        };
        open.into_iter().chain(ends).collect()
    })
    .await;
    let rig = Rig::new(&peer.descriptor(SHORT), &[definition("echo")]);
    rig.upstreams.catalogue(&rig.service()).await.unwrap();
    let (_one, _two) = (watch(&rig, "x://1").await.unwrap(), watch(&rig, "x://2").await.unwrap());
    let mut news = rig.upstreams.news();
    refuses.store(true, Ordering::SeqCst);
    breaks.store(true, Ordering::SeqCst);
    let mut heard = Vec::new();
    eventually("the break is told", || {
        heard.extend(told(&mut news));
        heard.contains(&"x://2".to_owned()) && heard.contains(&"lost x://1".to_owned())
    })
    .await;
    heard.retain(|what| what != "x://2");
    assert_eq!(heard, ["lost x://1"], "once, and the lists were heard all the time");
    let status = rig.until("the refusal to be shown", |status| !status.unheard.is_empty()).await;
    assert_eq!(status.unheard[0].uri, "x://1");
    assert!(status.unheard[0].why.contains("-32602"), "{status:?}");
}

#[tokio::test]
async fn a_member_has_its_share_of_subscriptions_and_no_more() {
    let never = Flag::default();
    let peer = modern(move |request| vec![events(), event(&acknowledged(request)), until(&never)]).await;
    let rig = Rig::new(&peer.descriptor(SHORT), &[definition("echo")]);
    rig.upstreams.catalogue(&rig.service()).await.unwrap();
    let (mut holds, mut full) = (Vec::new(), None);
    for n in 0..400 {
        let asked = rig.upstreams.watch(&rig.service(), &format!("x://{n}"), rig.caller.member.id).await;
        match asked {
            Ok(hold) => holds.extend(hold),
            Err(failure) => {
                full = Some(failure);
                break;
            }
        }
    }
    assert_eq!(full.unwrap().label(), "too_many_watched");
    let other = MemberId::mint(Timestamp::now(), random());
    assert!(rig.upstreams.watch(&rig.service(), "y://1", other).await.unwrap().is_some());
    drop(holds.pop());
    assert!(watch(&rig, "y://2").await.is_some(), "room again");
}

#[tokio::test]
async fn a_server_that_forgot_is_told_all_again_a_few_at_a_time() {
    let (at_once, most): (Arc<AtomicUsize>, Arc<AtomicUsize>) = Default::default();
    let (now, peak) = (Arc::clone(&at_once), Arc::clone(&most));
    let peer = Peer::with(move |request| match (request.method.as_str(), request.rpc()) {
        ("GET", _) => vec![status("405 Method Not Allowed", "")],
        (_, "initialize") => {
            let mut said = initialized(request);
            said["result"]["capabilities"] = offers();
            vec![reply_with("mcp-session-id: s-1\r\n", &said)]
        }
        (_, "tools/list") => vec![reply(&result(request, json!({"tools": [definition("echo")]})))],
        (_, "resources/subscribe") => {
            peak.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            let now = Arc::clone(&now);
            let done = Act::Until(Arc::new(move || {
                now.fetch_sub(1, Ordering::SeqCst);
                true
            }));
            let answer = match request.body["params"]["uri"].as_str() {
                Some("x://bad") => {
                    let error = json!({"code": -32602, "message": "no"});
                    reply(&json!({"jsonrpc": "2.0", "id": request.body["id"], "error": error}))
                }
                Some("x://cut") => return vec![done, Act::Close],
                _ => reply(&result(request, json!({}))),
            };
            vec![Act::Wait(30), done, answer]
        }
        _ => vec![status("202 Accepted", "")],
    })
    .await;
    let rig = Rig::new(&peer.descriptor(SHORT), &[definition("echo")]);
    rig.upstreams.catalogue(&rig.service()).await.unwrap();
    let link = Arc::clone(&rig.upstreams.find(&rig.service()).unwrap().link);
    let member = rig.caller.member.id;
    let uris = (0..30).map(|n| format!("x://{n}")).chain(["x://bad", "x://cut"].map(str::to_owned));
    let holds: Vec<_> = uris.map(|uri| link.hold(&uri, member).unwrap().unwrap()).collect();
    let asked = || {
        let requests = peer.requests("resources/subscribe");
        requests.iter().map(|r| r.body["params"]["uri"].as_str().unwrap().to_owned()).collect::<BTreeSet<_>>()
    };
    eventually("all are subscribed to", || asked().len() == holds.len()).await;
    rig.until("the refusals to be shown", |status| status.unheard.len() == 2).await;
    assert!((2..=8).contains(&most.load(Ordering::SeqCst)), "{} at once", most.load(Ordering::SeqCst));
    // The upstream is another one: what is held is told again, what was refused too.
    let before = peer.requests("resources/subscribe").len();
    link.changed.mark();
    eventually("all are subscribed to again", || {
        peer.requests("resources/subscribe").len() >= before + holds.len()
    })
    .await;
}

#[tokio::test]
async fn a_uri_that_nobody_lists_is_nobodys_while_a_list_cannot_be_known() {
    let broken = Arc::new(AtomicBool::new(true));
    let is_broken = Arc::clone(&broken);
    let peer = Peer::with(move |request| match request.rpc() {
        "initialize" => {
            let mut said = initialized(request);
            said["result"]["capabilities"] = offers();
            vec![reply(&said)]
        }
        "tools/list" => vec![reply(&result(request, json!({"tools": [definition("echo")]})))],
        "resources/list" => {
            vec![reply(&result(request, json!({"resources": [{"uri": "x://listed", "name": "l"}]})))]
        }
        "resources/templates/list" if is_broken.load(Ordering::SeqCst) => {
            vec![status("500 Internal Server Error", "")]
        }
        "resources/templates/list" => {
            let template = json!({"uriTemplate": "x://item/{id}", "name": "i"});
            vec![reply(&result(request, json!({"resourceTemplates": [template]})))]
        }
        "notifications/initialized" => vec![status("202 Accepted", "")],
        _ => vec![status("405 Method Not Allowed", "")],
    })
    .await;
    let rig = Rig::new(&peer.descriptor(SHORT), &[definition("echo")]);
    let enabled: BTreeSet<ServiceKey> = [rig.service(), ServiceKey::parse("wicket").unwrap()].into();
    let owner = async |uri: &str| rig.upstreams.owner_of(uri, &enabled).await;
    assert_eq!(owner("x://listed").await, Ok(Some(rig.service())));
    for uri in ["x://item/7", "x://other", "nowhere://x"] {
        assert_eq!(owner(uri).await.unwrap_err().service, rig.service(), "{uri}");
    }
    broken.store(false, Ordering::SeqCst);
    // A list that could not be read is not asked for again within a second.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    assert_eq!(owner("x://item/7").await, Ok(Some(rig.service())));
    assert_eq!(owner("nowhere://x").await, Ok(None));

    // What is left out has no say.
    let absent = "optional = true\n[transport]\nkind = \"stdio\"\ncommand = \"/no/such/program\"\n";
    let rig = Rig::new(absent, &[definition("echo")]);
    rig.until("it is skipped", |status| status.state == "skipped").await;
    assert_eq!(rig.upstreams.owner_of("x://item/7", &enabled).await, Ok(None));
}

/// A child of the stateless era that acknowledges what names nothing bad, and says what it was asked.
const CHILD: &str = r#"
import json, sys
def say(message):
    print(json.dumps({"jsonrpc": "2.0", **message}), flush=True)
streams, asked = {}, []
offers = {"tools": {}, "prompts": {"listChanged": True}, "resources": {"subscribe": True}}
for line in sys.stdin:
    message = json.loads(line)
    method, params, id = message["method"], message.get("params", {}), message.get("id")
    def answer(result):
        say({"id": id, "result": {"resultType": "complete", **result}})
    if method == "server/discover":
        answer({"supportedVersions": ["2026-07-28"], "capabilities": offers, "ttlMs": 0, "cacheScope": "private"})
    elif method == "tools/list":
        tool = {"name": "echo", "description": "does echo", "inputSchema": {"type": "object"}}
        answer({"tools": [tool], "ttlMs": 0, "cacheScope": "private"})
    elif method == "subscriptions/listen":
        uris = params["notifications"].get("resourceSubscriptions", [])
        asked.append(uris)
        if any("bad" in uri for uri in uris):
            say({"id": id, "error": {"code": -32602, "message": "no"}})
        else:
            streams[id] = uris
            say({"method": "notifications/subscriptions/acknowledged", "params": {
                "_meta": {"io.modelcontextprotocol/subscriptionId": id}, "notifications": params["notifications"]}})
    elif method == "notifications/cancelled":
        streams.pop(params["requestId"], None)
    elif method == "tools/call":
        for id_of, uris in streams.items():
            for uri in uris:
                say({"method": "notifications/resources/updated", "params": {
                    "_meta": {"io.modelcontextprotocol/subscriptionId": id_of}, "uri": uri}})
        answer({"content": [], "structuredContent": {"asked": asked, "open": sorted(sum(streams.values(), []))}})
"#;

#[tokio::test]
async fn a_child_of_the_stateless_era_refuses_one_and_tells_of_the_rest() {
    let descriptor = format!(
        "[transport]\nkind = \"stdio\"\ncommand = \"python3\"\nargs = [\"-S\", \"-c\", '''{CHILD}''']\n\
         [limits]\ndial_ms_max = 20000\n"
    );
    let rig = Rig::new(&descriptor, &[definition("echo")]);
    rig.upstreams.catalogue(&rig.service()).await.unwrap();
    let mut news = rig.upstreams.news();
    let uris = ["x://1", "x://bad", "x://2"];
    let holds = futures_util::future::join_all(uris.map(|uri| watch(&rig, uri))).await;
    assert_eq!(holds.iter().map(Option::is_some).collect::<Vec<_>>(), [true, false, true]);
    let said = rig.call("echo", json!({})).await.content();
    assert_eq!(said["open"], json!(["x://1", "x://2"]), "{said}");
    let of_lists = said["asked"].as_array().unwrap().iter().filter(|uris| **uris == json!([])).count();
    assert_eq!(of_lists, 1, "{said}");
    let mut heard = told(&mut news);
    heard.sort();
    assert_eq!(heard, ["x://1", "x://2"]);
}
