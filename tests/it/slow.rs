//! Who connects and then says nothing, or too little, is cut off by the limits of time; nothing of it
//! is forwarded, and nobody else notices.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{Connector, Gate, GateOptions};
use crate::recorder::{Recorder, RecorderOptions, definitions};

/// Twice the limits that are set below, and what a busy machine adds.
const CUT_MAX: Duration = Duration::from_secs(5);
/// A connection that speaks HTTP/2 is pinged every 30 s, and cut when it does not answer.
const HTTP2_CUT_MAX: Duration = Duration::from_secs(75);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_says_too_little_is_cut_off() {
    let dir = tempfile::tempdir().unwrap();
    let upstream = Recorder::start(dir.path(), RecorderOptions::default()).await;
    let connector = Connector::http("recorder", &upstream.url(), definitions());
    let config = "[limits]\nheader_read_ms_max = 1000\nbody_read_ms_max = 1000\n";
    let gate = Gate::start(GateOptions::new(vec![connector]).with_config(config)).await;
    let head = format!(
        "POST /mcp HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n\
         accept: application/json, text/event-stream\r\n",
        gate.agents(),
        gate.key()
    );
    let table = [
        ("nothing at all", String::new()),
        // Could still become the preface of HTTP/2.
        ("one letter", "P".to_owned()),
        ("the preface of HTTP/2, cut", "PRI * HTTP/2.0\r\n\r\nS".to_owned()),
        ("the preface of HTTP/2, and no more", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned()),
        ("half a request line", "POST /m".to_owned()),
        ("half a head", head.clone()),
        ("no body", format!("{head}content-length: 100\r\n\r\n")),
        ("half a body", format!("{head}content-length: 100\r\n\r\n{{\"jsonrpc\":")),
        ("half a chunk", format!("{head}transfer-encoding: chunked\r\n\r\n40\r\n{{\"json")),
    ];
    let waiting: Vec<_> = table
        .into_iter()
        .map(|(what, bytes)| {
            let address = gate.agents();
            tokio::spawn(async move {
                let mut stream = TcpStream::connect(address).await.unwrap();
                stream.write_all(bytes.as_bytes()).await.unwrap();
                let began = Instant::now();
                let mut reply = Vec::new();
                let http2 = bytes.ends_with("SM\r\n\r\n");
                let max = if http2 { HTTP2_CUT_MAX } else { CUT_MAX };
                let cut = tokio::time::timeout(max, stream.read_to_end(&mut reply)).await;
                (what, cut.is_ok(), began.elapsed())
            })
        })
        .collect();
    assert!(gate.client().call("recorder__echo", json!({})).await.succeeded());
    let mut open = Vec::new();
    for one in waiting {
        let (what, cut, after) = one.await.unwrap();
        println!("{what}: cut {cut} after {after:?}");
        if !cut {
            open.push(what);
        }
    }
    assert!(open.is_empty(), "still open: {open:?}");
    assert_eq!(upstream.calls().len(), 1);
}
