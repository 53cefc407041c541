//! The body of an answer: a whole one, or a stream that must not look complete when it is not.
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

/// Events of one stream that may wait for a slow client, beyond what the socket holds.
const STREAM_EVENTS_MAX: usize = 64;
/// Bytes of them (reliability G10c); one event that is larger waits alone.
const STREAM_BYTES_MAX: u32 = 256 << 10;

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
    /// Hands over an event; waits while the client is slow.
    ///
    /// # Errors
    /// [`Gone`].
    pub async fn event(&self, bytes: Bytes) -> Result<(), Gone> {
        let share = u32::try_from(bytes.len()).unwrap_or(u32::MAX).min(STREAM_BYTES_MAX);
        let room = tokio::select! {
            room = Arc::clone(&self.room).acquire_many_owned(share) => room.map_err(|_| Gone)?,
            () = self.frames.closed() => return Err(Gone),
        };
        self.frames.send(Frame::Data(bytes, room)).await.map_err(|_| Gone)
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
    Whole(Option<Bytes>),
    Stream(Waiting),
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
        Self::Whole(None)
    }

    /// These bytes.
    pub fn whole(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self::Whole((!bytes.is_empty()).then_some(bytes))
    }

    /// The bytes of a body that was made whole elsewhere.
    pub fn of_full(mut full: http_body_util::Full<Bytes>) -> Self {
        let frame = full.frame().now_or_never().flatten();
        Self::Whole(frame.and_then(Result::ok).and_then(|frame| frame.into_data().ok()))
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
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(http_body::Frame::data(bytes)))),
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
            Self::Whole(bytes) => bytes.is_none(),
            Self::Stream(Waiting { ended, .. }) => *ended,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64)),
            Self::Stream(_) => SizeHint::default(),
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
        assert!(tokio::time::timeout(wait, feed.event(event.clone())).await.is_err());
        body.frame().await.unwrap().unwrap();
        feed.event(event.clone()).await.unwrap();
        drop(body);
        assert_eq!(feed.event(event).await, Err(Gone));
    }
}
