//! What a batch adds to the statistics, added up before it is written.
//!
//! Invariant: a call is counted once, when its row is new; its duration once, when its end is.

use std::collections::HashMap;

use super::AuditRow;
use super::names::{Numbers, policy_number};
use crate::model::{Outcome, Timestamp};

/// What a row of the statistics counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(i64)]
pub(in crate::store) enum Kind {
    /// All calls of an agent; the subject is 0.
    Agent = 1,
    /// Calls of a member.
    Member = 2,
    /// Calls of a tool of a service.
    Tool = 3,
    /// Calls that a policy determined.
    Policy = 4,
}

impl Kind {
    pub const ALL: [Self; 4] = [Self::Agent, Self::Member, Self::Tool, Self::Policy];
}

/// Milliseconds of a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(i64)]
pub(in crate::store) enum Span {
    Hour = 3_600_000,
    Day = 86_400_000,
}

impl Span {
    pub const ALL: [Self; 2] = [Self::Hour, Self::Day];

    /// The beginning of the bucket that holds this time.
    pub const fn floor(self, at: i64) -> i64 {
        at - at.rem_euclid(self as i64)
    }
}

/// Whose calls, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Cell {
    pub kind: Kind,
    pub span: Span,
    pub agent: i64,
    pub bucket: i64,
    pub subject: i64,
}

/// How many calls, and how long they took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Counts {
    pub calls: i64,
    pub denied: i64,
    pub ended: i64,
    pub duration_ms: i64,
    pub duration_ms_max: i64,
}

impl Counts {
    fn ended(outcome: &Outcome) -> Self {
        let duration = i64::try_from(outcome.duration_ms).unwrap_or(i64::MAX);
        Self { ended: 1, duration_ms: duration, duration_ms_max: duration, ..Self::default() }
    }

    fn add(&mut self, other: &Self) {
        self.calls = self.calls.saturating_add(other.calls);
        self.denied = self.denied.saturating_add(other.denied);
        self.ended = self.ended.saturating_add(other.ended);
        self.duration_ms = self.duration_ms.saturating_add(other.duration_ms);
        self.duration_ms_max = self.duration_ms_max.max(other.duration_ms_max);
    }
}

/// What a batch adds.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub cells: HashMap<Cell, Counts>,
    /// New calls of each lane, member and ruling.
    pub lanes: HashMap<i64, i64>,
    pub members: HashMap<i64, i64>,
    pub rulings: HashMap<i64, i64>,
}

impl Tally {
    /// Counts a new row.
    pub fn call(&mut self, row: &AuditRow, numbers: &Numbers) {
        let mut counts = row.outcome.as_ref().map(Counts::ended).unwrap_or_default();
        counts.calls = 1;
        counts.denied = i64::from(!row.allowed);
        self.add_all(row.at, numbers.agent, numbers.person, numbers.tool_of_service, &counts);
        let of_policy = Counts { calls: 1, denied: counts.denied, ..Counts::default() };
        for policy in &row.policies {
            let subject = policy_number(&row.service, policy.key.as_str());
            self.add(Kind::Policy, row.at, numbers.agent, subject, &of_policy);
        }
        let named = [
            (&mut self.lanes, numbers.lane),
            (&mut self.members, numbers.member),
            (&mut self.rulings, numbers.ruling),
        ];
        for (calls, number) in named {
            *calls.entry(number).or_default() += 1;
        }
    }

    /// Counts the end of a call that was counted before.
    pub fn end(&mut self, at: Timestamp, agent: i64, person: i64, tool: i64, outcome: &Outcome) {
        self.add_all(at, agent, person, tool, &Counts::ended(outcome));
    }

    fn add_all(&mut self, at: Timestamp, agent: i64, person: i64, tool: i64, counts: &Counts) {
        for (kind, subject) in [(Kind::Agent, 0), (Kind::Member, person), (Kind::Tool, tool)] {
            self.add(kind, at, agent, subject, counts);
        }
    }

    fn add(&mut self, kind: Kind, at: Timestamp, agent: i64, subject: i64, counts: &Counts) {
        for span in Span::ALL {
            let bucket = span.floor(at.as_millis());
            self.cells.entry(Cell { kind, span, agent, bucket, subject }).or_default().add(counts);
        }
    }
}
