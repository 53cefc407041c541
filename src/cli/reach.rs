//! Reaching the gate: through its socket where one runs, else over its data directory under the lock.
//!
//! Invariant: the store of a gate that runs is never opened here. A socket that answers means "ask"; a
//! lock that is held without one means "wait", not "go ahead".

use std::future::Future;
use std::sync::Arc;

use super::ending::{Fault, Page};
use super::settings::Settings;
use crate::app;
use crate::audit::Journal;
use crate::control::admin::Places;
use crate::control::lock::{DataLock, LockFault};
use crate::control::node;
use crate::control::secrets::Secrets;
use crate::control::socket::client::{AdminClient, Unreachable};
use crate::control::stopped::{BundleSource, DefinitionSource, JournalSource};
use crate::control::{Admin, AdminFault, AdminReply, AdminRequest, Operator, Stopped};
use crate::model::{OutcomeKind, Timestamp};
use crate::proxy::upstream;
use crate::store::Store;

/// A gate to ask, running or not.
pub enum Gate {
    /// The one that runs.
    Running(AdminClient),
    /// The one that does not, held still.
    Stopped(Box<Held>),
}

/// A stopped gate's parts, for as long as its lock is held.
pub struct Held {
    pub admin: Admin,
    stopped: Arc<Stopped>,
    /// Dropped last: fields drop in order.
    pub lock: DataLock,
}

impl Held {
    /// Closes what was opened and hands the lock on.
    pub async fn close(self) -> DataLock {
        self.stopped.close().await;
        self.lock
    }
}

/// Runs a command that waits, on one thread.
///
/// # Errors
/// The command's own fault.
pub fn with_runtime(command: impl Future<Output = Result<Page, Fault>>) -> Result<Page, Fault> {
    runtime()?.block_on(command)
}

/// A runtime of one thread, for commands.
///
/// # Errors
/// Where the system gives none.
pub fn runtime() -> Result<tokio::runtime::Runtime, Fault> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Fault::problem(format!("no runtime could be started: {error}")))
}

impl Gate {
    /// The gate of this data directory, in whatever state it is. `purpose` is what the lock says.
    ///
    /// # Errors
    /// Where a gate runs and does not answer, or somebody else holds the directory.
    pub async fn find(settings: &Settings, purpose: &str) -> Result<Self, Fault> {
        match AdminClient::connect(&settings.socket()).await {
            Ok(client) => Ok(Self::Running(client)),
            Err(Unreachable::NotRunning { .. }) => {
                Ok(Self::Stopped(Box::new(hold(settings, purpose).await?)))
            }
            Err(silent @ Unreachable::Silent { .. }) => Err(unreachable_fault(&silent)),
        }
    }

    /// The running gate of this data directory.
    ///
    /// # Errors
    /// With exit code 3 where none answers.
    pub async fn running(settings: &Settings) -> Result<AdminClient, Fault> {
        AdminClient::connect(&settings.socket()).await.map_err(|unreachable| unreachable_fault(&unreachable))
    }

    /// Asks for one thing.
    ///
    /// # Errors
    /// The gate's fault.
    pub async fn ask(&mut self, request: AdminRequest) -> Result<AdminReply, AdminFault> {
        let operator = Operator::this_process();
        match self {
            Self::Running(client) => client.ask(operator, &request).await,
            Self::Stopped(held) => held.admin.perform(operator, request).await,
        }
    }

    /// Closes what was opened. To be said on every way out, so that a change ends with a checkpoint.
    pub async fn close(self) {
        if let Self::Stopped(held) = self {
            drop(held.close().await);
        }
    }
}

/// Asks the gate, running or stopped, for one thing.
///
/// # Errors
/// The gate's fault, or why it could not be reached.
pub async fn ask(settings: &Settings, request: AdminRequest) -> Result<AdminReply, Fault> {
    let mut gate = Gate::find(settings, request.name()).await?;
    let reply = gate.ask(request).await;
    gate.close().await;
    Ok(reply?)
}

/// A reply of another kind than the request has: a gate of another version.
pub fn unexpected() -> Fault {
    Fault::problem("the gate answered something else than was asked")
        .with_help("compare `wicket --version` with `wicket status`, and restart the gate")
}

