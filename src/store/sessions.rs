//! The sessions' and member counters' rows, written behind by a worker.

mod page;

use std::collections::BTreeMap;

use sea_orm::entity::prelude::*;
use sea_orm::sea_query::OnConflict;
use sea_orm::{QueryOrder as _, QuerySelect as _, Set};

pub use self::page::{SessionQuery, SessionSort};
use super::column::{bytes, counters, id_text, json, parse_counters, parse_id, parse_json, parse_word, word};
use super::{Store, StoreError, dialect};
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
        let sessions = sessions.iter().map(session_model).collect::<Result<Vec<_>, _>>()?;
        let counters = counters.iter().map(counter_model).collect::<Result<Vec<_>, _>>()?;
        self.0
            .timed(async {
                let transaction = dialect::begin_write(&self.0.connection).await?;
                for rows in sessions.chunks(ROWS_PER_STATEMENT_MAX) {
                    let mut replace = OnConflict::column(row::Column::Id);
                    // Whose session it is, and of which conversation, never changes.
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
                    let mut replace =
                        OnConflict::columns([counter::Column::MemberId, counter::Column::Bucket]);
                    replace.update_column(counter::Column::Counters);
                    let insert = counter::Entity::insert_many(rows.to_vec()).on_conflict(replace);
                    insert.exec_without_returning(&transaction).await?;
                }
                Ok(transaction.commit().await?)
            })
            .await
    }

    /// Sessions that have not ended, in order of their creation.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn load_active(&self) -> Result<Vec<SessionRow>, StoreError> {
        let find = row::Entity::find()
            .filter(row::Column::EndedAt.is_null())
            .order_by_asc(row::Column::CreatedAt)
            .order_by_asc(row::Column::Id);
        let rows = self.0.timed(async { Ok(find.all(&self.0.connection).await?) }).await?;
        rows.into_iter().map(session_of).collect()
    }

    /// Member counters of the buckets from this one on, by member and bucket.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn load_counters(&self, first_bucket: i64) -> Result<Vec<MemberCounterRow>, StoreError> {
        let find = counter::Entity::find()
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

fn session_model(session: &SessionRow) -> Result<row::ActiveModel, StoreError> {
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

fn counter_model(row: &MemberCounterRow) -> Result<counter::ActiveModel, StoreError> {
    Ok(counter::ActiveModel {
        member_id: Set(id_text(row.member_id.as_uuid())),
        bucket: Set(row.bucket),
        counters: Set(counters("member_counter.counters", &row.counters)?),
    })
}
