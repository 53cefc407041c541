//! `wicket check`: everything that can be tried without starting, in one list.

use std::sync::Arc;

use serde::Serialize;

use super::ending::{Ending, Fault, Page, located};
use super::output::{Style, counted, one_line};
use super::policy;
use super::settings::Settings;
use crate::connector::Connector;
use crate::control::lock;
use crate::control::reply::left_out_by_clients;
use crate::model::Diagnostic;
use crate::policy::Bundle;

/// One thing that was tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Item {
    what: &'static str,
    ok: bool,
    detail: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    faults: Vec<Diagnostic>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<Diagnostic>,
}

impl Item {
    fn new(what: &'static str, ok: bool, detail: impl Into<String>) -> Self {
        Self { what, ok, detail: detail.into(), faults: Vec::new(), warnings: Vec::new() }
    }
}

/// `wicket check`
pub fn check(settings: &Settings) -> Result<Page, Fault> {
    // A configuration that does not load never comes here: `Settings::load` says why.
    let mut items = vec![Item::new("configuration", true, settings.config_name()), data_dir(settings)];
    items.extend(policies(settings));
    let ending = if items.iter().all(|item| item.ok) { Ending::Fine } else { Ending::Problem };
    let text = if settings.json {
        let report = serde_json::json!({ "ok": ending == Ending::Fine, "checks": items });
        format!("{report:#}\n")
    } else {
        render(&items, settings.style)
    };
    Ok(Page::with_ending(text, ending))
}

fn data_dir(settings: &Settings) -> Item {
    let dir = &settings.config.data_dir;
    if !dir.exists() {
        return Item::new(
            "data directory",
            true,
            format!("{} will be made at the first start", dir.display()),
        );
    }
    let faults = lock::permission_faults(dir);
    let mut item = Item::new("data directory", faults.is_empty(), dir.display().to_string());
    item.faults = faults
        .into_iter()
        .map(|(what, next)| Diagnostic::of_file(&dir.display().to_string(), what).with_help(next))
        .collect();
    item
}

fn policies(settings: &Settings) -> Vec<Item> {
    let (sources, bundle) = match policy::load(settings) {
        Ok(loaded) => loaded,
        Err(fault) => {
            let mut item = Item::new("policies and connectors", false, fault.message);
            item.faults = fault.diagnostics;
            return vec![item];
        }
    };
    let tools: usize = bundle.connectors().iter().map(|connector| connector.tools.len()).sum();
    let connectors = bundle.connectors().iter().count() as u64;
    let mut loaded = Item::new(
        "policies",
        true,
        format!("{}, {}", counted(bundle.policies().len() as u64, "policy", "policies"), bundle.digest()),
    );
    loaded.warnings = bundle.warnings().to_vec();
    let remarks = remarks(&bundle);
    let mut connectors = Item::new(
        "connectors",
        true,
        format!(
            "{}, {}",
            counted(connectors, "connector", "connectors"),
            counted(tools as u64, "tool", "tools")
        ),
    );
    connectors.warnings = remarks;
    let cases = match policy::run_cases(&sources, &bundle) {
        Ok(report) => {
            // Cases that pass need one line; those that fail are shown whole.
            let text = report.text.trim_end();
            let last = text.lines().last().unwrap_or_default();
            Item::new("cases", report.passed, if report.passed { last } else { text })
        }
        Err(fault) => {
            let mut item = Item::new("cases", false, fault.message);
            item.faults = fault.diagnostics;
            item
        }
    };
    vec![connectors, loaded, cases]
}

/// What clients would make of the tools, beside what the gate does.
fn remarks(bundle: &Bundle) -> Vec<Diagnostic> {
    let of_connector = |connector: &Arc<Connector>| {
        let lock = format!("{}.tools.json", connector.service);
        let short = connector.short_names.iter().map(|(tool, short)| {
            let message = format!("clients cut the name of `{tool}`: it is offered as `{short}`");
            Diagnostic::of_file(&lock, message)
        });
        let annotated = connector
            .tools
            .values()
            .filter_map(|tool| left_out_by_clients(&lock, &tool.name, &tool.input_schema));
        short.chain(annotated).collect::<Vec<_>>()
    };
    bundle.connectors().iter().flat_map(of_connector).collect()
}

fn render(items: &[Item], style: Style) -> String {
    let mut text = String::new();
    for item in items {
        let mark = if item.ok { style.good("ok ") } else { style.bad("BAD") };
        let mut detail = item.detail.lines().map(one_line);
        let first = detail.next().unwrap_or_default();
        text.push_str(&format!("{mark}  {:<14}  {first}\n", item.what));
        for line in detail {
            text.push_str(&format!("       {line}\n"));
        }
        for fault in &item.faults {
            text.push_str(&format!("     {} {}\n", style.bad("!"), located(fault, style)));
        }
        for warning in &item.warnings {
            text.push_str(&format!("     {} {}\n", style.warn("warning:"), located(warning, style)));
        }
    }
    let bad = items.iter().filter(|item| !item.ok).count() as u64;
    text.push_str(&if bad == 0 {
        format!("{}\n", style.good("all of it holds"))
    } else {
        format!("{}\n", style.bad(&counted(bad, "check failed", "checks failed")))
    });
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_lists_what_holds_and_what_does_not() {
        let mut bad =
            Item::new("policies and connectors", false, "the policies and connectors do not load: 1 fault");
        bad.faults = vec![Diagnostic {
            line: 3,
            column: 1,
            ..Diagnostic::of_file("policies/a.cedar", "unexpected `;`")
        }];
        let mut policies = Item::new("policies", true, "1 policy, sha256:00");
        policies.warnings =
            vec![Diagnostic::of_file("policies/b.cedar", "is never reached").with_help("delete it")];
        let items = [Item::new("configuration", true, "config/wicket.toml"), bad, policies];
        insta::assert_snapshot!("check", render(&items, Style::plain()));
    }
}
