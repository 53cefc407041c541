//! `wicket policy diff`: what another set of policies decides otherwise, in words and with calls.
//!
//! Invariant: what a sample says is called a sample; it never says that nothing changes.

use std::collections::BTreeMap;

use serde_json::json;

use super::prove;
use crate::cli::arguments::inspect::DiffArguments;
use crate::cli::ending::{Ending, Fault, Page};
use crate::cli::output::{Style, counted};
use crate::cli::settings::Settings;
use crate::model::PolicyKey;
use crate::policy::Bundle;
use crate::policy::PolicyInfo;
use crate::policy::prove::{Answer, Changes, sampled};

/// Calls that are made up where no solver looks.
const SAMPLE: usize = 20_000;

/// How one policy differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Added,
    Removed,
    Changed,
}

/// Compares and prints; exit code 1 where any call is decided otherwise, or may be.
pub fn page(settings: &Settings, asked: &DiffArguments) -> Result<Page, Fault> {
    let old = prove::load(settings, &asked.old)?;
    let new = match &asked.new {
        Some(dir) => prove::load(settings, dir)?,
        None => super::load(settings)?.1,
    };
    let policies = compared(&old, &new);
    let prover = if asked.sample { None } else { prove::prover(asked.seconds_max).ok() };
    let proved = prover.is_some();
    let changes = match prover {
        Some(mut prover) => prover.changes(&old, &new),
        None => sampled(&old, &new, SAMPLE),
    };
    let same = changes.allowed.holds() && changes.denied.holds();
    let ending = if same { Ending::Fine } else { Ending::Problem };
    let text = match settings.json {
        true => as_json(&policies, &changes, proved),
        false => as_text(&policies, &changes, proved, settings.style),
    };
    Ok(Page::with_ending(text, ending))
}

fn compared<'b>(old: &'b Bundle, new: &'b Bundle) -> Vec<(Change, &'b PolicyInfo)> {
    let by_key = |bundle: &'b Bundle| -> BTreeMap<&PolicyKey, &PolicyInfo> {
        bundle.policies().iter().map(|info| (&info.key, info)).collect()
    };
    let (before, after) = (by_key(old), by_key(new));
    let mut found: Vec<(Change, &PolicyInfo)> = Vec::new();
    for (key, info) in &after {
        match before.get(key) {
            None => found.push((Change::Added, info)),
            Some(was) if was.text != info.text => found.push((Change::Changed, info)),
            Some(_) => {}
        }
    }
    found.extend(
        before.iter().filter(|(key, _)| !after.contains_key(*key)).map(|(_, info)| (Change::Removed, *info)),
    );
    found
}

fn as_text(policies: &[(Change, &PolicyInfo)], changes: &Changes, proved: bool, style: Style) -> String {
    let mut text = String::new();
    if policies.is_empty() {
        text.push_str("the policies are the same, word for word\n");
    }
    for (change, info) in policies {
        let mark = match change {
            Change::Added => style.good("+"),
            Change::Removed => style.bad("-"),
            Change::Changed => style.warn("~"),
        };
        text.push_str(&format!("{mark} {} {} ({}:{})\n", info.effect, info.key, info.file, info.line));
    }
    for (what, answer) in [("allowed", &changes.allowed), ("denied", &changes.denied)] {
        text.push_str(&section(what, answer, proved, style));
    }
    if !proved {
        text.push_str(&format!(
            "{} this is a sample of {SAMPLE} made-up calls, and no proof: install cvc5 for one\n",
            style.warn("mind:")
        ));
    }
    text
}

fn section(what: &str, answer: &Answer, proved: bool, style: Style) -> String {
    let kinds = counted(answer.kinds as u64, "kind of call", "kinds of calls");
    match (answer.holds(), proved) {
        (true, true) => format!("no call becomes {what} ({kinds}, proved)\n"),
        (true, false) => format!("no call of the sample becomes {what}\n"),
        (false, _) if answer.counterexamples.is_empty() => {
            format!("whether calls become {what} is unknown:\n{}", prove::details(answer, style))
        }
        (false, _) => format!("calls become {what}, such as:\n{}", prove::details(answer, style)),
    }
}

fn as_json(policies: &[(Change, &PolicyInfo)], changes: &Changes, proved: bool) -> String {
    let of = |wanted: Change| {
        let matching = policies.iter().filter(move |(change, _)| *change == wanted);
        matching.map(|(_, info)| info.key.to_string()).collect::<Vec<_>>()
    };
    let report = json!({
        "method": if proved { "proof" } else { "sample" },
        "policies": {"added": of(Change::Added), "removed": of(Change::Removed), "changed": of(Change::Changed)},
        "allowed": prove::json_of(&changes.allowed),
        "denied": prove::json_of(&changes.denied),
    });
    format!("{report:#}\n")
}
