//! What runs beside the calls: counters written behind, sessions swept, keys' last use, the index of
//! the audit. Everything here may fail and is tried again; no call waits for it.

use std::sync::Arc;
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusHandle;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::audit::{self, Journal};
use crate::model::Timestamp;
use crate::proxy::Gate;
use crate::session::{self, Sessions};
use crate::store::Store;
use crate::telemetry;

use super::running::RunningGate;
use super::upkeep::Upkeep;

/// Sessions written in one transaction.
const DIRTY_ROWS_MAX: usize = 1_000;
const SWEEP: Duration = Duration::from_secs(15);
/// Clients that listen hear so soon that they see other tools.
const LISTS: Duration = Duration::from_secs(1);
const LAST_USED: Duration = Duration::from_secs(5);
const GAUGES: Duration = Duration::from_secs(1);
/// Sessions are looked at so often for their checkpoints; between two looks a settled one stood still.
const CHECKPOINTS: Duration = Duration::from_secs(2);
/// The journal's oldest segments are looked at so often.
const RETENTION: Duration = Duration::from_secs(60);
/// Ended sessions, tokens and links, and counters that no longer count, leave the store so often.
const PURGE: Duration = Duration::from_secs(3_600);
/// Ended sessions and tokens are kept for so long, in milliseconds: 30 days.
const ENDED_KEPT_MS: i64 = 30 * 24 * 3_600_000;

/// The parts that the workers look after.
#[derive(Clone)]
pub struct Charge {
    pub store: Store,
    pub sessions: Arc<Sessions>,
    pub journal: Arc<Journal>,
    pub gate: Arc<Gate>,
    pub running: Arc<RunningGate>,
    pub metrics: PrometheusHandle,
    pub upkeep: Arc<Upkeep>,
    pub journal_dir: std::path::PathBuf,
    pub write_behind: Duration,
    /// A session without a call for so long ends.
    pub session_idle: Duration,
}

/// Starts the workers; they end when `stop` turns true, each after one last round.
pub fn start(runtime: &Handle, charge: &Charge, stop: &watch::Receiver<bool>) -> Vec<JoinHandle<()>> {
    let every = |period, work| runtime.spawn(rounds(period, stop.clone(), charge.clone(), work));
    vec![
        every(charge.write_behind, Work::WriteBehind),
        every(SWEEP, Work::Sweep),
        every(LISTS, Work::Lists),
        every(LAST_USED, Work::LastUsed),
        every(GAUGES, Work::Gauges),
        every(PURGE, Work::Purge),
        every(CHECKPOINTS, Work::Checkpoints),
        every(RETENTION, Work::Retention),
        runtime.spawn(index(charge.clone(), stop.clone())),
        runtime.spawn(super::follow::run(charge.clone(), stop.clone())),
    ]
}

#[derive(Debug, Clone, Copy)]
enum Work {
    WriteBehind,
    Sweep,
    Lists,
    LastUsed,
    Gauges,
    Purge,
    Checkpoints,
    Retention,
}

async fn rounds(period: Duration, mut stop: watch::Receiver<bool>, charge: Charge, work: Work) {
    loop {
        let stopped = tokio::time::timeout(period, stop.wait_for(|stop| *stop)).await.is_ok();
        match work {
            Work::WriteBehind => write_behind(&charge).await,
            Work::Sweep => {
                charge.sessions.sweep(Timestamp::now());
                charge.gate.sweep();
            }
            // A stop waits for no upstream's list.
            Work::Lists if stopped => {}
            Work::Lists => charge.gate.tell_changed_lists().await,
            Work::LastUsed => last_used(&charge).await,
            Work::Gauges => gauges(&charge),
            Work::Purge => purge(&charge).await,
            Work::Checkpoints => charge.upkeep.checkpoint(&charge.journal, &charge.sessions),
            // A stop waits for nobody to read segments.
            Work::Retention if stopped => {}
            Work::Retention => charge.upkeep.retain(&charge.journal, &charge.store).await,
        }
        if stopped {
            return;
        }
    }
}

async fn write_behind(charge: &Charge) {
    for dirty in charge.sessions.take_all_dirty(DIRTY_ROWS_MAX) {
        let saved = charge.store.sessions().save(dirty.sessions(), dirty.member_counters()).await;
        match saved {
            Ok(()) => dirty.saved(),
            // Dropped unsaved, the rows are dirty again and come back in the next round.
            Err(error) => return tracing::warn!(%error, "counters are not written behind yet"),
        }
    }
}

async fn last_used(charge: &Charge) {
    let uses = charge.gate.admission().take_uses();
    if !uses.is_empty()
        && let Err(error) = charge.store.keys().touch_last_used(&uses).await
    {
        tracing::warn!(%error, "the last use of some keys is not stored");
    }
}

async fn purge(charge: &Charge) {
    let now = Timestamp::now();
    if let Err(error) = charge.store.sessions().end_of_gone_nodes(charge.session_idle, now).await {
        tracing::warn!(%error, "sessions of gates that are gone stay open in the store for now");
    }
    let kept_from = now.plus_millis(-ENDED_KEPT_MS);
    if let Err(error) = charge.store.sessions().purge(kept_from, session::first_bucket(now)).await {
        tracing::warn!(%error, "old sessions stay in the store for now");
    }
    let (sessions, tokens) = (charge.store.web_sessions(), charge.store.tokens());
    let purged = async {
        sessions.purge(kept_from).await?;
        tokens.purge(kept_from).await?;
        charge.store.sign_in_links().purge(now).await
    };
    if let Err(error) = purged.await {
        tracing::warn!(%error, "accounts' old sessions, tokens and links stay in the store for now");
    }
}

fn gauges(charge: &Charge) {
    let (sessions, _) = charge.sessions.size();
    telemetry::sessions(sessions);
    charge.upkeep.measure(&charge.journal);
    charge.running.upstreams.measure();
    // Samples of histograms wait in memory until they are put into their buckets.
    charge.metrics.run_upkeep();
}

async fn index(charge: Charge, stop: watch::Receiver<bool>) {
    let node = charge.store.node_id();
    audit::index::run(charge.journal_dir, node, charge.store, &charge.upkeep.indexed, stop).await;
}
