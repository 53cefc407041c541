//! The schema's releases, applied in order, forward only, each in one transaction.
//!
//! A release that has shipped is never edited; a later one alters what it made. A database that is
//! newer than this program is refused rather than guessed at.

mod columns;
mod v1;
mod v2;

use sea_orm::sea_query::{
    ColumnDef, Expr, ExprTrait as _, IndexCreateStatement, Query, Table, TableAlterStatement,
    TableCreateStatement,
};
use sea_orm::{ConnectionTrait as _, DatabaseConnection};

use super::column::signed;
use super::{StoreError, dialect, meta};
use crate::model::Timestamp;

/// One statement of a release.
pub(super) enum Step {
    Table(Box<TableCreateStatement>),
    Index(Box<IndexCreateStatement>),
    /// One column more: SQLite adds one at a time.
    Alter(Box<TableAlterStatement>),
    /// What moves rows, in words that both databases understand.
    Run(&'static str),
}

/// The releases; the first is version 1.
const RELEASES: &[fn() -> Vec<Step>] = &[v1::steps, v2::steps];

const TABLE: &str = "schema_version";
const VERSION: &str = "version";
const APPLIED_AT: &str = "applied_at";

/// Brings the database to the newest version.
pub(super) async fn migrate(connection: &DatabaseConnection) -> Result<(), StoreError> {
    let transaction = dialect::begin_migration(connection).await?;
    let table = Table::create()
        .table(TABLE)
        .if_not_exists()
        .col(ColumnDef::new(VERSION).big_integer().not_null().primary_key())
        .col(ColumnDef::new(APPLIED_AT).big_integer().not_null())
        .to_owned();
    dialect::define(&transaction, &table).await?;
    let newest = Query::select().expr_as(Expr::col(VERSION).max(), "newest").from(TABLE).to_owned();
    let found = transaction.query_one(&newest).await?;
    let found: Option<i64> = found.map(|row| row.try_get("", "newest")).transpose()?.flatten();
    let found = usize::try_from(found.unwrap_or(0)).unwrap_or(usize::MAX);
    if found > RELEASES.len() {
        return Err(StoreError::cannot_open(format!(
            "its schema has version {found}, this program knows {}; start the newer wicket that wrote it, \
             or restore a backup from before the upgrade",
            RELEASES.len()
        )));
    }
    for (version, steps) in (1_u64..).zip(RELEASES).skip(found) {
        for step in steps() {
            match step {
                Step::Table(statement) => dialect::define(&transaction, &*statement).await?,
                Step::Index(statement) => dialect::define(&transaction, &*statement).await?,
                Step::Alter(statement) => dialect::define(&transaction, &*statement).await?,
                Step::Run(sql) => {
                    transaction.execute_unprepared(sql).await?;
                }
            }
        }
        let done = Query::insert()
            .into_table(TABLE)
            .columns([VERSION, APPLIED_AT])
            .values([signed(TABLE, version)?.into(), Timestamp::now().as_millis().into()])
            .map_err(|error| StoreError::corrupt(TABLE, error))?
            .to_owned();
        transaction.execute(&done).await?;
    }
    meta::make(&transaction).await?;
    Ok(transaction.commit().await?)
}
