//! The member keys' rows: digests and public halves, never a key.
//!
//! Invariant: a member has at most one key that is not revoked. It is checked in the transaction of
//! the change, which no other change can run beside.

use std::collections::HashMap;
use std::fmt;

use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{Expr, Query};
use sea_orm::{Condition, QueryOrder as _, Set};

use super::agents::rate_column;
use super::column::{bytes, id_text, parse_id, parse_json};
use super::touched::Touched;
use super::{Generation, Store, StoreError, dialect, members};
use crate::model::{AgentId, KeyId, MemberId, RateLimit, Timestamp};

/// Last uses that are noted in one transaction.
const USES_AT_ONCE: usize = 100;

pub(super) mod row {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "member_key")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: String,
        pub member_id: String,
        pub lookup_index: Vec<u8>,
        pub tag: Vec<u8>,
        pub display_suffix: String,
        pub seal_salt: Vec<u8>,
        pub seal_public: Vec<u8>,
        pub created_at: i64,
        pub last_used_at: Option<i64>,
        pub revoked_at: Option<i64>,
        pub rate: Option<String>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// A member key's record (decisions 2 and 3). The key itself is nowhere.
#[derive(Clone, PartialEq)]
pub struct KeyRow {
    pub id: KeyId,
    pub member_id: MemberId,
    /// First half of the tag; unique; what a presented key is looked up by.
    pub index: [u8; 16],
    /// The whole tag, compared in constant time.
    pub tag: [u8; 32],
    /// The key's last characters, for people to tell keys apart; at most 8.
    pub display_suffix: String,
    pub seal_salt: [u8; 32],
    pub seal_public: [u8; 32],
    pub created_at: Timestamp,
    pub last_used_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
    /// Overrides the agent's rate limit.
    pub rate: Option<RateLimit>,
}

impl fmt::Debug for KeyRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyRow")
            .field("id", &self.id)
            .field("member_id", &self.member_id)
            .field("display_suffix", &self.display_suffix)
            .field("revoked_at", &self.revoked_at)
            .finish_non_exhaustive()
    }
}

/// The member keys' rows.
#[derive(Debug, Clone, Copy)]
pub struct Keys<'a>(pub(super) &'a Store);

