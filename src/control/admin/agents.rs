//! Agents: made, shown, edited, switched off and on, given connectors and limits, deleted.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Admin, Changing, checked_name, known, random, shown};
use crate::control::request::ServicesChange;
use crate::control::{AdminFault, AdminReply, AdminRequest, FaultKind, Operator};
use crate::model::{
    Account, Agent, AgentId, AgentStatus, Member, MemberId, MemberStatus, RateLimit, Role, ServiceKey,
    Timestamp, TrustMode,
};
use crate::store::{AgentEdit, StoreError};

/// Characters of an agent's name.
pub const AGENT_NAME_CHARACTERS_MAX: usize = 100;
/// Tags of one agent.
pub const AGENT_TAGS_MAX: usize = 32;
/// Characters of a tag.
pub const AGENT_TAG_CHARACTERS_MAX: usize = 40;
/// Agents that one account may own.
pub const AGENTS_OWNED_MAX: u64 = 1_000;

/// Whether an agent is still as an asker saw it.
pub type Unchanged<'a> = &'a (dyn Fn(&Agent) -> bool + Send + Sync);

/// An agent to be made.
#[derive(Debug, Clone, PartialEq)]
pub struct NewAgent {
    pub name: String,
    pub trust: TrustMode,
    pub tags: Vec<String>,
    pub services: BTreeSet<ServiceKey>,
    pub rate: Option<RateLimit>,
}

impl Admin {
    /// Makes an agent. Where an account makes it, that owns it and becomes its first member, approved.
    ///
    /// # Errors
    /// What is wrong with name, tags, connectors or rate; `Conflict` where the name is taken.
    pub async fn create_agent(
        &self,
        operator: Operator,
        new: NewAgent,
        owner: Option<&Account>,
    ) -> Result<Agent, AdminFault> {
        check_name(&new.name)?;
        checked_rate(new.rate)?;
        check_tags(&new.tags)?;
        self.check_services(new.services.iter())?;
        let Changing { recorder, _one_at_a_time } = self.change(operator, "agent.create").await;
        if super::found(self.store.agents().get_by_name(&new.name).await)?.is_some() {
            return Err(AdminFault::new(
                FaultKind::Conflict,
                format!("the agent `{}` exists already", shown(&new.name)),
            )
            .with_help("choose another name: names of agents are unique on a gate"));
        }
        let now = Timestamp::now();
        let agent = Agent {
            id: AgentId::mint(now, random()?),
            name: new.name,
            trust: new.trust,
            status: AgentStatus::Active,
            services: new.services,
            rate: new.rate,
            owner: owner.map(|account| account.id),
            tags: new.tags,
            created_at: now,
        };
        let first = match owner {
            Some(account) => Some(self.first_member_of(&agent, account).await?),
            None => None,
        };
        let (seeds, _kept) =
            self.seeds(&agent, &agent.services, first.as_slice(), &recorder.operator).await?;
        let agents = self.store.agents();
        let act = Box::pin(async { Ok(agents.create_seeding(&agent, first.as_ref(), &seeds).await?) });
        recorder.about(agent.id).made(&agent.name, Value::Null, json!(agent), act).await?;
        Ok(agent)
    }

    async fn first_member_of(&self, agent: &Agent, account: &Account) -> Result<Member, AdminFault> {
        if self.store.agents().count_owned(account.id).await? >= AGENTS_OWNED_MAX {
            let message = format!("the account owns {AGENTS_OWNED_MAX} agents, which is as many as it may");
            return Err(AdminFault::new(FaultKind::Conflict, message).with_help("delete one first"));
        }
        Ok(Member {
            id: MemberId::mint(agent.created_at, random()?),
            agent_id: agent.id,
            name: account.email.as_str().to_owned(),
            role: Role::Owner,
            status: MemberStatus::Approved,
            groups: BTreeSet::new(),
            account: Some(account.id),
            created_at: agent.created_at,
        })
    }

