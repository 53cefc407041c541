//! Calls by member: the busiest first, under the names of their newest calls.

use std::cmp::Reverse;

use sea_orm::entity::prelude::*;

use super::{Counted, Kind, MemberCounts, StatisticsQuestion, agents_of, parts, persons_of, seen, sums};
use crate::model::{AgentId, MemberId, Timestamp};
use crate::store::audit::row::member;
use crate::store::column::parse_id;
use crate::store::{Store, StoreError};

pub(super) async fn run(
    store: &Store,
    question: &StatisticsQuestion,
    limit: u32,
    offset: u64,
) -> Result<(Vec<MemberCounts>, u64), StoreError> {
    let (agents, own) = seen(&question.sight);
    let parts = parts(question);
    let mut sums = sums::by_subject(store, &parts, Kind::Member, agents.as_deref()).await?;
    let persons = persons_of(own);
    // Members have calls under one agent alone: nobody is counted twice.
    sums::each(store, &parts, Kind::Member, Some(&agents_of(own)), |_, subject, counted| {
        if persons.contains(&subject) {
            sums.entry(subject).or_default().add(counted);
        }
    })
    .await?;
    let total = sums.len() as u64;
    let mut rows: Vec<(i64, Counted)> = sums.into_iter().collect();
    rows.sort_unstable_by_key(|(subject, counted)| (Reverse(counted.calls), *subject));
    let skipped = usize::try_from(offset).unwrap_or(usize::MAX);
    let rows: Vec<_> = rows.into_iter().skip(skipped).take(limit as usize).collect();
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
    Ok((found, total))
}