pub fn unreachable_fault(unreachable: &Unreachable) -> Fault {
    let help = match unreachable {
        Unreachable::NotRunning { .. } => {
            "start it with `wicket run`; if it runs elsewhere, name its directory with --data-dir"
        }
        Unreachable::Silent { .. } => {
            "run the command as the account that runs the gate; if it hangs, look at its log and stop it"
        }
    };
    Fault::no_gate(unreachable.to_string()).with_help(help)
}

pub fn lock_fault(fault: &LockFault) -> Fault {
    Fault::problem(fault.to_string()).with_help(fault.help())
}

/// Takes the lock and puts the parts of a stopped gate together.
///
/// # Errors
/// Where the directory, its secrets or its store cannot be used.
pub async fn hold(settings: &Settings, purpose: &str) -> Result<Held, Fault> {
    let config = &settings.config;
    let lock = DataLock::take(&config.data_dir, &format!("`wicket {}`", purpose.replace('.', " ")))
        .map_err(|fault| lock_fault(&fault))?;
    let secrets = open_secrets(settings)?;
    let password = settings.store_password.as_ref().map(|password| password.as_str());
    let opening = config.opening(password).map_err(Fault::problem)?;
    let store = node::open_store(&config.data_dir, opening, &secrets.pepper).await.map_err(|fault| {
        Fault::problem(fault.to_string()).with_help("look at the data directory; `--data-dir` names another")
    })?;
    let stopped = Arc::new(Stopped::new(
        store.clone(),
        config.data_dir.clone(),
        bundle_source(settings),
        journal_source(settings, &store)?,
        definition_source(settings),
    ));
    let admin = Admin::new(store, Arc::clone(&stopped) as _, secrets.pepper, places(settings));
    Ok(Held { admin, stopped, lock })
}

/// The configuration's places, for `Admin`.
pub fn places(settings: &Settings) -> Places {
    Places {
        data_dir: settings.config.data_dir.clone(),
        journal_dir: settings.config.journal_dir(),
        connectors_dir: settings.config.connectors.dir.clone(),
        agents_url: settings.agents_url(),
        public_url: settings.public_url(),
    }
}

fn open_secrets(settings: &Settings) -> Result<Secrets, Fault> {
    let pepper = settings.pepper.as_ref().map(|pepper| pepper.as_str());
    Secrets::open(&settings.config.data_dir, pepper).map_err(|fault| Fault::problem(fault.to_string()))
}

fn bundle_source(settings: &Settings) -> BundleSource {
    let config = &settings.config;
    let places = app::Places {
        policies: config.policies.dir.clone(),
        connectors: config.connectors.dir.clone(),
        show: config.policies.show,
    };
    Box::new(move |instead| app::Files::read(&places)?.with(Vec::new(), instead).build())
}

fn journal_source(settings: &Settings, store: &Store) -> Result<JournalSource, Fault> {
    let config = settings.config.journal();
    let node = store.node_id();
    let signing = Mutexed::new(open_secrets(settings)?.signing);
    Ok(Box::new(move || {
        let signing = signing.take().ok_or("the journal was opened before")?;
        Journal::open(config.clone(), node, signing, Timestamp::now())
            .map(|(journal, _recovery)| journal)
            .map_err(|error| error.to_string())
    }))
}

fn definition_source(settings: &Settings) -> DefinitionSource {
    let environment = settings.environment.clone();
    Box::new(move |connector| {
        let environment = environment.clone();
        Box::pin(async move {
            let background = tokio::runtime::Handle::current();
            let config = upstream::Config { background, environment, in_process: Arc::new(NobodyIn) };
            upstream::probe(&config, &connector).await.map_err(|failure| failure.to_string())
        })
    })
}

/// A stopped gate serves no tools of its own; a probe asks for lists only, so this is never called.
#[derive(Debug)]
struct NobodyIn;

#[async_trait::async_trait]
impl upstream::InProcess for NobodyIn {
    async fn call(
        &self,
        _outbound: &upstream::Outbound,
        _upstreams: &upstream::Upstreams,
    ) -> (bytes::Bytes, OutcomeKind) {
        (bytes::Bytes::new(), OutcomeKind::Unreachable)
    }
}

/// A value that can be taken once, from a closure that may be called again.
struct Mutexed<T>(parking_lot::Mutex<Option<T>>);

impl<T> Mutexed<T> {
    fn new(value: T) -> Self {
        Self(parking_lot::Mutex::new(Some(value)))
    }

    fn take(&self) -> Option<T> {
        self.0.lock().take()
    }
}
