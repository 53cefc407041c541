//! Tells an HTTP upstream that the roots of a client changed (MCP 2025-11-25, roots), in the sessions that were opened
//! in this client's name and said that they would.
//!
//! Invariants: only the sessions of this very client are told; however often a client says it, one word for each of its
//! sessions is on its way and one more is owed; the last change is told.

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use tokio_util::sync::CancellationToken;

use super::session::Cell;
use super::{ASIDE_MS_MAX, HttpLink, post};
use crate::connector::Limits;
use crate::mcp::{self, Era};
use crate::model::{Digest, MemberId};
use crate::proxy::upstream::patience::Patience;

/// Between two such words to one session.
const PAUSE: Duration = Duration::from_millis(200);

impl HttpLink {
    /// The sessions with this upstream that are to hear of it.
    pub fn with_roots(&self, member: MemberId, mcp_session: Digest) -> Vec<Arc<Cell>> {
        self.sessions.with_roots(member, mcp_session)
    }

    /// The roots of the client that holds this session changed.
    pub fn roots_changed(self: &Arc<Self>, cell: &Arc<Cell>) {
        if cell.roots_changed() {
            let (link, cell) = (Arc::clone(self), Arc::clone(cell));
            drop(self.background.spawn(link.tell_roots(cell)));
        }
    }

    async fn tell_roots(self: Arc<Self>, cell: Arc<Cell>) {
        loop {
            // It waits for a place, unlike other words on the side: it is one for each session at most.
            let Ok(place) = Arc::clone(&self.aside_slots).acquire_owned().await else { return };
            let session = cell.held().await;
            if let Some(session) = session.filter(|session| session.era() == Era::Session) {
                let limits = Limits { call_ms_max: ASIDE_MS_MAX, ..self.limits };
                let patience = Patience::begin(&limits, CancellationToken::new());
                let word = mcp::reply::upstream_roots_changed();
                let request = self.request(Method::POST, Some(&session), None, None, word);
                if let Err(none) = post::send(&self.asides, request, &patience).await {
                    tracing::debug!(failure = %none.failure, "the upstream could not be told of changed roots");
                }
            }
            drop(place);
            tokio::time::sleep(PAUSE).await;
            if !cell.roots_told() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::super::session::{Holder, SessionTable};
    use super::*;
    use crate::mcp::Capabilities;
    use crate::model::Timestamp;

    #[test]
    fn only_sessions_of_this_client_that_were_told_of_it_are_found() {
        let (table, all) = (SessionTable::new(10), Capabilities::ALL);
        let member = |n: u8| MemberId::mint(Timestamp::from_millis(1), [n; 10]);
        let session = |n: u8| Digest::of(&[n]);
        for (n, of, capabilities) in [
            (1, Some(session(1)), all),
            (1, Some(session(1)), Capabilities { roots_changed: false, ..all }),
            (1, Some(session(1)), Capabilities { roots: false, ..all }),
            (1, Some(session(2)), all),
            (1, None, all),
            (2, Some(session(1)), all),
        ] {
            let holder = Holder::Client { member: member(n), mcp_session: of, capabilities };
            drop(table.enter(holder, Instant::now()).unwrap());
        }
        drop(table.enter(Holder::Gate, Instant::now()).unwrap());
        assert_eq!(table.with_roots(member(1), session(1)).len(), 1);
        assert_eq!(table.with_roots(member(2), session(2)).len(), 0);
    }

    #[test]
    fn one_word_is_on_its_way_and_one_more_is_owed_however_often_it_is_said() {
        let cell = Cell::default();
        let begins: Vec<bool> = (0..1_000).map(|_| cell.roots_changed()).collect();
        assert_eq!(begins.iter().filter(|begins| **begins).count(), 1);
        assert!(begins[0]);
        assert!(cell.roots_told(), "once more, for all that was said meanwhile");
        assert!(!cell.roots_told());
        assert!(cell.roots_changed(), "and the next one begins anew");
        assert!(!cell.roots_told());
    }
}
