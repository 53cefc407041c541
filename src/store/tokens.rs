//! The API tokens' rows: digests, never a token.
//!
//! Invariants: a token is made for an account that is let in, checked under the account's row; an account
//! has a bounded number of tokens that open; a revoked one stays revoked.

use sea_orm::entity::prelude::*;
use sea_orm::sea_query::Expr;
use sea_orm::{Condition, DatabaseTransaction, QueryOrder as _, QuerySelect as _, Set};

use super::column::{bytes, id_text, json, parse_id, parse_json};
use super::{Store, StoreError, accounts, dialect};
use crate::model::{Account, AccountId, Scope, Timestamp, TokenId};

pub(super) mod row {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "api_token")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: String,
        pub account_id: String,
        pub name: String,
        pub scopes: String,
        pub digest: Vec<u8>,
        pub display_suffix: String,
        pub created_at: i64,
        pub expires_at: i64,
        pub last_used_at: Option<i64>,
        pub revoked_at: Option<i64>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// An API token's record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRow {
    pub id: TokenId,
    pub account: AccountId,
    pub name: String,
    pub scopes: Vec<Scope>,
    /// SHA-256 of the token, which is 32 random bytes: no pepper is needed against guessing.
    pub digest: [u8; 32],
    /// The token's last characters, for people to tell tokens apart.
    pub display_suffix: String,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    pub last_used_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
}

/// The API tokens' rows.
#[derive(Debug, Clone, Copy)]
pub struct Tokens<'a>(pub(super) &'a Store);