impl Keys<'_> {
    /// Stores the first key of a member; `Conflict` where it has one that is not revoked.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn insert(&self, key: &KeyRow) -> Result<Generation, StoreError> {
        let row = model_of(key)?;
        self.0
            .timed(async {
                let change = self.0.change().await?;
                let live = live_of(key.member_id).count(&change.transaction).await?;
                if live > 0 {
                    return Err(StoreError::conflict(
                        "key",
                        "the member has a key already; rotate it, or revoke it first",
                    ));
                }
                put(&change.transaction, key, row).await?;
                change.commit_touching(&[Touched::Member(key.member_id)]).await
            })
            .await
    }

    /// Revokes the member's key, if it has one, and stores this one, in one transaction.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn rotate(&self, key: &KeyRow) -> Result<Generation, StoreError> {
        let row = model_of(key)?;
        self.0
            .timed(async {
                let change = self.0.change().await?;
                row::Entity::update_many()
                    .col_expr(row::Column::RevokedAt, Expr::value(key.created_at.as_millis()))
                    .filter(row::Column::MemberId.eq(id_text(key.member_id.as_uuid())))
                    .filter(row::Column::RevokedAt.is_null())
                    .exec(&change.transaction)
                    .await?;
                put(&change.transaction, key, row).await?;
                change.commit_touching(&[Touched::Member(key.member_id)]).await
            })
            .await
    }

    /// Revokes the key; a key that was revoked already keeps its first time.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn revoke(&self, id: KeyId, now: Timestamp) -> Result<Generation, StoreError> {
        self.0
            .timed(async {
                let change = self.0.change().await?;
                let find = row::Entity::find_by_id(id_text(id.as_uuid()));
                let found = find.one(&change.transaction).await?;
                let member = member_of(&found.ok_or_else(|| StoreError::not_found("key", id))?)?;
                row::Entity::update_many()
                    .col_expr(row::Column::RevokedAt, Expr::value(now.as_millis()))
                    .filter(row::Column::Id.eq(id_text(id.as_uuid())))
                    .filter(row::Column::RevokedAt.is_null())
                    .exec(&change.transaction)
                    .await?;
                change.commit_touching(&[Touched::Member(member)]).await
            })
            .await
    }

    /// The member's key that works, if it has one.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn live_of(&self, member: MemberId) -> Result<Option<KeyRow>, StoreError> {
        let find = live_of(member);
        let found = self.0.timed(async { Ok(find.one(&self.0.connection).await?) }).await?;
        found.map(key_of).transpose()
    }

    /// The keys of the agent's members that are not revoked.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn live_of_agent(&self, agent: AgentId) -> Result<Vec<KeyRow>, StoreError> {
        let members = Query::select()
            .column(members::row::Column::Id)
            .from(members::row::Entity)
            .and_where(members::row::Column::AgentId.eq(id_text(agent.as_uuid())))
            .to_owned();
        let find = row::Entity::find()
            .filter(row::Column::MemberId.in_subquery(members))
            .filter(row::Column::RevokedAt.is_null())
            .order_by_asc(row::Column::Id);
        let rows = self.0.timed(async { Ok(find.all(&self.0.connection).await?) }).await?;
        rows.into_iter().map(key_of).collect()
    }

    /// The key, or `NotFound`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn get(&self, id: KeyId) -> Result<KeyRow, StoreError> {
        let find = row::Entity::find_by_id(id_text(id.as_uuid()));
        let found = self.0.timed(async { Ok(find.one(&self.0.connection).await?) }).await?;
        key_of(found.ok_or_else(|| StoreError::not_found("key", id))?)
    }

    /// The member's keys, revoked ones too, newest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn list(&self, member: MemberId) -> Result<Vec<KeyRow>, StoreError> {
        let find = row::Entity::find()
            .filter(row::Column::MemberId.eq(id_text(member.as_uuid())))
            .order_by_desc(row::Column::CreatedAt)
            .order_by_desc(row::Column::Id);
        let rows = self.0.timed(async { Ok(find.all(&self.0.connection).await?) }).await?;
        rows.into_iter().map(key_of).collect()
    }

    /// Replaces the key's own rate limit; `None` goes back to the agent's.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn set_rate(&self, id: KeyId, rate: Option<RateLimit>) -> Result<Generation, StoreError> {
        let rate = rate_column("member_key.rate", rate)?;
        self.0
            .timed(async {
                let change = self.0.change().await?;
                let find = row::Entity::find_by_id(id_text(id.as_uuid()));
                let found = find.one(&change.transaction).await?;
                let member = member_of(&found.ok_or_else(|| StoreError::not_found("key", id))?)?;
                row::Entity::update_many()
                    .col_expr(row::Column::Rate, Expr::value(rate))
                    .filter(row::Column::Id.eq(id_text(id.as_uuid())))
                    .exec(&change.transaction)
                    .await?;
                change.commit_touching(&[Touched::Member(member)]).await
            })
            .await
    }

    /// Notes when keys were last used, some hundred in a transaction, none of which raises a generation
    /// or lets a change wait for long. A time never goes back; a key that is gone is passed over.
    ///
    /// # Errors
    /// [`StoreError`]; some may be noted then.
    pub async fn touch_last_used(&self, uses: &[(KeyId, Timestamp)]) -> Result<(), StoreError> {
        for uses in uses.chunks(USES_AT_ONCE) {
            self.0.timed(self.touch_these(uses)).await?;
        }
        Ok(())
    }

    async fn touch_these(&self, uses: &[(KeyId, Timestamp)]) -> Result<(), StoreError> {
        let transaction = dialect::begin_write(&self.0.connection).await?;
        for (id, at) in uses {
            let earlier = Condition::any()
                .add(row::Column::LastUsedAt.is_null())
                .add(row::Column::LastUsedAt.lt(at.as_millis()));
            row::Entity::update_many()
                .col_expr(row::Column::LastUsedAt, Expr::value(at.as_millis()))
                .filter(row::Column::Id.eq(id_text(id.as_uuid())))
                .filter(earlier)
                .exec(&transaction)
                .await?;
        }
        Ok(transaction.commit().await?)
    }
}

