//! Agents: made, shown, switched off and on, given connectors and limits, deleted.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::views::agent_view;
use super::{Admin, Recorder, checked_name, find_agent, known, random, shown};
use crate::control::request::ServicesChange;
use crate::control::{AdminFault, AdminReply, AdminRequest};
use crate::model::{Agent, AgentId, AgentStatus, RateLimit, ServiceKey, Timestamp, TrustMode};

/// Characters of an agent's name.
const AGENT_NAME_CHARACTERS_MAX: usize = 100;

impl Admin {
    pub(super) async fn on_agents(
        &self,
        change: &Recorder<'_>,
        request: AdminRequest,
    ) -> Result<AdminReply, AdminFault> {
        match request {
            AdminRequest::AgentCreate { name, trust, services, rate } => {
                self.create_agent(change, &name, trust, services, rate).await
            }
            AdminRequest::AgentList {} => self.list_agents().await,
            AdminRequest::AgentShow { agent } => self.show_agent(&agent).await,
            AdminRequest::AgentStatus { agent, status } => {
                self.set_agent_status(change, &agent, status).await
            }
            AdminRequest::AgentServices { agent, services } => {
                self.set_agent_services(change, &agent, &services).await
            }
            AdminRequest::AgentRate { agent, rate } => self.set_agent_rate(change, &agent, rate).await,
            AdminRequest::AgentDelete { agent } => self.delete_agent(change, &agent).await,
            _ => Err(AdminFault::invalid("this request is not about agents")),
        }
    }

    async fn create_agent(
        &self,
        change: &Recorder<'_>,
        name: &str,
        trust: TrustMode,
        services: BTreeSet<ServiceKey>,
        rate: Option<RateLimit>,
    ) -> Result<AdminReply, AdminFault> {
        checked_name("an agent", name, AGENT_NAME_CHARACTERS_MAX)?;
        checked_rate(rate)?;
        self.check_services(services.iter())?;
        let now = Timestamp::now();
        let agent = Agent {
            id: AgentId::mint(now, random()?),
            name: name.to_owned(),
            trust,
            status: AgentStatus::Active,
            services,
            rate,
            owner: None,
            tags: Vec::new(),
            created_at: now,
        };
        if self.directory().await?.agents.iter().any(|other| other.name == name) {
            return Err(AdminFault::new(
                crate::control::FaultKind::Conflict,
                format!("the agent `{}` exists already", shown(name)),
            )
            .with_help("choose another name, or look at it with `wicket agent show`"));
        }
        let act = Box::pin(async { Ok(self.store.agents().create(&agent).await?) });
        change.made(name, Value::Null, json!(agent), act).await?;
        self.show_agent(name).await
    }

    async fn list_agents(&self) -> Result<AdminReply, AdminFault> {
        let directory = self.directory().await?;
        let mut views = Vec::with_capacity(directory.agents.len());
        for agent in &directory.agents {
            views.push(agent_view(&directory, agent, &self.store.groups().list(agent.id).await?));
        }
        views.sort_by(|a, b| a.agent.name.cmp(&b.agent.name));
        Ok(AdminReply::Agents(views))
    }

    pub(super) async fn show_agent(&self, given: &str) -> Result<AdminReply, AdminFault> {
        let directory = self.directory().await?;
        let agent = find_agent(&directory, given)?;
        let groups = self.store.groups().list(agent.id).await?;
        Ok(AdminReply::Agent(Box::new(agent_view(&directory, agent, &groups))))
    }

    async fn set_agent_status(
        &self,
        change: &Recorder<'_>,
        given: &str,
        status: AgentStatus,
    ) -> Result<AdminReply, AdminFault> {
        let directory = self.directory().await?;
        let agent = find_agent(&directory, given)?;
        let act = Box::pin(async { Ok(self.store.agents().set_status(agent.id, status).await?) });
        change.made(&agent.name, json!(agent.status), json!(status), act).await?;
        self.show_agent(given).await
    }

    async fn set_agent_services(
        &self,
        change: &Recorder<'_>,
        given: &str,
        services: &ServicesChange,
    ) -> Result<AdminReply, AdminFault> {
        self.check_services(services.enabling())?;
        let directory = self.directory().await?;
        let agent = find_agent(&directory, given)?;
        let after = services.apply(&agent.services);
        let act = Box::pin(async { Ok(self.store.agents().set_services(agent.id, &after).await?) });
        change.made(&agent.name, json!(agent.services), json!(after), act).await?;
        self.show_agent(given).await
    }

    async fn set_agent_rate(
        &self,
        change: &Recorder<'_>,
        given: &str,
        rate: Option<RateLimit>,
    ) -> Result<AdminReply, AdminFault> {
        checked_rate(rate)?;
        let directory = self.directory().await?;
        let agent = find_agent(&directory, given)?;
        let act = Box::pin(async { Ok(self.store.agents().set_rate(agent.id, rate).await?) });
        change.made(&agent.name, json!(agent.rate), json!(rate), act).await?;
        self.show_agent(given).await
    }

    async fn delete_agent(&self, change: &Recorder<'_>, given: &str) -> Result<AdminReply, AdminFault> {
        let directory = self.directory().await?;
        let agent = find_agent(&directory, given)?;
        let groups = self.store.groups().list(agent.id).await?;
        let before = agent_view(&directory, agent, &groups);
        let act = Box::pin(async { Ok(self.store.agents().delete(agent.id).await?) });
        change.made(&agent.name, json!(before), Value::Null, act).await?;
        Ok(AdminReply::Gone(format!(
            "deleted agent `{}` with {} members; their keys answer 401 from now on",
            agent.name,
            before.members.len()
        )))
    }

    /// Refuses connectors that no file describes. Where the files do not load, nobody knows, and a
    /// name without a file opens nothing.
    fn check_services<'a>(
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
