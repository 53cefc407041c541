//! The bridge itself: takes what the client writes, in order, and sends each message on its own.
//!
//! Invariants: requests under way, and the bytes held of them, are bounded, and one beyond is answered
//! with an error, never forgotten; the handshake of the session era is done before a later message
//! leaves; a stream of `subscriptions/listen` that the client did not end is told to be torn down before it is
//! answered; a session that the gate has forgotten is renewed once for a message, and only then is that
//! message sent again, since the gate did nothing with it.

use std::io::BufReader;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, RwLock, Semaphore, mpsc};
use tokio::task::JoinSet;

use super::answer::{self, Envelope};
use super::door::{Door, Lost, Reply};
use super::message::{Kind, Message};
use super::mirror::SESSION_ID;
use super::pipes::{self, Line};
use super::session::{HANDSHAKE_MAX, Pending, State};
use super::{say, stream};
use crate::mcp::reply::HEADER_MISMATCH;
use crate::mcp::{RequestId, listen_result, listen_torn_down};

/// Bytes of one line of the client.
const LINE_BYTES_MAX: usize = 16 << 20;
/// Requests that wait or run.
const REQUESTS_MAX: usize = 256;
/// Requests that run; the gate lets one member have 128 by default.
const POSTS_MAX: usize = 64;
/// Notifications and answers of the client that are on their way.
const NOTES_MAX: usize = 64;
/// KiB of lines that wait or run.
const HELD_KIB_MAX: usize = 128 << 10;
/// Time that calls have to end once the client has closed its side.
const DRAIN_MAX: Duration = Duration::from_secs(5);
/// Time to give the session back, and to write what waits to be written.
const LEAVE_MAX: Duration = Duration::from_secs(2);

/// One client at one gate.
pub struct Bridge {
    pub door: Door,
    pub out: mpsc::Sender<Bytes>,
    pub state: Mutex<State>,
    /// Held for writing during the handshake; every other message passes it before it leaves.
    order: RwLock<()>,
    pub renewing: tokio::sync::Mutex<()>,
    posts: Semaphore,
    notes: Semaphore,
    held: Arc<Semaphore>,
}

impl Bridge {
    /// Serves the client of this process until it leaves.
    pub async fn run(door: Door) {
        let lines = pipes::lines_of(BufReader::new(std::io::stdin()), LINE_BYTES_MAX);
        let (out, written) = pipes::lines_to(std::io::stdout());
        let bridge = Arc::new(Self {
            door,
            out,
            state: Mutex::default(),
            order: RwLock::new(()),
            renewing: tokio::sync::Mutex::new(()),
            posts: Semaphore::new(POSTS_MAX),
            notes: Semaphore::new(NOTES_MAX),
            held: Arc::new(Semaphore::new(HELD_KIB_MAX)),
        });
        let mut tasks = JoinSet::new();
        let stops = tokio::select! {
            () = bridge.serve(lines, &mut tasks) => false,
            () = told_to_stop() => true,
            () = bridge.out.closed() => false,
        };
        tasks.shutdown().await;
        if stops {
            bridge.end_subscriptions().await;
        }
        bridge.leave().await;
        drop(bridge);
        drop(tokio::time::timeout(LEAVE_MAX, written).await);
    }

    async fn serve(self: &Arc<Self>, mut lines: mpsc::Receiver<Line>, tasks: &mut JoinSet<()>) {
        loop {
            tokio::select! {
                line = lines.recv() => match line {
                    None => break,
                    Some(line) => self.take(line, tasks).await,
                },
                Some(_) = tasks.join_next() => {}
            }
        }
        // The client has closed its side: what it asked is answered, what it listens to ends.
        for (_, pending) in self.state.lock().pending.iter().filter(|(_, pending)| pending.is_listening) {
            pending.task.abort();
        }
        let drained = async { while tasks.join_next().await.is_some() {} };
        drop(tokio::time::timeout(DRAIN_MAX, drained).await);
    }

