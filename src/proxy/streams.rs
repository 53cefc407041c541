//! What clients hear without having asked: that lists changed, that a resource which they subscribed to
//! was updated, lines for the log. On the stream that `GET` opens (session era, MCP 2025-11-25) and on
//! `subscriptions/listen` (stateless era, MCP 2026-07-28).
//!
//! Invariants: a client hears only what it asked for and may hear when it is said; what waits for a client
//! is bounded, and what it missed it is told to ask for anew; a stream ends with the right to it.

mod decided;
mod get;
mod listen;
mod mailbox;
mod permitted;
mod posts;
mod pump;
mod replay;
mod resume;
mod room;
mod sight;
mod silenced;

use std::collections::HashSet;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use dashmap::DashMap;
use parking_lot::Mutex;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, watch};
use tokio_util::sync::CancellationToken;

use self::mailbox::{Mailbox, Wants};
pub(super) use self::permitted::Asker;
pub(super) use self::posts::{Ended, PostStream};
use self::room::{Room, Seats};
use super::snapshot::Live;
use super::upstream::{News, NewsKind, Outbound, Upstreams};
use crate::audit::Journal;
use crate::mcp::{Method, Primitive};
use crate::model::{AgentId, Caller, ConversationId, Digest, MemberId, ServiceKey};
use crate::session::Session;

/// A session that for so long no stream was open for, nothing was subscribed to, and no reply was under way
/// in, is forgotten with all that waits for it.
const IDLE_MAX: Duration = Duration::from_secs(30 * 60);
/// How often those are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(30);
/// Mailboxes after which others get their turn.
const AT_ONCE: usize = 256;

/// Whose lists are others now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    All,
    Agent(AgentId),
    Member(MemberId),
    /// One conversation of a member: its counters.
    Conversation(MemberId, ConversationId),
}

/// All receivers.
#[derive(Debug)]
pub struct Streams {
    live: Arc<Live>,
    journal: Arc<Journal>,
    sessions: DashMap<(MemberId, Digest), Arc<Mailbox>>,
    /// Those of `subscriptions/listen`, each kept by its stream.
    listening: Mutex<Vec<Weak<Mailbox>>>,
    room: Room,
    seats: Seats,
    closing: CancellationToken,
}

/// What is to be done once a request has passed: it subscribes, or takes that back.
#[derive(Debug)]
pub(super) struct Followup {
    method: Method,
    uri: Arc<str>,
    caller: Caller,
    session: Session,
    digest: Digest,
    service: ServiceKey,
}

impl Followup {
    /// Of this request, if it is one that streams have to know of.
    pub fn of(outbound: &Outbound) -> Option<Self> {
        let method = outbound.call.method();
        if !matches!(method, Method::ResourcesSubscribe | Method::ResourcesUnsubscribe) {
            return None;
        }
        Some(Self {
            method,
            uri: Arc::from(outbound.call.name()),
            caller: outbound.caller.clone(),
            session: outbound.session.clone(),
            digest: outbound.client.mcp_session?,
            service: outbound.connector.service.clone(),
        })
    }
}

impl Streams {
    /// Nobody listens yet. News are passed on by a task on the background runtime, for as long as this
    /// lives.
    pub fn start(live: &Arc<Live>, upstreams: &Arc<Upstreams>, journal: &Arc<Journal>) -> Arc<Self> {
        let streams = Arc::new(Self {
            live: Arc::clone(live),
            journal: Arc::clone(journal),
            sessions: DashMap::new(),
            listening: Mutex::default(),
            room: Room::default(),
            seats: Seats::default(),
            closing: CancellationToken::new(),
        });
        let following = Following { streams: Arc::downgrade(&streams), upstreams: Arc::downgrade(upstreams) };
        let (news, bundles, agents) = (upstreams.news(), live.bundles(), live.agents());
        drop(upstreams.background().spawn(following.follow(news, bundles, agents)));
        streams
    }

    /// Ends every stream in order, and lets no more begin: the gate stops.
    pub fn close(&self) {
        self.closing.cancel();
    }

    /// The lists of these are others now: an edit of the policies, of the directory, or a counter.
    pub fn changed(&self, whose: Whose, of: Primitive) {
        self.all().iter().filter(|mailbox| mailbox.is_of(whose)).for_each(|mailbox| mailbox.list_changed(of));
    }

    /// Every list of these may be another now: their policies are.
    fn all_changed(&self, whose: Whose) {
        for of in [Primitive::Tools, Primitive::Prompts, Primitive::Resources] {
            self.changed(whose, of);
        }
    }

    /// What a request that passed means for its session. An upstream that refused the subscription is not
    /// subscribed to.
    pub(super) fn settle(&self, followup: Followup, upstreams: &Upstreams) {
        let Followup { method, uri, caller, session, digest, service } = followup;
        let known = self.sessions.get(&(caller.member.id, digest)).map(|mailbox| Arc::clone(&mailbox));
        if method == Method::ResourcesUnsubscribe {
            if let Some(mailbox) = known {
                mailbox.unsubscribe(&uri);
            }
            return;
        }
        let Some(hold) = upstreams.hold(&service, &uri, caller.member.id) else { return };
        let mailbox = known.unwrap_or_else(|| self.mailbox(&caller, &session, digest));
        if !mailbox.subscribe(Arc::clone(&uri), service, hold) {
            tracing::warn!(member = %caller.member.id, max = mailbox::URIS_MAX,
                "a session has too many subscriptions: it is not told of one more");
        }
        mailbox.look_again(Some(&uri), &self.live.load());
    }

