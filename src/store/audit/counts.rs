//! What a batch counted, into the rows of the statistics.
//!
//! Invariants: a row is read, added to and written in the batch's own transaction, and no other node writes
//! it; what one batch writes again is bounded: a row with many subjects is put aside as a full part, and where
//! a subject stands does not matter, because whoever reads adds up all parts.

use std::collections::BTreeMap;

use sea_orm::entity::prelude::*;
use sea_orm::sea_query::OnConflict;
use sea_orm::{DatabaseTransaction, QuerySelect as _, Set};

use super::packed;
use super::row::statistic;
use super::tally::{Bucket, Tally};
use super::write::upsert;
use crate::store::column::signed;
use crate::store::{Counted, StoreError};

/// Subjects of a row that is still added to, some 60 kB; one batch may take it a little further.
const SUBJECTS_MAX: usize = 4_096;
/// Rows that are held at once.
const AGENTS_AT_ONCE: usize = 128;

/// Adds what was counted.
pub(super) async fn add(
    transaction: &DatabaseTransaction,
    node: i64,
    tally: &Tally,
) -> Result<(), StoreError> {
    for (bucket, agents) in &tally.buckets {
        let agents: Vec<_> = agents.iter().collect();
        for some in agents.chunks(AGENTS_AT_ONCE) {
            add_some(transaction, node, *bucket, some).await?;
        }
    }
    Ok(())
}

async fn add_some(
    transaction: &DatabaseTransaction,
    node: i64,
    (kind, span, bucket): Bucket,
    more: &[(&i64, &BTreeMap<i64, Counted>)],
) -> Result<(), StoreError> {
    use statistic::Column as C;
    let there: Vec<(i64, Vec<u8>)> = statistic::Entity::find()
        .select_only()
        .columns([C::Agent, C::Counts])
        .filter(C::Kind.eq(kind as i64))
        .filter(C::Span.eq(span as i64))
        .filter(C::Agent.is_in(more.iter().map(|(agent, _)| **agent)))
        .filter(C::Bucket.eq(bucket))
        .filter(C::Node.eq(node))
        .filter(C::Part.eq(0))
        .into_tuple()
        .all(transaction)
        .await?;
    let there: BTreeMap<i64, Vec<u8>> = there.into_iter().collect();
    let mut models = BTreeMap::new();
    for (agent, added) in more {
        let mut counts = BTreeMap::<i64, Counted>::new();
        let mut full_parts = match there.get(agent) {
            Some(bytes) => packed::each(bytes, |subject, counted| {
                counts.entry(subject).or_default().add(counted);
            })?,
            None => 0,
        };
        for (subject, counted) in *added {
            counts.entry(*subject).or_default().add(counted);
        }
        let mut row = |part: u64, counts: Vec<u8>| {
            let part = signed("audit_statistic.part", part)?;
            let model = statistic::ActiveModel {
                kind: Set(kind as i64),
                span: Set(span as i64),
                agent: Set(**agent),
                bucket: Set(bucket),
                node: Set(node),
                part: Set(part),
                counts: Set(counts),
            };
            models.insert((**agent, part), model);
            Ok::<_, StoreError>(())
        };
        if counts.len() > SUBJECTS_MAX {
            full_parts = full_parts.saturating_add(1);
            row(full_parts, packed::written(0, &counts))?;
            counts.clear();
        }
        row(0, packed::written(full_parts, &counts))?;
    }
    let replace = OnConflict::columns([C::Kind, C::Span, C::Agent, C::Bucket, C::Node, C::Part])
        .update_column(C::Counts)
        .to_owned();
    upsert::<statistic::Entity>(transaction, models, replace).await
}
