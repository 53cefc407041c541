//! What a receiver is told when policies forbid later what it subscribed to, and when they permit it again.
//!
//! Invariants: each turn is told once; in the stateless era the stream ends with an error, so that its client asks anew
//! and reads what is left; the session era has no word for it, so the list of resources is told as changed, and whoever
//! reads the log reads why; what is forbidden is not named; what is permitted again is told as updated, where its
//! receiver is still there; each turn to forbidden waits here to be recorded.

use std::sync::Arc;

use serde_json::json;

use super::{LOSS_LEVEL, Mailbox, SUBSCRIBE};
use crate::mcp::{Primitive, Told};
use crate::model::ServiceKey;
use crate::proxy::snapshot::Snapshot;

/// A subscription that policies forbid since.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Silenced {
    pub service: ServiceKey,
    pub uri: Arc<str>,
}

impl Mailbox {
    /// Compares what it subscribed to with what policies permit now.
    pub fn look_at_policies(&self, snapshot: &Snapshot) {
        let held: Vec<(ServiceKey, Arc<str>)> = {
            let state = self.state.lock();
            state.wants.uris.iter().map(|(uri, (service, _))| (service.clone(), Arc::clone(uri))).collect()
        };
        for (service, uri) in held {
            match self.may(&service, SUBSCRIBE, &json!({ "uri": &*uri }), snapshot) {
                true if self.speaks_again(&uri) => self.put(Arc::new(Told::updated(&uri))),
                true => {}
                false => self.silence(&service, &uri, snapshot),
            }
        }
    }

    /// Policies permit it. True where they did not before: what was said meanwhile is missed.
    pub(super) fn speaks_again(&self, uri: &str) -> bool {
        self.state.lock().silenced.remove(uri)
    }

    /// Policies do not permit to hear of it.
    pub(super) fn silence(&self, service: &ServiceKey, uri: &Arc<str>, snapshot: &Snapshot) {
        // An agent that lost the service is told in its own way.
        if !self.has(service, snapshot) {
            return;
        }
        {
            let mut state = self.state.lock();
            let state = &mut *state;
            if !state.wants.uris.contains_key(uri) || !state.silenced.insert(Arc::clone(uri)) {
                return;
            }
            state.unrecorded.push(Silenced { service: service.clone(), uri: Arc::clone(uri) });
        }
        if self.subscription.is_some() {
            return self.withdraw(None);
        }
        self.list_changed(Primitive::Resources);
        let reads = self.state.lock().wants.reads(LOSS_LEVEL);
        if reads && self.may(service, "logging/setLevel", &json!({ "level": LOSS_LEVEL }), snapshot) {
            let text = "the policies do not permit to hear of a resource of this service any more: subscribe again to \
                        read why; it is told as updated once they permit it again";
            self.put(Arc::new(Told::line(LOSS_LEVEL, &json!({ "service": service, "message": text }))));
        }
    }

    /// What is to be recorded; once.
    pub fn take_unrecorded(&self) -> Vec<Silenced> {
        std::mem::take(&mut self.state.lock().unrecorded)
    }
}
