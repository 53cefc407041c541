//! What comes back from `send`: the answer as it comes, or why there is none.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::Stream;
use futures_util::stream;

use super::UpstreamFailure;
use super::http::HttpRelay;
use super::stdio::StdioRelay;
use crate::audit::Receipt;
use crate::model::OutcomeKind;

/// How `send` ended. The receipt comes back either way: its holder completes it.
#[derive(Debug)]
pub enum Sent {
    /// The upstream answers: the first event is there.
    Reply(Reply),
    /// There is no answer. [`UpstreamFailure`] says whether the call may have run.
    Failed { receipt: Receipt, failure: UpstreamFailure },
}

/// An answer as it comes.
#[derive(Debug)]
pub struct Reply {
    /// To be completed by whoever relays the reply.
    pub receipt: Receipt,
    /// The upstream's HTTP status; 0 where there is none (stdio, in-process).
    pub status: u16,
    pub stream: ReplyStream,
}

/// One thing of a reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReplyEvent {
    /// The whole JSON-RPC response, with the client's id. At most once; `End` follows.
    Json {
        body: Bytes,
        /// `Result`, `ToolError` or `RpcError`.
        kind: OutcomeKind,
    },
    /// A whole JSON-RPC notification, with the client's progress token.
    Notification(Bytes),
    /// The reply is complete. Nothing follows.
    End,
    /// The reply is not complete and never will be. Nothing follows.
    Broken(UpstreamFailure),
}

impl ReplyEvent {
    pub(super) fn is_last(&self) -> bool {
        matches!(self, Self::End | Self::Broken(_))
    }
}

/// Where a reply's events come from.
pub(super) enum Source {
    /// The response was there at once.
    Whole,
    Http(Box<HttpRelay>),
    Stdio(Box<StdioRelay>),
}

impl Source {
    async fn next(&mut self) -> ReplyEvent {
        match self {
            Self::Whole => ReplyEvent::End,
            Self::Http(relay) => relay.next().await,
            Self::Stdio(relay) => relay.next().await,
        }
    }
}

/// The events of a reply, ending with exactly one [`ReplyEvent::End`] or [`ReplyEvent::Broken`].
/// Nothing is read from the upstream while nobody polls. Dropped before its end, it cancels the call
/// upstream.
pub struct ReplyStream {
    first: Option<ReplyEvent>,
    rest: Pin<Box<dyn Stream<Item = ReplyEvent> + Send>>,
}

impl ReplyStream {
    /// A stream of a first event and of what follows it.
    pub(super) fn new(first: ReplyEvent, source: Source) -> Self {
        let single = matches!(first, ReplyEvent::Json { .. });
        let rest: Pin<Box<dyn Stream<Item = ReplyEvent> + Send>> = if single {
            Box::pin(stream::iter([ReplyEvent::End]))
        } else {
            Box::pin(stream::unfold(Some(source), |source| async move {
                let mut source = source?;
                let event = source.next().await;
                let next = (!event.is_last()).then_some(source);
                Some((event, next))
            }))
        };
        Self { first: Some(first), rest }
    }
}

impl Stream for ReplyStream {
    type Item = ReplyEvent;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<ReplyEvent>> {
        match self.first.take() {
            Some(first) => Poll::Ready(Some(first)),
            None => self.rest.as_mut().poll_next(cx),
        }
    }
}

impl std::fmt::Debug for ReplyStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReplyStream").finish_non_exhaustive()
    }
}
