//! Live reload: policies, connectors and locks change as one unit while the gate runs (decision 22).
//!
//! A watcher reports changes; after a quiet moment the files are read and built, and the bundle is
//! swapped. The quiet is short after a change of one file, so that an edit holds within 250 ms, and
//! 250 ms once a second file has changed, so that an edit over several files is taken as one.
//!
//! Invariants (I10): a reload either happens fully or leaves the old bundle in force and says why; one
//! reload at a time; a gate whose watcher fails still looks at the directories every two seconds.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use parking_lot::Mutex;
use tokio::sync::OwnedMutexGuard;

use crate::control::reply::Reloaded;
use crate::control::status::RejectedBundle;
use crate::control::stopped::reloaded;
use crate::model::{AgentId, Diagnostic, Digest, PolicyKey, SourceFile, StoredPolicy, Timestamp};
use crate::policy::prove::Idleness;
use crate::policy::{Bundle, PolicyInfo};
use crate::proxy::upstream::Upstreams;
use crate::proxy::{Live, Snapshot};
use crate::telemetry;

use super::prove::Keeper;
use super::sources::{Files, Places};

/// Quiet after a change of one file.
const QUIET_ONE_FILE: Duration = Duration::from_millis(60);
/// Quiet after changes of several files.
const QUIET_SEVERAL_FILES: Duration = Duration::from_millis(250);
/// However restless the files are, a reload is tried so often.
const RESTLESS_MAX: Duration = Duration::from_secs(2);
/// The directories are looked at so often even if the watcher says nothing.
const POLL: Duration = Duration::from_secs(2);
/// How long a preview waits for the solver.
const IDLENESS_MAX: Duration = Duration::from_secs(2);
/// Changes that may wait to be looked at; beyond it they are one change.
const CHANGES_MAX: usize = 1_024;

/// Reloads the bundle, and remembers how the last attempt ended.
pub struct Reloader {
    places: Places,
    live: Arc<Live>,
    upstreams: Arc<Upstreams>,
    /// Asks the invariants before a set is taken, where that is configured.
    keeper: Option<Keeper>,
    /// One question of a preview at a time: each may take a processor and the solver's memory.
    asking: Mutex<()>,
    /// One reload at a time; held while files are read and built.
    turn: Mutex<()>,
    /// Held while what was proved is put in force, by a reload or by who stores a policy: neither comes
    /// between the other's proof and its change. Taken after `turn`.
    settling: Arc<tokio::sync::Mutex<()>>,
    /// Held for moments only: the status must not wait for a disk.
    state: Mutex<State>,
}

struct State {
    files: Digest,
    invariants: Option<SourceFile>,
    loaded_at: Timestamp,
    rejected: Option<(Digest, RejectedBundle)>,
}

/// What `wicket status` says of the bundle.
#[derive(Debug, Clone)]
pub struct Standing {
    pub loaded_at: Timestamp,
    pub rejected: Option<RejectedBundle>,
}

impl Reloader {
    /// A reloader of the bundle that was built of files with this digest, beside these invariants.
    pub fn new(
        places: Places,
        (live, upstreams): (Arc<Live>, Arc<Upstreams>),
        (files, invariants): (Digest, Option<SourceFile>),
        keeper: Option<Keeper>,
    ) -> Self {
        let state = State { files, invariants, loaded_at: Timestamp::now(), rejected: None };
        let (asking, turn, settling) = (Mutex::new(()), Mutex::new(()), Arc::default());
        Self { places, live, upstreams, keeper, asking, turn, settling, state: Mutex::new(state) }
    }

    /// Whether the invariants in force hold of this set, where the configuration wants that known: for
    /// whoever is about to put a set in force that is not the files' alone. It may take seconds.
    ///
    /// # Errors
    /// Each invariant that does not hold, with the call that breaks it.
    pub fn check_invariants(&self, bundle: &Bundle) -> Result<(), Vec<Diagnostic>> {
        let Some(keeper) = &self.keeper else { return Ok(()) };
        let invariants = self.state.lock().invariants.clone();
        keeper.check(&[(None, bundle)], invariants.as_ref())
    }

    /// Why this policy of a set could as well not be there, where a solver is configured and finds out in
    /// time; nothing where it is busy with another such question.
    pub fn idleness(&self, bundle: &Bundle, policy: &PolicyKey) -> Option<Idleness> {
        let keeper = self.keeper.as_ref()?;
        let _one_at_a_time = self.asking.try_lock_for(IDLENESS_MAX)?;
        keeper.idleness(bundle, policy, IDLENESS_MAX)
    }

    /// Whether invariants are asked before a set is taken.
    pub fn keeps_invariants(&self) -> bool {
        self.keeper.is_some()
    }

    /// No reload puts another bundle in force while what is returned is held.
    pub async fn hold(&self) -> OwnedMutexGuard<()> {
        Arc::clone(&self.settling).lock_owned().await
    }

