//! The report for a terminal, in the manner of a test runner.

use std::collections::BTreeSet;
use std::fmt;

use super::coverage::Coverage;
use super::report::{CaseResult, Failure, Report, Said};
use super::{listed, written};
use crate::model::PolicyKey;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for result in &self.results {
            let mark = if result.failure.is_none() { "ok    " } else { "FAILED" };
            writeln!(f, "{mark} {}", result.name)?;
        }
        let failed = self.results.iter().filter_map(|result| Some((result, result.failure.as_ref()?)));
        failed.clone().try_for_each(|(result, failure)| told(f, result, failure))?;
        let undecided: Vec<&str> = self.coverage.undecided().map(PolicyKey::as_str).collect();
        if !undecided.is_empty() && self.filtered_out == 0 {
            writeln!(f, "\nno case is decided by: {}", undecided.join(", "))?;
        }
        write!(f, "\n{}: {} passed, {} failed", self.file, self.passed, self.failed)?;
        if self.filtered_out > 0 {
            write!(f, ", {} filtered out", self.filtered_out)?;
        }
        writeln!(f, "; {}% covered, in {}", self.coverage.percent, time(self.micros))
    }
}

/// `12 ms`.
fn time(micros: u64) -> String {
    match micros {
        0..1_000 => format!("{micros} µs"),
        1_000..10_000_000 => format!("{} ms", micros / 1_000),
        _ => format!("{} s", micros / 1_000_000),
    }
}

fn told(f: &mut fmt::Formatter<'_>, result: &CaseResult, failure: &Failure) -> fmt::Result {
    writeln!(f, "\n---- {} ({}:{})", result.name, result.file, result.line)?;
    write!(f, "{failure}")
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.says)?;
        if let Some(step) = self.step {
            let which = if step.times > 1 {
                format!(", call {} of {}", step.time, step.times)
            } else {
                String::new()
            };
            writeln!(f, "  in        step {}{which}", step.number)?;
        }
        writeln!(f, "  call      {}", self.call)?;
        let Some(got) = &self.got else { return Ok(()) };
        writeln!(f, "  expected  {}", self.expected)?;
        writeln!(f, "  got       {got}")?;
        if let (Some(wanted), Some(by)) = (&self.expected.by, &got.by) {
            difference(f, wanted, by)?;
        }
        let explanation = self.explanation.as_ref().map(ToString::to_string).unwrap_or_default();
        explanation.lines().try_for_each(|line| writeln!(f, "{}", format!("  | {line}").trim_end()))
    }
}

/// Which determining policies are missing, and which are there instead.
fn difference(
    f: &mut fmt::Formatter<'_>,
    wanted: &BTreeSet<PolicyKey>,
    got: &BTreeSet<PolicyKey>,
) -> fmt::Result {
    for key in wanted.union(got) {
        match (wanted.contains(key), got.contains(key)) {
            (true, false) => writeln!(f, "            - {key}")?,
            (false, true) => writeln!(f, "            + {key}")?,
            _ => writeln!(f, "              {key}")?,
        }
    }
    Ok(())
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.allowed { "allow" } else { "deny" })?;
        // A reason says by itself that no policy did it.
        if let Some(by) = self.by.as_ref().filter(|by| !by.is_empty() || self.reason.is_none()) {
            write!(f, " by {}", listed(by))?;
        }
        match self.reason {
            Some(reason) => write!(f, " ({})", written(reason)),
            None => Ok(()),
        }
    }
}

impl Coverage {
    /// Policies that determined nothing.
    pub fn undecided(&self) -> impl Iterator<Item = &PolicyKey> {
        self.policies.iter().filter(|policy| policy.determined == 0).map(|policy| &policy.key)
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self
            .policies
            .iter()
            .map(|policy| policy.key.as_str().chars().count())
            .max()
            .unwrap_or(0)
            .max("POLICY".len());
        writeln!(f, "{:<width$}  {:>9}  {:>9}", "POLICY", "DECISIONS", "CLAUSES")?;
        for policy in &self.policies {
            let seen = policy.clauses.iter().filter(|clause| clause.missing().is_none()).count();
            let clauses = format!("{seen} of {}", policy.clauses.len());
            writeln!(f, "{:<width$}  {:>9}  {clauses:>9}", policy.key.as_str(), policy.determined)?;
        }
        writeln!(f)?;
        for policy in &self.policies {
            if policy.determined == 0 {
                writeln!(f, "{}:{}: `{}` decides no case", policy.file, policy.line, policy.key)?;
            }
            for clause in &policy.clauses {
                if let Some(missing) = clause.missing() {
                    let line = if clause.line == 0 { policy.line } else { clause.line };
                    writeln!(f, "{}:{line}: `{}` {missing}: {}", policy.file, policy.key, clause.text)?;
                }
            }
        }
        writeln!(f, "{}% of policies and clauses are exercised", self.percent)
    }
}
