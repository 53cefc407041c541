//! The result, for people (markdown) and for programs (JSON): medians over the rounds, ratios within
//! them, and on what it was measured.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use serde::Serialize;

use super::process::installed;

/// The plane that the others are compared with.
const REFERENCE: &str = "pass-through (pingora + hyper)";

/// One plane in one round.
#[derive(Debug, Clone, Serialize)]
pub struct Measured {
    pub calls: u64,
    pub per_second: f64,
    pub p50_us: u64,
    pub p99_us: u64,
    pub cpu_us_per_call: Option<f64>,
    pub rss_mib: Option<f64>,
}

/// All rounds with one number of connections.
#[derive(Debug, Serialize)]
pub struct Run {
    pub connections: usize,
    pub planes: Vec<(String, Vec<Measured>)>,
}

/// What it was measured on.
#[derive(Debug, Serialize)]
pub struct Machine {
    processor: String,
    processors: usize,
    kernel: String,
    load_average: String,
    build: &'static str,
    versions: Vec<String>,
}

impl Machine {
    /// This one, now.
    pub fn here() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let model = read("/proc/cpuinfo");
        let model = model
            .lines()
            .find_map(|line| line.strip_prefix("model name"))
            .unwrap_or("")
            .trim_start_matches([' ', '\t', ':']);
        let version = |program: &str, argument: &str| -> Option<String> {
            let output = Command::new(installed(program)?).arg(argument).output().ok()?;
            let text = [output.stdout, output.stderr].concat();
            String::from_utf8_lossy(&text).lines().next().map(str::to_owned)
        };
        let versions = [version("nginx", "-v"), version("haproxy", "-v"), version("rustc", "-V")];
        Self {
            processor: model.to_owned(),
            processors: std::thread::available_parallelism().map_or(0, usize::from),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            load_average: read("/proc/loadavg").trim().to_owned(),
            build: if cfg!(debug_assertions) { "debug (the figures mean nothing)" } else { "release" },
            versions: versions
                .into_iter()
                .flatten()
                .chain([format!("wicket {}", env!("CARGO_PKG_VERSION"))])
                .collect(),
        }
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// A median with the range behind it, as `59 (57-64)`.
fn spread(values: Vec<f64>, digits: usize) -> String {
    if values.is_empty() {
        return "-".to_owned();
    }
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(0.0, f64::max);
    format!("{:.digits$} ({low:.digits$}-{high:.digits$})", median(values))
}

/// CPU of each round divided by the reference's CPU in the same round.
fn ratios(plane: &[Measured], reference: &[Measured]) -> Vec<f64> {
    let pairs = plane.iter().zip(reference);
    pairs
        .filter_map(|(one, other)| {
            Some(one.cpu_us_per_call? / other.cpu_us_per_call.filter(|cpu| *cpu > 0.0)?)
        })
        .collect()
}

/// The report as text.
pub fn markdown(machine: &Machine, runs: &[Run], absent: &[String]) -> String {
    let mut text = String::from("# One call through the gate\n\n");
    let _ = writeln!(
        text,
        "{} processors of {}, Linux {}, load {}, {} build. {}.\n",
        machine.processors,
        machine.processor,
        machine.kernel,
        machine.load_average,
        machine.build,
        machine.versions.join("; ")
    );
    text.push_str(
        "Median over the rounds (lowest-highest). CPU is user and system time of the plane's own process.\n",
    );
    for run in runs {
        let _ = writeln!(text, "\n## {} connections\n", run.connections);
        text.push_str("| plane | CPU us/call | x pass-through | calls/s | p50 us | p99 us | RSS MiB |\n|---|---|---|---|---|---|---|\n");
        let reference =
            run.planes.iter().find(|(name, _)| name == REFERENCE).map_or(&[][..], |(_, rounds)| rounds);
        for (name, rounds) in &run.planes {
            let of =
                |pick: &dyn Fn(&Measured) -> Option<f64>| rounds.iter().filter_map(pick).collect::<Vec<_>>();
            let _ = writeln!(
                text,
                "| {name} | {} | {} | {} | {} | {} | {} |",
                spread(of(&|one| one.cpu_us_per_call), 1),
                spread(ratios(rounds, reference), 2),
                spread(of(&|one| Some(one.per_second)), 0),
                spread(of(&|one| Some(one.p50_us as f64)), 0),
                spread(of(&|one| Some(one.p99_us as f64)), 0),
                spread(of(&|one| one.rss_mib), 0),
            );
        }
    }
    for one in absent {
        let _ = writeln!(text, "\nNot measured: {one}.");
    }
    text
}

/// Writes both forms to `target/bench`.
pub fn write(text: &str, machine: &Machine, runs: &[Run], absent: &[String]) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench");
    std::fs::create_dir_all(&dir).unwrap();
    let value = serde_json::json!({ "machine": machine, "runs": runs, "absent": absent });
    std::fs::write(dir.join("exchange.md"), text).unwrap();
    std::fs::write(dir.join("exchange.json"), serde_json::to_string_pretty(&value).unwrap()).unwrap();
    eprintln!("written to {}", dir.join("exchange.{md,json}").display());
}
