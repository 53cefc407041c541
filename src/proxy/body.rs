//! The body of an answer: a whole one, or a stream that must not look complete when it is not.
//!
//! A whole one is given to hyper piece by piece, so that what it does not take yet is counted
//! (`reply_room`) until it does.
//!
//! Invariant (I7): a stream that breaks ends in an error frame, so hyper leaves an HTTP/1.1 body
//! unterminated and resets an HTTP/2 stream; only [`Feed::end`] ends it cleanly.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::FutureExt;
use http_body::SizeHint;
use http_body_util::BodyExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::reply_room::Held;

/// Events of one stream that may wait for a slow client, beyond what the socket holds.
const STREAM_EVENTS_MAX: usize = 64;
/// Bytes of them (reliability G10c).
const STREAM_BYTES_MAX: u32 = 256 << 10;

/// Bytes that hyper takes at a time: of a whole reply, and of an event.
pub const CHUNK_BYTES_MAX: usize = 64 << 10;

/// What waits in a stream.
#[derive(Debug)]
enum Frame {
    /// An event, and its share of the bytes that may wait; given back when hyper takes the event.
    Data(Bytes, OwnedSemaphorePermit),
    /// The reply is complete.
    End,
}

/// The relay's end of a stream. Dropped before [`Feed::end`], it breaks the stream.
#[derive(Debug)]
pub struct Feed {
    frames: mpsc::Sender<Frame>,
    room: Arc<Semaphore>,
}

/// The client left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gone;

impl Feed {
    /// Hands over an event; waits while the client is slow. A large one goes piece by piece: its rest
    /// waits here, where its call still counts among those in flight.
    ///
    /// # Errors
    /// [`Gone`].
    pub async fn event(&self, mut bytes: Bytes) -> Result<(), Gone> {
        while bytes.len() > CHUNK_BYTES_MAX {
            self.piece(bytes.split_to(CHUNK_BYTES_MAX)).await?;
        }
        self.piece(bytes).await
    }

    async fn piece(&self, bytes: Bytes) -> Result<(), Gone> {
        let share = u32::try_from(bytes.len()).unwrap_or(u32::MAX).min(STREAM_BYTES_MAX);
        let room = tokio::select! {
            room = Arc::clone(&self.room).acquire_many_owned(share) => room.map_err(|_| Gone)?,
            () = self.frames.closed() => return Err(Gone),
        };
        self.frames.send(Frame::Data(bytes, room)).await.map_err(|_| Gone)
    }

    /// Returns when the client has left.
    pub async fn closed(&self) {
        self.frames.closed().await;
    }

    /// Says that the stream is complete, where it is still needed.
    ///
    /// # Errors
    /// [`Gone`].
    pub async fn finish(&self) -> Result<(), Gone> {
        self.frames.send(Frame::End).await.map_err(|_| Gone)
    }

    /// Says that the reply is complete.
    ///
    /// # Errors
    /// [`Gone`].
    pub async fn end(self) -> Result<(), Gone> {
        self.frames.send(Frame::End).await.map_err(|_| Gone)
    }
}

/// A stream that broke before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BrokenStream;

impl fmt::Display for BrokenStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the upstream's stream broke before its end")
    }
}

impl std::error::Error for BrokenStream {}

/// The body of an answer to a client.
#[derive(Debug)]
pub enum Body {
    /// What is left of it, and its share of the room for replies that wait.
    Whole(Option<Bytes>, Option<Held>),
    Stream(Waiting),
    /// What another part of the gate makes piece by piece.
    Made(http_body_util::combinators::UnsyncBoxBody<Bytes, BrokenStream>),
}

/// The events of a stream that wait for the client.
#[derive(Debug)]
pub struct Waiting {
    frames: mpsc::Receiver<Frame>,
    ended: bool,
}

impl Body {
    /// No bytes.
    pub const fn empty() -> Self {
        Self::Whole(None, None)
    }

    /// These bytes.
    pub fn whole(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self::Whole((!bytes.is_empty()).then_some(bytes), None)
    }

