//! The control plane: everything an operator can change or ask, in one place, whoever asks.
//!
//! [`Admin`] performs every administrative operation. The REST API ([`api`]) asks it for accounts, over
//! HTTP. The command line reaches it through the 0600
//! socket of a running gate ([`socket`]) or, with the gate stopped, makes one itself over the store
//! under the data directory's lock ([`lock`]); the code is the same both ways, and [`Live`] is the
//! seam between the two. Invariants: a change is in the journal before it is acknowledged, and an
//! acknowledged change holds for the gate's next call.

pub mod admin;
pub mod api;
pub mod delivery;
pub mod fault;
pub mod health;
pub mod live;
pub mod lock;
pub mod node;
pub mod operator;
pub mod policies;
pub mod reply;
pub mod request;
pub mod secrets;
pub mod simulate;
pub mod socket;
pub mod status;
pub mod stopped;

pub use admin::Admin;
pub use fault::{AdminFault, FaultKind};
pub use live::{Change, Live, Phase};
pub use operator::Operator;
pub use reply::AdminReply;
pub use request::AdminRequest;
pub use stopped::Stopped;
