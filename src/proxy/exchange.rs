//! The life of one call, in order. Read [`Gate::exchange`] and [`Gate::clear`] from top to bottom:
//! each step hands the next one a value that only it can make.
//!
//! ```text
//! admission -> identity -> body -> mcp -> connector -> session + policy   -> audit -> upstream -> relay
//! Slot         Caller      Bytes   Call   Resource     Permit, Reservation   Receipt  Reply       Outcome
//! ```
//!
//! Invariants: whatever fails before the upstream ends in a refusal and nothing leaves; each
//! `tools/call` of a known caller is recorded, allowed or denied; one snapshot is used throughout, and
//! it is the one in force when everything that had to be waited for is there.

use std::sync::Arc;
use std::time::Instant;

use http::header::EXPECT;
use http::request::Parts;
use http::{HeaderMap, Method, Request, Response};
use hyper::body::Incoming;

use crate::audit::Receipt;
use crate::connector::{Connector, Tool, resource_of};
use crate::mcp::{
    self, CallRequest, ClientFace, Era, Message, Primitive, Refusal, Request as McpRequest, RequestId,
};
use crate::model::{CallId, Caller, Digest, History, Reason, ServiceKey, Timestamp, ToolName};
use crate::policy::{Denial, Permit};
use crate::session::{self, Reservation, Session};
use crate::telemetry;

use super::admission::Slot;
use super::body::Body;
use super::decide::{Decided, Resolved, decide};
use super::gate::Gate;
use super::head::{self, MCP_SESSION_ID};
use super::identity;
use super::lasting::{self, Panicked};
use super::listener::Peer;
use super::read;
use super::record::{Record, Subject};
use super::refusal::{self, Refused, cannot_record, json};
use super::relay::{self, Errand, Standing};
use super::snapshot::{Live, Snapshot};
use super::upstream::{Outbound, Standing as ToolStanding};

/// How often a call is resolved anew because what is in force changed meanwhile.
const RESOLUTIONS_MAX: u32 = 3;

/// One request that was admitted and identified.
pub(super) struct Arrival {
    pub call_id: CallId,
    pub now: Timestamp,
    pub started: Instant,
    pub snapshot: Arc<Snapshot>,
    pub caller: Caller,
    pub headers: HeaderMap,
    /// The session that the request's `Mcp-Session-Id` names, and the digest of that id.
    pub mcp_session: Option<(Session, Digest)>,
    slot: Slot,
}

/// A call that may leave: its permit, its record, its place in the counters, and how its reply goes
/// down.
struct Cleared {
    permit: Permit,
    receipt: Receipt,
    reservation: Reservation,
    outbound: Outbound,
    errand: Errand,
}

impl Arrival {
    /// Takes what is in force now, where that has changed since: true then.
    ///
    /// # Errors
    /// The caller has lost its right meanwhile.
    fn renew(&mut self, live: &Live) -> Result<bool, Refusal> {
        let snapshot = live.load();
        if Arc::ptr_eq(&snapshot, &self.snapshot) {
            return Ok(false);
        }
        let entry = snapshot.directory.key_of(&self.caller.key).ok_or(Refusal::UnknownKey)?;
        self.caller.agent = Arc::clone(&entry.agent);
        self.caller.member = Arc::clone(&entry.member);
        identity::standing(&self.caller)?;
        self.snapshot = snapshot;
        Ok(true)
    }
}

/// Why a call is not even decided, and what the client sees of it where that is not the denial.
struct Hindrance {
    reason: Reason,
    seen: Option<Refusal>,
}

impl From<Reason> for Hindrance {
    fn from(reason: Reason) -> Self {
        Self { reason, seen: None }
    }
}

impl Gate {
    /// From a request to its answer.
    pub(super) async fn exchange(
        self: Arc<Self>,
        request: Request<Incoming>,
        peer: Peer,
        call_id: CallId,
        now: Timestamp,
    ) -> Result<Response<Body>, Refused> {
        let (parts, mut body) = request.into_parts();
        let waits_to_send = parts.headers.contains_key(EXPECT);
        let (method, arrival) = match self.admit(parts, peer, call_id, now) {
            Ok(admitted) => admitted,
            Err(refused) => {
                // A client that is still sending reads no answer before it is done.
                // Under overload nothing more is done for anybody.
                if !waits_to_send && !matches!(refused.refusal, Refusal::Overloaded { .. }) {
                    read::discard(&mut body).await;
                }
                return Err(refused);
            }
        };
        if method == Method::DELETE {
            return self.end_session(&arrival);
        }
        let mut arrival = arrival;
        let body = read::read(body, self.limits.body_bytes_max, self.limits.body_read_ms_max).await?;
        // The body may have taken its time: what holds is what is in force now.
        arrival.renew(&self.live)?;
        match mcp::read(body, self.limits.json).map_err(|fault| refusal::of_message(&fault))? {
            Message::Notification(notification) => Ok(self.notified(&arrival, &notification)),
            // The gate sends its clients no requests yet, so nothing is answered by this.
            Message::Response(_) => Err(Refusal::InvalidRequest { what: "a response to no request" }.into()),
            Message::Request(request) => self.request(arrival, request).await,
        }
    }

