//! What happened, so that nobody can later say otherwise: an append-only journal of every tool call.
//!
//! Invariants: an intent or a denial is recorded before its caller is told so (P1); a [`Receipt`] is
//! made only for a recorded intent and ends in exactly one completion; sequence numbers are
//! contiguous and every entry is chained to the one before it; what cannot be recorded is refused.
//! The journal is the truth; the store's audit table is an index of it (decision 17).

mod body;
mod chain;
mod checkpoint;
mod checkpointed;
mod disk;
mod facts;
pub mod index;
mod journal;
mod json;
mod receipt;
mod recover;
mod redact;
pub mod replay;
pub mod retention;
mod segment;
mod tail;
#[cfg(test)]
mod testing;
mod verify;
mod writer;

pub use chain::{ChainHash, EntryKind};
pub use facts::{AdministrativeFacts, AdministrativePhase, CallFacts};
pub use journal::{
    CannotRecord, Durability, Journal, JournalConfig, JournalError, JournalStatus, NodeId, Recovery,
};
pub use receipt::Receipt;
pub use redact::{RedactLimits, gaps, is_sensitive_name, redact, secret_shape};
pub use tail::{Entry, Place, Reader, Tail, tail};
pub use verify::{DroppedReport, VerifyFault, VerifyReport, WitnessState, verify};
