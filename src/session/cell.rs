//! What is locked, what is listed, and what is charged for it.
//!
//! Lock order: a member's state, then a session's state, then maps and lists, which are leaves: no
//! guard of a map is held while a state is locked.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering};

use dashmap::DashMap;
use parking_lot::Mutex;

use super::checkpoint::{Due, WindowDue};
use super::tally::{COUNTER_BYTES, Tally};
use super::window::{BUCKET_MS, Window, bucket_of};
use super::{SessionLimits, SessionView};
use crate::model::{AgentId, ClientInfo, ConversationId, CounterKey, Digest, MemberId, SessionId, Timestamp};
use crate::store::{EndReason, SessionRow};

/// Characters kept of a client's name and version each.
const CLIENT_CHARS_MAX: usize = 128;
/// A session is written again when its last activity has moved by so many milliseconds.
const ACTIVITY_MS: i64 = 60_000;
/// Entries of the maps and the allocators' share, in bytes.
const SESSION_BYTES: usize = size_of::<SessionCell>() + 3 * 64;
const MEMBER_BYTES: usize = size_of::<MemberCell>() + 64;
/// An `Mcp-Session-Id`'s digest, here and in its map.
const MCP_BYTES: usize = 128;

/// A whole hour of five-minute buckets.
const HOUR_BUCKETS: i64 = 12;

/// Everything that all sessions share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) limits: SessionLimits,
    pub(super) by_conversation: DashMap<(MemberId, ConversationId), Arc<SessionCell>>,
    pub(super) by_mcp: DashMap<(MemberId, Digest), Arc<SessionCell>>,
    pub(super) members: DashMap<MemberId, Arc<MemberCell>>,
    pub(super) live: AtomicU32,
    /// Live sessions, and ended ones that the store does not have yet.
    pub(super) held: AtomicU32,
    pub(super) bytes: AtomicU64,
    pub(super) dirty_sessions: Mutex<VecDeque<Arc<SessionCell>>>,
    pub(super) dirty_members: Mutex<VecDeque<Arc<MemberCell>>>,
    /// A batch is on its way to the store.
    pub(super) taking: AtomicBool,
    /// Sessions whose checkpoint is due some time, for the audit.
    pub(super) to_record: Mutex<VecDeque<Arc<SessionCell>>>,
    /// How often they were looked at.
    pub(super) looks: AtomicU64,
}

#[derive(Debug)]
pub(super) struct MemberCell {
    pub(super) id: MemberId,
    pub(super) state: Mutex<MemberState>,
}

#[derive(Debug, Default)]
pub(super) struct MemberState {
    pub(super) window: Window,
    /// Moves with every change of a counter.
    pub(super) version: u64,
    pub(super) live_sessions: u32,
    pub(super) opened: Openings,
    /// No longer in the map: whoever finds it looks again.
    pub(super) retired: bool,
    pub(super) window_due: WindowDue,
    dirty: bool,
    charged: u64,
}

#[derive(Debug)]
pub(super) struct SessionCell {
    pub(super) id: SessionId,
    pub(super) agent_id: AgentId,
    pub(super) member: Arc<MemberCell>,
    pub(super) conversation: ConversationId,
    pub(super) created_at: Timestamp,
    pub(super) last_activity: AtomicI64,
    pub(super) state: Mutex<SessionState>,
}

#[derive(Debug, Default)]
pub(super) struct SessionState {
    pub(super) tally: Tally,
    pub(super) version: u64,
    pub(super) ended: Option<(Timestamp, EndReason)>,
    pub(super) client: Option<ClientInfo>,
    /// Oldest first.
    pub(super) mcp: Vec<Digest>,
    /// Ended, and the store has it: nothing is charged for it any more.
    pub(super) released: bool,
    pub(super) due: Due,
    dirty: bool,
    charged: u64,
    /// The last activity that is written, or on its way.
    written_activity: i64,
}

/// Sessions that a member opened in the past hour, by five-minute bucket.
#[derive(Debug, Default)]
pub(super) struct Openings(VecDeque<(i64, u32)>);

impl Openings {
    pub(super) fn count(&mut self, now: Timestamp) -> u32 {
        let first = bucket_of(now).saturating_sub(HOUR_BUCKETS);
        while self.0.front().is_some_and(|(bucket, _)| *bucket < first) {
            self.0.pop_front();
        }
        self.0.iter().fold(0, |sum, (_, count)| sum.saturating_add(*count))
    }

