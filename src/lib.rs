//! Wicket: the gate between AI agents and the systems they act on through MCP tool calls.
//!
//! The modules stand in floors; a module uses lower floors and its own children, and a sibling
//! only where `tests/it/floors.rs` lists it. `ARCHITECTURE.md` draws the life of one call.

// F0: the nouns, and the only place where a metric is named.
pub mod model;
pub mod telemetry;

// F1: pure cores. No I/O, no tokio; time and randomness are arguments.
pub mod connector;
pub mod keys;
pub mod mcp;
pub mod policy;

// F2: durability.
pub mod audit;
pub mod session;
pub mod store;

// F3: the data plane.
pub mod proxy;

// F4: the control plane.
pub mod control;

// F5: composition.
pub mod app;
pub mod cli;
