//! From a request to the papers without which it cannot be sent, and the sending of it.
//!
//! Invariants: a permit, a receipt and a reservation are made for this very request and in this order of
//! things: decided and counted, recorded, sent; what is not even decided is recorded as a denial too.

use std::pin::{Pin, pin};
use std::sync::Arc;

use http::Response;
use tokio::sync::oneshot;

use crate::audit::Receipt;
use crate::connector::resource_of;
use crate::mcp::reply::InputResponses;
use crate::mcp::{CallRequest, ClientFace, Era, Refusal, Retry};
use crate::model::{History, Outcome, OutcomeKind, Reason};
use crate::policy::{Denial, Permit};
use crate::session::{Rebate, Reservation, Session, Spent};
use crate::telemetry;

use super::asking::Asking;
use super::body::Body;
use super::decide::{Decided, Resolved, decide};
use super::exchange::Arrival;
use super::gate::Gate;
use super::lasting::{self, Panicked};
use super::mirror;
use super::record::{Record, Subject};
use super::refusal::{Refused, cannot_record};
use super::relay::{self, Beginning, Errand, NextRound, Parked, Standing};
use super::resolve::Hindrance;
use super::rounds::{Binding, Opened};
use super::streams::Followup;
use super::upstream::{Outbound, Sent};

/// A request that may leave: its permit, its record, its place in the counters, and how its reply goes
/// down.
struct Cleared {
    permit: Permit,
    receipt: Receipt,
    reservation: Reservation,
    outbound: Outbound,
    errand: Box<Errand>,
}

/// Which round of a call a request is.
enum Reopened {
    First,
    /// The upstream's own: its state, and the answers for it.
    Upstream(Retry, Option<Rebate>),
    /// A call that waits here.
    Parked(Box<Parked>),
}

impl Gate {
    /// One request to an upstream. It is recorded to its end whether its client stays or not; the answer is
    /// how the reply begins.
    pub(super) async fn call(
        self: Arc<Self>,
        arrival: Arrival,
        call: CallRequest,
    ) -> Result<Response<Body>, Refused> {
        let (retry, rebate) = match self.round_of(&arrival, &call)? {
            Reopened::First => (None, None),
            Reopened::Upstream(retry, rebate) => (Some(retry), rebate),
            // Boxed: seldom, and its state would else be moved about with every call's.
            Reopened::Parked(parked) => return Box::pin(self.resume(arrival, call, *parked)).await,
        };
        let begun = lasting::begin(|mut beginning| async move {
            match self.clear(arrival, call, retry, rebate).await {
                Ok(cleared) => {
                    let Cleared { permit, receipt, reservation, outbound, errand } = cleared;
                    let followup = Followup::of(&outbound);
                    let sent = {
                        // Pinned here: moved into what waits for it, it would stand there a second time.
                        let mut sending = pin!(self.upstreams.send(permit, receipt, reservation, outbound));
                        match errand.asking.client.era() {
                            Era::Session => sending.await,
                            Era::Stateless => {
                                self.while_awaited(sending.as_mut(), &errand, &mut beginning).await
                            }
                        }
                    };
                    if let (Some(followup), Sent::Reply(_)) = (followup, &sent) {
                        self.streams.settle(followup, &self.upstreams);
                    }
                    relay::carry(sent, errand, beginning).await;
                }
                // A client that left does not hear why.
                Err(refused) => drop(beginning.send(Err(refused))),
            }
        });
        // A call that panicked leaves its receipt, if there was one, as `unknown`.
        begun.await.unwrap_or_else(|Panicked| Err(Refusal::Internal.into()))
    }

    /// Which round of a call this is. Every round that the gate lets a client be asked has a state of the
    /// gate's. Answers without one answer nothing that was asked, and go no further: nobody decided them.
    fn round_of(&self, arrival: &Arrival, call: &CallRequest) -> Result<Reopened, Refused> {
        let state = call.face().and_then(|_| call.retry()?.request_state.as_deref());
        let Some(state) = state else { return Ok(Reopened::First) };
        let binding = Binding::of(arrival.caller.member.id, call);
        Ok(match self.rounds.open(&binding, state, arrival.now)? {
            Opened::Upstream(request_state, rebate) => {
                let input_responses = call.retry().and_then(|retry| retry.input_responses.clone());
                Reopened::Upstream(Retry { input_responses, request_state }, rebate)
            }
            Opened::Parked(parked) => Reopened::Parked(Box::new(parked)),
        })
    }

