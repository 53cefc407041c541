//! How much memory replies may take that were read whole from their upstream and wait for their clients.
//!
//! A reply's slot is given back when the upstream is done, so a client that reads nothing holds memory and
//! no slot. Invariants: replies larger than what hyper takes at a time count from when they are handed over
//! until hyper has taken the last of them, the connection broken, or the client cut; together they never
//! exceed the limit: one more is dropped, and its client told so.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http::Response;

use super::body::{Body, CHUNK_BYTES_MAX};
use super::refusal::json;
use crate::telemetry;

/// The room for replies that wait.
#[derive(Debug)]
pub struct ReplyRoom {
    bytes: AtomicU64,
    bytes_max: u64,
}

/// One reply's share, given back when dropped.
#[derive(Debug)]
pub struct Held {
    room: Arc<ReplyRoom>,
    bytes: u64,
}

/// Too many large replies wait already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoRoom;

impl ReplyRoom {
    /// Room for so many bytes.
    pub fn new(bytes_max: u64) -> Arc<Self> {
        Arc::new(Self { bytes: AtomicU64::new(0), bytes_max })
    }

    /// The answer with this whole body.
    ///
    /// # Errors
    /// [`NoRoom`]: the body is dropped.
    pub fn answer(self: &Arc<Self>, body: Bytes) -> Result<Response<Body>, NoRoom> {
        // What hyper takes at once waits with the connection, whose number is limited.
        if body.len() <= CHUNK_BYTES_MAX {
            return Ok(json(200, body));
        }
        let held = self.hold(body.len() as u64).ok_or(NoRoom)?;
        let mut answer = json(200, body);
        answer.body_mut().hold(held);
        Ok(answer)
    }

    /// A share of so many bytes; nothing where there is no room.
    pub fn hold(self: &Arc<Self>, bytes: u64) -> Option<Held> {
        let with = |held: u64| held.checked_add(bytes).filter(|sum| *sum <= self.bytes_max);
        let before = self.bytes.fetch_update(Ordering::AcqRel, Ordering::Acquire, with).ok()?;
        telemetry::reply_bytes_waiting(before.saturating_add(bytes));
        Some(Held { room: Arc::clone(self), bytes })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let before = self.room.bytes.fetch_sub(self.bytes, Ordering::AcqRel);
        telemetry::reply_bytes_waiting(before.saturating_sub(self.bytes));
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn large_replies_share_the_room_until_they_are_taken() {
        let room = ReplyRoom::new(300 << 10);
        let large = Bytes::from(vec![7; 200 << 10]);
        let mut first = room.answer(large.clone()).unwrap().into_body();
        assert_eq!(room.answer(large.clone()).err(), Some(NoRoom));
        // Small ones never count.
        let small: Vec<_> =
            (0..10).map(|_| room.answer(Bytes::from(vec![7; CHUNK_BYTES_MAX])).unwrap()).collect();
        assert_eq!(small.len(), 10);

        let mut taken = Vec::new();
        while let Some(frame) = first.frame().await {
            let data = frame.unwrap().into_data().unwrap();
            assert!(data.len() <= CHUNK_BYTES_MAX);
            taken.extend_from_slice(&data);
        }
        assert_eq!(taken, large);
        let second = room.answer(large.clone()).unwrap();
        assert!(room.answer(large.clone()).is_err());
        // The client left.
        drop(second);
        assert!(room.answer(large).is_ok());
    }
}
