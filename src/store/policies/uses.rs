//! How often policies determined calls, and when last, as the audit's index has it.
//!
//! Invariants: what is counted is calls of the policy's own agent since the policy was made: an earlier
//! policy of the same key lends it nothing; what is read grows with days, not with calls.

use std::collections::{BTreeMap, BTreeSet};

use sea_orm::QuerySelect as _;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{Expr, ExprTrait as _, Query};

use super::{Policies, PolicyRow};
use crate::model::{AgentId, PolicyId, Timestamp};
use crate::store::audit::names::{agent_number, policy_number};
use crate::store::audit::row::{entry, lane, policy, ruling_policy, statistic};
use crate::store::audit::tally::{Kind, Span};
use crate::store::column::{id_text, unsigned};
use crate::store::{StoreError, dialect};

/// Calls that a policy determined.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PolicyUses {
    pub calls: u64,
    pub last: Option<Timestamp>,
}

impl Policies<'_> {
    /// Calls that each of these policies of the agent determined; one that determined none is not named.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn uses(
        &self,
        agent: AgentId,
        rows: &[PolicyRow],
    ) -> Result<BTreeMap<PolicyId, PolicyUses>, StoreError> {
        self.0.timed(Box::pin(uses(&self.0.connection, agent, rows))).await
    }
}

async fn uses(
    connection: &sea_orm::DatabaseConnection,
    agent: AgentId,
    rows: &[PolicyRow],
) -> Result<BTreeMap<PolicyId, PolicyUses>, StoreError> {
    if rows.is_empty() {
        return Ok(BTreeMap::new());
    }
    let moment = dialect::begin_read(connection).await?;
    let subjects = subjects(&moment, rows).await?;
    let days = days(&moment, agent, subjects.values().flatten().copied().collect()).await?;
    let mut found = BTreeMap::new();
    for row in rows {
        let numbers = subjects.get(&row.id).map(Vec::as_slice).unwrap_or_default();
        let made = Span::Day.floor(row.created_at.as_millis());
        let of_row = days.iter().filter(|day| numbers.contains(&day.subject) && day.bucket >= made);
        let (mut calls, mut last) = (0_u64, None);
        for day in of_row {
            calls = calls.saturating_add(day.calls);
            last = Ord::max(last, Some(day.bucket));
        }
        if let Some(last) = last {
            let last = newest(&moment, agent, row, numbers, last).await?;
            found.insert(row.id, PolicyUses { calls, last });
        }
    }
    moment.commit().await?;
    Ok(found)
}

/// The numbers under which the statistics count each policy: one for each service whose calls it decides.
async fn subjects(
    moment: &impl ConnectionTrait,
    rows: &[PolicyRow],
) -> Result<BTreeMap<PolicyId, Vec<i64>>, StoreError> {
    let of_any = |row: &&PolicyRow| row.service.is_none();
    let keys: Vec<&str> = rows.iter().filter(of_any).map(|row| row.key.as_str()).collect();
    let mut numbers: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    if !keys.is_empty() {
        let named = policy::Entity::find().filter(policy::Column::PolicyKey.is_in(keys));
        for named in named.all(moment).await? {
            numbers.entry(named.policy_key).or_default().push(named.id);
        }
    }
    let of = |row: &PolicyRow| match &row.service {
        Some(service) => vec![policy_number(service.as_str(), row.key.as_str())],
        None => numbers.get(row.key.as_str()).cloned().unwrap_or_default(),
    };
    Ok(rows.iter().map(|row| (row.id, of(row))).collect())
}

/// What one day counts of one subject.
struct Day {
    subject: i64,
    bucket: i64,
    calls: u64,
}

async fn days(
    moment: &impl ConnectionTrait,
    agent: AgentId,
    subjects: BTreeSet<i64>,
) -> Result<Vec<Day>, StoreError> {
    use statistic::Column as C;
    let found: Vec<(i64, i64, i64)> = statistic::Entity::find()
        .select_only()
        .column(C::Subject)
        .column(C::Bucket)
        .column_as(Expr::cust("CAST(SUM(calls) AS BIGINT)"), "counted")
        .filter(C::Kind.eq(Kind::Policy as i64))
        .filter(C::Span.eq(Span::Day as i64))
        .filter(C::Agent.eq(agent_number(agent)))
        .filter(C::Subject.is_in(subjects))
        .group_by(C::Subject)
        .group_by(C::Bucket)
        .into_tuple()
        .all(moment)
        .await?;
    let day = |(subject, bucket, calls)| {
        Ok(Day { subject, bucket, calls: unsigned("audit_statistic.calls", calls)? })
    };
    found.into_iter().map(day).collect()
}

/// The policy's newest call in the last hour of this day in which it had one.
async fn newest(
    moment: &impl ConnectionTrait,
    agent: AgentId,
    row: &PolicyRow,
    subjects: &[i64],
    day: i64,
) -> Result<Option<Timestamp>, StoreError> {
    use statistic::Column as C;
    let hour: Option<Option<i64>> = statistic::Entity::find()
        .select_only()
        .column_as(C::Bucket.max(), "newest")
        .filter(C::Kind.eq(Kind::Policy as i64))
        .filter(C::Span.eq(Span::Hour as i64))
        .filter(C::Agent.eq(agent_number(agent)))
        .filter(C::Subject.is_in(subjects.iter().copied()))
        .filter(C::Bucket.gte(day))
        .filter(C::Bucket.lt(day.saturating_add(Span::Day as i64)))
        .into_tuple()
        .one(moment)
        .await?;
    let Some(hour) = hour.flatten() else { return Ok(Some(Timestamp::from_millis(day))) };
    let rulings = Query::select()
        .column(ruling_policy::Column::Ruling)
        .from(ruling_policy::Entity)
        .and_where(ruling_policy::Column::PolicyKey.eq(row.key.as_str()))
        .to_owned();
    let lanes = Query::select()
        .column(lane::Column::Id)
        .from(lane::Entity)
        .and_where(lane::Column::AgentId.eq(id_text(agent.as_uuid())))
        .to_owned();
    let at: Option<Option<i64>> = entry::Entity::find()
        .select_only()
        .column_as(entry::Column::At.max(), "newest")
        .filter(Expr::col(entry::Column::Ruling).in_subquery(rulings))
        .filter(Expr::col(entry::Column::Lane).in_subquery(lanes))
        .filter(entry::Column::At.gte(hour))
        .filter(entry::Column::At.lt(hour.saturating_add(Span::Hour as i64)))
        .into_tuple()
        .one(moment)
        .await?;
    // Where retention dropped the call itself, its hour is what is left.
    Ok(Some(Timestamp::from_millis(at.flatten().unwrap_or(hour))))
}
