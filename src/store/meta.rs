//! The one row about the database itself: the node that made it, and the generation of what the data
//! plane must see.

use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{ExprTrait, OnConflict, Query};
use sea_orm::{DatabaseConnection, DatabaseTransaction};
use uuid::Uuid;

use super::column::{id_text, parse_id, unsigned};
use super::touched::{self, Touched};
use super::{Generation, Store, StoreError, dialect};

/// The row's only key.
const SINGLE: i32 = 1;

mod row {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "meta")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: i32,
        pub node_id: String,
        pub generation: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// A node's new id.
pub(super) fn new_node() -> Uuid {
    Uuid::new_v7(uuid::Timestamp::now(uuid::NoContext))
}

/// Makes the row where it is missing; part of the migration, so that every later transaction finds it.
pub(super) async fn make(transaction: &DatabaseTransaction) -> Result<(), StoreError> {
    let insert = Query::insert()
        .into_table(row::Entity)
        .columns([row::Column::Id, row::Column::NodeId, row::Column::Generation])
        .values_panic([SINGLE.into(), id_text(&new_node()).into(), 0_i64.into()])
        .on_conflict(OnConflict::column(row::Column::Id).do_nothing().to_owned())
        .to_owned();
    transaction.execute(&insert).await?;
    Ok(())
}

/// The node that a database of one gate was made by.
pub(super) async fn node_id(connection: &DatabaseConnection) -> Result<Uuid, StoreError> {
    parse_id("meta.node_id", &read(connection).await?.node_id)
}

async fn read(connection: &impl ConnectionTrait) -> Result<row::Model, StoreError> {
    let found = row::Entity::find_by_id(SINGLE).one(connection).await?;
    found.ok_or_else(|| StoreError::corrupt("meta", "its row is missing"))
}

/// The generation as this transaction or connection sees it.
pub(super) async fn generation(connection: &impl ConnectionTrait) -> Result<Generation, StoreError> {
    Ok(Generation(unsigned("meta.generation", read(connection).await?.generation)?))
}

/// A change that the data plane must see. Dropped without [`Change::commit`], nothing has happened.
pub(super) struct Change {
    pub(super) transaction: DatabaseTransaction,
    generation: Generation,
}

impl Change {
    /// Makes the change true and says of which generation it is. What it touched is not said: who
    /// follows reads everything.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "the safe way for a noun that does not say what it touches; tested")
    )]
    pub(super) async fn commit(self) -> Result<Generation, StoreError> {
        touched::note_all(&self.transaction, self.generation).await?;
        self.transaction.commit().await?;
        Ok(self.generation)
    }

    /// The same, where nothing of the directory changed but these rows, what belongs to them, and
    /// nothing that others show of them: who follows reads these alone.
    pub(super) async fn commit_touching(self, touched: &[Touched]) -> Result<Generation, StoreError> {
        touched::note(&self.transaction, self.generation, touched).await?;
        self.transaction.commit().await?;
        Ok(self.generation)
    }
}

impl Store {
    /// Begins a change: raises the generation first, which on every database also makes other
    /// changes wait, so that what is read after it stays true until the commit.
    pub(super) async fn change(&self) -> Result<Change, StoreError> {
        let transaction = dialect::begin_write(&self.connection).await?;
        row::Entity::update_many()
            .col_expr(row::Column::Generation, ExprTrait::add(Expr::col(row::Column::Generation), 1))
            .filter(row::Column::Id.eq(SINGLE))
            .exec(&transaction)
            .await?;
        let generation = generation(&transaction).await?;
        dialect::announce(&transaction, generation).await?;
        Ok(Change { transaction, generation })
    }
}
