//! Rows leave the index: with their segments, or all of a node's to be made anew.
//!
//! Invariants: few rows at a time, so that others get their turn; what names count and what statistics
//! hold goes with the rows in the same transaction.

use std::collections::BTreeMap;

use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{Expr, ExprTrait as _};
use sea_orm::{DatabaseTransaction, QueryOrder as _, QuerySelect as _};
use uuid::Uuid;

use super::row::{
    agent, change, entry, lane, member, policy, position, ruling, ruling_policy, statistic, tool,
};
use super::tally::{Kind, Span};
use super::write::node_number;
use crate::store::column::{id_text, signed};
use crate::store::{Store, StoreError, dialect};

/// Rows that leave the index in one transaction.
const FORGOTTEN_AT_ONCE: u64 = 2_000;

/// Forgets the node's rows and its position, the position first: a clearing that is broken off is gone on
/// with by reading the journal from its start.
pub(super) async fn clear(store: &Store, node: Uuid) -> Result<(), StoreError> {
    store
        .timed(async {
            let transaction = dialect::begin_append(&store.connection).await?;
            position::Entity::delete_by_id(id_text(&node)).exec(&transaction).await?;
            Ok(transaction.commit().await?)
        })
        .await?;
    run(store, node, None).await.map(drop)
}

/// Forgets the node's rows up to this segment (all of them without one); says how many calls.
pub(super) async fn run(store: &Store, node: Uuid, boot_max: Option<u64>) -> Result<u64, StoreError> {
    let number = node_number(&node);
    let boot_max = boot_max.map_or(Ok(i64::MAX), |boot| signed("audit_entry.boot", boot))?;
    let mut deleted = 0;
    loop {
        let batch = store.timed(async {
            let transaction = dialect::begin_append(&store.connection).await?;
            let batch = some(&transaction, number, boot_max).await?;
            transaction.commit().await?;
            Ok(batch)
        });
        let batch = batch.await?;
        deleted += batch;
        if batch < FORGOTTEN_AT_ONCE {
            break;
        }
    }
    store
        .timed(async {
            let transaction = dialect::begin_append(&store.connection).await?;
            change::Entity::delete_many()
                .filter(change::Column::Node.eq(number))
                .filter(change::Column::Boot.lte(boot_max))
                .exec(&transaction)
                .await?;
            statistics(&transaction, number).await?;
            names(&transaction).await?;
            Ok(transaction.commit().await?)
        })
        .await?;
    Ok(deleted)
}

async fn some(transaction: &DatabaseTransaction, node: i64, boot_max: i64) -> Result<u64, StoreError> {
    let doomed: Vec<(i64, i64, i64, i64)> = entry::Entity::find()
        .select_only()
        .columns([entry::Column::Id, entry::Column::Lane, entry::Column::Member, entry::Column::Ruling])
        .filter(entry::Column::Node.eq(node))
        .filter(entry::Column::Boot.lte(boot_max))
        .order_by_asc(entry::Column::Boot)
        .order_by_asc(entry::Column::Seq)
        .limit(FORGOTTEN_AT_ONCE)
        .into_tuple()
        .all(transaction)
        .await?;
    if doomed.is_empty() {
        return Ok(0);
    }
    let (mut lanes, mut members, mut rulings) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    for (_, lane, member, ruling) in &doomed {
        *lanes.entry(*lane).or_insert(0i64) += 1;
        *members.entry(*member).or_insert(0i64) += 1;
        *rulings.entry(*ruling).or_insert(0i64) += 1;
    }
    less_of_parts(transaction, &lanes).await?;
    less::<lane::Entity>(transaction, lane::Column::Id, lane::Column::Calls, lanes).await?;
    less::<member::Entity>(transaction, member::Column::Id, member::Column::Calls, members).await?;
    less::<ruling::Entity>(transaction, ruling::Column::Id, ruling::Column::Calls, rulings).await?;
    let ids = doomed.into_iter().map(|row| row.0);
    Ok(entry::Entity::delete_many()
        .filter(entry::Column::Id.is_in(ids))
        .exec(transaction)
        .await?
        .rows_affected)
}

