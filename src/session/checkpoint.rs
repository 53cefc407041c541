//! Checkpoints for the audit: all counters of a session now and then, so that a replay need not begin
//! at the beginning.
//!
//! Invariants: nothing here is done on a call's way but one list entry for a session and checkpoint; a
//! session is listed at most once; the list is no longer than `sessions_max`. A checkpoint is taken
//! when its session has stood still between two looks, or after [`LOOKS_MAX`] of them, and says which.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Sessions;
use super::cell::{MemberState, SessionCell, SessionState, Shared};
use super::window::{BUCKET_MS, bucket_of};
use crate::model::{CheckpointCause, SessionCheckpoint, Timestamp, WindowCheckpoint};

/// A session that never stands still is taken as it is after so many looks.
const LOOKS_MAX: u32 = 8;
/// Buckets before the last one taken that may have moved since: a call is uncounted in the bucket that
/// it was counted in, and lives for ten minutes at most.
const LATE_BUCKETS: i64 = 3;

/// What a session's next checkpoint waits for.
#[derive(Debug, Default)]
pub(super) struct Due {
    listed: bool,
    /// Counts since the last checkpoint.
    counts: u32,
    /// Milliseconds since the epoch; 0 before the first look.
    taken_at: i64,
    taken_once: bool,
    restored: bool,
    /// The version at the last look.
    seen: u64,
    looks: u32,
}

/// The same of a member's window.
#[derive(Debug, Default)]
pub(super) struct WindowDue {
    seen: u64,
    settled: bool,
    look: u64,
    /// The version and the running bucket when it was last taken.
    taken: Option<(u64, i64)>,
}

impl Shared {
    /// A counter of the session moved.
    pub(super) fn note_count(&self, cell: &Arc<SessionCell>, state: &mut SessionState) {
        state.due.counts = state.due.counts.saturating_add(1);
        self.list(cell, state);
    }

    /// The session was taken up at a start.
    pub(super) fn note_restored(&self, cell: &Arc<SessionCell>, state: &mut SessionState) {
        state.due.restored = true;
        self.list(cell, state);
    }

    /// The session has ended: one that never counted anything leaves nothing to go on from.
    pub(super) fn note_ended(&self, cell: &Arc<SessionCell>, state: &mut SessionState) {
        if state.due.counts > 0 || state.due.taken_once || state.due.restored {
            self.list(cell, state);
        }
    }

    fn list(&self, cell: &Arc<SessionCell>, state: &mut SessionState) {
        if state.due.listed {
            return;
        }
        let mut listed = self.to_record.lock();
        if listed.len() < self.limits.sessions_max as usize {
            state.due.listed = true;
            listed.push_back(Arc::clone(cell));
        }
    }
}

impl Sessions {
    /// The checkpoints that are due, at most `limit`; to be asked every few seconds.
    pub fn take_checkpoints(&self, limit: usize, now: Timestamp) -> Vec<SessionCheckpoint> {
        let look = self.0.looks.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        let listed = std::mem::take(&mut *self.0.to_record.lock());
        let mut taken = Vec::new();
        let mut again = std::collections::VecDeque::new();
        for cell in listed {
            if taken.len() >= limit {
                again.push_back(cell);
                continue;
            }
            let mut member = cell.member.state.lock();
            let mut state = cell.state.lock();
            let found = self.look_at(&cell, &mut member, &mut state, look, now);
            let over =
                found.is_some() || state.due.counts == 0 && !state.due.restored && state.ended.is_none();
            state.due.listed = !over;
            drop((member, state));
            taken.extend(found);
            if !over {
                again.push_back(cell);
            }
        }
        let mut listed = self.0.to_record.lock();
        again.append(&mut listed);
        *listed = again;
        taken
    }

    fn look_at(
        &self,
        cell: &SessionCell,
        member: &mut MemberState,
        state: &mut SessionState,
        look: u64,
        now: Timestamp,
    ) -> Option<SessionCheckpoint> {
        if state.due.taken_at == 0 {
            state.due.taken_at = cell.created_at.as_millis().max(1);
        }
        let settled = state.version == state.due.seen;
        state.due.seen = state.version;
        member.see(look);
        let cause = self.cause(state, now)?;
        state.due.looks = state.due.looks.saturating_add(1);
        if !settled && state.due.looks < LOOKS_MAX {
            return None;
        }
        state.due =
            Due { taken_at: now.as_millis(), taken_once: true, seen: state.version, ..Due::default() };
        Some(SessionCheckpoint {
            at: now,
            session: cell.id,
            agent: cell.agent_id,
            member: cell.member.id,
            conversation: cell.conversation,
            cause,
            settled,
            created_at: cell.created_at,
            last_activity_at: cell.last_activity(),
            ended: state.ended.map(|(at, reason)| (at, reason.as_str())),
            counters: state.tally.counters(),
            window: member.take_window(now),
        })
    }

    fn cause(&self, state: &SessionState, now: Timestamp) -> Option<CheckpointCause> {
        let limits = &self.0.limits;
        let waited = now.as_millis().saturating_sub(state.due.taken_at);
        if state.ended.is_some() {
            Some(CheckpointCause::Ended)
        } else if state.due.restored {
            Some(CheckpointCause::Restored)
        } else if state.due.counts >= limits.checkpoint_calls_max.max(1) {
            Some(CheckpointCause::Calls)
        } else if state.due.counts > 0 && waited >= i64::from(limits.checkpoint_ms_max) {
            Some(CheckpointCause::Time)
        } else {
            None
        }
    }
}

impl MemberState {
    /// Once in a look, whichever of its sessions comes first.
    fn see(&mut self, look: u64) {
        if self.window_due.look != look {
            self.window_due.look = look;
            self.window_due.settled = self.version == self.window_due.seen;
            self.window_due.seen = self.version;
        }
    }

    /// What changed in the window since it was last taken; all of it the first time.
    fn take_window(&mut self, now: Timestamp) -> Option<WindowCheckpoint> {
        self.advance(now);
        let from = match self.window_due.taken {
            Some((version, _)) if version == self.version => return None,
            Some((_, bucket)) => bucket.saturating_sub(LATE_BUCKETS),
            None => i64::MIN,
        };
        self.window_due.taken = Some((self.version, bucket_of(now)));
        let buckets = self.window.buckets_from(from);
        let whole = from == i64::MIN;
        Some(WindowCheckpoint { bucket_ms: BUCKET_MS, whole, settled: self.window_due.settled, buckets })
    }
}
