//! The policies' own tests: `policies/cases.toml`, run by `wicket policy test`.
//!
//! Invariants: unknown keys are refused, so that a misspelt condition is not silently without effect;
//! a case names every determining policy, or none; what no case exercises is reported, policy by policy
//! and clause by clause; a sequence of calls is counted by whoever runs the cases, with the counters that
//! count real calls, never by numbers made up here.

mod coverage;
mod file;
mod junit;
mod report;
mod sequence;
mod text;

use std::collections::BTreeSet;
use std::time::Duration;

use super::bundle::Bundle;
use super::scenario::Scenario;
use super::structured::baseline;
use crate::model::{Decision, Diagnostic, PolicyKey, Reason, SourceFile};

pub use coverage::{ClauseCoverage, Coverage, PolicyCoverage};
pub use junit::junit;
pub use report::{CaseResult, Failure, Report, Said, StepAt};
pub use sequence::Counters;

/// The cases of one file.
#[derive(Debug, Clone)]
pub struct Cases {
    pub all: Vec<Case>,
    /// Whether they are of a new agent, which has the read baseline of each connector beside the files.
    pub seeded: bool,
}

/// One case: calls of one member, and what is expected of each.
#[derive(Debug, Clone)]
pub struct Case {
    pub name: String,
    /// Where it stands in the file, from 1.
    pub line: u32,
    /// One, unless the case is a sequence.
    pub steps: Vec<Step>,
    /// Whether it is a sequence: its calls are counted, on top of what the case says was done before.
    pub counted: bool,
}

/// One call of a case, or the same call several times.
#[derive(Debug, Clone)]
pub struct Step {
    /// With the history that the case states.
    pub scenario: Scenario,
    /// How often it is called.
    pub times: u32,
    /// By name; calls of one conversation share its counters.
    pub conversation: String,
    pub expected: Expected,
}

/// What a call should come to.
#[derive(Debug, Clone)]
pub struct Expected {
    pub allowed: bool,
    /// The determining policies, all of them; `None` where the case does not say.
    pub by: Option<BTreeSet<PolicyKey>>,
    /// Why, where the case says.
    pub reason: Option<Reason>,
}

/// How cases are run.
pub struct Running<'a> {
    /// Parts of names, in any case of letters: a case runs that has one of them; all run where there is none.
    pub filters: &'a [String],
    /// Counts the calls of sequences.
    pub counters: &'a mut dyn Counters,
    /// Time since some moment, for the report alone.
    pub elapsed: &'a dyn Fn() -> Duration,
}

/// Reads the cases.
///
/// # Errors
/// Everything that is wrong with the file, with line and what to do.
pub fn read(source: &SourceFile) -> Result<Cases, Vec<Diagnostic>> {
    file::read(source)
}

/// Decides every case of the file with this bundle.
///
/// # Errors
/// Everything that is wrong with the file itself. A case that fails is no error but part of the
/// report.
pub fn run(
    bundle: &Bundle,
    source: &SourceFile,
    running: &mut Running<'_>,
) -> Result<Report, Vec<Diagnostic>> {
    let cases = read(source)?;
    let mut coverage = Coverage::of(bundle);
    let seeded = cases.seeded.then(|| baseline::with_all(bundle).bundle);
    // The files' policies come first and keep their numbers, by which they are covered.
    let bundle = seeded.as_ref().unwrap_or(bundle);
    let cases = cases.all;
    let filters: Vec<String> = running.filters.iter().map(|filter| filter.to_lowercase()).collect();
    let wanted = |case: &&Case| {
        let name = case.name.to_lowercase();
        filters.is_empty() || filters.iter().any(|filter| name.contains(filter))
    };
    let began = (running.elapsed)();
    let mut results = Vec::new();
    for case in cases.iter().filter(wanted) {
        let before = (running.elapsed)();
        let failure = sequence::run(bundle, case, running.counters, &mut coverage).err();
        results.push(CaseResult {
            name: case.name.clone(),
            file: source.name.to_string(),
            line: case.line,
            micros: micros((running.elapsed)().saturating_sub(before)),
            failure,
        });
    }
    let failed = results.iter().filter(|result| result.failure.is_some()).count();
    Ok(Report {
        file: source.name.to_string(),
        passed: results.len() - failed,
        failed,
        filtered_out: cases.len() - results.len(),
        micros: micros((running.elapsed)().saturating_sub(began)),
        results,
        coverage: coverage.settled(),
    })
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// How the decision differs from what is expected.
fn difference(expected: &Expected, decision: &Decision) -> Option<String> {
    let word = |allowed| if allowed { "allow" } else { "deny" };
    let by: BTreeSet<PolicyKey> = decision.determining.iter().map(|policy| policy.key.clone()).collect();
    if decision.allowed != expected.allowed {
        let by = if by.is_empty() { String::new() } else { format!(" by {}", listed(&by)) };
        let (wanted, got) = (word(expected.allowed), word(decision.allowed));
        return Some(format!("expected {wanted}, decided {got}{by}"));
    }
    if let Some(reason) = expected.reason
        && reason != decision.reason
    {
        return Some(format!("expected the reason {}, it is {}", written(reason), written(decision.reason)));
    }
    match &expected.by {
        Some(wanted) if *wanted != by => {
            Some(format!("expected to be decided by {}, it was by {}", listed(wanted), listed(&by)))
        }
        _ => None,
    }
}

fn listed(keys: &BTreeSet<PolicyKey>) -> String {
    let keys: Vec<&str> = keys.iter().map(PolicyKey::as_str).collect();
    if keys.is_empty() { "no policy".to_owned() } else { keys.join(", ") }
}

/// The reason as files write it: `no_permit`.
fn written(reason: Reason) -> String {
    let json = serde_json::to_value(reason).ok();
    json.as_ref().and_then(|value| value.as_str()).map_or_else(String::new, str::to_owned)
}

#[cfg(test)]
pub(super) mod tests;
