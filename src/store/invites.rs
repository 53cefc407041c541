//! The invites' rows: who may ask to join which agent, and what became of it.
//!
//! Invariants: an agent has at most one open invite for an address; an invite is used once, judged and
//! marked in the transaction that makes the membership, which no other change runs beside.

use sea_orm::entity::prelude::*;
use sea_orm::sea_query::Expr;
use sea_orm::{Condition, QueryOrder as _, QuerySelect as _, Set};

use super::column::{id_text, parse, parse_id, word};
use super::touched::Touched;
use super::{Generation, Store, StoreError, dialect, members};
use crate::model::{AccountId, AgentId, EmailAddress, InviteId, Member, MemberId, MemberStatus, Timestamp};

/// Invites of one agent that are kept, open ones and ended ones.
pub const INVITES_PER_AGENT_MAX: u64 = 10_000;

pub(super) mod row {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "invite")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: String,
        pub agent_id: String,
        pub email: String,
        pub invited_by: Option<String>,
        pub created_at: i64,
        pub expires_at: i64,
        pub revoked_at: Option<i64>,
        pub used_at: Option<i64>,
        pub member_id: Option<String>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// An invite's record. The link is nowhere: it is made of this and the pepper.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InviteRow {
    pub id: InviteId,
    pub agent_id: AgentId,
    pub email: EmailAddress,
    /// None where the operator invited on the machine itself.
    pub invited_by: Option<AccountId>,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    pub revoked_at: Option<Timestamp>,
    pub used_at: Option<Timestamp>,
    /// The membership that it became.
    pub member_id: Option<MemberId>,
}

impl InviteRow {
    /// Whether it can still be used.
    pub fn is_open(&self, now: Timestamp) -> bool {
        self.used_at.is_none() && self.revoked_at.is_none() && self.expires_at > now
    }
}

/// A membership out of an invite.
#[derive(Debug, Clone, PartialEq)]
pub struct InviteJoin {
    pub invite: InviteId,
    /// As it is made where the account has none yet: pending, with the account.
    pub member: Member,
    pub now: Timestamp,
}

/// The invites' rows. The data plane knows none: only a join raises the generation.
#[derive(Debug, Clone, Copy)]
pub struct Invites<'a>(pub(super) &'a Store);

impl Invites<'_> {
    /// Stores a new invite, revokes the open one of the same address, and forgets those that ended before
    /// `forget_before`. `Conflict` where the agent has too many.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn create(&self, invite: &InviteRow, forget_before: Timestamp) -> Result<(), StoreError> {
        let agent = id_text(invite.agent_id.as_uuid());
        let ended = Condition::any()
            .add(row::Column::UsedAt.lt(forget_before.as_millis()))
            .add(row::Column::RevokedAt.lt(forget_before.as_millis()))
            .add(row::Column::ExpiresAt.lt(forget_before.as_millis()));
        self.0
            .timed(async {
                let transaction = dialect::begin_write(&self.0.connection).await?;
                let own = row::Column::AgentId.eq(agent.as_str());
                let forget = row::Entity::delete_many().filter(own.clone()).filter(ended);
                forget.exec(&transaction).await?;
                row::Entity::update_many()
                    .col_expr(row::Column::RevokedAt, Expr::value(invite.created_at.as_millis()))
                    .filter(own.clone())
                    .filter(row::Column::Email.eq(invite.email.as_str()))
                    .filter(row::Column::UsedAt.is_null())
                    .filter(row::Column::RevokedAt.is_null())
                    .exec(&transaction)
                    .await?;
                let kept = row::Entity::find().filter(own).count(&transaction).await?;
                if kept >= INVITES_PER_AGENT_MAX {
                    return Err(StoreError::conflict(
                        "invite",
                        format!(
                            "the agent has {INVITES_PER_AGENT_MAX} invites, which is as many as are kept; ended ones are forgotten after 90 days"
                        ),
                    ));
                }
                row::Entity::insert(model_of(invite)).exec_without_returning(&transaction).await.map_err(
                    |error| StoreError::taken(error, "invite", invite.id, ("agent", &invite.agent_id)),
                )?;
                Ok(transaction.commit().await?)
            })
            .await
    }

    /// The invite, or `NotFound`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn get(&self, id: InviteId) -> Result<InviteRow, StoreError> {
        let find = row::Entity::find_by_id(id_text(id.as_uuid()));
        let found = self.0.timed(async { Ok(find.one(&self.0.connection).await?) }).await?;
        invite_of(found.ok_or_else(|| StoreError::not_found("invite", id))?)
    }

    /// The agent's invites, newest first, and how many there are; with `open_at`, those alone that were
    /// open at this time.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn list(
        &self,
        agent: AgentId,
        open_at: Option<Timestamp>,
        (limit, offset): (u64, u64),
    ) -> Result<(Vec<InviteRow>, u64), StoreError> {
        let mut find = row::Entity::find().filter(row::Column::AgentId.eq(id_text(agent.as_uuid())));
        if let Some(now) = open_at {
            find = find
                .filter(row::Column::UsedAt.is_null())
                .filter(row::Column::RevokedAt.is_null())
                .filter(row::Column::ExpiresAt.gt(now.as_millis()));
        }
        let page = find.clone().order_by_desc(row::Column::CreatedAt).order_by_desc(row::Column::Id);
        let page = page.limit(limit).offset(offset);
        self.0
            .timed(async {
                let moment = dialect::begin_read(&self.0.connection).await?;
                let total = find.count(&moment).await?;
                let rows = page.all(&moment).await?;
                moment.commit().await?;
                Ok((rows.into_iter().map(invite_of).collect::<Result<_, _>>()?, total))
            })
            .await
    }

    /// Revokes an invite that was not used; `Conflict` where it was, or is revoked already.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn revoke(&self, id: InviteId, now: Timestamp) -> Result<(), StoreError> {
        self.0
            .timed(async {
                let transaction = dialect::begin_write(&self.0.connection).await?;
                let updated = row::Entity::update_many()
                    .col_expr(row::Column::RevokedAt, Expr::value(now.as_millis()))
                    .filter(row::Column::Id.eq(id_text(id.as_uuid())))
                    .filter(row::Column::UsedAt.is_null())
                    .filter(row::Column::RevokedAt.is_null())
                    .exec(&transaction)
                    .await?;
                if updated.rows_affected == 0 {
                    return Err(StoreError::conflict("invite", "the invite is used or revoked already"));
                }
                Ok(transaction.commit().await?)
            })
            .await
    }

    /// Uses the invite: makes the membership, or puts a rejected one back to pending. Returns the
    /// membership as it is now. `Conflict` where the invite ended, or the person or the name is a
    /// member already.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn join(&self, join: &InviteJoin) -> Result<(Generation, Member), StoreError> {
        self.0
            .timed(async {
                let change = self.0.change().await?;
                let transaction = &change.transaction;
                let find = row::Entity::find_by_id(id_text(join.invite.as_uuid()));
                let found = find.one(transaction).await?;
                let invite = invite_of(found.ok_or_else(|| StoreError::not_found("invite", join.invite))?)?;
                if !invite.is_open(join.now) || invite.agent_id != join.member.agent_id {
                    return Err(StoreError::conflict("invite", "the invite is not open any more"));
                }
                let member = enter(transaction, &join.member).await?;
                row::Entity::update_many()
                    .col_expr(row::Column::UsedAt, Expr::value(join.now.as_millis()))
                    .col_expr(row::Column::MemberId, Expr::value(id_text(member.id.as_uuid())))
                    .filter(row::Column::Id.eq(id_text(join.invite.as_uuid())))
                    .exec(transaction)
                    .await?;
                Ok((change.commit_touching(&[Touched::Member(member.id)]).await?, member))
            })
            .await
    }
}

