//! A call to an HTTP upstream whose answer is not whole at once: relayed event by event, with what the
//! upstream asks of the client on the way.
//!
//! Invariants: a call ends with its answer or is broken; nothing is read while nobody asks for the next
//! event.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::HttpLink;
use super::call::{Attempt, Opening};
use super::messages::Messages;
use super::session::Established;
use crate::mcp::{self, Era, FromUpstream};
use crate::proxy::upstream::asks::Asks;
use crate::proxy::upstream::calls::CallGuard;
use crate::proxy::upstream::dialogue::{Exchange, Step};
use crate::proxy::upstream::patience::Patience;
use crate::proxy::upstream::rounds::{self, Round, Rounds, Then, Turn};
use crate::proxy::upstream::{ReplyEvent, UpstreamFailure};

/// Connections over which one answer may go on.
const RESUMPTIONS_MAX: u32 = 32;

/// What a call waits for.
pub(super) enum Stage {
    /// The upstream.
    Hearing(Box<Messages>),
    /// The client, before the request is made again.
    Asking(Round),
    /// To go on over another connection, since the upstream closed the one that it answered on.
    Resuming { id: String, pause: Duration, closed: UpstreamFailure, told: bool },
    /// Nothing: its answer was relayed.
    Done,
}

/// One call whose answer is not whole at once.
pub struct HttpRelay {
    pub(super) link: Arc<HttpLink>,
    pub(super) session: Arc<Established>,
    pub(super) exchange: Exchange,
    pub(super) patience: Patience,
    pub(super) guard: CallGuard,
    pub(super) stage: Stage,
    pub(super) asks: Asks,
    pub(super) rounds: Rounds,
    /// How often the stream went on over another connection.
    pub(super) resumptions: u32,
}

impl HttpRelay {
    /// The first event, after what was heard already.
    pub(super) async fn begin(&mut self, heard: Option<Step>) -> ReplyEvent {
        if let Some(step) = heard {
            match self.take(step).await {
                Ok(Some(event)) => return event,
                Ok(None) => {}
                Err(failure) => return ReplyEvent::Broken(self.guard.failed(failure)),
            }
        }
        self.next().await
    }

    /// The next event.
    pub async fn next(&mut self) -> ReplyEvent {
        match self.step().await {
            Ok(event) => event,
            Err(failure) => ReplyEvent::Broken(self.guard.failed(failure)),
        }
    }

    async fn step(&mut self) -> Result<ReplyEvent, UpstreamFailure> {
        loop {
            let step = match &mut self.stage {
                Stage::Done => return Ok(ReplyEvent::End),
                Stage::Hearing(_) => {
                    let Some(message) = self.heard().await? else { continue };
                    self.exchange.step(message)?
                }
                Stage::Resuming { told, .. } if !*told => {
                    *told = true;
                    return Ok(ReplyEvent::Paused);
                }
                Stage::Resuming { .. } => {
                    self.resume().await?;
                    continue;
                }
                Stage::Asking(round) => {
                    if let Some(request) = round.ask() {
                        return Ok(ReplyEvent::Request(request));
                    }
                    let Stage::Asking(round) = std::mem::replace(&mut self.stage, Stage::Done) else {
                        continue;
                    };
                    let turn = self.patience.live(round.answered(&self.exchange)).await?;
                    match self.turn(turn).await.map_err(rounds::later)? {
                        Some(event) => return Ok(event),
                        None => continue,
                    }
                }
            };
            if let Some(event) = self.take(step).await? {
                return Ok(event);
            }
        }
    }

    /// The next message of the stream; meanwhile the client's answers go upstream. Nothing where the
    /// stream goes on elsewhere.
    async fn heard(&mut self) -> Result<Option<FromUpstream>, UpstreamFailure> {
        loop {
            let Stage::Hearing(messages) = &mut self.stage else {
                return Err(UpstreamFailure::broken("its stream ended before the answer"));
            };
            let client_is_awaited = self.asks.are_open();
            let message = tokio::select! {
                biased;
                delivered = self.asks.delivered(), if client_is_awaited => {
                    delivered?;
                    messages.last_sign = Instant::now();
                    continue;
                }
                message = messages.next_while(&self.patience, client_is_awaited) => message,
            };
            match message {
                Ok(message) => return Ok(Some(message)),
                Err(failure) => {
                    self.stage = self.elsewhere(failure)?;
                    return Ok(None);
                }
            }
        }
    }

