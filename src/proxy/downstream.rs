//! The clients of the session era that hold an `Mcp-Session-Id` of ours: what they said of themselves in
//! `initialize`, and the requests that they were sent and have not answered.
//!
//! Invariants: a session belongs to one member, and another's answer, or word of its progress, reaches none of its
//! requests, and none that is not open; the
//! number of open requests is bounded; an entry lives no longer than its id is known to the sessions.
//! After a restart ids are known again but not what their clients can be asked, so they are asked nothing
//! until they initialize anew.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;

use arc_swap::ArcSwap;
use dashmap::DashMap;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::mcp::{ClientFace, ClientProgress, RequestId, ResponseFromClient};
use crate::model::{Digest, MemberId};

use super::upstream::{ClientAnswer, ProgressSender};

/// Requests that one session may have been sent and not answered.
const ASKS_MAX: usize = 64;

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Downstreams(DashMap<(MemberId, Digest), Arc<Downstream>>);

/// One client.
#[derive(Debug)]
pub(super) struct Downstream {
    face: ArcSwap<ClientFace>,
    asks: Mutex<HashMap<String, Open>>,
}

/// An open request.
#[derive(Debug)]
struct Open {
    answer: oneshot::Sender<ClientAnswer>,
    /// Where the one that asked wants to hear how far the client is.
    progress: Option<ProgressSender>,
}

/// A request to a client that waits for its answer; forgotten when dropped.
#[derive(Debug)]
pub(super) struct Ask {
    of: Arc<Downstream>,
    pub id: String,
    answered: oneshot::Receiver<ClientAnswer>,
}

impl Downstreams {
    /// A client that was just given this id.
    pub fn enter(&self, member: MemberId, face: ClientFace) {
        if let Some(digest) = face.mcp_session {
            self.0.insert((member, digest), Arc::new(Downstream::new(face)));
        }
    }

    /// The client with this id; one that is not known from before counts as one that said nothing.
    pub fn of(&self, member: MemberId, digest: Digest) -> Arc<Downstream> {
        let entry = self.0.entry((member, digest)).or_insert_with(|| {
            Arc::new(Downstream::new(ClientFace { mcp_session: Some(digest), ..ClientFace::unknown() }))
        });
        Arc::clone(&entry)
    }

    /// Forgets a client that ended its session.
    pub fn leave(&self, member: MemberId, digest: &Digest) {
        self.0.remove(&(member, *digest));
    }

    /// Forgets those whose id is not known any more; gives them.
    pub fn sweep(&self, is_known: impl Fn(MemberId, &Digest) -> bool) -> Vec<(MemberId, Digest)> {
        let mut gone = Vec::new();
        self.0.retain(|(member, digest), _| {
            let known = is_known(*member, digest);
            if !known {
                gone.push((*member, *digest));
            }
            known
        });
        gone
    }
}

impl Downstream {
    fn new(face: ClientFace) -> Self {
        Self { face: ArcSwap::from_pointee(face), asks: Mutex::default() }
    }

    /// The client as it presented itself.
    pub fn face(&self) -> Arc<ClientFace> {
        self.face.load_full()
    }

    /// What `logging/setLevel` said.
    pub fn set_level(&self, level: &str) {
        self.face.rcu(|face| ClientFace { log_level: Some(level.into()), ..ClientFace::clone(face) });
    }

    /// A place for one more request to this client; `None` where it has too many to answer already. The client
    /// reports its progress under the id of the request.
    pub fn ask(self: &Arc<Self>, progress: Option<ProgressSender>) -> Option<Ask> {
        let mut random = [0; 12];
        getrandom::fill(&mut random).ok()?;
        let mut id = String::from("wicket-");
        for byte in random {
            let _ = write!(id, "{byte:02x}");
        }
        let (answer, answered) = oneshot::channel();
        let mut asks = self.asks.lock();
        if asks.len() >= ASKS_MAX {
            return None;
        }
        asks.insert(id.clone(), Open { answer, progress });
        Some(Ask { of: Arc::clone(self), id, answered })
    }

    /// Takes the client's answer. False where nothing like that was asked, or is not waited for any more.
    pub fn answered(&self, response: ResponseFromClient) -> bool {
        let ResponseFromClient { id, error, content } = response;
        let asked = id_text(&id).and_then(|id| self.asks.lock().remove(&id));
        let answer = if error { ClientAnswer::Error(content) } else { ClientAnswer::Result(content) };
        asked.is_some_and(|asked| asked.answer.send(answer).is_ok())
    }

    /// Takes the client's word of its progress. False where nothing like that was asked, nobody wants to hear of
    /// it, or it does not grow.
    pub fn progressed(&self, progress: &ClientProgress) -> bool {
        let Some(id) = id_text(&progress.token) else { return false };
        let asks = self.asks.lock();
        let sender = asks.get(&id).and_then(|open| open.progress.as_ref());
        sender.is_some_and(|sender| sender.report(progress))
    }
}

/// The text of an id of ours; none of ours needs escapes.
fn id_text(id: &RequestId) -> Option<String> {
    id.raw().strip_prefix('"')?.strip_suffix('"').map(str::to_owned)
}

impl Ask {
    /// Waits for the answer; `None` where the session was ended meanwhile.
    pub async fn answer(mut self) -> Option<ClientAnswer> {
        (&mut self.answered).await.ok()
    }
}

impl Drop for Ask {
    fn drop(&mut self) {
        self.of.asks.lock().remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(id: &str) -> ResponseFromClient {
        let id = RequestId::parse(&format!("\"{id}\"")).unwrap();
        ResponseFromClient { id, error: false, content: "{}".to_owned() }
    }

    #[tokio::test]
    async fn an_answer_reaches_the_request_of_its_own_session_once() {
        let all = Downstreams::default();
        let (one, two) = (MemberId::from_uuid(uuid::Uuid::from_u128(1)), Digest::of(b"a"));
        all.enter(one, ClientFace { mcp_session: Some(two), ..ClientFace::unknown() });
        let (mine, other) = (all.of(one, two), all.of(one, Digest::of(b"b")));
        let ask = mine.ask(None).unwrap();
        let id = ask.id.clone();
        assert!(!other.answered(response(&id)));
        assert!(mine.answered(response(&id)));
        assert!(!mine.answered(response(&id)));
        assert_eq!(ask.answer().await, Some(ClientAnswer::Result("{}".to_owned())));
        let many: Vec<_> = std::iter::from_fn(|| mine.ask(None)).take(ASKS_MAX + 1).collect();
        assert_eq!(many.len(), ASKS_MAX);
        drop(many);
        assert!(mine.ask(None).is_some());
        assert_eq!(all.sweep(|_, digest| *digest == two).len(), 1);
    }
}
