//! The events of one call to a child process, as its caller reads them.

use std::sync::Arc;

use tokio::time::Instant;

use super::StdioLink;
use super::pending::Awaited;
use crate::proxy::upstream::calls::{CallGuard, SentTo};
use crate::proxy::upstream::dialogue::{Exchange, Step};
use crate::proxy::upstream::patience::Patience;
use crate::proxy::upstream::{ReplyEvent, UpstreamFailure};

/// One call that waits for its child.
pub struct StdioRelay {
    exchange: Exchange,
    patience: Patience,
    guard: CallGuard,
    awaited: Awaited,
    last_sign: Instant,
    answered: bool,
}

impl StdioRelay {
    /// A call that was queued just now.
    pub fn new(
        link: &Arc<StdioLink>,
        exchange: Exchange,
        patience: Patience,
        mut guard: CallGuard,
        awaited: Awaited,
    ) -> Self {
        guard.sent(SentTo::Stdio { link: Arc::clone(link), upstream_id: exchange.upstream_id });
        Self { exchange, patience, guard, awaited, last_sign: Instant::now(), answered: false }
    }

    /// Whether certainly nothing was and will be sent; gives the call up if it is still queued.
    pub fn withdraw(&mut self) -> bool {
        let withdrawn = self.awaited.withdraw();
        if withdrawn {
            self.guard.settled();
        }
        withdrawn
    }

    /// The next event.
    pub async fn next(&mut self) -> ReplyEvent {
        if self.answered {
            return ReplyEvent::End;
        }
        match self.step().await {
            Ok(event) => event,
            Err(failure) => ReplyEvent::Broken(self.guard.failed(failure)),
        }
    }

    async fn step(&mut self) -> Result<ReplyEvent, UpstreamFailure> {
        loop {
            let message = match self.patience.wait(self.last_sign, self.awaited.next()).await? {
                Ok(message) => message,
                Err(failure) => {
                    // The child is gone, or has forgotten the call: there is nobody to tell.
                    self.guard.settled();
                    return Err(failure);
                }
            };
            self.guard.alive();
            self.last_sign = Instant::now();
            match self.exchange.step(message)? {
                Step::Answer { body, kind } => {
                    self.answered = true;
                    self.guard.settled();
                    return Ok(ReplyEvent::Json { body, kind });
                }
                Step::Relay(bytes) => return Ok(ReplyEvent::Notification(bytes)),
                // The child's task has seen to these.
                Step::News { .. } | Step::Reply(_) | Step::Skip => {}
            }
        }
    }
}