    /// Everything that can be said of a request without its body.
    fn admit(
        &self,
        parts: Parts,
        peer: Peer,
        call_id: CallId,
        now: Timestamp,
    ) -> Result<(Method, Arrival), Refused> {
        head::check(&parts, &self.limits.allowed_origins)?;
        let slot = self.admission.enter()?;
        let (method, arrival) = self.arrive(parts, peer, slot, call_id, now)?;
        if method != Method::DELETE {
            head::check_post(&arrival.headers, self.limits.body_bytes_max)?;
        }
        Ok((method, arrival))
    }

    /// Who is asking, and may they ask now: key, bucket, standing, slot, session.
    fn arrive(
        &self,
        parts: Parts,
        peer: Peer,
        mut slot: Slot,
        call_id: CallId,
        now: Timestamp,
    ) -> Result<(Method, Arrival), Refused> {
        let started = Instant::now();
        let snapshot = self.live.load();
        let headers = parts.headers;
        let ip = head::caller_ip(&headers, peer, &self.limits.trusted_proxies);
        let identified = identity::identify(&headers, &snapshot.directory, &self.pepper, ip)?;
        let caller = identified.caller;
        self.admission.spend(caller.key, identified.rate, now)?;
        identity::standing(&caller)?;
        self.admission.assign(&mut slot, caller.member.id)?;
        let mcp_session = match headers.get(MCP_SESSION_ID).map(|value| value.to_str().unwrap_or_default()) {
            None => None,
            Some(id) => {
                let digest = session::mcp_session_digest(id);
                let found = self.sessions.find_mcp(caller.member.id, &digest, now);
                Some((found.ok_or(Refusal::UnknownSession)?, digest))
            }
        };
        Ok((parts.method, Arrival { call_id, now, started, snapshot, caller, headers, mcp_session, slot }))
    }

    async fn request(
        self: Arc<Self>,
        arrival: Arrival,
        request: McpRequest,
    ) -> Result<Response<Body>, Refused> {
        let id = request.id().clone();
        let answered = match request {
            McpRequest::Initialize { params, .. } => self.initialize(&arrival, &id, params),
            McpRequest::Ping { .. } => Ok(json(200, mcp::reply::empty_result(&id))),
            McpRequest::List { of: Primitive::Tools, cursor, .. } => {
                self.tools_page(&arrival, &id, cursor.as_deref()).await
            }
            McpRequest::Call(call) => self.call(arrival, call).await,
            other => {
                let (era, method) = (Era::Session, other.method().to_owned());
                Err(Refusal::UnknownMethod { era, method }.into())
            }
        };
        answered.map_err(|refused| refused.to(id))
    }

    /// One `tools/call`. A client that leaves neither cancels it (MCP 2025-11-25: a disconnect is not a
    /// cancellation) nor leaves it unrecorded. The answer is how the reply begins.
    async fn call(self: Arc<Self>, arrival: Arrival, call: CallRequest) -> Result<Response<Body>, Refused> {
        let begun = lasting::begin(|beginning| async move {
            match self.clear(arrival, call).await {
                Ok(Cleared { permit, receipt, reservation, outbound, errand }) => {
                    let sent = self.upstreams.send(permit, receipt, reservation, outbound).await;
                    relay::carry(sent, errand, beginning).await;
                }
                // A client that left does not hear why.
                Err(refused) => drop(beginning.send(Err(refused))),
            }
        });
        // A call that panicked leaves its receipt, if there was one, as `unknown`.
        begun.await.unwrap_or_else(|Panicked| Err(Refusal::Internal.into()))
    }

    /// From a call to the papers without which it cannot be sent.
    async fn clear(&self, mut arrival: Arrival, call: CallRequest) -> Result<Cleared, Refused> {
        let (call_id, now) = (arrival.call_id, arrival.now);
        let session = match self.session_of(&arrival, call.conversation_id()) {
            Ok(session) => session,
            Err(refusal) => {
                let hindrance = Hindrance { reason: Reason::Unaccountable, seen: Some(refusal) };
                return Err(self.hinder(&arrival, None, &call, hindrance).await.into());
            }
        };
        arrival.caller.session = Some(session.id());
        let (connector, tool) = match self.resolve_now(&mut arrival, call.name()).await {
            Ok(resolved) => resolved,
            Err(hindrance) => {
                return Err(self.hinder(&arrival, Some(&session), &call, hindrance).await.into());
            }
        };
        let bundle = &arrival.snapshot.bundle;
        let caller = &arrival.caller;
        let resource = resource_of(&connector, &tool, call.arguments_value());
        let asked = Resolved {
            call_id,
            caller,
            connector: &connector,
            tool: &tool,
            call: &call,
            resource: &resource,
            now,
        };
        let decided = decide(bundle, &session, &asked);
        let subject = Subject::of(&connector, &tool, &resource);
        let record = Record::new((call_id, now), caller, Some(&session), &call, subject);
        let (permit, reservation, history) = match decided {
            Decided::Allowed { permit, reservation, history } => (permit, reservation, history),
            Decided::Denied { denial, history } => {
                return Err(self.deny(&record, &denial, &history, record.refusal(&denial)).await.into());
            }
        };
        let receipt = match self.journal.intent(&permit, &record.facts(&history)).await {
            Ok(receipt) => receipt,
            Err(error) => {
                tracing::error!(request_id = %call_id, %error, "cannot record: the call is refused");
                reservation.release();
                return Err(cannot_record().into());
            }
        };
        telemetry::decision(permit.decision());
        let errand = self.errand(&arrival, call.id().clone(), connector.service.clone());
        let Arrival { caller, slot, .. } = arrival;
        let errand = errand(slot);
        let tool = tool.name.clone();
        let client = Arc::new(ClientFace::unknown());
        let outbound = Outbound { connector, tool, call_id, caller, session, call, client, retry: None };
        Ok(Cleared { permit, receipt, reservation, outbound, errand })
    }

