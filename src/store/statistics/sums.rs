//! The rows of the statistics, added up.
//!
//! Invariant: some rows at a time, so that what a question holds does not grow with the time it asks for.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};

use sea_orm::entity::prelude::*;
use sea_orm::sea_query::Query;

use super::Counted;
use crate::store::audit::packed;
use crate::store::audit::row::statistic;
use crate::store::audit::tally::{Kind, Span};
use crate::store::{Store, StoreError};

/// Rows that one statement may answer, full parts aside; a row of 300 tools has some 4 kB.
const ROWS_AT_ONCE: usize = 2_000;
/// Agents of one statement.
const AGENTS_AT_ONCE: usize = 500;

/// Counts by subject.
pub(super) type Sums = HashMap<i64, Counted, Seed>;

/// Drawn for each table, so that nobody can name tools whose numbers meet in one place of it.
#[derive(Debug, Clone)]
pub(super) struct Seed(u64);

impl Default for Seed {
    fn default() -> Self {
        Self(RandomState::new().hash_one(0))
    }
}

impl BuildHasher for Seed {
    type Hasher = Number;

    fn build_hasher(&self) -> Number {
        Number(self.0)
    }
}

/// Places of subjects, which are digests already: one multiplication, where the usual way takes ten times as
/// long, and a month of a hundred agents has a million of them.
#[derive(Debug)]
pub(super) struct Number(u64);

impl Hasher for Number {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_i64(&mut self, number: i64) {
        let product = u128::from(self.0 ^ number.cast_unsigned()) * 0x9e37_79b9_7f4a_7c15;
        // Its low half and its high half, of which either alone would be weak.
        self.0 = (product as u64) ^ ((product >> 64) as u64);
    }
}

/// Sums of a kind by subject, of these agents (all without).
pub(super) async fn by_subject(
    store: &Store,
    parts: &[(Span, i64, i64)],
    kind: Kind,
    agents: Option<&[i64]>,
) -> Result<Sums, StoreError> {
    let mut sums = Sums::default();
    let tell = |_, subject, counted: &Counted| sums.entry(subject).or_default().add(counted);
    each(store, parts, kind, agents, tell).await?;
    Ok(sums)
}

/// Tells the counts of a kind in these buckets, of these agents (all without): a bucket's beginning, a subject
/// and its counts, in no order and more than once.
pub(super) async fn each(
    store: &Store,
    parts: &[(Span, i64, i64)],
    kind: Kind,
    agents: Option<&[i64]>,
    mut tell: impl FnMut(i64, i64, &Counted),
) -> Result<(), StoreError> {
    let all;
    let agents = match agents {
        Some(agents) => agents,
        None => {
            all = all_agents(store).await?;
            &all
        }
    };
    for agents in agents.chunks(AGENTS_AT_ONCE) {
        let buckets = Ord::max(ROWS_AT_ONCE / agents.len(), 1);
        let buckets = i64::try_from(buckets).unwrap_or(1);
        for (span, from, end) in parts {
            let step = buckets.saturating_mul(*span as i64);
            let mut from = *from;
            while from < *end {
                let until = Ord::min(from.saturating_add(step), *end);
                some(store, (*span, from, until), kind, agents, &mut tell).await?;
                from = until;
            }
        }
    }
    Ok(())
}

async fn some(
    store: &Store,
    (span, from, end): (Span, i64, i64),
    kind: Kind,
    agents: &[i64],
    tell: &mut impl FnMut(i64, i64, &Counted),
) -> Result<(), StoreError> {
    use statistic::Column as C;
    let select = Query::select()
        .columns([C::Bucket, C::Counts])
        .from(statistic::Entity)
        .and_where(C::Kind.eq(kind as i64))
        .and_where(C::Span.eq(span as i64))
        .and_where(C::Agent.is_in(agents.iter().copied()))
        .and_where(C::Bucket.gte(from))
        .and_where(C::Bucket.lt(end))
        .take();
    for row in store.connection.query_all(&select).await? {
        let (bucket, counts) = (row.try_get::<i64>("", "bucket")?, row.try_get::<Vec<u8>>("", "counts")?);
        packed::each(&counts, |subject, counted| tell(bucket, subject, counted))?;
    }
    Ok(())
}

async fn all_agents(store: &Store) -> Result<Vec<i64>, StoreError> {
    use statistic::Column as C;
    let all = Query::select()
        .distinct()
        .column(C::Agent)
        .from(statistic::Entity)
        .and_where(C::Kind.eq(Kind::Agent as i64))
        .and_where(C::Span.eq(Span::Day as i64))
        .take();
    let all = store.connection.query_all(&all).await?;
    all.into_iter().map(|row| Ok(row.try_get("", "agent")?)).collect()
}
