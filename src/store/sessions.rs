//! The sessions' and member counters' rows, written behind by a worker.
//!
//! Invariant: each row is of one node, which holds it in memory and alone reads it back. A member who
//! calls through two gates is counted by each for itself.

mod page;

use std::collections::BTreeMap;
use std::time::Duration;

use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{Expr, OnConflict, Query};
use sea_orm::{QueryOrder as _, QuerySelect as _, Set};

pub use self::page::{SessionQuery, SessionSort};
use super::column::{bytes, counters, id_text, json, parse_counters, parse_id, parse_json, parse_word, word};
use super::{Store, StoreError, dialect, nodes};
use crate::model::{AgentId, ClientInfo, ConversationId, CounterKey, Digest, MemberId, SessionId, Timestamp};

/// Rows of one statement; SQLite takes 32,766 values in one.
const ROWS_PER_STATEMENT_MAX: usize = 200;

mod row {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "session")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: String,
        pub agent_id: String,
        pub member_id: String,
        pub conversation: Vec<u8>,
        /// JSON of the client's info.
        pub client: Option<String>,
        pub created_at: i64,
        pub last_activity_at: i64,
        pub ended_at: Option<i64>,
        pub end_reason: Option<String>,
        /// JSON object of counters.
        pub counters: String,
        /// JSON list of digests.
        pub mcp_sessions: String,
        /// The node that holds it in memory.
        pub node: String,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

mod counter {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "member_counter")]
    pub struct Model {
        /// The node that counted.
        #[sea_orm(primary_key, auto_increment = false)]
        pub node: String,
        #[sea_orm(primary_key, auto_increment = false)]
        pub member_id: String,
        #[sea_orm(primary_key, auto_increment = false)]
        pub bucket: i64,
        pub counters: String,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// Why a session ended (specification 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// Nothing came for the idle limit.
    Inactivity,
    /// An operator reset it.
    ManualReset,
    /// It could not be restored after a restart.
    ProxyRestart,
}

impl EndReason {
    /// The written form.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Inactivity => "inactivity",
            Self::ManualReset => "manual_reset",
            Self::ProxyRestart => "proxy_restart",
        }
    }
}

/// A session as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRow {
    pub id: SessionId,
    pub agent_id: AgentId,
    pub member_id: MemberId,
    pub conversation: ConversationId,
    pub client: Option<ClientInfo>,
    pub created_at: Timestamp,
    pub last_activity_at: Timestamp,
    pub ended: Option<(Timestamp, EndReason)>,
    /// Never negative.
    pub counters: BTreeMap<CounterKey, i64>,
    /// Digests of the `Mcp-Session-Id`s that were minted for it.
    pub mcp_sessions: Vec<Digest>,
}

/// What a member did in one five-minute bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberCounterRow {
    pub member_id: MemberId,
    /// Milliseconds since the epoch, divided by 300,000.
    pub bucket: i64,
    /// Never negative.
    pub counters: BTreeMap<CounterKey, i64>,
}

/// The sessions' and member counters' rows.
#[derive(Debug, Clone, Copy)]
pub struct SessionRows<'a>(pub(super) &'a Store);

