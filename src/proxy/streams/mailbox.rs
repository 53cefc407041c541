//! One receiver of news: a session of the session era, or one `subscriptions/listen`. What it wants, and
//! what waits for it.
//!
//! Invariants: nothing is put in that the receiver did not ask for, that its agent has no service for, or
//! that policies do not permit it at that moment; one stream at a time empties it, the newest.

mod loss;
mod silence;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::Notify;

pub use self::silence::Silenced;
use super::Whose;
use super::permitted::Asker;
use super::posts::Posts;
use super::replay::{Following, Replay};
use super::room::Share;
use crate::mcp::{Primitive, RequestId, Told};
use crate::model::{Caller, ConversationId, MemberId, ServiceKey, Timestamp};
use crate::policy::Needs;
use crate::proxy::identity;
use crate::proxy::snapshot::{Live, Snapshot};
use crate::proxy::upstream::{Hold, News, NewsKind};
use crate::session::Session;

/// Resources that one receiver may be subscribed to.
pub const URIS_MAX: usize = 64;
/// The levels of a log, the least first (RFC 5424).
const LEVELS: [&str; 8] = ["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"];

/// The operation by which resources are subscribed to, in both eras.
pub const SUBSCRIBE: &str = "resources/subscribe";
/// The level of the lines that say that something is not told any more.
const LOSS_LEVEL: &str = "warning";

/// What a receiver asked for.
#[derive(Debug, Default)]
pub struct Wants {
    pub lists: BTreeSet<Primitive>,
    /// Resources, whose they are, and this receiver's share of the subscriptions upstream.
    pub uris: HashMap<Arc<str>, (ServiceKey, Hold)>,
    /// The least level of the lines that it wants.
    pub level: Option<Arc<str>>,
}

impl Wants {
    /// Whether a line of this level is wanted.
    fn reads(&self, level: &str) -> bool {
        self.level.as_ref().is_some_and(|least| reaches(level, least))
    }
}

#[derive(Debug)]
struct State {
    caller: Caller,
    wants: Wants,
    queue: Replay,
    /// Which stream empties it: the last one that was opened.
    stream: u64,
    /// Whether one is open.
    open: bool,
    used: Instant,
    ended: bool,
    /// Resources that it was accepted for and is not told of any more, as far as it may know, once there
    /// are any. In the stateless era its stream ends with that.
    withdrawn: Option<BTreeSet<Arc<str>>>,
    /// Resources that policies do not permit it to hear of, as far as it was told.
    silenced: BTreeSet<Arc<str>>,
    /// Of these, those that are not recorded yet.
    unrecorded: Vec<Silenced>,
}

/// One receiver.
#[derive(Debug)]
pub struct Mailbox {
    session: Session,
    /// The request that every message is tagged with; nothing in the session era.
    pub subscription: Option<RequestId>,
    /// Distinguishes its event ids from those of an earlier mailbox of the same session.
    pub nonce: u32,
    /// Streamed replies that its client may come back for.
    pub posts: Posts,
    state: Mutex<State>,
    arrived: Notify,
    room: Share,
}

/// What a stream is to do next.
#[derive(Debug)]
pub enum Next {
    Event(u64, Arc<Told>),
    Nothing,
    /// Messages are gone for good: these say what may have changed, after this place.
    Anew(u64, Vec<Told>),
    /// Another stream took over.
    Superseded,
    /// The session is over.
    Ended,
    /// Something of what was asked for is not told any more: of these resources.
    Withdrawn(Vec<Arc<str>>),
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        self.room.give_back(self.state.get_mut().queue.clear());
    }
}

impl Mailbox {
    /// An empty one.
    pub fn new(
        caller: Caller,
        session: Session,
        subscription: Option<RequestId>,
        wants: Wants,
        room: Share,
    ) -> Self {
        let state = State {
            caller,
            wants,
            queue: Replay::default(),
            stream: 0,
            open: false,
            used: Instant::now(),
            ended: false,
            withdrawn: None,
            silenced: BTreeSet::new(),
            unrecorded: Vec::new(),
        };
        // Without randomness ids of another life may seem to be of this one: then messages are missed.
        let nonce = getrandom::u32().unwrap_or_default();
        let (posts, arrived) = (Posts::default(), Notify::new());
        Self { session, subscription, nonce, posts, state: Mutex::new(state), arrived, room }
    }

    /// Who receives.
    pub fn caller(&self) -> Caller {
        self.state.lock().caller.clone()
    }

    /// Whose counters are read.
    pub const fn session(&self) -> &Session {
        &self.session
    }

