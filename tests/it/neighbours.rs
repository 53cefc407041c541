//! One upstream dead, one stalled, one with a list of 400 kB, one that changes its tools all the while: the
//! others stay whole and fast, and so do their lists.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{Connector, Gate, GateOptions, pause};
use crate::isolation::mute;
use crate::recorder::{Recorder, RecorderOptions, definitions};

/// Tools of the large list, of about a kilobyte each.
const MANY: usize = 400;
/// A call to a healthy upstream, in a debug build on two busy processors.
const FAST: Duration = Duration::from_secs(1);
const CALLS: usize = 60;

fn dead() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn many() -> Vec<Value> {
    let tool = |number: usize| {
        json!({"name": format!("tool_{number:03}"), "description": "x".repeat(900),
            "inputSchema": {"type": "object", "properties": {"a": {"type": "string"}}}})
    };
    definitions().into_iter().chain((0..MANY).map(tool)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_others_stay_whole_and_fast() {
    let dir = tempfile::tempdir().unwrap();
    let well = Recorder::start(dir.path(), RecorderOptions::default()).await;
    let large = Recorder::start(dir.path(), RecorderOptions::default()).await;
    large.serve_definitions(many());
    let changing = std::sync::Arc::new(Recorder::start(dir.path(), RecorderOptions::default()).await);
    let impatient = "[limits]\ncatalogue_wait_ms_max = 500\ncatalogue_ttl_ms = 1000\ndial_ms_max = 300\n";
    let of = |service: &str, address: SocketAddr| {
        Connector::http(service, &format!("http://{address}/mcp"), definitions()).with(impatient)
    };
    let connectors = vec![
        of("dead", dead()),
        of("stalled", mute().await),
        Connector::http("large", &large.url(), many()),
        Connector::http("changing", &changing.url(), definitions()).with(impatient),
        Connector::http("well", &well.url(), definitions()),
    ];
    let options = GateOptions::new(connectors)
        .with_policy("all.cedar", "@id(\"all\") permit (principal, action, resource);")
        .with_config("[limits]\ntools_page_max = 1000\n");
    let gate = Gate::start(options).await;
    let client = gate.client();
    assert!(client.call("well__echo", json!({})).await.succeeded());

    let (changes, still) = (std::sync::Arc::clone(&changing), tokio::sync::watch::channel(true));
    let (stop, until) = still;
    let changer = tokio::spawn(async move {
        for number in 0.. {
            if !*until.borrow() {
                break;
            }
            let mut tools = definitions();
            tools[0]["description"] = json!(format!("another one, {number}"));
            changes.serve_definitions(if number % 2 == 0 { tools } else { definitions() });
            pause(50).await;
        }
    });
    let mut slowest = Duration::ZERO;
    for number in 0..CALLS {
        let sick = gate.client();
        let name = ["dead__echo", "stalled__echo", "changing__echo"][number % 3];
        let trouble = tokio::spawn(async move { sick.call(name, json!({})).await.status });
        let began = Instant::now();
        let reply = client.call("well__echo", json!({"nonce": number.to_string()})).await;
        slowest = slowest.max(began.elapsed());
        assert!(reply.succeeded(), "{number}: {reply:?}");
        if number % 10 == 0 {
            let names = client.tool_names().await;
            let of = |service: &str| names.iter().filter(|name| name.starts_with(service)).count();
            assert_eq!(of("well__"), definitions().len(), "{number}");
            assert_eq!(of("large__"), definitions().len() + MANY, "{number}");
            assert_eq!((of("dead__"), of("stalled__")), (0, 0), "{number}");
        }
        drop(trouble);
    }
    stop.send(false).unwrap();
    changer.await.unwrap();
    assert!(slowest < FAST, "the slowest call took {slowest:?}");
    assert_eq!(well.calls().len(), CALLS + 1, "each call arrived once");
    gate.assert_no_panic();
}
