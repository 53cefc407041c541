//! May they? One immutable [`Bundle`] of policies and connectors answers every question, and only
//! its answer can open the door.
//!
//! Invariants: a [`Permit`] is made nowhere but in `permit.rs`, out of a decision that allows; a
//! bundle exists whole and strictly validated, or not at all; every evaluation error of a candidate
//! policy denies (decision 7); an empty set denies.

mod argument;
mod bundle;
mod cache;
pub mod cases;
mod clock;
mod engine;
pub mod explain;
mod extension;
mod finding;
#[cfg(test)]
pub(crate) mod fixtures;
mod index;
mod lesson;
mod limits;
mod needs;
#[cfg(any(test, feature = "fuzzing"))]
pub mod oracle;
mod outlook;
mod permit;
mod preview;
pub mod prove;
mod question;
mod raw;
mod reads;
mod scenario;
mod schema;
#[cfg(test)]
mod shipped;
pub mod simulate;
mod slice;
mod source;
mod strip;
pub mod structured;
mod world;

pub use bundle::{AgentSet, Asked, BrokenPolicy, Bundle, Instead};
pub use explain::{Explanation, explain};
pub use finding::{Finding, FindingCode, Severity};
pub use limits::CounterLimit;
pub use needs::Needs;
pub use outlook::{Edge, Survey};
pub use permit::{Denial, Permit, Verdict};
pub use preview::{Preview, Surroundings, Touched};
pub use question::{Effect, PolicyInfo, Question, Sources};
pub use raw::{POLICY_TEXT_BYTES_MAX, RawCedar, annotated, unannotated};
pub use scenario::Scenario;
pub use slice::Prospect;
pub use world::Moment;