    /// In the stateless era, closing the stream is the cancellation (MCP 2026-07-28, cancellation).
    async fn while_awaited(
        &self,
        mut sending: Pin<&mut impl Future<Output = Sent>>,
        errand: &Errand,
        beginning: &mut oneshot::Sender<Beginning>,
    ) -> Sent {
        tokio::select! {
            biased;
            sent = &mut sending => return sent,
            () = beginning.closed() => {}
        }
        self.upstreams.cancel(errand.call_id, None);
        sending.await
    }

    /// Goes on with a call that waited for its client's answers. Its next round is decided, counted in the
    /// place of the one before, and recorded like a call of its own.
    async fn resume(
        self: Arc<Self>,
        arrival: Arrival,
        call: CallRequest,
        mut parked: Parked,
    ) -> Result<Response<Body>, Refused> {
        let responses = call.retry().and_then(|retry| retry.input_responses.as_deref()).unwrap_or("{}");
        let Ok(responses) = serde_json::from_str::<InputResponses>(responses) else {
            parked.give_up(OutcomeKind::Cancelled);
            return Err(Refusal::InvalidParams { what: "`inputResponses` cannot be read" }.into());
        };
        let token = call.progress_token().map(str::to_owned);
        let cleared = match self.clear(arrival, call, None, parked.take_rebate()).await {
            Ok(cleared) => cleared,
            Err(refused) => {
                parked.give_up(OutcomeKind::Cancelled);
                return Err(refused);
            }
        };
        let Cleared { receipt, mut reservation, errand, .. } = cleared;
        reservation.reached();
        receipt.complete(Outcome { kind: OutcomeKind::Result, status: 0, bytes: 0, duration_ms: 0 });
        let begun = lasting::begin(|beginning| async move {
            relay::resume(parked, &responses, NextRound { errand, token }, beginning).await;
        });
        begun.await.unwrap_or_else(|Panicked| Err(Refusal::Internal.into()))
    }

    /// From a request to the papers without which it cannot be sent.
    async fn clear(
        self: &Arc<Self>,
        mut arrival: Arrival,
        call: CallRequest,
        retry: Option<Retry>,
        rebate: Option<Rebate>,
    ) -> Result<Cleared, Refused> {
        let (call_id, now) = (arrival.call_id, arrival.now);
        let session = match self.session_of(&arrival, call.conversation_id()) {
            Ok(session) => session,
            Err(refusal) => {
                let hindrance = Hindrance { reason: Reason::Unaccountable, seen: Some(refusal) };
                return Err(Box::pin(self.hinder(&arrival, None, &call, hindrance)).await.into());
            }
        };
        arrival.caller.session = Some(session.id());
        let (connector, tool) = match self.resolve_now(&mut arrival, &call).await {
            Ok(resolved) => resolved,
            Err(hindrance) => {
                return Err(Box::pin(self.hinder(&arrival, Some(&session), &call, hindrance)).await.into());
            }
        };
        let bundle = arrival.bundle();
        let caller = &arrival.caller;
        let arguments = call.arguments_value();
        if call.face().is_some() {
            // As for the other headers that repeat the body: such a message is none, and is not recorded.
            mirror::check_parameters(&arrival.headers, &tool, arguments)?;
        }
        let resource = resource_of(&connector, &tool, arguments);
        let asked = Resolved {
            call_id,
            caller,
            connector: &connector,
            tool: &tool,
            arguments,
            resource: &resource,
            now,
        };
        // The round before is not in the way of this one, but stays counted if this one is denied.
        let spent = rebate.map(Rebate::spend);
        let decided = decide(bundle, &session, &asked);
        let subject = Subject::of(&connector, &tool, &resource);
        let names = (call.name(), call.arguments());
        let record = Record::new((call_id, now), caller, Some(&session), names, subject);
        let (permit, reservation, history) = match decided {
            Decided::Allowed { permit, reservation, history } => (permit, reservation, history),
            Decided::Denied { denial, history } => {
                spent.into_iter().for_each(Spent::restore);
                let denied = self.deny_decided(bundle, &record, &asked, &denial, &history);
                return Err(Box::pin(denied).await.into());
            }
        };
        let Some(receipt) = self.recorded(&permit, &record, &history).await else {
            reservation.release();
            return Err(cannot_record().into());
        };
        telemetry::decision(permit.decision());
        let client = self.client_of(&arrival, &call);
        let outbound = Outbound {
            connector,
            tool: tool.name.clone(),
            call_id,
            caller: arrival.caller.clone(),
            session,
            call: Arc::new(call),
            client,
            retry,
        };
        let asking = self.asking(&arrival, &outbound, &reservation);
        Ok(Cleared { permit, receipt, reservation, outbound, errand: self.errand(arrival, asking) })
    }

