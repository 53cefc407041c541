//! The rows of one-time links that sign an e-mail address in: digests of their secrets, never a secret.
//!
//! Invariants: a link is used once, whoever asks at the same time; an address has a bounded number of
//! links an hour, beyond which none is made.

use sea_orm::Set;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::Expr;
use uuid::Uuid;

use super::column::{id_text, parse};
use super::{Store, StoreError, accounts, dialect, invites};
use crate::model::{AccountStatus, EmailAddress, Timestamp};

pub(super) mod row {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "sign_in_link")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: String,
        pub email: String,
        pub digest: Vec<u8>,
        pub created_at: i64,
        pub expires_at: i64,
        pub used_at: Option<i64>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// Milliseconds of the hour over which links of an address are counted.
const HOUR_MS: i64 = 3_600_000;

/// A one-time link's record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignInLinkRow {
    pub id: Uuid,
    pub email: EmailAddress,
    /// SHA-256 of the secret, which is 32 random bytes.
    pub digest: [u8; 32],
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
}

/// What an address may sign in as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MaySignIn {
    /// It has an account that is let in.
    Account,
    /// It has none, but an invite waits for it.
    Invited,
    /// Neither, or its account is disabled.
    No,
}

/// The rows of one-time links.
#[derive(Debug, Clone, Copy)]
pub struct SignInLinks<'a>(pub(super) &'a Store);

impl SignInLinks<'_> {
    /// Whether somebody of this address may sign in now.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn may(&self, email: &EmailAddress, now: Timestamp) -> Result<MaySignIn, StoreError> {
        match accounts::Accounts(self.0).get_by_email(email).await {
            Ok(account) if account.status == AccountStatus::Active => return Ok(MaySignIn::Account),
            Ok(_) => return Ok(MaySignIn::No),
            Err(StoreError::NotFound { .. }) => {}
            Err(error) => return Err(error),
        }
        let open = invites::row::Entity::find()
            .filter(invites::row::Column::Email.eq(email.as_str()))
            .filter(invites::row::Column::RevokedAt.is_null())
            .filter(invites::row::Column::UsedAt.is_null())
            .filter(invites::row::Column::ExpiresAt.gt(now.as_millis()));
        let found = self.0.timed(async { Ok(open.one(&self.0.connection).await?) }).await?;
        Ok(if found.is_some() { MaySignIn::Invited } else { MaySignIn::No })
    }

    /// Stores a new link; false, and nothing stored, where the address has had so many within the hour.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn create(&self, link: &SignInLinkRow, hourly_max: u64) -> Result<bool, StoreError> {
        let row = row::ActiveModel {
            id: Set(id_text(&link.id)),
            email: Set(link.email.as_str().to_owned()),
            digest: Set(link.digest.to_vec()),
            created_at: Set(link.created_at.as_millis()),
            expires_at: Set(link.expires_at.as_millis()),
            used_at: Set(None),
        };
        self.0
            .timed(async {
                let transaction = dialect::begin_write(&self.0.connection).await?;
                // Where there is an account, its row is held: two askers are counted one after the other.
                accounts::held_by_email(&transaction, &link.email).await?;
                let within_the_hour = row::Entity::find()
                    .filter(row::Column::Email.eq(link.email.as_str()))
                    .filter(row::Column::CreatedAt.gt(link.created_at.plus_millis(-HOUR_MS).as_millis()))
                    .count(&transaction)
                    .await?;
                if within_the_hour >= hourly_max {
                    return Ok(false);
                }
                row::Entity::insert(row).exec_without_returning(&transaction).await?;
                transaction.commit().await?;
                Ok(true)
            })
            .await
    }

    /// Whom the link of this digest would sign in now; nothing where it was used, is over or never was.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn look(&self, digest: &[u8; 32], now: Timestamp) -> Result<Option<EmailAddress>, StoreError> {
        let find = row::Entity::find()
            .filter(row::Column::Digest.eq(digest.as_slice()))
            .filter(row::Column::UsedAt.is_null())
            .filter(row::Column::ExpiresAt.gt(now.as_millis()));
        let found = self.0.timed(async { Ok(find.one(&self.0.connection).await?) }).await?;
        found.map(|row| parse("sign_in_link.email", &row.email)).transpose()
    }

    /// Uses the link of this digest; false where it was used, is over or never was.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn take(&self, digest: &[u8; 32], now: Timestamp) -> Result<bool, StoreError> {
        let update = row::Entity::update_many()
            .col_expr(row::Column::UsedAt, Expr::value(now.as_millis()))
            .filter(row::Column::Digest.eq(digest.as_slice()))
            .filter(row::Column::UsedAt.is_null())
            .filter(row::Column::ExpiresAt.gt(now.as_millis()));
        self.0.timed(async { Ok(update.exec(&self.0.connection).await?.rows_affected == 1) }).await
    }

    /// Forgets links that were over before this time, and are no longer counted.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn purge(&self, now: Timestamp) -> Result<(), StoreError> {
        let delete = row::Entity::delete_many()
            .filter(row::Column::ExpiresAt.lt(now.as_millis()))
            .filter(row::Column::CreatedAt.lt(now.plus_millis(-HOUR_MS).as_millis()));
        self.0.timed(async { Ok(delete.exec(&self.0.connection).await.map(drop)?) }).await
    }
}

/// Uses up the links of an address within a change that ends its rights.
pub(super) async fn void(
    transaction: &sea_orm::DatabaseTransaction,
    email: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    row::Entity::update_many()
        .col_expr(row::Column::UsedAt, Expr::value(now.as_millis()))
        .filter(row::Column::Email.eq(email))
        .filter(row::Column::UsedAt.is_null())
        .exec(transaction)
        .await?;
    Ok(())
}
