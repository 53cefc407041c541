//! The members' rows.

use super::{Generation, Store, StoreError};
use crate::model::{AgentId, Member, MemberId, MemberStatus};

/// The members' rows.
#[derive(Debug, Clone, Copy)]
pub struct Members<'a>(pub(super) &'a Store);

impl Members<'_> {
    /// Stores a new member without groups (see `groups().add_member`); `Conflict` where the agent has one of that name.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn create(&self, member: &Member) -> Result<Generation, StoreError> {
        let _ = &self.0;
        Err(super::not_yet())
    }

    /// The member, or `NotFound`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn get(&self, id: MemberId) -> Result<Member, StoreError> {
        let _ = &self.0;
        Err(super::not_yet())
    }

    /// The agent's member of this exact name, or `NotFound`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn find(&self, agent: AgentId, name: &str) -> Result<Member, StoreError> {
        let _ = &self.0;
        Err(super::not_yet())
    }

    /// The agent's members, by name.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn list(&self, agent: AgentId) -> Result<Vec<Member>, StoreError> {
        let _ = &self.0;
        Err(super::not_yet())
    }

    /// Approves, rejects or puts back to pending.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn set_status(&self, id: MemberId, status: MemberStatus) -> Result<Generation, StoreError> {
        let _ = &self.0;
        Err(super::not_yet())
    }

    /// Removes the member with its keys and its places in groups.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn remove(&self, id: MemberId) -> Result<Generation, StoreError> {
        let _ = &self.0;
        Err(super::not_yet())
    }
}
