//! The one place that knows which database it is: how to connect, how a transaction begins, and
//! which kind of transaction writes (decision 19). SQLite today; PostgreSQL comes with the control
//! interface and needs changes here only.

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

use super::{CONNECTIONS_MAX, STATEMENT_MS_MAX, StoreError};

/// How long a writer waits for another process's write lock, in milliseconds.
const BUSY_MS_MAX: u64 = 5_000;
const MEMORY: &str = ":memory:";

/// Opens the pool; makes the database file where it is missing.
pub(super) async fn connect(url: &str) -> Result<DatabaseConnection, StoreError> {
    let place = sqlite_place(url)?;
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

/// What follows `sqlite:` or `sqlite://`, without parameters.
fn sqlite_place(url: &str) -> Result<&str, StoreError> {
    let Some(rest) = url.strip_prefix("sqlite:") else {
        let scheme = url.split(':').next().unwrap_or_default();
        return Err(StoreError::cannot_open(format!(
            "`{}` is no database that this release speaks; use `sqlite:<path>`",
            scheme.escape_debug()
        )));
    };
    let place = rest.strip_prefix("//").unwrap_or(rest);
    let place = place.split('?').next().unwrap_or_default();
    if place.is_empty() {
        return Err(StoreError::cannot_open("the path is missing; use `sqlite:<path>`"));
    }
    Ok(place)
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

/// A transaction that will write. It takes the write lock at once: one that reads first and writes
/// later would fail at once, instead of waiting, when another has written in between.
pub(super) async fn begin_write(connection: &DatabaseConnection) -> Result<DatabaseTransaction, DbErr> {
    let sqlite_transaction_mode = Some(SqliteTransactionMode::Immediate);
    connection.begin_with_options(TransactionOptions { sqlite_transaction_mode, ..Default::default() }).await
}

/// A transaction that only reads, and sees one moment (SQLite: a WAL snapshot).
pub(super) async fn begin_read(connection: &DatabaseConnection) -> Result<DatabaseTransaction, DbErr> {
    connection.begin().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sqlite_urls_with_a_path_are_taken() {
        for (url, place) in [
            ("sqlite:data/wicket.db", "data/wicket.db"),
            ("sqlite:///var/lib/wicket.db?mode=rwc", "/var/lib/wicket.db"),
            ("sqlite::memory:", MEMORY),
        ] {
            assert_eq!(sqlite_place(url).unwrap(), place);
        }
        for url in ["postgres://me:secret@db/wicket", "sqlite:", "wicket.db"] {
            let error = sqlite_place(url).unwrap_err().to_string();
            assert!(error.contains("use `sqlite:<path>`") && !error.contains("secret"), "{error}");
        }
    }
}