    pub(super) fn add(&mut self, at: Timestamp) {
        // A clock that went back counts into the newest bucket.
        match self.0.back_mut() {
            Some((bucket, count)) if *bucket >= bucket_of(at) => *count = count.saturating_add(1),
            _ => self.0.push_back((bucket_of(at), 1)),
        }
    }

    /// When the oldest of them will be an hour past.
    pub(super) fn retry_after_s(&self, now: Timestamp) -> u32 {
        let oldest = self.0.front().map_or(bucket_of(now), |(bucket, _)| *bucket);
        let free_at = oldest.saturating_add(HOUR_BUCKETS + 1).saturating_mul(BUCKET_MS);
        let seconds = free_at.saturating_sub(now.as_millis()).div_euclid(1_000).saturating_add(1);
        u32::try_from(seconds.max(1)).unwrap_or(u32::MAX)
    }
}

impl Shared {
    pub(super) fn new(limits: SessionLimits) -> Self {
        Self {
            limits,
            by_conversation: DashMap::new(),
            by_mcp: DashMap::new(),
            members: DashMap::new(),
            live: AtomicU32::new(0),
            held: AtomicU32::new(0),
            bytes: AtomicU64::new(0),
            dirty_sessions: Mutex::default(),
            dirty_members: Mutex::default(),
            taking: AtomicBool::new(false),
            to_record: Mutex::default(),
            looks: AtomicU64::new(0),
        }
    }

    /// Whether so many bytes more may be kept.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        self.bytes.load(Ordering::Relaxed).saturating_add(bytes as u64) <= self.limits.bytes_max
    }

    fn recharge(&self, charged: &mut u64, bytes: usize) {
        let bytes = bytes as u64;
        if bytes >= *charged {
            self.bytes.fetch_add(bytes - *charged, Ordering::Relaxed);
        } else {
            self.bytes.fetch_sub(*charged - bytes, Ordering::Relaxed);
        }
        *charged = bytes;
    }

    /// Charges a session for what it keeps now.
    pub(super) fn charge_session(&self, state: &mut SessionState) {
        let bytes = if state.released { 0 } else { state.bytes() };
        self.recharge(&mut state.charged, bytes);
    }

    /// Charges a member for what it keeps now; nothing once it is retired.
    pub(super) fn charge_member(&self, state: &mut MemberState) {
        let bytes = if state.retired { 0 } else { MEMBER_BYTES + state.window.bytes() };
        self.recharge(&mut state.charged, bytes);
    }

    /// Lists the session for the store, once.
    pub(super) fn dirty_session(&self, cell: &Arc<SessionCell>, state: &mut SessionState) {
        if !std::mem::replace(&mut state.dirty, true) {
            self.dirty_sessions.lock().push_back(Arc::clone(cell));
        }
    }

    /// Lists the member for the store, once.
    pub(super) fn dirty_member(&self, cell: &Arc<MemberCell>, state: &mut MemberState) {
        if !std::mem::replace(&mut state.dirty, true) {
            self.dirty_members.lock().push_back(Arc::clone(cell));
        }
    }

    /// The member's cell; it may be retired by the time that it is locked.
    pub(super) fn member(&self, id: MemberId) -> Arc<MemberCell> {
        if let Some(found) = self.members.get(&id) {
            return Arc::clone(&found);
        }
        let made = || Arc::new(MemberCell { id, state: Mutex::default() });
        Arc::clone(&self.members.entry(id).or_insert_with(made))
    }

    /// Notes an activity, and writes it now and then.
    pub(super) fn touch(&self, cell: &Arc<SessionCell>, state: &mut SessionState, now: Timestamp) {
        let last = cell.last_activity.fetch_max(now.as_millis(), Ordering::Relaxed).max(now.as_millis());
        if last.saturating_sub(state.written_activity) >= ACTIVITY_MS {
            self.dirty_session(cell, state);
        }
    }

    /// Ends the session; false where it has ended.
    pub(super) fn end(&self, cell: &Arc<SessionCell>, reason: EndReason, now: Timestamp) -> bool {
        let mut member = cell.member.state.lock();
        let mut state = cell.state.lock();
        self.end_locked(cell, &mut member, &mut state, reason, now)
    }

    /// The same, where both are locked already.
    pub(super) fn end_locked(
        &self,
        cell: &Arc<SessionCell>,
        member: &mut MemberState,
        state: &mut SessionState,
        reason: EndReason,
        now: Timestamp,
    ) -> bool {
        if state.ended.is_some() {
            return false;
        }
        state.ended = Some((now, reason));
        state.version += 1;
        member.live_sessions = member.live_sessions.saturating_sub(1);
        let key = (cell.member.id, cell.conversation);
        self.by_conversation.remove_if(&key, |_, found| Arc::ptr_eq(found, cell));
        for digest in std::mem::take(&mut state.mcp) {
            self.by_mcp.remove(&(cell.member.id, digest));
        }
        self.live.fetch_sub(1, Ordering::Relaxed);
        self.charge_session(state);
        self.dirty_session(cell, state);
        self.note_ended(cell, state);
        true
    }
}

