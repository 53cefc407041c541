//! What simulations need of the store and of the set in force.

use std::sync::Arc;

use super::policies::{text_of, unfit, unfit_all};
use super::{Admin, AdminFault};
use crate::control::AdminReply;
use crate::control::policies::PolicyDraft;
use crate::control::simulate::draft::{Draft, DraftFault, NewPolicy};
use crate::control::simulate::{AgentFacts, Standing};
use crate::model::Agent;
use crate::policy::Bundle;
use crate::policy::structured::Fault;

impl Admin {
    /// The facts of one agent, or of all.
    pub(super) async fn grounds(&self, agent: Option<&str>) -> Result<AdminReply, AdminFault> {
        let agents = match agent {
            Some(agent) => vec![self.find_agent(agent).await?],
            None => self.store.agents().list().await?,
        };
        let mut facts = Vec::with_capacity(agents.len());
        for agent in &agents {
            facts.push(self.simulation_facts(agent).await?);
        }
        Ok(AdminReply::SimulationGround(facts))
    }

    /// What the store knows of an agent that a simulation needs.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn simulation_facts(&self, agent: &Agent) -> Result<AgentFacts, AdminFault> {
        let policies = self.store.policies().of_agent(agent.id).await?;
        let members = self.store.members().list(agent.id).await?;
        let members = members.into_iter();
        Ok(AgentFacts {
            id: agent.id,
            name: agent.name.clone(),
            trust: agent.trust,
            policies: policies.iter().map(crate::store::PolicyRow::stored).collect(),
            members: members
                .map(|member| (member.id, Standing { role: member.role, groups: member.groups }))
                .collect(),
        })
    }

    /// The files' set that the agents' sets stand on.
    ///
    /// # Errors
    /// The files do not load.
    pub fn base_set(&self) -> Result<Arc<Bundle>, AdminFault> {
        self.live.bundle().map_err(|diagnostics| {
            AdminFault::rejected("the policies and connectors of the files do not load", diagnostics)
                .with_help("mend the files first: `wicket check` tries them")
        })
    }

    /// A draft as it was given, with what would be asked of it if it were saved.
    ///
    /// # Errors
    /// Every field that is wrong.
    pub async fn drafted(&self, agent: &Agent, draft: &PolicyDraft) -> Result<Draft, AdminFault> {
        if draft.version.is_some() {
            return Err(unfit("version", "a draft has none"));
        }
        let member = match draft.policy_id {
            None => self.whose(agent, draft.member_id).await?,
            // Whose it is never changes.
            Some(_) => None,
        };
        let text = text_of(draft)?;
        Ok(Draft::Policy(Box::new(NewPolicy { text, replaces: draft.policy_id, member })))
    }
}

impl From<DraftFault> for AdminFault {
    fn from(fault: DraftFault) -> Self {
        match fault {
            DraftFault::NotStored(id) => Self::not_found(format!("the agent stores no policy `{id}`"))
                .with_help("`wicket policy list` names those that it stores"),
            DraftFault::NoKey => unfit("name", "no key can be made of it"),
            DraftFault::DoesNotLoad(faults) => {
                let fault = |detail| Fault { field: "policy".to_owned(), detail, help: None };
                unfit_all(faults.into_iter().map(fault).collect())
            }
        }
    }
}
