//! Writing sessions behind, and taking them up at start.
//!
//! Invariant: a row is on the dirty list, in the one batch that is on its way, or in the store as it
//! stands; a batch that was not saved goes back on the list. A session that has ended counts against
//! `sessions_max` until the store has it, so that a store that is away cannot fill the memory.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use parking_lot::Mutex;

use super::cell::{MemberCell, SessionCell, Shared};
use super::window::{BUCKETS, bucket_of};
use super::{Restored, Sessions};
use crate::model::{CounterKey, Timestamp};
use crate::store::{EndReason, MemberCounterRow, SessionRow};

/// Rows on their way to the store. Dropped without [`Dirty::saved`], they come again.
pub struct Dirty {
    /// `None` where another batch is on its way.
    shared: Option<Arc<Shared>>,
    sessions: Vec<SessionRow>,
    counters: Vec<MemberCounterRow>,
    session_cells: Vec<Arc<SessionCell>>,
    member_cells: Vec<Arc<MemberCell>>,
}

impl fmt::Debug for Dirty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dirty")
            .field("sessions", &self.sessions.len())
            .field("member_counters", &self.counters.len())
            .finish_non_exhaustive()
    }
}

impl Dirty {
    /// Sessions to save.
    pub fn sessions(&self) -> &[SessionRow] {
        &self.sessions
    }

    /// Member counters to save.
    pub fn member_counters(&self) -> &[MemberCounterRow] {
        &self.counters
    }

    /// Whether nothing is to be told to the store. A member whose dirty buckets have left the window
    /// meanwhile has no row any more, and still has to be `saved` off the list.
    pub fn is_empty(&self) -> bool {
        self.session_cells.is_empty() && self.member_cells.is_empty()
    }

    /// The store has them.
    pub fn saved(mut self) {
        let Some(shared) = self.shared.take() else { return };
        for (row, cell) in self.sessions.iter().zip(&self.session_cells) {
            if row.ended.is_none() {
                continue;
            }
            let mut state = cell.state.lock();
            if !std::mem::replace(&mut state.released, true) {
                shared.held.fetch_sub(1, Ordering::Relaxed);
                shared.charge_session(&mut state);
            }
        }
        shared.taking.store(false, Ordering::Release);
    }
}

impl Drop for Dirty {
    fn drop(&mut self) {
        let Some(shared) = self.shared.take() else { return };
        for cell in &self.session_cells {
            shared.dirty_session(cell, &mut cell.state.lock());
        }
        for cell in &self.member_cells {
            let mut state = cell.state.lock();
            let own = self.counters.iter().filter(|row| row.member_id == cell.id);
            state.window.mark_dirty(own.map(|row| row.bucket));
            shared.dirty_member(cell, &mut state);
        }
        shared.taking.store(false, Ordering::Release);
    }
}

