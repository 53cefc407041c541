//! The body of an answer: a whole one, or a stream that must not look complete when it is not.
//!
//! Invariant (I7): a stream that breaks ends in an error frame, so hyper leaves an HTTP/1.1 body
//! unterminated and resets an HTTP/2 stream; only [`Frame::End`] ends it cleanly.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::FutureExt;
use http_body::SizeHint;
use http_body_util::BodyExt;
use tokio::sync::mpsc;

/// Events of one stream that may wait for a slow client, beyond what the socket holds.
pub const STREAM_EVENTS_MAX: usize = 16;

/// What the relay hands to the body of a stream.
#[derive(Debug)]
pub enum Frame {
    Data(Bytes),
    /// The reply is complete.
    End,
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
    Stream { frames: mpsc::Receiver<Frame>, ended: bool },
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

    /// A stream and the sender that feeds it; dropping the sender without [`Frame::End`] breaks it.
    pub fn stream() -> (mpsc::Sender<Frame>, Self) {
        let (sender, frames) = mpsc::channel(STREAM_EVENTS_MAX);
        (sender, Self::Stream { frames, ended: false })
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
            Self::Stream { ended: true, .. } => Poll::Ready(None),
            Self::Stream { frames, ended } => frames.poll_recv(context).map(|frame| match frame {
                Some(Frame::Data(bytes)) => Some(Ok(http_body::Frame::data(bytes))),
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
            Self::Stream { ended, .. } => *ended,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64)),
            Self::Stream { .. } => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stream_is_complete_only_if_it_was_ended() {
        let (sender, body) = Body::stream();
        sender.send(Frame::Data(Bytes::from_static(b"a"))).await.unwrap();
        sender.send(Frame::End).await.unwrap();
        assert_eq!(body.collect().await.unwrap().to_bytes(), "a");

        let (sender, body) = Body::stream();
        sender.send(Frame::Data(Bytes::from_static(b"a"))).await.unwrap();
        drop(sender);
        assert_eq!(body.collect().await.err(), Some(BrokenStream));
    }
}
