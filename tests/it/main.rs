//! The promises, a file each, shown against the real gate over real sockets.
//!
//! Whether something was forwarded is never read from the gate's own log: the upstream's file of
//! what it received decides (`upstream.rs`). `docs/testing.md` says which promise is where.
#![expect(
    clippy::large_futures,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test that meets the unexpected should stop there and say where"
)]

mod accept;
mod accounts;
mod api_agents;
mod api_audit;
mod api_authority;
mod api_changes;
mod api_contract;
mod api_findings;
mod api_fuzz;
mod api_invites;
mod api_live;
mod api_members;
mod api_policies;
mod api_revoke;
mod api_sessions;
mod api_stats;
mod audited;
mod bench;
mod bodies;
mod clients;
mod conformance;
mod connect;
mod connections;
mod control_api;
mod credentials;
mod drain;
mod errors;
mod floors;
mod harness;
mod isolation;
mod journal;
mod kill;
mod limits;
mod lists;
mod malformed;
mod neighbours;
mod prove;
mod recorder;
mod reload;
mod restart;
mod revoke;
mod rounds;
mod scale;
mod servers;
mod sign_in;
mod silenced;
mod simulate;
mod sink_fails;
mod slow;
mod smuggling;
mod stored;
mod streaming;
mod streams;
mod taken_back;
mod tls;
mod tokens;
mod two_gates;
mod unheard;
mod visible;
mod words;
