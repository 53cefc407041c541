//! What the bridge keeps of its session: the session itself, how it was begun, what its answers taught.
//!
//! Invariant: a session that the gate has forgotten is begun anew by one message; all others that found
//! it gone wait for that.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use tokio::task::{AbortHandle, JoinHandle};

use super::answer::{self, Envelope};
use super::bridge::Bridge;
use super::door::{Lost, Reply};
use super::message::{Kind, Message};
use super::mirror::{Annotations, PROTOCOL_VERSION, SESSION_ID};
use super::{say, stream};

/// Time for `initialize`, and for `notifications/initialized`.
pub const HANDSHAKE_MAX: Duration = Duration::from_secs(60);
/// Pages of a list of tools that are read for the sake of its annotations.
const PAGES_MAX: usize = 100;
/// The revision that brought `MCP-Protocol-Version`; dates compare as text.
const VERSION_SINCE: &str = "2025-06-18";

/// All that changes.
#[derive(Default)]
pub struct State {
    pub session: Option<Session>,
    sessions: u64,
    /// What the client said to begin its session, to say it again.
    handshake: Option<Message>,
    pub initialized: Option<Message>,
    pub pending: HashMap<String, Pending>,
    pub annotations: Annotations,
    pub listening: Option<JoinHandle<()>>,
}

/// A request that waits or runs.
pub struct Pending {
    pub is_stateless: bool,
    pub is_listening: bool,
    pub task: AbortHandle,
}

/// A session of the session era.
#[derive(Clone)]
pub struct Session {
    id: Option<HeaderValue>,
    version: Option<HeaderValue>,
    number: u64,
}

impl Session {
    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if let Some(id) = &self.id {
            headers.insert(SESSION_ID, id.clone());
        }
        if let Some(version) = &self.version {
            headers.insert(PROTOCOL_VERSION, version.clone());
        }
        headers
    }
}

impl Bridge {
    /// The headers of a message, and the number of the session that they name.
    pub fn headers(&self, message: &Message) -> (HeaderMap, Option<u64>) {
        let state = self.state.lock();
        if message.stateless.is_some() {
            return (state.annotations.headers(message), None);
        }
        let Some(session) = &state.session else { return (HeaderMap::new(), None) };
        (session.headers(), session.id.is_some().then_some(session.number))
    }

    /// Takes from an answer what later messages need.
    pub fn learn(&self, message: &Message, said: &HeaderMap, line: &Bytes) {
        let method = message.method();
        if !matches!(method, Some("initialize" | "tools/list")) {
            return;
        }
        let text = std::str::from_utf8(line).unwrap_or_default();
        let Some(result) = Envelope::read(text).and_then(|answer| answer.result()) else { return };
        let mut state = self.state.lock();
        if method == Some("tools/list") {
            for tool in state.annotations.learn(result) {
                say(&format!("tool {tool}; none of its arguments is repeated in headers"));
            }
            return;
        }
        let version: serde_json::Value = serde_json::from_str(result).unwrap_or_default();
        let version = version.get("protocolVersion").and_then(serde_json::Value::as_str);
        let version = version.filter(|version| *version >= VERSION_SINCE);
        let version = version.and_then(|version| HeaderValue::try_from(version).ok());
        let mut id = said.get(SESSION_ID).cloned();
        id.iter_mut().for_each(|id| id.set_sensitive(true));
        state.sessions += 1;
        let number = state.sessions;
        state.session = Some(Session { id, version, number });
        state.handshake = Some(message.clone());
    }

    /// Begins the session anew that the gate has forgotten. Says whether there is one now.
    pub async fn renew(self: &Arc<Self>, number: u64) -> bool {
        let _one = self.renewing.lock().await;
        let (handshake, initialized) = {
            let state = self.state.lock();
            if state.session.as_ref().is_some_and(|session| session.number != number) {
                return true;
            }
            (state.handshake.clone(), state.initialized.clone())
        };
        let Some(handshake) = handshake else { return false };
        let Kind::Request { id, .. } = &handshake.kind else { return false };
        let begun = async {
            let reply = Reply::of(self.door.post(handshake.line.clone(), HeaderMap::new()).await?).await?;
            match reply {
                Reply::Whole { status, headers, body } => {
                    self.learn(&handshake, &headers, &answer::answer(id, status, &body));
                    Ok(())
                }
                Reply::Events { headers, stream } => {
                    let heads = (HeaderMap::new(), headers);
                    stream::relay(self, &handshake, id, heads, stream).await.map(drop)
                }
            }
        };
        let begun: Result<Result<(), Lost>, _> = tokio::time::timeout(HANDSHAKE_MAX, begun).await;
        let is_new = self.state.lock().session.as_ref().is_some_and(|session| session.number != number);
        if !matches!(begun, Ok(Ok(()))) || !is_new {
            say("the session has ended and could not be begun anew: restart the client");
            return false;
        }
        say("the session had ended: a new one was begun");
        if let Some(initialized) = initialized {
            let (headers, _) = self.headers(&initialized);
            drop(self.door.post(initialized.line.clone(), headers).await);
            self.listen();
        }
        true
    }

    /// Opens the stream of what the server says unasked, in a session that has an id.
    pub fn listen(self: &Arc<Self>) {
        let mut state = self.state.lock();
        let has_id = state.session.as_ref().is_some_and(|session| session.id.is_some());
        if let Some(before) = state.listening.take() {
            before.abort();
        }
        let bridge = Arc::clone(self);
        state.listening = has_id.then(|| tokio::spawn(async move { stream::unasked(&bridge).await }));
    }

    /// The headers of the session alone.
    pub fn session_headers(&self) -> HeaderMap {
        self.state.lock().session.as_ref().map(Session::headers).unwrap_or_default()
    }

    /// Asks for the list of tools, for their annotations. Says whether it came.
    pub async fn learn_tools(&self, like: &Message) -> bool {
        let mut cursor: Option<String> = None;
        for page in 0..PAGES_MAX {
            let id = format!("wicket-connect-{page}");
            let list = Message::list_of_tools(like, &id, cursor.as_deref());
            let (headers, _) = self.headers(&list);
            let Ok(response) = self.door.post(list.line.clone(), headers).await else { return false };
            let Ok(line) = stream::only_answer(response, &format!("\"{id}\"")).await else { return false };
            self.learn(&list, &HeaderMap::new(), &line);
            let answered: serde_json::Value = serde_json::from_slice(&line).unwrap_or_default();
            let Some(result) = answered.get("result") else { return false };
            cursor = result.get("nextCursor").and_then(serde_json::Value::as_str).map(str::to_owned);
            if cursor.is_none() {
                break;
            }
        }
        true
    }
}
