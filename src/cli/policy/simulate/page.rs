//! A simulation as a person reads it.

use crate::cli::output::{Style, Table, counted, one_line};
use crate::policy::simulate::{Certainty, Row, Simulation, Split, Unmatched};

/// Lines of the tables of tools and policies.
const LINES_MAX: usize = 15;

pub(super) fn render(found: &Simulation, style: Style) -> String {
    let mut text = format!(
        "{} from {} to {}\n",
        style.strong(&counted(found.calls, "recorded call", "recorded calls")),
        found.from,
        found.to
    );
    if found.calls == 0 {
        return text;
    }
    text.push_str(&heads(found, style));
    for (why, count) in &found.unmatched_by {
        let says = Unmatched::ALL.iter().find(|one| one.as_str() == why).map_or("", |one| one.says());
        text.push_str(&format!("  unmatched {count}: {why} ({says})\n"));
    }
    if found.unreadable_lines > 0 {
        let lines = counted(found.unreadable_lines, "line of the journal is", "lines of the journal are");
        text.push_str(&format!("{} {lines} no entry: `wicket audit verify`\n", style.warn("mind:")));
    }
    text.push_str(&tools(found, style));
    text.push_str(&policies(found, style));
    text.push_str(&rows(found, style));
    text
}

fn split(split: Split) -> String {
    format!("{} allowed, {} denied", split.allow, split.deny)
}

fn heads(found: &Simulation, style: Style) -> String {
    let changed = counted(found.changed, "call changes", "calls change");
    let changed = if found.changed == 0 { style.good(&changed) } else { style.warn(&changed) };
    let mut text = format!(
        "  before         {}\n  after          {}\n  without draft  {}\n{changed}",
        split(found.before),
        split(found.after),
        split(found.baseline)
    );
    if found.changed > 0 {
        text.push_str(&format!(
            ": {} newly allowed, {} newly denied",
            found.newly_allowed, found.newly_denied
        ));
    }
    if found.estimated > 0 {
        text.push_str(&format!("; counters are an estimate for {}", found.estimated));
    }
    text.push('\n');
    text
}

fn tools(found: &Simulation, style: Style) -> String {
    let touched = found.tools.iter().filter(|tool| tool.changed > 0 || tool.unmatched > 0);
    let mut table = Table::new(&["TOOL", "ALLOWED", "THEN", "DENIED", "THEN", "CHANGE", "UNMATCHED"]);
    let mut any = false;
    for tool in touched.take(LINES_MAX) {
        any = true;
        let numbers = [
            tool.before.allow,
            tool.after.allow,
            tool.before.deny,
            tool.after.deny,
            tool.changed,
            tool.unmatched,
        ];
        table.row(std::iter::once(one_line(&tool.tool)).chain(numbers.map(|number| number.to_string())));
    }
    if any { format!("\n{}", table.render(0, style)) } else { String::new() }
}

fn policies(found: &Simulation, style: Style) -> String {
    let moved = found.policies.iter().filter(|policy| policy.before != policy.after);
    let mut table = Table::new(&["POLICY", "DECIDED", "WOULD DECIDE"]);
    let mut any = false;
    for policy in moved.take(LINES_MAX) {
        any = true;
        table.row([one_line(&policy.policy), policy.before.to_string(), policy.after.to_string()]);
    }
    if any { format!("\n{}", table.render(0, style)) } else { String::new() }
}

fn rows(found: &Simulation, style: Style) -> String {
    // What does not change says nothing that the counts do not say.
    let told: Vec<&Row> = found.rows.iter().filter(|row| row.changed || row.unmatched.is_some()).collect();
    if told.is_empty() {
        return String::new();
    }
    let mut table = Table::new(&[
        "TIME",
        "MEMBER",
        "TOOL",
        "RESOURCE",
        "WAS",
        "WOULD BE",
        "BY",
        "WITHOUT DRAFT",
        "REQUEST ID",
    ]);
    for row in &told {
        let by = if row.draft_policies.is_empty() {
            row.draft_reason.unwrap_or("-").to_owned()
        } else {
            row.draft_policies.join(", ")
        };
        let estimated = if row.counters == Certainty::Estimated { " (estimate)" } else { "" };
        table.row([
            row.timestamp.to_string(),
            one_line(&row.member.name),
            one_line(&format!("{}__{}", row.service, row.tool)),
            one_line(&row.resource),
            row.decision.to_owned(),
            match row.unmatched {
                Some(why) => why.to_owned(),
                None => format!("{}{estimated}", row.draft_decision.unwrap_or("-")),
            },
            one_line(&by),
            row.baseline_decision.unwrap_or("-").to_owned(),
            row.id.to_string(),
        ]);
    }
    let mut text = format!("\n{}", table.render(0, style));
    let left = (found.changed + found.unmatched).saturating_sub(told.len() as u64);
    if left > 0 {
        text.push_str(
            &style.faint(&format!("and {left} more that change or are unmatched; --rows shows more\n")),
        );
    }
    text
}
