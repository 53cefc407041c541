//! Tool sessions: what each conversation and each member has done so far, and the reserving of a
//! call's place under a limit (specification 6, decisions 9 and 10).
//!
//! Invariants:
//! - A call that is allowed under a counter is counted before it is sent: what the decision read
//!   still holds at the moment of counting. 1,000 parallel calls against a limit of 10 pass
//!   exactly 10.
//! - What cannot be counted is refused; nothing is ever silently uncounted.
//! - A session belongs to one member; another member's ids answer exactly as unknown ones.
//! - Locks are taken in this order: member, session, then maps and lists, which are leaves. No lock
//!   is held over an `await`, since nothing here awaits.
//! - Sessions and counters are capped in number and bytes ([`SessionLimits`]).

mod behind;
mod cell;
mod checkpoint;
mod conversation;
pub mod replay;
mod reserve;
mod tally;
mod types;
mod window;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use parking_lot::Mutex;
use uuid::Uuid;

use self::cell::{MemberState, SessionCell, Shared};
use crate::model::{
    Caller, ClientInfo, ConversationId, CounterKey, Digest, History, MemberId, SessionId, Timestamp,
};
use crate::store::EndReason;

pub use behind::Dirty;
pub use conversation::{
    CONVERSATION_CHARS_MAX, conversation, fingerprint, mcp_session_digest, mcp_session_id,
};
pub use reserve::{Locked, Rebate, Reservation, Session, Spent, Version};
pub use types::{
    CallCounts, ReserveFault, Restored, SessionFilter, SessionLimits, SessionOrder, SessionRefusal,
    SessionView,
};

/// How often a retired member's cell is looked up anew. Each time another thread has removed it in
/// between, so that more than a few are a fault.
const LOOKUPS_MAX: usize = 16;

/// All sessions of this gate. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Sessions(Arc<Shared>);

/// The first five-minute bucket that still counts at this time: older member counters may be
/// purged from the store, and need not be loaded.
pub fn first_bucket(now: Timestamp) -> i64 {
    window::bucket_of(now).saturating_sub(window::BUCKETS)
}

impl Sessions {
    /// No sessions yet.
    pub fn new(limits: SessionLimits) -> Self {
        Self(Arc::new(Shared::new(limits)))
    }

