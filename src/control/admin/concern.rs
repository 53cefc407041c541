//! Which agent a change concerns, told from what it was made to.
//!
//! Targets are names for people (`agent`, `agent/member`, an id); who may read of a change later is decided
//! by the agent's id, for names are given anew.

use super::Admin;
use crate::model::{AgentId, KeyId, MemberId, SessionId};

impl Admin {
    /// The agent that this target names, or belongs to, as the store knows it now.
    pub(super) async fn concerned(&self, target: &str) -> Option<AgentId> {
        if let Some(agent) = self.agent_named(target).await {
            return Some(agent);
        }
        // A member's or group's name may hold a slash; an agent's may, too.
        for (at, _) in target.match_indices('/') {
            if let Some(agent) = self.agent_named(target.get(..at)?).await {
                return Some(agent);
            }
        }
        let of_member = async |member: MemberId| {
            self.store.members().get(member).await.ok().map(|member| member.agent_id)
        };
        if let Ok(key) = target.parse::<KeyId>()
            && let Ok(row) = self.store.keys().get(key).await
        {
            return of_member(row.member_id).await;
        }
        if let Ok(session) = target.parse::<SessionId>()
            && let Ok(row) = self.store.sessions().get(session).await
        {
            return Some(row.agent_id);
        }
        of_member(target.parse().ok()?).await
    }

    async fn agent_named(&self, given: &str) -> Option<AgentId> {
        if let Ok(id) = given.parse::<AgentId>()
            && self.store.agents().get(id).await.is_ok()
        {
            return Some(id);
        }
        self.store.agents().get_by_name(given).await.ok().map(|agent| agent.id)
    }
}
