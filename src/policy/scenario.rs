//! A call that somebody made up, for questions, explanations and the policies' own tests.
//!
//! Invariant: it is decided by the very functions that decide real calls, and nothing can be sent
//! with what comes of it: [`Scenario::ask`] lends a question, it never asks for a permit.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use serde_json::Value;
use uuid::Uuid;

use super::bundle::Bundle;
use super::question::Question;
use crate::connector::resource_of;
use crate::model::{
    Agent, AgentId, AgentStatus, CallId, Caller, GroupName, History, KeyId, Member, MemberId, MemberStatus,
    Role, Timestamp, TrustMode,
};

/// Who calls what, when, from where, after what.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// As an agent writes it: `github__create_issue`.
    pub tool: String,
    /// An object, or null for none.
    pub arguments: Value,
    pub agent: AgentId,
    pub agent_name: String,
    pub trust: TrustMode,
    pub member: MemberId,
    pub member_name: String,
    pub role: Role,
    pub groups: BTreeSet<GroupName>,
    pub key: KeyId,
    pub ip: IpAddr,
    pub at: Timestamp,
    pub history: History,
}

impl Scenario {
    /// A call without arguments of this tool at this time, by a plain member of a trusted agent from
    /// the loopback address, with nothing done before.
    pub fn new(tool: &str, at: Timestamp) -> Self {
        Self {
            tool: tool.to_owned(),
            arguments: Value::Null,
            agent: AgentId::from_uuid(Uuid::nil()),
            agent_name: "example".to_owned(),
            trust: TrustMode::Trusted,
            member: MemberId::from_uuid(Uuid::nil()),
            member_name: "someone@example.com".to_owned(),
            role: Role::Member,
            groups: BTreeSet::new(),
            key: KeyId::from_uuid(Uuid::nil()),
            ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
            at,
            history: History::default(),
        }
    }

    /// Puts the scenario to `answer` as a question about the connectors of this bundle.
    ///
    /// # Errors
    /// A sentence, where the bundle knows no such tool.
    pub fn ask<T>(&self, bundle: &Bundle, answer: impl FnOnce(&Question<'_>) -> T) -> Result<T, String> {
        let shown = self.tool.escape_default();
        let (connector, name) =
            bundle.connectors().resolve(&self.tool).map_err(|fault| format!("`{shown}`: {fault}"))?;
        let tool = connector.action(name).ok_or_else(|| {
            format!("`{shown}`: the lock of `{}` has no tool of that name", connector.service)
        })?;
        let resource = resource_of(connector, tool, &self.arguments);
        let caller = self.caller();
        Ok(answer(&Question {
            call: CallId::from_uuid(Uuid::nil()),
            caller: &caller,
            connector,
            tool,
            arguments: &self.arguments,
            resource: &resource,
            history: &self.history,
            now: self.at,
        }))
    }

    /// Who calls.
    pub fn caller(&self) -> Caller {
        let agent = Agent {
            id: self.agent,
            name: self.agent_name.clone(),
            trust: self.trust,
            status: AgentStatus::Active,
            services: BTreeSet::new(),
            rate: None,
            owner: None,
            tags: Vec::new(),
            created_at: self.at,
        };
        let member = Member {
            id: self.member,
            agent_id: self.agent,
            name: self.member_name.clone(),
            role: self.role,
            status: MemberStatus::Approved,
            groups: self.groups.clone(),
            account: None,
            created_at: self.at,
        };
        Caller { agent: Arc::new(agent), member: Arc::new(member), key: self.key, ip: self.ip, session: None }
    }
}
