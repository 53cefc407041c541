//! The data plane: a request comes in on a listener, is admitted, identified, read, decided and
//! recorded, and only then sent upstream. `exchange` is the life of one call, in order.
//!
//! Invariants: an upstream is reached only through `upstream::Upstreams::send`, which takes a
//! `policy::Permit` and an `audit::Receipt` of the same call; one snapshot is loaded once per
//! request; every refusal leaves through `refusal`.

pub mod admission;
mod asking;
pub mod body;
mod call_id;
mod clear;
mod decide;
mod downstream;
mod exchange;
mod gate;
mod head;
mod identity;
mod in_flight;
mod inprocess;
mod lasting;
mod level;
pub mod listener;
mod lists;
mod mirror;
mod protocol;
mod read;
mod record;
mod refusal;
mod relay;
mod reply_room;
mod resolve;
mod rounds;
pub mod snapshot;
mod streams;
pub mod upstream;

#[cfg(test)]
pub(crate) use decide::{Decided, Resolved, decide};
pub use gate::{Gate, GateLimits, GateParts};
pub use head::caller_ip;
pub use inprocess::Itself;
pub use lists::{Lists, Presentation, ToolLists};
pub use rounds::RoundLimits;
pub use snapshot::{Directory, Live, Snapshot};
pub use streams::{Streams, Whose};
