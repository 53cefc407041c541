//! The gate's own sessions with one HTTP upstream: one for each client, so that no client's call runs
//! in another's session and the upstream asks of each what it can do, and one for the gate itself.
//!
//! Invariants: a session is opened once however many calls wait for it; their number is capped, and
//! the least recently used that no call holds makes room; a session that goes is given back upstream.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use http::HeaderValue;
use parking_lot::Mutex;

use crate::mcp::envelope::UpstreamInfo;
use crate::mcp::{Capabilities, ClientFace, Era, Method, Revision};
use crate::model::{Digest, MemberId};
use crate::proxy::upstream::{Outbound, UpstreamFailure};

/// Sessions with one upstream at a time.
pub const SESSIONS_MAX: usize = 4_096;
/// A session that no call used for so long is given back.
const IDLE_MAX: Duration = Duration::from_secs(30 * 60);
/// How often idle sessions are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(60);

/// Whose session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Holder {
    /// The gate's own: lists, and subscriptions, which are one for all clients.
    Gate,
    /// A client's, as far as the gate can tell clients apart: by the session that it gave it, and by
    /// what it declares.
    Client { member: MemberId, mcp_session: Option<Digest>, capabilities: Capabilities },
}

impl Holder {
    /// Who is to hold the session that this call runs in.
    pub fn of(call: &Outbound) -> Self {
        match call.call.method() {
            Method::ResourcesSubscribe | Method::ResourcesUnsubscribe => Self::Gate,
            _ => Self::Client {
                member: call.caller.member.id,
                mcp_session: call.client.mcp_session,
                capabilities: call.client.capabilities,
            },
        }
    }

    /// What its upstream learns of it: the gate itself can be asked nothing.
    pub fn face<'c>(&self, client: &'c ClientFace) -> Cow<'c, ClientFace> {
        match self {
            Self::Gate => Cow::Owned(ClientFace::unknown()),
            Self::Client { .. } => Cow::Borrowed(client),
        }
    }

    /// Whether its upstream was told that this client's roots may change.
    fn changes_roots(&self) -> bool {
        matches!(self, Self::Client { capabilities, .. } if capabilities.roots && capabilities.roots_changed)
    }

    /// Whether it is this member's in this session of the gate's.
    fn is_of(&self, whose: MemberId, session: Option<Digest>) -> bool {
        matches!(self, Self::Client { member, mcp_session, .. } if *member == whose && *mcp_session == session)
    }
}

/// How the upstream agreed to be spoken to: in a session, or in the stateless era.
#[derive(Debug)]
pub struct Established {
    /// `Mcp-Session-Id`; `None` where the upstream keeps no sessions.
    pub id: Option<HeaderValue>,
    pub info: Arc<UpstreamInfo>,
}

impl Established {
    /// Without a session.
    pub fn of(info: UpstreamInfo) -> Self {
        Self { id: None, info: Arc::new(info) }
    }

    pub fn revision(&self) -> Revision {
        self.info.revision
    }

    pub fn era(&self) -> Era {
        self.info.revision.era()
    }
}

/// One holder's place, with a session or without.
#[derive(Debug, Default)]
pub struct Cell {
    opened: tokio::sync::Mutex<Option<Arc<Established>>>,
    attempts: AtomicU64,
    failure: Mutex<Option<UpstreamFailure>>,
    roots: Mutex<Roots>,
}

/// Whether the upstream is to hear that this client's roots changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Roots {
    #[default]
    Told,
    /// Somebody is at it.
    Telling,
    /// Somebody is at it, and they changed again since.
    Again,
}

impl Cell {
    /// The client's roots changed. True where somebody has to begin to tell: however often it is said
    /// meanwhile, it is one word more.
    pub fn roots_changed(&self) -> bool {
        let mut roots = self.roots.lock();
        let begins = *roots == Roots::Told;
        *roots = if begins { Roots::Telling } else { Roots::Again };
        begins
    }

    /// It was told. True where it is to be told again.
    pub fn roots_told(&self) -> bool {
        let mut roots = self.roots.lock();
        let again = *roots == Roots::Again;
        *roots = if again { Roots::Telling } else { Roots::Told };
        again
    }

    /// The session, if there is one.
    pub async fn held(&self) -> Option<Arc<Established>> {
        self.opened.lock().await.clone()
    }

    /// The session, if there is one and nobody is at it.
    pub fn at_hand(&self) -> Option<Arc<Established>> {
        self.opened.try_lock().ok()?.clone()
    }