/// Makes the membership; one that was rejected waits for approval again.
async fn enter(transaction: &impl ConnectionTrait, fresh: &Member) -> Result<Member, StoreError> {
    let own = Condition::all()
        .add(members::row::Column::AgentId.eq(id_text(fresh.agent_id.as_uuid())))
        .add(members::row::Column::AccountId.eq(fresh.account.map(|account| id_text(account.as_uuid()))));
    let Some(former) = members::matching(transaction, own).await?.into_iter().next() else {
        members::put(transaction, fresh).await?;
        return Ok(fresh.clone());
    };
    if former.status != MemberStatus::Rejected {
        return Err(StoreError::conflict("member", "this account is a member of the agent already"));
    }
    let pending = word("member.status", MemberStatus::Pending)?;
    members::row::Entity::update_many()
        .col_expr(members::row::Column::Status, Expr::value(pending))
        .filter(members::row::Column::Id.eq(id_text(former.id.as_uuid())))
        .exec(transaction)
        .await?;
    Ok(Member { status: MemberStatus::Pending, ..former })
}

fn model_of(invite: &InviteRow) -> row::ActiveModel {
    row::ActiveModel {
        id: Set(id_text(invite.id.as_uuid())),
        agent_id: Set(id_text(invite.agent_id.as_uuid())),
        email: Set(invite.email.as_str().to_owned()),
        invited_by: Set(invite.invited_by.map(|account| id_text(account.as_uuid()))),
        created_at: Set(invite.created_at.as_millis()),
        expires_at: Set(invite.expires_at.as_millis()),
        revoked_at: Set(invite.revoked_at.map(Timestamp::as_millis)),
        used_at: Set(invite.used_at.map(Timestamp::as_millis)),
        member_id: Set(invite.member_id.map(|member| id_text(member.as_uuid()))),
    }
}

fn invite_of(row: row::Model) -> Result<InviteRow, StoreError> {
    let account = row.invited_by.map(|id| parse_id("invite.invited_by", &id)).transpose()?;
    let member = row.member_id.map(|id| parse_id("invite.member_id", &id)).transpose()?;
    Ok(InviteRow {
        id: InviteId::from_uuid(parse_id("invite.id", &row.id)?),
        agent_id: AgentId::from_uuid(parse_id("invite.agent_id", &row.agent_id)?),
        email: parse("invite.email", &row.email)?,
        invited_by: account.map(AccountId::from_uuid),
        created_at: Timestamp::from_millis(row.created_at),
        expires_at: Timestamp::from_millis(row.expires_at),
        revoked_at: row.revoked_at.map(Timestamp::from_millis),
        used_at: row.used_at.map(Timestamp::from_millis),
        member_id: member.map(MemberId::from_uuid),
    })
}
