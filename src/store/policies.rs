//! The stored policies' rows, and every version of each.
//!
//! Invariants: a policy is changed only by who names the version that was seen; each change is a version
//! more, kept as it was saved; what a change touched is said, so that the gate builds that agent's set
//! alone.

mod page;
mod seed;
pub(super) mod stored;
mod uses;
mod versions;
mod write;

use sea_orm::entity::prelude::*;
use sea_orm::sea_query::IntoCondition as _;
use sea_orm::{Condition, QueryOrder as _, QuerySelect as _, Set};

pub(super) use self::page::counted;
pub use self::page::{PolicyQuery, PolicySort};
pub(super) use self::seed::put_missing;
pub use self::uses::PolicyUses;
pub use self::versions::PolicyVersionRow;
use super::column::{id_text, json, parse, parse_id, parse_json, parse_word, word};
use super::{Store, StoreError};
use crate::model::{
    AgentId, MemberId, PolicyEffect, PolicyId, PolicyKey, PolicyMode, PolicyText, ServiceKey, StoredPolicy,
    Timestamp,
};

/// Stored policies of one agent.
pub const POLICIES_PER_AGENT_MAX: u64 = 2_000;

pub(super) mod row {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "policy")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: String,
        pub agent_id: String,
        pub member_id: Option<String>,
        pub policy_key: String,
        pub name: String,
        /// Name and key in lower case, a line each.
        pub folded: String,
        pub service: Option<String>,
        pub effect: String,
        pub enabled: bool,
        /// `enforced` or `shadow`.
        pub mode: String,
        pub version: i64,
        /// JSON of [`crate::model::PolicyText`].
        pub text: String,
        pub cedar: String,
        pub created_at: i64,
        pub updated_at: i64,
        pub updated_by: String,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// A stored policy as it stands, with what people see beside it.
#[derive(Debug, Clone, PartialEq)]
pub struct PolicyRow {
    pub id: PolicyId,
    pub agent: AgentId,
    /// Whose it is, under an untrusted agent; `None` under a trusted one.
    pub member: Option<MemberId>,
    /// Never changes, and is the agent's only one.
    pub key: PolicyKey,
    pub name: String,
    /// The connector that it speaks of; `None` where Cedar text speaks of several, or of all.
    pub service: Option<ServiceKey>,
    pub effect: PolicyEffect,
    pub enabled: bool,
    /// What it does while it is enabled; never [`PolicyMode::Off`].
    pub mode: PolicyMode,
    /// From 1; each change is one more.
    pub version: u32,
    pub text: PolicyText,
    /// What it compiled to when it was saved; for reading.
    pub cedar: String,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    /// The operator, in its written form.
    pub updated_by: String,
}

impl PolicyRow {
    /// What it does now.
    pub fn effective_mode(&self) -> PolicyMode {
        if self.enabled { self.mode } else { PolicyMode::Off }
    }

    /// The policy as the data plane knows it.
    pub fn stored(&self) -> StoredPolicy {
        StoredPolicy {
            id: self.id,
            agent: self.agent,
            member: self.member,
            key: self.key.clone(),
            version: self.version,
            mode: self.effective_mode(),
            text: self.text.clone(),
        }
    }
}

/// The stored policies' rows.
#[derive(Debug, Clone, Copy)]
pub struct Policies<'a>(pub(super) &'a Store);

impl Policies<'_> {
    /// The agent's policy, or `NotFound`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn get(&self, agent: AgentId, id: PolicyId) -> Result<PolicyRow, StoreError> {
        self.0.timed(find(&self.0.connection, agent, id)).await
    }

    /// The agent's policy of this key, or `NotFound`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn get_by_key(&self, agent: AgentId, key: &str) -> Result<PolicyRow, StoreError> {
        let find = row::Entity::find()
            .filter(row::Column::AgentId.eq(id_text(agent.as_uuid())))
            .filter(row::Column::PolicyKey.eq(key));
        let found = self.0.timed(async { Ok(find.one(&self.0.connection).await?) }).await?;
        policy_of(found.ok_or_else(|| StoreError::not_found("policy", key))?)
    }

    /// The first keys of the alphabet, at most so many, and how many policies the agent has.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn keys(&self, agent: AgentId, limit: u64) -> Result<(Vec<String>, u64), StoreError> {
        let find = row::Entity::find().filter(row::Column::AgentId.eq(id_text(agent.as_uuid())));
        let keys = find.clone().order_by_asc(row::Column::PolicyKey).limit(limit);
        let keys = keys.select_only().column(row::Column::PolicyKey).into_tuple();
        self.0
            .timed(async {
                let total = find.count(&self.0.connection).await?;
                Ok((keys.all(&self.0.connection).await?, total))
            })
            .await
    }

    /// All policies of the agent, by their ids: the order in which they were made.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn of_agent(&self, agent: AgentId) -> Result<Vec<PolicyRow>, StoreError> {
        let own = row::Column::AgentId.eq(id_text(agent.as_uuid())).into_condition();
        self.0.timed(matching(&self.0.connection, own)).await
    }
}

