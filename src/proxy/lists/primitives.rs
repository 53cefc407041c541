//! `prompts/list`, `resources/list` and `resources/templates/list`: those of every connector that the
//! agent has enabled and the caller may ask for them, merged and paged.
//!
//! Invariants: an entry is relayed as the upstream wrote it, but for the prefix of a prompt's name; one
//! upstream that is down or slow leaves out its own entries only; a URI is listed once, for the first
//! connector in order; order is by service, then as the upstream gave it.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use http::Response;
use parking_lot::Mutex;
use serde_json::json;

use crate::connector::Connector;
use crate::mcp::client::ClientFace;
use crate::mcp::{Primitive, Refusal, RequestId, catalog, reply};
use crate::model::{Digest, ServiceKey};
use crate::policy::Needs;
use crate::proxy::body::Body;
use crate::proxy::exchange::Arrival;
use crate::proxy::gate::Gate;
use crate::proxy::refusal::{self, Refused};
use crate::proxy::reply_room::NoRoom;
use crate::proxy::streams::Asker;
use crate::proxy::upstream::Offered;

/// An upstream that has not told its list within this time is left out for now.
const LIST_WAIT: Duration = Duration::from_secs(10);
/// Merged lists that are kept: one for each set of connectors and kind in use.
const KEPT_MAX: usize = 64;

/// The entries of several upstreams.
#[derive(Debug)]
struct MergedEntries {
    of: Vec<Arc<Offered>>,
    entries: Vec<String>,
    /// What cursors are bound to.
    version: Digest,
}

impl MergedEntries {
    fn new(of: Primitive, parts: &[(&ServiceKey, Arc<Offered>)]) -> Self {
        let mut owners: HashMap<&str, &ServiceKey> = HashMap::new();
        let mut entries = Vec::new();
        for (service, offered) in parts {
            for entry in &offered.entries {
                // Prompts have their prefixes; what has none belongs to whoever comes first.
                if of != Primitive::Prompts
                    && let Some(owner) = owners.insert(&entry.name, service)
                {
                    owners.insert(&entry.name, owner);
                    tracing::warn!(%service, %owner, uri = &*entry.name, list = of.method(),
                        "two upstreams list the same: the first one owns it");
                    continue;
                }
                entries.push(entry.offered(of, service));
            }
        }
        let version = catalog::catalogue_digest(entries.iter().map(String::as_str));
        Self { of: parts.iter().map(|(_, offered)| Arc::clone(offered)).collect(), entries, version }
    }

    fn is_of(&self, parts: &[(&ServiceKey, Arc<Offered>)]) -> bool {
        self.of.len() == parts.len()
            && self.of.iter().zip(parts).all(|(kept, (_, part))| Arc::ptr_eq(kept, part))
    }
}

/// Merged lists that are kept as long as the lists that they were merged of are the same, last used first.
#[derive(Debug, Default)]
pub(in crate::proxy) struct MergedPrimitives(Mutex<VecDeque<Arc<MergedEntries>>>);

impl MergedPrimitives {
    fn of(&self, of: Primitive, parts: &[(&ServiceKey, Arc<Offered>)]) -> Arc<MergedEntries> {
        let found = {
            let mut kept = self.0.lock();
            // Nothing tells one empty list from another, and nothing needs to.
            let place = kept.iter().position(|merged| merged.is_of(parts));
            place.and_then(|place| kept.remove(place))
        };
        // Not under the lock: another caller may merge the same meanwhile, which costs time alone.
        let merged = found.unwrap_or_else(|| Arc::new(MergedEntries::new(of, parts)));
        let mut kept = self.0.lock();
        kept.push_front(Arc::clone(&merged));
        kept.truncate(KEPT_MAX);
        merged
    }
}

impl Gate {
    /// The page that the cursor names, the first without one.
    pub(in crate::proxy) async fn primitives_page(
        &self,
        arrival: &Arrival,
        id: &RequestId,
        of: Primitive,
        cursor: Option<&str>,
        face: Option<&ClientFace>,
    ) -> Result<Response<Body>, Refused> {
        let connectors = arrival.bundle().connectors();
        let listed: Vec<&Arc<Connector>> =
            connectors.iter().filter(|connector| self.may_list(arrival, connector, of)).collect();
        let offered = join_all(listed.iter().map(|connector| self.offered(connector, of))).await;
        let told = listed.iter().zip(offered);
        let parts: Vec<_> =
            told.filter_map(|(connector, offered)| Some((&connector.service, offered?))).collect();
        let merged = self.merged_primitives.of(of, &parts);
        let page = catalog::page(&merged.entries, &merged.version, cursor, self.limits.tools_page_max)
            .map_err(|_| Refusal::BadCursor)?;
        let ttl_ms = face.map(|_| ttl_ms(&listed, &parts));
        let list = reply::list_result(id, of, page.items, page.next_cursor.as_deref(), ttl_ms);
        self.reply_room.answer(list).map_err(|NoRoom| refusal::overloaded().into())
    }

    /// Whether this connector's part of a list is shown to the caller: its agent has it enabled, and
    /// policies permit the operation now.
    fn may_list(&self, arrival: &Arrival, connector: &Connector, of: Primitive) -> bool {
        if !arrival.caller.agent.services.contains(&connector.service)
            || !connector.operations.contains_key(of.method())
        {
            return false;
        }
        let (caller, now) = (&arrival.caller, arrival.now);
        let of_member = (caller.member.id, self.conversation(arrival, None, None));
        let counters = |needs: &Needs| self.sessions.foresee(of_member, &needs.session, &needs.member, now);
        let asker = Asker { bundle: arrival.bundle(), caller, counters: &counters };
        asker.may(connector, of.method(), &json!({}))
    }

    async fn offered(&self, connector: &Connector, of: Primitive) -> Option<Arc<Offered>> {
        let asked = self.upstreams.offered(&connector.service, of);
        match tokio::time::timeout(LIST_WAIT, asked).await {
            Ok(Ok(offered)) => Some(offered),
            Ok(Err(failure)) => {
                tracing::warn!(service = %connector.service, list = of.method(), %failure, "left out of the list");
                None
            }
            Err(_) => {
                tracing::warn!(service = %connector.service, list = of.method(), "left out of the list: no answer yet");
                None
            }
        }
    }
}

/// How long a client may keep the list: no longer than the gate would, nor than any upstream lets it; not
/// at all while an upstream is left out.
fn ttl_ms(listed: &[&Arc<Connector>], parts: &[(&ServiceKey, Arc<Offered>)]) -> u64 {
    if parts.len() < listed.len() {
        return 0;
    }
    let own = listed.iter().map(|connector| u64::from(connector.limits.catalogue_ttl_ms));
    let theirs = parts.iter().filter_map(|(_, offered)| offered.ttl_ms);
    own.chain(theirs).min().unwrap_or(0)
}
