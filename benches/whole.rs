//! What the gate needs as a whole, each beside the number to reach: memory of 100,000 sessions, a merged
//! list of 1,496 tools from the real binary, start to ready with 1,000 policies.
//! `cargo bench --bench whole` measures; without `--bench` it runs once and smaller, as a test.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a benchmark that meets the unexpected should stop there and say where"
)]

#[path = "shared/catalogues.rs"]
mod catalogues;
#[path = "exchange/gate.rs"]
#[expect(dead_code, reason = "shared with the benchmark of an exchange, which uses more of it")]
mod gate;
#[path = "shared/measure.rs"]
#[expect(dead_code, reason = "shared by several benchmarks, each of which uses some of it")]
mod measure;
#[path = "exchange/policies.rs"]
mod policies;
#[path = "exchange/process.rs"]
#[expect(dead_code, reason = "shared with the benchmark of an exchange, which uses more of it")]
mod process;
#[path = "whole/sessions.rs"]
mod sessions;
#[path = "exchange/upstream.rs"]
mod upstream;

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use gate::Home;
use measure::{measured, target};
use process::Part;
use wicket::cli::bench::peer::Dial;
use wicket::cli::bench::plan::Target;

/// One request, on a busy machine in a dev build.
const CALL_MAX: Duration = Duration::from_secs(60);

fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("upstream") => return upstream::main(&upstream::definitions()),
        Some("catalogue") => return upstream::main(&catalogues::tools()),
        _ => {}
    }
    let dir = tempfile::Builder::new().prefix("wicket-whole-").tempdir().unwrap();
    sessions::measure(if measured() { 100_000 } else { 1_000 });
    let catalogue = Part::of_this_binary(&["catalogue"]);
    lists(&dir.path().join("lists"), catalogue.listening());
    let upstream = Part::of_this_binary(&["upstream"]);
    start(&dir.path().join("start"), upstream.listening());
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Reads all pages of the merged list, as a client does that has one connection.
fn lists(dir: &Path, upstream: SocketAddr) {
    let services = catalogues::services();
    let expected: usize = services.iter().map(|(_, _, tools)| tools.len()).sum();
    let home = Home::write(dir, "process", upstream, &policies_of_lists(), &services);
    let (gate, agents, _) = home.launch(Command::new(gate::BINARY)).unwrap_or_else(|why| panic!("{why}"));
    let key = home.key().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let times = runtime.block_on(async {
        let target = Target::parse(&format!("http://{agents}/mcp"), Some(&key)).unwrap();
        let mut peer = Dial::new(&target, CALL_MAX).unwrap().connect().await.unwrap();
        // Cold: the gate asks all upstreams.
        while peer.tools().await.unwrap().len() < expected {}
        let mut times = Vec::new();
        for _ in 0..if measured() { 100 } else { 2 } {
            let began = Instant::now();
            assert_eq!(peer.tools().await.unwrap().len(), expected);
            times.push(began.elapsed().as_secs_f64() * 1e3);
        }
        peer.end().await;
        times
    });
    target(&format!("merged tools/list of {expected} tools, warm, all pages"), median(times), 5.0, "ms");
    println!("{:<58} {:>9.2} MiB", "  resident memory of that gate", gate.rss_mib());
    gate.end();
}

/// Everything may be called, as far as counters and the caller let it: a list has to look.
fn policies_of_lists() -> String {
    r#"
    @id("all") permit (principal, action, resource);
    @id("breaker") forbid (principal, action, resource)
    when { context.session.denials >= 100 || context.member.denials >= 1000 };
    @id("nobody") forbid (principal, action, resource) when { principal.name == "nobody" };
    "#
    .to_owned()
}

/// From the start of the process to the first 200 of `/readyz`; the data directory is there, as after
/// every start but the first.
fn start(dir: &Path, upstream: SocketAddr) {
    let service = ("bench".to_owned(), "/mcp".to_owned(), upstream::definitions());
    let home = Home::write(dir, "durable", upstream, &policies::text(1_000), &[service]);
    let mut times = Vec::new();
    for _ in 0..if measured() { 8 } else { 2 } {
        let began = Instant::now();
        let (gate, _, control) =
            home.launch(Command::new(gate::BINARY)).unwrap_or_else(|why| panic!("{why}"));
        while !ready(control) {
            assert!(!gate.ended(), "the gate ended");
        }
        times.push(began.elapsed().as_secs_f64() * 1e3);
        gate.end();
    }
    // The first makes the database.
    let _first = times.remove(0);
    target("start to ready with 1,000 policies, warm disk", median(times), 300.0, "ms");
}

/// Whether `/readyz` answers 200.
fn ready(control: SocketAddr) -> bool {
    use std::io::{Read, Write};
    let Ok(mut stream) = std::net::TcpStream::connect(control) else { return false };
    let request = format!("GET /readyz HTTP/1.1\r\nhost: {control}\r\nconnection: close\r\n\r\n");
    let mut reply = String::new();
    let asked = stream.write_all(request.as_bytes()).and_then(|()| stream.read_to_string(&mut reply));
    asked.is_ok() && reply.starts_with("HTTP/1.1 200")
}
