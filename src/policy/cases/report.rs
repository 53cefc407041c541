//! What became of the cases, in the manner of a test runner.

use std::fmt;

use serde::Serialize;

use crate::model::PolicyKey;

/// All cases of one file.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    pub file: String,
    pub results: Vec<CaseResult>,
    /// Policies that determined no case.
    pub unreached: Vec<PolicyKey>,
}

/// One case.
#[derive(Debug, Clone, Serialize)]
pub struct CaseResult {
    pub name: String,
    pub file: String,
    pub line: u32,
    /// How the decision differs from what is expected; `None` where it does not.
    pub failure: Option<String>,
    /// The whole explanation of a failure.
    pub explanation: Option<String>,
}

impl Report {
    /// Whether every case is decided as it expects. A policy that no case reaches does not fail.
    pub fn passed(&self) -> bool {
        self.results.iter().all(|result| result.failure.is_none())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for result in &self.results {
            let mark = if result.failure.is_none() { "ok    " } else { "FAILED" };
            writeln!(f, "{mark} {}", result.name)?;
        }
        let failed: Vec<&CaseResult> =
            self.results.iter().filter(|result| result.failure.is_some()).collect();
        for result in &failed {
            writeln!(f, "\n---- {} ({}:{})", result.name, result.file, result.line)?;
            if let Some(failure) = &result.failure {
                writeln!(f, "{failure}")?;
            }
            for line in result.explanation.iter().flat_map(|text| text.lines()) {
                writeln!(f, "  {line}")?;
            }
        }
        if !self.unreached.is_empty() {
            let keys: Vec<&str> = self.unreached.iter().map(PolicyKey::as_str).collect();
            writeln!(f, "\nno case is decided by: {}", keys.join(", "))?;
        }
        let passed = self.results.len() - failed.len();
        writeln!(f, "\n{}: {passed} passed, {} failed", self.file, failed.len())
    }
}
