//! Whether the tools that a client sees are others than when it was last looked: a file, the directory, an
//! upstream, a counter or the clock may have changed them, and not all of these say so.
//!
//! Invariants: nothing is opened or counted by looking; a slow upstream holds the stream back a second at
//! most.

use std::sync::Arc;
use std::time::Duration;

use super::mailbox::Mailbox;
use crate::model::{Digest, Timestamp};
use crate::policy::Needs;
use crate::proxy::lists::{Lists, Viewer};
use crate::proxy::snapshot::Live;
use crate::proxy::upstream::Upstreams;

/// How often it is looked.
pub const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How long a look may take.
const LOOK_MAX: Duration = Duration::from_secs(1);

/// What was seen last.
pub struct ToolSight {
    lists: Arc<Lists>,
    upstreams: Arc<Upstreams>,
    last: Option<Digest>,
}

impl ToolSight {
    /// Nothing seen yet.
    pub const fn new(lists: Arc<Lists>, upstreams: Arc<Upstreams>) -> Self {
        Self { lists, upstreams, last: None }
    }

    /// Looks. True where it was looked before and something else was seen.
    pub async fn has_changed(&mut self, mailbox: &Mailbox, live: &Live) -> bool {
        let session = mailbox.session();
        let (caller, now) = (mailbox.caller(), Timestamp::now());
        let bundle = Arc::clone(live.load().bundle_for(&caller.agent.id));
        let counters = |needs: &Needs| session.read(&needs.session, &needs.member, now).0;
        let viewer = Viewer { bundle: &bundle, caller: &caller, counters: &counters, now };
        let seen = tokio::time::timeout(LOOK_MAX, self.lists.of(&self.upstreams, &viewer)).await;
        let Ok((_, sight)) = seen else { return false };
        let before = self.last.replace(sight.digest);
        before.is_some_and(|before| before != sight.digest)
    }
}
