//! How the gate stops: not ready, no new connections, the calls in flight, the end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use pingora_core::server::{ShutdownSignal, ShutdownSignalWatch};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::proxy::Gate;

use super::Stop;
use super::config::Drain;

/// How often the drain looks whether the last call has ended.
const LOOK: Duration = Duration::from_millis(10);
/// Replies that are handed over are given so long to be written.
const REPLIES_MAX: Duration = Duration::from_secs(5);

/// Waits for the word to stop, drains, and only then lets pingora end its runtimes.
pub struct Drained {
    pub stops: Stop,
    pub stopped: watch::Receiver<bool>,
    pub limits: Drain,
    pub gate: Arc<Gate>,
    pub draining: Arc<AtomicBool>,
    /// Tells the listeners to stop accepting.
    pub listeners: watch::Sender<bool>,
    /// Open connections of the agents' listener.
    pub connections: Arc<AtomicU32>,
}

#[async_trait]
impl ShutdownSignalWatch for Drained {
    async fn recv(&self) -> ShutdownSignal {
        let why = self.word().await;
        tracing::info!(why, in_flight = self.gate.admission().in_flight(), "draining");
        self.draining.store(true, Ordering::Release);
        tokio::select! {
            () = self.drain() => {}
            // Whoever asks twice means now.
            why = self.word(), if self.stops == Stop::SignalsAndHandle => tracing::warn!(why, "stopping at once"),
        }
        ShutdownSignal::GracefulTerminate
    }
}

impl Drained {
    async fn drain(&self) {
        tokio::time::sleep(Duration::from_millis(self.limits.delay_ms.into())).await;
        self.listeners.send_replace(true);
        self.gate.streams().close();
        let deadline = Instant::now() + Duration::from_millis(self.limits.ms_max.into());
        while self.gate.admission().in_flight() > 0 {
            if Instant::now() >= deadline {
                let cut = self.gate.admission().in_flight();
                return tracing::warn!(cut, "calls still in flight are cut; their record says `unknown`");
            }
            tokio::time::sleep(LOOK).await;
        }
        // A call is over when its reply is handed to hyper; the client may still be reading it.
        let written = deadline.min(Instant::now() + REPLIES_MAX);
        while self.connections.load(Ordering::Acquire) > 0 && Instant::now() < written {
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn word(&self) -> &'static str {
        let mut stopped = self.stopped.clone();
        let already = *stopped.borrow() && self.draining.load(Ordering::Acquire);
        let handle = async move {
            // A handle that is gone can no longer ask; one that asked once is not asked again.
            if already || stopped.wait_for(|stop| *stop).await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        if self.stops == Stop::Handle {
            handle.await;
            return "asked to stop";
        }
        let (Ok(mut terminate), Ok(mut interrupt), Ok(mut quit)) =
            (signal(SignalKind::terminate()), signal(SignalKind::interrupt()), signal(SignalKind::quit()))
        else {
            tracing::error!("cannot listen for signals");
            handle.await;
            return "asked to stop";
        };
        tokio::select! {
            () = handle => "asked to stop",
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
            _ = quit.recv() => "SIGQUIT",
        }
    }
}
