//! `wicket bench`: a load on one's own gate, or on any MCP server over HTTP. The generator beneath is
//! also the one of `make bench`.
//!
//! Invariant: the key is neither printed nor logged, and can be given without standing in the list of
//! processes.

mod busy;
pub mod load;
pub mod peer;
pub mod plan;
pub mod tally;
pub mod verdict;
