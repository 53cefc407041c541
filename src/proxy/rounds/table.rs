//! What is open: states that were given out, and the calls that wait behind some of them.
//!
//! Invariants: a place is looked for and taken in one step, under the lock of whoever calls; it is given back
//! by the one way out, [`Table::leave`]; to enter and to leave costs the same however much is open, but for a
//! look for what is over, at most once a second.

use std::collections::HashMap;

use tokio_util::sync::{CancellationToken, DropGuard};

use super::Nonce;
use crate::model::MemberId;
use crate::session::Rebate;

/// States that were given out and are neither used nor over.
const OPEN_MAX: usize = 100_000;
/// Of these, those of one member.
pub(super) const OPEN_PER_MEMBER_MAX: usize = 10_000;
/// Calls of one member that wait: each holds a place at its upstream.
pub(super) const PARKED_PER_MEMBER_MAX: usize = 8;
/// How often it is looked for states that are over, at most, in milliseconds.
const LOOK_EVERY_MS: i64 = 1_000;

/// A state that was given out.
pub(super) struct Open<P> {
    pub member: MemberId,
    /// Unix milliseconds.
    pub until: i64,
    pub kept: Kept<P>,
}

/// What it leads to.
pub(super) enum Kept<P> {
    /// Another round of an upstream that keeps nothing itself.
    Carried(Rebate),
    /// A call that waits.
    Parked(Waiting<P>),
}

/// Who has no room left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    All,
    Member,
}

/// A call that waits for its client.
pub(super) struct Waiting<P> {
    pub call: P,
    /// Dropped, it ends the wait for the call's deadline.
    _deadline: DropGuard,
}

impl<P> Waiting<P> {
    /// Whose deadline is waited for until `left` is cancelled.
    pub fn until(call: P, left: &CancellationToken) -> Self {
        Self { call, _deadline: left.clone().drop_guard() }
    }
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Held {
    open: usize,
    parked: usize,
}

pub(super) struct Table<P> {
    open: HashMap<Nonce, Open<P>>,
    parked: usize,
    parked_max: usize,
    of_member: HashMap<MemberId, Held>,
    /// When it was looked for what is over, in Unix milliseconds.
    looked: i64,
}

impl<P> Table<P> {
    /// Nothing open yet; so many calls may wait.
    pub fn new(parked_max: usize) -> Self {
        Self { open: HashMap::new(), parked: 0, parked_max, of_member: HashMap::new(), looked: i64::MIN }
    }

    /// Enters a state.
    ///
    /// # Errors
    /// There is no room for it: the state, and whose.
    pub fn enter(&mut self, nonce: Nonce, open: Open<P>, now: i64) -> Result<(), (Open<P>, Full)> {
        let held = self.of_member.get(&open.member).copied().unwrap_or_default();
        if self.open.len() >= OPEN_MAX || held.open >= OPEN_PER_MEMBER_MAX {
            self.drop_over(now);
        }
        let held = self.of_member.get(&open.member).copied().unwrap_or_default();
        let is_call = matches!(open.kept, Kept::Parked(_));
        if held.open >= OPEN_PER_MEMBER_MAX || (is_call && held.parked >= PARKED_PER_MEMBER_MAX) {
            return Err((open, Full::Member));
        }
        if self.open.len() >= OPEN_MAX || (is_call && self.parked >= self.parked_max) {
            return Err((open, Full::All));
        }
        let held = self.of_member.entry(open.member).or_default();
        held.open += 1;
        held.parked += usize::from(is_call);
        self.parked += usize::from(is_call);
        self.open.insert(nonce, open);
        Ok(())
    }

    /// Takes a state out, and gives its place back.
    pub fn leave(&mut self, nonce: &Nonce) -> Option<Open<P>> {
        let open = self.open.remove(nonce)?;
        self.give_back(&open);
        Some(open)
    }

    /// Drops what is over; calls have a deadline of their own for that.
    fn drop_over(&mut self, now: i64) {
        if now.saturating_sub(self.looked) < LOOK_EVERY_MS {
            return;
        }
        self.looked = now;
        let is_over = |open: &Open<P>| matches!(open.kept, Kept::Carried(_)) && open.until < now;
        let over: Vec<Open<P>> =
            self.open.extract_if(|_, open| is_over(open)).map(|(_, open)| open).collect();
        for open in &over {
            self.give_back(open);
        }
    }

    fn give_back(&mut self, open: &Open<P>) {
        let is_call = usize::from(matches!(open.kept, Kept::Parked(_)));
        self.parked = self.parked.saturating_sub(is_call);
        let Some(held) = self.of_member.get_mut(&open.member) else { return };
        held.open = held.open.saturating_sub(1);
        held.parked = held.parked.saturating_sub(is_call);
        if *held == Held::default() {
            self.of_member.remove(&open.member);
        }
    }

    /// The calls that wait, as they are counted and as they are, and the most of one member.
    #[cfg(test)]
    pub fn counts(&self) -> (usize, usize, usize) {
        let are = self.open.values().filter(|open| matches!(open.kept, Kept::Parked(_))).count();
        let most = self.of_member.values().map(|held| held.parked).max().unwrap_or_default();
        (self.parked, are, most)
    }

    /// Whether nothing is open, and nobody counted.
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.open.is_empty() && self.of_member.is_empty() && self.parked == 0
    }
}
