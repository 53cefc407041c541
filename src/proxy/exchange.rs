//! The life of one call, in order. Read [`Gate::exchange`] and [`Gate::call`] from top to bottom:
//! each step hands the next one a value that only it can make.
//!
//! ```text
//! admission -> identity -> body -> mcp -> connector -> session + policy   -> audit -> upstream -> relay
//! Slot         Caller      Bytes   Call   Resource     Permit, Reservation   Receipt  Reply       Outcome
//! ```
//!
//! Invariants: whatever fails before the upstream ends in a refusal and nothing leaves; each
//! `tools/call` of a known caller that names a connector is recorded, allowed or denied; one snapshot
//! is used throughout.

use std::sync::Arc;
use std::time::Instant;

use http::header::EXPECT;
use http::request::Parts;
use http::{HeaderMap, Method, Request, Response};
use hyper::body::Incoming;
use tokio::sync::oneshot;

use crate::audit::Receipt;
use crate::connector::{Connector, Tool, resource_of};
use crate::mcp::{self, CallRequest, Era, Message, Refusal, Request as McpRequest};
use crate::model::{CallId, Caller, Digest, History, Reason, Timestamp, ToolName};
use crate::policy::{Denial, Permit};
use crate::session::{self, Reservation, Session};
use crate::telemetry;

use super::admission::Slot;
use super::body::Body;
use super::decide::{Decided, Resolved, decide};
use super::gate::Gate;
use super::head::{self, MCP_SESSION_ID};
use super::identity;
use super::listener::Peer;
use super::read;
use super::record::{Record, Subject};
use super::refusal::{self, Refused, cannot_record, json};
use super::relay::{self, Errand, Standing};
use super::snapshot::Snapshot;
use super::upstream::{Outbound, Standing as ToolStanding};

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
                if !waits_to_send {
                    read::discard(&mut body).await;
                }
                return Err(refused);
            }
        };
        if method == Method::DELETE {
            return self.end_session(&arrival);
        }
        let body = read::read(body, self.limits.body_bytes_max, self.limits.body_read_ms_max).await?;
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
            McpRequest::ToolsList { cursor, .. } => self.tools_page(&arrival, &id, cursor.as_deref()).await,
            McpRequest::ToolsCall(call) => self.call(arrival, call).await,
            McpRequest::Unsupported { method, .. } => {
                Err(Refusal::UnknownMethod { era: Era::Session, method }.into())
            }
        };
        answered.map_err(|refused| refused.to(id))
    }

    /// One `tools/call`.
    async fn call(self: Arc<Self>, arrival: Arrival, call: CallRequest) -> Result<Response<Body>, Refused> {
        let snapshot = Arc::clone(&arrival.snapshot);
        let bundle = &snapshot.bundle;
        let (call_id, now) = (arrival.call_id, arrival.now);
        let session = match self.session_of(&arrival, call.conversation_id()) {
            Ok(session) => session,
            Err(refusal) => {
                let hindrance = Hindrance { reason: Reason::Unaccountable, seen: Some(refusal) };
                return Err(self.hinder(&arrival, None, &call, hindrance).await.into());
            }
        };
        let mut caller = arrival.caller.clone();
        caller.session = Some(session.id());
        let (connector, tool) = match self.resolve(&arrival, call.name()).await {
            Ok(resolved) => resolved,
            Err(hindrance) => {
                return Err(self.hinder(&arrival, Some(&session), &call, hindrance).await.into());
            }
        };
        let resource = resource_of(&connector, &tool, call.arguments_value());
        let asked = Resolved {
            call_id,
            caller: &caller,
            connector: &connector,
            tool: &tool,
            call: &call,
            resource: &resource,
            now,
        };
        let decided = decide(bundle, &session, &asked);
        let subject = Subject::of(&connector, &tool, &resource);
        let record = Record::new((call_id, now), &caller, Some(&session), &call, subject);
        let (permit, reservation, history) = match decided {
            Decided::Allowed { permit, reservation, history } => (permit, reservation, history),
            Decided::Denied { denial, history } => {
                return Err(self.deny(&record, &denial, &history, record.refusal(&denial)).await.into());
            }
        };
        telemetry::decision(permit.decision());
        let receipt = match self.journal.intent(&permit, &record.facts(&history)).await {
            Ok(receipt) => receipt,
            Err(error) => {
                tracing::error!(request_id = %call_id, %error, "cannot record: the call is refused");
                reservation.release();
                return Err(cannot_record().into());
            }
        };
        let tool = tool.name.clone();
        let outbound = Outbound { connector, tool, call_id, caller, session, call };
        self.send(arrival, permit, receipt, reservation, outbound).await
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
        if let Some(session) = session {
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

    /// Sends the call in a task of its own, so that a client that leaves cancels nothing, and answers
    /// with how the reply begins.
    async fn send(
        self: Arc<Self>,
        arrival: Arrival,
        permit: Permit,
        receipt: Receipt,
        reservation: Reservation,
        outbound: Outbound,
    ) -> Result<Response<Body>, Refused> {
        let id = outbound.call.id().clone();
        let entry = self.in_flight.enter(arrival.client_call(id.clone()), arrival.call_id);
        let errand = Errand {
            id,
            service: outbound.connector.service.clone(),
            call_id: arrival.call_id,
            started: arrival.started,
            client_ms_max: self.limits.reply_write_ms_max,
            standing: Standing {
                caller: arrival.caller,
                live: Arc::clone(&self.live),
                generations: self.live.generations(),
            },
            _held: (arrival.slot, entry),
        };
        let service = errand.service.to_string();
        let (beginning, begun) = oneshot::channel();
        tokio::spawn(async move {
            let sent = self.upstreams.send(permit, receipt, reservation, outbound).await;
            relay::carry(sent, errand, beginning).await;
        });
        // A task that panicked leaves its receipt as `unknown` and its client with a 502.
        begun.await.unwrap_or_else(|_| Err(Refusal::UpstreamBroken { service }.into()))
    }
}
