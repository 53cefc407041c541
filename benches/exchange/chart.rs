//! The chart for the README: CPU a call of each plane at the largest closed loop, drawn as SVG with
//! nothing but rectangles and text, readable on light and dark pages.

use std::fmt::Write as _;

use super::planes::UPSTREAM;
use super::report::{Measured, Report, median};

const WIDTH: f64 = 760.0;
const LABELS: f64 = 230.0;
const BAR: f64 = 20.0;
const STEP: f64 = 32.0;
const TOP: f64 = 64.0;
/// Room right of the longest bar, for its number.
const NUMBERS: f64 = 110.0;

/// Draws it; an empty picture where nothing was measured.
pub fn draw(report: &Report) -> String {
    let closed = report.runs.iter().filter(|run| run.of.rate.is_none());
    let Some(run) = closed.max_by_key(|run| run.of.connections) else { return String::new() };
    let middle = |rounds: &[Measured], pick: fn(&Measured) -> Option<f64>| {
        median(&rounds.iter().filter_map(pick).collect::<Vec<_>>())
    };
    let bars: Vec<(&str, f64, f64)> = run
        .planes
        .iter()
        .filter(|(name, rounds)| name != UPSTREAM && rounds.iter().any(|one| one.cpu_us.is_some()))
        .map(|(name, rounds)| {
            let (user, system) = (middle(rounds, |one| one.user_us), middle(rounds, |one| one.system_us));
            let share = if user + system > 0.0 { user / (user + system) } else { 0.0 };
            (name.as_str(), middle(rounds, |one| one.cpu_us), share)
        })
        .collect();
    let longest = bars.iter().map(|(_, cpu, _)| *cpu).fold(1.0, f64::max);
    let height = TOP + STEP * bars.len() as f64 + 34.0;
    let scale = (WIDTH - LABELS - NUMBERS) / longest;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH:.0} {height:.0}\" width=\"{WIDTH:.0}\" \
         height=\"{height:.0}\" font-family=\"system-ui, sans-serif\" font-size=\"14\" role=\"img\">\n\
         <title>CPU a tool call costs, by proxy</title>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n\
         <text x=\"16\" y=\"26\" font-size=\"16\" font-weight=\"600\" fill=\"#1f2328\">CPU of one tool call, in microseconds (less is better)</text>\n\
         <text x=\"16\" y=\"46\" font-size=\"12\" fill=\"#59636e\">{}; dark: user, light: system time</text>\n",
        escape(&run.of.to_string())
    );
    for (row, (name, cpu, user_share)) in bars.iter().enumerate() {
        let y = TOP + STEP * row as f64;
        let (user, system) = (cpu * user_share * scale, cpu * (1.0 - user_share) * scale);
        let own = name.starts_with("wicket");
        let (dark, light) = if own { ("#0969da", "#80b8f5") } else { ("#6e7781", "#c4cad1") };
        let weight = if own { "600" } else { "400" };
        let text = y + 15.0;
        let _ = writeln!(
            svg,
            "<text x=\"{:.0}\" y=\"{text:.0}\" text-anchor=\"end\" font-weight=\"{weight}\" fill=\"#1f2328\">{}</text>\
             <rect x=\"{LABELS:.1}\" y=\"{y:.0}\" width=\"{user:.1}\" height=\"{BAR:.0}\" fill=\"{dark}\"/>\
             <rect x=\"{:.1}\" y=\"{y:.0}\" width=\"{system:.1}\" height=\"{BAR:.0}\" fill=\"{light}\"/>\
             <text x=\"{:.1}\" y=\"{text:.0}\" font-weight=\"{weight}\" fill=\"#1f2328\">{cpu:.1}</text>",
            LABELS - 10.0,
            escape(name),
            LABELS + user,
            LABELS + user + system + 8.0,
        );
    }
    let foot = format!(
        "{} processors, {}, Linux {}; median of {} rounds; {}",
        report.machine.processors,
        report.machine.processor,
        report.machine.kernel,
        report.rounds,
        // Its settings stand in the report; here there is room for its name.
        report.machine.build.split([':', '(']).next().unwrap_or_default().trim()
    );
    let _ = writeln!(
        svg,
        "<text x=\"16\" y=\"{:.0}\" font-size=\"11\" fill=\"#59636e\">{}</text>",
        height - 10.0,
        escape(&foot)
    );
    svg.push_str("</svg>\n");
    svg
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
