//! The agents' rows.

use std::collections::BTreeSet;

use sea_orm::entity::prelude::*;
use sea_orm::sea_query::Expr;
use sea_orm::{QueryOrder as _, Set};

use super::column::{id_text, json, parse_id, parse_json, parse_word, word};
use super::{Generation, Store, StoreError};
use crate::model::{AccountId, Agent, AgentId, AgentStatus, RateLimit, ServiceKey, Timestamp};

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
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
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
        let row = row::ActiveModel {
            id: Set(id_text(agent.id.as_uuid())),
            name: Set(agent.name.clone()),
            trust: Set(word("agent.trust", agent.trust)?),
            status: Set(word("agent.status", agent.status)?),
            services: Set(json("agent.services", &agent.services)?),
            rate: Set(rate_column("agent.rate", agent.rate)?),
            created_at: Set(agent.created_at.as_millis()),
            owner_id: Set(agent.owner.map(|owner| id_text(owner.as_uuid()))),
            tags: Set(json("agent.tags", &agent.tags)?),
        };
        self.0
            .timed(async {
                let change = self.0.change().await?;
                row::Entity::insert(row)
                    .exec_without_returning(&change.transaction)
                    .await
                    .map_err(|error| StoreError::taken(error, "agent", &agent.name, ("agent", &agent.id)))?;
                change.commit().await
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

    /// The kill switch.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn set_status(&self, id: AgentId, status: AgentStatus) -> Result<Generation, StoreError> {
        let status = word("agent.status", status)?;
        self.update(id, row::Column::Status, Expr::value(status), "").await
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
        let services = json("agent.services", services)?;
        self.update(id, row::Column::Services, Expr::value(services), "").await
    }

    /// Replaces the rate limit of the agent's keys; `None` goes back to the configured one.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn set_rate(&self, id: AgentId, rate: Option<RateLimit>) -> Result<Generation, StoreError> {
        let rate = rate_column("agent.rate", rate)?;
        self.update(id, row::Column::Rate, Expr::value(rate), "").await
    }

    /// Gives it another name; `Conflict` where that is taken.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn rename(&self, id: AgentId, name: &str) -> Result<Generation, StoreError> {
        self.update(id, row::Column::Name, Expr::value(name), name).await
    }

    /// Deletes the agent with its members, groups and keys.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn delete(&self, id: AgentId) -> Result<Generation, StoreError> {
        self.0
            .timed(async {
                let change = self.0.change().await?;
                let delete = row::Entity::delete_by_id(id_text(id.as_uuid()));
                if delete.exec(&change.transaction).await?.rows_affected == 0 {
                    return Err(StoreError::not_found("agent", id));
                }
                change.commit().await
            })
            .await
    }

    async fn update(
        &self,
        id: AgentId,
        column: row::Column,
        value: Expr,
        name: &str,
    ) -> Result<Generation, StoreError> {
        self.0
            .timed(async {
                let change = self.0.change().await?;
                let updated = row::Entity::update_many()
                    .col_expr(column, value)
                    .filter(row::Column::Id.eq(id_text(id.as_uuid())))
                    .exec(&change.transaction)
                    .await
                    .map_err(|error| StoreError::taken(error, "agent", name, ("agent", &id)))?;
                if updated.rows_affected == 0 {
                    return Err(StoreError::not_found("agent", id));
                }
                change.commit().await
            })
            .await
    }
}

/// All agents, by name.
pub(super) async fn all(connection: &impl ConnectionTrait) -> Result<Vec<Agent>, StoreError> {
    let rows = row::Entity::find().order_by_asc(row::Column::Name).all(connection).await?;
    rows.into_iter().map(agent_of).collect()
}

/// A rate limit in a column.
pub(super) fn rate_column(
    place: &'static str,
    rate: Option<RateLimit>,
) -> Result<Option<String>, StoreError> {
    rate.map(|rate| json(place, &rate)).transpose()
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
