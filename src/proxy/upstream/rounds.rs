//! A client of the session era and an upstream of the stateless one: what the upstream wants to know
//! comes as the end of a request, and is asked of the client as if its call went on (MCP 2026-07-28,
//! multi round-trip requests).
//!
//! Invariants: a client is asked only what it declared; answers go back under the upstream's keys; a
//! call has few rounds, within its one life.

use std::collections::VecDeque;

use tokio::sync::oneshot;

use super::dialogue::Exchange;
use super::reply::{AnswerSender, ClientAnswer, ServerRequest};
use super::{Outbound, ReplyEvent, UpstreamFailure};
use crate::mcp::envelope::{InputRequest, InputRequired};
use crate::mcp::{ReplyBody, Retry};

/// Rounds of one call.
const ROUNDS_MAX: u32 = 8;
/// Questions of one round: each is a request to the client that waits for its answer.
const QUESTIONS_MAX: usize = 8;

/// The rounds of one call.
pub struct Rounds {
    /// The request, where it may have to be made again.
    outbound: Option<Box<Outbound>>,
    count: u32,
}

/// What is left to do of a turn.
pub enum Then<'r> {
    Ask(Round),
    End(ReplyEvent),
    /// This request is to be sent. No bound but the call's life is counted for it.
    Send(&'r Outbound),
}

impl Rounds {
    /// None yet; `outbound` is the request, where the upstream may have it made again.
    pub const fn new(outbound: Option<Box<Outbound>>) -> Self {
        Self { outbound, count: 0 }
    }

    /// Whether the request was not made again so far.
    pub const fn are_none(&self) -> bool {
        self.count == 0
    }

    /// Begins the round that this result asks for.
    ///
    /// # Errors
    /// The upstream asks what it must not.
    pub fn begin(&mut self, body: &ReplyBody, exchange: &Exchange) -> Result<Turn, UpstreamFailure> {
        let turn = Round::begin(body, exchange, self.count)?;
        self.count += 1;
        Ok(turn)
    }

    /// What a turn comes to: the request, with what it is made again with, is ready to be sent.
    ///
    /// # Errors
    /// The upstream asks where no request may be made again.
    pub fn then(&mut self, turn: Turn) -> Result<Then<'_>, UpstreamFailure> {
        let retry = match turn {
            Turn::Ask(round) => return Ok(Then::Ask(round)),
            Turn::End(event) => return Ok(Then::End(event)),
            Turn::Again(retry) => retry,
        };
        let Some(outbound) = &mut self.outbound else {
            return Err(UpstreamFailure::broken("it asks for input where no request may"));
        };
        outbound.retry = Some(retry);
        Ok(Then::Send(outbound))
    }
}

/// What a round, or its beginning, comes to.
pub enum Turn {
    /// The client is to be asked first.
    Ask(Round),
    /// The request is to be made again.
    Again(Retry),
    /// The call ends here.
    End(ReplyEvent),
}

/// One round of questions.
pub struct Round {
    required: InputRequired,
    untold: VecDeque<InputRequest>,
    awaited: Vec<Awaited>,
}

struct Awaited {
    key: String,
    method: String,
    answer: oneshot::Receiver<ClientAnswer>,
}

impl Round {
    /// `before` have gone before it.
    fn begin(body: &ReplyBody, exchange: &Exchange, before: u32) -> Result<Turn, UpstreamFailure> {
        let result = body.result().unwrap_or_default();
        let required =
            InputRequired::read(result).map_err(|fault| UpstreamFailure::broken(fault.to_string()))?;
        if required.requests.len() > QUESTIONS_MAX {
            return Err(UpstreamFailure::broken("it asks too many things of the client at once"));
        }
        if before >= ROUNDS_MAX {
            return Err(UpstreamFailure::broken("it asks the client again and again during one call"));
        }
        let refused = required.requests.iter().find(|ask| !exchange.may_ask(&ask.method, &ask.params));
        if let Some(ask) = refused {
            let why = format!("the service asks for `{}`, which this client did not declare", ask.method);
            return Ok(Turn::End(exchange.fails(&why)));
        }
        if required.requests.is_empty() {
            return Ok(Turn::Again(required.retry(&[])));
        }
        let untold = required.requests.iter().cloned().collect();
        Ok(Turn::Ask(Self { required, untold, awaited: Vec::new() }))
    }

    /// The next question for the client, until all are told.
    pub fn ask(&mut self) -> Option<ServerRequest> {
        let InputRequest { key, method, params } = self.untold.pop_front()?;
        let (sender, answer) = AnswerSender::new();
        self.awaited.push(Awaited { key, method: method.clone(), answer });
        Some(ServerRequest { method, params, answer: sender })
    }

    /// Waits for the client's answers.
    pub async fn answered(self, exchange: &Exchange) -> Turn {
        let mut answers = Vec::with_capacity(self.awaited.len());
        for Awaited { key, method, answer } in self.awaited {
            match (answer.await, method.as_str()) {
                (Ok(ClientAnswer::Result(result)), _) => answers.push((key, result)),
                // A dialogue that could not be held was not answered: the protocol has a word for it.
                (_, "elicitation/create") => answers.push((key, r#"{"action":"cancel"}"#.to_owned())),
                (Ok(ClientAnswer::Error(_)) | Err(_), method) => {
                    let why = format!("the service asked for `{method}`, and the client did not answer it");
                    return Turn::End(exchange.fails(&why));
                }
            }
        }
        Turn::Again(self.required.retry(&answers))
    }
}

/// A failure of a later round: the first one did reach the upstream.
pub fn later(failure: UpstreamFailure) -> UpstreamFailure {
    match failure {
        UpstreamFailure::Unreachable(why) => {
            UpstreamFailure::broken(format!("the client's answers could not be sent: {why}"))
        }
        UpstreamFailure::Busy { .. } => {
            UpstreamFailure::broken("the client's answers could not be sent: it has too many calls in flight")
        }
        other => other,
    }
}
