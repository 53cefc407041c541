//! Reading counters, and counting a call before it is sent.
//!
//! Invariants:
//! - [`Session::reserve`] counts only while every counter that the decision read still has the value
//!   that it read, under the locks of member and session: the decision would be the same now.
//! - A reservation counts from the moment that it exists. Only [`Reservation::release`] uncounts
//!   it; dropping it, and a crash, leave it counted.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::cell::{MemberState, SessionCell, SessionState, Shared};
use super::tally::COUNTER_BYTES;
use super::{CallCounts, ReserveFault, SessionView};
use crate::model::{
    ClientInfo, ConversationId, CounterKey, History, PolicyKey, PolicyRef, ServiceKey, SessionId, Tier,
    Timestamp, ToolName,
};

/// A live session, for the length of one call. Cheap to clone.
#[derive(Clone)]
pub struct Session {
    pub(super) shared: Arc<Shared>,
    pub(super) cell: Arc<SessionCell>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Session").field(&self.cell.id).finish()
    }
}

/// What was read, and when it was true: the values that a decision saw.
#[derive(Debug, Clone)]
pub struct Version {
    session: u64,
    member: u64,
    seen: History,
}

impl Session {
    /// The session's id.
    pub fn id(&self) -> SessionId {
        self.cell.id
    }

    /// The conversation that it is the session of.
    pub fn conversation(&self) -> ConversationId {
        self.cell.conversation
    }

    /// What the client said of itself, from the first time that it was given.
    pub fn client(&self) -> Option<ClientInfo> {
        self.cell.state.lock().client.clone()
    }

    /// The counters that a decision reads, session and member at one moment.
    pub fn read(&self, session: &[CounterKey], member: &[CounterKey], now: Timestamp) -> (History, Version) {
        let mut version = Version { session: 0, member: 0, seen: History::default() };
        // Where no counter is read nothing is locked, and `reserve` has nothing to compare.
        let guard = (!member.is_empty()).then(|| {
            let mut state = self.cell.member.state.lock();
            state.advance(now);
            version.member = state.version;
            version.seen.member = member.iter().map(|key| (key.clone(), state.window.get(key))).collect();
            state
        });
        if !session.is_empty() {
            let state = self.cell.state.lock();
            version.session = state.version;
            version.seen.session = session.iter().map(|key| (key.clone(), state.tally.get(key))).collect();
        }
        drop(guard);
        (version.seen.clone(), version)
    }

    /// Counts the call in session and member, if what the decision read is still so. Other counters
    /// than those read may have moved.
    ///
    /// # Errors
    /// [`ReserveFault`]; nothing was counted.
    pub fn reserve(
        &self,
        version: &Version,
        call: &CallCounts<'_>,
        now: Timestamp,
    ) -> Result<Reservation, ReserveFault> {
        let mut member = self.cell.member.state.lock();
        let mut state = self.cell.state.lock();
        member.advance(now);
        let moved = |seen: &BTreeMap<CounterKey, i64>, get: &dyn Fn(&CounterKey) -> i64| {
            seen.iter().any(|(key, count)| get(key) != *count)
        };
        if state.ended.is_some() {
            return Err(ReserveFault::Ended);
        }
        let session_moved =
            state.version != version.session && moved(&version.seen.session, &|key| state.tally.get(key));
        let member_moved =
            member.version != version.member && moved(&version.seen.member, &|key| member.window.get(key));
        if session_moved || member_moved {
            return Err(ReserveFault::Changed);
        }
        self.count_call(&mut member, &mut state, call, now)
    }

    /// Counts a denied call and the forbids that denied it.
    pub fn count_denial(&self, forbids: &[PolicyRef], now: Timestamp) {
        let mut member = self.cell.member.state.lock();
        let mut state = self.cell.state.lock();
        member.advance(now);
        self.count_denied(&mut member, &mut state, forbids, now);
    }

