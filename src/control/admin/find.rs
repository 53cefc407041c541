//! What an operator named, looked up by itself: an agent by name or id, a member within its agent.
//!
//! Invariant: no question for one thing reads all of them; what does not exist is told beside what does.

use super::{Admin, AdminFault, shown};
use crate::model::{Agent, AgentId, Member, MemberId, PolicyId};
use crate::store::{PolicyRow, StoreError};

/// Names listed in a sentence of help.
const NAMES_LISTED_MAX: usize = 8;

impl Admin {
    /// The agent of this name or id.
    pub(super) async fn find_agent(&self, given: &str) -> Result<Agent, AdminFault> {
        let agents = self.store.agents();
        if let Some(agent) = found(agents.get_by_name(given).await)? {
            return Ok(agent);
        }
        if let Ok(id) = given.parse::<AgentId>()
            && let Some(agent) = found(agents.get(id).await)?
        {
            return Ok(agent);
        }
        let (names, total) = agents.names(NAMES_LISTED_MAX as u64).await?;
        Err(AdminFault::not_found(format!("no agent `{}`", shown(given)))
            .with_help(known_of("agents", &names, total)))
    }

    /// The agent's member of this name or id.
    pub(super) async fn find_member(&self, agent: &Agent, given: &str) -> Result<Member, AdminFault> {
        let members = self.store.members();
        if let Some(member) = found(members.find(agent.id, given).await)? {
            return Ok(member);
        }
        if let Ok(id) = given.parse::<MemberId>()
            && let Some(member) = found(members.get(id).await)?.filter(|member| member.agent_id == agent.id)
        {
            return Ok(member);
        }
        let (names, total) = members.names(agent.id, NAMES_LISTED_MAX as u64).await?;
        Err(AdminFault::not_found(format!("no member `{}` of agent `{}`", shown(given), agent.name))
            .with_help(known_of("members", &names, total)))
    }

    /// The agent's stored policy of this key or id.
    pub(super) async fn find_policy(&self, agent: &Agent, given: &str) -> Result<PolicyRow, AdminFault> {
        let policies = self.store.policies();
        if let Some(policy) = found(policies.get_by_key(agent.id, given).await)? {
            return Ok(policy);
        }
        if let Ok(id) = given.parse::<PolicyId>()
            && let Some(policy) = found(policies.get(agent.id, id).await)?
        {
            return Ok(policy);
        }
        let (keys, total) = policies.keys(agent.id, NAMES_LISTED_MAX as u64).await?;
        Err(AdminFault::not_found(format!("agent `{}` stores no policy `{}`", agent.name, shown(given)))
            .with_help(known_of("stored policies", &keys, total)))
    }
}

/// The row, or nothing where there is none.
pub(super) fn found<T>(read: Result<T, StoreError>) -> Result<Option<T>, StoreError> {
    match read {
        Ok(row) => Ok(Some(row)),
        Err(StoreError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// A sentence that lists these names.
pub(super) fn known<'a>(what: &str, names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.collect();
    known_of(what, &names, names.len() as u64)
}

fn known_of(what: &str, names: &[impl AsRef<str>], total: u64) -> String {
    let listed: Vec<String> =
        names.iter().take(NAMES_LISTED_MAX).map(|name| format!("`{}`", name.as_ref())).collect();
    match total {
        0 => format!("there are no {what} yet"),
        n if n > NAMES_LISTED_MAX as u64 => format!("there are {n} {what}, among them {}", listed.join(", ")),
        _ => format!("the {what} are {}", listed.join(", ")),
    }
}
