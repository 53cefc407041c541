//! The audit's index: a copy of the journal for queries, rebuildable by replay.
//!
//! Invariants: rows and position move in one transaction, so that after a crash the journal is
//! taken up exactly where the index ends; a row that is there already is left as it is, so that a
//! replay is harmless; who may see a call is decided by [`Sight`], which is part of every question.

mod counts;
mod feed;
mod forget;
mod lanes;
pub(super) mod names;
pub(super) mod packed;
mod people;
mod query;
pub(super) mod question;
mod read;
pub(super) mod row;
mod sight;
pub(super) mod tally;
mod types;
mod write;

use sea_orm::entity::prelude::*;
use uuid::Uuid;

use self::row::position;
use super::column::{id_text, unsigned};
use super::{Store, StoreError};
use crate::model::{AccountId, SessionId};

pub use people::{AuditPerson, PeopleQuestion};
pub use query::{EXACT_TOTAL_MAX, OFFSET_ROWS_MAX};
pub use sight::{OwnMembership, Sight};
pub use types::{
    AuditCursor, AuditFilter, AuditFound, AuditPlace, AuditPosition, AuditRow, AuditTotal, AuditWrite,
    ChangePhase, ChangeRow, QUERY_ROWS_MAX, ShadowRow,
};

/// The audit's index.
#[derive(Debug, Clone, Copy)]
pub struct Audit<'a>(pub(super) &'a Store);

impl Audit<'_> {
    /// Adds these and moves the position, in one transaction. What is there already is left as it
    /// is. A completion whose entry is not there (retention took it) is passed over.
    ///
    /// # Errors
    /// [`StoreError`]; neither rows nor position have moved then.
    pub async fn append(
        &self,
        node: Uuid,
        writes: &[AuditWrite],
        position: &AuditPosition,
    ) -> Result<(), StoreError> {
        self.0.timed(Box::pin(write::run(self.0, node, writes, position))).await
    }

    /// How far the node's journal has been indexed; `None` at first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn position(&self, node: Uuid) -> Result<Option<AuditPosition>, StoreError> {
        let find = position::Entity::find_by_id(id_text(&node));
        let found = self.0.timed(async { Ok(find.one(&self.0.connection).await?) }).await?;
        let position_of = |row: position::Model| {
            let offset = unsigned("audit_position.byte_offset", row.byte_offset)?;
            Ok(AuditPosition { segment: row.segment, offset })
        };
        found.map(position_of).transpose()
    }

    /// The rows that match, newest first, and how many match in all. Rows of the same millisecond
    /// stand in the order of their journal, so that pages neither repeat nor skip.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn query(&self, filter: &AuditFilter) -> Result<AuditFound, StoreError> {
        self.0.timed(Box::pin(query::run(self.0, filter, true))).await
    }

    /// The same without a total.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn page(&self, filter: &AuditFilter) -> Result<AuditFound, StoreError> {
        self.0.timed(Box::pin(query::run(self.0, filter, false))).await
    }

    /// The session's newest calls, at most so many.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn of_session(&self, session: SessionId, limit: u32) -> Result<Vec<AuditRow>, StoreError> {
        let filter = AuditFilter { session: Some(session), limit, ..AuditFilter::default() };
        Ok(self.page(&filter).await?.rows.into_iter().map(|(_, row)| row).collect())
    }

    /// What this account may see now.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn sight(&self, account: AccountId) -> Result<Sight, StoreError> {
        self.0.timed(sight::of_account(self.0, account)).await
    }

    /// The members that calls were made by, by name, and how many there are.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn people(&self, question: &PeopleQuestion) -> Result<(Vec<AuditPerson>, u64), StoreError> {
        self.0.timed(people::run(self.0, question)).await
    }

    /// The arrival number of the newest row; 0 where there is none.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn last_arrival(&self) -> Result<i64, StoreError> {
        self.0.timed(feed::last(self.0)).await
    }

    /// Arrival numbers behind this one, in their order, at most so many.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn arrivals(&self, after: i64, limit: u64) -> Result<Vec<i64>, StoreError> {
        self.0.timed(feed::numbers(self.0, after, limit)).await
    }

    /// The rows of these arrival numbers, in their order; one that is gone is not among them.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn arrived(&self, numbers: Vec<i64>) -> Result<Vec<(AuditCursor, AuditRow)>, StoreError> {
        self.0.timed(Box::pin(feed::rows(self.0, numbers))).await
    }

    /// Forgets the node's rows and position, so that the journal can be replayed from its start.
    ///
    /// # Errors
    /// [`StoreError`]; the position is forgotten first.
    pub async fn clear(&self, node: Uuid) -> Result<(), StoreError> {
        forget::clear(self.0, node).await
    }

    /// Deletes the node's rows up to this segment (`boot` of [`AuditRow`]), some at a time so that
    /// others get their turn; says how many calls. Statistics of the time before what is left go too.
    ///
    /// # Errors
    /// [`StoreError`]; what was deleted before stays deleted.
    pub async fn forget(&self, node: Uuid, boot_max: u64) -> Result<u64, StoreError> {
        forget::run(self.0, node, Some(boot_max)).await
    }
}