    /// Finds the member's session of this conversation, or opens one. The client is kept from the
    /// first time that it is given.
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
        let key = (caller.member.id, conversation);
        let known = self.0.by_conversation.get(&key).map(|found| Arc::clone(&found));
        if let Some(session) = known.and_then(|cell| self.resume(cell, client, now)) {
            return Ok(session);
        }
        for _ in 0..LOOKUPS_MAX {
            let member_cell = self.0.member(caller.member.id);
            let mut member = member_cell.state.lock();
            if member.retired {
                continue;
            }
            // Sessions of one member open and end under its lock: what is found now is live.
            let meanwhile = self.0.by_conversation.get(&key).map(|found| Arc::clone(&found));
            if let Some(cell) = meanwhile {
                self.0.touch(&cell, &mut cell.state.lock(), now);
                return Ok(self.session(cell));
            }
            self.admit(&mut member, now)?;
            member.live_sessions += 1;
            member.opened.add(now);
            let cell = Arc::new(SessionCell {
                id: SessionId::from_uuid(minted(now)),
                agent_id: caller.agent.id,
                member: Arc::clone(&member_cell),
                conversation,
                created_at: now,
                last_activity: AtomicI64::new(now.as_millis()),
                state: Mutex::default(),
            });
            let mut state = cell.state.lock();
            if let Some(client) = client {
                state.set_client(client);
            }
            self.0.charge_session(&mut state);
            self.0.charge_member(&mut member);
            self.0.dirty_session(&cell, &mut state);
            drop(state);
            self.0.by_conversation.insert(key, Arc::clone(&cell));
            return Ok(self.session(cell));
        }
        Err(SessionRefusal::TooMany)
    }

    /// Takes a place for one more session of the member, or says why there is none.
    fn admit(&self, member: &mut MemberState, now: Timestamp) -> Result<(), SessionRefusal> {
        let limits = &self.0.limits;
        if member.live_sessions >= limits.sessions_per_member_max {
            return Err(SessionRefusal::TooManyOfMember);
        }
        if member.opened.count(now) >= limits.new_per_member_per_hour_max {
            return Err(SessionRefusal::TooManyNew { retry_after_s: member.opened.retry_after_s(now) });
        }
        let place = |held: u32| (held < limits.sessions_max).then(|| held + 1);
        if !self.0.has_room(size_of::<SessionCell>())
            || self.0.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, place).is_err()
        {
            return Err(SessionRefusal::TooMany);
        }
        self.0.live.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// The session, if it lives: one that was idle too long ends here, swept or not.
    fn resume(&self, cell: Arc<SessionCell>, client: Option<&ClientInfo>, now: Timestamp) -> Option<Session> {
        if self.is_idle(&cell, now) {
            self.0.end(&cell, EndReason::Inactivity, now);
            return None;
        }
        let mut state = cell.state.lock();
        if state.ended.is_some() {
            return None;
        }
        if let (Some(client), None) = (client, &state.client) {
            state.set_client(client);
            self.0.charge_session(&mut state);
            self.0.dirty_session(&cell, &mut state);
        }
        self.0.touch(&cell, &mut state, now);
        drop(state);
        Some(self.session(cell))
    }

    fn is_idle(&self, cell: &SessionCell, now: Timestamp) -> bool {
        now.millis_since(cell.last_activity()) > i64::from(self.0.limits.idle_ms_max)
    }

    fn session(&self, cell: Arc<SessionCell>) -> Session {
        Session { shared: Arc::clone(&self.0), cell }
    }

    /// Binds a minted `Mcp-Session-Id` to the session. The oldest gives way where there are too
    /// many: its holder is told to initialize anew.
    pub fn bind_mcp(&self, session: &Session, digest: Digest) {
        let cell = &session.cell;
        let mut state = cell.state.lock();
        if state.ended.is_some() {
            return;
        }
        state.mcp.push(digest);
        self.0.by_mcp.insert((cell.member.id, digest), Arc::clone(cell));
        while state.mcp.len() > self.0.limits.mcp_ids_per_session_max as usize {
            let oldest = state.mcp.remove(0);
            self.0.by_mcp.remove(&(cell.member.id, oldest));
        }
        self.0.charge_session(&mut state);
        self.0.dirty_session(cell, &mut state);
    }

    /// The member's session that this id was minted for. Another member's id is as unknown.
    pub fn find_mcp(&self, member: MemberId, digest: &Digest, now: Timestamp) -> Option<Session> {
        let cell = self.0.by_mcp.get(&(member, *digest)).map(|found| Arc::clone(&found))?;
        self.resume(cell, None, now)
    }

    /// The counters as the member's next call in this conversation would read them. Nothing is opened,
    /// counted or kept alive.
    pub fn foresee(
        &self,
        (member, conversation): (MemberId, ConversationId),
        session_keys: &[CounterKey],
        member_keys: &[CounterKey],
        now: Timestamp,
    ) -> History {
        let found = self.0.by_conversation.get(&(member, conversation)).map(|found| Arc::clone(&found));
        if let Some(cell) = found.filter(|cell| !self.is_idle(cell, now)) {
            return self.session(cell).read(session_keys, member_keys, now).0;
        }
        let nothing = |keys: &[CounterKey]| keys.iter().map(|key| (key.clone(), 0)).collect();
        let mut history = History { session: nothing(session_keys), member: nothing(member_keys) };
        let cell = self.0.members.get(&member).map(|found| Arc::clone(&found));
        if let Some(cell) = cell.filter(|_| !member_keys.is_empty()) {
            let mut state = cell.state.lock();
            state.advance(now);
            history.member = member_keys.iter().map(|key| (key.clone(), state.window.get(key))).collect();
        }
        history
    }

    /// Whether this id still leads to a session of this member; does not count as a use of it.
    pub fn knows_mcp(&self, member: MemberId, digest: &Digest) -> bool {
        self.0.by_mcp.contains_key(&(member, *digest))
    }

    /// Ends the id (`DELETE`). Its tool session goes on until it is idle, and with it its counters,
    /// which a client must not be able to shed. False where the id is unknown.
    pub fn end_mcp(&self, member: MemberId, digest: &Digest) -> bool {
        let Some(cell) = self.0.by_mcp.get(&(member, *digest)).map(|found| Arc::clone(&found)) else {
            return false;
        };
        let mut state = cell.state.lock();
        let before = state.mcp.len();
        state.mcp.retain(|bound| bound != digest);
        self.0.by_mcp.remove(&(member, *digest));
        self.0.charge_session(&mut state);
        self.0.dirty_session(&cell, &mut state);
        state.mcp.len() < before
    }

    /// Ends the session; the client's next call opens a new one with counters at 0. False where
    /// there is no such live session. The member's 24 hours are not touched.
    pub fn reset(&self, id: SessionId, now: Timestamp) -> bool {
        self.cell(id).is_some_and(|cell| self.0.end(&cell, EndReason::ManualReset, now))
    }

    /// The live session of this id.
    pub fn get(&self, id: SessionId) -> Option<SessionView> {
        self.cell(id).map(|cell| cell.view())
    }

    /// People ask by id, calls never do: no map is kept for it.
    fn cell(&self, id: SessionId) -> Option<Arc<SessionCell>> {
        self.0.by_conversation.iter().find(|entry| entry.id == id).map(|entry| Arc::clone(&entry))
    }

    /// Live sessions, last used first, at most `limit`.
    pub fn list(&self, filter: SessionFilter, limit: usize) -> Vec<SessionView> {
        self.page(filter, SessionOrder { by_creation: false, descending: true }, limit).0
    }

    /// The first live sessions in this order, at most `limit`, and how many there are.
    pub fn page(
        &self,
        filter: SessionFilter,
        order: SessionOrder,
        limit: usize,
    ) -> (Vec<SessionView>, usize) {
        let wanted = |cell: &SessionCell| {
            filter.agent.is_none_or(|agent| agent == cell.agent_id)
                && filter.member.is_none_or(|member| member == cell.member.id)
        };
        let found = self.0.by_conversation.iter().filter(|entry| wanted(entry));
        let time = |cell: &SessionCell| {
            let time = if order.by_creation { cell.created_at } else { cell.last_activity() };
            // The latest first is the least first of the negative.
            if order.descending { time.as_millis().saturating_neg() } else { time.as_millis() }
        };
        let mut found: Vec<_> = found.map(|entry| (time(&entry), Arc::clone(&entry))).collect();
        let total = found.len();
        found.sort_by_key(|(time, cell)| (*time, cell.id));
        (found.into_iter().take(limit).map(|(_, cell)| cell.view()).collect(), total)
    }

    /// Ends idle sessions and drops what left the members' 24 hours; says how many sessions ended.
    pub fn sweep(&self, now: Timestamp) -> usize {
        let cells = self.0.by_conversation.iter();
        let idle: Vec<_> =
            cells.filter(|entry| self.is_idle(entry, now)).map(|entry| Arc::clone(&entry)).collect();
        let ended = idle.iter().filter(|cell| self.end_if_idle(cell, now)).count();
        drop(idle);
        let members: Vec<_> = self.0.members.iter().map(|entry| Arc::clone(&entry)).collect();
        for cell in members {
            let mut state = cell.state.lock();
            state.advance(now);
            let unused = state.window.is_empty()
                && state.live_sessions == 0
                && state.opened.count(now) == 0
                && !state.is_dirty()
                // The map's and ours: no session, no reservation and no batch knows it any more.
                && Arc::strong_count(&cell) == 2;
            if unused {
                state.retired = true;
                self.0.members.remove_if(&cell.id, |_, found| Arc::ptr_eq(found, &cell));
            }
            self.0.charge_member(&mut state);
        }
        ended
    }

    fn end_if_idle(&self, cell: &Arc<SessionCell>, now: Timestamp) -> bool {
        let mut member = cell.member.state.lock();
        let mut state = cell.state.lock();
        // A call may have come in between.
        self.is_idle(cell, now)
            && self.0.end_locked(cell, &mut member, &mut state, EndReason::Inactivity, now)
    }

    /// Live sessions, and the estimated bytes of everything kept here.
    pub fn size(&self) -> (u32, u64) {
        (self.0.live.load(Ordering::Relaxed), self.0.bytes.load(Ordering::Relaxed))
    }
}

/// A UUIDv7 of this time.
fn minted(now: Timestamp) -> Uuid {
    let millis = now.as_millis().max(0).unsigned_abs();
    let nanos = u32::try_from(millis % 1_000).unwrap_or(0) * 1_000_000;
    Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, millis / 1_000, nanos))
}

#[cfg(test)]
mod tests;
