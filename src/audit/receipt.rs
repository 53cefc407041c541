//! Proof that a call's intent is recorded.
//!
//! Only a [`Journal`](super::Journal) makes one, for an intent that is recorded as its mode promises;
//! it can be neither copied nor written as a literal, so a function that takes one by value cannot
//! be reached without a record of that very call.
//!
//! No literal:
//! ```compile_fail,E0451
//! fn forge(call: wicket::model::CallId, receipt: wicket::audit::Receipt) -> wicket::audit::Receipt {
//!     wicket::audit::Receipt { call, ..receipt }
//! }
//! ```
//!
//! No copy:
//! ```compile_fail,E0599
//! fn twice(receipt: wicket::audit::Receipt) -> (wicket::audit::Receipt, wicket::audit::Receipt) {
//!     (receipt.clone(), receipt)
//! }
//! ```
//!
//! No way to the maker:
//! ```compile_fail,E0624
//! fn forge(call: wicket::model::CallId) {
//!     let _ = wicket::audit::Receipt::pending(todo!(), call, 1);
//! }
//! ```
//!
//! One end only:
//! ```compile_fail,E0382
//! fn twice(receipt: wicket::audit::Receipt, outcome: wicket::model::Outcome) {
//!     receipt.complete(outcome);
//!     receipt.complete(outcome);
//! }
//! ```

use std::fmt;
use std::sync::Arc;

use super::body::{Completion, CompletionNote};
use super::journal::Shared;
use crate::model::{CallId, Outcome, OutcomeKind, Timestamp};

/// Proof that the intent of one call is recorded, and the duty to say how the call ended. Dropped
/// without [`Receipt::complete`], it records that nobody knows (`unknown`).
#[must_use = "dropping a receipt records that nobody knows how the call ended"]
pub struct Receipt {
    call: CallId,
    intent: u64,
    state: State,
    journal: Arc<Shared>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Written, not yet acknowledged: if it ends here, nothing was sent.
    Pending,
    /// Recorded; the call may leave.
    Recorded,
    /// Its end is recorded, or its intent was cut.
    Ended,
}

impl Receipt {
    /// The call whose intent is recorded.
    pub fn call(&self) -> CallId {
        self.call
    }

    /// The sequence number of the intent in this node's journal.
    pub fn intent_seq(&self) -> u64 {
        self.intent
    }

    /// Records how the call ended.
    pub fn complete(mut self, outcome: Outcome) {
        self.end(outcome, CompletionNote::None);
    }

    pub(super) fn pending(journal: Arc<Shared>, call: CallId, intent: u64) -> Self {
        journal.intent_opened();
        Self { call, intent, state: State::Pending, journal }
    }

    pub(super) fn recorded(mut self) -> Self {
        self.state = State::Recorded;
        self
    }

    /// The intent was cut from the journal: there is nothing to complete.
    pub(super) fn forget(mut self) {
        self.state = State::Ended;
        self.journal.intent_ended();
    }

    fn end(&mut self, outcome: Outcome, note: CompletionNote) {
        self.state = State::Ended;
        self.journal.intent_ended();
        let at = Timestamp::now();
        self.journal.complete(Completion { call: self.call, intent: self.intent, at, outcome, note });
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        let outcome = |kind| Outcome { kind, status: 0, bytes: 0, duration_ms: 0 };
        match self.state {
            State::Ended => {}
            State::Pending => self.end(outcome(OutcomeKind::Unreachable), CompletionNote::NotForwarded),
            State::Recorded => self.end(outcome(OutcomeKind::Unknown), CompletionNote::None),
        }
    }
}

impl fmt::Debug for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Receipt({}, seq {}, {:?})", self.call, self.intent, self.state)
    }
}