    /// Asks the invariants of what this bundle makes of each agent's set, as the agents' policies are while
    /// what is returned is held.
    fn settle(
        &self,
        bundle: &Bundle,
        invariants: Option<&SourceFile>,
    ) -> Result<Option<OwnedMutexGuard<()>>, Vec<Diagnostic>> {
        let Some(keeper) = &self.keeper else { return Ok(None) };
        let proved = self.live.load();
        keep(keeper, bundle, invariants, &proved)?;
        let settled = Arc::clone(&self.settling).blocking_lock_owned();
        let now = self.live.load();
        if now.directory.generation != proved.directory.generation {
            // Who would store a policy waits this time.
            keep(keeper, bundle, invariants, &now)?;
        }
        Ok(Some(settled))
    }

    /// How the last attempts ended.
    pub fn standing(&self) -> Standing {
        let state = self.state.lock();
        Standing { loaded_at: state.loaded_at, rejected: state.rejected.as_ref().map(|(_, r)| r.clone()) }
    }

    /// Reads, builds and swaps. Answers after the swap.
    ///
    /// # Errors
    /// Every fault of the files; the old bundle stays in force.
    pub fn reload(&self) -> Result<Reloaded, Vec<Diagnostic>> {
        let _turn = self.turn.lock();
        let files = Files::read(&self.places).map_err(|faults| self.reject(None, faults))?;
        let digest = files.digest();
        {
            let mut state = self.state.lock();
            if digest == state.files {
                state.rejected = None;
                let bundle = Arc::clone(&self.live.load().bundle);
                // What was left out may be there now.
                self.upstreams.apply(bundle.connectors());
                return Ok(reloaded(&bundle, false));
            }
            if let Some((of, rejected)) = &state.rejected
                && *of == digest
            {
                return Err(rejected.diagnostics.clone());
            }
        }
        let before = Arc::clone(&self.live.load().bundle);
        let invariants = files.invariants();
        let bundle = files.sources().and_then(|sources| Bundle::rebuild(&sources, &before));
        let bundle = bundle.and_then(|bundle| match taken(&bundle, &self.live.load()) {
            clashes if clashes.is_empty() => {
                let settled = self.settle(&bundle, invariants.as_ref())?;
                Ok((bundle, settled))
            }
            clashes => Err(clashes),
        });
        let (bundle, _settled) = bundle.map_err(|faults| self.reject(Some(digest), faults))?;
        let mut answer = reloaded(&bundle, true);
        // A connector that is gone must not be reachable under the new bundle, nor a new one
        // unreachable: the upstreams follow while both bundles resolve.
        self.upstreams.apply(bundle.connectors());
        self.live.put_bundle(bundle);
        answer.warnings.extend(unsound(&self.live.load()));
        *self.state.lock() = State { files: digest, invariants, loaded_at: Timestamp::now(), rejected: None };
        telemetry::reloaded(true);
        let (policies, connectors) = (answer.policies, answer.connectors);
        tracing::info!(digest = %answer.digest.short(), policies, connectors, "new policies in force");
        for warning in &answer.warnings {
            tracing::warn!("{warning}");
        }
        Ok(answer)
    }

    /// Builds what a reload would bring in with this connector file in the place of the one of its path,
    /// and drops it.
    ///
    /// # Errors
    /// Every fault of the files.
    pub fn try_out(&self, connector_file: SourceFile) -> Result<(), Vec<Diagnostic>> {
        let sources = Files::read(&self.places)?.with(Vec::new(), vec![connector_file]).sources()?;
        let before = Arc::clone(&self.live.load().bundle);
        Bundle::rebuild(&sources, &before).map(drop)
    }

    /// Remembers why the files were not taken, and says so once.
    fn reject(&self, files: Option<Digest>, faults: Vec<Diagnostic>) -> Vec<Diagnostic> {
        telemetry::reloaded(false);
        let mut state = self.state.lock();
        let known = state.rejected.as_ref().is_some_and(|(_, rejected)| rejected.diagnostics == faults);
        if !known {
            for fault in &faults {
                tracing::error!("{fault}; the policies in force stay");
            }
        }
        let digest = files.unwrap_or_else(|| Digest::of(b"unreadable"));
        state.rejected = Some((digest, RejectedBundle { at: Timestamp::now(), diagnostics: faults.clone() }));
        faults
    }

    fn is_stale(&self) -> bool {
        let seen = Files::read(&self.places).map(|files| files.digest()).ok();
        let state = self.state.lock();
        let rejected = state.rejected.as_ref().map(|(digest, _)| *digest);
        seen.is_none_or(|seen| seen != state.files && Some(seen) != rejected)
            || (seen == Some(state.files) && rejected.is_some())
    }
}

/// Asks the invariants of the files' set, and of what it makes of each agent's.
///
/// # Errors
/// As [`Keeper::check`].
pub fn keep(
    keeper: &Keeper,
    bundle: &Bundle,
    invariants: Option<&SourceFile>,
    in_force: &Snapshot,
) -> Result<(), Vec<Diagnostic>> {
    let of_agent = |(agent, shard): (&AgentId, &Arc<[Arc<StoredPolicy>]>)| {
        let name = in_force.directory.agent(agent).map_or_else(|| agent.to_string(), |a| a.name.clone());
        let known = in_force.bundle_for(agent);
        (name, Bundle::for_agent(bundle, shard, Some(known)).bundle)
    };
    let agents: Vec<(String, Bundle)> = in_force.directory.shards().map(of_agent).collect();
    let mut sets: Vec<(Option<&str>, &Bundle)> = vec![(None, bundle)];
    sets.extend(agents.iter().map(|(name, set)| (Some(name.as_str()), set)));
    keeper.check(&sets, invariants)
}

