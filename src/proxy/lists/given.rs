//! Lists of tools that clients hold, so that they can be told when theirs is another: a counter reached a
//! limit, the clock an edge, an operator changed the directory.
//!
//! Invariants: at most [`GIVEN_MAX`] are remembered, and a client whose list was forgotten is only not told;
//! looking costs calls nothing, since it is done between them, and only for members who listen.

use std::collections::HashMap;

use parking_lot::Mutex;

use super::super::gate::Gate;
use super::super::streams::Whose;
use super::Viewer;
use crate::mcp::Primitive;
use crate::model::{Caller, ConversationId, Digest, MemberId, Timestamp};
use crate::policy::Needs;

/// Lists that are remembered; when there are more, all are forgotten. One takes some 300 bytes.
const GIVEN_MAX: usize = 10_000;

type Holder = (MemberId, ConversationId);

/// What each conversation was given last.
#[derive(Debug, Default)]
pub(super) struct Given(Mutex<HashMap<Holder, (Caller, Digest)>>);

impl Given {
    /// Remembers a list that goes out.
    pub fn note(&self, conversation: ConversationId, caller: &Caller, digest: Digest) {
        let holder = (caller.member.id, conversation);
        let mut given = self.0.lock();
        if given.len() >= GIVEN_MAX && !given.contains_key(&holder) {
            given.clear();
        }
        given.insert(holder, (caller.clone(), digest));
    }

    fn of(&self, members: &[MemberId]) -> Vec<(Holder, (Caller, Digest))> {
        let given = self.0.lock();
        let held = given.iter().filter(|((member, _), _)| members.contains(member));
        held.map(|(holder, held)| (*holder, held.clone())).collect()
    }

    fn forget(&self, holder: &Holder) {
        self.0.lock().remove(holder);
    }
}

impl Gate {
    /// Tells the clients who listen that their list of tools is another than the one they were given. To be
    /// called now and then, off the data plane.
    pub async fn tell_changed_lists(&self) {
        for (holder, (mut caller, digest)) in self.lists.given.of(&self.streams.members()) {
            let snapshot = self.live.load();
            let Some(entry) = snapshot.directory.key_of(&caller.key) else {
                self.lists.given.forget(&holder);
                continue;
            };
            caller.agent = entry.agent.clone();
            caller.member = entry.member.clone();
            let now = Timestamp::now();
            let counters = |needs: &Needs| self.sessions.foresee(holder, &needs.session, &needs.member, now);
            let viewer = Viewer { bundle: &snapshot.bundle, caller: &caller, counters: &counters, now };
            let (_, sight) = self.lists.of(&self.upstreams, &viewer).await;
            if sight.digest != digest {
                self.lists.given.note(holder.1, &caller, sight.digest);
                self.streams.changed(Whose::Member(holder.0), Primitive::Tools);
            }
        }
    }
}
