//! What an upstream asks of the client in the middle of a call.
//!
//! Invariants: few questions are open at a time and few are asked in all; each is answered once, with
//! the client's words or with why there are none; an answer that does not arrive upstream breaks the
//! call; what the client reports of its progress arrives before the answer or not at all, one report at a time; while one is open the upstream's silence is not counted, the life of the call is; what the upstream
//! takes back is not answered, and whoever was asked can tell.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::UpstreamFailure;
use super::reply::{AnswerSender, ClientAnswer, Report, ServerRequest};
use crate::mcp::{self, RequestId};

/// Questions that wait for the client's answer at a time.
pub const OPEN_MAX: usize = 8;
/// Requests of its own that a server may make during one call, pings and refused ones too.
const TOTAL_MAX: u32 = 64;
/// Between two reports of a client's progress with one question.
const REPORT_EVERY: Duration = Duration::from_millis(100);
/// How long a report may take to arrive: the answer waits behind it.
const REPORT_MAX: Duration = Duration::from_secs(1);

type Errand = Pin<Box<dyn Future<Output = Result<(), UpstreamFailure>> + Send>>;

/// The questions of one call.
#[derive(Default)]
pub struct Asks {
    /// Made with the first question: most calls have none.
    open: Option<FuturesUnordered<Errand>>,
    /// By which those that are open are taken back; at most as many as may be asked in all.
    withdrawn: Vec<(RequestId, CancellationToken)>,
    total: u32,
}

impl Asks {
    /// Counts a request of the upstream's own.
    ///
    /// # Errors
    /// It makes too many.
    pub fn count(&mut self) -> Result<(), UpstreamFailure> {
        self.total += 1;
        if self.total > TOTAL_MAX {
            return Err(UpstreamFailure::broken("it asks too much of the gate during one call"));
        }
        Ok(())
    }

    /// Whether the client is awaited.
    pub fn are_open(&self) -> bool {
        self.open.as_ref().is_some_and(|open| !open.is_empty())
    }

    /// Whether one more may be asked.
    pub fn have_room(&self) -> bool {
        self.open.as_ref().is_none_or(|open| open.len() < OPEN_MAX)
    }

    /// Asks the client; its answer, or that there is none, goes upstream by `deliver`.
    pub fn ask<F>(
        &mut self,
        id: RequestId,
        method: String,
        params: String,
        deliver: impl Fn(Bytes) -> F + Send + Sync + 'static,
    ) -> ServerRequest
    where
        F: Future<Output = Result<(), UpstreamFailure>> + Send + 'static,
    {
        let (mut sender, answered) = AnswerSender::new();
        let reports = sender.reports(&params);
        let withdrawn = sender.withdrawn();
        self.withdrawn.push((id.clone(), withdrawn.clone()));
        self.open.get_or_insert_default().push(Box::pin(async move {
            let answer = tokio::select! {
                biased;
                // Nobody waits for it any more.
                () = withdrawn.cancelled() => return Ok(()),
                answer = answer_after(answered, reports, &deliver) => answer,
            };
            let answer = match answer {
                Ok(ClientAnswer::Result(result)) => mcp::reply::upstream_answer(&id, Ok(&result)),
                Ok(ClientAnswer::Error(error)) => mcp::reply::upstream_answer(&id, Err(&error)),
                Err(_) => mcp::reply::upstream_unanswered(&id, "the client does not answer"),
            };
            deliver(answer).await
        }));
        ServerRequest { method, params, answer: sender }
    }

    /// The upstream does not want to know any more what it asked under this id.
    pub fn withdraw(&mut self, id: &RequestId) {
        if let Some(at) = self.withdrawn.iter().position(|(asked, _)| asked == id) {
            self.withdrawn.swap_remove(at).1.cancel();
        }
    }

    /// Waits until an answer has arrived upstream; for ever where none is awaited.
    ///
    /// # Errors
    /// It did not arrive.
    pub async fn delivered(&mut self) -> Result<(), UpstreamFailure> {
        match &mut self.open {
            Some(open) if !open.is_empty() => open.next().await.unwrap_or(Ok(())),
            _ => std::future::pending().await,
        }
    }
}

/// The client's answer; what it reports of its progress before goes upstream.
async fn answer_after<F>(
    answered: oneshot::Receiver<ClientAnswer>,
    reports: Option<watch::Receiver<Report>>,
    deliver: &impl Fn(Bytes) -> F,
) -> Result<ClientAnswer, oneshot::error::RecvError>
where
    F: Future<Output = Result<(), UpstreamFailure>>,
{
    let Some(mut reports) = reports else { return answered.await };
    let (mut answered, mut due) = (answered, Instant::now());
    loop {
        let next = async {
            tokio::time::sleep_until(due).await;
            reports.changed().await
        };
        tokio::select! {
            biased;
            answer = &mut answered => return answer,
            next = next => if next.is_err() {
                // Nobody can report any more.
                return answered.await;
            },
        }
        let report = reports.borrow_and_update().as_ref().map(|(_, report)| report.clone());
        if let Some(report) = report {
            // One that does not arrive is no fault of the call's.
            drop(tokio::time::timeout(REPORT_MAX, deliver(report)).await);
        }
        due = Instant::now() + REPORT_EVERY;
    }
}
