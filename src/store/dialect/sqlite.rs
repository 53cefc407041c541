//! SQLite: one file, one gate, one writer at a time. WAL and `synchronous = FULL`, so that an
//! acknowledged change survives `kill -9` and power loss.

use std::fs::{self, OpenOptions, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::time::Duration;

use sea_orm::sqlx::sqlite::{SqliteJournalMode, SqliteSynchronous};
use sea_orm::{
    ConnectOptions, Database, DatabaseConnection, DatabaseTransaction, DbErr, SqliteTransactionMode,
    TransactionOptions, TransactionTrait as _,
};

use crate::store::{STATEMENT_MS_MAX, StoreError};

/// Connections of the pool; there is one writer at a time whatever this is.
const CONNECTIONS_MAX: u32 = 4;
/// How long a writer waits for another process's write lock, in milliseconds.
const BUSY_MS_MAX: u64 = 5_000;
pub(super) const MEMORY: &str = ":memory:";

/// Opens the pool; makes the database file where it is missing.
pub(super) async fn connect(url: &str, place: &str) -> Result<DatabaseConnection, StoreError> {
    let connections_max = if place == MEMORY { 1 } else { CONNECTIONS_MAX };
    if place != MEMORY {
        prepare_file(Path::new(place)).map_err(|error| {
            StoreError::cannot_open(format!(
                "`{place}`: {error}; create its directory and make it writable for this user"
            ))
        })?;
    }
    let mut options = ConnectOptions::new(url);
    options
        .max_connections(connections_max)
        .acquire_timeout(Duration::from_millis(STATEMENT_MS_MAX))
        .connect_timeout(Duration::from_millis(STATEMENT_MS_MAX))
        // An in-memory database lives only as long as its one connection.
        .idle_timeout(None::<Duration>)
        .max_lifetime(None::<Duration>)
        .test_before_acquire(false)
        .sqlx_logging(false)
        .map_sqlx_sqlite_opts(|options| {
            options
                .journal_mode(SqliteJournalMode::Wal)
                .synchronous(SqliteSynchronous::Full)
                .foreign_keys(true)
                .busy_timeout(Duration::from_millis(BUSY_MS_MAX))
        });
    Database::connect(options).await.map_err(|error| {
        StoreError::cannot_open(format!(
            "`{place}`: {error}; if the file is no database of wicket, name another one or restore a backup"
        ))
    })
}

/// What follows `sqlite:` or `sqlite://`, without parameters; `None` for another database's URL.
pub(super) fn place(url: &str) -> Result<Option<&str>, StoreError> {
    let Some(rest) = url.strip_prefix("sqlite:") else { return Ok(None) };
    let place = rest.strip_prefix("//").unwrap_or(rest);
    let place = place.split('?').next().unwrap_or_default();
    if place.is_empty() {
        return Err(StoreError::cannot_open("the path is missing; use `sqlite:<path>`"));
    }
    Ok(Some(place))
}

/// Creates the file for its owner alone, or takes the others' rights away. SQLite gives its
/// write-ahead log and index the same mode.
fn prepare_file(path: &Path) -> std::io::Result<()> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let mode = fs::metadata(path)?.permissions().mode();
            if mode & 0o077 == 0 { Ok(()) } else { fs::set_permissions(path, Permissions::from_mode(0o600)) }
        }
        Err(error) => Err(error),
    }
}

/// Takes the write lock at once.
pub(super) async fn begin_write(connection: &DatabaseConnection) -> Result<DatabaseTransaction, DbErr> {
    let sqlite_transaction_mode = Some(SqliteTransactionMode::Immediate);
    connection.begin_with_options(TransactionOptions { sqlite_transaction_mode, ..Default::default() }).await
}

/// What to do about a fault, by the words that SQLite has for it.
pub(super) fn advice(text: &str) -> &'static str {
    if text.contains("database is locked") || text.contains("(code: 5)") {
        "another process is writing to the database; wait for it, or stop it"
    } else if text.contains("disk is full") || text.contains("(code: 13)") {
        "the disk is full; free space in the data directory"
    } else if text.contains("readonly") || text.contains("(code: 8)") {
        "the database is read-only; check owner and mode of the data directory"
    } else {
        "check the data directory and the disk; the change was not made"
    }
}