    /// The least level of the lines that this session wants from now on.
    pub(super) fn set_level(&self, caller: &Caller, session: &Session, digest: Digest, level: &str) {
        self.mailbox(caller, session, digest).set_level(level);
    }

    /// A place for a reply that is streamed to this session, so that its client may come back for it.
    pub(super) fn post(
        &self,
        caller: &Caller,
        session: &Session,
        digest: Digest,
        service: ServiceKey,
    ) -> Arc<PostStream> {
        let mailbox = self.mailbox(caller, session, digest);
        mailbox.posts.begin(mailbox.nonce, service, self.room.of(caller.member.id))
    }

    /// The session has ended, and with it its stream.
    pub fn end(&self, member: MemberId, digest: &Digest) {
        if let Some((_, mailbox)) = self.sessions.remove(&(member, *digest)) {
            mailbox.end();
        }
    }

    fn mailbox(&self, caller: &Caller, session: &Session, digest: Digest) -> Arc<Mailbox> {
        let entry = self.sessions.entry((caller.member.id, digest)).or_insert_with(|| {
            let lists = [Primitive::Tools, Primitive::Prompts, Primitive::Resources].into();
            let wants = Wants { lists, ..Wants::default() };
            let room = self.room.of(caller.member.id);
            Arc::new(Mailbox::new(caller.clone(), session.clone(), None, wants, room))
        });
        Arc::clone(&entry)
    }

    /// Forgets sessions that are over or idle.
    pub fn sweep(&self, is_known: impl Fn(MemberId, &Digest) -> bool) {
        let since = Instant::now().checked_sub(IDLE_MAX);
        self.sessions.retain(|(member, digest), mailbox| {
            let known = is_known(*member, digest);
            mailbox.posts.sweep(Instant::now());
            if !known {
                mailbox.end();
            }
            known && since.is_none_or(|since| !mailbox.is_idle(since))
        });
        self.listening.lock().retain(|mailbox| mailbox.strong_count() > 0);
    }

    fn all(&self) -> Vec<Arc<Mailbox>> {
        let sessions = self.sessions.iter().map(|entry| Arc::clone(entry.value()));
        let mut all: Vec<_> = sessions.collect();
        all.extend(self.listening.lock().iter().filter_map(Weak::upgrade));
        all
    }

    /// The conversations that a stream is open for now.
    pub(super) fn listening(&self) -> HashSet<(MemberId, ConversationId)> {
        let open = self.all().into_iter().filter(|mailbox| mailbox.is_open());
        open.map(|mailbox| mailbox.conversation()).collect()
    }

    async fn tell(&self, news: &News, upstreams: &Upstreams) {
        let snapshot = self.live.load();
        for (index, mailbox) in self.all().into_iter().enumerate() {
            if matches!(news.kind, NewsKind::Replaced) {
                let again = |uri: &str, member| upstreams.hold(&news.service, uri, member);
                mailbox.replaced(&news.service, again, &snapshot);
            } else {
                mailbox.hear(news, &snapshot);
            }
            self.record_silenced(&mailbox, &snapshot).await;
            if index % AT_ONCE == AT_ONCE - 1 {
                tokio::task::yield_now().await;
            }
        }
    }

    /// News were said that nobody here heard.
    fn missed(&self, upstreams: &Upstreams) {
        let snapshot = self.live.load();
        for mailbox in self.all() {
            for service in mailbox.services() {
                mailbox.replaced(&service, |uri, member| upstreams.hold(&service, uri, member), &snapshot);
            }
            mailbox.missed();
            mailbox.look_again(None, &snapshot);
        }
    }
}

/// Passes news on until nobody can listen any more.
struct Following {
    streams: Weak<Streams>,
    upstreams: Weak<Upstreams>,
}

impl Following {
    async fn follow(
        self,
        mut news: broadcast::Receiver<News>,
        mut bundles: watch::Receiver<u64>,
        mut agents: broadcast::Receiver<AgentId>,
    ) {
        loop {
            tokio::select! {
                told = news.recv() => {
                    let Some((streams, upstreams)) = self.streams.upgrade().zip(self.upstreams.upgrade()) else {
                        return;
                    };
                    match told {
                        Ok(told) => streams.tell(&told, &upstreams).await,
                        Err(RecvError::Lagged(missed)) => {
                            tracing::warn!(missed, "upstreams say more than can be passed on: clients ask anew");
                            streams.missed(&upstreams);
                        }
                        Err(RecvError::Closed) => return,
                    }
                }
                changed = bundles.changed() => {
                    let Some(streams) = self.streams.upgrade().filter(|_| changed.is_ok()) else { return };
                    streams.policies_changed(Whose::All).await;
                }
                changed = agents.recv() => {
                    let Some(streams) = self.streams.upgrade() else { return };
                    match changed {
                        Ok(agent) => streams.policies_changed(Whose::Agent(agent)).await,
                        Err(RecvError::Lagged(_)) => streams.policies_changed(Whose::All).await,
                        Err(RecvError::Closed) => return,
                    }
                }
                () = tokio::time::sleep(SWEEP_EVERY) => {
                    if self.streams.strong_count() == 0 {
                        return;
                    }
                }
            }
        }
    }
}
