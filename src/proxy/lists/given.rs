//! Lists of tools that clients hold, so that they can be told when theirs is another: a counter reached a
//! limit, the clock an edge, an operator changed the directory.
//!
//! Invariants: at most [`GIVEN_MAX`] are remembered, not for long after their stream ended, and a client
//! whose list was forgotten is only not told; looking costs calls nothing, since it is done between them, and
//! only for conversations that a stream is open for.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::super::gate::Gate;
use super::super::streams::Whose;
use super::Viewer;
use crate::mcp::Primitive;
use crate::model::{Caller, ConversationId, Digest, MemberId, Timestamp};
use crate::policy::Needs;

/// Lists that are remembered; when there are more, all are forgotten. One takes some 300 bytes.
const GIVEN_MAX: usize = 10_000;

/// How long a list is remembered for which no stream is open: a client opens one after it listed, and comes
/// back after its stream broke.
const KEPT_MAX: Duration = Duration::from_secs(5 * 60);

type Holder = (MemberId, ConversationId);

/// What one conversation was given last.
#[derive(Debug, Clone)]
struct Held {
    caller: Caller,
    digest: Digest,
    /// When it was given, or listened for.
    used: Instant,
}

/// What each conversation was given last.
#[derive(Debug, Default)]
pub(super) struct Given(Mutex<HashMap<Holder, Held>>);

impl Given {
    /// Remembers a list that goes out.
    pub fn note(&self, conversation: ConversationId, caller: &Caller, digest: Digest) {
        let holder = (caller.member.id, conversation);
        let mut given = self.0.lock();
        if given.len() >= GIVEN_MAX && !given.contains_key(&holder) {
            given.clear();
        }
        given.insert(holder, Held { caller: caller.clone(), digest, used: Instant::now() });
    }

    /// What those who listen were given; others are forgotten after a while.
    fn of(&self, listening: &HashSet<Holder>, now: Instant) -> Vec<(Holder, Held)> {
        let mut given = self.0.lock();
        given.retain(|holder, held| {
            if listening.contains(holder) {
                held.used = now;
            }
            now.saturating_duration_since(held.used) < KEPT_MAX
        });
        let held = given.iter().filter(|(holder, _)| listening.contains(*holder));
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
        let listening = self.streams.listening();
        for (holder, held) in self.lists.given.of(&listening, Instant::now()) {
            let Held { mut caller, digest, .. } = held;
            let snapshot = self.live.load();
            let Some(entry) = snapshot.directory.key_of(&caller.key) else {
                self.lists.given.forget(&holder);
                continue;
            };
            caller.agent = entry.agent.clone();
            caller.member = entry.member.clone();
            let now = Timestamp::now();
            let counters = |needs: &Needs| self.sessions.foresee(holder, &needs.session, &needs.member, now);
            let bundle = snapshot.bundle_for(&caller.agent.id);
            let viewer = Viewer { bundle, caller: &caller, counters: &counters, now };
            let (_, sight) = self.lists.of(&self.upstreams, &viewer).await;
            if sight.digest != digest {
                self.lists.given.note(holder.1, &caller, sight.digest);
                self.streams.changed(Whose::Conversation(holder.0, holder.1), Primitive::Tools);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Scenario;

    #[test]
    fn a_list_is_looked_at_while_a_stream_is_open_and_forgotten_after() {
        let given = Given::default();
        let caller = Scenario::new("x__y", Timestamp::from_millis(1)).caller();
        let conversation = |n| ConversationId::from_bytes([n; 16]);
        let holder = |n| (caller.member.id, conversation(n));
        for n in [1, 2] {
            given.note(conversation(n), &caller, Digest::of(&[n]));
        }
        let now = Instant::now();
        let looked = |listening: &[u8], now| {
            let listening: HashSet<Holder> = listening.iter().map(|n| holder(*n)).collect();
            given.of(&listening, now).into_iter().map(|(holder, _)| holder).collect::<Vec<_>>()
        };
        assert_eq!(looked(&[], now), [], "nobody listens");
        assert_eq!(looked(&[1], now), [holder(1)], "the other conversation of the member is not open");
        let later = now + KEPT_MAX + Duration::from_secs(1);
        assert_eq!(looked(&[1], later), [holder(1)]);
        assert_eq!(looked(&[1, 2], later), [holder(1)], "the other was forgotten");
        assert_eq!(looked(&[], later), []);
        assert_eq!(looked(&[1], later), [holder(1)], "a stream that broke comes back");
    }
}
