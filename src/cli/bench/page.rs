//! The result of a load on a terminal, for a tired person, and as JSON, for programs.

use std::fmt::Write as _;

use serde_json::json;

use super::peer::Server;
use super::plan::Plan;
use super::tally::{Report, Times};
use crate::cli::output::{Style, Table, one_line};

/// The generator computed for more than this share of its time: its own limits were measured.
const BUSY_SHARE: f64 = 0.85;
/// The generator was later than this share of the median, in open loop.
const LATE_SHARE: f64 = 0.25;

/// What is about to happen.
pub fn head(plan: &Plan, server: &Server, style: Style) -> String {
    let load = &plan.load;
    let clients =
        if load.connections == 1 { "1 client".to_owned() } else { format!("{} clients", load.connections) };
    let pace = match load.rate {
        Some(rate) => format!("{rate} calls a second, whatever comes back"),
        None => "each sends its next call when the last is answered".to_owned(),
    };
    format!(
        "{} {} at {}\n  {} {} (MCP {})\n  {clients}; {pace}; {} s after {} s of warm-up\n\n",
        style.strong("calling"),
        one_line(plan.call.tool()),
        one_line(&plan.target.url()),
        one_line(&server.name),
        one_line(&server.version),
        one_line(&server.revision),
        load.measured.as_secs_f64(),
        load.warm_up.as_secs_f64(),
    )
}

/// Everything, for programs.
pub fn json(plan: &Plan, server: &Server, report: &Report) -> String {
    let load = &plan.load;
    let value = json!({
        "url": plan.target.url(),
        "server": { "name": server.name, "version": server.version, "revision": server.revision },
        "tool": plan.call.tool(),
        "connections": load.connections,
        "threads": load.threads,
        "ratePerSecond": load.rate,
        "warmUpSeconds": load.warm_up.as_secs_f64(),
        "durationSeconds": load.measured.as_secs_f64(),
        "report": report,
    });
    format!("{value:#}\n")
}

/// The table, what went wrong, and what to make of it.
pub fn table(plan: &Plan, report: &Report, style: Style) -> String {
    let mut table = Table::new(&["", "calls", "calls/s", "p50", "p90", "p99", "p99.9", "longest"]);
    let sorts = [("answered", &report.answered), ("denied", &report.denied), ("failed", &report.failed)];
    for (name, times) in sorts {
        if times.calls > 0 || name == "answered" {
            table.row(row(name, times));
        }
    }
    let mut text = table.render(2, style);
    if !report.kinds.is_empty() {
        let mut kinds = Table::new(&["calls", "", "why", "first said"]);
        for kind in &report.kinds {
            let sort = if kind.denial { "denied" } else { "failed" };
            kinds.row([kind.calls.to_string(), sort.to_owned(), kind.kind.clone(), kind.example.clone()]);
        }
        let _ = write!(text, "\n{}", kinds.render(2, style));
    }
    for note in notes(plan, report) {
        let _ = write!(text, "\n{} {note}\n", style.warn("note:"));
    }
    text
}

fn row(name: &str, times: &Times) -> Vec<String> {
    let mut cells = vec![name.to_owned(), times.calls.to_string(), format!("{:.0}", times.per_second)];
    let quantiles = [times.p50_us, times.p90_us, times.p99_us, times.p999_us, times.max_us];
    cells.extend(quantiles.map(|us| if times.calls == 0 { "-".to_owned() } else { time(us) }));
    cells
}

/// A time with three digits and its unit.
fn time(us: f64) -> String {
    match us {
        us if us < 1_000.0 => format!("{us:.0} us"),
        us if us < 10_000.0 => format!("{:.2} ms", us / 1e3),
        us if us < 1_000_000.0 => format!("{:.0} ms", us / 1e3),
        us => format!("{:.1} s", us / 1e6),
    }
}

/// What keeps the numbers from being what they seem.
fn notes(plan: &Plan, report: &Report) -> Vec<String> {
    let mut notes = Vec::new();
    if report.answered.calls == 0 && report.denied.calls > 0 {
        notes.push(
            "every call was denied: this is the cost of a denial; `wicket policy explain` says which policy"
                .to_owned(),
        );
    }
    if report.unsent > 0 {
        notes.push(format!(
            "the server did not keep up: {} calls were due and could not be sent, for every client was waiting. \
             They count as failed, with the time they had waited; ask for a lower --rate or more --connections",
            report.unsent
        ));
    }
    let has = |kind: &str| report.kinds.iter().any(|one| one.kind == kind);
    if has("rate_limited") || has("too_many_in_flight") {
        notes.push(
            "the gate limited this key: raise its rate or the caps for the test (docs/guide/benchmark.md)"
                .to_owned(),
        );
    }
    if report.generator_busy > BUSY_SHARE {
        let more = if plan.load.threads < plan.load.connections { "; give it more --threads" } else { "" };
        notes.push(format!(
            "the generator computed {:.0} % of the time: the numbers are its own limits as much as the server's{more}",
            report.generator_busy * 100.0
        ));
    }
    let late = report.generator_late.p50_us;
    if late > report.answered.p50_us * LATE_SHARE && report.answered.calls > 0 {
        notes.push(format!(
            "times begin when a call was due, and the generator itself was {} late at the median",
            time(late)
        ));
    }
    notes
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::plan::{Call, Load, Target};
    use super::super::tally::Tally;
    use super::super::verdict::{Fault, Verdict};
    use super::*;

    fn plan() -> Plan {
        let seconds = Duration::from_secs;
        let load = Load {
            connections: 8,
            threads: 1,
            warm_up: seconds(1),
            measured: seconds(10),
            rate: Some(500.0),
            call_max: seconds(30),
        };
        let target = Target::parse("http://127.0.0.1:7400/mcp", Some("s3cret")).unwrap();
        Plan { target, call: Call::new("files__read", "{}").unwrap(), load }
    }

    #[test]
    fn a_page_says_how_many_how_fast_and_what_went_wrong() {
        let mut tally = Tally::default();
        for us in 1..=2_000 {
            tally.record(Verdict::Answered, Duration::from_micros(us));
        }
        tally.record(
            Verdict::Denied(Fault::new("forbidden", "HTTP 200: Authorization denied")),
            Duration::from_micros(90),
        );
        tally.record(Verdict::Failed(Fault::new("never sent", "it was due")), Duration::from_secs(2));
        let report = tally.report(10.0, 1, 0.97);
        let server =
            Server { name: "wicket\u{1b}[2J".into(), version: "0.1.0".into(), revision: "2025-11-25".into() };
        let text =
            format!("{}{}", head(&plan(), &server, Style::plain()), table(&plan(), &report, Style::plain()));
        assert!(!text.contains("s3cret") && !json(&plan(), &server, &report).contains("s3cret"));
        insta::assert_snapshot!("page", text);
    }
}
