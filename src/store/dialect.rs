//! The one place that knows which database it is: how to connect, how a transaction begins, how a
//! table is defined and what a fault means (decision 19). Queries are written once, for both.
//!
//! Invariants:
//! - [`begin_write`] serialises: on SQLite by its write lock, on PostgreSQL by the lock of the
//!   generation's row. What such a transaction reads stays true until its commit, on both.
//! - [`begin_read`] sees one moment.
//! - Text compares and sorts by its code points on both, whatever the database's own order is.

mod postgres;
mod sqlite;

use sea_orm::sea_query::SchemaStatementBuilder;
use sea_orm::sqlx;
use sea_orm::{
    AccessMode, ConnectionTrait as _, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr,
    IsolationLevel, RuntimeErr, Statement, TransactionOptions, TransactionTrait as _,
};

use super::{Generation, Opening, StoreError};

pub use postgres::Listener;

/// Opens the pool; makes a SQLite file where it is missing.
pub(super) async fn connect(opening: &Opening) -> Result<DatabaseConnection, StoreError> {
    if let Some(place) = sqlite::place(&opening.url)? {
        return sqlite::connect(&opening.url, place).await;
    }
    if postgres::speaks(&opening.url) {
        return postgres::connect(opening).await;
    }
    let scheme = opening.url.split(':').next().unwrap_or_default();
    Err(StoreError::cannot_open(format!(
        "`{}` is no database that this release speaks; use `sqlite:<path>` or \
         `postgres://<user>@<host>/<database>`",
        scheme.escape_debug()
    )))
}

/// Whether other gates may use the same database at the same time.
pub(super) fn is_shared(connection: &DatabaseConnection) -> bool {
    connection.get_database_backend() == DbBackend::Postgres
}

/// A transaction that will write, and beside which no other of its kind runs.
///
/// SQLite takes the write lock at once: one that reads first and writes later would fail at once,
/// instead of waiting, when another has written in between. PostgreSQL locks the generation's row.
pub(super) async fn begin_write(connection: &DatabaseConnection) -> Result<DatabaseTransaction, DbErr> {
    match connection.get_database_backend() {
        DbBackend::Postgres => {
            let transaction = connection.begin().await?;
            transaction.execute_unprepared("SELECT generation FROM meta WHERE id = 1 FOR UPDATE").await?;
            Ok(transaction)
        }
        _ => sqlite::begin_write(connection).await,
    }
}

/// A transaction that only writes rows which nobody else writes (a node's own), and decides nothing
/// by what it reads: on PostgreSQL it runs beside the others.
pub(super) async fn begin_append(connection: &DatabaseConnection) -> Result<DatabaseTransaction, DbErr> {
    match connection.get_database_backend() {
        DbBackend::Postgres => connection.begin().await,
        _ => sqlite::begin_write(connection).await,
    }
}

/// A transaction that only reads, and sees one moment (SQLite: a WAL snapshot).
pub(super) async fn begin_read(connection: &DatabaseConnection) -> Result<DatabaseTransaction, DbErr> {
    let options = match connection.get_database_backend() {
        DbBackend::Postgres => TransactionOptions {
            isolation_level: Some(IsolationLevel::RepeatableRead),
            access_mode: Some(AccessMode::ReadOnly),
            ..Default::default()
        },
        _ => TransactionOptions::default(),
    };
    connection.begin_with_options(options).await
}

/// The transaction that changes the schema. Of two programs that start at once, one waits.
pub(super) async fn begin_migration(connection: &DatabaseConnection) -> Result<DatabaseTransaction, DbErr> {
    match connection.get_database_backend() {
        DbBackend::Postgres => postgres::begin_migration(connection).await,
        _ => sqlite::begin_write(connection).await,
    }
}

/// Runs one statement that defines a table or an index.
pub(super) async fn define<S>(transaction: &DatabaseTransaction, statement: &S) -> Result<(), DbErr>
where
    S: SchemaStatementBuilder,
{
    let backend = transaction.get_database_backend();
    let sql = match backend {
        DbBackend::Postgres => {
            postgres::with_order(&statement.build(sea_orm::sea_query::PostgresQueryBuilder))
        }
        _ => statement.build(sea_orm::sea_query::SqliteQueryBuilder),
    };
    transaction.execute_raw(Statement::from_string(backend, sql)).await?;
    Ok(())
}

/// Tells the other gates of this generation, once the transaction has committed.
pub(super) async fn announce(transaction: &DatabaseTransaction, generation: Generation) -> Result<(), DbErr> {
    if transaction.get_database_backend() == DbBackend::Postgres {
        transaction.execute_unprepared(&postgres::announcement(generation)).await?;
    }
    Ok(())
}

/// Hears of changes by other gates; `None` where there are none.
pub(super) async fn listen(connection: &DatabaseConnection) -> Result<Option<Listener>, StoreError> {
    match connection.get_database_backend() {
        DbBackend::Postgres => postgres::listen(connection).await.map(Some),
        _ => Ok(None),
    }
}

/// What the operator does about a fault of the database.
pub(super) fn advice(error: &DbErr) -> &'static str {
    if matches!(error, DbErr::ConnectionAcquire(_)) {
        return "no connection was free or could be made in time; look whether the database answers, \
                and whether the disk is too slow or another process holds its lock";
    }
    match source(error) {
        Some(sqlx::Error::Database(fault))
            if fault.try_downcast_ref::<sqlx::postgres::PgDatabaseError>().is_some() =>
        {
            postgres::advice(fault.code().as_deref().unwrap_or_default())
        }
        Some(sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_)) => {
            "the connection to the database broke; look whether it runs, and whether the change was made \
             before repeating it"
        }
        _ => sqlite::advice(&error.to_string()),
    }
}

/// Whether a text holds what this database cannot keep: NUL, to PostgreSQL.
pub(super) fn is_unstorable(error: &DbErr) -> bool {
    match source(error) {
        Some(sqlx::Error::Database(fault)) => fault.code().as_deref() == Some(postgres::UNSTORABLE),
        _ => false,
    }
}

fn source(error: &DbErr) -> Option<&sqlx::Error> {
    match error {
        DbErr::Conn(RuntimeErr::SqlxError(error))
        | DbErr::Exec(RuntimeErr::SqlxError(error))
        | DbErr::Query(RuntimeErr::SqlxError(error)) => Some(error),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
