//! The running gate as the control plane sees it: [`live::Live`] over the composed parts.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use async_trait::async_trait;
use tokio::sync::OwnedMutexGuard;

use crate::audit::{Durability, Journal};
use crate::connector::Connector;
use crate::control::health::{Part, Readiness};
use crate::control::live::{self, Change};
use crate::control::reply::Reloaded;
use crate::control::status::{
    CallStatus, JournalStatus, ListenerStatus, Status, StoreStatus, UnsoundPolicy, UpstreamStatus,
};
use crate::control::stopped::bundle_status;
use crate::mcp::catalog::Definition;
use crate::model::{AgentId, Diagnostic, PolicyKey, RateLimit, SessionId, SourceFile, Timestamp};
use crate::policy::Bundle;
use crate::policy::prove::Idleness;
use crate::proxy::upstream::Upstreams;
use crate::proxy::{Directory, Gate, Live, Snapshot};
use crate::session::{SessionFilter, SessionOrder, SessionView, Sessions};
use crate::store::{DirectoryUpdate, Store};

use super::reload::Reloader;
use super::upkeep::Upkeep;

/// What runs, for the control plane.
pub struct RunningGate {
    pub live: Arc<Live>,
    pub gate: Arc<Gate>,
    pub store: Store,
    pub journal: Arc<Journal>,
    pub upkeep: Arc<Upkeep>,
    pub sessions: Arc<Sessions>,
    pub upstreams: Arc<Upstreams>,
    pub reloader: Arc<Reloader>,
    pub default_rate: RateLimit,
    pub listeners: Vec<ListenerStatus>,
    pub data_dir: String,
    pub started_at: Timestamp,
    pub draining: Arc<AtomicBool>,
}

impl RunningGate {
    /// What `/readyz` answers.
    pub fn readiness(&self) -> Readiness {
        let draining = self.draining.load(Ordering::Acquire);
        // Without the journal's lock: a disk that hangs must not hang the probe.
        let records = self.journal.healthy();
        let why = if records { "records" } else { "cannot record; `wicket status` says why" };
        let bundle = self.live.load().bundle.digest().short();
        let stale = self.live.is_stale(Instant::now);
        let known = if stale { "the database cannot be asked who was revoked since" } else { "in force" };
        Readiness::of(vec![
            Part::new("directory", !stale, known),
            Part::new("bundle", true, bundle),
            Part::new("journal", records, why),
            Part::new("drain", !draining, if draining { "draining" } else { "serving" }),
        ])
    }
}

#[async_trait]
impl live::Live for RunningGate {
    fn running(&self) -> bool {
        true
    }

    async fn record(&self, change: &Change) -> Result<(), String> {
        change.write_to(&self.journal).await
    }

    async fn refresh(&self) -> Result<u64, String> {
        let asked = Instant::now();
        let before = self.live.load();
        let stored = self.store.generation().await.map_err(|error| error.to_string())?.get();
        // A change of accounts, tokens or sessions: the data plane knows none of them.
        if stored == before.directory.generation {
            self.live.confirm(asked);
            return Ok(stored);
        }
        let update = self.store.directory_since(before.directory.generation).await;
        let directory = match update.map_err(|error| error.to_string())? {
            DirectoryUpdate::Whole(rows) => Directory::new(rows, self.default_rate),
            DirectoryUpdate::Part(part) => match before.directory.patched(part, self.default_rate) {
                Some(patched) => patched,
                // What changed does not fit what is in force: nothing is trusted but the whole.
                None => {
                    let rows = self.store.directory().await.map_err(|error| error.to_string())?;
                    Directory::new(rows, self.default_rate)
                }
            },
        };
        let generation = directory.generation;
        // Sets may have to be built, which takes a processor for a while.
        let live = Arc::clone(&self.live);
        let put = tokio::task::spawn_blocking(move || live.put_directory(directory)).await;
        put.map_err(|_| "putting the directory in force ended in a panic".to_owned())?;
        // A database that went back has nothing to confirm: `follow` says so.
        if generation >= self.live.load().directory.generation {
            self.live.confirm(asked);
        }
        let snapshot = self.live.load();
        let directory = &snapshot.directory;
        let member_exists = |id: &_| directory.member(id).is_some();
        self.gate.admission().retain(member_exists, |id| directory.key_of(id).is_some());
        Ok(generation)
    }

    async fn reload(&self) -> Result<Reloaded, Vec<Diagnostic>> {
        let reloader = Arc::clone(&self.reloader);
        let reloaded = tokio::task::spawn_blocking(move || reloader.reload()).await;
        reloaded.unwrap_or_else(|_| Err(vec![Diagnostic::of_file("policies", "the reload ended in a panic")]))
    }

    async fn try_out(&self, connector_file: SourceFile) -> Result<(), Vec<Diagnostic>> {
        let reloader = Arc::clone(&self.reloader);
        let tried = tokio::task::spawn_blocking(move || reloader.try_out(connector_file)).await;
        tried.unwrap_or_else(|_| {
            Err(vec![Diagnostic::of_file("policies", "trying them out ended in a panic")])
        })
    }

    fn keeps_invariants(&self) -> bool {
        self.reloader.keeps_invariants()
    }

    async fn check_invariants(&self, bundle: Arc<Bundle>) -> Result<(), Vec<Diagnostic>> {
        let reloader = Arc::clone(&self.reloader);
        let checked = tokio::task::spawn_blocking(move || reloader.check_invariants(&bundle)).await;
        checked.unwrap_or_else(|_| {
            Err(vec![Diagnostic::of_file("policies", "the proof of the invariants ended in a panic")])
        })
    }