    /// Changes an agent as `edit` says of the agent as it is now, if it still is as the asker saw it. `what`
    /// is the change's name in the journal, which then has that part of the agent before and after.
    ///
    /// # Errors
    /// What is wrong with the new values; `Outdated` where somebody else was faster.
    pub async fn edit_agent(
        &self,
        operator: Operator,
        what: &'static str,
        id: AgentId,
        edit: impl FnOnce(&Agent) -> AgentEdit + Send,
        unchanged: Unchanged<'_>,
    ) -> Result<Agent, AdminFault> {
        let Changing { recorder, _one_at_a_time } = self.change(operator, what).await;
        let before = self.store.agents().get(id).await?;
        let edit = edit(&before);
        self.check_edit(&edit)?;
        if !unchanged(&before) {
            return Err(StoreError::Outdated { noun: "agent" }.into());
        }
        let after = edit.applied(&before);
        let (was, becomes) = (part(what, &before), part(what, &after));
        let enabled: Vec<&ServiceKey> = after.services.difference(&before.services).collect();
        let members = if enabled.is_empty() { Vec::new() } else { self.members_to_seed(&before).await? };
        let (seeds, _kept) = self.seeds(&before, enabled, &members, &recorder.operator).await?;
        let agents = self.store.agents();
        let act = Box::pin(async { Ok(agents.edit_seeding(id, &edit, unchanged, &seeds).await?.1) });
        recorder.about(before.id).made(&before.name, was, becomes, act).await
    }

    fn check_edit(&self, edit: &AgentEdit) -> Result<(), AdminFault> {
        if let Some(name) = &edit.name {
            check_name(name)?;
        }
        if let Some(tags) = &edit.tags {
            check_tags(tags)?;
        }
        checked_rate(edit.rate.flatten())?;
        Ok(())
    }

    /// Deletes the agent with its members, groups, keys and invites, if it still is as the asker saw it.
    /// Says how many members it had.
    ///
    /// # Errors
    /// `NotFound`; `Outdated` where somebody else was faster.
    pub async fn delete_agent(
        &self,
        operator: Operator,
        id: AgentId,
        unchanged: Unchanged<'_>,
    ) -> Result<(Agent, u64), AdminFault> {
        let Changing { recorder, _one_at_a_time } = self.change(operator, "agent.delete").await;
        let before = self.store.agents().get(id).await?;
        let (_, members) = self.store.members().names(id, 0).await?;
        let act = Box::pin(async { Ok(self.store.agents().delete_if(id, unchanged).await?) });
        let shown = json!({ "agent": before, "members": members });
        recorder.about(before.id).made(&before.name, shown, Value::Null, act).await?;
        Ok((before, members))
    }

