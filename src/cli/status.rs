//! `wicket status` and `wicket reload`: is all well, and if not, what to do.

use super::accounts::json_of;
use super::ending::{Ending, Fault, Page, located};
use super::output::{Style, Table, ago, bytes, counted, one_line, span};
use super::reach::{self, Gate};
use super::settings::Settings;
use crate::control::reply::Reloaded;
use crate::control::status::{JournalStatus, Status, UpstreamStatus};
use crate::control::{AdminReply, AdminRequest, Operator};
use crate::model::Timestamp;

/// An index that is so many entries behind is as it should be under load.
const INDEX_LAG_SHOWN: u64 = 2_000;

/// `wicket status`
pub async fn status(settings: &Settings) -> Result<Page, Fault> {
    if !settings.config.data_dir.exists() {
        return Err(Fault::no_gate(format!(
            "no gate runs here: there is no data directory `{}`",
            settings.config.data_dir.display()
        ))
        .with_help("start one with `wicket run --first-run`; if it runs elsewhere, name its directory with --data-dir"));
    }
    let reply = reach::ask(settings, AdminRequest::Status {}).await?;
    let AdminReply::Status(status) = &reply else { return Err(reach::unexpected()) };
    let text = if settings.json { json_of(&reply)? } else { render(status, settings.style) };
    let ending = match (status.running, status.problems().is_empty()) {
        (false, _) => Ending::NoGate,
        (true, true) => Ending::Fine,
        (true, false) => Ending::Problem,
    };
    Ok(Page::with_ending(text, ending))
}

/// `wicket reload`
pub async fn reload(settings: &Settings) -> Result<Page, Fault> {
    let mut client = Gate::running(settings).await?;
    let reply = client.ask(Operator::this_process(), &AdminRequest::Reload {}).await?;
    let AdminReply::Reloaded(reloaded) = &reply else { return Err(reach::unexpected()) };
    Ok(Page::fine(if settings.json { json_of(&reply)? } else { render_reload(reloaded, settings.style) }))
}

fn render_reload(reloaded: &Reloaded, style: Style) -> String {
    let state = if reloaded.changed { "in force from the next call on" } else { "in force as before" };
    let mut text = format!(
        "{}  {}\n  {}\n",
        style.good(state),
        summary(reloaded.policies, reloaded.connectors, None),
        reloaded.digest
    );
    for warning in &reloaded.warnings {
        text.push_str(&format!("{} {}\n", style.warn("warning:"), located(warning, style)));
    }
    text
}

/// The status as a page.
pub fn render(status: &Status, style: Style) -> String {
    let mut text = headline(status, style);
    for (label, value) in facts(status) {
        text.push_str(&format!("  {label:<9} {value}\n"));
    }
    if !status.upstreams.is_empty() {
        text.push('\n');
        text.push_str(&upstreams(status, style));
    }
    let warnings = status.bundle.iter().flat_map(|bundle| &bundle.warnings);
    for (number, warning) in warnings.enumerate() {
        text.push_str(if number == 0 { "\n" } else { "" });
        text.push_str(&format!("{} {}\n", style.warn("warning:"), located(warning, style)));
    }
    text.push('\n');
    text.push_str(&conclusion(status, style));
    text
}

fn headline(status: &Status, style: Style) -> String {
    if !status.running {
        return format!("wicket {}  {}\n", status.version, style.warn("not running"));
    }
    let since = match (status.started_at, status.now) {
        (Some(started), Some(now)) => format!(" for {}", span(now.millis_since(started))),
        _ => String::new(),
    };
    let process = status.pid.map(|pid| format!(", process {pid}")).unwrap_or_default();
    format!("wicket {}  {}{since}{process}\n", status.version, style.good("running"))
}