    /// The bytes of a body that was made whole elsewhere.
    pub fn of_full(mut full: http_body_util::Full<Bytes>) -> Self {
        let frame = full.frame().now_or_never().flatten();
        Self::whole(frame.and_then(Result::ok).and_then(|frame| frame.into_data().ok()).unwrap_or_default())
    }

    /// A body that another part of the gate makes; its failure breaks the stream.
    pub fn made<B>(body: B) -> Self
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
    {
        Self::Made(body.map_err(|_| BrokenStream).boxed_unsync())
    }

    /// Counts a whole body until hyper has taken the last of it.
    pub(super) fn hold(&mut self, held: Held) {
        if let Self::Whole(_, slot) = self {
            *slot = Some(held);
        }
    }

    /// A stream and what feeds it.
    pub fn stream() -> (Feed, Self) {
        let (sender, frames) = mpsc::channel(STREAM_EVENTS_MAX);
        let room = Arc::new(Semaphore::new(STREAM_BYTES_MAX as usize));
        (Feed { frames: sender, room }, Self::Stream(Waiting { frames, ended: false }))
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BrokenStream;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, BrokenStream>>> {
        match self.get_mut() {
            Self::Whole(rest, held) => Poll::Ready(rest.take().map(|mut bytes| {
                let next = bytes.split_to(bytes.len().min(CHUNK_BYTES_MAX));
                if bytes.is_empty() {
                    *held = None;
                } else {
                    *rest = Some(bytes);
                }
                Ok(http_body::Frame::data(next))
            })),
            Self::Made(body) => Pin::new(body).poll_frame(context),
            Self::Stream(Waiting { ended: true, .. }) => Poll::Ready(None),
            Self::Stream(Waiting { frames, ended }) => frames.poll_recv(context).map(|frame| match frame {
                Some(Frame::Data(bytes, _room)) => Some(Ok(http_body::Frame::data(bytes))),
                Some(Frame::End) => {
                    *ended = true;
                    None
                }
                None => {
                    *ended = true;
                    Some(Err(BrokenStream))
                }
            }),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(rest, _) => rest.is_none(),
            Self::Stream(Waiting { ended, .. }) => *ended,
            Self::Made(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(rest, _) => SizeHint::with_exact(rest.as_ref().map_or(0, |b| b.len() as u64)),
            Self::Stream(_) => SizeHint::default(),
            Self::Made(body) => body.size_hint(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stream_is_complete_only_if_it_was_ended() {
        let (feed, body) = Body::stream();
        feed.event(Bytes::from_static(b"a")).await.unwrap();
        feed.end().await.unwrap();
        assert_eq!(body.collect().await.unwrap().to_bytes(), "a");

        let (feed, body) = Body::stream();
        feed.event(Bytes::from_static(b"a")).await.unwrap();
        drop(feed);
        assert_eq!(body.collect().await.err(), Some(BrokenStream));
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_client_holds_back_a_quarter_of_a_mebibyte_and_no_more() {
        let (feed, mut body) = Body::stream();
        let event = Bytes::from(vec![7; 100 << 10]);
        let wait = std::time::Duration::from_secs(1);
        for _ in 0..2 {
            feed.event(event.clone()).await.unwrap();
        }
        // Of the third event 56 KiB fit no more; one piece of the first makes room for another.
        assert!(tokio::time::timeout(wait, feed.event(event.clone())).await.is_err());
        let mut waiting = 0;
        while let Ok(Some(frame)) = tokio::time::timeout(wait, body.frame()).await {
            waiting += frame.unwrap().into_data().unwrap().len();
        }
        assert!(waiting <= STREAM_BYTES_MAX as usize, "{waiting}");
        feed.event(event.clone()).await.unwrap();
        let huge = Bytes::from(vec![7; 4 << 20]);
        assert!(tokio::time::timeout(wait, feed.event(huge)).await.is_err(), "an event waits piece by piece");
        drop(body);
        assert_eq!(feed.event(event).await, Err(Gone));
    }
}