    async fn hold_files(&self) -> Option<OwnedMutexGuard<()>> {
        Some(self.reloader.hold().await)
    }

    async fn idleness(&self, bundle: Arc<Bundle>, policy: PolicyKey) -> Option<Idleness> {
        let reloader = Arc::clone(&self.reloader);
        let asked = tokio::task::spawn_blocking(move || reloader.idleness(&bundle, &policy)).await;
        asked.ok().flatten()
    }

    fn bundle(&self) -> Result<Arc<Bundle>, Vec<Diagnostic>> {
        Ok(Arc::clone(&self.live.load().bundle))
    }

    async fn bundle_for(&self, agent: AgentId) -> Result<Arc<Bundle>, Vec<Diagnostic>> {
        Ok(Arc::clone(self.live.load().bundle_for(&agent)))
    }

    async fn status(&self) -> Status {
        let snapshot = self.live.load();
        let standing = self.reloader.standing();
        let journal = self.journal.status();
        let index_lag = self.upkeep.index_lag(&journal);
        let (allowed, denied) = crate::telemetry::decided();
        Status {
            running: true,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: Some(std::process::id()),
            started_at: Some(self.started_at),
            now: Some(Timestamp::now()),
            data_dir: self.data_dir.clone(),
            draining: self.draining.load(Ordering::Acquire),
            listeners: self.listeners.clone(),
            bundle: Some(bundle_status(&snapshot.bundle, Some(standing.loaded_at))),
            rejected: standing.rejected,
            unsound: unsound(&snapshot),
            journal: Some(JournalStatus {
                healthy: journal.healthy,
                mode: match journal.mode {
                    Durability::Process => "process",
                    Durability::Durable => "durable",
                }
                .to_owned(),
                entries: journal.entries,
                bytes: journal.bytes,
                bytes_max: journal.bytes_max,
                segments: journal.segments,
                retention: Some(self.upkeep.said()),
                index_lag,
                alarm: journal.alarm,
                damaged: journal.damaged,
                open_intents: journal.open_intents,
                last_checkpoint_at: journal.last_checkpoint,
                last_error: journal.last_error,
            }),
            calls: Some(CallStatus {
                in_flight: u64::from(self.gate.admission().in_flight()),
                allowed,
                denied,
                sessions: u64::from(self.sessions.size().0),
            }),
            store: StoreStatus {
                shared: self.store.is_shared(),
                stale: self.live.is_stale(Instant::now),
                ..StoreStatus::default()
            },
            upstreams: self.upstreams.status().into_iter().map(upstream_status).collect(),
        }
    }

    fn session_page(
        &self,
        filter: SessionFilter,
        order: SessionOrder,
        limit: usize,
    ) -> Option<(Vec<SessionView>, usize)> {
        Some(self.sessions.page(filter, order, limit))
    }

    fn session(&self, id: SessionId) -> Option<SessionView> {
        self.sessions.get(id)
    }

    async fn reset_session(&self, session: SessionId) -> Result<bool, String> {
        Ok(self.sessions.reset(session, Timestamp::now()))
    }

    fn indexed(&self) -> Option<tokio::sync::watch::Receiver<u64>> {
        Some(self.upkeep.indexed.told())
    }

    async fn definitions(&self, connector: &Arc<Connector>) -> Result<Vec<Definition>, String> {
        self.upstreams.probe(connector).await.map_err(|failure| failure.to_string())
    }
}

/// The stored policies that are not in force as they were saved, by agent and key.
fn unsound(snapshot: &Snapshot) -> Vec<UnsoundPolicy> {
    let mut found = Vec::new();
    for (id, set) in snapshot.sets.iter() {
        let agent = snapshot.directory.agent(id).map_or_else(|| id.to_string(), |agent| agent.name.clone());
        if let Some(why) = &set.failed {
            let (instead, faults) = ("every call is denied".to_owned(), vec![why.clone()]);
            found.push(UnsoundPolicy { agent: agent.clone(), policy: None, id: None, instead, faults });
        }
        found.extend(set.broken.iter().map(|broken| UnsoundPolicy {
            agent: agent.clone(),
            policy: Some(broken.key.clone()),
            id: Some(broken.id),
            instead: broken.instead.to_string(),
            faults: broken.faults.clone(),
        }));
    }
    found.sort_by(|a, b| (&a.agent, &a.policy).cmp(&(&b.agent, &b.policy)));
    found
}

fn upstream_status(status: crate::proxy::upstream::UpstreamStatus) -> UpstreamStatus {
    UpstreamStatus {
        service: status.service,
        transport: status.transport.to_owned(),
        era: status.era.map(str::to_owned),
        revision: status.revision.map(str::to_owned),
        state: status.state.to_owned(),
        usable: !matches!(status.state, "down" | "unusable" | "stopped" | "skipped"),
        since: Some(status.since),
        restarts: status.restarts.into(),
        in_flight: status.in_flight.into(),
        tools: status.tools,
        quarantined: status.quarantined.iter().map(|note| note.tool.to_string()).collect(),
        new_tools: status.unknown.iter().map(ToString::to_string).collect(),
        unheard: status.unheard.into_iter().map(|unheard| (unheard.uri, unheard.why)).collect(),
        shadowed: status.shadowed.into_iter().map(|shadowed| (shadowed.uri, shadowed.owner)).collect(),
        last_error: status.last_error,
    }
}