    /// The intent in the journal; nothing where it cannot be recorded.
    async fn recorded(&self, permit: &Permit, record: &Record<'_>, history: &History) -> Option<Receipt> {
        let recorded = self.journal.intent(permit, &record.facts(history)).await;
        let call = record.call_id;
        recorded
            .inspect_err(
                |error| tracing::error!(request_id = %call, %error, "cannot record: the call is refused"),
            )
            .ok()
    }

    /// Whom the upstream may ask during this call, and how.
    fn asking(self: &Arc<Self>, arrival: &Arrival, call: &Outbound, reservation: &Reservation) -> Asking {
        Asking {
            gate: Arc::clone(self),
            caller: call.caller.clone(),
            session: call.session.clone(),
            connector: Arc::clone(&call.connector),
            client: Arc::clone(&call.client),
            downstream: arrival.downstream(self),
            call: Arc::clone(&call.call),
            rebate: (call.client.era() == Era::Stateless).then(|| reservation.rebate()),
        }
    }

    /// The client as it presents itself: in this request, or when it initialized.
    fn client_of(&self, arrival: &Arrival, call: &CallRequest) -> Arc<ClientFace> {
        match (call.face(), arrival.downstream(self)) {
            (Some(face), _) => Arc::clone(face),
            (None, Some(downstream)) => downstream.face(),
            (None, None) => Arc::clone(&self.unknown_client),
        }
    }

    /// What the relay of this call needs.
    fn errand(&self, arrival: Arrival, asking: Asking) -> Box<Errand> {
        let id = asking.call.id().clone();
        let service = asking.connector.service.clone();
        let entry = self.in_flight.enter(arrival.client_call(id.clone()), arrival.call_id);
        let generation = arrival.snapshot.directory.generation;
        let standing = Standing::of(&arrival.caller, &service, generation, &self.live);
        Box::new(Errand {
            id,
            service,
            call_id: arrival.call_id,
            started: arrival.started,
            client_ms_max: self.limits.reply_write_ms_max,
            room: Arc::clone(&self.reply_room),
            standing,
            asking,
            held: Some((arrival.slot, entry)),
            round_until: None,
        })
    }

    /// Counts and records a call that is not even decided.
    async fn hinder(
        &self,
        arrival: &Arrival,
        session: Option<&Session>,
        call: &CallRequest,
        hindrance: Hindrance,
    ) -> Refusal {
        let bundle = arrival.bundle();
        let denial = Denial::of(arrival.call_id, hindrance.reason, bundle.digest());
        // A server that is down is no fault of the caller's: it must not trip a circuit breaker.
        if let Some(session) = session.filter(|_| hindrance.reason != Reason::Unverified) {
            session.count_denial(&[], arrival.now);
        }
        let subject = match (call.method().operation(), bundle.connectors().resolve(call.name())) {
            (None, Ok((connector, tool))) => Subject::named(connector, tool),
            (Some(operation), Ok((connector, _))) => Subject::named(connector, operation),
            (Some(operation), Err(_)) => Subject::unowned(operation, call.name()),
            (None, Err(_)) => Subject::nowhere(call.name()),
        };
        let when = (arrival.call_id, arrival.now);
        let names = (call.name(), call.arguments());
        let record = Record::new(when, &arrival.caller, session, names, subject);
        let seen = hindrance.seen.unwrap_or_else(|| record.refusal(&denial));
        self.deny(&record, &denial, &History::default(), seen).await
    }
}
