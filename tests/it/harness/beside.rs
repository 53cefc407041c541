//! Gates over one database: which databases a test runs on, and a second gate beside a first.

use std::fs::{DirBuilder, Permissions};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};

use super::postgresql::Server;
use super::{Gate, GateOptions, files, skip};

/// A database that a gate under test keeps its store in.
pub struct Database {
    pub kind: &'static str,
    /// The section of the configuration.
    pub config: String,
    /// `None`: the file in the gate's data directory.
    pub url: Option<String>,
}

impl Database {
    /// SQLite in the gate's own directory.
    pub fn sqlite() -> Self {
        Self { kind: "sqlite", config: String::new(), url: None }
    }

    /// An empty database of this server.
    pub fn of(server: &Server) -> Self {
        let url = server.url(&server.create_database());
        Self { kind: "postgresql", config: format!("[store]\nurl = {url:?}\n"), url: Some(url) }
    }

    /// An empty database of this process's PostgreSQL; `None`, said loudly, where there is none.
    pub fn postgresql() -> Option<Self> {
        Server::of_process().map(Self::of).map_err(|why| skip("postgresql", &why)).ok()
    }
}

/// Each database that a promise is shown on.
pub fn databases() -> Vec<Database> {
    [Some(Database::sqlite()), Database::postgresql()].into_iter().flatten().collect()
}

impl Gate {
    /// One more gate over the same database (which `options` name), with the same pepper and a node of
    /// its own. Its key is this gate's.
    pub async fn start_beside(&self, options: GateOptions) -> Self {
        let pepper = std::fs::read_to_string(self.data_dir().join("pepper")).unwrap();
        let mut gate = Self::prepared(options, &pepper);
        gate.key.clone_from(&self.key);
        gate.launch().await;
        gate
    }

    /// A gate that was never started, with this pepper; [`Gate::launch`] starts it.
    pub fn prepared(options: GateOptions, pepper: &str) -> Self {
        let dir = tempfile::Builder::new().prefix("wicket-it-").tempdir().unwrap();
        files::write(dir.path(), &options);
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let gate = Self { dir, child: None, agents: nowhere, control: nowhere, key: String::new() };
        DirBuilder::new().mode(0o700).create(gate.data_dir()).unwrap();
        let file = gate.data_dir().join("pepper");
        std::fs::write(&file, pepper).unwrap();
        std::fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
        gate
    }
}