    async fn take(self: &Arc<Self>, line: Line, tasks: &mut JoinSet<()>) {
        let line = match line {
            Line::Whole(line) => line,
            Line::TooLong => {
                let why = format!("a message is longer than {LINE_BYTES_MAX} bytes");
                say(&why);
                return self.write(answer::error("null", answer::INVALID, "too_large", &why)).await;
            }
        };
        let message = match Message::read(line) {
            Ok(message) => message,
            Err(fault) => {
                return self.write(answer::error("null", answer::PARSE, "no_message", fault.0)).await;
            }
        };
        match message.kind.clone() {
            Kind::Request { id, method } => self.begin(message, id, &method, tasks).await,
            Kind::Notification { cancels: Some(id), .. } if self.cancelled_here(&message, &id) => {}
            Kind::Notification { .. } | Kind::Response => {
                let bridge = Arc::clone(self);
                // A client that only talks waits here until some of it has been heard.
                drop(self.notes.acquire().await);
                tasks.spawn(async move { bridge.tell(message).await });
            }
        }
    }

    /// In the stateless era closing the request's connection is the cancellation; says whether that
    /// was it.
    fn cancelled_here(&self, message: &Message, id: &str) -> bool {
        let mut state = self.state.lock();
        match state.pending.get(id) {
            Some(pending) if !pending.is_stateless => false,
            Some(pending) => {
                pending.task.abort();
                state.pending.remove(id);
                true
            }
            None => message.stateless.is_some() || state.session.is_none(),
        }
    }

    async fn begin(self: &Arc<Self>, message: Message, id: String, method: &str, tasks: &mut JoinSet<()>) {
        let permit = match self.room(&message, &id) {
            Ok(permit) => permit,
            Err(why) => return self.write(answer::error(&id, answer::INTERNAL, "too_many", why)).await,
        };
        let (is_stateless, is_listening) = (message.stateless.is_some(), method == "subscriptions/listen");
        let bridge = Arc::clone(self);
        let own = id.clone();
        let task = tasks.spawn(async move {
            let line = bridge.answered(&message, &own, is_listening).await;
            bridge.state.lock().pending.remove(&own);
            drop(permit);
            bridge.write(line).await;
        });
        // The task has not begun: nothing was awaited since.
        self.state.lock().pending.insert(id, Pending { is_stateless, is_listening, task });
    }

