//! `make bench`: what one call through the gate costs, against a pass-through on the same stack, nginx,
//! HAProxy and Envoy, interleaved in one run.
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

#[path = "exchange/chart.rs"]
mod chart;
#[path = "exchange/gate.rs"]
mod gate;
#[path = "exchange/load.rs"]
mod load;
#[path = "exchange/machine.rs"]
mod machine;
#[path = "exchange/others.rs"]
mod others;
#[path = "exchange/pass.rs"]
mod pass;
#[path = "exchange/planes.rs"]
mod planes;
#[path = "exchange/policies.rs"]
mod policies;
#[path = "exchange/process.rs"]
mod process;
#[path = "exchange/report.rs"]
mod report;
#[path = "exchange/targets.rs"]
mod targets;
#[path = "exchange/upstream.rs"]
mod upstream;

use load::Order;
use machine::Machine;
use planes::Plane;
use process::setting;
use report::{Loop, Measured, Report, Run};

/// The gate's allocator, for the pass-through too: else the difference would be the allocator's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How much is measured.
struct Plan {
    rounds: usize,
    /// Before each measurement, not counted.
    warm_up_ms: u64,
    measured_ms: u64,
    loops: Vec<Loop>,
}

impl Plan {
    /// `WICKET_BENCH=short` is a test that all of it works. `WICKET_BENCH_ROUNDS` and
    /// `WICKET_BENCH_SECONDS` make a run of the whole longer or shorter.
    fn asked() -> Self {
        let short =
            setting("WICKET_BENCH").as_deref() == Some("short") || !std::env::args().any(|a| a == "--bench");
        let number = |name: &str, default: f64| -> f64 {
            setting(name)
                .map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text}: no number")))
        };
        let closed = |connections| Loop { connections, rate: None };
        let open = |connections, rate| Loop { connections, rate: Some(rate) };
        if short {
            let loops = vec![closed(1), closed(64), open(16, 200.0)];
            return Self { rounds: 1, warm_up_ms: 100, measured_ms: 300, loops };
        }
        let rate = number("WICKET_BENCH_RATE", 2_000.0);
        Self {
            rounds: number("WICKET_BENCH_ROUNDS", 7.0) as usize,
            warm_up_ms: 1_000,
            measured_ms: (number("WICKET_BENCH_SECONDS", 4.0) * 1_000.0) as u64,
            loops: vec![closed(1), closed(64), open(64, rate)],
        }
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("upstream") => upstream::main(&upstream::definitions()),
        Some("pass") => pass::main(arguments[1].parse().unwrap()),
        Some("bare") => pass::bare(arguments[1].parse().unwrap()),
        Some("load") => load::main(),
        _ => measure(),
    }
}

fn measure() {
    let plan = Plan::asked();
    let dir = tempfile::Builder::new().prefix("wicket-bench-").tempdir().unwrap();
    let (planes, absent) = planes::start(dir.path());
    for plane in &planes {
        plane.show_that_it_guards();
    }
    let machine = Machine::here(&planes);
    planes.iter().for_each(Plane::sleep);
    let mut runs = Vec::new();
    for asked in &plan.loops {
        let mut measured: Vec<Vec<Measured>> = planes.iter().map(|_| Vec::new()).collect();
        for round in 0..plan.rounds {
            // Interleaved, and from another start each round: what the machine does beside us meets all.
            for index in 0..planes.len() {
                let index = (index + round) % planes.len();
                measured[index].push(planes[index].awake(|plane| one(plane, &plan, asked)));
            }
            eprintln!("round {} of {}: {asked}", round + 1, plan.rounds);
        }
        let names = planes.iter().map(|plane| plane.name.to_owned());
        runs.push(Run { of: *asked, planes: names.zip(measured).collect() });
    }
    for part in planes.iter().filter(|plane| plane.is_gate()).filter_map(|plane| plane.part.as_ref()) {
        part.resume();
        part.end();
    }
    let targets = targets::all(&runs);
    let report =
        Report { machine, measured_ms: plan.measured_ms, rounds: plan.rounds, runs, targets, absent };
    println!("{}", report.markdown());
    report.write();
}

fn one(plane: &Plane, plan: &Plan, asked: &Loop) -> Measured {
    let order = Order {
        address: plane.address,
        key: plane.key.clone(),
        tool: plane.tool.to_owned(),
        connections: asked.connections,
        rate: asked.rate,
        warm_up_ms: plan.warm_up_ms,
        measured_ms: plan.measured_ms,
    };
    let mut before = None;
    let seen = load::run(&order, || before = plane.part.as_ref().map(process::Part::cpu));
    let cpu = plane.part.as_ref().zip(before).map(|(part, before)| part.cpu() - before);
    assert!(seen.answered.calls > 0, "{}: no call was answered: {seen:?}", plane.name);
    let faults = seen.failed.calls - seen.unsent + seen.denied.calls;
    assert!(faults == 0, "{}: {faults} calls failed: {:?}", plane.name, seen.kinds);
    let calls = seen.answered.calls as f64;
    let per_call = |seconds: f64| seconds * 1e6 / calls;
    Measured {
        calls: seen.answered.calls,
        unsent: seen.unsent,
        per_second: seen.answered.per_second,
        p50_us: seen.answered.p50_us,
        p99_us: seen.answered.p99_us,
        p999_us: seen.answered.p999_us,
        cpu_us: cpu.map(|cpu| per_call(cpu.all_s)),
        user_us: cpu.map(|cpu| per_call(cpu.user_s)),
        system_us: cpu.map(|cpu| per_call(cpu.system_s)),
        rss_mib: plane.part.as_ref().map(process::Part::rss_mib),
        generator_late_p50_us: asked.rate.map(|_| seen.generator_late.p50_us),
        generator_busy: seen.generator_busy,
    }
}
