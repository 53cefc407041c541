//! Calls counted by hour and by day (specification 12): kept by the index as it follows the journal, read
//! here.
//!
//! Invariants: a time is widened to whole hours, never cut; whole days in between are read as days, so
//! that what a question costs grows with days and not with calls; rows are added up here and not by the
//! database, which takes many times as long for as many counts; what may be seen is part of the
//! question, as for the audit.

mod members;
mod own;
mod sums;

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};

use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{Expr, ExprTrait as _, Query};

use super::audit::names::agent_number;
use super::audit::row::{number_of, policy, tool};
use super::audit::tally::{Kind, Span};
use super::column::id_text;
use super::{OwnMembership, Sight, Store, StoreError};
use crate::model::{AgentId, MemberId, Timestamp};

/// Policies that are told, the busiest first.
const POLICIES_MAX: usize = 50;
/// Names that one statement asks for.
const NAMES_AT_ONCE: usize = 500;

/// What one row of a series spans.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatisticSpan {
    Hour,
    /// Of UTC.
    Day,
}

impl StatisticSpan {
    const fn span(self) -> Span {
        match self {
            Self::Hour => Span::Hour,
            Self::Day => Span::Day,
        }
    }

    /// Its length in milliseconds.
    pub const fn millis(self) -> i64 {
        self.span() as i64
    }

    /// The beginning of what holds this time.
    pub const fn floor(self, at: Timestamp) -> Timestamp {
        Timestamp::from_millis(self.span().floor(at.as_millis()))
    }
}

/// Whose calls, and when: from the hour of `from` to the hour of `to`, both whole.
#[derive(Debug, Clone)]
pub struct StatisticsQuestion {
    pub sight: Sight,
    pub from: Timestamp,
    pub to: Timestamp,
}

/// Calls, and how long those took whose end is known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counted {
    pub calls: u64,
    pub denied: u64,
    pub ended: u64,
    pub duration_ms: u64,
    pub duration_ms_max: u64,
}

impl Counted {
    /// Adds these to it.
    pub fn add(&mut self, other: &Self) {
        self.calls = self.calls.saturating_add(other.calls);
        self.denied = self.denied.saturating_add(other.denied);
        self.ended = self.ended.saturating_add(other.ended);
        self.duration_ms = self.duration_ms.saturating_add(other.duration_ms);
        self.duration_ms_max = Ord::max(self.duration_ms_max, other.duration_ms_max);
    }
}

/// What one bucket of a series counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Busy {
    pub from: Timestamp,
    pub counted: Counted,
}

/// Calls of a tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolCounts {
    pub service: String,
    pub tool: String,
    pub counted: Counted,
}

/// Calls that a policy determined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyCounts {
    pub service: String,
    pub key: String,
    pub name: String,
    pub counted: Counted,
}

/// Calls of a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberCounts {
    pub member: MemberId,
    pub agent: AgentId,
    pub name: String,
    pub last_at: Timestamp,
    pub counted: Counted,
}

/// The statistics.
#[derive(Debug, Clone, Copy)]
pub struct Statistics<'a>(pub(super) &'a Store);

impl Statistics<'_> {
    /// Calls of each hour, or day, in which there was one.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn series(
        &self,
        question: &StatisticsQuestion,
        span: StatisticSpan,
    ) -> Result<Vec<Busy>, StoreError> {
        self.0.timed(series(self.0, question, span.span())).await
    }

    /// Calls of each tool, the busiest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn tools(&self, question: &StatisticsQuestion) -> Result<Vec<ToolCounts>, StoreError> {
        self.0.timed(Box::pin(tools(self.0, question))).await
    }

    /// The policies that denied the most calls; of agents that the asker owns.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn denying(&self, question: &StatisticsQuestion) -> Result<Vec<PolicyCounts>, StoreError> {
        self.0.timed(denying(self.0, question)).await
    }

    /// How many agents and members this sight is of, as the directory stands now.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn people(&self, sight: &Sight) -> Result<(u64, u64), StoreError> {
        self.0.timed(people(self.0, sight)).await
    }

    /// Calls of each member, the busiest first, and how many members there are.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn members(
        &self,
        question: &StatisticsQuestion,
        limit: u32,
        offset: u64,
    ) -> Result<(Vec<MemberCounts>, u64), StoreError> {
        self.0.timed(Box::pin(members::run(self.0, question, limit, offset))).await
    }
}

async fn people(store: &Store, sight: &Sight) -> Result<(u64, u64), StoreError> {
    let mut members = Query::select();
    members.expr_as(Expr::cust("COUNT(*)"), "counted").from("member");
    let (agents, beside) = match sight {
        Sight::Everything => (store.agents().list().await?.len(), 0),
        Sight::Account { owned, own } => {
            let ids = owned.iter().map(|agent| id_text(agent.as_uuid()));
            members.and_where(Expr::col("agent_id").is_in(ids));
            (owned.len() + own.len(), own.len())
        }
    };
    let row = store.connection.query_one(&members).await?;
    let members = row.map(|row| row.try_get::<i64>("", "counted")).transpose()?.unwrap_or_default();
    Ok((agents as u64, members.unsigned_abs().saturating_add(beside as u64)))
}

