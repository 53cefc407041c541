//! Rows in the order of their arrival, for those who watch.

use sea_orm::entity::prelude::*;
use sea_orm::{QueryOrder as _, QuerySelect as _};

use super::row::entry;
use super::{AuditCursor, AuditRow, read};
use crate::store::{Store, StoreError};

pub(super) async fn last(store: &Store) -> Result<i64, StoreError> {
    let find = entry::Entity::find().select_only().column(entry::Column::Id);
    let last: Option<i64> =
        find.order_by_desc(entry::Column::Id).limit(1).into_tuple().one(&store.connection).await?;
    Ok(last.unwrap_or_default())
}

pub(super) async fn numbers(store: &Store, after: i64, limit: u64) -> Result<Vec<i64>, StoreError> {
    let find = entry::Entity::find().select_only().column(entry::Column::Id);
    let find = find.filter(entry::Column::Id.gt(after)).order_by_asc(entry::Column::Id).limit(limit);
    Ok(find.into_tuple().all(&store.connection).await?)
}

pub(super) async fn rows(
    store: &Store,
    numbers: Vec<i64>,
) -> Result<Vec<(AuditCursor, AuditRow)>, StoreError> {
    let mut rows = read::rows(&store.connection, numbers.clone()).await?;
    let row = |id: i64| {
        let row = rows.remove(&id)?;
        let seq = i64::try_from(row.seq).unwrap_or(i64::MAX);
        Some((AuditCursor { at: row.at, seq, id }, row))
    };
    Ok(numbers.into_iter().filter_map(row).collect())
}
