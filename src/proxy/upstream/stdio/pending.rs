//! One call's way through a child process: queued, then sent or withdrawn, then answered.
//!
//! Invariants: a call is either sent or withdrawn, decided by one atomic step, so that "nothing was
//! sent" is never said of a line that leaves later; what waits for a slow reader is bounded in
//! number and bytes, and beyond that the call ends, not the process.

use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use tokio::sync::mpsc;

use crate::mcp::FromUpstream;
use crate::proxy::upstream::UpstreamFailure;

/// Messages of one call that may wait for its reader.
const EVENTS_MAX: usize = 64;

const QUEUED: u8 = 0;
const SENT: u8 = 1;
const WITHDRAWN: u8 = 2;

#[derive(Debug)]
struct Shared {
    stage: AtomicU8,
    failure: OnceLock<UpstreamFailure>,
    held_bytes: AtomicUsize,
    held_bytes_max: usize,
}

/// The child's side of a call.
#[derive(Debug)]
pub struct Pending {
    events: mpsc::Sender<(FromUpstream, usize)>,
    shared: Arc<Shared>,
    of_client: bool,
}

/// The caller's side.
#[derive(Debug)]
pub struct Awaited {
    events: mpsc::Receiver<(FromUpstream, usize)>,
    shared: Arc<Shared>,
}

/// Both sides of a call, of a client or of the gate itself, of which at most `held_bytes_max` bytes may
/// wait to be read.
pub fn pair(held_bytes_max: usize, of_client: bool) -> (Pending, Awaited) {
    let (sender, receiver) = mpsc::channel(EVENTS_MAX);
    let shared = Arc::new(Shared {
        stage: AtomicU8::new(QUEUED),
        failure: OnceLock::new(),
        held_bytes: AtomicUsize::new(0),
        held_bytes_max,
    });
    (Pending { events: sender, shared: Arc::clone(&shared), of_client }, Awaited { events: receiver, shared })
}

impl Pending {
    /// Whether there is a client that could be asked something.
    pub const fn is_of_client(&self) -> bool {
        self.of_client
    }

    /// Claims the right to write the call. False if its caller gave it up before.
    pub fn claim(&self) -> bool {
        self.shared.stage.compare_exchange(QUEUED, SENT, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Hands a message over. False if the call is over: its reader is gone or too slow.
    pub fn deliver(&self, message: FromUpstream, bytes: usize) -> bool {
        let held = self.shared.held_bytes.fetch_add(bytes, Ordering::AcqRel).saturating_add(bytes);
        if held > self.shared.held_bytes_max {
            self.fail(UpstreamFailure::broken("its events came faster than the caller reads them"));
            return false;
        }
        match self.events.try_send((message, bytes)) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Full(_)) => {
                self.fail(UpstreamFailure::broken("its events came faster than the caller reads them"));
                false
            }
            Err(mpsc::error::TrySendError::Closed(_)) => false,
        }
    }

    /// Why the call ends without an answer; seen by the reader after what was delivered before.
    pub fn fail(&self, failure: UpstreamFailure) {
        // Only the first reason counts.
        let _already = self.shared.failure.set(failure);
    }
}

impl Awaited {
    /// The next message; the failure once there is none.
    ///
    /// # Errors
    /// Why the call has no answer.
    pub async fn next(&mut self) -> Result<FromUpstream, UpstreamFailure> {
        match self.events.recv().await {
            Some((message, bytes)) => {
                self.shared.held_bytes.fetch_sub(bytes, Ordering::AcqRel);
                Ok(message)
            }
            None => Err(self
                .shared
                .failure
                .get()
                .cloned()
                .unwrap_or_else(|| UpstreamFailure::broken("the process ended before it answered"))),
        }
    }

    /// Gives the call up if it was not sent yet. True if certainly nothing was and will be sent.
    pub fn withdraw(&self) -> bool {
        let stage = &self.shared.stage;
        match stage.compare_exchange(QUEUED, WITHDRAWN, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => true,
            Err(stage) => stage == WITHDRAWN,
        }
    }
}
