//! The composition root: configuration -> parts -> tasks -> drain. Used by `main` and by the tests.
//!
//! The gate runs on a thread of its own, because pingora's server blocks and brings a runtime for each
//! listener. A background runtime holds what must not live on the data plane: the store, the workers,
//! stdio connectors, the control plane.
//!
//! Invariants: nothing listens before the bundle is loaded, the journal can record and the directory is
//! read; at the end, in this order: no new connections, calls in flight, counters written, the
//! journal's last checkpoint.

pub mod config;
mod drain;
mod follow;
mod logging;
pub mod prove;
mod reload;
mod running;
mod serve;
mod sources;
mod upkeep;
mod workers;

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::control::Admin;
use crate::model::Diagnostic;

use config::Config;

pub use logging::start as start_log;
pub use sources::{Files, Places};

/// Stack of threads that build bundles, in bytes; taken from memory only as far as it is used.
const STACK_BYTES: usize = 32 << 20;
/// Name of the file in the data directory that says where the gate listens.
pub const ADDRESSES_FILE: &str = "addresses.json";

/// Why the gate does not start.
#[derive(Debug)]
pub enum StartFault {
    /// Files that operators edit are wrong: file, line, reason.
    Files(Vec<Diagnostic>),
    /// Anything else, with what to do.
    Other(String),
}

impl fmt::Display for StartFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Other(message) => f.write_str(message),
            Self::Files(faults) => {
                let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
                f.write_str(&lines.join("\n"))
            }
        }
    }
}

impl std::error::Error for StartFault {}

impl StartFault {
    fn other(fault: impl fmt::Display) -> Self {
        Self::Other(fault.to_string())
    }
}

/// The gate.
#[derive(Debug)]
pub struct App;

/// Who may stop the gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// SIGTERM, SIGINT and SIGQUIT, and the handle: the binary.
    SignalsAndHandle,
    /// The handle alone: tests.
    Handle,
}

/// A gate that listens. Dropping it stops it.
pub struct Running {
    pub agents_address: SocketAddr,
    pub control_address: SocketAddr,
    pub data_dir: PathBuf,
    admin: Arc<Admin>,
    background: Handle,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl App {
    /// Starts a gate that only its handle stops.
    ///
    /// # Errors
    /// [`StartFault`]; nothing listens then.
    pub fn start(config: Config) -> Result<Running, StartFault> {
        Self::start_with(config, Stop::Handle)
    }

    /// Starts a gate.
    ///
    /// # Errors
    /// [`StartFault`]; nothing listens then.
    pub fn start_with(config: Config, stops: Stop) -> Result<Running, StartFault> {
        let (stop, stopped) = watch::channel(false);
        let (started, start) = mpsc::sync_channel(1);
        let thread = std::thread::Builder::new()
            .name("wicket-main".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(move || match serve::compose(config, stops, stopped) {
                Ok(composed) => {
                    let _handle = started.send(Ok(composed.handle()));
                    composed.run();
                }
                Err(fault) => drop(started.send(Err(fault))),
            })
            .map_err(StartFault::other)?;
        let begun =
            start.recv().unwrap_or_else(|_| Err(StartFault::other("the gate panicked while it started")));
        match begun {
            Ok(serve::Started { agents_address, control_address, data_dir, admin, background }) => {
                Ok(Running {
                    agents_address,
                    control_address,
                    data_dir,
                    admin,
                    background,
                    stop,
                    thread: Some(thread),
                })
            }
            Err(fault) => {
                let _ended = thread.join();
                Err(fault)
            }
        }
    }
}

impl Running {
    /// The administrative operations of this gate.
    pub fn admin(&self) -> &Arc<Admin> {
        &self.admin
    }

    /// The runtime that the control plane runs on.
    pub fn background(&self) -> &Handle {
        &self.background
    }

    /// Waits until the gate has ended.
    pub fn wait(mut self) {
        self.join();
    }

    /// Drains, and waits until the gate has ended.
    pub fn shutdown(mut self) {
        self.stop.send_replace(true);
        self.join();
    }

    fn join(&mut self) {
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the gate ended in a panic");
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        self.join();
    }
}

/// Writes where the gate listens, for scripts and for the command line.
fn write_addresses(data_dir: &Path, agents: SocketAddr, control: SocketAddr) -> std::io::Result<()> {
    let text =
        serde_json::json!({ "agents": agents.to_string(), "control": control.to_string() }).to_string();
    let path = data_dir.join(ADDRESSES_FILE);
    let beside = path.with_extension("new");
    std::fs::write(&beside, text)?;
    std::fs::rename(beside, path)
}
