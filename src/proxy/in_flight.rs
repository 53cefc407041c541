//! Which calls are under way, so that a client can cancel one by the id it gave it.
//!
//! Bounded by the number of requests in flight: an entry lives as long as its [`Entry`].

use std::sync::Arc;

use dashmap::DashMap;

use crate::mcp::RequestId;
use crate::model::{CallId, Digest, MemberId};

/// A call as its client names it: ids are the client's, so they count within one member and one
/// MCP session only.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ClientCall {
    pub member: MemberId,
    /// Digest of the `Mcp-Session-Id`, where the client uses one.
    pub mcp_session: Option<Digest>,
    pub request: RequestId,
}

/// The calls under way.
#[derive(Debug, Clone, Default)]
pub struct InFlight {
    calls: Arc<DashMap<ClientCall, CallId>>,
}

/// One call under way; it is forgotten when this is dropped.
#[derive(Debug)]
pub struct Entry {
    calls: Arc<DashMap<ClientCall, CallId>>,
    name: ClientCall,
    call: CallId,
}

impl InFlight {
    /// Remembers a call. A second one under the same id takes the name over.
    pub fn enter(&self, name: ClientCall, call: CallId) -> Entry {
        self.calls.insert(name.clone(), call);
        Entry { calls: Arc::clone(&self.calls), name, call }
    }

    /// The call that the client means.
    pub fn find(&self, name: &ClientCall) -> Option<CallId> {
        self.calls.get(name).map(|call| *call)
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let call = self.call;
        self.calls.remove_if(&self.name, |_, current| *current == call);
    }
}
