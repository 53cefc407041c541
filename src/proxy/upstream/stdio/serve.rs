//! The conversation with one running child: a single task owns the calls that wait for an answer,
//! so no lock is needed and a child's death ends exactly its own calls.
//!
//! Invariants: every call taken from the queue is answered, or ends with a failure that says
//! whether it may have run; nothing is sent twice; a child that does not read its input blocks only
//! writing, never the reading of its output; what is not MCP is dropped and counted.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::AsyncWriteExt as _;
use tokio::process::{ChildStdin, ChildStdout};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::child::{Child, Pipes};
use super::lines::{Line, Lines, likely_id};
use super::pending::Pending;
use super::{Core, Order};
use crate::mcp::{self, FromUpstream, NotificationBody, RequestId};
use crate::proxy::upstream::UpstreamFailure;
use crate::proxy::upstream::{dialogue, news};

/// Lines that wait for a child to read them.
const WRITES_MAX: usize = 16;
/// Lines that were read and wait to be looked at: few, since each may be `reply_bytes_max` long.
const READS_MAX: usize = 4;
/// Answers to a child's own requests that wait to be written.
const ANSWERS_MAX: usize = 64;
/// Calls that were given up and are remembered: with so many, a question of the child's is hardly
/// anybody's.
const GIVEN_UP_MAX: usize = 1_024;
/// Lines within a minute that are no MCP message, beyond which the child is started again.
const FAULTS_MAX: u32 = 100;
/// How long the rest of a dead child's output is read, and how long calls in flight have when a
/// child is to stop.
pub(super) const DRAIN: Duration = Duration::from_millis(500);

/// What a child said.
pub(super) enum Heard {
    Message(FromUpstream, usize),
    /// A line that is no MCP message: what is wrong with it.
    Fault(String),
    /// A line that is too long, and the call that it seems to answer.
    TooLong(Option<u64>),
}

/// A task that ends with its owner.
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The talk with one child, from its start to its end.
pub struct Conversation<'a> {
    pub(super) core: &'a Core,
    lines: mpsc::Sender<Bytes>,
    pub(super) heard: mpsc::Receiver<Heard>,
    _reader: Task,
    pending: HashMap<u64, Pending>,
    /// Calls that were sent and given up, and since when: the child may still be at them.
    given_up: HashMap<u64, Instant>,
    answers: VecDeque<Bytes>,
    faults: u32,
    faults_since: Instant,
}

impl<'a> Conversation<'a> {
    /// Begins to read and to write.
    pub fn begin(core: &'a Core, pipes: Pipes) -> Self {
        let (lines, to_write) = mpsc::channel(WRITES_MAX);
        let (said, heard) = mpsc::channel(READS_MAX);
        // The writer ends when `lines` is dropped, and closes the child's input by that.
        drop(tokio::spawn(write(pipes.input, to_write)));
        let bytes_max = usize::try_from(core.limits.reply_bytes_max).unwrap_or(usize::MAX);
        let reader = Task(tokio::spawn(read(pipes.output, bytes_max, said)));
        Self {
            core,
            lines,
            heard,
            _reader: reader,
            pending: HashMap::new(),
            given_up: HashMap::new(),
            answers: VecDeque::new(),
            faults: 0,
            faults_since: Instant::now(),
        }
    }

    pub(super) async fn write(&self, line: Bytes) -> Result<(), String> {
        self.lines.send(line).await.map_err(|_| "it closed its input".to_owned())
    }

    /// Serves orders until the child ends or is to end; says why it did.
    pub async fn serve(
        &mut self,
        child: &mut Child,
        orders: &mut mpsc::Receiver<Order>,
        stop: &CancellationToken,
        recycle: &Notify,
    ) -> String {
        loop {
            let heard = tokio::select! {
                heard = self.heard.recv() => heard,
                next = next_write(&self.lines, &mut self.answers, orders, &self.core.roots) => match next {
                    Some((permit, order)) => {
                        take(&mut self.pending, &mut self.given_up, permit, order);
                        continue;
                    }
                    None => return self.last_words(child, "it closed its input").await,
                },
                status = child.ended() => return self.last_words(child, &status).await,
                () = stop.cancelled() => {
                    self.finish_calls().await;
                    return "it was stopped".to_owned();
                }
                () = recycle.notified() => return "it was silent too often".to_owned(),
            };
            match heard {
                Some(heard) => {
                    if let Err(why) = self.hear(heard) {
                        return why;
                    }
                }
                None => return self.last_words(child, "it closed its output").await,
            }
        }
    }