impl SessionRows<'_> {
    /// Inserts or replaces these rows, in one transaction.
    ///
    /// # Errors
    /// [`StoreError`]; none of them is saved then.
    pub async fn save(
        &self,
        sessions: &[SessionRow],
        counters: &[MemberCounterRow],
    ) -> Result<(), StoreError> {
        let node = id_text(&self.0.node);
        let sessions = sessions.iter().map(|row| session_model(row, &node)).collect::<Result<Vec<_>, _>>()?;
        let counters = counters.iter().map(|row| counter_model(row, &node)).collect::<Result<Vec<_>, _>>()?;
        self.0
            .timed(async {
                let transaction = dialect::begin_append(&self.0.connection).await?;
                for rows in sessions.chunks(ROWS_PER_STATEMENT_MAX) {
                    let mut replace = OnConflict::column(row::Column::Id);
                    // Whose session it is, of which conversation and on which node never changes.
                    replace.update_columns([
                        row::Column::LastActivityAt,
                        row::Column::Client,
                        row::Column::EndedAt,
                        row::Column::EndReason,
                        row::Column::Counters,
                        row::Column::McpSessions,
                    ]);
                    let insert = row::Entity::insert_many(rows.to_vec()).on_conflict(replace);
                    insert.exec_without_returning(&transaction).await?;
                }
                for rows in counters.chunks(ROWS_PER_STATEMENT_MAX) {
                    let mut replace = OnConflict::columns([
                        counter::Column::Node,
                        counter::Column::MemberId,
                        counter::Column::Bucket,
                    ]);
                    replace.update_column(counter::Column::Counters);
                    let insert = counter::Entity::insert_many(rows.to_vec()).on_conflict(replace);
                    insert.exec_without_returning(&transaction).await?;
                }
                Ok(transaction.commit().await?)
            })
            .await
    }

    /// This node's sessions that have not ended, in order of their creation.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn load_active(&self) -> Result<Vec<SessionRow>, StoreError> {
        let find = row::Entity::find()
            .filter(row::Column::Node.eq(id_text(&self.0.node)))
            .filter(row::Column::EndedAt.is_null())
            .order_by_asc(row::Column::CreatedAt)
            .order_by_asc(row::Column::Id);
        let rows = self.0.timed(async { Ok(find.all(&self.0.connection).await?) }).await?;
        rows.into_iter().map(session_of).collect()
    }

    /// What this node counted in the buckets from this one on, by member and bucket.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn load_counters(&self, first_bucket: i64) -> Result<Vec<MemberCounterRow>, StoreError> {
        let find = counter::Entity::find()
            .filter(counter::Column::Node.eq(id_text(&self.0.node)))
            .filter(counter::Column::Bucket.gte(first_bucket))
            .order_by_asc(counter::Column::MemberId)
            .order_by_asc(counter::Column::Bucket);
        let rows = self.0.timed(async { Ok(find.all(&self.0.connection).await?) }).await?;
        let counter_of = |row: counter::Model| {
            Ok(MemberCounterRow {
                member_id: MemberId::from_uuid(parse_id("member_counter.member_id", &row.member_id)?),
                bucket: row.bucket,
                counters: parse_counters("member_counter.counters", &row.counters)?,
            })
        };
        rows.into_iter().map(counter_of).collect()
    }

    /// One session, ended or not, or `NotFound`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn get(&self, id: SessionId) -> Result<SessionRow, StoreError> {
        let find = row::Entity::find_by_id(id_text(id.as_uuid()));
        let found = self.0.timed(async { Ok(find.one(&self.0.connection).await?) }).await?;
        session_of(found.ok_or_else(|| StoreError::not_found("session", id))?)
    }

    /// An agent's sessions, ended ones too, newest first; at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn list(&self, agent: AgentId, limit: u64) -> Result<Vec<SessionRow>, StoreError> {
        let find = row::Entity::find()
            .filter(row::Column::AgentId.eq(id_text(agent.as_uuid())))
            .order_by_desc(row::Column::CreatedAt)
            .order_by_desc(row::Column::Id)
            .limit(limit);
        let rows = self.0.timed(async { Ok(find.all(&self.0.connection).await?) }).await?;
        rows.into_iter().map(session_of).collect()
    }

    /// Ends the sessions of nodes that have not lived for so long that the sessions are idle; says how
    /// many.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn end_of_gone_nodes(&self, idle: Duration, now: Timestamp) -> Result<u64, StoreError> {
        let idle_ms = i64::try_from(idle.as_millis()).unwrap_or(i64::MAX);
        let gone_since = now.as_millis().saturating_sub(idle_ms);
        let reason = word("session.end_reason", EndReason::Inactivity)?;
        let living = Query::select()
            .column(nodes::row::Column::Id)
            .from(nodes::row::Entity)
            .and_where(nodes::row::Column::SeenAt.gte(gone_since))
            .to_owned();
        self.0
            .timed(async {
                let transaction = dialect::begin_write(&self.0.connection).await?;
                let ended = row::Entity::update_many()
                    .col_expr(row::Column::EndedAt, Expr::col(row::Column::LastActivityAt))
                    .col_expr(row::Column::EndReason, Expr::value(reason))
                    .filter(row::Column::EndedAt.is_null())
                    .filter(row::Column::LastActivityAt.lt(gone_since))
                    .filter(row::Column::Node.ne(id_text(&self.0.node)))
                    .filter(row::Column::Node.not_in_subquery(living))
                    .exec(&transaction)
                    .await?;
                transaction.commit().await?;
                Ok(ended.rows_affected)
            })
            .await
    }

    /// Deletes sessions that ended before this time and counters of older buckets; says how many
    /// rows.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn purge(&self, ended_before: Timestamp, first_bucket: i64) -> Result<u64, StoreError> {
        self.0
            .timed(async {
                let transaction = dialect::begin_write(&self.0.connection).await?;
                let sessions = row::Entity::delete_many()
                    .filter(row::Column::EndedAt.lt(ended_before.as_millis()))
                    .exec(&transaction)
                    .await?;
                let counters = counter::Entity::delete_many()
                    .filter(counter::Column::Bucket.lt(first_bucket))
                    .exec(&transaction)
                    .await?;
                transaction.commit().await?;
                Ok(sessions.rows_affected.saturating_add(counters.rows_affected))
            })
            .await
    }
}

