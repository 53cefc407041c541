//! The agents' rows.
//!
//! Invariant: an edit is judged and made in one transaction, so that an editor who names what was seen
//! does not undo what another one did meanwhile.

mod seen;

use std::collections::BTreeSet;

use sea_orm::entity::prelude::*;
use sea_orm::{IntoActiveModel as _, QueryOrder as _, QuerySelect as _};

pub use self::seen::{AgentQuery, AgentSort, SeenAgent};
use super::column::{id_text, json, parse_id, parse_json, parse_word, word};
use super::touched::Touched;
use super::{Generation, PolicyRow, Store, StoreError, members, policies};
use crate::model::{AccountId, Agent, AgentId, AgentStatus, Member, RateLimit, ServiceKey, Timestamp};

pub(super) mod row {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "agent")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: String,
        pub name: String,
        pub trust: String,
        pub status: String,
        /// JSON list of service keys.
        pub services: String,
        /// JSON of a rate limit.
        pub rate: Option<String>,
        pub created_at: i64,
        pub owner_id: Option<String>,
        /// JSON list of words.
        pub tags: String,
        /// Name and tags in lower case, a line each: for searching and sorting.
        pub folded: String,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// What of an agent changes; what is `None` stays.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AgentEdit {
    pub name: Option<String>,
    pub tags: Option<Vec<String>>,
    /// The kill switch.
    pub status: Option<AgentStatus>,
    /// The enabled connectors.
    pub services: Option<BTreeSet<ServiceKey>>,
    /// The limit of the agent's keys; `Some(None)` goes back to the configured one.
    pub rate: Option<Option<RateLimit>>,
}

impl AgentEdit {
    /// The agent after the edit.
    pub fn applied(&self, agent: &Agent) -> Agent {
        let mut after = agent.clone();
        after.name = self.name.clone().unwrap_or(after.name);
        after.tags = self.tags.clone().unwrap_or(after.tags);
        after.status = self.status.unwrap_or(after.status);
        after.services = self.services.clone().unwrap_or(after.services);
        after.rate = self.rate.unwrap_or(after.rate);
        after
    }
}

/// The agents' rows.
#[derive(Debug, Clone, Copy)]
pub struct Agents<'a>(pub(super) &'a Store);