    fn room(&self, message: &Message, id: &str) -> Result<OwnedSemaphorePermit, &'static str> {
        let state = self.state.lock();
        if state.pending.contains_key(id) {
            return Err("a request with this id is still under way");
        }
        let kib = u32::try_from(message.line.len() / 1_024 + 1).unwrap_or(u32::MAX);
        let permit = Arc::clone(&self.held).try_acquire_many_owned(kib);
        permit.ok().filter(|_| state.pending.len() < REQUESTS_MAX).ok_or("too many requests are under way")
    }

    /// The line that answers a request.
    async fn answered(self: &Arc<Self>, message: &Message, id: &str, is_listening: bool) -> Bytes {
        let is_handshake = message.stateless.is_none() && message.method() == Some("initialize");
        let answered = if is_handshake {
            let _first = self.order.write().await;
            self.state.lock().session = None;
            let done = tokio::time::timeout(HANDSHAKE_MAX, self.exchange(message, id)).await;
            done.unwrap_or_else(|_| Err(Lost::silent(&self.door.url())))
        } else {
            drop(self.order.read().await);
            // What only listens takes nobody's place.
            let place = if is_listening { None } else { self.posts.acquire().await.ok() };
            let answered = self.exchange(message, id).await;
            drop(place);
            answered
        };
        match answered {
            Ok(line) => line,
            Err(lost) => {
                say(&lost.why);
                if let Some(torn_down) = torn_down(id, &lost.why).filter(|_| is_listening && lost.had_begun())
                {
                    self.write(torn_down).await;
                }
                answer::error(id, answer::INTERNAL, lost.reason, &lost.why)
            }
        }
    }

    /// The bridge is told to stop: each stream of `subscriptions/listen` ends as its revision says.
    async fn end_subscriptions(&self) {
        let listening: Vec<String> = {
            let state = self.state.lock();
            let ids =
                state.pending.iter().filter(|(_, pending)| pending.is_listening && pending.is_stateless);
            ids.map(|(id, _)| id.clone()).collect()
        };
        for id in listening {
            let Some(torn_down) = torn_down(&id, "the bridge stops") else { continue };
            self.write(torn_down).await;
            if let Some(id) = RequestId::parse(&id) {
                self.write(answer::one_line(&listen_result(&id))).await;
            }
        }
    }

    async fn exchange(self: &Arc<Self>, message: &Message, id: &str) -> Result<Bytes, Lost> {
        let (mut renewed, mut learned) = (false, false);
        loop {
            let (headers, session) = self.headers(message);
            let response = self.door.post(message.line.clone(), headers.clone()).await?;
            let (status, said, body) = match Reply::of(response).await? {
                Reply::Whole { status, headers, body } => (status, headers, body),
                Reply::Events { headers: said, stream } => {
                    return stream::relay(self, message, id, (headers, said), stream).await;
                }
            };
            if let (StatusCode::NOT_FOUND, Some(number), false) = (status, session, renewed) {
                renewed = true;
                if self.renew(number).await {
                    continue;
                }
            }
            let mismatch = status == StatusCode::BAD_REQUEST
                && message.method() == Some("tools/call")
                && Envelope::read(&body).and_then(|message| message.code())
                    == Some(i64::from(HEADER_MISMATCH));
            if mismatch && !learned {
                learned = true;
                if self.learn_tools(message).await {
                    continue;
                }
            }
            let line = answer::answer(id, status, &body);
            self.learn(message, &said, &line);
            return Ok(line);
        }
    }

    /// Sends what wants no answer; what goes wrong is for the log.
    async fn tell(self: &Arc<Self>, message: Message) {
        let is_handshake =
            message.stateless.is_none() && message.method() == Some("notifications/initialized");
        if !is_handshake {
            drop(self.order.read().await);
            let _place = self.notes.acquire().await;
            return self.told(&message).await;
        }
        let _first = self.order.write().await;
        let told = tokio::time::timeout(HANDSHAKE_MAX, self.told(&message)).await;
        if told.is_err() {
            say(&Lost::silent(&self.door.url()).why);
        }
        self.state.lock().initialized = Some(message);
        self.listen();
    }

    async fn told(self: &Arc<Self>, message: &Message) {
        let mut renewed = false;
        loop {
            let (headers, session) = self.headers(message);
            let response = match self.door.post(message.line.clone(), headers).await {
                Ok(response) => response,
                Err(lost) => return say(&lost.why),
            };
            let status = response.status();
            if let (StatusCode::NOT_FOUND, Some(number), false) = (status, session, renewed) {
                renewed = true;
                if self.renew(number).await {
                    continue;
                }
            }
            if !status.is_success() {
                let method = message.method().unwrap_or("an answer");
                say(&format!("{method} was refused: {}", answer::of_status(status).1));
            }
            return;
        }
    }

    /// Gives a line to the client. One that is gone takes none, and the bridge ends by itself.
    pub async fn write(&self, line: Bytes) {
        drop(self.out.send(line).await);
    }

    async fn leave(&self) {
        let listening = self.state.lock().listening.take();
        if let Some(listening) = listening {
            listening.abort();
            drop(listening.await);
        }
        let headers = self.session_headers();
        if headers.contains_key(SESSION_ID) {
            drop(tokio::time::timeout(LEAVE_MAX, self.door.leave(headers)).await);
        }
    }
}

/// What precedes the end of a stream of `subscriptions/listen` that the client did not end (MCP 2026-07-28,
/// cancellation).
fn torn_down(id: &str, why: &str) -> Option<Bytes> {
    RequestId::parse(id).map(|id| answer::one_line(&listen_torn_down(&id, why)))
}

/// SIGTERM, SIGINT or SIGHUP.
async fn told_to_stop() {
    use tokio::signal::unix::{SignalKind, signal};
    let on = |kind| async move {
        match signal(kind) {
            Ok(mut signal) => drop(signal.recv().await),
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        () = on(SignalKind::terminate()) => {}
        () = on(SignalKind::interrupt()) => {}
        () = on(SignalKind::hangup()) => {}
    }
}
