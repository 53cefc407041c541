//! One reply, event by event, until it ends, breaks, is given up, or waits for another round.

use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;

use super::client::Client;
use super::parked::Parked;
use super::questions::{Questions, Waiting};
use super::{Errand, Next};
use crate::audit::Receipt;
use crate::mcp::envelope::InputRequired;
use crate::mcp::{Era, Refusal, RequestId, reply};
use crate::model::{OutcomeKind, Timestamp};
use crate::proxy::asking::NotAsked;
use crate::proxy::identity::Lost;
use crate::proxy::refusal::{self, Refused};
use crate::proxy::rounds::{Binding, Full};
use crate::proxy::upstream::{ClientAnswer, Reply, ReplyEvent, ReplyStream, ServerRequest, UpstreamFailure};

/// How long after one question of an upstream others count as asked together with it.
const TOGETHER: Duration = Duration::from_millis(30);
/// Questions of one round.
const TOGETHER_MAX: usize = 8;

/// A reply on its way.
pub(super) struct Relay {
    errand: Box<Errand>,
    client: Client,
    stream: ReplyStream,
    status: u16,
    receipt: Receipt,
    questions: Questions,
    /// Set in a later round: what the upstream still says under the first round's id and token.
    retag: Option<Retag>,
}

/// The client's names for this round.
struct Retag {
    id: RequestId,
    token: Option<String>,
    /// Questions that the client answers now and that were taken back meanwhile.
    taken_back: Vec<String>,
}

/// What a later round begins with.
pub(super) struct Resumed {
    pub stream: ReplyStream,
    /// What the client did not answer.
    pub waiting: Vec<Waiting>,
    /// The raw progress token that the client gives now.
    pub token: Option<String>,
    pub taken_back: Vec<String>,
}

/// How far a reply has come.
enum Turn {
    /// It goes on.
    On,
    /// It is over: how.
    Over(OutcomeKind),
    /// A client of the stateless era is to be asked this, in another round.
    Ask(Waiting),
}

impl Relay {
    pub fn new(reply: Reply, errand: Box<Errand>, client: Client) -> Self {
        let Reply { receipt, status, stream } = reply;
        Self { errand, client, stream, status, receipt, questions: Questions::default(), retag: None }
    }

    /// A later round of a call that was parked.
    pub(super) fn again(parked: Parked, client: Client, resumed: Resumed) -> Self {
        let Resumed { stream, waiting, token, taken_back } = resumed;
        let Parked { errand, status, receipt, .. } = parked;
        let retag = Some(Retag { id: errand.id.clone(), token, taken_back });
        let mut questions = Questions::default();
        questions.again = waiting;
        Self { errand, client, stream, status, receipt, questions, retag }
    }

    /// Relays until there is nothing more to relay.
    pub async fn run(mut self: Box<Self>) {
        let again = std::mem::take(&mut self.questions.again);
        if !again.is_empty() {
            return Box::pin(self.park(again)).await;
        }
        let mut answered = None;
        // For the next round: an upstream of the session era may ask several things at once.
        let mut waiting = Vec::new();
        loop {
            let leaving_cancels = self.errand.asking.client.era() == Era::Stateless && answered.is_none();
            let asked = !waiting.is_empty();
            let turn = tokio::select! {
                biased;
                next = self.errand.standing.next(&mut self.stream) => self.take(next, &mut answered).await,
                withdrawn = self.questions.answered(), if !self.questions.is_empty() => {
                    if let Some(id) = withdrawn {
                        self.client.event(&reply::client_cancelled(&id)).await;
                    }
                    Turn::On
                }
                () = self.client.left(), if leaving_cancels => Turn::Over(OutcomeKind::Cancelled),
                () = tokio::time::sleep(TOGETHER), if asked => {
                    waiting = still_asked(waiting);
                    if !waiting.is_empty() {
                        return Box::pin(self.park(waiting)).await;
                    }
                    Turn::On
                }
            };
            match turn {
                Turn::On => {}
                Turn::Ask(question) => {
                    waiting.push(question.keyed(waiting.len()));
                    if waiting.len() >= TOGETHER_MAX {
                        waiting = still_asked(waiting);
                        if !waiting.is_empty() {
                            return Box::pin(self.park(waiting)).await;
                        }
                    }
                }
                Turn::Over(kind) => {
                    self.questions.give_up();
                    for question in waiting {
                        question.give_up(kind);
                    }
                    let bytes = self.client.bytes;
                    return self.errand.complete(self.receipt, kind, self.status, bytes);
                }
            }
        }
    }

