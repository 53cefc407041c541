//! The load: so many connections, each with one call at a time (closed loop), in a process of its own.

use std::io::Write;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hdrhistogram::Histogram;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};

/// What one load saw.
#[derive(Debug, Serialize, Deserialize)]
pub struct Loaded {
    pub calls: u64,
    pub failed: u64,
    pub first_failure: String,
    pub seconds: f64,
    pub p50_us: u64,
    pub p99_us: u64,
}

/// Runs the load in a child process.
pub fn run(address: SocketAddr, key: &str, tool: &str, connections: usize, duration: Duration) -> Loaded {
    let output = Command::new(std::env::current_exe().unwrap())
        .args([
            "load",
            &address.to_string(),
            tool,
            &connections.to_string(),
            &duration.as_millis().to_string(),
        ])
        // Not an argument: a key in a process list would be seen by everybody.
        .env("WICKET_BENCH_KEY", key)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(output.status.success(), "the load generator failed");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The child: `ADDRESS TOOL CONNECTIONS MILLISECONDS`.
pub fn main(arguments: &[String]) {
    let address: SocketAddr = arguments[0].parse().unwrap();
    let tool = arguments[1].clone();
    let connections: usize = arguments[2].parse().unwrap();
    let duration = Duration::from_millis(arguments[3].parse().unwrap());
    let key = super::process::setting("WICKET_BENCH_KEY").unwrap_or_else(|| "none".to_owned());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let loaded = runtime.block_on(async {
        let began = Instant::now();
        let callers: Vec<_> = (0..connections)
            .map(|_| tokio::spawn(caller(address, key.clone(), tool.clone(), began + duration)))
            .collect();
        let mut times = Histogram::<u64>::new(3).unwrap();
        let (mut failed, mut first_failure) = (0, String::new());
        for caller in callers {
            let one = caller.await.unwrap();
            times.add(one.times).unwrap();
            failed += one.failed;
            if first_failure.is_empty() {
                first_failure = one.first_failure;
            }
        }
        Loaded {
            calls: times.len(),
            failed,
            first_failure,
            seconds: began.elapsed().as_secs_f64(),
            p50_us: times.value_at_quantile(0.5) / 1_000,
            p99_us: times.value_at_quantile(0.99) / 1_000,
        }
    });
    std::io::stdout().write_all(&serde_json::to_vec(&loaded).unwrap()).unwrap();
}

struct Called {
    times: Histogram<u64>,
    failed: u64,
    first_failure: String,
}

async fn caller(address: SocketAddr, key: String, tool: String, until: Instant) -> Called {
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let mut called = Called { times: Histogram::new(3).unwrap(), failed: 0, first_failure: String::new() };
    let mut id = 0_u64;
    while Instant::now() < until {
        id += 1;
        // 188 bytes and more: the size of a small tool call.
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"{tool}","arguments":{{"path":"/home/user/project/src/main.rs","text":"a few words that an agent might send"}}}}}}"#
        );
        let request = Request::post("/mcp")
            .header("host", address.to_string())
            .header("authorization", format!("Bearer {key}"))
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream")
            .body(Full::new(Bytes::from(body)))
            .unwrap();
        let began = Instant::now();
        let response = sender.send_request(request).await.unwrap();
        let status = response.status();
        let reply = response.into_body().collect().await.unwrap().to_bytes();
        called.times.record(began.elapsed().as_nanos() as u64).unwrap();
        if status != 200 || !reply.windows(8).any(|window| window == b"\"result\"") {
            called.failed += 1;
            if called.first_failure.is_empty() {
                called.first_failure = format!("{status} {}", String::from_utf8_lossy(&reply));
            }
        }
    }
    called
}
