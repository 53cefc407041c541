//! The audit's index: a copy of the journal for queries, rebuildable by replay.

use std::net::IpAddr;

use uuid::Uuid;

use super::{Store, StoreError};
use crate::model::{
    AgentId, CallId, Digest, KeyId, MemberId, Outcome, PolicyKey, PolicyRef, ServiceKey, SessionId, Timestamp,
};

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

/// The audit's index: a copy of the journal for queries, rebuildable by replay.
#[derive(Debug, Clone, Copy)]
pub struct Audit<'a>(pub(super) &'a Store);

impl Audit<'_> {
    /// Adds these and moves the position, in one transaction. What is there already is left as it is.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn append(
        &self,
        node: Uuid,
        writes: &[AuditWrite],
        position: &AuditPosition,
    ) -> Result<(), StoreError> {
        let _ = &self.0;
        Err(super::not_yet())
    }

    /// How far the node's journal has been indexed; `None` at first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn position(&self, node: Uuid) -> Result<Option<AuditPosition>, StoreError> {
        let _ = &self.0;
        Err(super::not_yet())
    }

    /// The rows that match, newest first, and how many match in all.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn query(&self, filter: &AuditFilter) -> Result<(Vec<AuditRow>, u64), StoreError> {
        let _ = &self.0;
        Err(super::not_yet())
    }

    /// Forgets the node's rows and position, so that the journal can be replayed from its start.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn clear(&self, node: Uuid) -> Result<(), StoreError> {
        let _ = &self.0;
        Err(super::not_yet())
    }

    /// Deletes rows older than this; says how many.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn purge(&self, before: Timestamp) -> Result<u64, StoreError> {
        let _ = &self.0;
        Err(super::not_yet())
    }
}
