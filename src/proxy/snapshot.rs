//! What the gate knows, as one value that is swapped as one (decision 16): the directory of keys and
//! the bundle of policies, connectors and locks.
//!
//! Invariants: a request loads the snapshot once and uses it for identity and decision alike; a
//! change is visible to every request that loads after the swap returned; writers take turns.

mod belief;
mod directory;

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::policy::Bundle;

use belief::Belief;
pub use directory::{Directory, KeyEntry};

/// Directory and bundle of one moment.
#[derive(Debug)]
pub struct Snapshot {
    pub directory: Arc<Directory>,
    pub bundle: Arc<Bundle>,
}

/// The snapshot in force.
#[derive(Debug)]
pub struct Live {
    current: ArcSwap<Snapshot>,
    writer: Mutex<()>,
    /// The generation of the directory in force, for those that must notice a revocation.
    generation: watch::Sender<u64>,
    /// How many bundles were put in force, for those that must notice another one.
    bundles: watch::Sender<u64>,
    belief: Belief,
}

impl Live {
    /// Starts with this snapshot.
    pub fn new(directory: Directory, bundle: Bundle) -> Self {
        let (generation, _) = watch::channel(directory.generation);
        let snapshot = Snapshot { directory: Arc::new(directory), bundle: Arc::new(bundle) };
        Self {
            current: ArcSwap::from_pointee(snapshot),
            writer: Mutex::new(()),
            generation,
            bundles: watch::Sender::new(0),
            belief: Belief::new(None),
        }
    }

    /// The same, where other gates change the directory too: it is believed only for so long after it
    /// was last confirmed.
    #[must_use]
    pub fn believed_for(self, bound: Duration) -> Self {
        Self { belief: Belief::new(Some(bound)), ..self }
    }

    /// The store was asked after this moment and holds nothing newer than what is in force.
    pub fn confirm(&self, asked: Instant) {
        self.belief.confirm(asked);
    }

    /// Whether the directory may be out of date by more than the bound. One relaxed load where the
    /// database is this gate's alone.
    pub fn is_stale(&self, now: impl FnOnce() -> Instant) -> bool {
        self.belief.is_over(now)
    }

    /// The snapshot in force. Load it once per request.
    pub fn load(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// Puts a newer directory in force; one that is older than the one in force is ignored, so that
    /// two writers that read the store in one order and swap in the other cannot bring a revoked
    /// key back.
    pub fn put_directory(&self, directory: Directory) {
        let _turn = self.writer.lock();
        let before = self.current.load();
        let generation = directory.generation;
        if generation >= before.directory.generation {
            let bundle = Arc::clone(&before.bundle);
            self.current.store(Arc::new(Snapshot { directory: Arc::new(directory), bundle }));
            self.generation.send_replace(generation);
        }
    }

    /// A receiver that changes with each directory that is put in force.
    pub fn generations(&self) -> watch::Receiver<u64> {
        self.generation.subscribe()
    }

    /// A receiver that changes with each bundle that is put in force.
    pub fn bundles(&self) -> watch::Receiver<u64> {
        self.bundles.subscribe()
    }

    /// Puts another bundle in force.
    pub fn put_bundle(&self, bundle: impl Into<Arc<Bundle>>) {
        let bundle = bundle.into();
        let _turn = self.writer.lock();
        let directory = Arc::clone(&self.current.load().directory);
        self.current.store(Arc::new(Snapshot { directory, bundle }));
        self.bundles.send_modify(|count| *count += 1);
    }
}

#[cfg(test)]
mod tests;