async fn find(
    connection: &impl ConnectionTrait,
    agent: AgentId,
    id: PolicyId,
) -> Result<PolicyRow, StoreError> {
    let found = row::Entity::find_by_id(id_text(id.as_uuid()))
        .filter(row::Column::AgentId.eq(id_text(agent.as_uuid())))
        .one(connection)
        .await?;
    policy_of(found.ok_or_else(|| StoreError::not_found("policy", id))?)
}

/// The agent of which this member has policies of its own, if it has any.
pub(super) async fn owner_of(
    connection: &impl ConnectionTrait,
    member: MemberId,
) -> Result<Option<AgentId>, StoreError> {
    let own = row::Entity::find().filter(row::Column::MemberId.eq(id_text(member.as_uuid())));
    let found: Option<String> =
        own.select_only().column(row::Column::AgentId).limit(1).into_tuple().one(connection).await?;
    found.map(|id| Ok(AgentId::from_uuid(parse_id("policy.agent_id", &id)?))).transpose()
}

/// The policies that match, by their ids.
pub(super) async fn matching(
    connection: &impl ConnectionTrait,
    condition: Condition,
) -> Result<Vec<PolicyRow>, StoreError> {
    let rows = row::Entity::find().filter(condition).order_by_asc(row::Column::Id).all(connection).await?;
    rows.into_iter().map(policy_of).collect()
}

/// The row of a policy, every column set.
pub(super) fn row_of(policy: &PolicyRow) -> Result<row::ActiveModel, StoreError> {
    Ok(row::ActiveModel {
        id: Set(id_text(policy.id.as_uuid())),
        agent_id: Set(id_text(policy.agent.as_uuid())),
        member_id: Set(policy.member.map(|member| id_text(member.as_uuid()))),
        policy_key: Set(policy.key.to_string()),
        name: Set(policy.name.clone()),
        folded: Set(format!("{}\n{}", policy.name.to_lowercase(), policy.key.as_str().to_lowercase())),
        service: Set(policy.service.as_ref().map(ToString::to_string)),
        effect: Set(word("policy.effect", policy.effect)?),
        enabled: Set(policy.enabled),
        mode: Set(word("policy.mode", policy.mode)?),
        version: Set(policy.version.into()),
        text: Set(json("policy.text", &policy.text)?),
        cedar: Set(policy.cedar.clone()),
        created_at: Set(policy.created_at.as_millis()),
        updated_at: Set(policy.updated_at.as_millis()),
        updated_by: Set(policy.updated_by.clone()),
    })
}

fn policy_of(row: row::Model) -> Result<PolicyRow, StoreError> {
    let member = row.member_id.map(|id| parse_id("policy.member_id", &id)).transpose()?;
    Ok(PolicyRow {
        id: PolicyId::from_uuid(parse_id("policy.id", &row.id)?),
        agent: AgentId::from_uuid(parse_id("policy.agent_id", &row.agent_id)?),
        member: member.map(MemberId::from_uuid),
        key: parse("policy.policy_key", &row.policy_key)?,
        name: row.name,
        service: row.service.map(|service| parse("policy.service", &service)).transpose()?,
        effect: parse_word("policy.effect", &row.effect)?,
        enabled: row.enabled,
        mode: parse_word("policy.mode", &row.mode)?,
        version: version_number("policy.version", row.version)?,
        text: parse_json("policy.text", &row.text)?,
        cedar: row.cedar,
        created_at: Timestamp::from_millis(row.created_at),
        updated_at: Timestamp::from_millis(row.updated_at),
        updated_by: row.updated_by,
    })
}

fn version_number(place: &'static str, number: i64) -> Result<u32, StoreError> {
    u32::try_from(number).map_err(|_| StoreError::corrupt(place, format!("{number} is no version")))
}
