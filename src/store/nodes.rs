//! The gates that use this database, and what they must have in common.

use sea_orm::entity::prelude::*;
use sea_orm::sea_query::OnConflict;
use sea_orm::{QueryOrder as _, Set};
use uuid::Uuid;

use super::column::{id_text, parse_id, signed, unsigned};
use super::{Store, StoreError, dialect};
use crate::model::Timestamp;

pub(super) mod row {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "node")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: String,
        pub version: String,
        pub started_at: i64,
        pub seen_at: i64,
        pub generation: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

mod agreement {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "agreement")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub name: String,
        pub value: String,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// A gate that uses, or used, this database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeRow {
    pub id: Uuid,
    /// The package's version.
    pub version: String,
    pub started_at: Timestamp,
    /// When it last said that it lives.
    pub seen_at: Timestamp,
    /// The generation that was in force there then.
    pub generation: u64,
}

/// The gates' rows.
#[derive(Debug, Clone, Copy)]
pub struct Nodes<'a>(pub(super) &'a Store);

impl Nodes<'_> {
    /// Notes that this node has started, with this version.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn started(&self, version: &str, now: Timestamp) -> Result<(), StoreError> {
        let row = row::ActiveModel {
            id: Set(id_text(&self.0.node)),
            version: Set(version.to_owned()),
            started_at: Set(now.as_millis()),
            seen_at: Set(now.as_millis()),
            generation: Set(0),
        };
        let replace = OnConflict::column(row::Column::Id)
            .update_columns([
                row::Column::Version,
                row::Column::StartedAt,
                row::Column::SeenAt,
                row::Column::Generation,
            ])
            .to_owned();
        self.0
            .timed(async {
                let transaction = dialect::begin_append(&self.0.connection).await?;
                row::Entity::insert(row).on_conflict(replace).exec_without_returning(&transaction).await?;
                Ok(transaction.commit().await?)
            })
            .await
    }

    /// Notes that this node lives, and which generation is in force here.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn seen(&self, generation: u64, now: Timestamp) -> Result<(), StoreError> {
        let generation = signed("node.generation", generation)?;
        self.0
            .timed(async {
                let transaction = dialect::begin_append(&self.0.connection).await?;
                row::Entity::update_many()
                    .col_expr(row::Column::SeenAt, Expr::value(now.as_millis()))
                    .col_expr(row::Column::Generation, Expr::value(generation))
                    .filter(row::Column::Id.eq(id_text(&self.0.node)))
                    .exec(&transaction)
                    .await?;
                Ok(transaction.commit().await?)
            })
            .await
    }

    /// All gates, those that are gone too, by the time at which they were made.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn list(&self) -> Result<Vec<NodeRow>, StoreError> {
        let find = row::Entity::find().order_by_asc(row::Column::Id);
        let rows = self.0.timed(async { Ok(find.all(&self.0.connection).await?) }).await?;
        rows.into_iter().map(node_of).collect()
    }
}

impl Store {
    /// Whether this value is the one that the gates of this database have in common; the first gate
    /// decides it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn agree(&self, name: &str, value: &str) -> Result<bool, StoreError> {
        let row = agreement::ActiveModel { name: Set(name.to_owned()), value: Set(value.to_owned()) };
        let first = OnConflict::column(agreement::Column::Name).do_nothing().to_owned();
        self.timed(async {
            let transaction = dialect::begin_write(&self.connection).await?;
            agreement::Entity::insert(row).on_conflict(first).exec_without_returning(&transaction).await?;
            let found = agreement::Entity::find_by_id(name).one(&transaction).await?;
            transaction.commit().await?;
            Ok(found.is_some_and(|found| found.value == value))
        })
        .await
    }
}

fn node_of(row: row::Model) -> Result<NodeRow, StoreError> {
    Ok(NodeRow {
        id: parse_id("node.id", &row.id)?,
        version: row.version,
        started_at: Timestamp::from_millis(row.started_at),
        seen_at: Timestamp::from_millis(row.seen_at),
        generation: unsigned("node.generation", row.generation)?,
    })
}
