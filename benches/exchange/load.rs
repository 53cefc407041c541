//! The load, in a process of its own: the generator of `wicket bench`, told what to do by its standard
//! input, saying when the warm-up is over and, at the end, what it saw.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use wicket::cli::bench::load;
use wicket::cli::bench::peer::Dial;
use wicket::cli::bench::plan::{Call, Load, Plan, Target};
use wicket::cli::bench::tally::Report;
use wicket::cli::bench::verdict::Verdict;

/// Small: 188 bytes of body and more.
pub const ARGUMENTS: &str =
    r#"{"path":"/home/user/project/src/main.rs","text":"a few words that an agent might send"}"#;
/// A call without its answer by then has failed.
const CALL_MAX: Duration = Duration::from_secs(10);
/// What the child says when counting begins.
const BEGUN: &str = "begun";

/// What is asked of the child. It comes over standard input: a key among the arguments would be seen by
/// everybody who lists processes.
#[derive(Serialize, Deserialize)]
pub struct Order {
    pub address: SocketAddr,
    pub key: Option<String>,
    pub tool: String,
    pub connections: usize,
    /// Calls a second in open loop; closed loop without.
    pub rate: Option<f64>,
    pub warm_up_ms: u64,
    pub measured_ms: u64,
}

/// Runs the load in a child; `begun` is called when counting begins.
pub fn run(order: &Order, begun: impl FnOnce()) -> Report {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .arg("load")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(&serde_json::to_vec(order).unwrap()).unwrap();
    drop(input);
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    assert_eq!(line.trim(), BEGUN, "the load generator said something else");
    begun();
    line.clear();
    output.read_line(&mut line).unwrap();
    assert!(child.wait().unwrap().success(), "the load generator failed");
    serde_json::from_str(&line).unwrap()
}

/// The child.
pub fn main() {
    let order: Order = serde_json::from_reader(std::io::stdin()).unwrap();
    let plan = Plan {
        target: target(order.address, order.key.as_deref()),
        call: Call::new(&order.tool, ARGUMENTS).unwrap(),
        load: Load {
            connections: order.connections,
            threads: 1,
            warm_up: Duration::from_millis(order.warm_up_ms),
            measured: Duration::from_millis(order.measured_ms),
            rate: order.rate,
            call_max: CALL_MAX,
        }
        .checked()
        .unwrap(),
    };
    let report = load::run(&plan, || say(BEGUN)).unwrap_or_else(|fault| panic!("{fault:?}"));
    say(&serde_json::to_string(&report).unwrap());
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).unwrap();
}

fn target(address: SocketAddr, key: Option<&str>) -> Target {
    Target::parse(&format!("http://{address}/mcp"), key).unwrap()
}

/// One client, one call: what became of it, a refused handshake included.
pub fn once(address: SocketAddr, key: Option<&str>, tool: &str, arguments: &str) -> Verdict {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let dial = Dial::new(&target(address, key), CALL_MAX).unwrap();
        let call = Call::new(tool, arguments).unwrap();
        let mut peer = match dial.connect().await {
            Ok(peer) => peer,
            Err(fault) => return Verdict::Failed(fault),
        };
        let verdict = peer.call(&call).await.unwrap_or_else(Verdict::Failed);
        peer.end().await;
        verdict
    })
}
