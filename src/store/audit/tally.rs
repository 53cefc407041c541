//! What a batch adds to the statistics, added up before it is written.
//!
//! Invariant: a call is counted once, when its row is new; its duration once, when its end is.

use std::collections::{BTreeMap, HashMap};

use super::AuditRow;
use super::names::{Numbers, policy_number};
use crate::model::{Outcome, Timestamp};
use crate::store::Counted;

/// What a row of the statistics counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
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

/// What is counted, and the bucket's span and beginning.
pub(super) type Bucket = (Kind, Span, i64);

/// Calls of a bucket by agent and subject.
pub(super) type Counts = BTreeMap<i64, BTreeMap<i64, Counted>>;

fn ended(outcome: &Outcome) -> Counted {
    // No more than the databases' numbers hold.
    let duration_ms = outcome.duration_ms.min(i64::MAX.unsigned_abs());
    Counted { ended: 1, duration_ms, duration_ms_max: duration_ms, ..Counted::default() }
}

/// What a batch adds.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub buckets: BTreeMap<Bucket, Counts>,
    /// New calls, and denied ones, of each agent under its name.
    pub agents: HashMap<i64, (i64, i64)>,
    /// New calls of each tool, lane, member and ruling.
    pub tools: HashMap<i64, i64>,
    pub lanes: HashMap<i64, i64>,
    pub members: HashMap<i64, i64>,
    pub rulings: HashMap<i64, i64>,
}

impl Tally {
    /// Counts a new row.
    pub fn call(&mut self, row: &AuditRow, numbers: &Numbers) {
        let mut counts = row.outcome.as_ref().map(ended).unwrap_or_default();
        counts.calls = 1;
        counts.denied = u64::from(!row.allowed);
        self.add_all(row.at, numbers.agent, numbers.person, numbers.tool, &counts);
        let of_policy = Counted { calls: 1, denied: counts.denied, ..Counted::default() };
        for policy in &row.policies {
            let subject = policy_number(&row.service, policy.key.as_str());
            self.add(Kind::Policy, row.at, numbers.agent, subject, &of_policy);
        }
        let of_agent = self.agents.entry(numbers.named).or_default();
        of_agent.0 += 1;
        of_agent.1 += i64::from(!row.allowed);
        let named = [
            (&mut self.tools, numbers.tool),
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
        self.add_all(at, agent, person, tool, &ended(outcome));
    }

    fn add_all(&mut self, at: Timestamp, agent: i64, person: i64, tool: i64, counts: &Counted) {
        for (kind, subject) in [(Kind::Agent, 0), (Kind::Member, person), (Kind::Tool, tool)] {
            self.add(kind, at, agent, subject, counts);
        }
    }

    fn add(&mut self, kind: Kind, at: Timestamp, agent: i64, subject: i64, counts: &Counted) {
        for span in Span::ALL {
            let bucket = span.floor(at.as_millis());
            let of_bucket = self.buckets.entry((kind, span, bucket)).or_default();
            of_bucket.entry(agent).or_default().entry(subject).or_default().add(counts);
        }
    }
}