impl Agents<'_> {
    /// Stores a new agent; `Conflict` where the name is taken.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn create(&self, agent: &Agent) -> Result<Generation, StoreError> {
        self.create_with(agent, None).await
    }

    /// Stores a new agent and its first member, in one transaction.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn create_with(&self, agent: &Agent, first: Option<&Member>) -> Result<Generation, StoreError> {
        self.create_seeding(agent, first, &[]).await
    }

    /// The same, with the policies that come with its connectors.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn create_seeding(
        &self,
        agent: &Agent,
        first: Option<&Member>,
        seeds: &[PolicyRow],
    ) -> Result<Generation, StoreError> {
        let row = model_of(agent)?;
        self.0
            .timed(async {
                let change = self.0.change().await?;
                row::Entity::insert(row)
                    .exec_without_returning(&change.transaction)
                    .await
                    .map_err(|error| StoreError::taken(error, "agent", &agent.name, ("agent", &agent.id)))?;
                let mut touched = vec![Touched::Agent(agent.id)];
                if let Some(member) = first {
                    members::put(&change.transaction, member).await?;
                    touched.push(Touched::Member(member.id));
                }
                touched.extend(policies::put_missing(&change.transaction, seeds).await?);
                change.commit_touching(&touched).await
            })
            .await
    }

    /// The agent, or `NotFound`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn get(&self, id: AgentId) -> Result<Agent, StoreError> {
        let find = row::Entity::find_by_id(id_text(id.as_uuid()));
        let found = self.0.timed(async { Ok(find.one(&self.0.connection).await?) }).await?;
        agent_of(found.ok_or_else(|| StoreError::not_found("agent", id))?)
    }

    /// The agent of this exact name, or `NotFound`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn get_by_name(&self, name: &str) -> Result<Agent, StoreError> {
        let find = row::Entity::find().filter(row::Column::Name.eq(name));
        let found = self.0.timed(async { Ok(find.one(&self.0.connection).await?) }).await?;
        agent_of(found.ok_or_else(|| StoreError::not_found("agent", name))?)
    }

    /// All agents, by name.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn list(&self) -> Result<Vec<Agent>, StoreError> {
        self.0.timed(all(&self.0.connection)).await
    }

    /// The first names of the alphabet, at most so many, and how many agents there are.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn names(&self, limit: u64) -> Result<(Vec<String>, u64), StoreError> {
        let find = row::Entity::find();
        let names = find.clone().order_by_asc(row::Column::Name).limit(limit);
        let names = names.select_only().column(row::Column::Name).into_tuple();
        self.0
            .timed(async {
                let total = find.count(&self.0.connection).await?;
                Ok((names.all(&self.0.connection).await?, total))
            })
            .await
    }

    /// How many agents this account owns.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn count_owned(&self, owner: AccountId) -> Result<u64, StoreError> {
        let find = row::Entity::find().filter(row::Column::OwnerId.eq(id_text(owner.as_uuid())));
        self.0.timed(async { Ok(find.count(&self.0.connection).await?) }).await
    }

    /// Changes the agent, if it is still as the asker says (`unchanged`); `Outdated` where not,
    /// `Conflict` where the new name is taken. Returns the agent as it is afterwards.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn edit(
        &self,
        id: AgentId,
        edit: &AgentEdit,
        unchanged: &(dyn Fn(&Agent) -> bool + Send + Sync),
    ) -> Result<(Generation, Agent), StoreError> {
        self.edit_seeding(id, edit, unchanged, &[]).await
    }

    /// The same, with the policies that come with its connectors.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn edit_seeding(
        &self,
        id: AgentId,
        edit: &AgentEdit,
        unchanged: &(dyn Fn(&Agent) -> bool + Send + Sync),
        seeds: &[PolicyRow],
    ) -> Result<(Generation, Agent), StoreError> {
        self.0
            .timed(async {
                let change = self.0.change().await?;
                let found = find_row(&change.transaction, id).await?;
                let before = agent_of(found)?;
                if !unchanged(&before) {
                    return Err(StoreError::Outdated { noun: "agent" });
                }
                let after = edit.applied(&before);
                let row = model_of(&after)?;
                let given = &after.name;
                row::Entity::update(row)
                    .exec(&change.transaction)
                    .await
                    .map_err(|error| StoreError::taken(error, "agent", given, ("agent", &id)))?;
                let mut touched = vec![Touched::Agent(id)];
                touched.extend(policies::put_missing(&change.transaction, seeds).await?);
                Ok((change.commit_touching(&touched).await?, after))
            })
            .await
    }

    /// The kill switch.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn set_status(&self, id: AgentId, status: AgentStatus) -> Result<Generation, StoreError> {
        Box::pin(self.set(id, AgentEdit { status: Some(status), ..AgentEdit::default() })).await
    }

    /// Replaces the enabled connectors.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn set_services(
        &self,
        id: AgentId,
        services: &BTreeSet<ServiceKey>,
    ) -> Result<Generation, StoreError> {
        Box::pin(self.set(id, AgentEdit { services: Some(services.clone()), ..AgentEdit::default() })).await
    }

    /// Replaces the rate limit of the agent's keys; `None` goes back to the configured one.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn set_rate(&self, id: AgentId, rate: Option<RateLimit>) -> Result<Generation, StoreError> {
        Box::pin(self.set(id, AgentEdit { rate: Some(rate), ..AgentEdit::default() })).await
    }

    /// Gives it another name; `Conflict` where that is taken.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn rename(&self, id: AgentId, name: &str) -> Result<Generation, StoreError> {
        Box::pin(self.set(id, AgentEdit { name: Some(name.to_owned()), ..AgentEdit::default() })).await
    }

    async fn set(&self, id: AgentId, edit: AgentEdit) -> Result<Generation, StoreError> {
        Ok(self.edit(id, &edit, &|_| true).await?.0)
    }

    /// Deletes the agent with its members, groups, keys and invites.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn delete(&self, id: AgentId) -> Result<Generation, StoreError> {
        self.delete_if(id, &|_| true).await
    }

    /// The same, if the agent is still as the asker says; `Outdated` where not.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn delete_if(
        &self,
        id: AgentId,
        unchanged: &(dyn Fn(&Agent) -> bool + Send + Sync),
    ) -> Result<Generation, StoreError> {
        self.0
            .timed(async {
                let change = self.0.change().await?;
                let found = find_row(&change.transaction, id).await?;
                if !unchanged(&agent_of(found)?) {
                    return Err(StoreError::Outdated { noun: "agent" });
                }
                row::Entity::delete_by_id(id_text(id.as_uuid())).exec(&change.transaction).await?;
                change.commit_touching(&[Touched::Agent(id)]).await
            })
            .await
    }
}

