//! Counting: the same program twice beneath callgrind, with fewer and with more of what is counted; the
//! difference is what one costs.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use wicket::cli::bench::peer::{Dial, Peer};
use wicket::cli::bench::plan::{Call, Target};
use wicket::cli::bench::verdict::Verdict;

use super::gate;
use super::process::Part;

/// Decisions of the two runs.
const DECISIONS: [u64; 2] = [100, 2_100];
/// Exchanges of the two runs.
const EXCHANGES: [u64; 2] = [50, 250];
/// The same order of addresses in each run.
const NO_RANDOM_ADDRESSES: &str = "-R";
/// What only the thread that serves agents runs.
const SERVES: &str = "wicket::proxy::exchange";
/// One call beneath valgrind, on a busy machine.
const CALL_MAX: Duration = Duration::from_secs(60);
/// What is called, in both eras.
const TOOL: &str = "bench__echo";
const ARGUMENTS: &str =
    r#"{"path":"/home/user/project/src/main.rs","text":"a few words that an agent might send"}"#;

/// Callgrind, writing to `file`, on the program that follows.
fn callgrind(valgrind: &Path, file: &Path) -> Command {
    let mut command = Command::new("setarch");
    command.arg(NO_RANDOM_ADDRESSES).arg(valgrind).arg("--tool=callgrind").arg("-q");
    command.arg(format!("--callgrind-out-file={}", file.display()));
    command
}

/// The sum that callgrind wrote.
fn read(file: &Path) -> u64 {
    let text = std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let sum = text.lines().find_map(|line| line.strip_prefix("totals: ").or(line.strip_prefix("summary: ")));
    sum.and_then(|sum| sum.trim().parse().ok()).unwrap_or_else(|| panic!("{}: no sum", file.display()))
}

fn each(counts: [u64; 2], times: [u64; 2]) -> u64 {
    counts[1].saturating_sub(counts[0]) / (times[1] - times[0])
}

/// Instructions of one decision.
pub fn decision(valgrind: &Path, dir: &Path) -> u64 {
    std::fs::create_dir_all(dir).unwrap();
    let counts = DECISIONS.map(|times| {
        let file = dir.join(format!("decisions-{times}"));
        let own = std::env::current_exe().unwrap();
        let status =
            callgrind(valgrind, &file).arg(own).args(["decide", &times.to_string()]).status().unwrap();
        assert!(status.success(), "{times} decisions: {status}");
        read(&file)
    });
    each(counts, DECISIONS)
}

/// How a client speaks.
#[derive(Clone, Copy)]
pub enum Client {
    /// In a session (MCP 2025-11-25).
    Session,
    /// Each request for itself (MCP 2026-07-28): what it says of itself and of the client stands in its body,
    /// and what an intermediary may read of that in its head.
    Stateless,
}

/// Instructions of one exchange, from the first byte to the last of the reply: of the thread that serves
/// agents. Other threads (journal, index, workers) wake by the clock, not by the call, so that their
/// counts say how long the run took.
pub fn exchange(valgrind: &Path, dir: &Path, client: Client) -> u64 {
    let counts = EXCHANGES.map(|times| exchanges(valgrind, &dir.join(times.to_string()), times, client));
    each(counts, EXCHANGES)
}

fn exchanges(valgrind: &Path, dir: &Path, times: u64, client: Client) -> u64 {
    std::fs::create_dir_all(dir).unwrap();
    let upstream = Part::of_this_binary(&["upstream"]);
    let file = dir.join("callgrind");
    let mut command = callgrind(valgrind, &file);
    command.arg("--separate-threads=yes").arg(gate::BINARY);
    let home = gate::Home::usual(dir, "process", upstream.listening());
    let started = home.launch(command).and_then(|up| Ok((up, home.key()?)));
    let ((gate, address, _), key) = started.unwrap_or_else(|why| panic!("the gate did not start: {why}"));
    let target = Target::parse(&format!("http://{address}/mcp"), Some(&key)).unwrap();
    let call = Call::new(TOOL, ARGUMENTS).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        match client {
            Client::Session => {
                let mut peer: Peer = Dial::new(&target, CALL_MAX).unwrap().connect().await.unwrap();
                for _ in 0..times {
                    assert_eq!(peer.call(&call).await.unwrap(), Verdict::Answered);
                }
            }
            Client::Stateless => stateless(&address.to_string(), &key, times).await,
        }
    });
    gate.end();
    let threads = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let serving = threads.filter(|file| {
        let is_count = file.file_name().is_some_and(|name| name.to_string_lossy().starts_with("callgrind-"));
        is_count && std::fs::read_to_string(file).unwrap().contains(SERVES)
    });
    let counts: Vec<u64> = serving.map(|file| read(&file)).collect();
    assert_eq!(counts.len(), 1, "{} threads serve agents", counts.len());
    counts[0]
}

/// The same calls by a client of the stateless era, over one connection.
async fn stateless(address: &str, key: &str, times: u64) {
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(hyper_util::rt::TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    for id in 1..=times {
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"{TOOL}","arguments":{ARGUMENTS},"_meta":{{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{{}},"io.modelcontextprotocol/clientInfo":{{"name":"wicket-bench","version":"1"}}}}}}}}"#
        );
        let request = hyper::Request::post("/mcp")
            .header("host", address)
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream")
            .header("user-agent", "wicket-bench/1")
            .header("authorization", format!("Bearer {key}"))
            .header("mcp-protocol-version", "2026-07-28")
            .header("mcp-method", "tools/call")
            .header("mcp-name", TOOL)
            .body(Full::new(Bytes::from(body)))
            .unwrap();
        sender.ready().await.unwrap();
        let response = tokio::time::timeout(CALL_MAX, sender.send_request(request)).await.unwrap().unwrap();
        assert_eq!(response.status(), 200);
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let answer: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(answer["result"]["resultType"], "complete", "{answer}");
    }
}
