//! The policies' own tests: `policies/cases.toml`, run by `wicket policy test`.
//!
//! Invariants: unknown keys are refused, so that a misspelt condition is not silently without effect;
//! a case names every determining policy, or none; a policy that no case reaches is reported.

mod file;
mod report;

use std::collections::BTreeSet;

use super::bundle::Bundle;
use super::explain::explain;
use super::scenario::Scenario;
use crate::model::{Decision, Diagnostic, PolicyKey, Reason, SourceFile};

pub use report::{CaseResult, Report};

/// One case: a call, and what is expected of it.
#[derive(Debug, Clone)]
pub struct Case {
    pub name: String,
    /// Where it stands in the file, from 1.
    pub line: u32,
    pub scenario: Scenario,
    pub allowed: bool,
    /// The determining policies, all of them; `None` where the case does not say.
    pub by: Option<BTreeSet<PolicyKey>>,
    /// Why, where the case says.
    pub reason: Option<Reason>,
}

/// Reads the cases.
///
/// # Errors
/// Everything that is wrong with the file, with line and what to do.
pub fn read(source: &SourceFile) -> Result<Vec<Case>, Vec<Diagnostic>> {
    file::read(source)
}

/// Decides every case of the file with this bundle.
///
/// # Errors
/// Everything that is wrong with the file itself. A case that fails is no error but part of the
/// report.
pub fn run(bundle: &Bundle, source: &SourceFile) -> Result<Report, Vec<Diagnostic>> {
    let cases = read(source)?;
    let mut reached: BTreeSet<PolicyKey> = BTreeSet::new();
    let results = cases.iter().map(|case| run_one(bundle, source, case, &mut reached)).collect();
    let keys = bundle.policies().iter().map(|info| info.key.clone());
    let unreached = keys.filter(|key| !reached.contains(key)).collect();
    Ok(Report { file: source.name.to_string(), results, unreached })
}

fn run_one(
    bundle: &Bundle,
    source: &SourceFile,
    case: &Case,
    reached: &mut BTreeSet<PolicyKey>,
) -> CaseResult {
    let asked = case.scenario.ask(bundle, |question| {
        let decision = bundle.decide(question);
        let wrong = difference(case, &decision);
        let explanation = wrong.as_ref().map(|_| explain(bundle, question).to_string());
        (decision, wrong, explanation)
    });
    let (failure, explanation) = match asked {
        Err(why) => (Some(why), None),
        Ok((decision, wrong, explanation)) => {
            reached.extend(decision.determining.into_iter().map(|policy| policy.key));
            (wrong, explanation)
        }
    };
    CaseResult {
        name: case.name.clone(),
        file: source.name.to_string(),
        line: case.line,
        failure,
        explanation,
    }
}

/// How the decision differs from what the case expects.
fn difference(case: &Case, decision: &Decision) -> Option<String> {
    let word = |allowed| if allowed { "allow" } else { "deny" };
    if decision.allowed != case.allowed {
        let by: Vec<&str> = decision.determining.iter().map(|policy| policy.key.as_str()).collect();
        let by = if by.is_empty() { String::new() } else { format!(" by {}", by.join(", ")) };
        return Some(format!("expected {}, decided {}{by}", word(case.allowed), word(decision.allowed)));
    }
    if let Some(reason) = case.reason
        && reason != decision.reason
    {
        return Some(format!("expected the reason {}, it is {}", written(reason), written(decision.reason)));
    }
    let by: BTreeSet<PolicyKey> = decision.determining.iter().map(|policy| policy.key.clone()).collect();
    match &case.by {
        Some(expected) if *expected != by => {
            let list = |keys: &BTreeSet<PolicyKey>| {
                let keys: Vec<&str> = keys.iter().map(PolicyKey::as_str).collect();
                if keys.is_empty() { "no policy".to_owned() } else { keys.join(", ") }
            };
            Some(format!("expected to be decided by {}, it was by {}", list(expected), list(&by)))
        }
        _ => None,
    }
}

/// The reason as files write it: `no_permit`.
fn written(reason: Reason) -> String {
    let json = serde_json::to_value(reason).ok();
    json.as_ref().and_then(|value| value.as_str()).map_or_else(String::new, str::to_owned)
}

#[cfg(test)]
mod tests;
