//! Empties one mailbox into one open stream.
//!
//! Invariants: a caller whose key is revoked, whose agent is disabled or whose membership is taken back
//! gets nothing more but the word that its stream is torn down, and is cut; a client that takes nothing for too long is
//! as one that left; a stream that ends in order says so, and only that one; each `subscriptions/listen` that the gate
//! ends is told to be torn down first (MCP 2026-07-28, cancellation), then answered.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::mailbox::{Mailbox, Next};
use super::room::Seat;
use super::sight::{LOOK_EVERY, ToolSight};
use crate::mcp::{Primitive, Told, listen_result, listen_torn_down, listen_withdrawn, sse};
use crate::proxy::body::Feed;
use crate::proxy::snapshot::Live;

/// How often an idle stream says that it is there.
pub const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(15);

/// Why a stream is torn down.
const STOPS: &str = "the gate stops";
const WITHDRAWN: &str = "some of it is not told of any more";
const LOST: &str = "the key is not good for it any more";
/// How long the last word of a stream that is cut has to leave.
const LEAVES_MAX: Duration = Duration::from_millis(100);

/// What a stream needs.
pub struct Pump {
    pub mailbox: Arc<Mailbox>,
    /// Its number among the streams of the mailbox, and the place from which it goes on.
    pub stream: u64,
    pub place: u64,
    pub feed: Feed,
    pub live: Arc<Live>,
    pub generations: watch::Receiver<u64>,
    pub closing: CancellationToken,
    /// How long a client may take nothing.
    pub wait: Duration,
    /// What its client saw of the tools.
    pub sight: ToolSight,
    /// Held while the stream is open.
    pub _seat: Seat,
}

/// How a stream ends.
enum End {
    /// In order: another took over, the session is over, or the gate stops.
    InOrder,
    /// Something that the client asked for is not told any more: of these resources.
    Withdrawn(Vec<Arc<str>>),
    /// The client lost its right.
    Cut,
    /// The client left.
    Left,
}

impl Drop for Pump {
    fn drop(&mut self) {
        self.mailbox.closed(self.stream);
    }
}

impl Pump {
    /// The same, after this event.
    pub async fn run_after(self, first: Bytes) {
        if self.write(first).await {
            self.run().await;
        }
    }

    /// Runs until the stream ends.
    pub async fn run(mut self) {
        let end = self.empty().await;
        let last_words = match (&self.mailbox.subscription, &end) {
            (_, End::Left) => return,
            (None, _) => Vec::new(),
            (Some(id), End::InOrder) => vec![listen_torn_down(id, STOPS), listen_result(id)],
            (Some(id), End::Withdrawn(uris)) => {
                vec![listen_torn_down(id, WITHDRAWN), listen_withdrawn(id, uris)]
            }
            (Some(id), End::Cut) => vec![listen_torn_down(id, LOST)],
        };
        for words in last_words {
            let event = sse::encode(&sse::Event::of_data(words));
            let _gone = tokio::time::timeout(self.wait, self.feed.event(event)).await;
        }
        if matches!(end, End::Cut) {
            // Without an end, so that nobody takes it for whole; but not before the word has left.
            return drop(tokio::time::timeout(LEAVES_MAX, self.feed.closed()).await);
        }
        let _gone = tokio::time::timeout(self.wait, self.feed.finish()).await;
    }

    async fn empty(&mut self) -> End {
        let mailbox = Arc::clone(&self.mailbox);
        let mut spoke = Instant::now();
        let (looks, mut look_at) = (mailbox.wants(Primitive::Tools), Instant::now());
        loop {
            // Before the look, so that nothing arrives in between unseen.
            let arrived = mailbox.arrived();
            match mailbox.next(self.stream, self.place) {
                Next::Event(place, told) => {
                    if !self.say(Some(place), &told).await {
                        return End::Left;
                    }
                    (self.place, spoke) = (place, Instant::now());
                    if self.mailbox.lost_its_right(&self.live) {
                        return End::Cut;
                    }
                    continue;
                }
                Next::Anew(place, all) => {
                    for told in &all {
                        if !self.say(Some(place), told).await {
                            return End::Left;
                        }
                    }
                    (self.place, spoke) = (place, Instant::now());
                    continue;
                }
                Next::Superseded | Next::Ended => return End::InOrder,
                Next::Withdrawn(uris) => return End::Withdrawn(uris),
                Next::Nothing => {}
            }
            let due = spoke + KEEP_ALIVE_EVERY;
            tokio::select! {
                biased;
                _ = self.generations.changed() => {
                    if self.mailbox.lost_its_right(&self.live) {
                        return End::Cut;
                    }
                }
                () = self.closing.cancelled() => return End::InOrder,
                () = self.feed.closed() => return End::Left,
                () = arrived => {}
                () = tokio::time::sleep_until(look_at), if looks => {
                    if self.sight.has_changed(&mailbox, &self.live).await {
                        mailbox.list_changed(Primitive::Tools);
                    }
                    look_at = Instant::now() + LOOK_EVERY;
                }
                () = tokio::time::sleep_until(due) => {
                    if !self.write(Bytes::from_static(sse::KEEP_ALIVE)).await {
                        return End::Left;
                    }
                    spoke = Instant::now();
                }
            }
        }
    }

    async fn say(&self, place: Option<u64>, told: &Told) -> bool {
        let subscription = self.mailbox.subscription.as_ref();
        // The stateless era knows no ids of events (MCP 2026-07-28, streamable HTTP).
        let id = place.filter(|_| subscription.is_none()).map(|place| event_id(self.mailbox.nonce, place));
        let event = sse::Event { id, ..sse::Event::of_data(told.message(subscription)) };
        self.write(sse::encode(&event)).await
    }

    async fn write(&self, event: Bytes) -> bool {
        matches!(tokio::time::timeout(self.wait, self.feed.event(event)).await, Ok(Ok(())))
    }
}

/// The id of the event at this place of the unasked messages of a session.
pub fn event_id(nonce: u32, place: u64) -> String {
    format!("u-{nonce:08x}-{place}")
}

/// The place that an id names; nothing where it is of another life or another stream.
pub fn place_of(nonce: u32, id: &str) -> Option<u64> {
    id.strip_prefix(&format!("u-{nonce:08x}-"))?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_events_id_leads_back_to_its_place() {
        assert_eq!(place_of(7, &event_id(7, 12)), Some(12));
        for other in [event_id(8, 12), "u-00000007-x".to_owned(), "12".to_owned(), String::new()] {
            assert_eq!(place_of(7, &other), None, "{other}");
        }
    }
}
