//! The groups' rows, and the places of members in them.

mod summaries;

use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{OnConflict, SelectStatement};
use sea_orm::{JoinType, QueryOrder as _, QuerySelect as _, Set};
use uuid::Uuid;

pub use self::summaries::GroupSummary;
use super::column::{id_text, parse, parse_id};
use super::touched::Touched;
use super::{Generation, Store, StoreError, dialect, members};
use crate::model::{AgentId, GroupName, MemberId, Timestamp};

/// Groups of one agent.
pub const GROUPS_PER_AGENT_MAX: u64 = 1_000;

pub(super) mod row {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "member_group")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: String,
        pub agent_id: String,
        pub name: String,
        pub created_at: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

pub(super) mod place {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "member_group_place")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub group_id: String,
        #[sea_orm(primary_key, auto_increment = false)]
        pub member_id: String,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {
        #[sea_orm(belongs_to = "super::row::Entity", from = "Column::GroupId", to = "super::row::Column::Id")]
        Group,
    }

    impl ActiveModelBehavior for ActiveModel {}
}

/// A group of members of one agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    pub agent_id: AgentId,
    pub name: GroupName,
    /// Ordered by id.
    pub members: Vec<MemberId>,
    pub created_at: Timestamp,
}

/// The groups' rows.
#[derive(Debug, Clone, Copy)]
pub struct Groups<'a>(pub(super) &'a Store);

impl Groups<'_> {
    /// Stores an empty group; `Conflict` where the agent has one of that name.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn create(
        &self,
        agent: AgentId,
        name: &GroupName,
        now: Timestamp,
    ) -> Result<Generation, StoreError> {
        let row = row::ActiveModel {
            // Never shown: people and policies name a group by agent and name.
            id: Set(id_text(&Uuid::new_v7(uuid::Timestamp::now(uuid::NoContext)))),
            agent_id: Set(id_text(agent.as_uuid())),
            name: Set(name.to_string()),
            created_at: Set(now.as_millis()),
        };
        self.0
            .timed(async {
                let change = self.0.change().await?;
                let own = row::Column::AgentId.eq(id_text(agent.as_uuid()));
                if row::Entity::find().filter(own).count(&change.transaction).await? >= GROUPS_PER_AGENT_MAX {
                    let message =
                        format!("an agent has at most {GROUPS_PER_AGENT_MAX} groups; delete one first");
                    return Err(StoreError::conflict("group", message));
                }
                row::Entity::insert(row)
                    .exec_without_returning(&change.transaction)
                    .await
                    .map_err(|error| StoreError::taken(error, "group", name, ("agent", &agent)))?;
                // Nobody is in it.
                change.commit_touching(&[]).await
            })
            .await
    }

    /// Deletes the group; its members stay members of the agent.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn delete(&self, agent: AgentId, name: &GroupName) -> Result<Generation, StoreError> {
        self.0
            .timed(async {
                let change = self.0.change().await?;
                let group = find(&change.transaction, agent, name).await?;
                let places = place::Entity::find().filter(place::Column::GroupId.eq(&group.id));
                let members = places.all(&change.transaction).await?;
                row::Entity::delete_by_id(group.id).exec(&change.transaction).await?;
                let touched = members.iter().map(|place| Ok(Touched::Member(member_of(place)?)));
                change.commit_touching(&touched.collect::<Result<Vec<_>, StoreError>>()?).await
            })
            .await
    }

    /// The agent's groups, by name.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn list(&self, agent: AgentId) -> Result<Vec<Group>, StoreError> {
        let find = row::Entity::find()
            .filter(row::Column::AgentId.eq(id_text(agent.as_uuid())))
            .order_by_asc(row::Column::Name);
        self.0
            .timed(async {
                let moment = dialect::begin_read(&self.0.connection).await?;
                let mut groups = Vec::new();
                for row in find.all(&moment).await? {
                    let places = place::Entity::find()
                        .filter(place::Column::GroupId.eq(&row.id))
                        .order_by_asc(place::Column::MemberId)
                        .all(&moment)
                        .await?;
                    groups.push(group_of(agent, &row, &places)?);
                }
                moment.commit().await?;
                Ok(groups)
            })
            .await
    }

    /// The agent's group of this name, or `NotFound`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn get(&self, agent: AgentId, name: &GroupName) -> Result<Group, StoreError> {
        self.0
            .timed(async {
                let moment = dialect::begin_read(&self.0.connection).await?;
                let row = find(&moment, agent, name).await?;
                let places = place::Entity::find()
                    .filter(place::Column::GroupId.eq(&row.id))
                    .order_by_asc(place::Column::MemberId)
                    .all(&moment)
                    .await?;
                moment.commit().await?;
                group_of(agent, &row, &places)
            })
            .await
    }

    /// Whether the member is in the group; `NotFound` where there is no such group.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn holds(
        &self,
        agent: AgentId,
        name: &GroupName,
        member: MemberId,
    ) -> Result<bool, StoreError> {
        self.0
            .timed(async {
                let moment = dialect::begin_read(&self.0.connection).await?;
                let row = find(&moment, agent, name).await?;
                let place = (row.id, id_text(member.as_uuid()));
                let held = place::Entity::find_by_id(place).one(&moment).await?.is_some();
                moment.commit().await?;
                Ok(held)
            })
            .await
    }

    /// Puts a member of the same agent into the group; no fault where it is in it already.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn add_member(
        &self,
        agent: AgentId,
        name: &GroupName,
        member: MemberId,
    ) -> Result<Generation, StoreError> {
        self.0
            .timed(async {
                let change = self.0.change().await?;
                let group = find(&change.transaction, agent, name).await?;
                let own = members::row::Entity::find_by_id(id_text(member.as_uuid()))
                    .filter(members::row::Column::AgentId.eq(id_text(agent.as_uuid())))
                    .one(&change.transaction)
                    .await?;
                own.ok_or_else(|| StoreError::not_found("member", member))?;
                put(&change.transaction, group.id, member).await?;
                change.commit_touching(&[Touched::Member(member)]).await
            })
            .await
    }

    /// Takes a member out of the group; `NotFound` where it is not in it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn remove_member(
        &self,
        agent: AgentId,
        name: &GroupName,
        member: MemberId,
    ) -> Result<Generation, StoreError> {
        self.0
            .timed(async {
                let change = self.0.change().await?;
                let group = find(&change.transaction, agent, name).await?;
                let place = (group.id, id_text(member.as_uuid()));
                let deleted = place::Entity::delete_by_id(place).exec(&change.transaction).await?;
                if deleted.rows_affected == 0 {
                    return Err(StoreError::not_found("member of this group", member));
                }
                change.commit_touching(&[Touched::Member(member)]).await
            })
            .await
    }
}

