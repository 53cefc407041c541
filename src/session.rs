//! Tool sessions: what each conversation and each member has done so far, and the reserving of a
//! call's place under a limit (specification 6, decisions 9 and 10).
//!
//! Invariants:
//! - A call that is allowed under a counter is counted before it is sent: reading, deciding and
//!   reserving happen under one version of session and member. 1,000 parallel calls against a limit
//!   of 10 pass exactly 10.
//! - What cannot be counted is refused; nothing is ever silently uncounted.
//! - A session belongs to one member; another member's ids answer exactly as unknown ones.
//! - Locks are taken in this order: member, session, then the maps' shards and the dirty list, which
//!   are leaves. No lock is held over an `await`, since nothing here awaits.
//! - Sessions and counters are capped in number and bytes ([`SessionLimits`]).

mod conversation;
mod reserve;
mod types;

pub use conversation::{conversation, fingerprint, mcp_session_digest, mcp_session_id};
pub use reserve::{Locked, Reservation, Session, Version};
pub use types::{
    CallCounts, Dirty, ReserveFault, Restored, SessionFilter, SessionLimits, SessionRefusal, SessionView,
};

use std::sync::Arc;

use crate::model::{Caller, ClientInfo, ConversationId, Digest, MemberId, SessionId, Timestamp};
use crate::store::{MemberCounterRow, SessionRow};

/// All sessions of this gate. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Sessions(Arc<SessionLimits>);

impl Sessions {
    /// No sessions yet.
    pub fn new(limits: SessionLimits) -> Self {
        Self(Arc::new(limits))
    }

    /// Finds the member's session of this conversation, or opens one.
    ///
    /// # Errors
    /// [`SessionRefusal`]: a limit is reached.
    pub fn enter(
        &self,
        caller: &Caller,
        conversation: ConversationId,
        client: Option<&ClientInfo>,
        now: Timestamp,
    ) -> Result<Session, SessionRefusal> {
        unreachable!("{caller:?}{conversation:?}{client:?}{now:?}{:?}", self.0)
    }

    /// Binds a minted `Mcp-Session-Id` to the session.
    pub fn bind_mcp(&self, session: &Session, digest: Digest) {
        unreachable!("{session:?}{digest:?}")
    }

    /// The member's session that this id was minted for. Another member's id is as unknown.
    pub fn find_mcp(&self, member: MemberId, digest: &Digest, now: Timestamp) -> Option<Session> {
        unreachable!("{member:?}{digest:?}{now:?}")
    }

    /// Ends the id (`DELETE`); the tool session goes on until it is idle. False where it is unknown.
    pub fn end_mcp(&self, member: MemberId, digest: &Digest) -> bool {
        unreachable!("{member:?}{digest:?}")
    }

    /// Ends the session; the client's next call opens a new one with counters at 0. False where
    /// there is no such live session. The member's 24 hours are not touched.
    pub fn reset(&self, id: SessionId, now: Timestamp) -> bool {
        unreachable!("{id:?}{now:?}")
    }

    /// The live session of this id.
    pub fn get(&self, id: SessionId) -> Option<SessionView> {
        unreachable!("{id:?}")
    }

    /// Live sessions, last used first, at most `limit`.
    pub fn list(&self, filter: SessionFilter, limit: usize) -> Vec<SessionView> {
        unreachable!("{filter:?}{limit}")
    }

    /// Ends idle sessions and drops what left the 24 hours; says how many sessions ended.
    pub fn sweep(&self, now: Timestamp) -> usize {
        unreachable!("{now:?}")
    }

    /// Rows that changed since they were last taken: at most `limit` sessions and members. One batch
    /// at a time; say `saved` when the store has them, else they come again.
    pub fn take_dirty(&self, limit: usize) -> Dirty {
        unreachable!("{limit}")
    }

    /// Takes up what the store kept: once, at start, before the first call.
    pub fn restore(
        &self,
        sessions: Vec<SessionRow>,
        counters: Vec<MemberCounterRow>,
        now: Timestamp,
    ) -> Restored {
        unreachable!("{sessions:?}{counters:?}{now:?}")
    }

    /// Live sessions, and the estimated bytes of everything kept here.
    pub fn size(&self) -> (u32, u64) {
        (0, 0)
    }
}
