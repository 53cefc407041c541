//! A PostgreSQL of the tests' own, from Debian's package: one server for each test process, a
//! database of its own for each test.
//!
//! Invariants: nothing outlives the process that asked for it, however that ends: `postgresql.sh`
//! holds the other end of a pipe, and when the pipe closes it kills the server and removes its
//! directory. The server refuses to run as root, so that root starts it as `postgres` (the package's
//! account), or else as `nobody`. Its directory is under the system's temporary one, which such an
//! account can reach; what `initdb` made is kept under `target/` and copied, for `initdb` takes seconds.
//!
//! The library's tests use it as well (`src/store/tests/database.rs`).
#![allow(dead_code, reason = "two suites use this file, and each a part of it")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};

/// The account that owns every database of the tests; over TCP it needs the password.
pub const USER: &str = "wicket";
pub const PASSWORD: &str = "s3cret: with @ and /";

const SUPERVISOR: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/harness/postgresql.sh"));
/// Where Debian's package puts each release.
const RELEASES: &str = "/usr/lib/postgresql";

/// A server that runs.
pub struct Server {
    programs: PathBuf,
    dir: PathBuf,
    port: u16,
    databases: AtomicU32,
    supervisor: Mutex<Supervisor>,
}

struct Supervisor {
    _child: Child,
    /// While this is open the server runs.
    words: ChildStdin,
    answers: BufReader<ChildStdout>,
    pid: u32,
}

impl Server {
    /// The server of this process; `Err` where the package is missing.
    pub fn of_process() -> Result<&'static Self, String> {
        static SERVER: OnceLock<Result<Server, String>> = OnceLock::new();
        // What is written need not survive the machine: the server is thrown away.
        SERVER.get_or_init(|| Self::start(&["-c", "fsync=off"], &[])).as_ref().map_err(Clone::clone)
    }

    /// A server of the caller's own, with these arguments, and with private copies of these files beside
    /// its data directory (`../name`). `Err` where the package is missing.
    pub fn start(arguments: &[&str], files: &[&Path]) -> Result<Self, String> {
        let programs = programs()?;
        let dir = tempfile::Builder::new().prefix("wicket-pg-").tempdir().unwrap().keep();
        std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o711)).unwrap();
        for file in files {
            let copy = dir.join(file.file_name().unwrap());
            std::fs::copy(file, &copy).unwrap();
            std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(0o600)).unwrap();
        }
        let port = free_port();
        let release = programs.parent().and_then(Path::file_name).unwrap().to_string_lossy().into_owned();
        let template = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("target/postgresql/{release}-1"));
        let mut child = Command::new("bash")
            .args(["-c", SUPERVISOR, "postgresql.sh"])
            .args([&programs, &dir, &template])
            .args([&port.to_string(), USER, PASSWORD])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // What ends the tests' process group must not end it before it has cleaned up.
            .process_group(0)
            .spawn()
            .unwrap();
        let words = child.stdin.take().unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap());
        let supervisor = Mutex::new(Supervisor { _child: child, words, answers, pid: 0 });
        let server = Self { programs, dir, port, databases: AtomicU32::new(0), supervisor };
        server.launch();
        Ok(server)
    }

    /// Starts it again, after [`Server::kill`].
    pub fn launch(&self) {
        let mut supervisor = self.supervisor.lock().unwrap();
        let answer = supervisor.ask("start");
        let pid = answer.strip_prefix("ready ").and_then(|pid| pid.parse().ok());
        supervisor.pid = pid.unwrap_or_else(|| panic!("PostgreSQL does not start:\n{}", self.log()));
    }

    /// `kill -9` of the postmaster, and waits until it is gone.
    pub fn kill(&self) {
        assert_eq!(self.supervisor.lock().unwrap().ask("kill"), "killed");
    }

    /// The postmaster's process id, for tests that stop it and let it go on.
    pub fn pid(&self) -> u32 {
        self.supervisor.lock().unwrap().pid
    }

    /// Makes an empty database and says its name.
    pub fn create_database(&self) -> String {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.run("createdb", &["--template", "template0", &name]);
        name
    }

    /// The URL of a database over the server's socket, where no password is asked.
    pub fn url(&self, database: &str) -> String {
        let dir = self.dir.display().to_string().replace('/', "%2F");
        format!("postgres://{USER}@{dir}:{}/{database}", self.port)
    }

    /// The URL over TCP on loopback, where the password is needed.
    pub fn url_over_tcp(&self, host: &str, database: &str) -> String {
        format!("postgres://{USER}@{host}:{}/{database}", self.port)
    }

    /// What `psql` answers to these statements, one row a line.
    pub fn query(&self, database: &str, sql: &str) -> String {
        let arguments = ["--no-psqlrc", "--tuples-only", "--no-align", "--set", "ON_ERROR_STOP=1"];
        self.run("psql", &[&arguments[..], &["--command", sql, database]].concat())
    }

    /// One of the package's programs, with this server's place as its first arguments.
    pub fn run(&self, program: &str, arguments: &[&str]) -> String {
        let output = Command::new(self.programs.join(program))
            .args(["--host", &self.dir.display().to_string(), "--port", &self.port.to_string()])
            .args(["--username", USER])
            .args(arguments)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program} {arguments:?}: {said}\n{}", self.log());
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// What the server logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }
}

impl Supervisor {
    fn ask(&mut self, word: &str) -> String {
        let mut answer = String::new();
        writeln!(self.words, "{word}").unwrap();
        self.answers.read_line(&mut answer).unwrap();
        answer.trim().to_owned()
    }
}

/// The newest release's programs.
fn programs() -> Result<PathBuf, String> {
    let missing = || format!("no PostgreSQL server under {RELEASES} (apt install postgresql)");
    let releases = std::fs::read_dir(RELEASES).map_err(|_| missing())?.flatten();
    let newest = releases
        .filter(|release| release.path().join("bin/initdb").exists())
        .max_by_key(|release| release.file_name().to_string_lossy().parse::<u32>().unwrap_or(0));
    newest.map(|release| release.path().join("bin")).ok_or_else(missing)
}

fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}
