//! A subscription of `subscriptions/listen`: decided, counted and recorded as `resources/subscribe`.
//!
//! Invariant: nothing is subscribed to that was not permitted and recorded first.

use std::sync::Arc;

use serde_json::json;

use crate::connector::Connector;
use crate::model::{Outcome, OutcomeKind, Timestamp};
use crate::proxy::call_id;
use crate::proxy::decide::{Decided, Resolved, decide};
use crate::proxy::exchange::Arrival;
use crate::proxy::gate::Gate;
use crate::proxy::record::{Record, Subject};
use crate::proxy::upstream::Hold;
use crate::session::Session;
use crate::telemetry;

const OPERATION: &str = "resources/subscribe";

impl Gate {
    /// Subscribes to a resource of this connector, if the caller may; nothing where it may not, or where
    /// the upstream has no subscriptions.
    pub(super) async fn subscribe_for(
        &self,
        arrival: &Arrival,
        session: &Session,
        connector: &Arc<Connector>,
        uri: &str,
    ) -> Option<Hold> {
        let tool = connector.operations.get(OPERATION)?;
        let now = Timestamp::now();
        let call_id = call_id::mint(now);
        let bundle = arrival.bundle();
        let arguments = json!({ "uri": uri });
        let (caller, resource) = (&arrival.caller, connector.service_resource());
        let asked =
            Resolved { call_id, caller, connector, tool, arguments: &arguments, resource: &resource, now };
        let decided = decide(bundle, session, &asked);
        let params = arguments.to_string();
        let name = format!("{}__{OPERATION}", connector.service);
        let subject = Subject::of(connector, tool, &resource);
        let record = Record::new((call_id, now), caller, Some(session), (&name, &params), subject);
        let (permit, mut reservation, history) = match decided {
            Decided::Allowed { permit, reservation, history } => (permit, reservation, history),
            Decided::Denied { denial, history } => {
                let seen = record.refusal(&denial);
                drop(self.deny(&record, &denial, &history, seen).await);
                return None;
            }
        };
        let receipt = match self.journal.intent(&permit, &record.facts(&history)).await {
            Ok(receipt) => receipt,
            Err(error) => {
                tracing::error!(request_id = %call_id, %error, "cannot record: nothing is subscribed to");
                reservation.release();
                return None;
            }
        };
        telemetry::decision(permit.decision());
        reservation.reached();
        let began = std::time::Instant::now();
        let watched = self.upstreams.watch(&connector.service, uri, caller.member.id).await;
        let kind = match &watched {
            Ok(Some(_)) => OutcomeKind::Result,
            Ok(None) => OutcomeKind::RpcError,
            Err(failure) => failure.outcome_kind(),
        };
        let duration_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        receipt.complete(Outcome { kind, status: 0, bytes: 0, duration_ms });
        watched.ok().flatten()
    }
}