/// Agents under their names, and tools, have as many calls less as their lanes.
async fn less_of_parts(
    transaction: &DatabaseTransaction,
    gone: &BTreeMap<i64, i64>,
) -> Result<(), StoreError> {
    let lanes: Vec<(i64, i64, i64, bool)> = lane::Entity::find()
        .select_only()
        .columns([lane::Column::Id, lane::Column::Named, lane::Column::Tool, lane::Column::Allowed])
        .filter(lane::Column::Id.is_in(gone.keys().copied()))
        .into_tuple()
        .all(transaction)
        .await?;
    let (mut calls, mut denied, mut tools) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    for (lane, named, tool, allowed) in lanes {
        let count = gone.get(&lane).copied().unwrap_or_default();
        *calls.entry(named).or_insert(0) += count;
        *tools.entry(tool).or_insert(0) += count;
        if !allowed {
            *denied.entry(named).or_insert(0) += count;
        }
    }
    less::<agent::Entity>(transaction, agent::Column::Id, agent::Column::Calls, calls).await?;
    less::<agent::Entity>(transaction, agent::Column::Id, agent::Column::Denied, denied).await?;
    less::<tool::Entity>(transaction, tool::Column::Id, tool::Column::Calls, tools).await
}

async fn less<E: EntityTrait>(
    transaction: &DatabaseTransaction,
    id: E::Column,
    calls: E::Column,
    gone: BTreeMap<i64, i64>,
) -> Result<(), StoreError> {
    for (number, count) in gone {
        E::update_many()
            .col_expr(calls, Expr::col(calls).sub(count))
            .filter(id.eq(number))
            .exec(transaction)
            .await?;
    }
    Ok(())
}

/// Buckets that end before the node's first call that is left.
async fn statistics(transaction: &DatabaseTransaction, node: i64) -> Result<(), StoreError> {
    let first = entry::Entity::find()
        .filter(entry::Column::Node.eq(node))
        .order_by_asc(entry::Column::Boot)
        .order_by_asc(entry::Column::Seq)
        .one(transaction)
        .await?;
    // Every agent has days of its own, also one of which no call is left.
    let agents: Vec<i64> = statistic::Entity::find()
        .select_only()
        .column(statistic::Column::Agent)
        .filter(statistic::Column::Kind.eq(Kind::Agent as i64))
        .filter(statistic::Column::Span.eq(Span::Day as i64))
        .filter(statistic::Column::Node.eq(node))
        .distinct()
        .into_tuple()
        .all(transaction)
        .await?;
    // A search of the key for each: the statistics have no other index.
    for (agent, kind, span) in agents.iter().flat_map(|agent| {
        Kind::ALL.into_iter().flat_map(move |kind| Span::ALL.map(|span| (*agent, kind, span)))
    }) {
        let left_from = first.as_ref().map_or(i64::MAX, |first| span.floor(first.at));
        statistic::Entity::delete_many()
            .filter(statistic::Column::Kind.eq(kind as i64))
            .filter(statistic::Column::Span.eq(span as i64))
            .filter(statistic::Column::Agent.eq(agent))
            .filter(statistic::Column::Bucket.lt(left_from))
            .filter(statistic::Column::Node.eq(node))
            .exec(transaction)
            .await?;
    }
    Ok(())
}

/// Names that no call has any more. In the order in which a batch writes them, so that two gates wait for each
/// other's rows and never in a circle; by their counts, which another gate's batch may raise meanwhile.
async fn names(transaction: &DatabaseTransaction) -> Result<(), StoreError> {
    let none = |column: Expr| column.lte(0);
    agent::Entity::delete_many().filter(none(Expr::col(agent::Column::Calls))).exec(transaction).await?;
    tool::Entity::delete_many().filter(none(Expr::col(tool::Column::Calls))).exec(transaction).await?;
    lane::Entity::delete_many().filter(none(Expr::col(lane::Column::Calls))).exec(transaction).await?;
    member::Entity::delete_many().filter(none(Expr::col(member::Column::Calls))).exec(transaction).await?;
    ruling::Entity::delete_many().filter(none(Expr::col(ruling::Column::Calls))).exec(transaction).await?;
    let left = sea_orm::sea_query::Query::select().column(ruling::Column::Id).from(ruling::Entity).to_owned();
    ruling_policy::Entity::delete_many()
        .filter(ruling_policy::Column::Ruling.not_in_subquery(left))
        .exec(transaction)
        .await?;
    let left = sea_orm::sea_query::Query::select()
        .column(ruling_policy::Column::PolicyKey)
        .from(ruling_policy::Entity)
        .to_owned();
    policy::Entity::delete_many()
        .filter(policy::Column::PolicyKey.not_in_subquery(left))
        .exec(transaction)
        .await?;
    Ok(())
}
