//! A call goes on when its client leaves, without a task of its own while the client stays.
//!
//! MCP 2025-11-25: a disconnect is not a cancellation, and what was begun must be recorded to its end.
//! So a call is polled where its answer is waited for, and moves into a task only when nobody waits
//! there any more: the client left, or the answer has begun and the rest of it streams.
//!
//! Invariants: the call is polled to its end whatever becomes of the one who waits, unless the runtime
//! itself ends; a panic inside it ends it alone, and is told as one.

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::FutureExt as _;
use tokio::sync::oneshot;

/// Why there is no beginning: the call panicked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Panicked;

type Call = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The beginning of an answer, and the call that makes it.
pub(super) struct Lasting<T> {
    call: Option<Call>,
    begun: oneshot::Receiver<T>,
}

/// Runs `call` until it sends the beginning of its answer; it goes on by itself from there.
pub(super) fn begin<T, F>(call: impl FnOnce(oneshot::Sender<T>) -> F) -> Lasting<T>
where
    F: Future<Output = ()> + Send + 'static,
{
    let (sender, begun) = oneshot::channel();
    Lasting { call: Some(Box::pin(call(sender))), begun }
}

impl<T> Future for Lasting<T> {
    type Output = Result<T, Panicked>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(call) = &mut self.call {
            match std::panic::catch_unwind(AssertUnwindSafe(|| call.poll_unpin(context))) {
                Ok(Poll::Pending) => {}
                Ok(Poll::Ready(())) => self.call = None,
                // What panicked is not polled again. Its receipt ends as `unknown` when it is dropped.
                Err(_) => {
                    self.call = None;
                    return Poll::Ready(Err(Panicked));
                }
            }
        }
        self.begun.poll_unpin(context).map_err(|_| Panicked)
    }
}

impl<T> Drop for Lasting<T> {
    fn drop(&mut self) {
        if let (Some(call), Ok(runtime)) = (self.call.take(), tokio::runtime::Handle::try_current()) {
            drop(runtime.spawn(call));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn a_call_that_ends_with_its_answer_runs_where_it_is_waited_for() {
        let waits = tokio::spawn(async {
            let begun = begin(|sender: oneshot::Sender<tokio::task::Id>| async move {
                tokio::task::yield_now().await;
                sender.send(tokio::task::id()).unwrap();
            });
            assert_eq!(begun.await, Ok(tokio::task::id()));
        });
        waits.await.unwrap();
    }

    #[tokio::test]
    async fn a_call_goes_on_when_nobody_waits_and_behind_the_beginning_of_its_answer() {
        for answered in [false, true] {
            let (go, ended) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
            let (may_go, has_ended) = (Arc::clone(&go), Arc::clone(&ended));
            let mut begun = begin(move |sender| async move {
                let mut sender = Some(sender);
                if answered {
                    sender.take().unwrap().send("begun").unwrap();
                }
                may_go.notified().await;
                has_ended.notify_one();
                drop(sender);
            });
            if answered {
                assert_eq!((&mut begun).await, Ok("begun"));
            } else {
                assert!(futures_util::poll!(&mut begun).is_pending());
            }
            drop(begun);
            go.notify_one();
            ended.notified().await;
        }
    }

    #[tokio::test]
    async fn a_panic_is_told_and_ends_the_call_alone() {
        let dropped = Arc::new(());
        let held = Arc::clone(&dropped);
        let begun = begin(|sender: oneshot::Sender<()>| async move {
            let _held = (held, sender);
            tokio::task::yield_now().await;
            panic!("planted");
        });
        assert_eq!(begun.await, Err(Panicked));
        assert_eq!(Arc::strong_count(&dropped), 1);
    }
}
