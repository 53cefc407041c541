//! A client of the session era says that its roots changed (`notifications/roots/list_changed`): which upstreams hear
//! of it. The stateless era has no such word, in neither direction: roots are asked for when they are needed.
//!
//! Invariants: only an upstream that may ask this client for its roots now, and was told that they may change, hears
//! of it; a child process, which all clients share, only where its connector says so.

use super::Upstreams;
use super::link::Way;
use crate::model::{Digest, MemberId, ServiceKey};

impl Upstreams {
    /// Tells it to those that this client's session reached. `may_ask` says whether this service may ask the client
    /// for its roots now.
    pub fn roots_changed(
        &self,
        member: MemberId,
        mcp_session: Digest,
        may_ask: impl Fn(&ServiceKey) -> bool,
    ) {
        for (service, upstream) in self.by_service.load().iter() {
            match &upstream.link.way {
                Way::Http(link) => {
                    let cells = link.with_roots(member, mcp_session);
                    if !cells.is_empty() && may_ask(service) {
                        cells.iter().for_each(|cell| link.roots_changed(cell));
                    }
                }
                Way::Stdio(link) if link.hears_of_roots() && may_ask(service) => link.roots_changed(),
                Way::Stdio(_) | Way::InProcess(_) | Way::Unusable(_) => {}
            }
        }
    }
}
