//! The groups' rows.

use super::{Generation, Store, StoreError};
use crate::model::{AgentId, GroupName, MemberId, Timestamp};

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
        let _ = &self.0;
        Err(super::not_yet())
    }

    /// Deletes the group; its members stay members of the agent.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn delete(&self, agent: AgentId, name: &GroupName) -> Result<Generation, StoreError> {
        let _ = &self.0;
        Err(super::not_yet())
    }

    /// The agent's groups, by name.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn list(&self, agent: AgentId) -> Result<Vec<Group>, StoreError> {
        let _ = &self.0;
        Err(super::not_yet())
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
        let _ = &self.0;
        Err(super::not_yet())
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
        let _ = &self.0;
        Err(super::not_yet())
    }
}
