//! A call of a client of the stateless era that waits for the client's answers.
//!
//! Invariants: while it waits its upstream is heard, so that what the upstream takes back is not answered; what it says
//! meanwhile is kept for the next round, few messages, in the room of replies that wait for clients; the hearing ends
//! with the wait, and a call that nobody comes back for is cancelled upstream.

use std::collections::VecDeque;
use std::sync::Arc;

use futures_util::{FutureExt as _, StreamExt as _};
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::client::Client;
use super::questions::Waiting;
use super::run::{Relay, Resumed};
use super::{Errand, NextRound};
use crate::audit::Receipt;
use crate::mcp::reply::InputResponses;
use crate::model::OutcomeKind;
use crate::proxy::reply_room::{Held, ReplyRoom};
use crate::proxy::upstream::{ReplyEvent, ReplyStream, UpstreamFailure};
use crate::session::Rebate;

/// Messages of one call that are kept; beyond that the upstream is not heard until its client is back.
const KEPT_MAX: usize = 64;

/// One of them.
pub(in crate::proxy) struct Parked {
    pub(super) errand: Box<Errand>,
    pub(super) status: u16,
    pub(super) receipt: Receipt,
    waiting: Vec<Waiting>,
    bytes: u64,
    hearing: Hearing,
}

/// The upstream of a parked call, which is heard in the background.
struct Hearing {
    heard: JoinHandle<Heard>,
    /// Dropped, it ends the hearing.
    going: Option<DropGuard>,
}

/// What was heard, and where the rest comes from.
struct Heard {
    stream: ReplyStream,
    kept: VecDeque<ReplyEvent>,
    room: Arc<ReplyRoom>,
    held: Vec<Held>,
}

impl Parked {
    /// Waits from now on; `status` and `receipt` are those of the call's first round.
    pub(super) fn new(
        errand: Box<Errand>,
        stream: ReplyStream,
        (status, receipt): (u16, Receipt),
        waiting: Vec<Waiting>,
        bytes: u64,
    ) -> Self {
        let stop = CancellationToken::new();
        let heard = Heard { stream, kept: VecDeque::new(), room: Arc::clone(&errand.room), held: Vec::new() };
        let heard = tokio::spawn(heard.hear(stop.clone()));
        Self {
            errand,
            status,
            receipt,
            waiting,
            bytes,
            hearing: Hearing { heard, going: Some(stop.drop_guard()) },
        }
    }

    /// What takes the first round out of the counters.
    pub(in crate::proxy) fn take_rebate(&mut self) -> Option<Rebate> {
        self.errand.asking.rebate.take()
    }

    pub(super) fn client_ms_max(&self) -> u64 {
        self.errand.client_ms_max
    }

    /// Goes on under the names of the next round. Questions that are not answered are asked again; the answers
    /// to those that were taken back go nowhere, and the client is told so in what it gets.
    pub(super) async fn resume(
        mut self,
        responses: &InputResponses,
        next: NextRound,
        mut client: Client,
    ) -> Relay {
        let stream = self.hearing.end().await;
        let NextRound { errand, token } = next;
        let (over, mut waiting): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.waiting).into_iter().partition(Waiting::is_taken_back);
        let mut taken_back = Vec::new();
        for question in over {
            if responses.contains_key(question.key()) {
                taken_back.push(question.key().to_owned());
            }
            question.give_up(OutcomeKind::Cancelled);
        }
        waiting.retain_mut(|waiting| !waiting.take_answer(responses));
        let round_until = self.errand.round_until.filter(|_| !waiting.is_empty());
        self.errand = Box::new(Errand { started: self.errand.started, round_until, ..*errand });
        client.bytes = self.bytes;
        Relay::again(self, client, Resumed { stream, waiting, token, taken_back })
    }

    /// Nobody came back: dropped, the stream cancels the call upstream.
    pub(in crate::proxy) fn give_up(self, kind: OutcomeKind) {
        for question in self.waiting {
            let kind = if question.is_taken_back() { OutcomeKind::Cancelled } else { kind };
            question.give_up(kind);
        }
        drop(self.hearing);
        self.errand.complete(self.receipt, kind, self.status, self.bytes);
    }
}

impl Hearing {
    /// The stream, with what was heard of it before.
    async fn end(&mut self) -> ReplyStream {
        drop(self.going.take());
        match (&mut self.heard).await {
            Ok(Heard { stream, kept, .. }) => stream.after(kept),
            // It panicked: what it held is gone, and the call cancelled.
            Err(_) => ReplyStream::broken(broken("the gate lost its reply")),
        }
    }
}

impl Heard {
    async fn hear(mut self, stop: CancellationToken) -> Self {
        while self.goes_on() {
            let event = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                event = self.stream.next() => event,
            };
            self.keep(event);
        }
        // What is there already counts as heard: it may take a question back.
        while self.goes_on()
            && let Some(event) = self.stream.next().now_or_never()
        {
            self.keep(event);
        }
        self
    }

    fn goes_on(&self) -> bool {
        let is_over = matches!(self.kept.back(), Some(ReplyEvent::End | ReplyEvent::Broken(_)));
        !is_over && self.kept.len() < KEPT_MAX
    }

    fn keep(&mut self, event: Option<ReplyEvent>) {
        let event = event.unwrap_or(ReplyEvent::End);
        let bytes = match &event {
            ReplyEvent::Json { body, .. } => body.len(),
            ReplyEvent::Notification(message) => message.len(),
            ReplyEvent::Request(request) => request.params.len(),
            ReplyEvent::Paused | ReplyEvent::End | ReplyEvent::Broken(_) => 0,
        };
        match self.room.hold(bytes as u64) {
            Some(held) => {
                self.held.push(held);
                self.kept.push_back(event);
            }
            None => self.kept.push_back(ReplyEvent::Broken(broken(
                "its reply came while its client was asked, and replies that wait fill `limits.reply_bytes_waiting_max`",
            ))),
        }
    }
}

fn broken(why: &'static str) -> UpstreamFailure {
    UpstreamFailure::Broken { status: 0, why: why.into() }
}
