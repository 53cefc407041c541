//! `wicket policy diff`: what another set of policies decides otherwise, in words and with calls.
//!
//! Invariant: what a sample says is called a sample; it never says that nothing changes.

use std::collections::BTreeMap;

use serde_json::json;

use super::{place, prove, simulate};
use crate::cli::arguments::inspect::DiffArguments;
use crate::cli::ending::{Ending, Fault, Page};
use crate::cli::output::{Style, counted, one_line};
use crate::cli::settings::Settings;
use crate::control::simulate::AgentFacts;
use crate::model::{PolicyKey, PolicyMode, TrustMode};
use crate::policy::prove::{Answer, Changes, sampled};
use crate::policy::{AgentSet, Bundle, PolicyInfo};

/// Calls that are made up where no solver looks.
const SAMPLE: usize = 20_000;

/// How one policy differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Added,
    Removed,
    Changed,
}

/// Of one agent: what it stores stands on both sets.
pub async fn of_agent(settings: &Settings, asked: &DiffArguments, agent: String) -> Result<Page, Fault> {
    let facts = simulate::facts(settings, Some(agent)).await?;
    page(settings, asked, facts.first())
}

/// Compares and prints; exit code 1 where any call is decided otherwise, or may be.
pub fn page(settings: &Settings, asked: &DiffArguments, agent: Option<&AgentFacts>) -> Result<Page, Fault> {
    let mut old = place::load(settings, &asked.old)?;
    let mut new = match &asked.new {
        Some(named) => place::load(settings, named)?,
        None => super::load(settings)?.1,
    };
    let mut remarks = Vec::new();
    if let Some(agent) = agent {
        let stored = agent.stored();
        for (set, which) in [(&mut old, "old"), (&mut new, "new")] {
            let AgentSet { bundle, broken } = Bundle::for_agent(set, &stored, None);
            *set = bundle;
            remarks.extend(broken.iter().map(|broken| {
                let faults = one_line(&broken.faults.join("; "));
                let (key, instead) = (&broken.key, &broken.instead);
                format!(
                    "on the {which} files the stored policy `{key}` does not load, and {instead}: {faults}"
                )
            }));
        }
        remarks.insert(0, told_of(agent));
    }
    let policies = compared(&old, &new);
    let prover = if asked.sample { None } else { prove::prover(asked.seconds_max).ok() };
    let (changes, proved) = match prover {
        // Before any policy is asked.
        _ if agent.is_some_and(has_no_callers) => {
            (Changes { allowed: Answer::default(), denied: Answer::default() }, true)
        }
        Some(mut prover) => (prover.changes(&old, &new), true),
        None if agent.is_some_and(|agent| agent.trust == TrustMode::Untrusted) => {
            return Err(Fault::usage(
                "a sample of made-up calls meets no policy of an untrusted agent's members: it says nothing",
            )
            .with_help("install the solver cvc5, and leave `--sample` away"));
        }
        None => (sampled(&old, &new, SAMPLE), false),
    };
    let same = changes.allowed.holds() && changes.denied.holds();
    let ending = if same { Ending::Fine } else { Ending::Problem };
    let text = match settings.json {
        true => as_json(&policies, &changes, proved, &remarks),
        false => as_text(&policies, &changes, proved, &remarks, settings.style),
    };
    Ok(Page::with_ending(text, ending))
}

/// Whose calls are compared.
fn told_of(agent: &AgentFacts) -> String {
    let name = one_line(&agent.name);
    if has_no_callers(agent) {
        return format!(
            "no member of the untrusted agent `{name}` has an enforced policy of its own: every call is denied"
        );
    }
    let stored = counted(agent.policies.len() as u64, "policy", "policies");
    format!("of calls of the agent `{name}`, which stores {stored}")
}

/// Whether each call of the agent is denied, whatever the files say (decision 6).
fn has_no_callers(agent: &AgentFacts) -> bool {
    let mut policies = agent.policies.iter();
    agent.trust == TrustMode::Untrusted
        && !policies.any(|policy| policy.member.is_some() && policy.mode == PolicyMode::Enforced)
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

fn as_text(
    policies: &[(Change, &PolicyInfo)],
    changes: &Changes,
    proved: bool,
    remarks: &[String],
    style: Style,
) -> String {
    let mut text: String = remarks.iter().map(|one| format!("{} {one}\n", style.warn("mind:"))).collect();
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

fn as_json(
    policies: &[(Change, &PolicyInfo)],
    changes: &Changes,
    proved: bool,
    remarks: &[String],
) -> String {
    let of = |wanted: Change| {
        let matching = policies.iter().filter(move |(change, _)| *change == wanted);
        matching.map(|(_, info)| info.key.to_string()).collect::<Vec<_>>()
    };
    let report = json!({
        "method": if proved { "proof" } else { "sample" },
        "remarks": remarks,
        "policies": {"added": of(Change::Added), "removed": of(Change::Removed), "changed": of(Change::Changed)},
        "allowed": prove::json_of(&changes.allowed),
        "denied": prove::json_of(&changes.denied),
    });
    format!("{report:#}\n")
}
