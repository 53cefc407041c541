//! The stream beneath hyper. Here a client that takes nothing of its reply is cut, and here is the
//! seam for the guard that will refuse ambiguous HTTP/1.1 framing before hyper sees it
//! (Content-Length with Transfer-Encoding, bare LF, duplicate lengths: hyper forgives them).
//!
//! Invariant: bytes pass unchanged and in order; a write that makes no progress for the limit fails.

use std::io::{Error, ErrorKind, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pingora_core::protocols::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

/// A stream whose writes must make progress.
pub struct Guarded {
    inner: Stream,
    write_max: Duration,
    /// Runs while a write waits; made at the first wait.
    stall: Option<Pin<Box<Sleep>>>,
    stalled: bool,
}

impl Guarded {
    /// Cuts the stream when a write waits longer than `write_max`.
    pub fn new(inner: Stream, write_max: Duration) -> Self {
        Self { inner, write_max, stall: None, stalled: false }
    }

    /// Turns a write that waits for too long into an error.
    fn watched<T>(
        &mut self,
        context: &mut Context<'_>,
        poll: Poll<Result<T, Error>>,
    ) -> Poll<Result<T, Error>> {
        if poll.is_ready() {
            self.stalled = false;
            return poll;
        }
        let deadline = Instant::now() + self.write_max;
        let stall = self.stall.get_or_insert_with(|| Box::pin(sleep(self.write_max)));
        if !self.stalled {
            self.stalled = true;
            stall.as_mut().reset(deadline);
        }
        ready!(stall.as_mut().poll(context));
        Poll::Ready(Err(Error::new(ErrorKind::TimedOut, "the client takes nothing of its reply")))
    }
}

impl AsyncRead for Guarded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<(), Error>> {
        Pin::new(&mut self.inner).poll_read(context, buffer)
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<usize, Error>> {
        let poll = Pin::new(&mut self.inner).poll_write(context, bytes);
        self.watched(context, poll)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<Result<usize, Error>> {
        let poll = Pin::new(&mut self.inner).poll_write_vectored(context, slices);
        self.watched(context, poll)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let poll = Pin::new(&mut self.inner).poll_flush(context);
        self.watched(context, poll)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let poll = Pin::new(&mut self.inner).poll_shutdown(context);
        self.watched(context, poll)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_is_cut_and_one_that_takes_slowly_is_not() {
        let (ours, mut theirs) = tokio::io::duplex(64);
        let mut guarded = Guarded::new(Box::new(ours), Duration::from_secs(3));
        let writer = tokio::spawn(async move { guarded.write_all(&[7; 200]).await });
        for _ in 0..2 {
            tokio::time::sleep(Duration::from_secs(2)).await;
            let mut taken = [0; 64];
            theirs.read_exact(&mut taken).await.unwrap();
        }
        tokio::time::sleep(Duration::from_secs(4)).await;
        let error = writer.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
    }
}
