//! The accounts' rows.

use sea_orm::entity::prelude::*;
use sea_orm::{QueryOrder as _, Set};

use super::column::{id_text, parse, parse_id, parse_word, word};
use super::{Store, StoreError, dialect};
use crate::model::{Account, AccountId, AccountStatus, EmailAddress, Timestamp};

pub(super) mod row {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "account")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: String,
        pub email: String,
        pub status: String,
        pub created_at: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// The accounts' rows. The data plane knows no accounts: their changes raise no generation.
#[derive(Debug, Clone, Copy)]
pub struct Accounts<'a>(pub(super) &'a Store);

impl Accounts<'_> {
    /// Stores a new account; `Conflict` where the address has one.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn create(&self, account: &Account) -> Result<(), StoreError> {
        let row = row::ActiveModel {
            id: Set(id_text(account.id.as_uuid())),
            email: Set(account.email.as_str().to_owned()),
            status: Set(word("account.status", account.status)?),
            created_at: Set(account.created_at.as_millis()),
        };
        self.0
            .timed(async {
                let transaction = dialect::begin_write(&self.0.connection).await?;
                row::Entity::insert(row).exec_without_returning(&transaction).await.map_err(|error| {
                    StoreError::taken(error, "account", &account.email, ("account", &account.id))
                })?;
                Ok(transaction.commit().await?)
            })
            .await
    }

    /// The account, or `NotFound`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn get(&self, id: AccountId) -> Result<Account, StoreError> {
        let find = row::Entity::find_by_id(id_text(id.as_uuid()));
        let found = self.0.timed(async { Ok(find.one(&self.0.connection).await?) }).await?;
        account_of(found.ok_or_else(|| StoreError::not_found("account", id))?)
    }

    /// The account of this address, or `NotFound`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn get_by_email(&self, email: &EmailAddress) -> Result<Account, StoreError> {
        let find = row::Entity::find().filter(row::Column::Email.eq(email.as_str()));
        let found = self.0.timed(async { Ok(find.one(&self.0.connection).await?) }).await?;
        account_of(found.ok_or_else(|| StoreError::not_found("account", email))?)
    }

    /// All accounts, by address.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn list(&self) -> Result<Vec<Account>, StoreError> {
        let find = row::Entity::find().order_by_asc(row::Column::Email);
        let rows = self.0.timed(async { Ok(find.all(&self.0.connection).await?) }).await?;
        rows.into_iter().map(account_of).collect()
    }

    /// Lets the account in, or no longer.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn set_status(&self, id: AccountId, status: AccountStatus) -> Result<(), StoreError> {
        let status = word("account.status", status)?;
        self.0
            .timed(async {
                let transaction = dialect::begin_write(&self.0.connection).await?;
                let updated = row::Entity::update_many()
                    .col_expr(row::Column::Status, sea_orm::sea_query::Expr::value(status))
                    .filter(row::Column::Id.eq(id_text(id.as_uuid())))
                    .exec(&transaction)
                    .await?;
                if updated.rows_affected == 0 {
                    return Err(StoreError::not_found("account", id));
                }
                Ok(transaction.commit().await?)
            })
            .await
    }
}

pub(super) fn account_of(row: row::Model) -> Result<Account, StoreError> {
    Ok(Account {
        id: AccountId::from_uuid(parse_id("account.id", &row.id)?),
        email: parse("account.email", &row.email)?,
        status: parse_word("account.status", &row.status)?,
        created_at: Timestamp::from_millis(row.created_at),
    })
}