/// The group's row, or `NotFound`.
pub(super) async fn find(
    connection: &impl ConnectionTrait,
    agent: AgentId,
    name: &GroupName,
) -> Result<row::Model, StoreError> {
    let found = row::Entity::find()
        .filter(row::Column::AgentId.eq(id_text(agent.as_uuid())))
        .filter(row::Column::Name.eq(name.as_str()))
        .one(connection)
        .await?;
    found.ok_or_else(|| StoreError::not_found("group", name))
}

/// Puts the member into the group, if it is not in it.
pub(super) async fn put(
    connection: &impl ConnectionTrait,
    group_id: String,
    member: MemberId,
) -> Result<(), StoreError> {
    let place = place::ActiveModel { group_id: Set(group_id), member_id: Set(id_text(member.as_uuid())) };
    let once = OnConflict::columns([place::Column::GroupId, place::Column::MemberId]).do_nothing().to_owned();
    place::Entity::insert(place).on_conflict(once).exec_without_returning(connection).await?;
    Ok(())
}

/// Which of these members (a query of their ids) is in which group.
pub(super) async fn places(
    connection: &impl ConnectionTrait,
    members: SelectStatement,
) -> Result<Vec<(String, GroupName)>, StoreError> {
    let found: Vec<(String, String)> = place::Entity::find()
        .join(JoinType::InnerJoin, place::Relation::Group.def())
        .filter(place::Column::MemberId.in_subquery(members))
        .select_only()
        .column(place::Column::MemberId)
        .column(row::Column::Name)
        .into_tuple()
        .all(connection)
        .await?;
    found.into_iter().map(|(member, group)| Ok((member, parse("member_group.name", &group)?))).collect()
}

fn member_of(place: &place::Model) -> Result<MemberId, StoreError> {
    Ok(MemberId::from_uuid(parse_id("member_group_place.member_id", &place.member_id)?))
}

fn group_of(agent: AgentId, row: &row::Model, places: &[place::Model]) -> Result<Group, StoreError> {
    Ok(Group {
        agent_id: agent,
        name: parse("member_group.name", &row.name)?,
        members: places.iter().map(member_of).collect::<Result<_, StoreError>>()?,
        created_at: Timestamp::from_millis(row.created_at),
    })
}