    async fn take(&mut self, next: Next, answered: &mut Option<OutcomeKind>) -> Turn {
        if !self.questions.is_empty() {
            self.tell_withdrawn().await;
        }
        match next {
            Next::Event(ReplyEvent::Notification(notification)) => {
                self.keep_stream();
                let notification = self.retagged(notification);
                self.client.event(&notification).await;
                Turn::On
            }
            Next::Event(ReplyEvent::Paused) => {
                self.keep_stream();
                self.client.pause().await;
                Turn::On
            }
            Next::Event(ReplyEvent::Json { body, kind }) => self.answer(body, kind, answered).await,
            Next::Event(ReplyEvent::Request(request)) => Box::pin(self.ask(request)).await,
            Next::Event(ReplyEvent::End) => {
                if answered.is_none() && self.client.is_waiting() {
                    let failure =
                        UpstreamFailure::Broken { status: self.status, why: "no answer came".into() };
                    self.client.answer(Err(self.errand.refusal(&failure)), 0);
                }
                if answered.is_some() {
                    self.client.end().await;
                }
                Turn::Over(answered.unwrap_or(OutcomeKind::Broken))
            }
            Next::Event(ReplyEvent::Broken(UpstreamFailure::Cancelled)) => {
                // The client asked for no answer: an event stream that ends without one.
                self.client.end().await;
                Turn::Over(OutcomeKind::Cancelled)
            }
            Next::Event(ReplyEvent::Broken(failure)) => {
                let refused = self.errand.refusal(&failure);
                self.refuse(refused).await;
                Turn::Over(failure.outcome_kind())
            }
            Next::Revoked(lost) => {
                // A stream is left without an end: the client must not take the cut for one.
                let refusal = match lost {
                    Lost::Right(stranger) => stranger.into(),
                    Lost::Service => self.errand.asking.not_enabled(),
                };
                self.client.answer(Err(Refused::from(refusal).to(self.errand.id.clone())), 0);
                Turn::Over(OutcomeKind::Cancelled)
            }
        }
    }

    /// Tells the client what it need not answer any more, before what its upstream said after that.
    async fn tell_withdrawn(&mut self) {
        while !self.questions.is_empty()
            && let Some(withdrawn) = self.questions.answered().now_or_never()
        {
            if let Some(id) = withdrawn {
                self.client.event(&reply::client_cancelled(&id)).await;
            }
        }
    }

    /// A stream that is about to begin is kept, so that its client may come back for it.
    fn keep_stream(&mut self) {
        if self.client.is_waiting()
            && let Some(post) = self.errand.asking.post_stream()
        {
            self.client.keep(post);
        }
    }

    /// The upstream's answer.
    async fn answer(&mut self, body: Bytes, kind: OutcomeKind, answered: &mut Option<OutcomeKind>) -> Turn {
        let body = self.retagged(body);
        let body = match kind {
            OutcomeKind::InputRequired => match Box::pin(self.next_round(&body)).await {
                Ok(body) => body,
                Err(refused) => {
                    self.refuse(refused).await;
                    return Turn::Over(OutcomeKind::Broken);
                }
            },
            _ => body,
        };
        let body = self.noted(body);
        if self.client.is_waiting() {
            let bytes = body.len() as u64;
            let stateless = self.errand.asking.client.era() == Era::Stateless;
            let answer = match kind {
                OutcomeKind::RpcError if stateless => Ok(refusal::json(reply::error_status(&body), body)),
                _ => self.errand.whole(body),
            };
            let kind = if answer.is_ok() { kind } else { OutcomeKind::Broken };
            self.client.answer(answer, if kind == OutcomeKind::Broken { 0 } else { bytes });
            return Turn::Over(kind);
        }
        self.client.event(&body).await;
        *answered = Some(kind);
        Turn::On
    }

    /// Puts a question of the upstream to the client.
    async fn ask(&mut self, request: ServerRequest) -> Turn {
        let permitted = match self.errand.asking.permit(&request.method, &request.params).await {
            Ok(permitted) => permitted,
            Err(NotAsked { refusal: refusal @ Refusal::MissingCapability { .. }, .. })
                if self.errand.asking.client.era() == Era::Stateless =>
            {
                // The call ends here: the client makes it again, with what it lacks declared.
                self.refuse(Refused::from(refusal).to(self.errand.id.clone())).await;
                return Turn::Over(OutcomeKind::Cancelled);
            }
            Err(NotAsked { error, .. }) => {
                request.answer.answer(ClientAnswer::Error(error));
                return Turn::On;
            }
        };
        if self.errand.asking.client.era() == Era::Stateless {
            return Turn::Ask(Waiting::new(request, permitted));
        }
        let progress = request.answer.progress();
        let ask = self.errand.asking.downstream.as_ref().and_then(|downstream| downstream.ask(progress));
        let Some(ask) = ask else {
            // Dropped: the upstream is told that nobody can answer.
            permitted.complete(OutcomeKind::Unreachable);
            return Turn::On;
        };
        self.keep_stream();
        // Servers choose their tokens for themselves: two may choose the same.
        let params = reply::with_progress_token(&request.params, &ask.id);
        let message = reply::server_request(&ask.id, &request.method, &params);
        self.client.event(&message).await;
        self.questions.open(ask, request.answer, permitted);
        Turn::On
    }

