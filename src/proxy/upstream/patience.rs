//! How long the gate waits for an upstream (decision 14): silence, the whole life, and the
//! caller's change of mind, in one place.

use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::UpstreamFailure;
use crate::connector::Limits;

/// The bounds in time of one exchange with an upstream.
#[derive(Debug, Clone)]
pub struct Patience {
    silence_ms: u32,
    call_ms: u32,
    ends: Instant,
    cancel: CancellationToken,
}

impl Patience {
    /// From now on, by the connector's limits.
    pub fn begin(limits: &Limits, cancel: CancellationToken) -> Self {
        let ends = Instant::now() + Duration::from_millis(limits.call_ms_max.into());
        Self { silence_ms: limits.silence_ms_max, call_ms: limits.call_ms_max, ends, cancel }
    }

    /// Waits while the upstream is not to say anything: its silence is not counted.
    ///
    /// # Errors
    /// Expired or cancelled; the future is dropped then.
    pub async fn live<T>(&self, what: impl Future<Output = T>) -> Result<T, UpstreamFailure> {
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => Err(UpstreamFailure::Cancelled),
            done = tokio::time::timeout_at(self.ends, what) => {
                done.map_err(|_| UpstreamFailure::Expired { after_ms: self.call_ms })
            }
        }
    }

    /// The same, with at most half the silence and at most this much of it, in milliseconds: for what
    /// something else is tried after.
    pub fn shorter(&self, silence_ms_max: u32) -> Self {
        Self { silence_ms: silence_ms_max.min(self.silence_ms / 2), ..self.clone() }
    }

    /// Waits for the upstream's next sign of life, the last one of which was at `since`. Where `what` is large,
    /// give it pinned: else it stands twice in the state of a call.
    ///
    /// # Errors
    /// Silent, expired or cancelled; the future is dropped then.
    pub async fn wait<T>(&self, since: Instant, what: impl Future<Output = T>) -> Result<T, UpstreamFailure> {
        let silent = since + Duration::from_millis(self.silence_ms.into());
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => Err(UpstreamFailure::Cancelled),
            done = tokio::time::timeout_at(silent.min(self.ends), what) => done.map_err(|_| {
                if self.ends <= silent {
                    UpstreamFailure::Expired { after_ms: self.call_ms }
                } else {
                    UpstreamFailure::Silent { after_ms: self.silence_ms }
                }
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(silence_ms_max: u32, call_ms_max: u32) -> Limits {
        Limits { silence_ms_max, call_ms_max, ..Limits::default() }
    }

    #[tokio::test(start_paused = true)]
    async fn silence_and_life_end_a_wait_each_by_its_name() {
        let never = std::future::pending::<()>;
        let token = CancellationToken::new();
        let patience = Patience::begin(&limits(30, 100), token.clone());
        let began = Instant::now();
        assert_eq!(patience.wait(began, never()).await, Err(UpstreamFailure::Silent { after_ms: 30 }));
        assert_eq!(began.elapsed().as_millis(), 30);
        let late = Instant::now() + Duration::from_millis(60);
        assert_eq!(patience.wait(late, never()).await, Err(UpstreamFailure::Expired { after_ms: 100 }));
        assert_eq!(began.elapsed().as_millis(), 100);

        let patience = Patience::begin(&limits(30, 100), token.clone());
        assert_eq!(patience.live(never()).await, Err(UpstreamFailure::Expired { after_ms: 100 }));
        let brief = patience.shorter(1_000).wait(Instant::now(), never()).await;
        assert_eq!(brief, Err(UpstreamFailure::Expired { after_ms: 100 }));

        let patience = Patience::begin(&limits(30, 100), token.clone());
        for (silence_ms, after_ms) in [(1_000, 15), (4, 4)] {
            let brief = patience.shorter(silence_ms).wait(Instant::now(), never()).await;
            assert_eq!(brief, Err(UpstreamFailure::Silent { after_ms }));
        }
        token.cancel();
        assert_eq!(patience.wait(Instant::now(), never()).await, Err(UpstreamFailure::Cancelled));
        assert_eq!(patience.live(never()).await, Err(UpstreamFailure::Cancelled));
    }
}
