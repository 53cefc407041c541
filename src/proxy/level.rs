//! `logging/setLevel` (session era): kept for the client, and told to each upstream that logs, decided and
//! recorded as that connector's operation.
//!
//! An upstream of the stateless era is told with each request (`_meta`); a child process is shared by all
//! clients, so no client sets the level for the others there: its lines are filtered on the way down.

use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::future::join_all;
use http::Response;

use crate::connector::{Connector, Transport};
use crate::mcp::{CallRequest, ClientFace, Era, Refusal, reply};
use crate::model::{Outcome, OutcomeKind, Timestamp};
use crate::session::Session;
use crate::telemetry;

use super::body::Body;
use super::call_id;
use super::decide::{Decided, Resolved, decide};
use super::exchange::Arrival;
use super::gate::Gate;
use super::record::{Record, Subject};
use super::refusal::{Refused, json};
use super::upstream::{Outbound, ReplyEvent, Sent};

/// RFC 5424's severities, mildest first (MCP 2025-11-25, logging).
const LEVELS: [&str; 8] = ["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"];
/// The operation.
const OPERATION: &str = "logging/setLevel";

impl Gate {
    /// Keeps the level for the session and tells it to the upstreams that this client has sessions with.
    /// One that cannot be told, or may not, goes on as it was: its lines are filtered all the same.
    pub(super) async fn set_level(
        self: &Arc<Self>,
        arrival: Arrival,
        call: CallRequest,
    ) -> Result<Response<Body>, Refused> {
        let level = call.name();
        if !LEVELS.contains(&level) {
            return Err(Refusal::InvalidParams {
                what: "`level` is none of debug, info, notice, warning, error, critical, alert and emergency",
            }
            .into());
        }
        let id = call.id().clone();
        if let (Some(downstream), Some((session, digest))) = (arrival.downstream(self), &arrival.mcp_session)
        {
            downstream.set_level(level);
            self.streams.set_level(&arrival.caller, session, *digest, level);
            let client = downstream.face();
            let (arrival, session, call) = (&arrival, session, &Arc::new(call));
            let connectors = arrival.bundle().connectors();
            let enabled = connectors.iter().filter(|connector| self.takes_levels(arrival, connector));
            let told = enabled.map(|connector| self.tell_level(arrival, session, connector, call, &client));
            join_all(told).await;
        }
        Ok(json(200, reply::empty_result(&id)))
    }

    /// Whether the connector's upstream keeps a level for each session, as far as is known.
    fn takes_levels(&self, arrival: &Arrival, connector: &Connector) -> bool {
        let enabled = arrival.caller.agent.services.contains(&connector.service);
        let over_http = matches!(connector.transport, Transport::Http { .. });
        let info = self.upstreams.info(&connector.service).filter(|info| info.revision.era() == Era::Session);
        enabled && over_http && info.is_some_and(|info| info.offers.logging)
    }

    async fn tell_level(
        &self,
        arrival: &Arrival,
        session: &Session,
        connector: &Arc<Connector>,
        call: &Arc<CallRequest>,
        client: &Arc<ClientFace>,
    ) {
        let Some(tool) = connector.operations.get(OPERATION) else { return };
        let now = Timestamp::now();
        let call_id = call_id::mint(now);
        let (caller, resource) = (&arrival.caller, connector.service_resource());
        let arguments = call.arguments_value();
        let asked = Resolved { call_id, caller, connector, tool, arguments, resource: &resource, now };
        let decided = decide(arrival.bundle(), session, &asked);
        let subject = Subject::of(connector, tool, &resource);
        let names = (OPERATION, call.arguments());
        let record = Record::new((call_id, now), caller, Some(session), names, subject);
        let (permit, reservation, history) = match decided {
            Decided::Allowed { permit, reservation, history } => (permit, reservation, history),
            Decided::Denied { denial, history } => {
                self.deny(&record, &denial, &history, record.refusal(&denial)).await;
                return;
            }
        };
        let Ok(receipt) = self.journal.intent(&permit, &record.facts(&history)).await else {
            return reservation.release();
        };
        telemetry::decision(permit.decision());
        let outbound = Outbound {
            connector: Arc::clone(connector),
            tool: tool.name.clone(),
            call: Arc::clone(call),
            client: Arc::clone(client),
            retry: None,
            call_id,
            caller: caller.clone(),
            session: session.clone(),
        };
        let (receipt, kind, status) = match self.upstreams.send(permit, receipt, reservation, outbound).await
        {
            Sent::Reply(mut reply) => {
                let kind = match reply.stream.next().await {
                    Some(ReplyEvent::Json { kind, .. }) => kind,
                    _ => OutcomeKind::Broken,
                };
                (reply.receipt, kind, reply.status)
            }
            Sent::Failed { receipt, failure } => (receipt, failure.outcome_kind(), failure.status()),
        };
        receipt.complete(Outcome { kind, status, bytes: 0, duration_ms: 0 });
    }
}
