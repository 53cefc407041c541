//! What comes back from `send`: the answer as it comes, or why there is none.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::Stream;
use futures_util::stream;
use tokio_util::sync::CancellationToken;

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
#[derive(Debug)]
pub enum ReplyEvent {
    /// The whole JSON-RPC response, with the client's id. At most once; `End` follows.
    Json {
        body: Bytes,
        /// `Result`, `ToolError` or `RpcError`.
        kind: OutcomeKind,
    },
    /// A whole JSON-RPC notification, with the client's progress token.
    Notification(Bytes),
    /// The upstream closed its stream and keeps what is still to come: the client may do the same.
    Paused,
    /// The upstream asks something of the client before it goes on.
    Request(ServerRequest),
    /// The reply is complete. Nothing follows.
    End,
    /// The reply is not complete and never will be. Nothing follows.
    Broken(UpstreamFailure),
}

/// What an upstream asks of the client during a call.
#[derive(Debug)]
pub struct ServerRequest {
    /// `sampling/createMessage`, `elicitation/create` or `roots/list`.
    pub method: String,
    /// The raw JSON of its parameters, an object.
    pub params: String,
    /// Dropped without an answer, it tells the upstream that the client cannot answer.
    pub answer: AnswerSender,
}

/// What the client says to a [`ServerRequest`]: raw JSON objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientAnswer {
    Result(String),
    Error(String),
}

/// Takes the client's answer back to the upstream, once.
#[derive(Debug)]
pub struct AnswerSender {
    sender: tokio::sync::oneshot::Sender<ClientAnswer>,
    withdrawn: CancellationToken,
}

impl AnswerSender {
    /// A sender, and where its answer comes out.
    pub fn new() -> (Self, tokio::sync::oneshot::Receiver<ClientAnswer>) {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        (Self { sender, withdrawn: CancellationToken::new() }, receiver)
    }

    /// Says when the upstream does not want to know any more.
    pub fn withdrawn(&self) -> CancellationToken {
        self.withdrawn.clone()
    }

    /// Answers. False where the upstream does not wait any more.
    pub fn answer(self, answer: ClientAnswer) -> bool {
        self.sender.send(answer).is_ok()
    }
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
