//! `make bench`: what one call through the gate costs, against a pass-through on the same stack, nginx
//! and HAProxy, interleaved in one run.
//!
//! Every part is a process of its own (this binary again, in a role): upstream, pass-through and load
//! generator, so that CPU per call is read per process from `/proc`. Rates on a shared machine say
//! little; ratios within a round and CPU per call do. `docs/guide/benchmark.md` says how to read it.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a benchmark that meets the unexpected should stop there and say where"
)]

#[path = "exchange/gate.rs"]
mod gate;
#[path = "exchange/load.rs"]
mod load;
#[path = "exchange/others.rs"]
mod others;
#[path = "exchange/pass.rs"]
mod pass;
#[path = "exchange/process.rs"]
mod process;
#[path = "exchange/report.rs"]
mod report;
#[path = "exchange/upstream.rs"]
mod upstream;

use std::net::SocketAddr;
use std::time::Duration;

use process::Part;
use report::{Machine, Measured, Run};

/// How much is measured.
struct Plan {
    rounds: usize,
    /// Before each measurement, not counted.
    warm_up: Duration,
    measured: Duration,
    /// Connections, each with one call at a time.
    connections: Vec<usize>,
}

impl Plan {
    fn of(short: bool) -> Self {
        let seconds = Duration::from_secs_f64;
        if short {
            Self { rounds: 1, warm_up: seconds(0.1), measured: seconds(0.5), connections: vec![1, 16] }
        } else {
            Self { rounds: 7, warm_up: seconds(1.0), measured: seconds(4.0), connections: vec![1, 64] }
        }
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("upstream") => upstream::main(),
        Some("pass") => pass::main(arguments[1].parse().unwrap()),
        Some("load") => load::main(&arguments[1..]),
        _ => measure(),
    }
}

/// What is measured: a name and where it listens; the process whose CPU is counted, where it is not
/// the upstream itself.
struct Plane {
    name: &'static str,
    address: SocketAddr,
    part: Option<Part>,
    key: String,
}

fn measure() {
    let setting = |name: &str| process::setting(name);
    let plan = Plan::of(setting("WICKET_BENCH").as_deref() == Some("short"));
    let dir = tempfile::Builder::new().prefix("wicket-bench-").tempdir().unwrap();
    let upstream = Part::of_this_binary(&["upstream"]);
    let target = upstream.listening();
    let mut planes = vec![Plane { name: "upstream alone", address: target, part: None, key: String::new() }];
    let mut absent = Vec::new();
    let pass = Part::of_this_binary(&["pass", &target.to_string()]);
    let address = pass.listening();
    planes.push(Plane {
        name: "pass-through (pingora + hyper)",
        address,
        part: Some(pass),
        key: String::new(),
    });
    for (name, start) in [("nginx", others::nginx as others::Start), ("haproxy", others::haproxy)] {
        match start(dir.path(), target) {
            Ok((part, address)) => planes.push(Plane { name, address, part: Some(part), key: String::new() }),
            Err(why) => absent.push(format!("{name}: {why}")),
        }
    }
    for (name, mode) in [("wicket, process", "process"), ("wicket, durable", "durable")] {
        match gate::start(dir.path(), mode, target) {
            Ok((part, address, key)) => planes.push(Plane { name, address, part: Some(part), key }),
            Err(why) => panic!("{name} did not start: {why}"),
        }
    }
    let mut runs = Vec::new();
    for &connections in &plan.connections {
        let mut measured: Vec<Vec<Measured>> = planes.iter().map(|_| Vec::new()).collect();
        for round in 0..plan.rounds {
            // Interleaved, and from another start each round: what the machine does beside us meets all.
            for index in 0..planes.len() {
                let index = (index + round) % planes.len();
                measured[index].push(one(&planes[index], &plan, connections));
            }
            eprintln!("round {} of {} with {connections} connections", round + 1, plan.rounds);
        }
        let names = planes.iter().map(|plane| plane.name.to_owned());
        runs.push(Run { connections, planes: names.zip(measured).collect() });
    }
    let text = report::markdown(&Machine::here(), &runs, &absent);
    println!("{text}");
    report::write(&text, &Machine::here(), &runs, &absent);
}

fn one(plane: &Plane, plan: &Plan, connections: usize) -> Measured {
    let tool = if plane.key.is_empty() { "echo" } else { "bench__echo" };
    let load = |duration: Duration| load::run(plane.address, &plane.key, tool, connections, duration);
    load(plan.warm_up);
    let before = plane.part.as_ref().map(Part::cpu);
    let loaded = load(plan.measured);
    let cpu = plane.part.as_ref().zip(before).map(|(part, before)| part.cpu() - before);
    assert!(
        loaded.failed == 0,
        "{}: {} of {} calls failed: {}",
        plane.name,
        loaded.failed,
        loaded.calls,
        loaded.first_failure
    );
    assert!(loaded.calls > 0, "{}: no call ended", plane.name);
    let calls = loaded.calls as f64;
    Measured {
        calls: loaded.calls,
        per_second: calls / loaded.seconds,
        p50_us: loaded.p50_us,
        p99_us: loaded.p99_us,
        cpu_us_per_call: cpu.map(|cpu| cpu.as_secs_f64() * 1e6 / calls),
        rss_mib: plane.part.as_ref().map(Part::rss_mib),
    }
}