    /// The session, opened by `open` if there is none. Whoever waited while another's attempt failed
    /// shares that failure instead of trying in turn.
    ///
    /// # Errors
    /// Those of `open`.
    pub async fn session(
        &self,
        open: impl Future<Output = Result<Established, UpstreamFailure>>,
    ) -> Result<Arc<Established>, UpstreamFailure> {
        let seen = self.attempts.load(Ordering::Acquire);
        let mut opened = self.opened.lock().await;
        if let Some(session) = &*opened {
            return Ok(Arc::clone(session));
        }
        if self.attempts.load(Ordering::Acquire) != seen
            && let Some(failure) = self.failure.lock().clone()
        {
            return Err(failure);
        }
        let result = open.await.map(Arc::new);
        self.attempts.fetch_add(1, Ordering::AcqRel);
        match result {
            Ok(session) => {
                *opened = Some(Arc::clone(&session));
                *self.failure.lock() = None;
                Ok(session)
            }
            Err(failure) => {
                // What one caller did to itself says nothing to the others.
                let shared = (failure != UpstreamFailure::Cancelled).then(|| failure.clone());
                *self.failure.lock() = shared;
                Err(failure)
            }
        }
    }

    /// Forgets this session, which the upstream no longer knows; not a newer one.
    pub async fn forget(&self, session: &Arc<Established>) {
        let mut opened = self.opened.lock().await;
        if opened.as_ref().is_some_and(|held| Arc::ptr_eq(held, session)) {
            *opened = None;
        }
    }

    /// Takes the session out, if no call is under way in it.
    pub fn take(&self) -> Option<Arc<Established>> {
        let mut opened = self.opened.try_lock().ok()?;
        opened.take_if(|session| Arc::strong_count(session) == 1)
    }

    /// Whether no call is under way in the session, nor opening it.
    fn is_free(&self) -> bool {
        let opened = self.opened.try_lock();
        opened.is_ok_and(|opened| opened.as_ref().is_none_or(|session| Arc::strong_count(session) == 1))
    }
}

#[derive(Debug)]
struct Entry {
    cell: Arc<Cell>,
    used: Instant,
}

impl Entry {
    /// Nobody is about to use it, and no call is under way in it.
    fn is_free(&self) -> bool {
        Arc::strong_count(&self.cell) == 1 && self.cell.is_free()
    }
}

#[derive(Debug)]
struct Places {
    entries: HashMap<Holder, Entry>,
    swept: Instant,
}

/// All sessions with one upstream.
#[derive(Debug)]
pub struct SessionTable {
    places: Mutex<Places>,
    sessions_max: usize,
}

impl SessionTable {
    /// No sessions yet, and never more than this.
    pub fn new(sessions_max: usize) -> Self {
        let places = Places { entries: HashMap::new(), swept: Instant::now() };
        Self { places: Mutex::new(places), sessions_max }
    }

    /// The holder's place, and the places that had to go for it.
    ///
    /// # Errors
    /// [`UpstreamFailure::Busy`] if every place is in use.
    pub fn enter(
        &self,
        holder: Holder,
        now: Instant,
    ) -> Result<(Arc<Cell>, Vec<Arc<Cell>>), UpstreamFailure> {
        let mut places = self.places.lock();
        let mut gone = Vec::new();
        if now.duration_since(places.swept) >= SWEEP_EVERY {
            places.swept = now;
            gone.extend(
                places
                    .entries
                    .extract_if(|whose, entry| {
                        *whose != holder && entry.is_free() && now.duration_since(entry.used) >= IDLE_MAX
                    })
                    .map(|(_, entry)| entry.cell),
            );
        }
        if let Some(entry) = places.entries.get_mut(&holder) {
            entry.used = now;
            return Ok((Arc::clone(&entry.cell), gone));
        }
        if places.entries.len() >= self.sessions_max {
            let oldest = places.entries.iter().filter(|(_, entry)| entry.is_free());
            let oldest = oldest.min_by_key(|(_, entry)| entry.used).map(|(whose, _)| *whose);
            let limit = u32::try_from(self.sessions_max).unwrap_or(u32::MAX);
            let removed = oldest.and_then(|whose| places.entries.remove(&whose));
            gone.push(removed.ok_or(UpstreamFailure::Busy { limit })?.cell);
        }
        let cell = Arc::new(Cell::default());
        places.entries.insert(holder, Entry { cell: Arc::clone(&cell), used: now });
        Ok((cell, gone))
    }

    /// Forgets the sessions of a client that has gone; those in which a call is under way go with the
    /// next sweep after it.
    pub fn leave(&self, member: MemberId, mcp_session: Option<Digest>, now: Instant) -> Vec<Arc<Cell>> {
        let mut places = self.places.lock();
        let idle = now.checked_sub(IDLE_MAX).unwrap_or(now);
        let gone = places.entries.extract_if(|whose, entry| {
            let is_theirs = whose.is_of(member, mcp_session);
            if is_theirs {
                entry.used = idle;
            }
            is_theirs && entry.is_free()
        });
        gone.map(|(_, entry)| entry.cell).collect()
    }

