//! The numbers to reach that one run of this benchmark can judge: each with what was measured beside
//! it, and a plain word where it was missed.

use serde::Serialize;

use super::planes::{GATE_DURABLE, GATE_PROCESS, HAPROXY_RULE, PASS};
use super::report::{Measured, Run, median, paired, spread};

/// One number to reach.
#[derive(Debug, Serialize)]
pub struct Target {
    what: String,
    unit: &'static str,
    at_most: f64,
    /// Of each round; empty where a plane it needs was not measured.
    measured: Vec<f64>,
}

impl Target {
    /// As a row of a table.
    pub fn row(&self) -> String {
        let Self { what, unit, at_most, measured } = self;
        let middle = median(measured);
        let word = if measured.is_empty() {
            "not measured".to_owned()
        } else if middle <= *at_most {
            "reached".to_owned()
        } else {
            format!("**missed by {:.2} {unit}**", middle - at_most)
        };
        format!("| {what} | ≤ {at_most} {unit} | {} {unit} | {word} |", spread(measured, 2))
    }
}

/// All of them.
pub fn all(runs: &[Run]) -> Vec<Target> {
    let closed = |connections: usize| {
        runs.iter().find(|run| run.of.rate.is_none() && run.of.connections == connections)
    };
    let compare = |connections: usize,
                   one: &str,
                   other: &str,
                   pick: fn(&Measured) -> Option<f64>,
                   join: fn(f64, f64) -> f64| {
        closed(connections)
            .map(|run| paired(run.rounds(one), run.rounds(other), pick, join))
            .unwrap_or_default()
    };
    let less = |one: f64, other: f64| one - other;
    let cpu = |one: &Measured| one.cpu_us;
    let p50 = |one: &Measured| Some(one.p50_us);
    let target =
        |what: &str, unit, at_most, measured| Target { what: what.to_owned(), unit, at_most, measured };
    vec![
        target(
            "CPU that the gate adds over the pass-through, 64 connections, `process`",
            "us",
            10.0,
            compare(64, GATE_PROCESS, PASS, cpu, less),
        ),
        target(
            "CPU of the whole gate over HAProxy's with the JSON rule, 64 connections, `process`",
            "x",
            1.0,
            compare(64, GATE_PROCESS, HAPROXY_RULE, cpu, |one, other| one / other),
        ),
        target(
            "added p50 over the pass-through, one connection, `process`",
            "us",
            30.0,
            compare(1, GATE_PROCESS, PASS, p50, less),
        ),
        target(
            "added p50 over the pass-through, one connection, `durable`",
            "us",
            1_000.0,
            compare(1, GATE_DURABLE, PASS, p50, less),
        ),
    ]
}
