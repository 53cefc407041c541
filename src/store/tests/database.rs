//! The frame that runs one test on every database.
//!
//! A test takes a [`TestDatabase`] and opens it as often as it likes, as several gates or one after
//! the other:
//!
//! ```ignore
//! use crate::store::tests::database::on_each_database;
//!
//! #[tokio::test]
//! async fn a_name_is_given_once() {
//!     on_each_database(async |database| {
//!         let store = database.open().await;
//!         store.accounts().create(&account(1, "ann@example.org")).await.unwrap();
//!         assert!(store.accounts().create(&account(2, "ann@example.org")).await.is_err());
//!     })
//!     .await;
//! }
//! ```
//!
//! What a noun must do on every database can also be a `pub(super) async fn suite(store: &Store)` in a
//! file of its own beside this one, named in `suite` of `tests.rs`.
//!
//! Each test gets an empty database: for SQLite a file in a temporary directory, for PostgreSQL one of
//! the server that this process started (`tests/it/harness/postgresql.rs`). Where the package is
//! missing PostgreSQL is skipped loudly; `.ci/run` requires it.

#[path = "../../../tests/it/harness/postgresql.rs"]
pub(crate) mod postgresql;
#[path = "../../../tests/it/harness/skip.rs"]
pub(crate) mod skip;

use tempfile::TempDir;
use uuid::Uuid;

use crate::store::{Opening, Store};

/// An empty database of one test.
pub(crate) struct TestDatabase {
    /// `sqlite` or `postgresql`, for messages.
    pub(crate) kind: &'static str,
    pub(crate) url: String,
    _dir: TempDir,
}

impl TestDatabase {
    /// A SQLite file.
    pub(crate) fn sqlite() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", dir.path().join("wicket.db").display());
        Self { kind: "sqlite", url, _dir: dir }
    }

    /// A database of this process's PostgreSQL; `None`, said loudly, where there is none.
    pub(crate) fn postgresql() -> Option<Self> {
        match postgresql::Server::of_process() {
            Ok(server) => {
                let url = server.url(&server.create_database());
                Some(Self { kind: "postgresql", url, _dir: tempfile::tempdir().unwrap() })
            }
            Err(why) => {
                skip::skip("postgresql", &why);
                None
            }
        }
    }

    /// Opens it, as the same node each time.
    pub(crate) async fn open(&self) -> Store {
        self.open_as(Uuid::from_u128(1)).await
    }

    /// Opens it as this node.
    pub(crate) async fn open_as(&self, node: Uuid) -> Store {
        let opening = Opening { url: self.url.clone(), node: Some(node), ..Opening::default() };
        Store::open_as(&opening).await.unwrap_or_else(|error| panic!("{}: {error}", self.kind))
    }
}

impl TestDatabase {
    /// Runs statements that no operation of the store makes.
    pub(crate) async fn execute(&self, store: &Store, sql: &str) {
        use sea_orm::ConnectionTrait as _;
        store.connection.execute_unprepared(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    /// Makes agents, members evenly among them, and a key of each, faster than the store would.
    pub(crate) async fn fill(&self, store: &Store, agents: u32, members: u32) {
        let series = |to: u32| match self.kind {
            "sqlite" => format!(
                "(WITH RECURSIVE c(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM c WHERE n < {} - 1) SELECT n FROM c)",
                to
            ),
            _ => format!("(SELECT generate_series(0, {to} - 1) AS n)"),
        };
        let hex = |n: &str, width: u32| match self.kind {
            "sqlite" => format!("printf('%0{width}x', {n})"),
            _ => format!("lpad(to_hex({n}), {width}, '0')"),
        };
        // Sixteen bytes for each time; a key's index is the first half of its tag.
        let bytes = |times: usize| match self.kind {
            "sqlite" => format!("CAST({} AS BLOB)", ["printf('%016d', n)"].repeat(times).join(" || ")),
            _ => format!("convert_to({}, 'UTF8')", ["lpad(n::text, 16, '0')"].repeat(times).join(" || ")),
        };
        let id = |kind: &str, n: &str| format!("'0190{kind}-0000-7000-8000-' || {}", hex(n, 12));
        let (agent, member, key) = (id("aaaa", "n"), id("bbbb", "n"), id("cccc", "n"));
        let of = id("aaaa", &format!("(n % {agents})"));
        let agents = series(agents);
        let members = series(members);
        for sql in [
            format!(
                "INSERT INTO agent (id, name, trust, status, services, created_at) \
                 SELECT {agent}, 'agent ' || n, 'trusted', 'active', '[]', 0 FROM {agents} s"
            ),
            format!(
                "INSERT INTO member (id, agent_id, name, role, status, created_at) \
                 SELECT {member}, {of}, 'member ' || n, 'member', 'approved', 0 FROM {members} s"
            ),
            format!(
                "INSERT INTO member_key (id, member_id, lookup_index, tag, display_suffix, seal_salt, \
                 seal_public, created_at) SELECT {key}, {member}, {index}, {tag}, 'k', {salt}, {salt}, 0 \
                 FROM {members} s",
                index = bytes(1),
                tag = bytes(2),
                salt = bytes(2),
            ),
        ] {
            self.execute(store, &sql).await;
        }
    }
}

/// Runs the test on a SQLite file, then on PostgreSQL.
pub(crate) async fn on_each_database(test: impl AsyncFn(&TestDatabase)) {
    for database in [Some(TestDatabase::sqlite()), TestDatabase::postgresql()].into_iter().flatten() {
        // Told where a test fails: the panic says what, this says where.
        println!("on {}", database.kind);
        test(&database).await;
    }
}