    /// Decides under the locks of member and session: the way out after too many `Changed`.
    /// `decide` must reach sessions through its argument alone, or it waits for itself. Hands out
    /// what it reserved.
    ///
    /// # Errors
    /// `Ended` where the session has ended; `decide` was not called then.
    pub fn with_locked<T>(
        &self,
        now: Timestamp,
        decide: impl FnOnce(&mut Locked<'_>) -> T,
    ) -> Result<(T, Option<Reservation>), ReserveFault> {
        let mut member = self.cell.member.state.lock();
        let mut state = self.cell.state.lock();
        if state.ended.is_some() {
            return Err(ReserveFault::Ended);
        }
        member.advance(now);
        let mut locked =
            Locked { session: self, member: &mut member, state: &mut state, reserved: None, now };
        let decided = decide(&mut locked);
        Ok((decided, locked.reserved))
    }

    /// The session as people see it.
    pub fn view(&self) -> SessionView {
        self.cell.view()
    }

    /// Every counter of the member's 24 hours that is above 0.
    pub fn member_counters(&self, now: Timestamp) -> BTreeMap<CounterKey, i64> {
        let mut member = self.cell.member.state.lock();
        member.advance(now);
        member.window.counters()
    }

    /// When a counter of the member's 24 hours will have fallen below this number, if nothing more is
    /// counted; `None` where it never will.
    pub fn falls_below(&self, key: &CounterKey, number: i64, now: Timestamp) -> Option<Timestamp> {
        let mut member = self.cell.member.state.lock();
        member.advance(now);
        member.window.falls_below(key, number)
    }

    fn count_call(
        &self,
        member: &mut MemberState,
        state: &mut SessionState,
        call: &CallCounts<'_>,
        now: Timestamp,
    ) -> Result<Reservation, ReserveFault> {
        let permits = call.permits.iter().map(|policy| &policy.key);
        let keys: Vec<_> = call_keys((call.service, call.tool, call.tier), permits).collect();
        if member.window.overflowed() || state.tally.overflowed() || !self.fits(member, state, &keys) {
            return Err(ReserveFault::Full);
        }
        let bucket = self.count(member, state, &keys);
        self.shared.touch(&self.cell, state, now);
        let (shared, cell) = (Arc::clone(&self.shared), Arc::clone(&self.cell));
        Ok(Reservation { shared, cell, keys, bucket, reached: false })
    }

    fn count_denied(
        &self,
        member: &mut MemberState,
        state: &mut SessionState,
        forbids: &[PolicyRef],
        now: Timestamp,
    ) {
        let keys: Vec<_> = denial_keys(forbids.iter().map(|policy| &policy.key)).collect();
        if self.fits(member, state, &keys) {
            self.count(member, state, &keys);
        } else {
            // A denial that no counter shows could let a circuit breaker stay closed.
            state.tally.overflow();
            member.window.overflow();
        }
        self.shared.touch(&self.cell, state, now);
    }

    fn fits(&self, member: &MemberState, state: &SessionState, keys: &[CounterKey]) -> bool {
        let limits = &self.shared.limits;
        let counters = state.tally.growth(keys);
        let window = member.window.growth(keys);
        let within = |length: usize, growth: usize, max: u32| growth == 0 || length + growth <= max as usize;
        within(state.tally.named_len(), counters, limits.counters_per_session_max)
            && within(member.window.counters_len(), window.counters, limits.counters_per_member_max)
            && within(member.window.cells_len(), window.cells, limits.window_counts_per_member_max)
            && ((counters == 0 && window.cells == 0)
                || self.shared.has_room(counters * COUNTER_BYTES + window.bytes()))
    }

    /// Counts one of each in session and member; says in which bucket.
    fn count(&self, member: &mut MemberState, state: &mut SessionState, keys: &[CounterKey]) -> i64 {
        for key in keys {
            state.tally.add(key, 1);
        }
        let bucket = member.window.add(keys);
        counted(&self.shared, &self.cell, member, state);
        bucket
    }
}

/// After counters moved: versions, bytes, and the lists for the store.
fn counted(shared: &Shared, cell: &Arc<SessionCell>, member: &mut MemberState, state: &mut SessionState) {
    state.version += 1;
    member.version += 1;
    shared.charge_session(state);
    shared.charge_member(member);
    shared.dirty_session(cell, state);
    shared.note_count(cell, state);
    shared.dirty_member(&cell.member, member);
}

/// What an allowed call counts in.
pub(super) fn call_keys<'p>(
    (service, tool, tier): (&ServiceKey, &ToolName, Tier),
    permits: impl Iterator<Item = &'p PolicyKey>,
) -> impl Iterator<Item = CounterKey> {
    let own = [
        CounterKey::Calls,
        CounterKey::Tier(tier),
        CounterKey::Service(service.clone()),
        CounterKey::Tool(service.clone(), tool.clone()),
    ];
    own.into_iter().chain(permits.map(|policy| CounterKey::PolicyAllow(policy.clone())))
}

