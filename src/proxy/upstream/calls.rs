//! The calls that are under way: how a cancellation finds its call, and how an upstream learns that
//! nobody waits any more.
//!
//! Invariant: a call that ends without its answer after it was sent is cancelled upstream, whatever
//! ended it: the caller, a limit in time, or the drop of its reply.

use std::sync::Arc;
use std::time::Instant;

use dashmap::DashMap;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::UpstreamFailure;
use super::breaker::Slot;
use super::http::{Established, HttpLink};
use super::stdio::StdioLink;
use crate::model::CallId;

/// Bytes of a cancellation's reason that are passed on.
const REASON_CHARS_MAX: usize = 200;

#[derive(Debug, Default)]
struct Handle {
    token: CancellationToken,
    reason: Mutex<Option<String>>,
}

/// All calls under way. Bounded by the `in_flight_max` of the connectors.
#[derive(Debug, Default)]
pub(super) struct Calls(DashMap<CallId, Arc<Handle>>);

impl Calls {
    /// Ends a call. False where there is none of this id.
    pub fn cancel(&self, call: CallId, reason: Option<&str>) -> bool {
        let Some(handle) = self.0.get(&call).map(|entry| Arc::clone(entry.value())) else {
            return false;
        };
        *handle.reason.lock() = reason.map(|text| text.chars().take(REASON_CHARS_MAX).collect());
        handle.token.cancel();
        true
    }

    /// Notes a call for as long as the guard lives.
    pub fn enter(self: &Arc<Self>, call: CallId, slot: Slot) -> CallGuard {
        let handle = Arc::new(Handle::default());
        self.0.insert(call, Arc::clone(&handle));
        CallGuard { calls: Arc::clone(self), call, handle, slot, sent_to: None }
    }
}

/// Where a call was sent, to be told if nobody waits for its answer any more.
#[derive(Debug)]
pub(super) enum SentTo {
    Http { link: Arc<HttpLink>, session: Arc<Established>, upstream_id: u64 },
    Stdio { link: Arc<StdioLink>, upstream_id: u64 },
}

/// One call under way; holds its place in flight.
#[derive(Debug)]
pub(super) struct CallGuard {
    calls: Arc<Calls>,
    call: CallId,
    handle: Arc<Handle>,
    slot: Slot,
    sent_to: Option<SentTo>,
}

impl CallGuard {
    /// Says when the caller changes its mind.
    pub fn token(&self) -> CancellationToken {
        self.handle.token.clone()
    }

    /// The call may have reached the upstream.
    pub fn sent(&mut self, to: SentTo) {
        self.sent_to = Some(to);
    }

    /// The upstream gave a sign of life.
    pub fn alive(&mut self) {
        self.slot.succeeded();
    }

    /// The call failed. Gives the failure back.
    pub fn failed(&mut self, failure: UpstreamFailure) -> UpstreamFailure {
        let opened = self.slot.failed(&failure, Instant::now());
        // A process that was silent too often is replaced; a server is only left alone for a while.
        if opened && let Some(SentTo::Stdio { link, .. }) = &self.sent_to {
            link.recycle();
        }
        failure
    }

    /// The answer has come, or the upstream is gone: nobody is to be told.
    pub fn settled(&mut self) {
        self.sent_to = None;
    }
}

impl Drop for CallGuard {
    fn drop(&mut self) {
        self.calls.0.remove(&self.call);
        let reason = self.handle.reason.lock().take();
        match self.sent_to.take() {
            Some(SentTo::Http { link, session, upstream_id }) => link.cancel(&session, upstream_id, reason),
            Some(SentTo::Stdio { link, upstream_id }) => link.cancel(upstream_id, reason),
            None => {}
        }
    }
}