/// The agents that are asked for as a whole, and the memberships beside them; no agents means all.
fn seen(sight: &Sight) -> (Option<Vec<i64>>, &[OwnMembership]) {
    match sight {
        Sight::Everything => (None, &[]),
        Sight::Account { owned, own } => (Some(owned.iter().map(|a| agent_number(*a)).collect()), own),
    }
}

fn person(member: MemberId) -> i64 {
    number_of(&[member.as_uuid().as_bytes()])
}

/// The time as buckets: hours up to the first whole day, days, hours of the last day.
fn parts(question: &StatisticsQuestion) -> Vec<(Span, i64, i64)> {
    let (from, to) = (question.from.as_millis(), question.to.as_millis());
    let (hour, day) = (Span::Hour as i64, Span::Day as i64);
    let first = Span::Hour.floor(from);
    let end = Span::Hour.floor(to).saturating_add(hour);
    let (first_day, end_day) = (Span::Day.floor(first.saturating_add(day - 1)), Span::Day.floor(end));
    let parts = if first_day < end_day {
        vec![(Span::Hour, first, first_day), (Span::Day, first_day, end_day), (Span::Hour, end_day, end)]
    } else {
        vec![(Span::Hour, first, end)]
    };
    parts.into_iter().filter(|(_, from, end)| from < end).collect()
}

async fn series(store: &Store, question: &StatisticsQuestion, span: Span) -> Result<Vec<Busy>, StoreError> {
    let end = Span::Hour.floor(question.to.as_millis()).saturating_add(Span::Hour as i64);
    let part = [(span, span.floor(question.from.as_millis()), end)];
    let (agents, own) = seen(&question.sight);
    let mut buckets = std::collections::BTreeMap::<i64, Counted>::new();
    sums::each(store, &part, Kind::Agent, agents.as_deref(), |bucket, _, counted| {
        buckets.entry(bucket).or_default().add(counted);
    })
    .await?;
    let persons = persons_of(own);
    sums::each(store, &part, Kind::Member, Some(&agents_of(own)), |bucket, subject, counted| {
        if persons.contains(&subject) {
            buckets.entry(bucket).or_default().add(counted);
        }
    })
    .await?;
    let busy = |(from, counted)| Busy { from: Timestamp::from_millis(from), counted };
    Ok(buckets.into_iter().map(busy).collect())
}

fn agents_of(own: &[OwnMembership]) -> Vec<i64> {
    let agents: std::collections::BTreeSet<i64> = own.iter().map(|one| agent_number(one.agent)).collect();
    agents.into_iter().collect()
}

fn persons_of(own: &[OwnMembership]) -> HashSet<i64> {
    own.iter().map(|one| person(one.member)).collect()
}

async fn tools(store: &Store, question: &StatisticsQuestion) -> Result<Vec<ToolCounts>, StoreError> {
    let (agents, own) = seen(&question.sight);
    let mut tools = sums::by_subject(store, &parts(question), Kind::Tool, agents.as_deref()).await?;
    if !own.is_empty() {
        for (tool, counts) in own::tools(store, question, own).await? {
            tools.entry(tool).or_default().add(&counts);
        }
    }
    let numbers: Vec<i64> = tools.keys().copied().collect();
    let mut found = Vec::with_capacity(tools.len());
    for numbers in numbers.chunks(NAMES_AT_ONCE) {
        let named = tool::Entity::find().filter(tool::Column::Id.is_in(numbers.iter().copied()));
        for named in named.all(&store.connection).await? {
            let counted = tools.get(&named.id).copied().unwrap_or_default();
            found.push(ToolCounts { service: named.service, tool: named.tool, counted });
        }
    }
    found.sort_unstable_by(|a, b| {
        let calls = b.counted.calls.cmp(&a.counted.calls);
        calls.then_with(|| (&a.service, &a.tool).cmp(&(&b.service, &b.tool)))
    });
    Ok(found)
}

async fn denying(store: &Store, question: &StatisticsQuestion) -> Result<Vec<PolicyCounts>, StoreError> {
    let (agents, _) = seen(&question.sight);
    let sums = sums::by_subject(store, &parts(question), Kind::Policy, agents.as_deref()).await?;
    let mut most: Vec<(i64, Counted)> = sums.into_iter().filter(|(_, counted)| counted.denied > 0).collect();
    most.sort_unstable_by_key(|(subject, counted)| (Reverse(counted.denied), *subject));
    most.truncate(POLICIES_MAX);
    let named = policy::Entity::find().filter(policy::Column::Id.is_in(most.iter().map(|one| one.0)));
    let named = named.all(&store.connection).await?;
    let mut named: HashMap<i64, policy::Model> = named.into_iter().map(|row| (row.id, row)).collect();
    let told = most.into_iter().filter_map(|(subject, counted)| {
        let policy::Model { service, policy_key, name, .. } = named.remove(&subject)?;
        Some(PolicyCounts { service, key: policy_key, name, counted })
    });
    Ok(told.collect())
}
