//! The agents' rows.

use std::collections::BTreeSet;

use super::{Generation, Store, StoreError};
use crate::model::{Agent, AgentId, AgentStatus, RateLimit, ServiceKey};

/// The agents' rows.
#[derive(Debug, Clone, Copy)]
pub struct Agents<'a>(pub(super) &'a Store);

impl Agents<'_> {
    /// Stores a new agent; `Conflict` where the name is taken.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn create(&self, agent: &Agent) -> Result<Generation, StoreError> {
        let _ = &self.0;
        Err(super::not_yet())
    }

    /// The agent, or `NotFound`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn get(&self, id: AgentId) -> Result<Agent, StoreError> {
        let _ = &self.0;
        Err(super::not_yet())
    }

    /// The agent of this exact name, or `NotFound`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn get_by_name(&self, name: &str) -> Result<Agent, StoreError> {
        let _ = &self.0;
        Err(super::not_yet())
    }

    /// All agents, by name.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn list(&self) -> Result<Vec<Agent>, StoreError> {
        let _ = &self.0;
        Err(super::not_yet())
    }

    /// The kill switch.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn set_status(&self, id: AgentId, status: AgentStatus) -> Result<Generation, StoreError> {
        let _ = &self.0;
        Err(super::not_yet())
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
        let _ = &self.0;
        Err(super::not_yet())
    }

    /// Replaces the rate limit of the agent's keys; `None` goes back to the configured one.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn set_rate(&self, id: AgentId, rate: Option<RateLimit>) -> Result<Generation, StoreError> {
        let _ = &self.0;
        Err(super::not_yet())
    }

    /// Gives it another name; `Conflict` where that is taken.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn rename(&self, id: AgentId, name: &str) -> Result<Generation, StoreError> {
        let _ = &self.0;
        Err(super::not_yet())
    }

    /// Deletes the agent with its members, groups and keys.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn delete(&self, id: AgentId) -> Result<Generation, StoreError> {
        let _ = &self.0;
        Err(super::not_yet())
    }
}
