//! `tools/list`: the tools of every connector that the agent has enabled, merged, prefixed, paged.
//!
//! Invariants: a definition is relayed as the upstream wrote it, but for the prefix of its name; one
//! upstream that is down or slow leaves out its own tools only; order is by service, then as the
//! upstream gave it, so that pages do not shift between calls.

mod merged;
mod primitives;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use http::Response;

use crate::connector::Connector;
use crate::mcp::{Refusal, RequestId, catalog, reply};

pub(super) use self::merged::MergedLists;
pub(super) use self::primitives::MergedPrimitives;
use super::body::Body;
use super::exchange::Arrival;
use super::gate::Gate;
use super::refusal::{self, Refused};
use super::reply_room::NoRoom;
use super::upstream::Catalogue;

/// An upstream that has not told its tools within this time is left out of the list for now.
const CATALOGUE_WAIT: Duration = Duration::from_secs(10);

impl Gate {
    /// The page that the cursor names, the first without one.
    pub(super) async fn tools_page(
        &self,
        arrival: &Arrival,
        id: &RequestId,
        cursor: Option<&str>,
    ) -> Result<Response<Body>, Refused> {
        let connectors = arrival.snapshot.bundle.connectors();
        let services = &arrival.caller.agent.services;
        let enabled: Vec<&Arc<Connector>> =
            connectors.iter().filter(|connector| services.contains(&connector.service)).collect();
        let catalogues = join_all(enabled.iter().map(|connector| self.catalogue(connector))).await;

        let told = enabled.iter().zip(catalogues);
        let parts: Vec<_> =
            told.filter_map(|(connector, catalogue)| Some((&connector.service, catalogue?))).collect();
        let merged = self.merged_lists.of(&parts);
        let page = catalog::page(&merged.definitions, &merged.version, cursor, self.limits.tools_page_max)
            .map_err(|_| Refusal::BadCursor)?;
        let list = reply::tools_list_result(id, page.items, page.next_cursor.as_deref());
        self.reply_room.answer(list).map_err(|NoRoom| refusal::overloaded().into())
    }

    async fn catalogue(&self, connector: &Connector) -> Option<Arc<Catalogue>> {
        let fetched =
            tokio::time::timeout(CATALOGUE_WAIT, self.upstreams.catalogue(&connector.service)).await;
        match fetched {
            Ok(Ok(catalogue)) => Some(catalogue),
            Ok(Err(failure)) => {
                tracing::warn!(service = %connector.service, %failure, "left out of tools/list");
                None
            }
            Err(_) => {
                tracing::warn!(service = %connector.service, "left out of tools/list: no answer yet");
                None
            }
        }
    }
}
