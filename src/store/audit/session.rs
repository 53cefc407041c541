//! What one session did: its rows of the index, newest first.

use sea_orm::entity::prelude::*;
use sea_orm::{QueryOrder as _, QuerySelect as _};

use super::row::{entry, row_of};
use super::{Audit, AuditRow};
use crate::model::SessionId;
use crate::store::StoreError;
use crate::store::column::id_text;

impl Audit<'_> {
    /// The session's newest calls, at most so many.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn of_session(&self, session: SessionId, limit: u64) -> Result<Vec<AuditRow>, StoreError> {
        let find = entry::Entity::find()
            .filter(entry::Column::SessionId.eq(id_text(session.as_uuid())))
            .order_by_desc(entry::Column::At)
            .order_by_desc(entry::Column::Seq)
            .limit(limit);
        let rows = self.0.timed(async { Ok(find.all(&self.0.connection).await?) }).await?;
        rows.into_iter().map(row_of).collect()
    }
}
