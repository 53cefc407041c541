//! Who asks: what a presented member key resolves to.

use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Agent, KeyId, Member, SessionId};

/// A key's holder, for the length of one call. On the data plane only `proxy::identity` makes one,
/// out of a key that it verified; `policy::explain` makes them up for questions.
#[derive(Debug, Clone)]
pub struct Caller {
    pub agent: Arc<Agent>,
    pub member: Arc<Member>,
    pub key: KeyId,
    /// The peer's address, or the one that a trusted proxy vouches for (decision 21).
    pub ip: IpAddr,
    /// The tool session that this call is counted in, once it is known.
    pub session: Option<SessionId>,
}

/// What a client says of itself in `initialize`: informational, never a gate (specification 2).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ClientInfo {
    pub name: String,
    pub version: String,
}
