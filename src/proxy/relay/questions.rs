//! The questions of an upstream that wait for the client's answers.

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;

use crate::mcp::envelope::InputRequest;
use crate::mcp::reply::InputResponses;
use crate::model::OutcomeKind;
use crate::proxy::asking::Permitted;
use crate::proxy::downstream::Ask;
use crate::proxy::upstream::{AnswerSender, ClientAnswer, ServerRequest};

/// Questions that were put to a client of the session era.
#[derive(Default)]
pub(super) struct Questions {
    /// Made with the first question: few calls have any.
    answers: Option<FuturesUnordered<BoxFuture<'static, (usize, Said)>>>,
    open: Vec<Option<(AnswerSender, Permitted)>>,
    /// Questions of an earlier round that were not answered.
    pub again: Vec<Waiting>,
}

/// What came of a question.
enum Said {
    Answer(Option<ClientAnswer>),
    /// The upstream does not want to know any more; under this id its client was asked.
    Withdrawn(String),
}

impl Questions {
    /// Waits for the answer to one more.
    pub fn open(&mut self, ask: Ask, answer: AnswerSender, permitted: Permitted) {
        let (at, withdrawn, id) = (self.open.len(), answer.withdrawn(), ask.id.clone());
        self.open.push(Some((answer, permitted)));
        self.answers.get_or_insert_default().push(Box::pin(async move {
            tokio::select! {
                biased;
                () = withdrawn.cancelled() => (at, Said::Withdrawn(id)),
                answer = ask.answer() => (at, Said::Answer(answer)),
            }
        }));
    }

    /// Whether none is open.
    pub fn is_empty(&self) -> bool {
        self.answers.as_ref().is_none_or(FuturesUnordered::is_empty)
    }

    /// Takes the next answer back to the upstream. Gives the id under which the client was asked what the
    /// upstream does not want to know any more.
    pub async fn answered(&mut self) -> Option<String> {
        let (at, said) = self.answers.as_mut()?.next().await?;
        let (sender, permitted) = self.open.get_mut(at).and_then(Option::take)?;
        let answer = match said {
            Said::Answer(answer) => answer,
            Said::Withdrawn(id) => {
                permitted.complete(OutcomeKind::Cancelled);
                return Some(id);
            }
        };
        let kind = match &answer {
            Some(ClientAnswer::Result(_)) => OutcomeKind::Result,
            Some(ClientAnswer::Error(_)) => OutcomeKind::RpcError,
            None => OutcomeKind::Unreachable,
        };
        permitted.complete(kind);
        if let Some(answer) = answer {
            sender.answer(answer);
        }
        None
    }

    /// The call is over: nobody waits for the rest.
    pub fn give_up(&mut self) {
        self.answers = None;
        for (_, permitted) in self.open.drain(..).flatten() {
            permitted.complete(OutcomeKind::Cancelled);
        }
        for waiting in self.again.drain(..) {
            waiting.give_up(OutcomeKind::Cancelled);
        }
    }
}

/// A question that a client of the stateless era answers in its next round.
pub(super) struct Waiting {
    method: String,
    params: String,
    key: String,
    answer: Option<(AnswerSender, Permitted)>,
}

impl Waiting {
    pub fn new(request: ServerRequest, permitted: Permitted) -> Self {
        let ServerRequest { method, params, answer } = request;
        Self { method, params, key: String::new(), answer: Some((answer, permitted)) }
    }

    /// The same, as the question of this number within its round. Upstreams of the session era give
    /// their questions no keys.
    #[must_use]
    pub fn keyed(self, number: usize) -> Self {
        Self { key: format!("question{}", number + 1), ..self }
    }

    /// The name of the question within its round.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Whether the upstream does not want to know any more.
    pub fn is_taken_back(&self) -> bool {
        self.answer.as_ref().is_some_and(|(sender, _)| sender.withdrawn().is_cancelled())
    }

    /// As it is told to the client.
    pub fn question(&self) -> InputRequest {
        InputRequest { key: self.key.clone(), method: self.method.clone(), params: self.params.clone() }
    }

    /// Takes the answer back to the upstream, if it is among these. False where it is not.
    pub fn take_answer(&mut self, responses: &InputResponses) -> bool {
        let Some(response) = responses.get(&self.key).filter(|response| response.get().starts_with('{'))
        else {
            return false;
        };
        if let Some((sender, permitted)) = self.answer.take() {
            permitted.complete(OutcomeKind::Result);
            sender.answer(ClientAnswer::Result(response.get().to_owned()));
        }
        true
    }

    pub fn give_up(self, kind: OutcomeKind) {
        if let Some((_, permitted)) = self.answer {
            permitted.complete(kind);
        }
    }
}
