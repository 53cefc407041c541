//! The audit's index: a copy of the journal for queries, rebuildable by replay.
//!
//! Invariants: rows and position move in one transaction, so that after a crash the journal is
//! taken up exactly where the index ends; a row that is there already is left as it is, so that a
//! replay is harmless.

mod query;
mod row;
mod session;

use std::net::IpAddr;

use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{Expr, OnConflict};
use sea_orm::{ExprTrait, QueryOrder as _, QuerySelect as _, Set};
use uuid::Uuid;

use self::row::{entry, policy, position};
use super::column::{id_text, signed, unsigned, word};
use super::{Store, StoreError, dialect};
use crate::model::{
    AgentId, CallId, Digest, KeyId, MemberId, Outcome, PolicyKey, PolicyRef, ServiceKey, SessionId, Timestamp,
};

/// Rows of one statement; SQLite takes 32,766 values in one.
const ROWS_PER_STATEMENT_MAX: usize = 200;

/// Rows that leave the index in one transaction.
const FORGOTTEN_AT_ONCE: u64 = 1_000;

/// Rows that one query returns at most (specification 7.2).
pub const QUERY_ROWS_MAX: u32 = 500;

/// One decided call (specification 7.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRow {
    /// The journal that holds the entry: node, boot, and the entry's number in that boot's chain.
    pub node: Uuid,
    pub boot: u64,
    pub seq: u64,
    pub call: CallId,
    pub at: Timestamp,
    pub agent_id: AgentId,
    pub agent_name: String,
    pub member_id: MemberId,
    pub member_name: String,
    pub key_id: KeyId,
    pub session: Option<SessionId>,
    pub service: String,
    /// As the call named it, without prefix.
    pub tool: String,
    pub action: String,
    pub resource: String,
    pub principal: String,
    pub caller_ip: IpAddr,
    /// JSON text, redacted.
    pub arguments: String,
    pub allowed: bool,
    pub reason: String,
    /// The determining policies.
    pub policies: Vec<PolicyRef>,
    /// The bundle that decided.
    pub bundle: Digest,
    /// `None` until the completion is indexed, and for denied calls.
    pub outcome: Option<Outcome>,
}

/// What the journal hands to the index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuditWrite {
    /// An intent or a denial.
    Entry(Box<AuditRow>),
    /// How an allowed call ended.
    Completion { call: CallId, outcome: Outcome },
}

/// How far a journal has been indexed; the journal alone gives it a meaning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditPosition {
    /// The segment's file name.
    pub segment: String,
    /// Byte offset of the first entry that is not indexed.
    pub offset: u64,
}

