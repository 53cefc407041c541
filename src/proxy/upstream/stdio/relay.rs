//! The events of one call to a child process, as its caller reads them.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use tokio::time::Instant;

use super::StdioLink;
use super::pending::Awaited;
use crate::mcp::{self, FromUpstream};
use crate::proxy::upstream::asks::Asks;
use crate::proxy::upstream::calls::{CallGuard, SentTo};
use crate::proxy::upstream::dialogue::{Exchange, Step};
use crate::proxy::upstream::patience::Patience;
use crate::proxy::upstream::reply::Source;
use crate::proxy::upstream::rounds::{self, Round, Rounds, Then, Turn};
use crate::proxy::upstream::{Outbound, ReplyEvent, UpstreamFailure};

/// What a call waits for.
enum Stage {
    /// The child.
    Hearing,
    /// The client, before the request is made again.
    Asking(Round),
    /// Nothing: its answer was relayed.
    Done,
}

/// One call that waits for its child.
pub struct StdioRelay {
    link: Arc<StdioLink>,
    exchange: Exchange,
    patience: Patience,
    guard: CallGuard,
    awaited: Awaited,
    last_sign: Instant,
    stage: Stage,
    asks: Asks,
    rounds: Rounds,
}

impl StdioLink {
    /// Sends a call and waits for its first event. `sent` becomes true when the call may have arrived.
    pub async fn call(
        self: &Arc<Self>,
        call: &Outbound,
        mut guard: CallGuard,
        sent: &mut bool,
    ) -> Result<(u16, ReplyEvent, Source), UpstreamFailure> {
        let patience = Patience::begin(&call.connector.limits, guard.token());
        let upstream = self.upstream(&patience).await.map_err(|failure| guard.failed(failure))?;
        let exchange = Exchange::new(self.next_id(), call, upstream).shared();
        if exchange.is_of_the_past() {
            *sent = true;
            return Ok((0, exchange.seen_to(), Source::Whole));
        }
        let queued = self.queue(call, &exchange, &patience).await;
        let awaited = queued.map_err(|failure| guard.failed(failure))?;
        guard.sent(SentTo::Stdio { link: Arc::clone(self), upstream_id: exchange.upstream_id });
        let outbound = exchange.may_go_round().then(|| Box::new(call.clone()));
        let mut relay = Box::new(StdioRelay {
            link: Arc::clone(self),
            exchange,
            patience,
            guard,
            awaited,
            last_sign: Instant::now(),
            stage: Stage::Hearing,
            asks: Asks::default(),
            rounds: Rounds::new(outbound),
        });
        match relay.next().await {
            ReplyEvent::Broken(failure) => {
                *sent = !relay.withdraw();
                Err(if *sent { failure } else { failure.before_the_call() })
            }
            first => {
                *sent = true;
                Ok((0, first, Source::Stdio(relay)))
            }
        }
    }

    /// Puts the request into the child's queue, in its era.
    async fn queue(
        &self,
        call: &Outbound,
        exchange: &Exchange,
        patience: &Patience,
    ) -> Result<Awaited, UpstreamFailure> {
        let line = call.message(exchange.upstream_id, exchange.token(), exchange.upstream.revision);
        self.put(patience, exchange.upstream_id, line, true).await
    }
}

impl StdioRelay {
    /// Whether certainly nothing was and will be sent; gives the call up if it is still queued.
    pub fn withdraw(&mut self) -> bool {
        let withdrawn = self.rounds.are_none() && self.awaited.withdraw();
        if withdrawn {
            self.guard.settled();
        }
        withdrawn
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
            let event = match &mut self.stage {
                Stage::Done => return Ok(ReplyEvent::End),
                Stage::Hearing => {
                    let message = self.heard().await?;
                    let step = self.exchange.step(message)?;
                    self.take(step).await?
                }
                Stage::Asking(round) => {
                    if let Some(request) = round.ask() {
                        return Ok(ReplyEvent::Request(request));
                    }
                    let Stage::Asking(round) = std::mem::replace(&mut self.stage, Stage::Done) else {
                        continue;
                    };
                    let turn = self.patience.live(round.answered(&self.exchange)).await?;
                    self.turn(turn).await.map_err(rounds::later)?
                }
            };
            if let Some(event) = event {
                return Ok(event);
            }
        }
    }

    /// The next message of this call; meanwhile the client's answers go to the child.
    async fn heard(&mut self) -> Result<FromUpstream, UpstreamFailure> {
        loop {
            let client_is_awaited = self.asks.are_open();
            let message = async {
                match client_is_awaited {
                    true => self.patience.live(self.awaited.next()).await,
                    false => self.patience.wait(self.last_sign, self.awaited.next()).await,
                }
            };
            let message = tokio::select! {
                biased;
                delivered = self.asks.delivered(), if client_is_awaited => {
                    delivered?;
                    self.last_sign = Instant::now();
                    continue;
                }
                message = message => message?,
            };
            match message {
                Ok(message) => {
                    self.guard.alive();
                    self.last_sign = Instant::now();
                    return Ok(message);
                }
                Err(failure) => {
                    // The child is gone, or has forgotten the call: there is nobody to tell.
                    self.guard.settled();
                    return Err(failure);
                }
            }
        }
    }

    /// Does what a message asks for; gives the event that the client gets of it.
    async fn take(&mut self, step: Step) -> Result<Option<ReplyEvent>, UpstreamFailure> {
        match step {
            Step::Answer { body, kind } => {
                self.stage = Stage::Done;
                self.guard.settled();
                return Ok(Some(ReplyEvent::Json { body, kind }));
            }
            Step::Input(body) => {
                self.stage = Stage::Done;
                self.guard.settled();
                let turn = self.rounds.begin(&body, &self.exchange)?;
                return self.turn(turn).await.map_err(rounds::later);
            }
            Step::Relay(bytes) => return Ok(Some(ReplyEvent::Notification(bytes))),
            Step::Reply(answer) => {
                self.asks.count()?;
                self.link.answer(answer).await?;
            }
            Step::Ask { id, method, params } => {
                self.asks.count()?;
                if !self.asks.have_room() {
                    let why = "too much is asked of the client at once";
                    self.link.answer(mcp::reply::upstream_unanswered(&id, why)).await?;
                    return Ok(None);
                }
                let link = Arc::clone(&self.link);
                let deliver = move |answer| {
                    let link = Arc::clone(&link);
                    async move { link.answer(answer).await }
                };
                return Ok(Some(ReplyEvent::Request(self.asks.ask(id, method, params, deliver))));
            }
            Step::Withdraw(id) => self.asks.withdraw(&id),
            // The child's task has seen to it.
            Step::News { .. } | Step::Skip => {}
        }
        Ok(None)
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
            let upstream = self.link.upstream(&self.patience).await?;
            self.exchange = Exchange::new(self.link.next_id(), outbound, upstream).shared();
            self.awaited = self.link.queue(outbound, &self.exchange, &self.patience).await?;
            let upstream_id = self.exchange.upstream_id;
            self.guard.sent(SentTo::Stdio { link: Arc::clone(&self.link), upstream_id });
            self.last_sign = Instant::now();
            self.stage = Stage::Hearing;
            Ok(None)
        })
    }
}