    /// The sessions of a client whose upstream was told that its roots may change.
    pub fn with_roots(&self, member: MemberId, mcp_session: Digest) -> Vec<Arc<Cell>> {
        let places = self.places.lock();
        let told = |whose: &Holder| whose.changes_roots() && whose.is_of(member, Some(mcp_session));
        places
            .entries
            .iter()
            .filter(|(whose, _)| told(whose))
            .map(|(_, entry)| Arc::clone(&entry.cell))
            .collect()
    }

    /// Empties the table.
    pub fn drain(&self) -> Vec<Arc<Cell>> {
        self.places.lock().entries.drain().map(|(_, entry)| entry.cell).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Timestamp;

    fn client(n: u8, session: Option<u8>, capabilities: Capabilities) -> Holder {
        let member = MemberId::mint(Timestamp::from_millis(1), [n; 10]);
        Holder::Client { member, mcp_session: session.map(|n| Digest::of(&[n])), capabilities }
    }

    fn member(n: u8) -> Holder {
        client(n, None, Capabilities::default())
    }

    fn established() -> Established {
        Established::of(UpstreamInfo::of(Revision::R2025_11_25))
    }

    #[test]
    fn a_client_that_left_takes_its_own_sessions_with_it() {
        let table = SessionTable::new(10);
        let start = Instant::now();
        let (none, all) = (Capabilities::default(), Capabilities::ALL);
        for holder in
            [client(1, Some(1), none), client(1, Some(1), all), client(1, Some(2), all), Holder::Gate]
        {
            drop(table.enter(holder, start).unwrap());
        }
        drop(table.enter(client(2, Some(1), all), start).unwrap());
        let (held, _) = table.enter(client(1, Some(1), Capabilities { roots: true, ..none }), start).unwrap();
        let Holder::Client { member, mcp_session, .. } = client(1, Some(1), none) else { panic!() };
        assert_eq!(table.leave(member, mcp_session, start).len(), 2);
        assert_eq!(table.leave(member, mcp_session, start).len(), 0);
        drop(held);
        let (_, gone) = table.enter(Holder::Gate, start + SWEEP_EVERY).unwrap();
        assert_eq!(gone.len(), 1, "the one that was in use");
        assert_eq!(table.drain().len(), 3);
    }

    #[test]
    fn the_least_recently_used_free_session_makes_room() {
        let table = SessionTable::new(2);
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let (first, _) = table.enter(member(1), at(0)).unwrap();
        let (second, _) = table.enter(member(2), at(1)).unwrap();
        assert_eq!(table.enter(member(3), at(2)).unwrap_err(), UpstreamFailure::Busy { limit: 2 });
        drop(table.enter(member(1), at(3)).unwrap());
        let second_address = Arc::as_ptr(&second);
        drop((first, second));
        let (_, gone) = table.enter(member(3), at(4)).unwrap();
        assert_eq!(gone.iter().map(Arc::as_ptr).collect::<Vec<_>>(), [second_address]);
    }

    #[test]
    fn idle_sessions_go_and_used_ones_stay() {
        let table = SessionTable::new(10);
        let start = Instant::now();
        drop(table.enter(member(1), start).unwrap());
        let (held, _) = table.enter(member(2), start).unwrap();
        let (_, gone) = table.enter(member(3), start + IDLE_MAX).unwrap();
        assert_eq!(gone.len(), 1);
        let (same, _) = table.enter(member(2), start + IDLE_MAX).unwrap();
        assert!(Arc::ptr_eq(&held, &same));
        assert_eq!(table.drain().len(), 2);
    }

    #[tokio::test]
    async fn a_session_is_opened_once_and_a_failure_is_shared_by_those_who_waited() {
        let cell = Cell::default();
        let opened = AtomicU64::new(0);
        let open = |ok: bool| {
            let opened = &opened;
            async move {
                opened.fetch_add(1, Ordering::SeqCst);
                tokio::task::yield_now().await;
                if ok { Ok(established()) } else { Err(UpstreamFailure::unreachable("down")) }
            }
        };
        let (a, b, c) =
            tokio::join!(cell.session(open(false)), cell.session(open(false)), cell.session(open(true)));
        assert!(a.is_err() && b.is_err() && c.is_err());
        assert_eq!(opened.load(Ordering::SeqCst), 1);

        let (a, b) = tokio::join!(cell.session(open(true)), cell.session(open(true)));
        let (a, b) = (a.unwrap(), b.unwrap());
        assert!(Arc::ptr_eq(&a, &b));
        assert_eq!(opened.load(Ordering::SeqCst), 2);

        cell.forget(&a).await;
        let renewed = cell.session(open(true)).await.unwrap();
        assert!(!Arc::ptr_eq(&renewed, &a));
        cell.forget(&a).await;
        assert!(
            Arc::ptr_eq(&cell.session(open(false)).await.unwrap(), &renewed),
            "an old session's end is not the new one's"
        );
    }
}