/// The filters of specification 7.2; all of them must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// Inclusive.
    pub from: Option<Timestamp>,
    /// Inclusive.
    pub to: Option<Timestamp>,
    /// Part of the agent's name, in any case.
    pub agent: Option<String>,
    pub service: Option<ServiceKey>,
    /// Part of the tool's name, in any case.
    pub tool: Option<String>,
    /// Allowed, or denied.
    pub allowed: Option<bool>,
    pub member: Option<MemberId>,
    /// A determining policy.
    pub policy: Option<PolicyKey>,
    /// At most [`QUERY_ROWS_MAX`]; 0 means that.
    pub limit: u32,
    pub offset: u64,
}

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
        let (mut entries, mut policies, mut completions) = (Vec::new(), Vec::new(), Vec::new());
        for write in writes {
            match write {
                AuditWrite::Entry(row) => {
                    entries.push(row::entry_model(row)?);
                    policies.append(&mut row::policy_models(row)?);
                }
                AuditWrite::Completion { call, outcome } => completions.push((call, outcome)),
            }
        }
        self.0
            .timed(async {
                let transaction = dialect::begin_append(&self.0.connection).await?;
                for rows in entries.chunks(ROWS_PER_STATEMENT_MAX) {
                    let key = [entry::Column::Node, entry::Column::Boot, entry::Column::Seq];
                    let outcome = [
                        entry::Column::Outcome,
                        entry::Column::OutcomeStatus,
                        entry::Column::OutcomeBytes,
                        entry::Column::DurationMs,
                    ];
                    // Of a row that is there already, an outcome may have been missing.
                    let open = Expr::col((entry::Entity, entry::Column::Outcome)).is_null();
                    let once =
                        OnConflict::columns(key).update_columns(outcome).action_and_where(open).to_owned();
                    let insert = entry::Entity::insert_many(rows.to_vec()).on_conflict(once);
                    insert.exec_without_returning(&transaction).await?;
                }
                for rows in policies.chunks(ROWS_PER_STATEMENT_MAX) {
                    let key = [
                        policy::Column::PolicyKey,
                        policy::Column::Node,
                        policy::Column::Boot,
                        policy::Column::Seq,
                    ];
                    let once = OnConflict::columns(key).do_nothing().to_owned();
                    let insert = policy::Entity::insert_many(rows.to_vec()).on_conflict(once);
                    insert.exec_without_returning(&transaction).await?;
                }
                for (call, outcome) in completions {
                    complete(&transaction, call, outcome).await?;
                }
                move_position(&transaction, node, position).await?;
                Ok(transaction.commit().await?)
            })
            .await
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
    pub async fn query(&self, filter: &AuditFilter) -> Result<(Vec<AuditRow>, u64), StoreError> {
        self.0.timed(query::run(self.0, filter)).await
    }

    /// Forgets the node's rows and position, so that the journal can be replayed from its start.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn clear(&self, node: Uuid) -> Result<(), StoreError> {
        let node = id_text(&node);
        self.0
            .timed(async {
                let transaction = dialect::begin_append(&self.0.connection).await?;
                let policies = policy::Entity::delete_many().filter(policy::Column::Node.eq(&node));
                policies.exec(&transaction).await?;
                let entries = entry::Entity::delete_many().filter(entry::Column::Node.eq(&node));
                entries.exec(&transaction).await?;
                position::Entity::delete_by_id(node).exec(&transaction).await?;
                Ok(transaction.commit().await?)
            })
            .await
    }

    /// Deletes the node's rows up to this segment (`boot` of [`AuditRow`]), a thousand at a time so that
    /// others get their turn; says how many calls.
    ///
    /// # Errors
    /// [`StoreError`]; what was deleted before stays deleted.
    pub async fn forget(&self, node: Uuid, boot_max: u64) -> Result<u64, StoreError> {
        let (node, boot_max) = (id_text(&node), signed("audit_entry.boot", boot_max)?);
        let mut deleted = 0;
        loop {
            let old = entry::Column::Node.eq(&node).and(entry::Column::Boot.lte(boot_max));
            let batch = self.0.timed(async {
                let transaction = dialect::begin_append(&self.0.connection).await?;
                let last = entry::Entity::find()
                    .filter(old.clone())
                    .order_by_asc(entry::Column::Boot)
                    .order_by_asc(entry::Column::Seq)
                    .offset(FORGOTTEN_AT_ONCE - 1)
                    .one(&transaction)
                    .await?;
                let mut policies = policy::Entity::delete_many()
                    .filter(policy::Column::Node.eq(&node))
                    .filter(policy::Column::Boot.lte(boot_max));
                let mut entries = entry::Entity::delete_many().filter(old);
                if let Some(last) = last {
                    let within = |boot: Expr, boot_too: Expr, seq: Expr| {
                        boot.lt(last.boot).or(boot_too.eq(last.boot).and(seq.lte(last.seq)))
                    };
                    policies = policies.filter(within(
                        Expr::col(policy::Column::Boot),
                        Expr::col(policy::Column::Boot),
                        Expr::col(policy::Column::Seq),
                    ));
                    entries = entries.filter(within(
                        Expr::col(entry::Column::Boot),
                        Expr::col(entry::Column::Boot),
                        Expr::col(entry::Column::Seq),
                    ));
                }
                policies.exec(&transaction).await?;
                let batch = entries.exec(&transaction).await?.rows_affected;
                transaction.commit().await?;
                Ok(batch)
            });
            let batch = batch.await?;
            deleted += batch;
            if batch < FORGOTTEN_AT_ONCE {
                return Ok(deleted);
            }
        }
    }

    /// Deletes rows older than this; says how many calls.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn purge(&self, before: Timestamp) -> Result<u64, StoreError> {
        self.0
            .timed(async {
                let transaction = dialect::begin_write(&self.0.connection).await?;
                let policies =
                    policy::Entity::delete_many().filter(policy::Column::At.lt(before.as_millis()));
                policies.exec(&transaction).await?;
                let entries = entry::Entity::delete_many().filter(entry::Column::At.lt(before.as_millis()));
                let deleted = entries.exec(&transaction).await?.rows_affected;
                transaction.commit().await?;
                Ok(deleted)
            })
            .await
    }
}

/// Fills the outcome of a call, once: a later completion of the same call changes nothing.
async fn complete(
    connection: &impl ConnectionTrait,
    call: &CallId,
    outcome: &Outcome,
) -> Result<(), StoreError> {
    entry::Entity::update_many()
        .col_expr(entry::Column::Outcome, Expr::value(word("audit_entry.outcome", outcome.kind)?))
        .col_expr(entry::Column::OutcomeStatus, Expr::value(i64::from(outcome.status)))
        .col_expr(
            entry::Column::OutcomeBytes,
            Expr::value(signed("audit_entry.outcome_bytes", outcome.bytes)?),
        )
        .col_expr(
            entry::Column::DurationMs,
            Expr::value(signed("audit_entry.duration_ms", outcome.duration_ms)?),
        )
        .filter(entry::Column::CallId.eq(id_text(call.as_uuid())))
        .filter(entry::Column::Allowed.eq(true))
        .filter(entry::Column::Outcome.is_null())
        .exec(connection)
        .await?;
    Ok(())
}

async fn move_position(
    connection: &impl ConnectionTrait,
    node: Uuid,
    to: &AuditPosition,
) -> Result<(), StoreError> {
    let row = position::ActiveModel {
        node: Set(id_text(&node)),
        segment: Set(to.segment.clone()),
        byte_offset: Set(signed("audit_position.byte_offset", to.offset)?),
    };
    let replace = OnConflict::column(position::Column::Node)
        .update_columns([position::Column::Segment, position::Column::ByteOffset])
        .to_owned();
    position::Entity::insert(row).on_conflict(replace).exec_without_returning(connection).await?;
    Ok(())
}