    /// Refuses connectors that no file describes. Where the files do not load, nobody knows, and a
    /// name without a file opens nothing.
    ///
    /// # Errors
    /// `NotFound` names those that there are.
    pub fn check_services<'a>(
        &self,
        mut services: impl Iterator<Item = &'a ServiceKey>,
    ) -> Result<(), AdminFault> {
        let Ok(bundle) = self.live.bundle() else { return Ok(()) };
        let connectors = bundle.connectors();
        let unknown = services.find(|service| connectors.get(service.as_str()).is_none());
        unknown.map_or(Ok(()), |service| {
            let names = connectors.iter().map(|connector| connector.service.as_str());
            Err(AdminFault::not_found(format!("no connector `{service}`"))
                .with_help(known("connectors", names)))
        })
    }

    pub(super) async fn on_agents(
        &self,
        operator: Operator,
        request: AdminRequest,
    ) -> Result<AdminReply, AdminFault> {
        let given = match request {
            AdminRequest::AgentCreate { name, trust, services, rate } => {
                let new = NewAgent { name: name.clone(), trust, tags: Vec::new(), services, rate };
                self.create_agent(operator, new, None).await?;
                name
            }
            AdminRequest::AgentList {} => return self.list_agents().await,
            AdminRequest::AgentShow { agent } => agent,
            AdminRequest::AgentStatus { agent, status } => {
                let edit = |_: &Agent| AgentEdit { status: Some(status), ..AgentEdit::default() };
                self.edit_named(operator, "agent.status", &agent, edit).await?
            }
            AdminRequest::AgentServices { agent, services } => {
                self.check_services(services.enabling())?;
                let edit = |before: &Agent| edited_services(&services, before);
                self.edit_named(operator, "agent.services", &agent, edit).await?
            }
            AdminRequest::AgentRate { agent, rate } => {
                let edit = |_: &Agent| AgentEdit { rate: Some(rate), ..AgentEdit::default() };
                self.edit_named(operator, "agent.rate", &agent, edit).await?
            }
            AdminRequest::AgentDelete { agent } => {
                let id = self.find_agent(&agent).await?.id;
                let (agent, members) = self.delete_agent(operator, id, &|_| true).await?;
                return Ok(AdminReply::Gone(format!(
                    "deleted agent `{}` with {members} members; their keys answer 401 from now on",
                    agent.name
                )));
            }
            _ => return Err(AdminFault::invalid("this request is not about agents")),
        };
        let agent = self.find_agent(&given).await?;
        Ok(AdminReply::Agent(Box::new(self.agent_view(&agent).await?)))
    }

    async fn edit_named(
        &self,
        operator: Operator,
        what: &'static str,
        given: &str,
        edit: impl FnOnce(&Agent) -> AgentEdit + Send,
    ) -> Result<String, AdminFault> {
        let id = self.find_agent(given).await?.id;
        self.edit_agent(operator, what, id, edit, &|_| true).await?;
        Ok(id.to_string())
    }

    async fn list_agents(&self) -> Result<AdminReply, AdminFault> {
        let mut views = Vec::new();
        for agent in self.store.agents().list().await? {
            views.push(self.agent_view(&agent).await?);
        }
        Ok(AdminReply::Agents(views))
    }
}

fn edited_services(change: &ServicesChange, before: &Agent) -> AgentEdit {
    AgentEdit { services: Some(change.apply(&before.services)), ..AgentEdit::default() }
}

/// What of the agent a change of this name is about, for the journal.
fn part(what: &str, agent: &Agent) -> Value {
    match what {
        "agent.status" => json!(agent.status),
        "agent.services" => json!(agent.services),
        "agent.rate" => json!(agent.rate),
        _ => json!({ "name": agent.name, "tags": agent.tags }),
    }
}

/// Whether an agent may be called so.
///
/// # Errors
/// The rule that is broken.
pub fn check_name(name: &str) -> Result<(), AdminFault> {
    checked_name("an agent", name, AGENT_NAME_CHARACTERS_MAX)
}

/// Whether an agent may have these tags.
///
/// # Errors
/// The rule that is broken.
pub fn check_tags(tags: &[String]) -> Result<(), AdminFault> {
    if tags.len() > AGENT_TAGS_MAX {
        return Err(AdminFault::invalid(format!("{} tags are too many", tags.len()))
            .with_help(format!("at most {AGENT_TAGS_MAX}")));
    }
    let mut seen = BTreeSet::new();
    for tag in tags {
        checked_name("a tag", tag, AGENT_TAG_CHARACTERS_MAX)?;
        if !seen.insert(tag.as_str()) {
            return Err(AdminFault::invalid(format!("the tag `{}` stands there twice", shown(tag))));
        }
    }
    Ok(())
}

pub(super) fn checked_rate(rate: Option<RateLimit>) -> Result<(), AdminFault> {
    match rate {
        Some(rate) if rate.burst == 0 || !rate.per_second.is_finite() || rate.per_second <= 0.0 => {
            Err(AdminFault::invalid(format!(
                "a rate of {} at once and {} a second would let nothing through or everything",
                rate.burst, rate.per_second
            ))
            .with_help(
                "a burst of at least 1 and a refill above 0; to stop an agent use `wicket agent disable`",
            ))
        }
        _ => Ok(()),
    }
}
