//! Subscriptions that policies forbid later: their receivers are told (`mailbox/silence.rs`), and the audit holds a denial
//! of `resources/subscribe` for each, once for each time that it turns.
//!
//! Invariants: it is looked for when policies are put in force, and whenever something is to be told; the record is of
//! the decision of that moment, counts nothing, and holds back no news where it cannot be written.

use serde_json::json;

use super::mailbox::{Mailbox, SUBSCRIBE, Silenced};
use super::{AT_ONCE, Streams, Whose};
use crate::model::{History, Timestamp};
use crate::policy::{Denial, Moment, Needs, Verdict};
use crate::proxy::call_id;
use crate::proxy::record::{Record, Subject};
use crate::proxy::snapshot::Snapshot;
use crate::telemetry;

impl Streams {
    /// Other policies are in force for these.
    pub(super) async fn policies_changed(&self, whose: Whose) {
        self.all_changed(whose);
        let snapshot = self.live.load();
        for (index, mailbox) in self.all().into_iter().enumerate() {
            if mailbox.is_of(whose) {
                mailbox.look_at_policies(&snapshot);
                self.record_silenced(&mailbox, &snapshot).await;
            }
            if index % AT_ONCE == AT_ONCE - 1 {
                tokio::task::yield_now().await;
            }
        }
    }

    /// Records what this receiver was told to be forbidden.
    pub(super) async fn record_silenced(&self, mailbox: &Mailbox, snapshot: &Snapshot) {
        for silenced in mailbox.take_unrecorded() {
            self.record(mailbox, &silenced, snapshot).await;
        }
    }

    async fn record(&self, mailbox: &Mailbox, silenced: &Silenced, snapshot: &Snapshot) {
        let (caller, session, now) = (mailbox.caller(), mailbox.session(), Timestamp::now());
        let bundle = snapshot.bundle_for(&caller.agent.id);
        let Some(connector) = bundle.connectors().get(silenced.service.as_str()) else { return };
        let Some(tool) = connector.operations.get(SUBSCRIBE) else { return };
        let (call_id, resource) = (call_id::mint(now), connector.service_resource());
        let arguments = json!({ "uri": &*silenced.uri });
        let decided: Option<(Denial, History)> = {
            let asked = bundle.ask(&caller, connector, tool, &resource);
            let read = |needs: &Needs| session.read(&needs.session, &needs.member, now).0;
            let history = read(asked.needs());
            let moment = Moment { call: call_id, arguments: &arguments, history: &history, now };
            match asked.authorise(&moment, read) {
                Verdict::Deny(denial) => Some((denial, history)),
                // It turned again meanwhile.
                Verdict::Allow(_) => None,
            }
        };
        let Some((denial, history)) = decided else { return };
        let (name, params) = (format!("{}__{SUBSCRIBE}", connector.service), arguments.to_string());
        let subject = Subject::of(connector, tool, &resource);
        let record = Record::new((call_id, now), &caller, Some(session), (&name, &params), subject);
        telemetry::decision(denial.decision());
        if let Err(error) = self.journal.denial(&denial, &record.facts(&history)).await {
            tracing::error!(request_id = %call_id, %error, "cannot record that a subscription is forbidden now");
        }
    }
}
