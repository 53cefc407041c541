//! Goes on with the answer to a `POST` on another connection.
//!
//! Invariants: what the first connection was given after the named place is given again, and then what
//! comes; a reply that broke, or of which something is gone, is cut, never ended in order.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::mailbox::Mailbox;
use super::posts::{Ended, Given, PostStream};
use super::pump::KEEP_ALIVE_EVERY;
use super::room::Seat;
use crate::mcp::sse;
use crate::proxy::body::Feed;
use crate::proxy::snapshot::Live;

/// What is needed to go on.
pub struct Resumed {
    pub post: Arc<PostStream>,
    pub place: u64,
    pub mailbox: Arc<Mailbox>,
    pub feed: Feed,
    pub live: Arc<Live>,
    pub generations: watch::Receiver<u64>,
    pub closing: CancellationToken,
    /// How long a client may take nothing.
    pub wait: Duration,
    pub _seat: Seat,
}

impl Resumed {
    /// Runs until the reply ends.
    pub async fn run(mut self) {
        if self.relay().await {
            let _gone = tokio::time::timeout(self.wait, self.feed.finish()).await;
        }
    }

    /// Whether it ended in order.
    async fn relay(&mut self) -> bool {
        let (post, mut spoke) = (Arc::clone(&self.post), Instant::now());
        let connection = post.take_over();
        loop {
            let arrived = post.arrived();
            match post.after(connection, self.place) {
                Given::Event(event) => {
                    if !self.write(event).await || self.lost_its_right() {
                        return false;
                    }
                    (self.place, spoke) = (self.place.saturating_add(1), Instant::now());
                    continue;
                }
                Given::Ended(Ended::Whole) | Given::Superseded => return true,
                Given::Ended(Ended::Broken) | Given::Missed => return false,
                Given::Nothing => {}
            }
            tokio::select! {
                biased;
                _ = self.generations.changed() => {
                    if self.lost_its_right() {
                        return false;
                    }
                }
                () = self.closing.cancelled() => return false,
                () = self.feed.closed() => return false,
                () = arrived => {}
                () = tokio::time::sleep_until(spoke + KEEP_ALIVE_EVERY) => {
                    if !self.write(Bytes::from_static(sse::KEEP_ALIVE)).await {
                        return false;
                    }
                    spoke = Instant::now();
                }
            }
        }
    }

    /// The caller may not be here any more, or its agent not have the service.
    fn lost_its_right(&self) -> bool {
        self.mailbox.lost_its_right(&self.live)
            || !self.mailbox.caller().agent.services.contains(self.post.service())
    }

    async fn write(&self, event: Bytes) -> bool {
        matches!(tokio::time::timeout(self.wait, self.feed.event(event)).await, Ok(Ok(())))
    }
}
