//! `wicket run --first-run`: a fresh gate gets an agent with a member and a key; a later run keeps them.
//!
//! Invariant: it goes through the same requests as an operator would, so that each step is checked and
//! recorded like any other; and it never shows a key that it did not mint in this very run.

use std::collections::BTreeSet;

use super::Admin;
use crate::control::reply::{AgentView, MemberView, MintedKey};
use crate::control::{AdminFault, AdminReply, AdminRequest, Operator};
use crate::model::{MemberStatus, Role, ServiceKey, TrustMode};

/// The name of the agent that a fresh gate gets.
pub const FIRST_AGENT: &str = "my-first-agent";
/// The name of its member.
pub const FIRST_MEMBER: &str = "you@localhost";

/// What the first run, or a later one, came to.
#[derive(Debug, Clone, PartialEq)]
pub enum FirstRun {
    /// Agent, member and key were made, or the key replaced: to be shown now.
    Minted(Box<MintedKey>),
    /// There are agents already; nothing was changed. The first one, for a person to recognise.
    Kept(Box<AgentView>),
}

impl Admin {
    /// Sees to it that there is an agent with a key. `new_key` replaces the key of the first agent.
    ///
    /// # Errors
    /// [`AdminFault`] of the step that failed; earlier steps stay, and the next run goes on from there.
    pub async fn first_run(&self, operator: Operator, new_key: bool) -> Result<FirstRun, AdminFault> {
        let agents = match self.perform(operator.clone(), AdminRequest::AgentList {}).await? {
            AdminReply::Agents(agents) => agents,
            _ => Vec::new(),
        };
        let services = self.every_service()?;
        let first = agents.iter().find(|view| view.agent.name == FIRST_AGENT);
        let agent = match (first, agents.first()) {
            // Somebody has set up agents of their own: nothing is made behind their back.
            (None, Some(other)) if !new_key => return Ok(FirstRun::Kept(Box::new(other.clone()))),
            (None, Some(_)) => {
                return Err(AdminFault::not_found(format!(
                    "there is no agent `{FIRST_AGENT}` to give a new key"
                ))
                .with_help("`wicket key rotate AGENT MEMBER` replaces the key of any member"));
            }
            (Some(view), _) => view.clone(),
            (None, None) => self.first_agent(operator.clone(), services).await?,
        };
        let member = match agent.members.iter().find(|view| view.member.name == FIRST_MEMBER) {
            Some(view) => view.clone(),
            None => self.first_member(operator.clone()).await?,
        };
        if !member.keys.is_empty() && !new_key {
            return Ok(FirstRun::Kept(Box::new(agent)));
        }
        let (agent, name) = (FIRST_AGENT.to_owned(), FIRST_MEMBER.to_owned());
        let request = if member.keys.is_empty() {
            AdminRequest::KeyCreate { agent, member: name }
        } else {
            AdminRequest::KeyRotate { agent, member: name }
        };
        match self.perform(operator.clone(), request).await? {
            AdminReply::Minted(minted) => Ok(FirstRun::Minted(minted)),
            _ => Err(AdminFault::invalid("no key was minted")),
        }
    }

    fn every_service(&self) -> Result<BTreeSet<ServiceKey>, AdminFault> {
        let bundle = self.live.bundle().map_err(|diagnostics| {
            AdminFault::rejected("the policies and connectors do not load", diagnostics)
                .with_help("`wicket check` tries them again")
        })?;
        Ok(bundle.connectors().iter().map(|connector| connector.service.clone()).collect())
    }

    async fn first_agent(
        &self,
        operator: Operator,
        services: BTreeSet<ServiceKey>,
    ) -> Result<AgentView, AdminFault> {
        let name = FIRST_AGENT.to_owned();
        let request = AdminRequest::AgentCreate { name, trust: TrustMode::Trusted, services, rate: None };
        match self.perform(operator.clone(), request).await? {
            AdminReply::Agent(view) => Ok(*view),
            _ => Err(AdminFault::invalid("no agent was made")),
        }
    }

    async fn first_member(&self, operator: Operator) -> Result<MemberView, AdminFault> {
        let request = AdminRequest::MemberAdd {
            agent: FIRST_AGENT.to_owned(),
            name: FIRST_MEMBER.to_owned(),
            role: Role::Owner,
            status: MemberStatus::Approved,
        };
        match self.perform(operator.clone(), request).await? {
            AdminReply::Member(member) => Ok(MemberView { member, keys: Vec::new() }),
            _ => Err(AdminFault::invalid("no member was made")),
        }
    }
}