/// The policies whose `@id` is new in the files and is the key of a stored policy already: audit and counters
/// could not tell the two apart.
fn taken(bundle: &Bundle, in_force: &Snapshot) -> Vec<Diagnostic> {
    let known: HashSet<&PolicyKey> = in_force.bundle.policies().iter().map(|info| &info.key).collect();
    let new: HashMap<&PolicyKey, &PolicyInfo> = (bundle.policies().iter())
        .filter(|info| !known.contains(&info.key))
        .map(|info| (&info.key, info))
        .collect();
    let mut clashes = Vec::new();
    for (agent, shard) in in_force.directory.shards() {
        for policy in shard.iter() {
            let Some(info) = new.get(&policy.key) else { continue };
            let name = in_force.directory.agent(agent).map_or_else(|| agent.to_string(), |a| a.name.clone());
            let message = format!("the id `{}` is the key of a policy that agent `{name}` stores", info.key);
            let help = "choose another `@id`, or delete the stored policy first";
            let found = Diagnostic::of_file(&info.file, message).with_help(help);
            clashes.push(Diagnostic { line: info.line, ..found });
        }
    }
    clashes.sort_by(|a, b| (&a.file, a.line, &a.message).cmp(&(&b.file, b.line, &b.message)));
    clashes
}

/// Stored policies that the bundle in force leaves no place for, as warnings.
fn unsound(in_force: &Snapshot) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for (agent, set) in in_force.sets.iter() {
        let name = in_force.directory.agent(agent).map_or_else(|| agent.to_string(), |a| a.name.clone());
        found.extend(set.broken.iter().map(|broken| {
            let file = format!("stored/{}", broken.key);
            let faults = broken.faults.join("; ");
            let message =
                format!("agent `{name}`: the policy does not load, so {}: {faults}", broken.instead);
            Diagnostic::of_file(&file, message)
        }));
        found.extend(set.failed.iter().map(|why| {
            let message =
                format!("agent `{name}`: its policies cannot be built, so every call is denied: {why}");
            Diagnostic::of_file("stored", message)
        }));
    }
    found
}

/// Watches the directories until it is dropped.
pub struct Watch {
    _watcher: Option<RecommendedWatcher>,
    _stop: SyncSender<PathBuf>,
}

/// Starts to watch.
///
/// # Errors
/// When no thread can be started.
pub fn watch(reloader: Arc<Reloader>, places: &Places) -> std::io::Result<Watch> {
    let (sender, changes) = sync_channel(CHANGES_MAX);
    let heard = sender.clone();
    let handler = move |event: notify::Result<notify::Event>| {
        let Ok(event) = event else { return };
        if !event.kind.is_access() {
            for path in event.paths.into_iter().filter(|path| matters(path)) {
                // A full queue means that a reload is due anyway.
                let _due = heard.try_send(path);
            }
        }
    };
    let watcher = notify::recommended_watcher(handler).and_then(|mut watcher: RecommendedWatcher| {
        watcher.watch(&places.policies, RecursiveMode::Recursive)?;
        watcher.watch(&places.connectors, RecursiveMode::Recursive)?;
        Ok(watcher)
    });
    let watcher = watcher
        .inspect_err(|error| tracing::warn!(%error, "cannot watch the policies; they are polled instead"))
        .ok();
    let polled = reloader;
    std::thread::Builder::new()
        .name("wicket-reload".to_owned())
        .stack_size(super::STACK_BYTES)
        .spawn(move || follow(&changes, &polled))?;
    Ok(Watch { _watcher: watcher, _stop: sender })
}

fn follow(changes: &Receiver<PathBuf>, reloader: &Reloader) {
    loop {
        match changes.recv_timeout(POLL) {
            Ok(path) => settle(changes, path),
            Err(RecvTimeoutError::Timeout) if reloader.is_stale() => {}
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => return,
        }
        // What is wrong is in the log and in the status.
        let _told = reloader.reload();
    }
}

/// Waits until the files are quiet.
fn settle(changes: &Receiver<PathBuf>, first: PathBuf) {
    let begun = Instant::now();
    let mut changed = BTreeSet::from([first]);
    while begun.elapsed() < RESTLESS_MAX {
        let quiet = if changed.len() > 1 { QUIET_SEVERAL_FILES } else { QUIET_ONE_FILE };
        match changes.recv_timeout(quiet) {
            Ok(path) => drop(changed.insert(path)),
            Err(_) => return,
        }
    }
}

/// Editors write files of their own beside ours; a link named `..data` is how Kubernetes swaps a
/// whole directory.
fn matters(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name == "..data"
        || path.is_dir()
        || (!name.starts_with('.')
            && [".cedar", ".toml", ".tools.json"].iter().any(|end| name.ends_with(end)))
}
