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

/// Runs the test on a SQLite file, then on PostgreSQL.
pub(crate) async fn on_each_database(test: impl AsyncFn(&TestDatabase)) {
    for database in [Some(TestDatabase::sqlite()), TestDatabase::postgresql()].into_iter().flatten() {
        // Told where a test fails: the panic says what, this says where.
        println!("on {}", database.kind);
        test(&database).await;
    }
}