/// What a denied call counts in.
pub(super) fn denial_keys<'p>(
    forbids: impl Iterator<Item = &'p PolicyKey>,
) -> impl Iterator<Item = CounterKey> {
    let policies = forbids.map(|policy| CounterKey::PolicyDeny(policy.clone()));
    std::iter::once(CounterKey::Denials).chain(policies)
}

/// Session and member, locked.
pub struct Locked<'a> {
    session: &'a Session,
    member: &'a mut MemberState,
    state: &'a mut SessionState,
    reserved: Option<Reservation>,
    now: Timestamp,
}

impl Locked<'_> {
    /// The counters, as they stand and will stand until the decision is over.
    pub fn read(&self, session: &[CounterKey], member: &[CounterKey]) -> History {
        History {
            session: session.iter().map(|key| (key.clone(), self.state.tally.get(key))).collect(),
            member: member.iter().map(|key| (key.clone(), self.member.window.get(key))).collect(),
        }
    }

    /// Counts the call; `with_locked` hands the reservation out. At most once.
    ///
    /// # Errors
    /// `Full`; nothing was counted.
    pub fn reserve(&mut self, call: &CallCounts<'_>) -> Result<(), ReserveFault> {
        if self.reserved.is_some() {
            return Ok(());
        }
        self.reserved = Some(self.session.count_call(self.member, self.state, call, self.now)?);
        Ok(())
    }
}

/// A counted call. Dropped without a word it stays counted: the safe side.
#[must_use = "a reservation is either reached or released"]
pub struct Reservation {
    shared: Arc<Shared>,
    cell: Arc<SessionCell>,
    keys: Vec<CounterKey>,
    bucket: i64,
    reached: bool,
}

impl fmt::Debug for Reservation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reservation")
            .field("session", &self.cell.id)
            .field("reached", &self.reached)
            .finish_non_exhaustive()
    }
}

impl Reservation {
    /// The upstream was reached, or may have been: the call stays counted. May be called again.
    pub fn reached(&mut self) {
        self.reached = true;
    }

    /// What takes this call back out of the counters, for a request that goes on in another round and
    /// is counted there.
    pub fn rebate(&self) -> Rebate {
        Rebate {
            shared: Arc::clone(&self.shared),
            cell: Arc::clone(&self.cell),
            keys: self.keys.clone(),
            bucket: self.bucket,
        }
    }

    /// Nothing was sent: the call is uncounted, unless `reached` was said before.
    pub fn release(self) {
        if self.reached {
            return;
        }
        take_back(&self.shared, &self.cell, &self.keys, self.bucket);
    }
}

/// A counted round of a request. Spent by value, so that one round is taken back at most once.
pub struct Rebate {
    shared: Arc<Shared>,
    cell: Arc<SessionCell>,
    keys: Vec<CounterKey>,
    bucket: i64,
}

impl fmt::Debug for Rebate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rebate").field("session", &self.cell.id).finish_non_exhaustive()
    }
}

impl Rebate {
    /// Takes the round back: its request is decided and counted anew now.
    pub fn spend(self) -> Spent {
        take_back(&self.shared, &self.cell, &self.keys, self.bucket);
        Spent(self)
    }
}

/// A round that was taken back.
#[derive(Debug)]
pub struct Spent(Rebate);

impl Spent {
    /// Counts it again: the round after it did not come to pass.
    pub fn restore(self) {
        let Rebate { shared, cell, keys, .. } = self.0;
        let mut member = cell.member.state.lock();
        let mut state = cell.state.lock();
        for key in &keys {
            state.tally.add(key, 1);
        }
        member.window.add(&keys);
        counted(&shared, &cell, &mut member, &mut state);
    }
}

fn take_back(shared: &Shared, cell: &Arc<SessionCell>, keys: &[CounterKey], bucket: i64) {
    let mut member = cell.member.state.lock();
    let mut state = cell.state.lock();
    for key in keys {
        state.tally.take_back(key);
    }
    member.window.take_back(keys, bucket);
    counted(shared, cell, &mut member, &mut state);
}