    /// Where a stream that was closed goes on, if its server keeps it.
    fn elsewhere(&mut self, closed: UpstreamFailure) -> Result<Stage, UpstreamFailure> {
        let Stage::Hearing(messages) = &self.stage else { return Err(closed) };
        let goes_on = messages.goes_on().filter(|_| self.session.era() == Era::Session);
        let Some((id, pause)) = goes_on.filter(|_| self.resumptions < RESUMPTIONS_MAX) else {
            return Err(closed);
        };
        let id = id.to_owned();
        self.resumptions += 1;
        Ok(Stage::Resuming { id, pause, closed, told: false })
    }

    /// Goes on with the stream over another connection. The call is not sent again: only its answer is
    /// asked for.
    async fn resume(&mut self) -> Result<(), UpstreamFailure> {
        let Stage::Resuming { id, pause, closed, .. } = &self.stage else { return Ok(()) };
        let (id, pause, closed) = (id.clone(), *pause, closed.clone());
        self.patience.wait(Instant::now(), tokio::time::sleep(pause)).await?;
        let resumed = self.link.resume(&self.session, &id, &self.patience).await;
        let mut messages = resumed.ok_or(closed)?;
        messages.last_id = Some(id);
        self.stage = Stage::Hearing(Box::new(messages));
        Ok(())
    }

    /// Does what a message asks for; gives the event that the client gets of it.
    pub(super) async fn take(&mut self, step: Step) -> Result<Option<ReplyEvent>, UpstreamFailure> {
        match step {
            Step::Answer { body, kind } => {
                self.heard_all();
                return Ok(Some(ReplyEvent::Json { body, kind }));
            }
            Step::Input(body) => {
                self.heard_all();
                let turn = self.rounds.begin(&body, &self.exchange)?;
                return self.turn(turn).await.map_err(rounds::later);
            }
            Step::Relay(bytes) => return Ok(Some(ReplyEvent::Notification(bytes))),
            Step::News { method, raw } => self.link.heard(&method, raw.as_str()),
            Step::Reply(answer) => {
                self.asks.count()?;
                self.link.tell(&self.session, answer);
            }
            Step::Ask { id, method, params } => {
                self.asks.count()?;
                if !self.asks.have_room() {
                    let answer =
                        mcp::reply::upstream_unanswered(&id, "too much is asked of the client at once");
                    self.link.tell(&self.session, answer);
                    return Ok(None);
                }
                let (link, session) = (Arc::clone(&self.link), Arc::clone(&self.session));
                let deliver = move |answer| {
                    let (link, session) = (Arc::clone(&link), Arc::clone(&session));
                    async move { link.deliver(&session, answer).await }
                };
                return Ok(Some(ReplyEvent::Request(self.asks.ask(id, method, params, deliver))));
            }
            Step::Withdraw(id) => self.asks.withdraw(&id),
            Step::Skip => {}
        }
        Ok(None)
    }

    /// The stream has said what it had to say.
    fn heard_all(&mut self) {
        self.guard.settled();
        if let Stage::Hearing(messages) = std::mem::replace(&mut self.stage, Stage::Done) {
            drop(tokio::spawn(messages.drain()));
        }
    }

    /// Takes a round's turn: asks, makes the request again, or ends the call.
    fn turn(
        &mut self,
        turn: Turn,
    ) -> Pin<Box<dyn Future<Output = Result<Option<ReplyEvent>, UpstreamFailure>> + Send + '_>> {
        Box::pin(async move {
            let outbound = match self.rounds.then(turn)? {
                Then::Ask(round) => {
                    self.stage = Stage::Asking(round);
                    return Ok(None);
                }
                Then::End(event) => return Ok(Some(event)),
                Then::Send(outbound) => outbound,
            };
            // Whether a round was sent is clear: the first one was.
            let mut sent = true;
            let attempt = self.link.attempt(outbound, &self.patience, &mut self.guard, &mut sent).await?;
            let Attempt { session, exchange, status: _, opening } = attempt;
            (self.session, self.exchange) = (session, exchange);
            match opening {
                Opening::Events(messages) => {
                    self.stage = Stage::Hearing(messages);
                    Ok(None)
                }
                Opening::Reply(body) => {
                    let step = self.exchange.answer(body)?;
                    self.take(step).await
                }
                Opening::SeenTo => Ok(Some(self.exchange.seen_to())),
            }
        })
    }
}
