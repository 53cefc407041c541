//! (being built)

use std::sync::Arc;

use super::{CallCounts, ReserveFault, SessionView};
use crate::model::{CounterKey, History, PolicyRef, SessionId, Timestamp};

/// A live session, for the length of one call. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Session(Arc<()>);

/// What was read, and when it was true: the values that a decision saw.
#[derive(Debug, Clone)]
pub struct Version(());

impl Session {
    /// The session's id.
    pub fn id(&self) -> SessionId {
        unreachable!("{:?}", self.0)
    }

    /// The counters that a decision reads, session and member at one moment.
    pub fn read(&self, session: &[CounterKey], member: &[CounterKey], now: Timestamp) -> (History, Version) {
        unreachable!("{session:?}{member:?}{now:?}")
    }

    /// Counts the call in session and member, if what the decision read is still so.
    ///
    /// # Errors
    /// [`ReserveFault`]; nothing was counted.
    pub fn reserve(
        &self,
        version: &Version,
        call: &CallCounts<'_>,
        now: Timestamp,
    ) -> Result<Reservation, ReserveFault> {
        unreachable!("{version:?}{call:?}{now:?}")
    }

    /// Counts a denied call and the forbids that denied it.
    pub fn count_denial(&self, forbids: &[PolicyRef], now: Timestamp) {
        unreachable!("{forbids:?}{now:?}")
    }

    /// Decides under the locks of member and session: the way out after too many `Changed`.
    /// `decide` must not call into sessions but through its argument. Hands out what it reserved.
    ///
    /// # Errors
    /// `Ended` where the session has ended; `decide` was not called then.
    pub fn with_locked<T>(
        &self,
        now: Timestamp,
        decide: impl FnOnce(&mut Locked<'_>) -> T,
    ) -> Result<(T, Option<Reservation>), ReserveFault> {
        unreachable!("{now:?}{}", std::any::type_name_of_val(&decide))
    }

    /// The session as people see it.
    pub fn view(&self) -> SessionView {
        unreachable!()
    }
}

/// Session and member, locked.
pub struct Locked<'a>(&'a ());

impl Locked<'_> {
    /// The counters, as they stand.
    pub fn read(&self, session: &[CounterKey], member: &[CounterKey]) -> History {
        unreachable!("{session:?}{member:?}{:?}", self.0)
    }

    /// Counts the call; `with_locked` hands the reservation out.
    ///
    /// # Errors
    /// `Full`; nothing was counted.
    pub fn reserve(&mut self, call: &CallCounts<'_>) -> Result<(), ReserveFault> {
        unreachable!("{call:?}")
    }

    /// Counts a denied call.
    pub fn count_denial(&mut self, forbids: &[PolicyRef]) {
        unreachable!("{forbids:?}")
    }
}

/// A counted call. Dropped without a word it stays counted: the safe side.
#[derive(Debug)]
#[must_use = "a reservation is either reached or released"]
pub struct Reservation(());

impl Reservation {
    /// The upstream was reached, or may have been: the call stays counted. May be called again.
    pub fn reached(&mut self) {
        unreachable!()
    }

    /// Nothing was sent: the call is uncounted, unless `reached` was said before.
    pub fn release(self) {
        unreachable!("{:?}", self.0)
    }
}