/// All keys that are not revoked.
pub(super) async fn live(connection: &impl ConnectionTrait) -> Result<Vec<KeyRow>, StoreError> {
    let rows = row::Entity::find()
        .filter(row::Column::RevokedAt.is_null())
        .order_by_asc(row::Column::Id)
        .all(connection)
        .await?;
    rows.into_iter().map(key_of).collect()
}

/// The keys of these members that are not revoked.
pub(super) async fn live_of_these(
    connection: &impl ConnectionTrait,
    members: impl IntoIterator<Item = &MemberId>,
) -> Result<HashMap<MemberId, Vec<KeyRow>>, StoreError> {
    let ids = members.into_iter().map(|id| id_text(id.as_uuid()));
    let rows = row::Entity::find()
        .filter(row::Column::MemberId.is_in(ids))
        .filter(row::Column::RevokedAt.is_null())
        .all(connection)
        .await?;
    let mut found: HashMap<MemberId, Vec<KeyRow>> = HashMap::new();
    for row in rows {
        let key = key_of(row)?;
        found.entry(key.member_id).or_default().push(key);
    }
    Ok(found)
}

fn member_of(row: &row::Model) -> Result<MemberId, StoreError> {
    Ok(MemberId::from_uuid(parse_id("member_key.member_id", &row.member_id)?))
}

fn live_of(member: MemberId) -> sea_orm::Select<row::Entity> {
    row::Entity::find()
        .filter(row::Column::MemberId.eq(id_text(member.as_uuid())))
        .filter(row::Column::RevokedAt.is_null())
}

async fn put(
    connection: &impl ConnectionTrait,
    key: &KeyRow,
    row: row::ActiveModel,
) -> Result<(), StoreError> {
    row::Entity::insert(row).exec_without_returning(connection).await.map_err(|error| {
        let shown = format!("…{}", key.display_suffix);
        StoreError::taken(error, "key", shown, ("member", &key.member_id))
    })?;
    Ok(())
}

fn model_of(key: &KeyRow) -> Result<row::ActiveModel, StoreError> {
    Ok(row::ActiveModel {
        id: Set(id_text(key.id.as_uuid())),
        member_id: Set(id_text(key.member_id.as_uuid())),
        lookup_index: Set(key.index.to_vec()),
        tag: Set(key.tag.to_vec()),
        display_suffix: Set(key.display_suffix.clone()),
        seal_salt: Set(key.seal_salt.to_vec()),
        seal_public: Set(key.seal_public.to_vec()),
        created_at: Set(key.created_at.as_millis()),
        last_used_at: Set(key.last_used_at.map(Timestamp::as_millis)),
        revoked_at: Set(key.revoked_at.map(Timestamp::as_millis)),
        rate: Set(rate_column("member_key.rate", key.rate)?),
    })
}

fn key_of(row: row::Model) -> Result<KeyRow, StoreError> {
    Ok(KeyRow {
        id: KeyId::from_uuid(parse_id("member_key.id", &row.id)?),
        member_id: MemberId::from_uuid(parse_id("member_key.member_id", &row.member_id)?),
        index: bytes("member_key.lookup_index", &row.lookup_index)?,
        tag: bytes("member_key.tag", &row.tag)?,
        display_suffix: row.display_suffix,
        seal_salt: bytes("member_key.seal_salt", &row.seal_salt)?,
        seal_public: bytes("member_key.seal_public", &row.seal_public)?,
        created_at: Timestamp::from_millis(row.created_at),
        last_used_at: row.last_used_at.map(Timestamp::from_millis),
        revoked_at: row.revoked_at.map(Timestamp::from_millis),
        rate: row.rate.map(|rate| parse_json("member_key.rate", &rate)).transpose()?,
    })
}