impl Sessions {
    /// All that has changed until now, in batches as [`Sessions::take_dirty`] gives them. What changes while they
    /// are saved is for the next time: sessions that are called all the time would have no end.
    pub fn take_all_dirty(&self, limit: usize) -> impl Iterator<Item = Dirty> + '_ {
        let rows = Ord::max(self.0.dirty_sessions.lock().len(), self.0.dirty_members.lock().len());
        let batches = (0..rows.div_ceil(limit.max(1))).map(move |_| self.take_dirty(limit));
        batches.take_while(|dirty| !dirty.is_empty())
    }

    /// Rows that changed since they were last taken: of at most `limit` sessions and `limit`
    /// members. One batch at a time, so that no older row overtakes a newer one: empty while
    /// another is on its way. Say [`Dirty::saved`] when the store has them, else they come again.
    pub fn take_dirty(&self, limit: usize) -> Dirty {
        let mut dirty = Dirty {
            shared: None,
            sessions: Vec::new(),
            counters: Vec::new(),
            session_cells: Vec::new(),
            member_cells: Vec::new(),
        };
        if self.0.taking.swap(true, Ordering::Acquire) {
            return dirty;
        }
        dirty.shared = Some(Arc::clone(&self.0));
        dirty.session_cells = first(&self.0.dirty_sessions, limit);
        dirty.member_cells = first(&self.0.dirty_members, limit);
        for cell in &dirty.session_cells {
            dirty.sessions.push(cell.take_row(&mut cell.state.lock()));
        }
        for cell in &dirty.member_cells {
            let mut state = cell.state.lock();
            state.taken();
            dirty.counters.append(&mut state.window.take_dirty(cell.id));
        }
        dirty
    }

    /// Takes up what the store kept: once, at start, before the first call. Sessions that were idle
    /// too long end with `inactivity`, those that a limit keeps out with `proxy_restart`; the store
    /// learns of both with the next batch.
    pub fn restore(
        &self,
        sessions: Vec<SessionRow>,
        counters: Vec<MemberCounterRow>,
        now: Timestamp,
    ) -> Restored {
        let mut texts = Texts::default();
        let mut restored = Restored::default();
        let mut members = HashSet::new();
        for row in counters {
            if row.bucket < bucket_of(now).saturating_sub(BUCKETS) {
                continue;
            }
            members.insert(row.member_id);
            let member = self.0.member(row.member_id);
            let mut state = member.state.lock();
            let shared = row.counters.into_iter().map(|(key, count)| (texts.shared(key), count)).collect();
            state.window.restore(row.bucket, &shared);
            // At its cap something may have gone uncounted before the restart.
            let cells_max = self.0.limits.window_counts_per_member_max as usize;
            let counters_max = self.0.limits.counters_per_member_max as usize;
            if state.window.cells_len() >= cells_max || state.window.counters_len() >= counters_max {
                state.advance(now);
                state.window.overflow();
            }
            state.version += 1;
            self.0.charge_member(&mut state);
        }
        restored.members = u32::try_from(members.len()).unwrap_or(u32::MAX);
        for row in sessions.into_iter().filter(|row| row.ended.is_none()) {
            self.restore_session(row, &mut texts, &mut restored, now);
        }
        restored
    }

    fn restore_session(&self, row: SessionRow, texts: &mut Texts, restored: &mut Restored, now: Timestamp) {
        let limits = &self.0.limits;
        let idle_ms = now.millis_since(row.last_activity_at);
        // Two live rows of one conversation: a crash came between a session's end and its row. The
        // newer one goes on.
        let key = (row.member_id, row.conversation);
        let earlier = self.0.by_conversation.get(&key).map(|found| Arc::clone(&found));
        if earlier.is_some_and(|earlier| self.0.end(&earlier, EndReason::ProxyRestart, now)) {
            restored.sessions = restored.sessions.saturating_sub(1);
            restored.refused += 1;
        }
        let held = self.0.held.fetch_add(1, Ordering::Relaxed);
        let cell = self.take_up(row, texts);
        let mut member = cell.member.state.lock();
        let mut state = cell.state.lock();
        let over = held >= limits.sessions_max
            || member.live_sessions > limits.sessions_per_member_max
            || !self.0.has_room(0);
        if idle_ms > i64::from(limits.idle_ms_max) {
            self.0.end_locked(&cell, &mut member, &mut state, EndReason::Inactivity, now);
            restored.expired += 1;
        } else if over {
            self.0.end_locked(&cell, &mut member, &mut state, EndReason::ProxyRestart, now);
            restored.refused += 1;
        } else {
            self.0.note_restored(&cell, &mut state);
            restored.sessions += 1;
        }
    }

    /// Makes the stored session live again, with its counters.
    fn take_up(&self, row: SessionRow, texts: &mut Texts) -> Arc<SessionCell> {
        let limits = &self.0.limits;
        let cell = Arc::new(SessionCell {
            id: row.id,
            agent_id: row.agent_id,
            member: self.0.member(row.member_id),
            conversation: row.conversation,
            created_at: row.created_at,
            last_activity: AtomicI64::new(row.last_activity_at.as_millis()),
            state: Mutex::default(),
        });
        let mut member = cell.member.state.lock();
        let mut state = cell.state.lock();
        state.client = row.client;
        for (counter, count) in row.counters {
            let count = u32::try_from(count).unwrap_or(if count < 0 { 0 } else { u32::MAX });
            state.tally.add(&texts.shared(counter), count);
        }
        if state.tally.named_len() >= limits.counters_per_session_max as usize {
            state.tally.overflow();
        }
        for digest in row.mcp_sessions.into_iter().take(limits.mcp_ids_per_session_max as usize) {
            self.0.by_mcp.insert((row.member_id, digest), Arc::clone(&cell));
            state.mcp.push(digest);
        }
        member.live_sessions += 1;
        member.opened.add(row.created_at);
        self.0.live.fetch_add(1, Ordering::Relaxed);
        self.0.by_conversation.insert((row.member_id, row.conversation), Arc::clone(&cell));
        self.0.charge_session(&mut state);
        self.0.charge_member(&mut member);
        drop((member, state));
        cell
    }
}

fn first<T>(list: &Mutex<std::collections::VecDeque<T>>, limit: usize) -> Vec<T> {
    let mut list = list.lock();
    let count = limit.min(list.len());
    list.drain(..count).collect()
}

/// Shares the texts of counters among the sessions that are restored, as they share the
/// catalogue's while the gate runs.
#[derive(Default)]
struct Texts(HashSet<CounterKey>);

impl Texts {
    fn shared(&mut self, key: CounterKey) -> CounterKey {
        match self.0.get(&key) {
            Some(shared) => shared.clone(),
            None => {
                self.0.insert(key.clone());
                key
            }
        }
    }
}