    /// An upstream of the stateless era asks for another round: what it asks is decided, and its state
    /// goes into ours.
    async fn next_round(&mut self, body: &Bytes) -> Result<Bytes, Refused> {
        let broken = |relay: &Self, why: String| {
            let failure = UpstreamFailure::Broken { status: relay.status, why: why.into() };
            relay.errand.refusal(&failure)
        };
        let asked = InputRequired::of_response(body).map_err(|fault| broken(self, fault.to_string()))?;
        for question in &asked.requests {
            match self.errand.asking.permit(&question.method, &question.params).await {
                Ok(permitted) => permitted.complete(OutcomeKind::InputRequired),
                Err(NotAsked { refusal, .. }) => {
                    return Err(Refused::from(refusal).to(self.errand.id.clone()));
                }
            }
        }
        let asking = &mut self.errand.asking;
        let Some(rebate) = asking.rebate.take() else {
            return Err(broken(self, "it asks too late".to_owned()));
        };
        let binding = Binding::of(asking.caller.member.id, &asking.call);
        let state = asking.gate.rounds.carry(&binding, asked.state, rebate, Timestamp::now());
        let state = state.map_err(|_| Refused::from(refusal::overloaded()).to(self.errand.id.clone()))?;
        reply::with_request_state(body, &state)
            .ok_or_else(|| broken(self, "its answer cannot be read".to_owned()))
    }

    /// Answers with what the upstream asks, and waits for the next round.
    async fn park(self: Box<Self>, waiting: Vec<Waiting>) {
        let asking = &self.errand.asking;
        let binding = Binding::of(asking.caller.member.id, &asking.call);
        let rounds = std::sync::Arc::clone(&asking.gate.rounds);
        let id = self.errand.id.clone();
        let questions: Vec<_> = waiting.iter().map(Waiting::question).collect();
        let Self { mut errand, stream, status, receipt, mut client, retag, .. } = *self;
        errand.held = None;
        let now = Timestamp::now();
        let until = *errand.round_until.get_or_insert_with(|| rounds.until(now));
        let parked = Parked::new(errand, stream, (status, receipt), waiting, client.bytes);
        let state =
            rounds.park(&binding, parked, (now, until), |parked| parked.give_up(OutcomeKind::Timeout));
        let state = match state {
            Ok(state) => state,
            Err((parked, full)) => {
                let refusal = match full {
                    Full::Member => refusal::too_many_calls(),
                    Full::All => refusal::overloaded(),
                };
                let refused = Refused::from(refusal).to(id);
                let call_id = parked.errand.call_id;
                parked.give_up(OutcomeKind::Unreachable);
                if client.is_waiting() {
                    return client.answer(Err(refused), 0);
                }
                client.event(&refused.refusal.body(refused.id.as_ref(), &call_id)).await;
                return client.end().await;
            }
        };
        let body = noted(&retag, reply::input_required(&id, &questions, &state));
        if client.is_waiting() {
            let bytes = body.len() as u64;
            return client.answer(Ok(refusal::json(200, body)), bytes);
        }
        client.event(&body).await;
        client.end().await;
    }

    async fn refuse(&mut self, refused: Refused) {
        if self.client.is_waiting() {
            return self.client.answer(Err(refused), 0);
        }
        self.client.event(&refused.refusal.body(refused.id.as_ref(), &self.errand.call_id)).await;
        self.client.end().await;
    }

    /// The answer, with a note of what the client answered in vain.
    fn noted(&self, answer: Bytes) -> Bytes {
        noted(&self.retag, answer)
    }

    fn retagged(&self, message: Bytes) -> Bytes {
        match &self.retag {
            None => message,
            Some(Retag { id, token, .. }) => reply::retag(&message, id, token.as_deref()).unwrap_or(message),
        }
    }
}

/// The answer, with a note of what the client answered in vain.
fn noted(retag: &Option<Retag>, answer: Bytes) -> Bytes {
    match retag.as_ref().map(|retag| &retag.taken_back).filter(|keys| !keys.is_empty()) {
        Some(keys) => reply::with_taken_back(&answer, keys).unwrap_or(answer),
        None => answer,
    }
}

/// Those of the questions that the upstream has not taken back; the others are over.
fn still_asked(waiting: Vec<Waiting>) -> Vec<Waiting> {
    let (over, open): (Vec<_>, Vec<_>) = waiting.into_iter().partition(Waiting::is_taken_back);
    over.into_iter().for_each(|question| question.give_up(OutcomeKind::Cancelled));
    open
}