fn facts(status: &Status) -> Vec<(&str, String)> {
    let mut facts = vec![("data", status.data_dir.clone())];
    for listener in &status.listeners {
        facts.push((listener.name.as_str(), listener.address.clone()));
    }
    match &status.bundle {
        Some(bundle) => {
            let loaded =
                bundle.loaded_at.map(|at| format!(", loaded {}", ago(at, status.now))).unwrap_or_default();
            let what = summary(bundle.policies, bundle.connectors, Some(bundle.tools));
            facts.push(("policies", format!("{what}{loaded}")));
            facts.push(("", bundle.digest.to_string()));
        }
        None => facts.push(("policies", "none loaded".to_owned())),
    }
    facts.extend(status.journal.iter().flat_map(|journal| of_journal(journal, status.now)));
    let store = &status.store;
    facts.push((
        "store",
        match &store.error {
            Some(error) => format!("NOT READABLE: {}", one_line(error)),
            None => format!(
                "{}, {}, {}{}, generation {}",
                counted(store.agents as u64, "agent", "agents"),
                counted(store.members as u64, "member", "members"),
                counted(store.keys as u64, "key", "keys"),
                match store.keys_with_own_rate {
                    0 => String::new(),
                    own => format!(" ({own} with a rate of its own)"),
                },
                store.generation
            ),
        },
    ));
    for (number, node) in store.nodes.iter().enumerate() {
        facts.push((
            if number == 0 { "gates" } else { "" },
            format!(
                "{}{}, generation {}, seen {}",
                node.id,
                if node.this { " (this one)" } else { "" },
                node.generation,
                ago(node.seen_at, status.now)
            ),
        ));
    }
    if let Some(calls) = &status.calls {
        facts.push((
            "calls",
            format!(
                "{} in flight, {} allowed, {} denied since the start, {}",
                calls.in_flight,
                calls.allowed,
                calls.denied,
                counted(calls.sessions, "session", "sessions")
            ),
        ));
    }
    facts
}

fn of_journal(journal: &JournalStatus, now: Option<Timestamp>) -> Vec<(&'static str, String)> {
    let state = if journal.healthy { "recording" } else { "NOT RECORDING" };
    let checkpoint = journal.last_checkpoint_at.map(|at| format!(", checkpoint {}", ago(at, now)));
    let line = format!(
        "{state} ({}), {}, {} of {}, {} open{}",
        journal.mode,
        counted(journal.entries, "entry", "entries"),
        bytes(journal.bytes),
        bytes(journal.bytes_max),
        counted(journal.open_intents, "call", "calls"),
        checkpoint.unwrap_or_default(),
    );
    let mut facts = vec![("journal", line)];
    let lag = journal.index_lag.filter(|lag| *lag > INDEX_LAG_SHOWN);
    let lag = lag.map(|lag| format!("; {} not in the index yet", counted(lag, "entry", "entries")));
    if let Some(retention) = &journal.retention {
        let segments = counted(journal.segments, "segment", "segments");
        facts.push(("", one_line(&format!("{segments}, {retention}{}", lag.unwrap_or_default()))));
    }
    facts
}

fn summary(policies: usize, connectors: usize, tools: Option<usize>) -> String {
    let tools = tools.map(|tools| format!(", {}", counted(tools as u64, "tool", "tools")));
    format!(
        "{}, {}{}",
        counted(policies as u64, "policy", "policies"),
        counted(connectors as u64, "connector", "connectors"),
        tools.unwrap_or_default()
    )
}

/// The revision of MCP, and its era.
fn speaks(upstream: &UpstreamStatus) -> String {
    match (&upstream.revision, &upstream.era) {
        (Some(revision), Some(era)) => format!("{revision} {era}"),
        _ => "-".to_owned(),
    }
}

fn upstreams(status: &Status, style: Style) -> String {
    let mut table = Table::new(&[
        "CONNECTOR",
        "TRANSPORT",
        "MCP",
        "STATE",
        "FOR",
        "TOOLS",
        "REFUSED",
        "IN FLIGHT",
        "RESTARTS",
    ]);
    for upstream in &status.upstreams {
        let since = match (upstream.since, status.now) {
            (Some(since), Some(now)) => span(now.millis_since(since)),
            _ => "-".to_owned(),
        };
        table.row([
            upstream.service.to_string(),
            upstream.transport.clone(),
            speaks(upstream),
            upstream.state.clone(),
            since,
            upstream.tools.to_string(),
            upstream.quarantined.len().to_string(),
            upstream.in_flight.to_string(),
            upstream.restarts.to_string(),
        ]);
    }
    table.render(2, style)
}

fn conclusion(status: &Status, style: Style) -> String {
    let (problems, notes) = (status.problems(), status.notes());
    let mut text = String::new();
    let head = match (problems.len(), notes.is_empty(), status.running) {
        (0, true, true) => style.good("all is well"),
        (0, false, true) => style.good("nothing is wrong; worth knowing:"),
        (0, _, false) => "nothing wrong with what is on disk; start it with `wicket run`".to_owned(),
        (count, ..) => {
            let count = counted(count as u64, "thing needs", "things need");
            style.bad(&format!("{count} looking at"))
        }
    };
    text.push_str(&format!("{head}\n"));
    let marked = problems.iter().map(|problem| (problem, style.bad("!")));
    for (problem, mark) in marked.chain(notes.iter().map(|note| (note, style.faint("-")))) {
        text.push_str(&format!("  {mark} {}\n", one_line(&problem.what)));
        text.push_str(&format!("    {} {}\n", style.faint("->"), problem.next));
    }
    text
}

#[cfg(test)]
#[path = "status/tests.rs"]
mod tests;
