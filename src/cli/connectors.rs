//! `wicket connector …`: what stands behind the gate, and the locks on it.

mod add;
mod available;

use super::accounts::json_of;
use super::arguments::inspect::ConnectorCommand;
use super::ending::{Ending, Fault, Page, located};
use super::output::{Style, Table, counted, one_line};
use super::reach;
use super::settings::Settings;
use crate::control::reply::{ConnectorView, Drift};
use crate::control::{AdminReply, AdminRequest};
use crate::model::Tier;

/// Whether the command asks the gate, or works on files alone.
pub const fn needs_gate(command: &ConnectorCommand) -> bool {
    !matches!(command, ConnectorCommand::Available | ConnectorCommand::Add { .. })
}

/// `wicket connector available | add`
pub fn offline(settings: &Settings, command: &ConnectorCommand) -> Result<Page, Fault> {
    match command {
        ConnectorCommand::Available => Ok(add::available(settings)),
        ConnectorCommand::Add { service } => add::add(settings, service),
        _ => Err(Fault::usage("this command asks the gate")),
    }
}

/// `wicket connector list | sync | diff | accept`
pub async fn connector(settings: &Settings, command: ConnectorCommand) -> Result<Page, Fault> {
    let is_diff = matches!(command, ConnectorCommand::Diff { .. });
    let request = match command {
        ConnectorCommand::List => AdminRequest::ConnectorList {},
        ConnectorCommand::Available | ConnectorCommand::Add { .. } => {
            return Err(Fault::usage("this command does not ask the gate"));
        }
        ConnectorCommand::Sync { service } => AdminRequest::ConnectorSync { service },
        ConnectorCommand::Diff { service } => AdminRequest::ConnectorDiff { service },
        ConnectorCommand::Accept { service, tools, tiers, write_anyway } => AdminRequest::ConnectorAccept {
            service,
            tools: tools.into_iter().collect(),
            tiers: tiers.into_iter().collect(),
            anyway: write_anyway,
        },
    };
    let reply = reach::ask(settings, request).await?;
    let ending = match &reply {
        AdminReply::Drift(drift) if is_diff && !drift.changes.is_empty() => Ending::Problem,
        AdminReply::Drift(drift) if !drift.breaks.is_empty() => Ending::Problem,
        _ => Ending::Fine,
    };
    let text = match &reply {
        _ if settings.json => json_of(&reply)?,
        AdminReply::Connectors(views) => list(views, settings.style),
        AdminReply::Drift(drift) => drift_page(drift, settings.style),
        _ => return Err(reach::unexpected()),
    };
    Ok(Page::with_ending(text, ending))
}

fn list(views: &[ConnectorView], style: Style) -> String {
    let mut table =
        Table::new(&["SERVICE", "TRANSPORT", "TOOLS", "READ", "WRITE", "DESTRUCTIVE", "ON CHANGE", "TARGET"]);
    for view in views {
        let tier = |tier: Tier| view.tiers.get(&tier).copied().unwrap_or(0).to_string();
        table.row([
            view.service.to_string(),
            view.transport.clone(),
            view.tools.to_string(),
            tier(Tier::Read),
            tier(Tier::Write),
            tier(Tier::Destructive),
            view.on_change.clone(),
            view.target.clone(),
        ]);
    }
    table.render(0, style)
}

fn drift_page(drift: &Drift, style: Style) -> String {
    let served = counted(drift.served as u64, "tool", "tools");
    let mut warnings = String::new();
    for warning in &drift.warnings {
        warnings.push_str(&format!("{} {}\n", style.warn("warning:"), located(warning, style)));
    }
    if drift.changes.is_empty() && !drift.written {
        return format!(
            "connector {} serves {served}, {}\n{warnings}",
            drift.service,
            style.good("all as in its lock")
        );
    }
    let mut text = format!("connector {} serves {served}\n", drift.service);
    for change in &drift.changes {
        let mark = match change.kind.as_str() {
            "added" => style.good("+"),
            "removed" => style.bad("-"),
            _ => style.warn("~"),
        };
        text.push_str(&format!("  {mark} {}\n", one_line(&change.detail)));
    }
    for fault in &drift.breaks {
        text.push_str(&format!("  {} {}\n", style.bad("!"), located(fault, style)));
    }
    text.push_str(&warnings);
    match (&drift.bundle, drift.written) {
        (None, true) => text.push_str(&format!(
            "{} {}, with which these do not load\n  what was in force stays in force; mend them, then wicket reload\n",
            style.warn("wrote"),
            drift.lock_file
        )),
        (_, false) if !drift.breaks.is_empty() => text.push_str(&format!(
            "{}: these would not load with it\n  mend them first, or write both: wicket connector accept {} --write-anyway\n",
            style.bad("cannot be accepted"),
            drift.service
        )),
        (Some(digest), true) => text.push_str(&format!(
            "{} {}\n  in force: {digest}\n  read it, correct the tiers, commit it\n",
            style.good("wrote"),
            drift.lock_file
        )),
        _ => text.push_str(&format!(
            "{}: these are refused until you accept them\n  wicket connector accept {}\n",
            style.warn("not accepted"),
            drift.service
        )),
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drift_says_what_differs_and_how_to_accept_it() {
        let text = r#"{"service":"files","lock_file":"config/connectors/files.tools.json","served":2,
            "changes":[{"tool":"wipe","kind":"added","tier":"destructive","detail":"wipe: new, proposed tier destructive"},
              {"tool":"read","kind":"changed","tier":null,"detail":"read: description: `a\u001b[2J` -> `b`"}],
            "written":false,"bundle":null,"warnings":[{"file":"files.tools.json","line":0,"column":0,
              "message":"clients of MCP 2026-07-28 leave `wipe` out: it says why"}]}"#;
        let drift: Drift = serde_json::from_str(text).unwrap();
        let page = drift_page(&drift, Style::plain());
        assert!(page.contains("  + wipe: new"), "{page}");
        assert!(page.contains("leave `wipe` out"), "{page}");
        assert!(!page.contains('\u{1b}'), "{page}");
        assert!(page.contains("wicket connector accept files"), "{page}");
    }
}
