//! The rows of signed-in browsers: digests of their cookies, never a cookie.
//!
//! Invariants: a session belongs to an account that was let in when it was opened, checked under the
//! account's row; an account has a bounded number of live sessions; an ended one stays ended.

use std::net::IpAddr;

use sea_orm::entity::prelude::*;
use sea_orm::sea_query::Expr;
use sea_orm::{Condition, DatabaseTransaction, QueryOrder as _, QuerySelect as _, Set};

use super::column::{bytes, id_text, parse, parse_id};
use super::{Store, StoreError, accounts, dialect};
use crate::model::{Account, AccountId, Timestamp, WebSessionId};

pub(super) mod row {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "web_session")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: String,
        pub account_id: String,
        pub digest: Vec<u8>,
        pub user_agent: String,
        pub caller_ip: String,
        pub created_at: i64,
        pub last_seen_at: i64,
        pub expires_at: i64,
        pub ended_at: Option<i64>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// A signed-in browser's record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebSessionRow {
    pub id: WebSessionId,
    pub account: AccountId,
    /// SHA-256 of the cookie, which is 32 random bytes: no pepper is needed against guessing.
    pub digest: [u8; 32],
    /// What the browser called itself when it signed in.
    pub user_agent: String,
    /// Where it signed in from.
    pub caller_ip: IpAddr,
    pub created_at: Timestamp,
    /// At most a minute old for a browser that is in use.
    pub last_seen_at: Timestamp,
    /// When it is over whatever is done with it.
    pub expires_at: Timestamp,
    pub ended_at: Option<Timestamp>,
}

impl WebSessionRow {
    /// Whether the session still opens, where one that was not seen for so long does not.
    pub fn is_live(&self, now: Timestamp, idle_ms_max: i64) -> bool {
        self.ended_at.is_none() && self.expires_at > now && self.last_seen_at.plus_millis(idle_ms_max) > now
    }
}

/// The rows of signed-in browsers.
#[derive(Debug, Clone, Copy)]
pub struct WebSessions<'a>(pub(super) &'a Store);

impl WebSessions<'_> {
    /// Stores a new session, and ends those of the account that were seen longest ago where it has more
    /// than so many; `Conflict` where the account is disabled, `NotFound` where there is none.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn open(&self, session: &WebSessionRow, at_once_max: u64) -> Result<(), StoreError> {
        let row = row::ActiveModel {
            id: Set(id_text(session.id.as_uuid())),
            account_id: Set(id_text(session.account.as_uuid())),
            digest: Set(session.digest.to_vec()),
            user_agent: Set(session.user_agent.clone()),
            caller_ip: Set(session.caller_ip.to_string()),
            created_at: Set(session.created_at.as_millis()),
            last_seen_at: Set(session.last_seen_at.as_millis()),
            expires_at: Set(session.expires_at.as_millis()),
            ended_at: Set(None),
        };
        self.0
            .timed(async {
                let transaction = dialect::begin_write(&self.0.connection).await?;
                accounts::held_active(&transaction, session.account).await?;
                row::Entity::insert(row).exec_without_returning(&transaction).await?;
                end_oldest(&transaction, session, at_once_max).await?;
                Ok(transaction.commit().await?)
            })
            .await
    }

    /// The session of this digest and its account, whatever their state; nothing where there is none.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn by_digest(&self, digest: &[u8; 32]) -> Result<Option<(WebSessionRow, Account)>, StoreError> {
        let find = row::Entity::find().filter(row::Column::Digest.eq(digest.as_slice()));
        let Some(row) = self.0.timed(async { Ok(find.one(&self.0.connection).await?) }).await? else {
            return Ok(None);
        };
        let session = session_of(row)?;
        let account = accounts::Accounts(self.0).get(session.account).await?;
        Ok(Some((session, account)))
    }

    /// The session, or `NotFound`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn get(&self, id: WebSessionId) -> Result<WebSessionRow, StoreError> {
        let find = row::Entity::find_by_id(id_text(id.as_uuid()));
        let found = self.0.timed(async { Ok(find.one(&self.0.connection).await?) }).await?;
        session_of(found.ok_or_else(|| StoreError::not_found("session", id))?)
    }

    /// The account's sessions that were not ended, are not over and were seen since, last seen first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn live(
        &self,
        account: AccountId,
        now: Timestamp,
        seen_after: Timestamp,
    ) -> Result<Vec<WebSessionRow>, StoreError> {
        let find = row::Entity::find()
            .filter(live_of(account, now))
            .filter(row::Column::LastSeenAt.gt(seen_after.as_millis()))
            .order_by_desc(row::Column::LastSeenAt)
            .order_by_desc(row::Column::Id);
        let rows = self.0.timed(async { Ok(find.all(&self.0.connection).await?) }).await?;
        rows.into_iter().map(session_of).collect()
    }

    /// Notes that the session was used; an earlier time than the one stored changes nothing.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn touch(&self, id: WebSessionId, now: Timestamp) -> Result<(), StoreError> {
        let update = row::Entity::update_many()
            .col_expr(row::Column::LastSeenAt, Expr::value(now.as_millis()))
            .filter(row::Column::Id.eq(id_text(id.as_uuid())))
            .filter(row::Column::LastSeenAt.lt(now.as_millis()));
        self.0.timed(async { Ok(update.exec(&self.0.connection).await.map(drop)?) }).await
    }

    /// Ends the account's session; `NotFound` where it has no such one that is live.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn end(&self, account: AccountId, id: WebSessionId, now: Timestamp) -> Result<(), StoreError> {
        let only = live_of(account, now).add(row::Column::Id.eq(id_text(id.as_uuid())));
        match self.end_where(only, now).await? {
            0 => Err(StoreError::not_found("session", id)),
            _ => Ok(()),
        }
    }

    /// Ends the account's sessions but this one; how many those were.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn end_others(
        &self,
        account: AccountId,
        kept: WebSessionId,
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        let others = live_of(account, now).add(row::Column::Id.ne(id_text(kept.as_uuid())));
        self.end_where(others, now).await
    }

    /// Forgets sessions that were over or ended before this time.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn purge(&self, before: Timestamp) -> Result<(), StoreError> {
        let over = Condition::any()
            .add(row::Column::ExpiresAt.lt(before.as_millis()))
            .add(row::Column::EndedAt.lt(before.as_millis()));
        let delete = row::Entity::delete_many().filter(over);
        self.0.timed(async { Ok(delete.exec(&self.0.connection).await.map(drop)?) }).await
    }

    async fn end_where(&self, which: Condition, now: Timestamp) -> Result<u64, StoreError> {
        let update = row::Entity::update_many()
            .col_expr(row::Column::EndedAt, Expr::value(now.as_millis()))
            .filter(which);
        self.0.timed(async { Ok(update.exec(&self.0.connection).await?.rows_affected) }).await
    }
}