fn session_model(session: &SessionRow, node: &str) -> Result<row::ActiveModel, StoreError> {
    let client = session.client.as_ref().map(|client| json("session.client", client)).transpose()?;
    let reason = session.ended.map(|(_, reason)| word("session.end_reason", reason)).transpose()?;
    Ok(row::ActiveModel {
        id: Set(id_text(session.id.as_uuid())),
        agent_id: Set(id_text(session.agent_id.as_uuid())),
        member_id: Set(id_text(session.member_id.as_uuid())),
        conversation: Set(session.conversation.as_bytes().to_vec()),
        client: Set(client),
        created_at: Set(session.created_at.as_millis()),
        last_activity_at: Set(session.last_activity_at.as_millis()),
        ended_at: Set(session.ended.map(|(at, _)| at.as_millis())),
        end_reason: Set(reason),
        counters: Set(counters("session.counters", &session.counters)?),
        mcp_sessions: Set(json("session.mcp_sessions", &session.mcp_sessions)?),
        node: Set(node.to_owned()),
    })
}

fn session_of(row: row::Model) -> Result<SessionRow, StoreError> {
    let ended = match (row.ended_at, row.end_reason) {
        (None, None) => None,
        (Some(at), Some(reason)) => {
            Some((Timestamp::from_millis(at), parse_word("session.end_reason", &reason)?))
        }
        _ => return Err(StoreError::corrupt("session.end_reason", "time and reason belong together")),
    };
    Ok(SessionRow {
        id: SessionId::from_uuid(parse_id("session.id", &row.id)?),
        agent_id: AgentId::from_uuid(parse_id("session.agent_id", &row.agent_id)?),
        member_id: MemberId::from_uuid(parse_id("session.member_id", &row.member_id)?),
        conversation: ConversationId::from_bytes(bytes("session.conversation", &row.conversation)?),
        client: row.client.map(|client| parse_json("session.client", &client)).transpose()?,
        created_at: Timestamp::from_millis(row.created_at),
        last_activity_at: Timestamp::from_millis(row.last_activity_at),
        ended,
        counters: parse_counters("session.counters", &row.counters)?,
        mcp_sessions: parse_json("session.mcp_sessions", &row.mcp_sessions)?,
    })
}

fn counter_model(row: &MemberCounterRow, node: &str) -> Result<counter::ActiveModel, StoreError> {
    Ok(counter::ActiveModel {
        node: Set(node.to_owned()),
        member_id: Set(id_text(row.member_id.as_uuid())),
        bucket: Set(row.bucket),
        counters: Set(counters("member_counter.counters", &row.counters)?),
    })
}
