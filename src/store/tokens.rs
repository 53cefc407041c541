//! The API tokens' rows: digests, never a token.

use sea_orm::entity::prelude::*;
use sea_orm::{QueryOrder as _, Set};

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
    /// Stores a new token.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn create(&self, token: &TokenRow) -> Result<(), StoreError> {
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
                row::Entity::insert(row).exec_without_returning(&transaction).await.map_err(|error| {
                    StoreError::taken(error, "token", token.id, ("account", &token.account))
                })?;
                Ok(transaction.commit().await?)
            })
            .await
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

    /// The account's tokens, newest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn list(&self, account: AccountId) -> Result<Vec<TokenRow>, StoreError> {
        let find = row::Entity::find()
            .filter(row::Column::AccountId.eq(id_text(account.as_uuid())))
            .order_by_desc(row::Column::CreatedAt);
        let rows = self.0.timed(async { Ok(find.all(&self.0.connection).await?) }).await?;
        rows.into_iter().map(token_of).collect()
    }
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
