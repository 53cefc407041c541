//! Streams that answer a `POST` of the session era, kept so that a client whose connection broke goes on
//! with `Last-Event-ID` (MCP 2025-11-25, resumability; SEP-1699).
//!
//! Invariants: bounded in streams of a session, events and bytes; what fell out is not made up: then the
//! stream cannot be resumed and the client is told so by an empty end; one connection at a time is given
//! the messages; a reply that broke never looks complete, however often it is resumed.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::room::Share;
use crate::mcp::sse;
use crate::model::ServiceKey;

/// Streams of one session that are kept.
const STREAMS_MAX: usize = 16;
/// Events that are kept of one stream.
const EVENTS_MAX: usize = 256;
/// Bytes of them.
const BYTES_MAX: usize = 256 * 1024;
/// A reply that ended so long ago is forgotten: its client does not come back.
const KEPT_MAX: Duration = Duration::from_secs(120);
/// How long a client is asked to wait before it comes back, in milliseconds.
pub const RETRY_MS: u64 = 1_000;

#[derive(Debug, Default)]
struct Kept {
    /// From the first that is still kept, with the number of the first.
    events: VecDeque<Bytes>,
    first: u64,
    bytes: usize,
    /// Which connection is given the messages: 0 is that of the `POST`.
    connection: u64,
    end: Option<(Ended, Instant)>,
}

/// How a reply ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    Whole,
    Broken,
}

/// One stream.
#[derive(Debug)]
pub struct PostStream {
    name: String,
    /// Whose reply it is.
    service: ServiceKey,
    kept: Mutex<Kept>,
    arrived: Notify,
    room: Share,
}

/// What a connection is given next.
#[derive(Debug, PartialEq, Eq)]
pub enum Given {
    Event(Bytes),
    Nothing,
    Ended(Ended),
    /// Messages after this place are gone.
    Missed,
    /// Another connection took over.
    Superseded,
}

/// The kept streams of one session.
#[derive(Debug, Default)]
pub struct Posts {
    streams: Mutex<(u64, VecDeque<Arc<PostStream>>)>,
}

impl Posts {
    /// One more stream of the session whose mailbox has this nonce. The oldest goes where there are too
    /// many.
    pub fn begin(&self, nonce: u32, service: ServiceKey, room: Share) -> Arc<PostStream> {
        let mut streams = self.streams.lock();
        streams.0 += 1;
        let name = format!("p{}-{nonce:08x}-", streams.0);
        let kept = Kept { first: 1, ..Kept::default() };
        let (kept, arrived) = (Mutex::new(kept), Notify::new());
        let stream = Arc::new(PostStream { name, service, kept, arrived, room });
        streams.1.push_back(Arc::clone(&stream));
        if streams.1.len() > STREAMS_MAX {
            streams.1.pop_front();
        }
        stream
    }

    /// Forgets what ended long ago.
    pub fn sweep(&self, now: Instant) {
        let is_old = |ended: &(Ended, Instant)| now.duration_since(ended.1) >= KEPT_MAX;
        self.streams.lock().1.retain(|stream| !stream.kept.lock().end.as_ref().is_some_and(is_old));
    }

    /// Whether none is under way, nor kept for a client that comes back.
    pub fn are_none(&self) -> bool {
        self.streams.lock().1.is_empty()
    }

    /// The stream that an id belongs to, and the place in it.
    pub fn find(&self, id: &str) -> Option<(Arc<PostStream>, u64)> {
        let streams = self.streams.lock();
        streams.1.iter().find_map(|stream| {
            let place = id.strip_prefix(stream.name.as_str())?.parse().ok()?;
            Some((Arc::clone(stream), place))
        })
    }
}

impl Drop for PostStream {
    fn drop(&mut self) {
        self.room.give_back(i64::try_from(self.kept.get_mut().bytes).unwrap_or(0));
    }
}

impl PostStream {
    /// Whose reply it is: it is for those who have this service.
    pub const fn service(&self) -> &ServiceKey {
        &self.service
    }

    /// The first event: an id to come back with, and how soon.
    pub fn prime(&self) -> Bytes {
        let id = Some(format!("{}0", self.name));
        sse::encode(&sse::Event { id, retry: Some(RETRY_MS), ..sse::Event::default() })
    }