    /// Reads what a dead child said before it died.
    async fn last_words(&mut self, child: &mut Child, how: &str) -> String {
        let read = async {
            while let Some(heard) = self.heard.recv().await {
                if self.hear(heard).is_err() {
                    break;
                }
            }
            child.ended().await
        };
        match tokio::time::timeout(DRAIN, read).await {
            Ok(status) if status != how => format!("{how} ({status})"),
            _ => how.to_owned(),
        }
    }

    /// Lets calls in flight end when the child is to stop.
    async fn finish_calls(&mut self) {
        let finish = async {
            while !self.pending.is_empty() {
                let Some(heard) = self.heard.recv().await else { break };
                if self.hear(heard).is_err() {
                    break;
                }
            }
        };
        drop(tokio::time::timeout(DRAIN, finish).await);
    }

    /// Ends every call: those that were sent may have run, those still queued did not.
    pub fn end(self, why: &str, orders: &mut mpsc::Receiver<Order>) {
        for pending in self.pending.into_values() {
            pending.fail(UpstreamFailure::broken(format!("the process ended before it answered: {why}")));
        }
        orders.close();
        while let Ok(order) = orders.try_recv() {
            if let Order::Call { pending, .. } = order {
                pending.fail(UpstreamFailure::unreachable(format!("the process ended: {why}")));
            }
        }
    }

    pub(super) fn hear(&mut self, heard: Heard) -> Result<(), String> {
        match heard {
            Heard::Message(FromUpstream::Response { id, body }, bytes) => match self.pending.remove(&id) {
                Some(pending) => {
                    pending.deliver(FromUpstream::Response { id, body }, bytes);
                }
                // The answer to a call that was given up is late, not wrong.
                None if self.core.has_issued(id) => drop(self.given_up.remove(&id)),
                None => return self.fault("an answer to a request that was never asked"),
            },
            Heard::Message(FromUpstream::Notification { method, raw }, bytes) => {
                // A line for the log may be about any member's call, also one that is over: nobody can tell
                // whose, so it is nobody's.
                if news::is_news(&method) {
                    self.core.changed.hear(&method, raw.as_str());
                }
                if method == news::CANCELLED {
                    self.core.changed.hear(&method, raw.as_str());
                    self.withdraw(raw, bytes);
                    return Ok(());
                }
                // Only progress says which call it is about; the rest belongs to nobody here, since
                // all members share this process.
                if let Some(token) = raw.progress_token()
                    && let Some(pending) = self.pending.get(&token)
                    && !pending.deliver(FromUpstream::Notification { method, raw }, bytes)
                {
                    self.give_up(token);
                }
            }
            Heard::Message(FromUpstream::Request { id, method, params }, bytes) => {
                if dialogue::is_for_client(&method) {
                    return self.ask_a_client(id, method, params, bytes);
                }
                return self.answer(dialogue::answer(&id, &method));
            }
            Heard::Fault(why) => return self.fault(&why),
            Heard::TooLong(id) => {
                if let Some(pending) = id.and_then(|id| self.pending.remove(&id)) {
                    let bytes_max = self.core.limits.reply_bytes_max;
                    pending.fail(UpstreamFailure::TooLarge { bytes_max });
                }
                return self.fault("a line longer than `reply_bytes_max`");
            }
        }
        Ok(())
    }

    /// The child does not want to know any more what it asked; the call that was asked finds its question.
    fn withdraw(&mut self, raw: NotificationBody, bytes: usize) {
        let asked = self.pending.iter().filter(|(_, pending)| pending.is_of_client());
        let gone: Vec<u64> = asked
            .filter(|(_, pending)| {
                let (method, raw) = (news::CANCELLED.to_owned(), raw.clone());
                !pending.deliver(FromUpstream::Notification { method, raw }, bytes)
            })
            .map(|(call, _)| *call)
            .collect();
        gone.into_iter().for_each(|call| self.give_up(call));
    }

    /// Forgets a call whose caller is gone; the child may still be at it.
    fn give_up(&mut self, call: u64) {
        if self.pending.remove(&call).is_some() && self.given_up.len() < GIVEN_UP_MAX {
            self.given_up.insert(call, Instant::now());
        }
    }