impl Tokens<'_> {
    /// Stores a new token; `Conflict` where the account is disabled or has so many that open, `NotFound`
    /// where there is none.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn create(&self, token: &TokenRow, at_once_max: u64) -> Result<(), StoreError> {
        let row = row::ActiveModel {
            id: Set(id_text(token.id.as_uuid())),
            account_id: Set(id_text(token.account.as_uuid())),
            name: Set(token.name.clone()),
            scopes: Set(json("api_token.scopes", &token.scopes)?),
            digest: Set(token.digest.to_vec()),
            display_suffix: Set(token.display_suffix.clone()),
            created_at: Set(token.created_at.as_millis()),
            expires_at: Set(token.expires_at.as_millis()),
            last_used_at: Set(None),
            revoked_at: Set(None),
        };
        self.0
            .timed(async {
                let transaction = dialect::begin_write(&self.0.connection).await?;
                accounts::held_active(&transaction, token.account).await?;
                let open = row::Entity::find().filter(open_of(token.account, token.created_at));
                if open.count(&transaction).await? >= at_once_max {
                    return Err(StoreError::conflict(
                        "token",
                        format!("the account has {at_once_max} tokens that open; revoke one first"),
                    ));
                }
                row::Entity::insert(row).exec_without_returning(&transaction).await?;
                Ok(transaction.commit().await?)
            })
            .await
    }

    /// The token, or `NotFound`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn get(&self, id: TokenId) -> Result<TokenRow, StoreError> {
        let find = row::Entity::find_by_id(id_text(id.as_uuid()));
        let found = self.0.timed(async { Ok(find.one(&self.0.connection).await?) }).await?;
        token_of(found.ok_or_else(|| StoreError::not_found("token", id))?)
    }

    /// Revokes the token; one that was revoked already keeps its first time.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn revoke(&self, id: TokenId, now: Timestamp) -> Result<(), StoreError> {
        let update = row::Entity::update_many()
            .col_expr(row::Column::RevokedAt, Expr::value(now.as_millis()))
            .filter(row::Column::Id.eq(id_text(id.as_uuid())))
            .filter(row::Column::RevokedAt.is_null());
        self.0.timed(async { Ok(update.exec(&self.0.connection).await.map(drop)?) }).await
    }

    /// Notes that the token was used; an earlier time than the one stored changes nothing.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn touch(&self, id: TokenId, now: Timestamp) -> Result<(), StoreError> {
        let earlier = Condition::any()
            .add(row::Column::LastUsedAt.is_null())
            .add(row::Column::LastUsedAt.lt(now.as_millis()));
        let update = row::Entity::update_many()
            .col_expr(row::Column::LastUsedAt, Expr::value(now.as_millis()))
            .filter(row::Column::Id.eq(id_text(id.as_uuid())))
            .filter(earlier);
        self.0.timed(async { Ok(update.exec(&self.0.connection).await.map(drop)?) }).await
    }

    /// Forgets tokens that were over or revoked before this time; the journal keeps that they were.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn purge(&self, before: Timestamp) -> Result<(), StoreError> {
        let over = Condition::any()
            .add(row::Column::ExpiresAt.lt(before.as_millis()))
            .add(row::Column::RevokedAt.lt(before.as_millis()));
        let delete = row::Entity::delete_many().filter(over);
        self.0.timed(async { Ok(delete.exec(&self.0.connection).await.map(drop)?) }).await
    }

    /// The token of this digest and its account, whatever their state; nothing where there is none.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn by_digest(&self, digest: &[u8; 32]) -> Result<Option<(TokenRow, Account)>, StoreError> {
        let find = row::Entity::find().filter(row::Column::Digest.eq(digest.as_slice()));
        let Some(row) = self.0.timed(async { Ok(find.one(&self.0.connection).await?) }).await? else {
            return Ok(None);
        };
        let token = token_of(row)?;
        let account = accounts::Accounts(self.0).get(token.account).await?;
        Ok(Some((token, account)))
    }

    /// Part of the account's tokens, newest first, and how many there are.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn list(
        &self,
        account: AccountId,
        limit: u64,
        offset: u64,
    ) -> Result<(Vec<TokenRow>, u64), StoreError> {
        let of_account = row::Entity::find().filter(row::Column::AccountId.eq(id_text(account.as_uuid())));
        let part = of_account.clone().order_by_desc(row::Column::CreatedAt).order_by_desc(row::Column::Id);
        let part = part.limit(limit).offset(offset);
        self.0
            .timed(async {
                let total = of_account.count(&self.0.connection).await?;
                let rows = part.all(&self.0.connection).await?;
                Ok((rows.into_iter().map(token_of).collect::<Result<_, _>>()?, total))
            })
            .await
    }

    /// The account's tokens that open, newest first; there are few.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn open(&self, account: AccountId, now: Timestamp) -> Result<Vec<TokenRow>, StoreError> {
        let find = row::Entity::find()
            .filter(open_of(account, now))
            .order_by_desc(row::Column::CreatedAt)
            .order_by_desc(row::Column::Id);
        let rows = self.0.timed(async { Ok(find.all(&self.0.connection).await?) }).await?;
        rows.into_iter().map(token_of).collect()
    }
}

fn open_of(account: AccountId, now: Timestamp) -> Condition {
    Condition::all()
        .add(row::Column::AccountId.eq(id_text(account.as_uuid())))
        .add(row::Column::RevokedAt.is_null())
        .add(row::Column::ExpiresAt.gt(now.as_millis()))
}

/// Revokes all tokens of the account within a change that ends its rights; how many those were.
pub(super) async fn revoke_all(
    transaction: &DatabaseTransaction,
    account: AccountId,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let update = row::Entity::update_many()
        .col_expr(row::Column::RevokedAt, Expr::value(now.as_millis()))
        .filter(open_of(account, now));
    Ok(update.exec(transaction).await?.rows_affected)
}

fn token_of(row: row::Model) -> Result<TokenRow, StoreError> {
    Ok(TokenRow {
        id: TokenId::from_uuid(parse_id("api_token.id", &row.id)?),
        account: AccountId::from_uuid(parse_id("api_token.account_id", &row.account_id)?),
        name: row.name,
        scopes: parse_json("api_token.scopes", &row.scopes)?,
        digest: bytes("api_token.digest", &row.digest)?,
        display_suffix: row.display_suffix,
        created_at: Timestamp::from_millis(row.created_at),
        expires_at: Timestamp::from_millis(row.expires_at),
        last_used_at: row.last_used_at.map(Timestamp::from_millis),
        revoked_at: row.revoked_at.map(Timestamp::from_millis),
    })
}
