//! The members' rows.

mod page;
mod spoken_of;

use std::collections::{BTreeMap, BTreeSet};

use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{Expr, IntoCondition as _, Query, SelectStatement};
use sea_orm::{Condition, QueryOrder as _, Set};

pub use self::page::{MemberQuery, MemberRow, MemberSort};
use super::column::{id_text, parse_id, parse_word, word};
use super::touched::Touched;
use super::{Generation, PolicyRow, Store, StoreError, dialect, groups, policies};
use crate::model::{AccountId, AgentId, GroupName, Member, MemberId, MemberStatus, Timestamp};

pub(super) mod row {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "member")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: String,
        pub agent_id: String,
        pub name: String,
        pub role: String,
        pub status: String,
        pub created_at: i64,
        pub account_id: Option<String>,
        /// The name in lower case, for searching and sorting.
        pub folded: String,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// The members' rows.
#[derive(Debug, Clone, Copy)]
pub struct Members<'a>(pub(super) &'a Store);

impl Members<'_> {
    /// Stores a new member, and puts it into the groups that it names; `Conflict` where the agent
    /// has a member of that name, `NotFound` where the agent or a group is missing.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn create(&self, member: &Member) -> Result<Generation, StoreError> {
        self.create_seeding(member, &[]).await
    }

    /// The same, with the policies that come with it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn create_seeding(
        &self,
        member: &Member,
        seeds: &[PolicyRow],
    ) -> Result<Generation, StoreError> {
        self.0
            .timed(async {
                let change = self.0.change().await?;
                put(&change.transaction, member).await?;
                let mut touched = vec![Touched::Member(member.id)];
                touched.extend(policies::put_missing(&change.transaction, seeds).await?);
                change.commit_touching(&touched).await
            })
            .await
    }

    /// The member, or `NotFound`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn get(&self, id: MemberId) -> Result<Member, StoreError> {
        let found = self.select(row::Column::Id.eq(id_text(id.as_uuid())).into_condition()).await?;
        found.into_iter().next().ok_or_else(|| StoreError::not_found("member", id))
    }

    /// The agent's member of this exact name, or `NotFound`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn find(&self, agent: AgentId, name: &str) -> Result<Member, StoreError> {
        let condition = Condition::all()
            .add(row::Column::AgentId.eq(id_text(agent.as_uuid())))
            .add(row::Column::Name.eq(name));
        let found = self.select(condition).await?;
        found.into_iter().next().ok_or_else(|| StoreError::not_found("member", name))
    }

    /// The agent's members, by name.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn list(&self, agent: AgentId) -> Result<Vec<Member>, StoreError> {
        self.select(row::Column::AgentId.eq(id_text(agent.as_uuid())).into_condition()).await
    }

    /// Approves, rejects or puts back to pending.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn set_status(&self, id: MemberId, status: MemberStatus) -> Result<Generation, StoreError> {
        self.set_status_seeding(id, status, &[]).await
    }

    /// The same, with the policies that come with it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn set_status_seeding(
        &self,
        id: MemberId,
        status: MemberStatus,
        seeds: &[PolicyRow],
    ) -> Result<Generation, StoreError> {
        let status = word("member.status", status)?;
        self.0
            .timed(async {
                let change = self.0.change().await?;
                let updated = row::Entity::update_many()
                    .col_expr(row::Column::Status, Expr::value(status))
                    .filter(row::Column::Id.eq(id_text(id.as_uuid())))
                    .exec(&change.transaction)
                    .await?;
                if updated.rows_affected == 0 {
                    return Err(StoreError::not_found("member", id));
                }
                let mut touched = vec![Touched::Member(id)];
                touched.extend(policies::put_missing(&change.transaction, seeds).await?);
                change.commit_touching(&touched).await
            })
            .await
    }

    /// Takes the member from one state to the other, with the policies that come with it; `Conflict` where it
    /// is in another one by now.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn move_status(
        &self,
        id: MemberId,
        from: MemberStatus,
        to: MemberStatus,
        seeds: &[PolicyRow],
    ) -> Result<Generation, StoreError> {
        let (was, becomes) = (word("member.status", from)?, word("member.status", to)?);
        self.0
            .timed(async {
                let change = self.0.change().await?;
                let updated = row::Entity::update_many()
                    .col_expr(row::Column::Status, Expr::value(becomes))
                    .filter(row::Column::Id.eq(id_text(id.as_uuid())))
                    .filter(row::Column::Status.eq(was))
                    .exec(&change.transaction)
                    .await?;
                if updated.rows_affected == 0 {
                    return Err(StoreError::conflict(
                        "member",
                        "the membership is in another state by now; look at it again",
                    ));
                }
                let mut touched = vec![Touched::Member(id)];
                touched.extend(policies::put_missing(&change.transaction, seeds).await?);
                change.commit_touching(&touched).await
            })
            .await
    }

    /// Removes the member with its keys, its policies and its places in groups.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn remove(&self, id: MemberId) -> Result<Generation, StoreError> {
        self.0
            .timed(async {
                let change = self.0.change().await?;
                let mut touched = vec![Touched::Member(id)];
                touched.extend(policies::owner_of(&change.transaction, id).await?.map(Touched::Policies));
                let delete = row::Entity::delete_by_id(id_text(id.as_uuid()));
                if delete.exec(&change.transaction).await?.rows_affected == 0 {
                    return Err(StoreError::not_found("member", id));
                }
                change.commit_touching(&touched).await
            })
            .await
    }

    async fn select(&self, condition: Condition) -> Result<Vec<Member>, StoreError> {
        self.0
            .timed(async {
                let moment = dialect::begin_read(&self.0.connection).await?;
                let found = matching(&moment, condition).await?;
                moment.commit().await?;
                Ok(found)
            })
            .await
    }
}

