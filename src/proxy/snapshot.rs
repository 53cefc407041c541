//! What the gate knows, as one value that is swapped as one (decision 16): the directory of keys, the
//! bundle of policies, connectors and locks, and the sets of the agents that store policies.
//!
//! Invariants: a request loads the snapshot once and uses it for identity and decision alike; a
//! change is visible to every request that loads after the swap returned; writers take turns; sets are
//! built before the turn, so that a long reload keeps no revocation waiting.

mod belief;
mod directory;
mod sets;

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::sync::{broadcast, watch};

use crate::model::AgentId;
use crate::policy::Bundle;

use belief::Belief;
pub use directory::{Directory, KeyEntry, Shard};
pub use sets::{Set, Sets};

/// Agents whose sets changed, that a listener may lag behind; it then takes all for changed.
const CHANGED_MAX: usize = 256;

/// Directory, bundle and sets of one moment.
#[derive(Debug)]
pub struct Snapshot {
    pub directory: Arc<Directory>,
    /// The policies of the files, with the connectors: the base of every agent's set.
    pub bundle: Arc<Bundle>,
    /// The sets of the agents that store policies.
    pub sets: Arc<Sets>,
}

impl Snapshot {
    /// What decides the calls of this agent: its own set, or the base where it stores nothing.
    pub fn bundle_for(&self, agent: &AgentId) -> &Arc<Bundle> {
        self.sets.get(agent).map_or(&self.bundle, |set| &set.bundle)
    }
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
    /// The agents whose sets were put in force, beside a bundle.
    agents: broadcast::Sender<AgentId>,
    belief: Belief,
    build: sets::Build,
}

impl Live {
    /// Starts with this snapshot; the sets of its agents are built now.
    pub fn new(directory: Directory, bundle: Bundle) -> Self {
        let (generation, _) = watch::channel(directory.generation);
        let build: sets::Build = Bundle::for_agent;
        let (directory, bundle) = (Arc::new(directory), Arc::new(bundle));
        let sets = Arc::new(Sets::of(&directory, &bundle, &[], build));
        sets.iter().for_each(|(agent, set)| report(agent, set));
        Self {
            current: ArcSwap::from_pointee(Snapshot { directory, bundle, sets }),
            writer: Mutex::new(()),
            generation,
            bundles: watch::Sender::new(0),
            agents: broadcast::Sender::new(CHANGED_MAX),
            belief: Belief::new(None),
            build,
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

    /// Puts a newer directory in force, with the sets of the agents whose policies changed; one that is
    /// older than the one in force is ignored, so that two writers that read the store in one order and
    /// swap in the other cannot bring a revoked key back.
    ///
    /// It builds those sets: milliseconds for each, off the threads that serve calls.
    pub fn put_directory(&self, directory: Directory) {
        let before = self.load();
        let directory = Arc::new(directory.sharing(&before.directory));
        let built = Sets::of(&directory, &before.bundle, &[&before.sets], self.build);
        let _turn = self.writer.lock();
        let now = self.load();
        if directory.generation < now.directory.generation {
            return;
        }
        let bundle = Arc::clone(&now.bundle);
        self.swap(
            &now,
            Snapshot { sets: self.sets(&directory, &bundle, &[&built, &now.sets]), directory, bundle },
        );
        self.generation.send_replace(self.current.load().directory.generation);
    }

    /// Builds the sets anew that could not be built.
    pub fn mend(&self) {
        let before = self.load();
        if !before.sets.any_failed() {
            return;
        }
        let built = Sets::of(&before.directory, &before.bundle, &[&before.sets], self.build);
        let _turn = self.writer.lock();
        let now = self.load();
        let (directory, bundle) = (Arc::clone(&now.directory), Arc::clone(&now.bundle));
        self.swap(
            &now,
            Snapshot { sets: self.sets(&directory, &bundle, &[&built, &now.sets]), directory, bundle },
        );
    }

    /// The sets for these, most of which were built before the turn.
    fn sets(&self, directory: &Directory, bundle: &Arc<Bundle>, kept: &[&Sets]) -> Arc<Sets> {
        Arc::new(Sets::of(directory, bundle, kept, self.build))
    }

    /// Swaps, within a turn, and tells of the sets that changed.
    fn swap(&self, before: &Snapshot, next: Snapshot) {
        let changed = next.sets.changed(&before.sets);
        for agent in &changed {
            if let Some(set) = next.sets.get(agent) {
                report(agent, set);
            }
        }
        self.current.store(Arc::new(next));
        for agent in changed {
            // Nobody may be listening.
            drop(self.agents.send(agent));
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

    /// A receiver of the agents whose sets are put in force.
    pub fn agents(&self) -> broadcast::Receiver<AgentId> {
        self.agents.subscribe()
    }

    /// Puts another bundle in force, with the sets of all agents over it. It builds them all, before others
    /// have to wait.
    pub fn put_bundle(&self, bundle: impl Into<Arc<Bundle>>) {
        let (bundle, before) = (bundle.into(), self.load());
        let built = Sets::of(&before.directory, &bundle, &[&before.sets], self.build);
        let _turn = self.writer.lock();
        let now = self.load();
        let directory = Arc::clone(&now.directory);
        // What changed meanwhile is built within the turn.
        self.swap(
            &now,
            Snapshot { sets: self.sets(&directory, &bundle, &[&built, &now.sets]), directory, bundle },
        );
        self.bundles.send_modify(|count| *count += 1);
    }
}

/// Says in the log what of an agent's policies is not in force as it was saved.
fn report(agent: &AgentId, set: &Set) {
    for broken in &set.broken {
        let (policy, faults) = (&broken.key, broken.faults.join("; "));
        tracing::error!(%agent, %policy, instead = %broken.instead, "a stored policy does not load: {faults}");
    }
    if let Some(failed) = &set.failed {
        tracing::error!(%agent, "the policies of this agent cannot be built, so its calls are denied: {failed}");
    }
}

#[cfg(test)]
mod tests;