    /// Hands a request of the child to the one call that is under way. Nothing in it says for which call
    /// the child asks, so that with several of them nobody is asked: it could be the wrong client.
    fn ask_a_client(
        &mut self,
        id: RequestId,
        method: String,
        params: String,
        bytes: usize,
    ) -> Result<(), String> {
        // A call that was given up may still be the one that asks, for as long as a call may last.
        let life = Duration::from_millis(self.core.limits.call_ms_max.into());
        self.given_up.retain(|_, since| since.elapsed() < life);
        if !self.given_up.is_empty() {
            let why = "a call was given up in this process: nothing says which client is meant";
            return self.answer(mcp::reply::upstream_unanswered(&id, why));
        }
        let mut calls = self.pending.iter().filter(|(_, pending)| pending.is_of_client());
        let refusal = match (calls.next(), calls.next()) {
            (Some((call, pending)), None) => {
                let (call, refused) =
                    (*call, mcp::reply::upstream_unanswered(&id, "nobody is there to answer"));
                if pending.deliver(FromUpstream::Request { id, method, params }, bytes) {
                    return Ok(());
                }
                self.give_up(call);
                refused
            }
            (None, _) => dialogue::answer(&id, &method),
            (Some(_), Some(_)) => mcp::reply::upstream_unanswered(
                &id,
                "several calls are under way in this process: nothing says which client is meant",
            ),
        };
        self.answer(refusal)
    }

    fn answer(&mut self, answer: Bytes) -> Result<(), String> {
        if self.answers.len() >= ANSWERS_MAX {
            return self.fault("more requests of its own than it reads answers to");
        }
        self.answers.push_back(answer);
        Ok(())
    }

    fn fault(&mut self, what: &str) -> Result<(), String> {
        if self.faults_since.elapsed() > Duration::from_secs(60) {
            (self.faults, self.faults_since) = (0, Instant::now());
        }
        self.faults += 1;
        tracing::debug!(service = %self.core.service, what, "the upstream wrote a line that is no MCP message");
        if self.faults > FAULTS_MAX {
            return Err(format!("it wrote {FAULTS_MAX} lines that are no MCP messages, the last: {what}"));
        }
        Ok(())
    }
}

/// Waits for room, then for something to write. `None` when the child's input is closed.
async fn next_write(
    lines: &mpsc::Sender<Bytes>,
    answers: &mut VecDeque<Bytes>,
    orders: &mut mpsc::Receiver<Order>,
    roots: &Notify,
) -> Option<(mpsc::OwnedPermit<Bytes>, Order)> {
    loop {
        let permit = lines.clone().reserve_owned().await.ok()?;
        if let Some(answer) = answers.pop_front() {
            drop(permit.send(answer));
            continue;
        }
        tokio::select! {
            biased;
            order = orders.recv() => match order {
                Some(order) => return Some((permit, order)),
                // The link is gone: `stop` is on its way.
                None => std::future::pending().await,
            },
            () = roots.notified() => drop(permit.send(mcp::reply::upstream_roots_changed())),
        }
    }
}

/// Writes one order, if its caller still wants it.
fn take(
    pending: &mut HashMap<u64, Pending>,
    given_up: &mut HashMap<u64, Instant>,
    permit: mpsc::OwnedPermit<Bytes>,
    order: Order,
) {
    match order {
        Order::Call { id, line, pending: call } => {
            if call.claim() {
                drop(permit.send(line));
                pending.insert(id, call);
            }
        }
        Order::Cancel { id, reason } => {
            if let Some(call) = pending.remove(&id) {
                if call.is_of_client() && given_up.len() < GIVEN_UP_MAX {
                    given_up.insert(id, Instant::now());
                }
                drop(permit.send(mcp::reply::upstream_cancelled(id, reason.as_deref())));
            }
        }
        Order::Answer { line } => drop(permit.send(line)),
    }
}

async fn write(mut input: ChildStdin, mut lines: mpsc::Receiver<Bytes>) {
    while let Some(line) = lines.recv().await {
        let written = async {
            input.write_all(&line).await?;
            input.write_all(b"\n").await?;
            input.flush().await
        };
        if written.await.is_err() {
            return;
        }
    }
}

async fn read(output: ChildStdout, line_bytes_max: usize, said: mpsc::Sender<Heard>) {
    let mut lines = Lines::new(output, line_bytes_max);
    while let Ok(Some(line)) = lines.next().await {
        let heard = match line {
            Line::TooLong { head, tail } => Heard::TooLong(likely_id(&head, &tail)),
            Line::Whole(text) => {
                let bytes = text.len();
                match mcp::read_upstream(text, mcp::Limits::REPLY) {
                    Ok(message) => Heard::Message(message, bytes),
                    Err(fault) => Heard::Fault(fault.to_string()),
                }
            }
        };
        if said.send(heard).await.is_err() {
            return;
        }
    }
}
