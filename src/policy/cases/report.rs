//! What became of the cases.

use std::collections::BTreeSet;

use serde::Serialize;

use super::coverage::Coverage;
use super::{Expected, Step, sequence};
use crate::model::{Decision, PolicyKey, Reason};
use crate::policy::explain::Explanation;

/// All cases of one file.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    pub file: String,
    pub passed: usize,
    pub failed: usize,
    /// Cases that were not run, because no filter names them.
    pub filtered_out: usize,
    /// How long all of them took, in microseconds.
    pub micros: u64,
    pub results: Vec<CaseResult>,
    pub coverage: Coverage,
}

/// One case.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CaseResult {
    pub name: String,
    pub file: String,
    pub line: u32,
    /// How long it took, in microseconds.
    pub micros: u64,
    /// `None` where it passed.
    pub failure: Option<Box<Failure>>,
}

/// How a decision differs from what is expected.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// In a sentence.
    pub says: String,
    /// Which call of a sequence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<StepAt>,
    /// `github__push_files {"branch":"main"}`.
    pub call: String,
    pub expected: Said,
    /// `None` where the call could not be put at all.
    pub got: Option<Said>,
    /// The whole explanation of the decision.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub explanation: Option<Box<Explanation>>,
}

/// A call of a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct StepAt {
    /// The step, from 1.
    pub number: u32,
    /// Which of its calls, from 1.
    pub time: u32,
    /// How many calls the step has.
    pub times: u32,
}

/// A decision as cases write it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Said {
    pub allowed: bool,
    /// The determining policies, where they are said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<BTreeSet<PolicyKey>>,
    /// Where it is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
}

impl Report {
    /// Whether every case is decided as it expects. A policy that no case reaches does not fail.
    pub fn is_passed(&self) -> bool {
        self.failed == 0
    }
}

impl Failure {
    /// A call that could not be put.
    pub(super) fn unasked(step: &Step, why: String) -> Box<Self> {
        Box::new(Self {
            says: why,
            step: None,
            call: sequence::call(step),
            expected: Said::expected(&step.expected),
            got: None,
            explanation: None,
        })
    }
}

impl Said {
    pub(super) fn expected(expected: &Expected) -> Self {
        Self { allowed: expected.allowed, by: expected.by.clone(), reason: expected.reason }
    }

    pub(super) fn of(decision: &Decision) -> Self {
        let by = decision.determining.iter().map(|policy| policy.key.clone()).collect();
        Self { allowed: decision.allowed, by: Some(by), reason: Some(decision.reason) }
    }
}
