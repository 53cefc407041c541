//! Policies made, changed and deleted.

use sea_orm::entity::prelude::*;

use super::{POLICIES_PER_AGENT_MAX, Policies, PolicyRow, find, row, row_of, versions};
use crate::model::{AgentId, PolicyId};
use crate::store::column::id_text;
use crate::store::touched::Touched;
use crate::store::{Generation, StoreError};

impl Policies<'_> {
    /// Stores a new policy and its first version; `Conflict` where the agent has one of that key, or has
    /// as many as it may have.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn create(&self, policy: &PolicyRow, comment: Option<&str>) -> Result<Generation, StoreError> {
        self.0
            .timed(async {
                let change = self.0.change().await?;
                put(&change.transaction, policy, comment).await?;
                change.commit_touching(&[Touched::Policies(policy.agent)]).await
            })
            .await
    }

    /// Replaces the policy, which must still be of the version before; `Outdated` where it is not.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn update(&self, policy: &PolicyRow, comment: Option<&str>) -> Result<Generation, StoreError> {
        let seen = policy.version.saturating_sub(1);
        self.0
            // Boxed: what its queries need of the stack would else stand in every caller's.
            .timed(Box::pin(async {
                let change = self.0.change().await?;
                unchanged(&find(&change.transaction, policy.agent, policy.id).await?, seen)?;
                row::Entity::update(row_of(policy)?).exec(&change.transaction).await?;
                versions::put(&change.transaction, policy, comment).await?;
                change.commit_touching(&[Touched::Policies(policy.agent)]).await
            }))
            .await
    }

    /// Deletes the policy of this version with all its versions; `Outdated` where it is of another one.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn delete(&self, agent: AgentId, id: PolicyId, seen: u32) -> Result<Generation, StoreError> {
        self.0
            .timed(async {
                let change = self.0.change().await?;
                unchanged(&find(&change.transaction, agent, id).await?, seen)?;
                row::Entity::delete_by_id(id_text(id.as_uuid())).exec(&change.transaction).await?;
                change.commit_touching(&[Touched::Policies(agent)]).await
            })
            .await
    }
}

fn unchanged(found: &PolicyRow, seen: u32) -> Result<(), StoreError> {
    if found.version == seen { Ok(()) } else { Err(StoreError::Outdated { noun: "policy" }) }
}

/// Stores a new policy and its first version.
pub(in crate::store) async fn put(
    connection: &impl ConnectionTrait,
    policy: &PolicyRow,
    comment: Option<&str>,
) -> Result<(), StoreError> {
    let own = row::Column::AgentId.eq(id_text(policy.agent.as_uuid()));
    if row::Entity::find().filter(own).count(connection).await? >= POLICIES_PER_AGENT_MAX {
        let message =
            format!("an agent has at most {POLICIES_PER_AGENT_MAX} stored policies; delete one first");
        return Err(StoreError::conflict("policy", message));
    }
    row::Entity::insert(row_of(policy)?)
        .exec_without_returning(connection)
        .await
        .map_err(|error| StoreError::taken(error, "policy", &policy.key, ("agent", &policy.agent)))?;
    versions::put(connection, policy, comment).await
}
