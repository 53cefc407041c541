//! The sessions' and member counters' rows, written behind by a worker.

use std::collections::BTreeMap;

use super::{Store, StoreError};
use crate::model::{AgentId, ClientInfo, ConversationId, CounterKey, Digest, MemberId, SessionId, Timestamp};

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

/// The sessions' and member counters' rows, written behind by a worker.
#[derive(Debug, Clone, Copy)]
pub struct SessionRows<'a>(pub(super) &'a Store);

impl SessionRows<'_> {
    /// Inserts or replaces these rows, in one transaction.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn save(
        &self,
        sessions: &[SessionRow],
        counters: &[MemberCounterRow],
    ) -> Result<(), StoreError> {
        let _ = &self.0;
        Err(super::not_yet())
    }

    /// Sessions that have not ended, in order of their creation.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn load_active(&self) -> Result<Vec<SessionRow>, StoreError> {
        let _ = &self.0;
        Err(super::not_yet())
    }

    /// Member counters of the buckets from this one on.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn load_counters(&self, first_bucket: i64) -> Result<Vec<MemberCounterRow>, StoreError> {
        let _ = &self.0;
        Err(super::not_yet())
    }

    /// One session, ended or not, or `NotFound`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn get(&self, id: SessionId) -> Result<SessionRow, StoreError> {
        let _ = &self.0;
        Err(super::not_yet())
    }

    /// An agent's sessions, newest first; at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn list(&self, agent: AgentId, limit: u64) -> Result<Vec<SessionRow>, StoreError> {
        let _ = &self.0;
        Err(super::not_yet())
    }

    /// Deletes sessions that ended before this time and counters of older buckets; says how many rows.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn purge(&self, ended_before: Timestamp, first_bucket: i64) -> Result<u64, StoreError> {
        let _ = &self.0;
        Err(super::not_yet())
    }
}
