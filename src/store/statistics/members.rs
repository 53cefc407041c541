//! Calls by member: the busiest first, under the names of their newest calls.

use sea_orm::Order;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{Query, UnionType};

use super::{
    Kind, MemberCounts, SUMS, StatisticsQuestion, agents_of, counted, parts, persons_of, seen, summed,
};
use crate::model::{AgentId, MemberId, Timestamp};
use crate::store::audit::row::{member, statistic};
use crate::store::column::parse_id;
use crate::store::{Store, StoreError};

pub(super) async fn run(
    store: &Store,
    question: &StatisticsQuestion,
    limit: u32,
    offset: u64,
) -> Result<(Vec<MemberCounts>, u64), StoreError> {
    let (agents, own) = seen(&question.sight);
    let by = [statistic::Column::Subject];
    let parts = parts(question);
    let all = match (&agents, own) {
        (None, _) => summed(&parts, Kind::Member, None, None, &by),
        (Some(agents), []) => summed(&parts, Kind::Member, Some(agents), None, &by),
        (Some(agents), own) => {
            // Members have calls under one agent alone: nobody is counted twice.
            let mut both = summed(&parts, Kind::Member, Some(agents), None, &by);
            let of_own = (Some(&*agents_of(own)), Some(&*persons_of(own)));
            both.union(UnionType::All, summed(&parts, Kind::Member, of_own.0, of_own.1, &by));
            let mut both = Query::select().from_subquery(both, "both").to_owned();
            both.column(statistic::Column::Subject).columns(SUMS.map(|(name, _)| name));
            both
        }
    };
    let total = Query::select()
        .expr_as(Expr::cust("COUNT(*)"), "total")
        .from_subquery(all.clone(), "all_of_them")
        .to_owned();
    let mut page = Query::select();
    page.column(statistic::Column::Subject).columns(SUMS.map(|(name, _)| name)).from_subquery(all, "page");
    page.order_by("calls", Order::Desc)
        .order_by(statistic::Column::Subject, Order::Asc)
        .limit(limit.into())
        .offset(offset);
    let total = store.connection.query_one(&total).await?;
    let total = total.map(|row| row.try_get::<i64>("", "total")).transpose()?.unwrap_or_default();
    let mut rows = Vec::new();
    for row in store.connection.query_all(&page).await? {
        rows.push((row.try_get::<i64>("", "subject")?, counted(&row)?));
    }
    let named = member::Entity::find().filter(member::Column::Person.is_in(rows.iter().map(|row| row.0)));
    let mut names = std::collections::HashMap::new();
    for row in named.all(&store.connection).await? {
        // The name of the newest call.
        let newest = names.entry(row.person).or_insert_with(|| row.clone());
        if (row.last_at, &row.member_name) > (newest.last_at, &newest.member_name) {
            *newest = row;
        }
    }
    let mut found = Vec::with_capacity(rows.len());
    for (subject, counted) in rows {
        let Some(row) = names.remove(&subject) else { continue };
        found.push(MemberCounts {
            member: MemberId::from_uuid(parse_id("audit_member.member_id", &row.member_id)?),
            agent: AgentId::from_uuid(parse_id("audit_member.agent_id", &row.agent_id)?),
            name: row.member_name,
            last_at: Timestamp::from_millis(row.last_at),
            counted,
        });
    }
    Ok((found, total.unsigned_abs()))
}