    /// Whose conversation it is.
    pub fn conversation(&self) -> (MemberId, ConversationId) {
        (self.state.lock().caller.member.id, self.session.conversation())
    }

    /// Whether it is one of these.
    pub fn is_of(&self, whose: Whose) -> bool {
        match whose {
            Whose::All => true,
            Whose::Agent(agent) => self.state.lock().caller.agent.id == agent,
            Whose::Member(member) => self.state.lock().caller.member.id == member,
            Whose::Conversation(member, conversation) => self.conversation() == (member, conversation),
        }
    }

    /// Whether a stream is open.
    pub fn is_open(&self) -> bool {
        self.state.lock().open
    }

    /// Whether changes of this list are wanted.
    pub fn wants(&self, of: Primitive) -> bool {
        self.state.lock().wants.lists.contains(&of)
    }

    /// Looks the caller up again: true where its key is revoked, its agent disabled, or its membership
    /// taken back. Other services mean other lists.
    pub fn lost_its_right(&self, live: &Live) -> bool {
        let snapshot = live.load();
        let mut caller = self.caller();
        let Some(entry) = snapshot.directory.key_of(&caller.key) else { return true };
        caller.agent = Arc::clone(&entry.agent);
        caller.member = Arc::clone(&entry.member);
        if identity::standing(&caller).is_err() {
            return true;
        }
        self.renew(&caller);
        false
    }

    /// Puts a message in.
    pub fn put(&self, told: Arc<Told>) {
        {
            let mut state = self.state.lock();
            let grown = state.queue.push(told);
            if !self.room.take(grown) {
                // All together, or those of this member, wait too much: this receiver begins anew.
                let freed = state.queue.clear();
                self.room.give_back(freed);
            }
        }
        self.arrived.notify_waiters();
    }

    /// Puts it in if a list of this kind is wanted.
    pub fn list_changed(&self, of: Primitive) {
        if self.wants(of) {
            self.put(Arc::new(Told::list_changed(of)));
        }
    }

    /// Puts in what of these news this receiver asked for and may hear.
    pub fn hear(&self, news: &News, snapshot: &Snapshot) {
        if !self.asked_for(news) {
            return;
        }
        let may =
            |operation: &str, arguments: Value| self.may(&news.service, operation, &arguments, snapshot);
        let (told, permitted) = match &news.kind {
            NewsKind::ListChanged(Primitive::Tools) => {
                (Arc::new(Told::list_changed(Primitive::Tools)), self.has(&news.service, snapshot))
            }
            NewsKind::ListChanged(of) => (Arc::new(Told::list_changed(*of)), may(of.method(), json!({}))),
            NewsKind::ResourceUpdated { uri, told } => {
                if !may(SUBSCRIBE, json!({ "uri": &**uri })) {
                    return self.silence(&news.service, uri, snapshot);
                }
                self.speaks_again(uri);
                (Arc::clone(told), true)
            }
            NewsKind::Log { level, told } => {
                (Arc::clone(told), may("logging/setLevel", json!({ "level": &**level })))
            }
            NewsKind::Unheard { uri } => return self.loses(&news.service, uri, snapshot),
            NewsKind::Replaced => return,
        };
        if permitted {
            self.put(told);
        }
    }

    fn asked_for(&self, news: &News) -> bool {
        let state = self.state.lock();
        let wants = &state.wants;
        match &news.kind {
            NewsKind::ListChanged(of) => wants.lists.contains(of),
            NewsKind::ResourceUpdated { uri, .. } | NewsKind::Unheard { uri } => {
                wants.uris.get(uri).is_some_and(|(service, _)| *service == news.service)
            }
            NewsKind::Log { level, .. } => wants.reads(level),
            // Whoever can find what took its place says what that means.
            NewsKind::Replaced => false,
        }
    }

    /// Whether the receiver's agent has this service now.
    fn has(&self, service: &ServiceKey, snapshot: &Snapshot) -> bool {
        let caller = self.caller();
        let bundle = snapshot.bundle_for(&caller.agent.id);
        bundle.connectors().get(service.as_str()).is_some() && caller.agent.services.contains(service)
    }

    /// Whether policies permit the receiver this operation of the service now.
    fn may(&self, service: &ServiceKey, operation: &str, arguments: &Value, snapshot: &Snapshot) -> bool {
        let caller = self.caller();
        let bundle = snapshot.bundle_for(&caller.agent.id);
        let Some(connector) = bundle.connectors().get(service.as_str()) else { return false };
        let now = Timestamp::now();
        let counters = |needs: &Needs| self.session.read(&needs.session, &needs.member, now).0;
        Asker { bundle, caller: &caller, counters: &counters }.may(connector, operation, arguments)
    }

