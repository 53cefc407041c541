//! `tools/list`: the tools of every connector that the agent has enabled, merged, prefixed, filtered by
//! what the caller could be permitted now, paged.
//!
//! Invariants: a definition is relayed as the upstream wrote it, but for its name; a tool is hidden only
//! if every call of it would be denied now, and to hide it denies nothing: calls are decided as always;
//! one upstream that is down or slow leaves out its own tools only; order is by service, then as the
//! upstream gave it, so that pages do not shift between calls.

mod given;
mod merged;
mod presentation;
mod primitives;
mod search;
mod sight;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use http::Response;

use crate::connector::Connector;
use crate::mcp::{ClientFace, Primitive, Refusal, RequestId, catalog, reply};
use crate::model::{Caller, History, Timestamp};
use crate::policy::{Bundle, Needs};

use self::given::Given;
pub(super) use self::merged::Merged;
use self::merged::MergedLists;
pub use self::presentation::{Presentation, ToolLists};
pub(super) use self::primitives::MergedPrimitives;
pub(super) use self::sight::Sight;
use self::sight::Sights;
use super::body::Body;
use super::exchange::Arrival;
use super::gate::Gate;
use super::refusal::{self, Refused};
use super::reply_room::NoRoom;
use super::upstream::{Catalogue, Upstreams};

/// An upstream that has not told its tools within this time is left out of the list for now.
const CATALOGUE_WAIT: Duration = Duration::from_secs(10);

/// Whose list, when.
pub(super) struct Viewer<'a> {
    pub bundle: &'a Bundle,
    pub caller: &'a Caller,
    /// Reads the counters that are asked for as the caller's next call would.
    pub counters: &'a (dyn Fn(&Needs) -> History + Sync),
    pub now: Timestamp,
}

/// The lists of tools that callers are given, with what is kept of them.
pub struct Lists {
    options: ToolLists,
    merged: MergedLists,
    sights: Sights,
    given: Given,
}

impl fmt::Debug for Lists {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lists").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Lists {
    /// None yet.
    pub fn new(options: ToolLists) -> Self {
        Self { options, merged: MergedLists::default(), sights: Sights::default(), given: Given::default() }
    }

    /// Everything that the caller's connectors offer, and what of it the caller sees.
    pub(super) async fn of(&self, upstreams: &Upstreams, viewer: &Viewer<'_>) -> (Arc<Merged>, Arc<Sight>) {
        let connectors = viewer.bundle.connectors();
        let services = &viewer.caller.agent.services;
        let enabled: Vec<&Arc<Connector>> =
            connectors.iter().filter(|connector| services.contains(&connector.service)).collect();
        let catalogues = join_all(enabled.iter().map(|connector| catalogue(upstreams, connector))).await;
        let told = enabled.iter().zip(catalogues);
        let parts: Vec<_> =
            told.filter_map(|(connector, catalogue)| Some((&connector.service, catalogue?))).collect();
        let merged = self.merged.of(&parts, connectors);
        let sight = self.sights.of(&merged, viewer, &self.options);
        (merged, sight)
    }
}

async fn catalogue(upstreams: &Upstreams, connector: &Connector) -> Option<Arc<Catalogue>> {
    match tokio::time::timeout(CATALOGUE_WAIT, upstreams.catalogue(&connector.service)).await {
        Ok(Ok(catalogue)) => Some(catalogue),
        Ok(Err(failure)) => {
            tracing::debug!(service = %connector.service, %failure, "left out of tools/list");
            None
        }
        Err(_) => {
            tracing::debug!(service = %connector.service, "left out of tools/list: no answer yet");
            None
        }
    }
}

impl Gate {
    /// The page that the cursor names, the first without one.
    pub(super) async fn tools_page(
        &self,
        arrival: &Arrival,
        id: &RequestId,
        cursor: Option<&str>,
        face: Option<&ClientFace>,
    ) -> Result<Response<Body>, Refused> {
        let (merged, sight) = self.tools_seen(arrival).await;
        let page = catalog::page(&sight.listed, &sight.digest, cursor, self.limits.tools_page_max)
            .map_err(|_| Refusal::BadCursor)?;
        let definitions: Vec<&str> = merged.texts(page.items).collect();
        let ttl_ms = face.map(|_| sight.ttl_ms);
        let next = page.next_cursor.as_deref();
        let list = reply::list_result(id, Primitive::Tools, &definitions, next, ttl_ms);
        self.reply_room.answer(list).map_err(|NoRoom| refusal::overloaded().into())
    }

    async fn tools_seen(&self, arrival: &Arrival) -> (Arc<Merged>, Arc<Sight>) {
        let caller = &arrival.caller;
        let conversation = self.conversation(arrival, None, None);
        let of = (caller.member.id, conversation);
        let now = arrival.now;
        let counters = |needs: &Needs| self.sessions.foresee(of, &needs.session, &needs.member, now);
        let viewer = Viewer { bundle: arrival.bundle(), caller, counters: &counters, now };
        let seen = self.lists.of(&self.upstreams, &viewer).await;
        self.lists.given.note(conversation, caller, seen.1.digest);
        seen
    }
}
