//! The result, for people (markdown) and for programs (JSON): medians over the rounds, ratios within
//! them, and on what it was measured.

use std::fmt::{self, Write as _};
use std::path::Path;

use serde::Serialize;

use super::chart;
use super::machine::Machine;
use super::planes::PASS;
use super::process::setting;
use super::targets::Target;

/// How calls are sent.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Loop {
    pub connections: usize,
    /// Calls a second, whatever comes back (open loop); else each connection sends its next call when
    /// the last is answered.
    pub rate: Option<f64>,
}

impl fmt::Display for Loop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = if self.connections == 1 { "" } else { "s" };
        match self.rate {
            None => write!(f, "closed loop, {} connection{s}", self.connections),
            Some(rate) => write!(f, "open loop, {rate:.0} calls/s over {} connection{s}", self.connections),
        }
    }
}

/// One plane in one round. Times in microseconds.
#[derive(Debug, Clone, Serialize)]
pub struct Measured {
    pub calls: u64,
    /// Calls of an open loop that were due and never sent.
    pub unsent: u64,
    pub per_second: f64,
    pub p50_us: f64,
    pub p99_us: f64,
    pub p999_us: f64,
    /// CPU a call of the plane's process, all threads.
    pub cpu_us: Option<f64>,
    pub user_us: Option<f64>,
    pub system_us: Option<f64>,
    pub rss_mib: Option<f64>,
    pub generator_late_p50_us: Option<f64>,
    /// Share of its time that the load generator computed; near 1 the rate is the generator's own.
    pub generator_busy: f64,
}

/// All rounds of one way to send.
#[derive(Debug, Serialize)]
pub struct Run {
    pub of: Loop,
    pub planes: Vec<(String, Vec<Measured>)>,
}

impl Run {
    /// The rounds of a plane; none where it was not measured.
    pub fn rounds(&self, plane: &str) -> &[Measured] {
        self.planes.iter().find(|(name, _)| name == plane).map_or(&[][..], |(_, rounds)| rounds)
    }
}

/// Everything.
#[derive(Debug, Serialize)]
pub struct Report {
    pub machine: Machine,
    pub rounds: usize,
    pub measured_ms: u64,
    pub runs: Vec<Run>,
    pub targets: Vec<Target>,
    /// What could not be measured, and why.
    pub absent: Vec<String>,
}

/// The middle value; not a number where there is none.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        even if even % 2 == 0 => f64::midpoint(sorted[middle - 1], sorted[middle]),
        _ => sorted[middle],
    }
}

/// A median with the range behind it, as `59 (57–64)`.
pub fn spread(values: &[f64], digits: usize) -> String {
    if values.is_empty() {
        return "-".to_owned();
    }
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    format!("{:.digits$} ({low:.digits$}–{high:.digits$})", median(values))
}

/// Something of each round put together with the same of another plane in the same round.
pub fn paired(
    one: &[Measured],
    other: &[Measured],
    pick: impl Fn(&Measured) -> Option<f64>,
    join: impl Fn(f64, f64) -> f64,
) -> Vec<f64> {
    one.iter().zip(other).filter_map(|(one, other)| Some(join(pick(one)?, pick(other)?))).collect()
}

impl Report {
    /// The report as text.
    pub fn markdown(&self) -> String {
        let machine = &self.machine;
        let mut text = String::from("# One call through the gate\n\n");
        let _ = writeln!(
            text,
            "{} processors of {}, {} MiB, Linux {}, load at the start {}.\n{}; {}.\n",
            machine.processors,
            machine.processor,
            machine.memory_mib,
            machine.kernel,
            machine.load_average,
            machine.versions.join("; "),
            machine.build,
        );
        let _ = writeln!(
            text,
            "{} rounds, interleaved, of {} s for each plane. Median over the rounds (lowest–highest). CPU is of \
             the plane's own process, all its threads; user and system time are sampled. Times in microseconds.",
            self.rounds,
            self.measured_ms as f64 / 1e3
        );
        for run in &self.runs {
            table(&mut text, run);
        }
        text.push_str("\n## Targets\n\n| what | target | measured | |\n|---|---|---|---|\n");
        for target in &self.targets {
            let _ = writeln!(text, "{}", target.row());
        }
        for one in &self.absent {
            let _ = writeln!(text, "\nNot measured: {one}.");
        }
        text
    }

    /// Writes all forms to `target/bench`, and the chart where `WICKET_BENCH_CHART` says, too.
    pub fn write(&self) {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let dir = root.join("target/bench");
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join("exchange.md"), self.markdown()).unwrap();
        std::fs::write(dir.join("exchange.json"), serde_json::to_string_pretty(self).unwrap()).unwrap();
        let chart = chart::draw(self);
        std::fs::write(dir.join("exchange.svg"), &chart).unwrap();
        if let Some(file) = setting("WICKET_BENCH_CHART") {
            std::fs::write(root.join(file), &chart).unwrap();
        }
        eprintln!("written to {}", dir.join("exchange.{md,json,svg}").display());
    }
}

fn table(text: &mut String, run: &Run) {
    let _ = writeln!(text, "\n## {}\n", run.of);
    text.push_str(
        "| plane | CPU a call | user + system | x pass-through | calls/s | p50 | p99 | p99.9 | RSS MiB |\n\
         |---|---|---|---|---|---|---|---|---|\n",
    );
    let pass = run.rounds(PASS);
    for (name, rounds) in &run.planes {
        let of = |pick: &dyn Fn(&Measured) -> Option<f64>| rounds.iter().filter_map(pick).collect::<Vec<_>>();
        let ratios = paired(rounds, pass, |one| one.cpu_us, |one, pass| one / pass);
        let split = [of(&|one| one.user_us), of(&|one| one.system_us)].map(|part| median(&part));
        let _ = writeln!(
            text,
            "| {name} | {} | {:.0} + {:.0} | {} | {} | {} | {} | {} | {:.0} |",
            spread(&of(&|one| one.cpu_us), 1),
            split[0],
            split[1],
            spread(&ratios, 2),
            spread(&of(&|one| Some(one.per_second)), 0),
            spread(&of(&|one| Some(one.p50_us)), 0),
            spread(&of(&|one| Some(one.p99_us)), 0),
            spread(&of(&|one| Some(one.p999_us)), 0),
            median(&of(&|one| one.rss_mib)),
        );
    }
    let all = || run.planes.iter().flat_map(|(_, rounds)| rounds);
    let late: Vec<f64> = all().filter_map(|one| one.generator_late_p50_us).collect();
    if !late.is_empty() {
        let _ = writeln!(
            text,
            "\nA call's time begins when it was due, so it holds what the generator itself was late: {} us at \
             the median, the same for all planes.",
            spread(&late, 0)
        );
    }
    let unsent: u64 = all().map(|one| one.unsent).sum();
    if unsent > 0 {
        let _ = writeln!(text, "\n**{unsent} calls were due and never sent: some plane did not keep up.**");
    }
    let busy = all().map(|one| one.generator_busy).fold(0.0, f64::max);
    let _ = writeln!(text, "\nThe load generator computed at most {:.0} % of the time.", busy * 100.0);
}
