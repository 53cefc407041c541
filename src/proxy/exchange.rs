//! The life of one call, in order. Read [`Gate::exchange`] here and `Gate::clear` (`clear.rs`) from top to
//! bottom: each step hands the next one a value that only it can make.
//!
//! ```text
//! admission -> identity -> body -> mcp -> connector -> session + policy   -> audit -> upstream -> relay
//! Slot         Caller      Bytes   Call   Resource     Permit, Reservation   Receipt  Reply       Outcome
//! ```
//!
//! Invariants: whatever fails before the upstream ends in a refusal and nothing leaves; each request of a
//! known caller that would reach an upstream is recorded, allowed or denied; one snapshot is used
//! throughout, and it is the one in force when everything that had to be waited for is there.

use std::sync::Arc;
use std::time::Instant;

use http::header::EXPECT;
use http::request::Parts;
use http::{HeaderMap, Method, Request, Response};
use hyper::body::Incoming;

use crate::mcp::{self, Era, Message, Method as McpMethod, Primitive, Refusal, Request as McpRequest};
use crate::model::{CallId, Caller, Digest, Timestamp};
use crate::policy::Bundle;
use crate::session::{self, Session};

use super::admission::Slot;
use super::body::Body;
use super::gate::Gate;
use super::head::{self, MCP_SESSION_ID};
use super::identity;
use super::listener::Peer;
use super::mirror;
use super::protocol::discovered;
use super::read;
use super::refusal::{self, Refused, json};
use super::snapshot::{Live, Snapshot};

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
    pub(super) slot: Slot,
}

impl Arrival {
    /// What decides this request: the set of the caller's agent.
    pub(super) fn bundle(&self) -> &Arc<Bundle> {
        self.snapshot.bundle_for(&self.caller.agent.id)
    }

    /// Takes what is in force now, where that has changed since: true then.
    ///
    /// # Errors
    /// The caller has lost its right meanwhile, or nobody could know.
    pub(super) fn renew(&mut self, live: &Live) -> Result<bool, Refusal> {
        if live.is_stale(Instant::now) {
            return Err(refusal::directory_stale());
        }
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
        if method == Method::GET {
            return Box::pin(self.open_stream(arrival)).await;
        }
        let mut arrival = arrival;
        let body = read::read(body, self.limits.body_bytes_max, self.limits.body_read_ms_max).await?;
        // The body may have taken its time: what holds is what is in force now.
        arrival.renew(&self.live)?;
        let message = mcp::read(body, self.limits.json).map_err(|fault| {
            let refused = refusal::of_message(&fault);
            Refused { refusal: mirror::unsupported(&arrival.headers, refused.refusal), ..refused }
        })?;
        match message {
            Message::Notification(notification) => {
                mirror::revision(&arrival.headers)?;
                Ok(self.notified(&arrival, &notification))
            }
            Message::Response(response) => self.answered(&arrival, response),
            Message::Request(request) => {
                let checked = mirror::check(&arrival.headers, &request);
                checked.map_err(|refusal| Refused::from(refusal).to(request.id().clone()))?;
                self.request(arrival, request).await
            }
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
        if method == Method::GET {
            head::check_get(&arrival.headers)?;
        } else if method != Method::DELETE {
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
        if self.live.is_stale(|| started) {
            return Err(refusal::directory_stale().into());
        }
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
        let era = request.face().map_or(Era::Session, |face| face.era());
        // What is seldom is boxed: its state would else be moved about with every call's.
        let answered = match request {
            McpRequest::Initialize { params, .. } => self.initialize(&arrival, &id, params),
            McpRequest::Ping { face: None, .. } => Ok(json(200, mcp::reply::empty_result(&id))),
            McpRequest::Discover { face: Some(_), .. } => Ok(discovered(&id)),
            McpRequest::List { of: Primitive::Tools, cursor, face, .. } => {
                Box::pin(self.tools_page(&arrival, &id, cursor.as_deref(), face.as_deref())).await
            }
            McpRequest::List { of, cursor, face, .. } => {
                Box::pin(self.primitives_page(&arrival, &id, of, cursor.as_deref(), face.as_deref())).await
            }
            McpRequest::Listen { params, face: Some(_), .. } => {
                Box::pin(self.listen(&arrival, &id, &params)).await
            }
            McpRequest::Call(call) if era == Era::Session || !call.method().is_of_session_era() => {
                match call.method() {
                    McpMethod::SetLevel => Box::pin(self.set_level(arrival, call)).await,
                    _ => self.call(arrival, call).await,
                }
            }
            other => Err(Refusal::UnknownMethod { era, method: other.method().to_owned() }.into()),
        };
        answered.map_err(|refused| refused.to(id))
    }
}
