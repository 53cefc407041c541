//! The reply on its way down: a whole JSON answer, or a stream as it comes, with what the upstream asks
//! of the client in between.
//!
//! It runs inside a call that outlasts its client (`lasting`): one of the session era that goes away
//! neither cancels its call (MCP 2025-11-25: a disconnect is not a cancellation) nor leaves its record
//! open; in the stateless era closing the stream is the cancellation (MCP 2026-07-28). Invariants: the
//! receipt is completed exactly once, with what was relayed; a reply that broke never looks complete; a
//! client that takes nothing holds back only its own stream; a caller whose key is revoked meanwhile gets
//! nothing more.

mod client;
mod parked;
mod questions;
mod run;

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use futures_util::StreamExt;
use http::Response;
use tokio::sync::{oneshot, watch};

use crate::audit::Receipt;
use crate::mcp::reply::InputResponses;
use crate::mcp::{Refusal, RequestId};
use crate::model::{CallId, Caller, Outcome, OutcomeKind, ServiceKey};
use crate::telemetry;

use super::admission::Slot;
use super::asking::Asking;
use super::body::Body;
use super::identity::{self, Lost, Stranger};
use super::in_flight::Entry;
use super::refusal::{self, Refused};
use super::reply_room::{NoRoom, ReplyRoom};
use super::snapshot::Live;
use super::upstream::{ReplyEvent, ReplyStream, Sent, UpstreamFailure};

use self::client::Client;
pub(super) use self::client::event_stream;
pub(super) use self::parked::Parked;
use self::run::Relay;

/// What a call needs to end properly, whatever happens.
pub(super) struct Errand {
    pub id: RequestId,
    pub service: ServiceKey,
    pub call_id: CallId,
    pub started: Instant,
    /// How long a client may take nothing of a stream.
    pub client_ms_max: u64,
    /// Where a whole reply waits for the client.
    pub room: Arc<ReplyRoom>,
    pub standing: Standing,
    /// Whom the upstream may ask, and how.
    pub asking: Asking,
    /// Held until the upstream is done: caps count work, not connections; and for as long the client
    /// can cancel. Not while the call waits for another round, which has caps of its own.
    pub held: Option<(Slot, Entry)>,
    /// When the round that the client is asked for is over, however often it is asked again.
    pub round_until: Option<i64>,
}

/// Whether the caller may still be here.
pub(super) struct Standing {
    caller: Caller,
    service: ServiceKey,
    live: Arc<Live>,
    generations: watch::Receiver<u64>,
}

/// How the answer begins; decided by the first thing that the upstream says.
pub(super) type Beginning = Result<Response<Body>, Refused>;

/// The next thing to do for a reply.
enum Next {
    Event(ReplyEvent),
    /// The caller lost its right: nothing more is relayed, and the upstream is told to stop.
    Revoked(Lost),
}

/// Carries the reply of one call to its client.
pub(super) async fn carry(sent: Sent, errand: Box<Errand>, beginning: oneshot::Sender<Beginning>) {
    match sent {
        Sent::Reply(reply) => {
            let client = Client::waiting(beginning, errand.client_ms_max);
            Box::new(Relay::new(reply, errand, client)).run().await;
        }
        Sent::Failed { receipt, failure } => {
            errand.complete(receipt, failure.outcome_kind(), failure.status(), 0);
            let refused = errand.refusal(&failure);
            let _gone = beginning.send(Err(refused));
        }
    }
}

/// Carries on with a parked call, whose client has come back under another id.
pub(super) async fn resume(
    parked: Parked,
    responses: &InputResponses,
    next: NextRound,
    beginning: oneshot::Sender<Beginning>,
) {
    let client = Client::waiting(beginning, parked.client_ms_max());
    Box::new(parked.resume(responses, next, client).await).run().await;
}

/// The request of a later round, which takes the place of the one before.
pub(super) struct NextRound {
    pub errand: Box<Errand>,
    /// The raw progress token that the client gives now.
    pub token: Option<String>,
}

impl Standing {
    /// Watches over the right to this service of a caller that stood in the directory of this
    /// generation. If there is a later one the first look is due at once: what changed before the
    /// watch began counts too.
    pub(super) fn of(caller: &Caller, service: &ServiceKey, generation: u64, live: &Arc<Live>) -> Self {
        let mut generations = live.generations();
        if *generations.borrow_and_update() != generation {
            generations.mark_changed();
        }
        Self { caller: caller.clone(), service: service.clone(), live: Arc::clone(live), generations }
    }

    async fn next(&mut self, reply: &mut ReplyStream) -> Next {
        loop {
            tokio::select! {
                biased;
                changed = self.generations.changed() => {
                    let directory = &self.live.load().directory;
                    let stands = match changed {
                        Ok(()) => identity::still_stands(&self.caller, &self.service, directory),
                        Err(_) => Err(Lost::Right(Stranger::UnknownKey)),
                    };
                    if let Err(lost) = stands {
                        return Next::Revoked(lost);
                    }
                }
                event = reply.next() => return Next::Event(event.unwrap_or(ReplyEvent::End)),
            }
        }
    }
}

impl Errand {
    fn complete(&self, receipt: Receipt, kind: OutcomeKind, status: u16, bytes: u64) {
        let elapsed = self.started.elapsed();
        let duration_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        telemetry::call_ended(self.service.as_str(), kind, elapsed);
        receipt.complete(Outcome { kind, status, bytes, duration_ms });
    }

    /// A whole reply, if there is room for it to wait for a slow client.
    fn whole(&self, body: Bytes) -> Beginning {
        self.room.answer(body).map_err(|NoRoom| {
            tracing::warn!(request_id = %self.call_id, service = %self.service,
                "a reply was dropped: large replies that nobody reads fill `limits.reply_bytes_waiting_max`");
            Refused::from(Refusal::ReplyDropped { service: self.service.to_string() }).to(self.id.clone())
        })
    }

    fn refusal(&self, failure: &UpstreamFailure) -> Refused {
        tracing::warn!(request_id = %self.call_id, service = %self.service, %failure, "no reply");
        Refused::from(refusal::of_upstream(self.service.as_str(), failure)).to(self.id.clone())
    }
}