impl MemberState {
    /// It is on no list any more.
    pub(super) fn taken(&mut self) {
        self.dirty = false;
    }

    pub(super) const fn is_dirty(&self) -> bool {
        self.dirty
    }

    /// Drops what is past, and notes where a counter fell.
    pub(super) fn advance(&mut self, now: Timestamp) {
        if self.window.advance(now) {
            self.version += 1;
        }
    }
}

impl SessionState {
    fn bytes(&self) -> usize {
        let client = self.client.as_ref().map_or(0, |client| client.name.len() + client.version.len());
        SESSION_BYTES + self.tally.named_len() * COUNTER_BYTES + self.mcp.len() * MCP_BYTES + client
    }

    /// Keeps what a client says of itself, cut to a bounded length.
    pub(super) fn set_client(&mut self, client: &ClientInfo) {
        let cut = |text: &str| text.chars().take(CLIENT_CHARS_MAX).collect();
        self.client = Some(ClientInfo { name: cut(&client.name), version: cut(&client.version) });
    }
}

impl SessionCell {
    pub(super) fn last_activity(&self) -> Timestamp {
        Timestamp::from_millis(self.last_activity.load(Ordering::Relaxed))
    }

    /// The row as it stands; it is on no list any more.
    pub(super) fn take_row(&self, state: &mut SessionState) -> SessionRow {
        state.dirty = false;
        let last_activity_at = self.last_activity();
        state.written_activity = last_activity_at.as_millis();
        SessionRow {
            id: self.id,
            agent_id: self.agent_id,
            member_id: self.member.id,
            conversation: self.conversation,
            client: state.client.clone(),
            created_at: self.created_at,
            last_activity_at,
            ended: state.ended,
            counters: state.tally.counters(),
            mcp_sessions: state.mcp.clone(),
        }
    }

    pub(super) fn view(&self) -> SessionView {
        let state = self.state.lock();
        let counters = state.tally.counters();
        let mut view = SessionView {
            id: self.id,
            agent_id: self.agent_id,
            member_id: self.member.id,
            conversation: self.conversation,
            client: state.client.clone(),
            is_active: state.ended.is_none(),
            created_at: self.created_at,
            last_activity_at: self.last_activity(),
            terminated_at: state.ended.map(|(at, _)| at),
            terminated_reason: state.ended.map(|(_, reason)| reason),
            calls: state.tally.get(&CounterKey::Calls),
            denials: state.tally.get(&CounterKey::Denials),
            tools_used: Default::default(),
            policies_allow_counts: Default::default(),
            policies_deny_counts: Default::default(),
            counters: Default::default(),
        };
        drop(state);
        for (key, count) in &counters {
            match key {
                CounterKey::Tool(service, tool) => {
                    view.tools_used.insert(format!("{service}:{tool}"), *count);
                }
                CounterKey::PolicyAllow(policy) => {
                    view.policies_allow_counts.insert(policy.to_string(), *count);
                }
                CounterKey::PolicyDeny(policy) => {
                    view.policies_deny_counts.insert(policy.to_string(), *count);
                }
                CounterKey::Calls | CounterKey::Denials | CounterKey::Tier(_) | CounterKey::Service(_) => {}
            }
        }
        view.counters = counters;
        view
    }
}
