//! The gate that does not run: what the command line needs of it while it holds the data directory.
//!
//! Invariants: whoever makes one holds the directory's lock ([`super::lock`]), so no gate writes beside
//! it; the journal is opened with the first change only, so that looking around leaves no trace in it,
//! and is closed with a checkpoint at the end; the files are loaded once and anew after a reload.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::OwnedMutexGuard;

use super::live::{Change, Live};
use super::reply::Reloaded;
use super::status::{BundleStatus, Status};
use crate::audit::Journal;
use crate::connector::Connector;
use crate::mcp::catalog::Definition;
use crate::model::{AgentId, Diagnostic, SessionId, SourceFile, Timestamp};
use crate::policy::Bundle;
use crate::session::{SessionFilter, SessionOrder, SessionView};
use crate::store::{EndReason, Store};

/// Reads policies and connectors and builds the bundle, as the gate would at its start; with these
/// connector files in the place of those of their paths.
pub type BundleSource = Box<dyn Fn(Vec<SourceFile>) -> Result<Bundle, Vec<Diagnostic>> + Send + Sync>;
/// Opens the journal, as the gate would at its start.
pub type JournalSource = Box<dyn Fn() -> Result<Journal, String> + Send + Sync>;
/// Asks the upstream of a connector what it serves: dials or starts it for this once.
pub type DefinitionSource =
    Box<dyn Fn(Arc<Connector>) -> BoxFuture<'static, Result<Vec<Definition>, String>> + Send + Sync>;

/// A stopped gate.
pub struct Stopped {
    store: Store,
    data_dir: PathBuf,
    files: BundleSource,
    open_journal: JournalSource,
    definitions: DefinitionSource,
    journal: tokio::sync::Mutex<Option<Journal>>,
    bundle: Mutex<Option<Arc<Bundle>>>,
}

impl Stopped {
    /// A stopped gate over this store. Nothing is opened or read until it is needed.
    pub fn new(
        store: Store,
        data_dir: PathBuf,
        files: BundleSource,
        open_journal: JournalSource,
        definitions: DefinitionSource,
    ) -> Self {
        Self {
            store,
            data_dir,
            files,
            open_journal,
            definitions,
            journal: tokio::sync::Mutex::new(None),
            bundle: Mutex::new(None),
        }
    }

    /// Closes the journal, if a change opened it. Say this before the lock is dropped.
    pub async fn close(&self) {
        if let Some(journal) = self.journal.lock().await.take() {
            journal.close();
        }
    }

    fn load(&self) -> Result<Arc<Bundle>, Vec<Diagnostic>> {
        let bundle = Arc::new((self.files)(Vec::new())?);
        *self.bundle.lock() = Some(Arc::clone(&bundle));
        Ok(bundle)
    }
}

#[async_trait]
impl Live for Stopped {
    fn running(&self) -> bool {
        false
    }

    async fn record(&self, change: &Change) -> Result<(), String> {
        let mut slot = self.journal.lock().await;
        if slot.is_none() {
            *slot = Some((self.open_journal)()?);
        }
        match slot.as_ref() {
            Some(journal) => change.write_to(journal).await,
            None => Err("the journal is closed".to_owned()),
        }
    }

    async fn refresh(&self) -> Result<u64, String> {
        // Nobody is called: what the store holds is what the next start reads.
        self.store.generation().await.map(|generation| generation.get()).map_err(|error| error.to_string())
    }

    async fn reload(&self) -> Result<Reloaded, Vec<Diagnostic>> {
        let bundle = self.load()?;
        Ok(reloaded(&bundle, true))
    }

    async fn try_out(&self, connector_file: SourceFile) -> Result<(), Vec<Diagnostic>> {
        (self.files)(vec![connector_file]).map(drop)
    }

    fn keeps_invariants(&self) -> bool {
        false
    }

    async fn check_invariants(&self, _bundle: Arc<Bundle>) -> Result<(), Vec<Diagnostic>> {
        Ok(())
    }

    async fn hold_files(&self) -> Option<OwnedMutexGuard<()>> {
        None
    }

    fn bundle(&self) -> Result<Arc<Bundle>, Vec<Diagnostic>> {
        let loaded = self.bundle.lock().clone();
        loaded.map_or_else(|| self.load(), Ok)
    }

    async fn bundle_for(&self, agent: AgentId) -> Result<Arc<Bundle>, Vec<Diagnostic>> {
        let base = self.bundle()?;
        let rows = self.store.policies().of_agent(agent).await;
        let rows = rows.map_err(|error| vec![Diagnostic::of_file("store", error.to_string())])?;
        if rows.is_empty() {
            return Ok(base);
        }
        let stored: Vec<_> = rows.iter().map(|row| Arc::new(row.stored())).collect();
        Ok(Arc::new(Bundle::for_agent(&base, &stored, None).bundle))
    }

    async fn status(&self) -> Status {
        let (bundle, rejected) = match self.bundle() {
            Ok(bundle) => (Some(bundle_status(&bundle, None)), None),
            Err(diagnostics) => {
                (None, Some(super::status::RejectedBundle { at: Timestamp::now(), diagnostics }))
            }
        };
        Status {
            running: false,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            data_dir: self.data_dir.display().to_string(),
            bundle,
            rejected,
            ..Status::default()
        }
    }

    fn session_page(
        &self,
        _filter: SessionFilter,
        _order: SessionOrder,
        _limit: usize,
    ) -> Option<(Vec<SessionView>, usize)> {
        None
    }

    fn session(&self, _id: SessionId) -> Option<SessionView> {
        None
    }

    async fn reset_session(&self, session: SessionId) -> Result<bool, String> {
        let rows = self.store.sessions();
        let mut row = rows.get(session).await.map_err(|error| error.to_string())?;
        if row.ended.is_some() {
            return Ok(false);
        }
        row.ended = Some((Timestamp::now(), EndReason::ManualReset));
        rows.save(&[row], &[]).await.map_err(|error| error.to_string())?;
        Ok(true)
    }

    async fn definitions(&self, connector: &Arc<Connector>) -> Result<Vec<Definition>, String> {
        (self.definitions)(Arc::clone(connector)).await
    }
}

/// The answer to a reload that brought this bundle in.
pub fn reloaded(bundle: &Bundle, changed: bool) -> Reloaded {
    Reloaded {
        digest: bundle.digest(),
        changed,
        policies: bundle.policies().len(),
        connectors: bundle.connectors().iter().count(),
        warnings: bundle.warnings().to_vec(),
    }
}

/// A bundle as the status shows it.
pub fn bundle_status(bundle: &Bundle, loaded_at: Option<Timestamp>) -> BundleStatus {
    BundleStatus {
        digest: bundle.digest(),
        loaded_at,
        policies: bundle.policies().len(),
        connectors: bundle.connectors().iter().count(),
        tools: bundle.connectors().iter().map(|connector| connector.tools.len()).sum(),
        warnings: bundle.warnings().to_vec(),
    }
}
