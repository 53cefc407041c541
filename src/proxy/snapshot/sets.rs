//! The sets of the agents that store policies, each built of the bundle of the files in force and of what
//! that agent stores.
//!
//! Invariants: each agent that stores anything has a set, and it is of the very base and the very shard that
//! it stands beside in the snapshot; where building one fails, that agent's set denies everything until it
//! builds: an older one might allow what was just forbidden.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use parking_lot::Mutex;

use super::directory::{Directory, Shard};
use crate::model::{AgentId, StoredPolicy};
use crate::policy::{AgentSet, BrokenPolicy, Bundle};

/// Parsing policies recurses as deep as they are nested.
const STACK_BYTES: usize = 32 << 20;

/// How a set is built; tests put one that fails in its place.
pub(super) type Build = fn(&Bundle, &[Arc<StoredPolicy>], Option<&Bundle>) -> AgentSet;

/// The set of one agent.
#[derive(Debug)]
pub struct Set {
    pub bundle: Arc<Bundle>,
    /// Stored policies that are not in force as they were saved.
    pub broken: Vec<BrokenPolicy>,
    /// Why the set could not be built and denies everything.
    pub failed: Option<String>,
    base: Arc<Bundle>,
    shard: Shard,
}

impl Set {
    /// Whether this is what would be built of these.
    fn is_of(&self, base: &Arc<Bundle>, shard: &Shard) -> bool {
        self.failed.is_none() && Arc::ptr_eq(&self.base, base) && Arc::ptr_eq(&self.shard, shard)
    }
}

/// All of them.
#[derive(Debug, Default)]
pub struct Sets(HashMap<AgentId, Arc<Set>>);

impl Sets {
    /// The set of this agent; nothing where it stores no policies.
    pub fn get(&self, agent: &AgentId) -> Option<&Arc<Set>> {
        // Most gates ask in vain: a look at nothing costs no hash.
        if self.0.is_empty() { None } else { self.0.get(agent) }
    }

    /// All sets.
    pub fn iter(&self) -> impl Iterator<Item = (&AgentId, &Arc<Set>)> {
        self.0.iter()
    }

    /// Whether any set could not be built.
    pub(super) fn any_failed(&self) -> bool {
        self.0.values().any(|set| set.failed.is_some())
    }

    /// The agents whose sets differ between the two.
    pub(super) fn changed(&self, other: &Self) -> Vec<AgentId> {
        let differs = |agent: &AgentId, of: &Self, set: &Arc<Set>| {
            of.0.get(agent).is_none_or(|theirs| !Arc::ptr_eq(set, theirs))
        };
        let mut changed: Vec<AgentId> =
            self.iter().filter(|(agent, set)| differs(agent, other, set)).map(|(agent, _)| *agent).collect();
        changed.extend(other.0.keys().filter(|agent| !self.0.contains_key(*agent)));
        changed
    }

    /// The sets for this directory under this base: those among `kept` that still hold, the others built
    /// now, on all processors.
    pub(super) fn of(directory: &Directory, base: &Arc<Bundle>, kept: &[&Self], build: Build) -> Self {
        let mut sets = HashMap::with_capacity(directory.shards().len());
        let mut missing: Vec<(AgentId, &Shard, Option<&Arc<Set>>)> = Vec::new();
        for (agent, shard) in directory.shards() {
            let mut known = kept.iter().filter_map(|sets| sets.0.get(agent));
            match known.clone().find(|set| set.is_of(base, shard)) {
                Some(set) => drop(sets.insert(*agent, Arc::clone(set))),
                None => missing.push((*agent, shard, known.next())),
            }
        }
        sets.extend(build_all(base, missing, build));
        Self(sets)
    }
}

fn build_all(
    base: &Arc<Bundle>,
    missing: Vec<(AgentId, &Shard, Option<&Arc<Set>>)>,
    build: Build,
) -> Vec<(AgentId, Arc<Set>)> {
    if missing.is_empty() {
        return Vec::new();
    }
    let processors = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let threads = processors.min(missing.len());
    let waiting = Mutex::new(missing.into_iter());
    let built = Mutex::new(Vec::new());
    let work = || {
        loop {
            let next = waiting.lock().next();
            let Some((agent, shard, before)) = next else { return };
            let set = Arc::new(build_one(base, shard, before.map(AsRef::as_ref), build));
            built.lock().push((agent, set));
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let thread = std::thread::Builder::new().name("wicket-sets".to_owned()).stack_size(STACK_BYTES);
            if thread.spawn_scoped(scope, work).is_err() {
                break;
            }
        }
    });
    // What no thread could be had for.
    work();
    built.into_inner()
}

fn build_one(base: &Arc<Bundle>, shard: &Shard, before: Option<&Set>, build: Build) -> Set {
    let of = (Arc::clone(base), Arc::clone(shard));
    let previous = before.map(|set| set.bundle.as_ref());
    let built = catch_unwind(AssertUnwindSafe(|| build(base, shard, previous)));
    let (base, shard) = of;
    match built {
        Ok(AgentSet { bundle, broken }) => {
            Set { bundle: Arc::new(bundle), broken, failed: None, base, shard }
        }
        Err(panic) => {
            let said = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
            let said = said.or_else(|| panic.downcast_ref::<String>().cloned());
            let failed = said.unwrap_or_else(|| "it ended in a panic".to_owned());
            let bundle = Arc::new(Bundle::denying(&base));
            Set { bundle, broken: Vec::new(), failed: Some(failed), base, shard }
        }
    }
}

#[cfg(test)]
mod tests;