    /// What the relay of this call needs, but for its slot.
    fn errand(
        &self,
        arrival: &Arrival,
        id: RequestId,
        service: ServiceKey,
    ) -> impl FnOnce(Slot) -> Errand + use<> {
        let entry = self.in_flight.enter(arrival.client_call(id.clone()), arrival.call_id);
        let generation = arrival.snapshot.directory.generation;
        let standing = Standing::of(&arrival.caller, &service, generation, &self.live);
        let (call_id, started) = (arrival.call_id, arrival.started);
        let client_ms_max = self.limits.reply_write_ms_max;
        let room = Arc::clone(&self.reply_room);
        move |slot| Errand {
            id,
            service,
            call_id,
            started,
            client_ms_max,
            room,
            standing,
            _held: (slot, entry),
        }
    }

    /// Counts and records a call that is not even decided.
    async fn hinder(
        &self,
        arrival: &Arrival,
        session: Option<&Session>,
        call: &CallRequest,
        hindrance: Hindrance,
    ) -> Refusal {
        let bundle = &arrival.snapshot.bundle;
        let denial = Denial::of(arrival.call_id, hindrance.reason, bundle.digest());
        // A server that is down is no fault of the caller's: it must not trip a circuit breaker.
        if let Some(session) = session.filter(|_| hindrance.reason != Reason::Unverified) {
            session.count_denial(&[], arrival.now);
        }
        let subject = match bundle.connectors().resolve(call.name()) {
            Ok((connector, tool)) => Subject::named(connector, tool),
            Err(_) => Subject::nowhere(call.name()),
        };
        let when = (arrival.call_id, arrival.now);
        let record = Record::new(when, &arrival.caller, session, call, subject);
        let seen = hindrance.seen.unwrap_or_else(|| record.refusal(&denial));
        self.deny(&record, &denial, &History::default(), seen).await
    }

    /// The same under what is in force when it is known: a tool's list may have to be waited for, and
    /// meanwhile the key may be revoked or a policy changed.
    async fn resolve_now(
        &self,
        arrival: &mut Arrival,
        name: &str,
    ) -> Result<(Arc<Connector>, Arc<Tool>), Hindrance> {
        for _ in 0..RESOLUTIONS_MAX {
            let resolved = self.resolve(arrival, name).await?;
            let seen = |refusal| Hindrance { reason: Reason::Unaccountable, seen: Some(refusal) };
            if !arrival.renew(&self.live).map_err(seen)? {
                return Ok(resolved);
            }
        }
        let seen = Some(Refusal::Overloaded { retry_after_s: 1 });
        Err(Hindrance { reason: Reason::Unaccountable, seen })
    }

    /// The connector and the tool that a name means, if the agent has the connector enabled and the
    /// tool's definition is the accepted one.
    async fn resolve(&self, arrival: &Arrival, name: &str) -> Result<(Arc<Connector>, Arc<Tool>), Hindrance> {
        let resolved = arrival.snapshot.bundle.connectors().resolve(name);
        let (connector, tool) = resolved.map_err(|fault| Hindrance {
            reason: Reason::UnknownTool,
            seen: Some(refusal::of_resolution(fault, name)),
        })?;
        if !arrival.caller.agent.services.contains(&connector.service) {
            return Err(Reason::ServiceNotEnabled.into());
        }
        let tool = ToolName::parse(tool).ok().and_then(|tool| connector.tools.get(&tool));
        let tool = tool.ok_or(Reason::UnknownTool)?;
        match self.upstreams.standing(&connector.service, &tool.name).await {
            Ok(ToolStanding::Served) => Ok((Arc::clone(connector), Arc::clone(tool))),
            Ok(ToolStanding::Quarantined(_)) => Err(Reason::Quarantined.into()),
            Ok(ToolStanding::NotOffered) => Err(Reason::UnknownTool.into()),
            // Nobody can say whether the tool is still the one that was accepted.
            Err(failure) => Err(Hindrance {
                reason: Reason::Unverified,
                seen: Some(refusal::of_upstream(connector.service.as_str(), &failure)),
            }),
        }
    }
}
