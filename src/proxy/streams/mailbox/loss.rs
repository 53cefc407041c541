//! What a receiver is told when a resource that it was accepted for is not told of any more: its upstream
//! refuses it, another upstream took its place, or its agent lost the service.
//!
//! Invariants: in the stateless era the stream ends, after all that waited in it, with an error, so that its
//! client asks anew; the session era has no word for it, so the resource and the list of resources are told
//! as changed, and whoever reads the log reads why; what a receiver may not hear of is not named.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::json;

use super::{LOSS_LEVEL as LEVEL, Mailbox, SUBSCRIBE};
use crate::mcp::{Primitive, Told};
use crate::model::{MemberId, ServiceKey};
use crate::proxy::snapshot::Snapshot;
use crate::proxy::upstream::{Hold, News, NewsKind};

impl Mailbox {
    /// This resource of the service is not told of any more.
    pub(super) fn loses(&self, service: &ServiceKey, uri: &Arc<str>, snapshot: &Snapshot) {
        let named = self.may(service, SUBSCRIBE, &json!({ "uri": &**uri }), snapshot);
        if named {
            // It may be another one by now, or gone: whoever reads it sees that.
            self.put(Arc::new(Told::updated(uri)));
        }
        if self.subscription.is_some() {
            return self.withdraw(named.then(|| Arc::clone(uri)));
        }
        if !named {
            return;
        }
        self.list_changed(Primitive::Resources);
        let reads = self.state.lock().wants.reads(LEVEL);
        if reads && self.may(service, "logging/setLevel", &json!({ "level": LEVEL }), snapshot) {
            let text = "the service does not tell of this resource any more: it is asked again, and the resource is \
                        told as updated once it does";
            let data = json!({ "service": service, "uri": &**uri, "message": text });
            self.put(Arc::new(Told::line(LEVEL, &data)));
        }
    }

    /// Ends the stream of a receiver of the stateless era once it is empty.
    pub(super) fn withdraw(&self, named: Option<Arc<str>>) {
        self.state.lock().withdrawn.get_or_insert_default().extend(named);
        self.arrived.notify_waiters();
    }

    /// What is not told of any more, where the stream has to end for it.
    pub(super) fn withdrawn(&self) -> Option<Vec<Arc<str>>> {
        self.state.lock().withdrawn.as_ref().map(|uris| uris.iter().cloned().collect())
    }

    /// Lets go of the resources of all other services.
    pub(super) fn keeps_only(&self, kept: impl Fn(&ServiceKey) -> bool) {
        let gone = {
            let mut state = self.state.lock();
            state.wants.uris.extract_if(|_, (service, _)| !kept(service)).count()
        };
        if gone > 0 && self.subscription.is_some() {
            self.withdraw(None);
        }
    }

    /// Tells what is not told of any more although it is held, of this resource or of all: it may have been
    /// said when nobody listened.
    pub fn look_again(&self, only: Option<&str>, snapshot: &Snapshot) {
        let lost: Vec<(ServiceKey, Arc<str>)> = {
            let state = self.state.lock();
            let looked_at =
                state.wants.uris.iter().filter(|(uri, _)| only.is_none_or(|only| ***uri == *only));
            let lost = looked_at.filter(|(_, (_, hold))| !hold.is_heard());
            lost.map(|(uri, (service, _))| (service.clone(), Arc::clone(uri))).collect()
        };
        for (service, uri) in lost {
            self.loses(&service, &uri, snapshot);
        }
    }

    /// Whose resources it is subscribed to.
    pub fn services(&self) -> BTreeSet<ServiceKey> {
        self.state.lock().wants.uris.values().map(|(service, _)| service.clone()).collect()
    }

    /// Another upstream stands in the place of this service's: what is held with the former one is held
    /// with that, by `again`, or lost.
    pub fn replaced(
        &self,
        service: &ServiceKey,
        again: impl Fn(&str, MemberId) -> Option<Hold>,
        snapshot: &Snapshot,
    ) {
        let (member, gone) = {
            let state = self.state.lock();
            let of_service =
                state.wants.uris.iter().filter(|(_, (of, hold))| of == service && !hold.is_current());
            (state.caller.member.id, of_service.map(|(uri, _)| Arc::clone(uri)).collect::<BTreeSet<_>>())
        };
        for uri in gone {
            let Some(hold) = again(&uri, member) else {
                self.loses(service, &uri, snapshot);
                self.unsubscribe(&uri);
                continue;
            };
            if let Some((_, held)) = self.state.lock().wants.uris.get_mut(&uri) {
                *held = hold;
            }
            // Nobody listened in between.
            let told = Arc::new(Told::updated(&uri));
            let kind = NewsKind::ResourceUpdated { uri, told };
            self.hear(&News { service: service.clone(), kind }, snapshot);
        }
    }
}