async fn find_row(connection: &impl ConnectionTrait, id: AgentId) -> Result<row::Model, StoreError> {
    let found = row::Entity::find_by_id(id_text(id.as_uuid())).one(connection).await?;
    found.ok_or_else(|| StoreError::not_found("agent", id))
}

/// All agents, by name.
pub(super) async fn all(connection: &impl ConnectionTrait) -> Result<Vec<Agent>, StoreError> {
    let rows = row::Entity::find().order_by_asc(row::Column::Name).all(connection).await?;
    rows.into_iter().map(agent_of).collect()
}

/// Those of these agents that there are.
pub(super) async fn these(
    connection: &impl ConnectionTrait,
    ids: impl IntoIterator<Item = &AgentId>,
) -> Result<Vec<Agent>, StoreError> {
    let ids = ids.into_iter().map(|id| id_text(id.as_uuid()));
    let rows = row::Entity::find().filter(row::Column::Id.is_in(ids)).all(connection).await?;
    rows.into_iter().map(agent_of).collect()
}

/// A rate limit in a column.
pub(super) fn rate_column(
    place: &'static str,
    rate: Option<RateLimit>,
) -> Result<Option<String>, StoreError> {
    rate.map(|rate| json(place, &rate)).transpose()
}

/// The row of an agent, every column set.
fn model_of(agent: &Agent) -> Result<row::ActiveModel, StoreError> {
    let lines = [&agent.name].into_iter().chain(&agent.tags);
    let folded: Vec<String> = lines.map(|line| line.to_lowercase()).collect();
    Ok(row::Model {
        id: id_text(agent.id.as_uuid()),
        name: agent.name.clone(),
        trust: word("agent.trust", agent.trust)?,
        status: word("agent.status", agent.status)?,
        services: json("agent.services", &agent.services)?,
        rate: rate_column("agent.rate", agent.rate)?,
        created_at: agent.created_at.as_millis(),
        owner_id: agent.owner.map(|owner| id_text(owner.as_uuid())),
        tags: json("agent.tags", &agent.tags)?,
        folded: folded.join("\n"),
    }
    .into_active_model()
    .reset_all())
}

fn agent_of(row: row::Model) -> Result<Agent, StoreError> {
    Ok(Agent {
        id: AgentId::from_uuid(parse_id("agent.id", &row.id)?),
        name: row.name,
        trust: parse_word("agent.trust", &row.trust)?,
        status: parse_word("agent.status", &row.status)?,
        services: parse_json("agent.services", &row.services)?,
        rate: row.rate.map(|rate| parse_json("agent.rate", &rate)).transpose()?,
        owner: row
            .owner_id
            .map(|id| parse_id("agent.owner_id", &id).map(AccountId::from_uuid))
            .transpose()?,
        tags: parse_json("agent.tags", &row.tags)?,
        created_at: Timestamp::from_millis(row.created_at),
    })
}