    /// Keeps a message; gives it as an event under its id.
    pub fn push(&self, message: &str) -> Bytes {
        let mut kept = self.kept.lock();
        let place = kept.first + kept.events.len() as u64;
        let id = Some(format!("{}{place}", self.name));
        let event = sse::encode(&sse::Event { id, ..sse::Event::of_data(message) });
        let (before, length) = (kept.bytes, event.len());
        kept.events.push_back(event.clone());
        kept.bytes += length;
        while kept.events.len() > EVENTS_MAX || kept.bytes > BYTES_MAX {
            kept.drop_oldest();
        }
        let grown = i64::try_from(kept.bytes).unwrap_or(0) - i64::try_from(before).unwrap_or(0);
        if !self.room.take(grown) {
            let freed = kept.bytes;
            while !kept.events.is_empty() {
                kept.drop_oldest();
            }
            self.room.give_back(i64::try_from(freed).unwrap_or(0));
        }
        drop(kept);
        self.arrived.notify_waiters();
        event
    }

    /// The reply is over.
    pub fn end(&self, ended: Ended) {
        self.kept.lock().end.get_or_insert_with(|| (ended, Instant::now()));
        self.arrived.notify_waiters();
    }

    /// Another connection takes over; its number.
    pub fn take_over(&self) -> u64 {
        let mut kept = self.kept.lock();
        kept.connection += 1;
        let connection = kept.connection;
        drop(kept);
        self.arrived.notify_waiters();
        connection
    }

    /// Whether this connection is still the one that is given the messages.
    pub fn is_of(&self, connection: u64) -> bool {
        self.kept.lock().connection == connection
    }

    /// Resolves when something may have arrived since this was called.
    pub fn arrived(&self) -> tokio::sync::futures::Notified<'_> {
        self.arrived.notified()
    }

    /// What this connection is given after this place.
    pub fn after(&self, connection: u64, place: u64) -> Given {
        let kept = self.kept.lock();
        if kept.connection != connection {
            return Given::Superseded;
        }
        let next = place.saturating_add(1);
        if next < kept.first {
            return Given::Missed;
        }
        let index = usize::try_from(next - kept.first).unwrap_or(usize::MAX);
        match (kept.events.get(index), kept.end) {
            (Some(event), _) => Given::Event(event.clone()),
            (None, Some((ended, _))) => Given::Ended(ended),
            (None, None) => Given::Nothing,
        }
    }
}

impl Kept {
    fn drop_oldest(&mut self) {
        if let Some(event) = self.events.pop_front() {
            self.bytes -= event.len();
            self.first += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::room::Room;
    use super::*;
    use crate::model::{MemberId, Timestamp};

    fn begin(posts: &Posts) -> Arc<PostStream> {
        let member = MemberId::mint(Timestamp::from_millis(1), [7; 10]);
        posts.begin(7, ServiceKey::parse("s").unwrap(), Room::default().of(member))
    }

    fn id_of(event: &Bytes) -> String {
        let text = std::str::from_utf8(event).unwrap();
        text.lines().find_map(|line| line.strip_prefix("id: ")).unwrap().to_owned()
    }

    #[test]
    fn a_stream_goes_on_where_its_id_says() {
        let posts = Posts::default();
        let stream = begin(&posts);
        let (prime, first, second) = (stream.prime(), stream.push("{\"a\":1}"), stream.push("{\"b\":2}"));
        let (found, place) = posts.find(&id_of(&prime)).unwrap();
        assert_eq!(place, 0);
        let connection = found.take_over();
        assert!(!stream.is_of(0) && stream.is_of(connection));
        assert_eq!(found.after(0, 0), Given::Superseded);
        assert_eq!(found.after(connection, 0), Given::Event(first.clone()));
        assert_eq!(posts.find(&id_of(&first)).unwrap().1, 1);
        assert_eq!(found.after(connection, 1), Given::Event(second));
        assert_eq!(found.after(connection, 2), Given::Nothing);
        stream.end(Ended::Broken);
        stream.end(Ended::Whole);
        posts.sweep(Instant::now());
        assert!(posts.find(&id_of(&first)).is_some());
        assert_eq!(found.after(connection, 2), Given::Ended(Ended::Broken));
        posts.sweep(Instant::now() + KEPT_MAX);
        assert!(posts.find(&id_of(&first)).is_none());
        begin(&posts);
        for other in ["p1-00000008-1", "p3-00000007-1", "u-00000007-1", "p1-00000007-x"] {
            assert!(posts.find(other).is_none(), "{other}");
        }
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let posts = Posts::default();
        let stream = begin(&posts);
        for n in 0..EVENTS_MAX + 1 {
            stream.push(&n.to_string());
        }
        assert_eq!(stream.after(0, 0), Given::Missed);
        assert!(matches!(stream.after(0, 1), Given::Event(_)));
        stream.push(&"x".repeat(BYTES_MAX + 1));
        assert_eq!(stream.kept.lock().bytes, 0);
        for _ in 0..STREAMS_MAX {
            begin(&posts);
        }
        assert!(posts.find("p1-00000007-1").is_none(), "the oldest went");
        assert_eq!(posts.streams.lock().1.len(), STREAMS_MAX);
    }
}
