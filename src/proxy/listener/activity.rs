//! Whether a connection is used: a request that is being answered, its reply's last byte included, keeps it
//! open; nothing else does. A peer that answers pings and asks nothing is idle.

use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::{Instant, sleep};

use crate::proxy::body::{Body, BrokenStream};

/// Requests of one connection.
#[derive(Debug)]
pub struct Activity {
    begun: Instant,
    open: AtomicU32,
    /// Whether there was a request at all.
    asked: std::sync::atomic::AtomicBool,
    /// When the last request ended, in milliseconds after `begun`.
    ended_ms: AtomicU64,
}

/// One request, until its answer is written, broken or given up.
#[derive(Debug)]
pub struct Request(Arc<Activity>);

/// The body of an answer, which keeps its connection in use.
#[derive(Debug)]
pub struct Answer {
    body: Body,
    _request: Request,
}

impl Activity {
    /// A connection that has just been accepted.
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            begun: Instant::now(),
            open: AtomicU32::new(0),
            asked: std::sync::atomic::AtomicBool::new(false),
            ended_ms: AtomicU64::new(0),
        })
    }

    /// A request has begun.
    pub fn request(self: &Arc<Self>) -> Request {
        self.asked.store(true, Ordering::Relaxed);
        self.open.fetch_add(1, Ordering::AcqRel);
        Request(Arc::clone(self))
    }

    /// Returns when no request has begun in this time, never once one has. hyper's own limit of time begins
    /// only when it knows the version: nothing at all, or `P`, would be waited for without end.
    pub async fn nothing_asked(&self, patience: Duration) {
        sleep(patience).await;
        if self.asked.load(Ordering::Relaxed) {
            pending::<()>().await;
        }
    }

    /// Returns when there has been no request for this time.
    pub async fn idle(&self, idle_max: Duration) {
        let mut wait = idle_max;
        loop {
            sleep(wait).await;
            let ended = self.begun + Duration::from_millis(self.ended_ms.load(Ordering::Acquire));
            let quiet = ended.elapsed();
            wait = match self.open.load(Ordering::Acquire) {
                0 if quiet >= idle_max => return,
                0 => idle_max - quiet,
                _ => idle_max,
            };
        }
    }
}

impl Request {
    /// The answer to it.
    pub fn answered(self, body: Body) -> Answer {
        Answer { body, _request: self }
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        let now_ms = u64::try_from(self.0.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.0.ended_ms.fetch_max(now_ms, Ordering::AcqRel);
        self.0.open.fetch_sub(1, Ordering::AcqRel);
    }
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = BrokenStream;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenStream>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether the connection counts as idle after this time, and when.
    async fn idle_after(activity: &Activity, idle_ms: u64, within_ms: u64) -> Option<u64> {
        let began = Instant::now();
        let idle = activity.idle(Duration::from_millis(idle_ms));
        let over = tokio::time::timeout(Duration::from_millis(within_ms), idle).await;
        over.ok().map(|()| u64::try_from(began.elapsed().as_millis()).unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_idle_after_its_last_answer_and_never_during_one() {
        let activity = Activity::new();
        let first = activity.request().answered(Body::empty());
        let second = activity.request();
        assert_eq!(idle_after(&activity, 1_000, 10_500).await, None);
        drop(first);
        assert_eq!(idle_after(&activity, 1_000, 10_500).await, None);
        drop(second);
        assert_eq!(idle_after(&activity, 1_000, 10_000).await, Some(1_000));
        drop(activity.request());
        sleep(Duration::from_millis(400)).await;
        assert_eq!(idle_after(&activity, 300, 10_000).await, Some(300));
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_on_which_nothing_is_asked_is_noticed() {
        let activity = Activity::new();
        activity.nothing_asked(Duration::from_secs(1)).await;
        drop(activity.request());
        let waited =
            tokio::time::timeout(Duration::from_secs(60), activity.nothing_asked(Duration::from_secs(1)));
        assert!(waited.await.is_err());
    }
}
