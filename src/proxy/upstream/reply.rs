//! What comes back from `send`: the answer as it comes, or why there is none.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::stream;
use futures_util::{Stream, StreamExt as _};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::UpstreamFailure;
use super::http::HttpRelay;
use super::stdio::StdioRelay;
use crate::audit::Receipt;
use crate::mcp::{self, ClientProgress, RequestId};
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
    progress: Option<ProgressSender>,
}

/// The last report of a client's progress with a question, and how far it was.
pub(super) type Report = Option<(f64, Bytes)>;

/// Takes what a client reports of its progress with a question to the upstream that asked it. A report takes the
/// place of one that has not left yet, so that one waits at most.
#[derive(Debug, Clone)]
pub struct ProgressSender {
    /// The upstream's own.
    token: RequestId,
    latest: watch::Sender<Report>,
}

impl ProgressSender {
    /// Reports. False where it does not grow.
    pub fn report(&self, progress: &ClientProgress) -> bool {
        let amount = progress.amount();
        self.latest.send_if_modified(|latest| {
            let grows = !amount.is_nan() && latest.as_ref().is_none_or(|(before, _)| amount > *before);
            if grows {
                *latest = Some((amount, progress.with_token(&self.token)));
            }
            grows
        })
    }
}

impl AnswerSender {
    /// A sender, and where its answer comes out.
    pub fn new() -> (Self, tokio::sync::oneshot::Receiver<ClientAnswer>) {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        (Self { sender, withdrawn: CancellationToken::new(), progress: None }, receiver)
    }

    /// Where the question of these parameters wants to hear of the client's progress, what is reported comes out
    /// of this.
    pub(super) fn reports(&mut self, params: &str) -> Option<watch::Receiver<Report>> {
        let token = mcp::reply::progress_token(params)?;
        let (latest, reports) = watch::channel(None);
        self.progress = Some(ProgressSender { token, latest });
        Some(reports)
    }

    /// Takes reports of the client's progress, if the upstream wants to hear of it.
    pub fn progress(&self) -> Option<ProgressSender> {
        self.progress.clone()
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

    /// The same, after these events of it, which were taken already.
    #[must_use]
    pub fn after(self, events: VecDeque<ReplyEvent>) -> Self {
        Self { first: None, rest: Box::pin(stream::iter(events).chain(self)) }
    }

    /// One that is over.
    pub fn broken(failure: UpstreamFailure) -> Self {
        Self { first: Some(ReplyEvent::Broken(failure)), rest: Box::pin(stream::empty()) }
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
