//! The seam between the running gate and a stopped one.
//!
//! [`super::Admin`] changes the store in the same way in both cases; what differs is who writes the
//! journal, what an acknowledged change must reach, and where sessions and upstreams live. The
//! composition root implements this trait over the running parts; the command line uses
//! [`super::stopped::Stopped`] when no gate runs. Nothing else is behind this trait.

use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::sync::OwnedMutexGuard;

use super::operator::Operator;
use super::reply::Reloaded;
use super::status::Status;
use crate::audit::{AdministrativeFacts, AdministrativePhase, Journal};
use crate::connector::Connector;
use crate::mcp::catalog::Definition;
use crate::model::{AgentId, CallId, Diagnostic, PolicyKey, SessionId, SourceFile, Timestamp};
use crate::policy::Bundle;
use crate::policy::prove::Idleness;
use crate::session::{SessionFilter, SessionOrder, SessionView};

/// How far an administrative change has come (decision 17: intent, commit, completion).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// About to be made. If this cannot be recorded, the change is not made.
    Intended,
    /// The store holds it.
    Committed,
    /// The store refused it.
    Failed,
}

/// An administrative change, as the journal keeps it. No value in it is a secret.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// Joins the entries of one change.
    pub id: CallId,
    pub operator: Operator,
    /// `agent.create`, `key.revoke` …
    pub what: String,
    /// What it is about: an agent's name, `agent/member`, a key's id.
    pub target: String,
    /// The agent that it concerns, where it concerns one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentId>,
    pub phase: Phase,
    pub at: Timestamp,
    pub before: serde_json::Value,
    pub after: serde_json::Value,
}

impl Change {
    /// Writes this entry into the journal.
    ///
    /// # Errors
    /// The reason, lower case.
    pub async fn write_to(&self, journal: &Journal) -> Result<(), String> {
        let who = self.operator.to_string();
        let facts = AdministrativeFacts {
            change: self.id,
            at: self.at,
            phase: match self.phase {
                Phase::Intended => AdministrativePhase::Intent,
                Phase::Committed => AdministrativePhase::Completed,
                Phase::Failed => AdministrativePhase::Failed,
            },
            who: &who,
            what: &self.what,
            target: &self.target,
            agent: self.agent,
            before: Some(&self.before).filter(|value| !value.is_null()),
            after: Some(&self.after).filter(|value| !value.is_null()),
        };
        journal.administrative(&facts).await.map_err(|error| error.to_string())
    }
}

/// What a running gate and a stopped one do differently.
#[async_trait]
pub trait Live: Send + Sync {
    /// Whether a gate runs here.
    fn running(&self) -> bool;

    /// Puts an administrative entry into the journal; on disk when it returns.
    ///
    /// # Errors
    /// The reason, lower case. The change must then not be made (or not be acknowledged).
    async fn record(&self, change: &Change) -> Result<(), String>;

    /// Makes what the store holds now hold for the next call, and cuts the open streams of callers
    /// that lost their right. Returns the generation in force.
    ///
    /// # Errors
    /// The reason, lower case: the change is stored but does not hold yet.
    async fn refresh(&self) -> Result<u64, String>;

    /// Loads policies, connectors and locks from their files and swaps them in.
    ///
    /// # Errors
    /// Every fault of the files; the old bundle stays in force.
    async fn reload(&self) -> Result<Reloaded, Vec<Diagnostic>>;

    /// Builds the bundle that the files would make with this connector file in the place of the one of
    /// its path. Nothing is written and nothing is swapped.
    ///
    /// # Errors
    /// Every fault of the files: this set would not load.
    async fn try_out(&self, connector_file: SourceFile) -> Result<(), Vec<Diagnostic>>;

    /// Whether the configuration wants the invariants proved before a set is taken. Of a stopped gate nobody
    /// is called: its next start proves them.
    fn keeps_invariants(&self) -> bool;

    /// Whether the invariants of the policies hold of this set, where that is to be known. It may take
    /// seconds.
    ///
    /// # Errors
    /// Each invariant that does not hold, or of which nobody knows, with the call that breaks it.
    async fn check_invariants(&self, bundle: Arc<Bundle>) -> Result<(), Vec<Diagnostic>>;

    /// While what is returned is held, no reload puts other policies of the files in force; nothing where
    /// nobody reloads. A reload that is about to do so waits.
    async fn hold_files(&self) -> Option<OwnedMutexGuard<()>>;

    /// Why this policy of the set could as well not be there, as far as a solver finds out within seconds;
    /// nothing where none is configured, and where nobody knows.
    async fn idleness(&self, _bundle: Arc<Bundle>, _policy: PolicyKey) -> Option<Idleness> {
        None
    }

    /// The bundle that decides now; of a stopped gate, the one that its files would load.
    ///
    /// # Errors
    /// Every fault of the files, where none is in force.
    fn bundle(&self) -> Result<Arc<Bundle>, Vec<Diagnostic>>;

    /// The set that decides this agent's calls now; of a stopped gate, the one that a start would build.
    ///
    /// # Errors
    /// As [`Live::bundle`]; also where the store cannot be read.
    async fn bundle_for(&self, agent: AgentId) -> Result<Arc<Bundle>, Vec<Diagnostic>>;

    /// The gate's state. The store's part is filled by [`super::Admin`].
    async fn status(&self) -> Status;

    /// The first live sessions in this order and how many there are; `None` where only the store knows.
    fn session_page(
        &self,
        filter: SessionFilter,
        order: SessionOrder,
        limit: usize,
    ) -> Option<(Vec<SessionView>, usize)>;

    /// The live session of this id, where memory knows it.
    fn session(&self, id: SessionId) -> Option<SessionView>;

    /// Ends a session at once (`manual_reset`); its next call opens a fresh one.
    /// `Ok(false)`: there is none of this id.
    ///
    /// # Errors
    /// The reason, lower case.
    async fn reset_session(&self, session: SessionId) -> Result<bool, String>;

    /// Tells each time that the audit's index has taken something in; `None` where nothing does.
    fn indexed(&self) -> Option<tokio::sync::watch::Receiver<u64>> {
        None
    }

    /// The tools that the upstream of this connector serves now, asked anew: see
    /// `proxy::upstream::probe`. The connector may be one that is not loaded, for want of a lock.
    ///
    /// # Errors
    /// The reason, lower case.
    async fn definitions(&self, connector: &Arc<Connector>) -> Result<Vec<Definition>, String>;
}
