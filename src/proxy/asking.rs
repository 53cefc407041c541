//! What an upstream asks of a client during a call: decided, counted and recorded like a call of the
//! operation (`sampling/createMessage`, `elicitation/create`, `roots/list`), then put to the client.
//!
//! Invariant: nothing reaches a client that its policies do not permit this connector to ask, or that
//! the client did not declare.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::audit::Receipt;
use crate::connector::Connector;
use crate::mcp::reply::Asked;
use crate::mcp::{CallRequest, ClientFace, Refusal, Revision};
use crate::model::{Caller, Decision, Outcome, OutcomeKind, Reason, Timestamp};
use crate::session::{Rebate, Session};
use crate::telemetry;

use super::call_id;
use super::decide::{Decided, Resolved, decide};
use super::downstream::Downstream;
use super::gate::Gate;
use super::record::{Record, Subject};
use super::refusal::cannot_record;
use super::streams::PostStream;

/// The call during which something is asked, and whom.
pub(super) struct Asking {
    pub gate: Arc<Gate>,
    pub caller: Caller,
    pub session: Session,
    pub connector: Arc<Connector>,
    pub client: Arc<ClientFace>,
    /// Session era: where its answers arrive.
    pub downstream: Option<Arc<Downstream>>,
    pub call: Arc<CallRequest>,
    /// Stateless era: takes this round out of the counters when the next one begins.
    pub rebate: Option<Rebate>,
}

/// Why something is not asked.
pub(super) struct NotAsked {
    /// For a client that is told instead of the upstream.
    pub refusal: Refusal,
    /// The raw JSON-RPC error for the upstream.
    pub error: String,
}

/// A question that may be put to the client; its record is open until it is answered.
pub(super) struct Permitted {
    receipt: Receipt,
    asked_at: std::time::Instant,
}

impl Permitted {
    /// How it ended.
    pub fn complete(self, kind: OutcomeKind) {
        let duration_ms = u64::try_from(self.asked_at.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.receipt.complete(Outcome { kind, status: 0, bytes: 0, duration_ms });
    }
}

impl Asking {
    /// Where a stream to this client is kept: one of a session that the gate gave, of a revision that
    /// knows how to come back (2025-11-25).
    pub fn post_stream(&self) -> Option<Arc<PostStream>> {
        let digest = self.client.mcp_session?;
        let comes_back = self.client.revision == Revision::R2025_11_25;
        let service = self.connector.service.clone();
        comes_back.then(|| self.gate.streams.post(&self.caller, &self.session, digest, service))
    }

    /// What the client sees where the service was taken from its agent meanwhile.
    pub fn not_enabled(&self) -> Refusal {
        let (name, operation) = (self.call.name(), self.call.method().operation());
        let asked = match operation {
            Some(operation) => (Asked::Operation, operation),
            None => (Asked::Tool, name.split_once("__").map_or(name, |(_, tool)| tool)),
        };
        let decision = Decision::denied(Reason::ServiceNotEnabled);
        Refusal::of_decision(name, asked, &self.caller.agent.name, &decision)
    }

    /// Whether this may be asked now.
    ///
    /// # Errors
    /// [`NotAsked`]
    pub async fn permit(&self, method: &str, params: &str) -> Result<Permitted, NotAsked> {
        let lacking = || NotAsked {
            refusal: Refusal::MissingCapability { required: vec![capability(method)] },
            error: error(-32601, &format!("the client does not support `{method}`")),
        };
        if !self.client.capabilities.allow_request(method, params) {
            return Err(lacking());
        }
        let tool = self.connector.operations.get(method).ok_or_else(lacking)?;
        let now = Timestamp::now();
        let call_id = call_id::mint(now);
        let bundle = Arc::clone(self.gate.live.load().bundle_for(&self.caller.agent.id));
        let arguments: Value = serde_json::from_str(params).unwrap_or_default();
        let resource = self.connector.service_resource();
        let (connector, caller) = (&*self.connector, &self.caller);
        let asked =
            Resolved { call_id, caller, connector, tool, arguments: &arguments, resource: &resource, now };
        let decided = decide(&bundle, &self.session, &asked);
        let subject = Subject::of(connector, tool, &resource);
        let name = format!("{}__{method}", connector.service);
        let record = Record::new((call_id, now), caller, Some(&self.session), (&name, params), subject);
        match decided {
            Decided::Denied { denial, history } => {
                let seen = record.refusal(&denial);
                let seen = self.gate.deny(&record, &denial, &history, seen).await;
                Err(NotAsked { error: error(seen.code().into(), &seen.message()), refusal: seen })
            }
            Decided::Allowed { permit, mut reservation, history } => {
                match self.gate.journal.intent(&permit, &record.facts(&history)).await {
                    Ok(receipt) => {
                        reservation.reached();
                        telemetry::decision(permit.decision());
                        Ok(Permitted { receipt, asked_at: std::time::Instant::now() })
                    }
                    Err(fault) => {
                        tracing::error!(request_id = %call_id, error = %fault, "cannot record: nothing is asked");
                        reservation.release();
                        let error = error(-32603, "the gate cannot record this, so nothing is asked");
                        Err(NotAsked { refusal: cannot_record(), error })
                    }
                }
            }
        }
    }
}

/// The capability that a method needs: the part before the slash, in every revision.
fn capability(method: &str) -> String {
    method.split('/').next().unwrap_or_default().to_owned()
}

fn error(code: i64, message: &str) -> String {
    json!({"code": code, "message": message}).to_string()
}