    /// Something was missed, nobody knows what.
    pub fn missed(&self) {
        for told in self.all_anew() {
            self.put(Arc::new(told));
        }
    }

    fn all_anew(&self) -> Vec<Told> {
        let state = self.state.lock();
        let lists = [Primitive::Tools, Primitive::Prompts, Primitive::Resources];
        let lists = lists.into_iter().filter(|of| state.wants.lists.contains(of)).map(Told::list_changed);
        lists.chain(state.wants.uris.keys().map(|uri| Told::updated(uri))).collect()
    }

    /// The caller as the directory has it now. Other services mean other lists.
    pub fn renew(&self, caller: &Caller) {
        let before = std::mem::replace(&mut self.state.lock().caller, caller.clone());
        if before.agent.services != caller.agent.services {
            self.keeps_only(|service| caller.agent.services.contains(service));
            for of in [Primitive::Tools, Primitive::Prompts, Primitive::Resources] {
                self.list_changed(of);
            }
        }
    }

    /// Subscribes to a resource. False where there are too many already.
    pub fn subscribe(&self, uri: Arc<str>, service: ServiceKey, hold: Hold) -> bool {
        let mut state = self.state.lock();
        let room = state.wants.uris.len() < URIS_MAX || state.wants.uris.contains_key(&uri);
        if room {
            // It was permitted just now.
            state.silenced.remove(&uri);
            state.wants.uris.insert(uri, (service, hold));
        }
        state.used = Instant::now();
        room
    }

    /// Takes a subscription back.
    pub fn unsubscribe(&self, uri: &str) {
        let mut state = self.state.lock();
        state.wants.uris.remove(uri);
        state.silenced.remove(uri);
    }

    /// The least level of the lines that are wanted from now on.
    pub fn set_level(&self, level: &str) {
        let mut state = self.state.lock();
        state.used = Instant::now();
        state.wants.level = LEVELS.contains(&level).then(|| Arc::from(level));
    }

    /// A stream takes over: its number, and the place that it goes on from. `last` is the place that the
    /// client says that it got; one that it never got counts as none.
    pub fn open(&self, last: Option<u64>) -> (u64, u64) {
        let mut state = self.state.lock();
        state.stream += 1;
        state.open = true;
        state.used = Instant::now();
        let given = state.queue.given();
        let place = last.filter(|place| state.queue.has_given(*place)).unwrap_or(given);
        let opened = (state.stream, place);
        drop(state);
        self.arrived.notify_waiters();
        opened
    }

    /// A stream is over.
    pub fn closed(&self, stream: u64) {
        let mut state = self.state.lock();
        if state.stream == stream {
            state.open = false;
            state.used = Instant::now();
        }
    }

    /// The session is over, and with it every stream.
    pub fn end(&self) {
        self.state.lock().ended = true;
        self.arrived.notify_waiters();
    }

    /// Whether nobody has used it since: no stream is open, nothing is subscribed to, and no reply is under
    /// way or kept.
    pub fn is_idle(&self, since: Instant) -> bool {
        let state = self.state.lock();
        !state.open && state.used < since && state.wants.uris.is_empty() && self.posts.are_none()
    }

    /// Resolves when something may have arrived since this was called.
    pub fn arrived(&self) -> tokio::sync::futures::Notified<'_> {
        self.arrived.notified()
    }

    /// What this stream is to do after this place.
    pub fn next(&self, stream: u64, place: u64) -> Next {
        let following = {
            let mut state = self.state.lock();
            if state.ended {
                return Next::Ended;
            }
            if state.stream != stream {
                return Next::Superseded;
            }
            state.queue.after(place)
        };
        match following {
            Following::Event(place, told) => Next::Event(place, told),
            Following::Nothing => self.withdrawn().map_or(Next::Nothing, Next::Withdrawn),
            Following::Missed(place) => Next::Anew(place, self.all_anew()),
        }
    }
}

/// Whether a line of this level is wanted where `least` is the least one; a level that is none is wanted
/// by those who want all.
fn reaches(level: &str, least: &str) -> bool {
    let rank = |name: &str| LEVELS.iter().position(|known| *known == name);
    rank(level).unwrap_or(0) >= rank(least).unwrap_or(LEVELS.len())
}

#[cfg(test)]
mod tests;