fn live_of(account: AccountId, now: Timestamp) -> Condition {
    Condition::all()
        .add(row::Column::AccountId.eq(id_text(account.as_uuid())))
        .add(row::Column::EndedAt.is_null())
        .add(row::Column::ExpiresAt.gt(now.as_millis()))
}

/// Ends all sessions of the account within a change that ends its rights; how many those were.
pub(super) async fn end_all(
    transaction: &DatabaseTransaction,
    account: AccountId,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let update = row::Entity::update_many()
        .col_expr(row::Column::EndedAt, Expr::value(now.as_millis()))
        .filter(live_of(account, now));
    Ok(update.exec(transaction).await?.rows_affected)
}

async fn end_oldest(
    transaction: &DatabaseTransaction,
    newest: &WebSessionRow,
    at_once_max: u64,
) -> Result<(), StoreError> {
    let now = newest.created_at;
    let seen: Vec<String> = row::Entity::find()
        .select_only()
        .column(row::Column::Id)
        .filter(live_of(newest.account, now))
        .filter(row::Column::Id.ne(id_text(newest.id.as_uuid())))
        .order_by_desc(row::Column::LastSeenAt)
        .order_by_desc(row::Column::Id)
        .into_tuple()
        .all(transaction)
        .await?;
    let kept = usize::try_from(at_once_max.saturating_sub(1)).unwrap_or(usize::MAX);
    let oldest: Vec<String> = seen.into_iter().skip(kept).collect();
    if !oldest.is_empty() {
        row::Entity::update_many()
            .col_expr(row::Column::EndedAt, Expr::value(now.as_millis()))
            .filter(row::Column::Id.is_in(oldest))
            .exec(transaction)
            .await?;
    }
    Ok(())
}

fn session_of(row: row::Model) -> Result<WebSessionRow, StoreError> {
    Ok(WebSessionRow {
        id: WebSessionId::from_uuid(parse_id("web_session.id", &row.id)?),
        account: AccountId::from_uuid(parse_id("web_session.account_id", &row.account_id)?),
        digest: bytes("web_session.digest", &row.digest)?,
        user_agent: row.user_agent,
        caller_ip: parse("web_session.caller_ip", &row.caller_ip)?,
        created_at: Timestamp::from_millis(row.created_at),
        last_seen_at: Timestamp::from_millis(row.last_seen_at),
        expires_at: Timestamp::from_millis(row.expires_at),
        ended_at: row.ended_at.map(Timestamp::from_millis),
    })
}