impl Members<'_> {
    /// The account's membership of this agent, whatever its state; nothing where there is none.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn of_account(&self, agent: AgentId, account: AccountId) -> Result<Option<Member>, StoreError> {
        let condition = Condition::all()
            .add(row::Column::AgentId.eq(id_text(agent.as_uuid())))
            .add(row::Column::AccountId.eq(id_text(account.as_uuid())));
        let found = self.0.timed(matching(&self.0.connection, condition)).await?;
        Ok(found.into_iter().next())
    }
}

/// Stores a new member, and puts it into the groups that it names.
pub(super) async fn put(connection: &impl ConnectionTrait, member: &Member) -> Result<(), StoreError> {
    let row = row::ActiveModel {
        id: Set(id_text(member.id.as_uuid())),
        agent_id: Set(id_text(member.agent_id.as_uuid())),
        name: Set(member.name.clone()),
        role: Set(word("member.role", member.role)?),
        status: Set(word("member.status", member.status)?),
        created_at: Set(member.created_at.as_millis()),
        account_id: Set(member.account.map(|account| id_text(account.as_uuid()))),
        folded: Set(member.name.to_lowercase()),
    };
    row::Entity::insert(row)
        .exec_without_returning(connection)
        .await
        .map_err(|error| StoreError::taken(error, "member", &member.name, ("agent", &member.agent_id)))?;
    for group in &member.groups {
        let group = groups::find(connection, member.agent_id, group).await?;
        groups::put(connection, group.id, member.id).await?;
    }
    Ok(())
}

/// Those of these members that there are.
pub(super) async fn these(
    connection: &impl ConnectionTrait,
    ids: impl IntoIterator<Item = &MemberId>,
) -> Result<Vec<Member>, StoreError> {
    let ids = ids.into_iter().map(|id| id_text(id.as_uuid()));
    matching(connection, row::Column::Id.is_in(ids).into_condition()).await
}

/// The members that match, by name, with their groups.
pub(super) async fn matching(
    connection: &impl ConnectionTrait,
    condition: Condition,
) -> Result<Vec<Member>, StoreError> {
    let rows =
        row::Entity::find().filter(condition.clone()).order_by_asc(row::Column::Name).all(connection).await?;
    let ids = Query::select().column(row::Column::Id).from(row::Entity).cond_where(condition).to_owned();
    with_groups(connection, rows, ids).await
}

/// These rows (`ids` is a query of their ids), in their order, with their groups.
async fn with_groups(
    connection: &impl ConnectionTrait,
    rows: Vec<row::Model>,
    ids: SelectStatement,
) -> Result<Vec<Member>, StoreError> {
    let mut places: BTreeMap<String, BTreeSet<GroupName>> = BTreeMap::new();
    for (member, group) in groups::places(connection, ids).await? {
        places.entry(member).or_default().insert(group);
    }
    let member_of = |row: row::Model| {
        let groups = places.remove(&row.id).unwrap_or_default();
        member_of(row, groups)
    };
    rows.into_iter().map(member_of).collect()
}

/// The member of a row, in these groups.
pub(super) fn member_of(row: row::Model, groups: BTreeSet<GroupName>) -> Result<Member, StoreError> {
    Ok(Member {
        id: MemberId::from_uuid(parse_id("member.id", &row.id)?),
        agent_id: AgentId::from_uuid(parse_id("member.agent_id", &row.agent_id)?),
        name: row.name,
        role: parse_word("member.role", &row.role)?,
        status: parse_word("member.status", &row.status)?,
        groups,
        account: row
            .account_id
            .map(|id| parse_id("member.account_id", &id).map(AccountId::from_uuid))
            .transpose()?,
        created_at: Timestamp::from_millis(row.created_at),
    })
}
