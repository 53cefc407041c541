//! Calls counted by hour and by day (specification 12): kept by the index as it follows the journal, read
//! here.
//!
//! Invariants: a time is widened to whole hours, never cut; whole days in between are read as days, so
//! that what a question costs grows with days and not with calls; what may be seen is part of the
//! question, as for the audit.

mod members;
mod own;

use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{Expr, ExprTrait as _, Query, SelectStatement, UnionType};
use sea_orm::{Order, QueryResult};

use super::audit::names::agent_number;
use super::audit::row::{lane, number_of, policy, statistic};
use super::audit::tally::{Kind, Span};
use super::column::id_text;
use super::{OwnMembership, Sight, Store, StoreError};
use crate::model::{AgentId, MemberId, Timestamp};

/// Policies that are told, the busiest first.
const POLICIES_MAX: u64 = 50;

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

const SUMS: [(&str, &str); 5] = [
    ("calls", "CAST(SUM(calls) AS BIGINT)"),
    ("denied", "CAST(SUM(denied) AS BIGINT)"),
    ("ended", "CAST(SUM(ended) AS BIGINT)"),
    ("duration_ms", "CAST(SUM(duration_ms) AS BIGINT)"),
    ("duration_ms_max", "MAX(duration_ms_max)"),
];

/// Sums of a kind by `by`, of these agents and subjects (all of them without).
fn summed(
    parts: &[(Span, i64, i64)],
    kind: Kind,
    agents: Option<&[i64]>,
    subjects: Option<&[i64]>,
    by: &[statistic::Column],
) -> SelectStatement {
    use statistic::Column as C;
    let mut each = parts.iter().map(|(span, from, end)| {
        let mut select = Query::select();
        select.columns(by.iter().copied()).from(statistic::Entity);
        for (name, sum) in SUMS {
            select.expr_as(Expr::cust(sum), name);
        }
        select
            .and_where(C::Kind.eq(kind as i64))
            .and_where(C::Span.eq(*span as i64))
            .and_where(C::Bucket.gte(*from))
            .and_where(C::Bucket.lt(*end))
            .group_by_columns(by.iter().copied());
        if let Some(agents) = agents {
            select.and_where(C::Agent.is_in(agents.iter().copied()));
        }
        if let Some(subjects) = subjects {
            select.and_where(C::Subject.is_in(subjects.iter().copied()));
        }
        select
    });
    let mut first = each.next().unwrap_or_default();
    first.unions(each.map(|one| (UnionType::All, one)));
    let mut all = Query::select();
    all.columns(by.iter().copied()).from_subquery(first, "each").group_by_columns(by.iter().copied());
    for (name, sum) in SUMS {
        all.expr_as(Expr::cust(sum), name);
    }
    all
}

fn counted(row: &QueryResult) -> Result<Counted, StoreError> {
    let number = |name: &str| Ok::<_, StoreError>(row.try_get::<i64>("", name)?.unsigned_abs());
    Ok(Counted {
        calls: number("calls")?,
        denied: number("denied")?,
        ended: number("ended")?,
        duration_ms: number("duration_ms")?,
        duration_ms_max: number("duration_ms_max")?,
    })
}

async fn series(store: &Store, question: &StatisticsQuestion, span: Span) -> Result<Vec<Busy>, StoreError> {
    let end = Span::Hour.floor(question.to.as_millis()).saturating_add(Span::Hour as i64);
    let part = [(span, span.floor(question.from.as_millis()), end)];
    let (agents, own) = seen(&question.sight);
    let by = [statistic::Column::Bucket];
    let mut selects = Vec::new();
    if agents.as_ref().is_none_or(|agents| !agents.is_empty()) {
        selects.push(summed(&part, Kind::Agent, agents.as_deref(), None, &by));
    }
    if !own.is_empty() {
        selects.push(summed(&part, Kind::Member, Some(&agents_of(own)), Some(&persons_of(own)), &by));
    }
    let mut buckets = std::collections::BTreeMap::<i64, Counted>::new();
    for select in selects {
        for row in store.connection.query_all(&select).await? {
            buckets.entry(row.try_get("", "bucket")?).or_default().add(&counted(&row)?);
        }
    }
    let busy = |(from, counted)| Busy { from: Timestamp::from_millis(from), counted };
    Ok(buckets.into_iter().map(busy).collect())
}

fn agents_of(own: &[OwnMembership]) -> Vec<i64> {
    own.iter().map(|one| agent_number(one.agent)).collect()
}

fn persons_of(own: &[OwnMembership]) -> Vec<i64> {
    own.iter().map(|one| person(one.member)).collect()
}

async fn tools(store: &Store, question: &StatisticsQuestion) -> Result<Vec<ToolCounts>, StoreError> {
    let (agents, own) = seen(&question.sight);
    let mut tools = std::collections::HashMap::<i64, Counted>::new();
    if agents.as_ref().is_none_or(|agents| !agents.is_empty()) {
        let by = [statistic::Column::Subject];
        let select = summed(&parts(question), Kind::Tool, agents.as_deref(), None, &by);
        for row in store.connection.query_all(&select).await? {
            tools.entry(row.try_get("", "subject")?).or_default().add(&counted(&row)?);
        }
    }
    if !own.is_empty() {
        for (tool, counts) in own::tools(store, question, own).await? {
            tools.entry(tool).or_default().add(&counts);
        }
    }
    let names = Query::select()
        .distinct()
        .columns([lane::Column::ToolOfService, lane::Column::Service, lane::Column::Tool])
        .from(lane::Entity)
        .and_where(lane::Column::ToolOfService.is_in(tools.keys().copied()))
        .to_owned();
    let mut found = Vec::with_capacity(tools.len());
    for row in store.connection.query_all(&names).await? {
        let number: i64 = row.try_get("", "tool_of_service")?;
        let (service, tool) = (row.try_get("", "service")?, row.try_get("", "tool")?);
        let counted = tools.get(&number).copied().unwrap_or_default();
        found.push(ToolCounts { service, tool, counted });
    }
    found.sort_unstable_by(|a, b| {
        let calls = b.counted.calls.cmp(&a.counted.calls);
        calls.then_with(|| (&a.service, &a.tool).cmp(&(&b.service, &b.tool)))
    });
    Ok(found)
}

async fn denying(store: &Store, question: &StatisticsQuestion) -> Result<Vec<PolicyCounts>, StoreError> {
    let (agents, _) = seen(&question.sight);
    if agents.as_ref().is_some_and(Vec::is_empty) {
        return Ok(Vec::new());
    }
    let by = [statistic::Column::Subject];
    let mut select = summed(&parts(question), Kind::Policy, agents.as_deref(), None, &by);
    select
        .cond_having(Expr::cust("SUM(denied) > 0"))
        .order_by("denied", Order::Desc)
        .order_by(statistic::Column::Subject, Order::Asc)
        .limit(POLICIES_MAX);
    let rows = store.connection.query_all(&select).await?;
    let mut found = Vec::with_capacity(rows.len());
    for row in rows {
        let subject: i64 = row.try_get("", "subject")?;
        if let Some(named) = policy::Entity::find_by_id(subject).one(&store.connection).await? {
            let (service, key, name) = (named.service, named.policy_key, named.name);
            found.push(PolicyCounts { service, key, name, counted: counted(&row)? });
        }
    }
    Ok(found)
}
