//! What a call has in common with others, as it stands in the small tables.

use sea_orm::Set;

use super::AuditRow;
use super::row::{agent, lane, member, number_of, policy, ruling, tool};
use crate::model::AgentId;
use crate::store::StoreError;
use crate::store::column::{id_text, json};

/// The numbers by which a call's row names what it has in common with others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Numbers {
    pub lane: i64,
    pub member: i64,
    pub ruling: i64,
    pub agent: i64,
    /// Of the agent under its name.
    pub named: i64,
    pub person: i64,
    pub tool: i64,
}

/// The number of an agent.
pub(in crate::store) fn agent_number(agent: AgentId) -> i64 {
    number_of(&[agent.as_uuid().as_bytes()])
}

/// The number of a policy as it decides calls of a service.
pub(super) fn policy_number(service: &str, key: &str) -> i64 {
    number_of(&[service.as_bytes(), key.as_bytes()])
}

impl Numbers {
    pub fn of(row: &AuditRow) -> Result<Self, StoreError> {
        let agent_id = row.agent_id.as_uuid().as_bytes().as_slice();
        let member_id = row.member_id.as_uuid().as_bytes().as_slice();
        let allowed: &[u8] = if row.allowed { b"ALLOW" } else { b"DENY" };
        let (service, tool) = (row.service.as_bytes(), row.tool.as_bytes());
        let name = row.agent_name.as_bytes();
        let policies = policies(row)?;
        let message = row.deny_message.as_deref().map(str::as_bytes);
        let says: &[u8] = if message.is_some() { b"says" } else { b"" };
        let shadow = shadow(row)?;
        let mut ruling = vec![row.reason.as_bytes(), says, message.unwrap_or_default(), policies.as_bytes()];
        ruling.extend(shadow.as_deref().map(str::as_bytes));
        Ok(Self {
            lane: number_of(&[agent_id, name, service, tool, row.action.as_bytes(), allowed]),
            member: number_of(&[member_id, row.member_name.as_bytes(), row.principal.as_bytes()]),
            ruling: number_of(&ruling),
            agent: agent_number(row.agent_id),
            named: number_of(&[agent_id, name]),
            person: number_of(&[member_id]),
            tool: number_of(&[service, tool]),
        })
    }

    pub fn agent(&self, row: &AuditRow) -> agent::ActiveModel {
        agent::ActiveModel {
            id: Set(self.named),
            agent: Set(self.agent),
            agent_id: Set(id_text(row.agent_id.as_uuid())),
            agent_name: Set(row.agent_name.clone()),
            agent_folded: Set(row.agent_name.to_lowercase()),
            calls: Set(0),
            denied: Set(0),
        }
    }

    pub fn tool(&self, row: &AuditRow) -> tool::ActiveModel {
        tool::ActiveModel {
            id: Set(self.tool),
            service: Set(row.service.clone()),
            tool: Set(row.tool.clone()),
            tool_folded: Set(row.tool.to_lowercase()),
            calls: Set(0),
        }
    }

    pub fn lane(&self, row: &AuditRow) -> lane::ActiveModel {
        lane::ActiveModel {
            id: Set(self.lane),
            agent: Set(self.agent),
            named: Set(self.named),
            tool: Set(self.tool),
            action: Set(row.action.clone()),
            allowed: Set(row.allowed),
            calls: Set(0),
            last_at: Set(row.at.as_millis()),
        }
    }

    pub fn member(&self, row: &AuditRow) -> member::ActiveModel {
        member::ActiveModel {
            id: Set(self.member),
            agent: Set(self.agent),
            person: Set(self.person),
            agent_id: Set(id_text(row.agent_id.as_uuid())),
            member_id: Set(id_text(row.member_id.as_uuid())),
            member_name: Set(row.member_name.clone()),
            member_folded: Set(row.member_name.to_lowercase()),
            principal: Set(row.principal.clone()),
            calls: Set(0),
            last_at: Set(row.at.as_millis()),
        }
    }

    pub fn ruling(&self, row: &AuditRow) -> Result<ruling::ActiveModel, StoreError> {
        Ok(ruling::ActiveModel {
            id: Set(self.ruling),
            reason: Set(row.reason.clone()),
            deny_message: Set(row.deny_message.clone()),
            policies: Set(policies(row)?),
            shadow: Set(shadow(row)?),
            calls: Set(0),
            last_at: Set(row.at.as_millis()),
        })
    }
}

/// The policies of a row, as statistics name them.
pub(super) fn policy_models(row: &AuditRow) -> impl Iterator<Item = (i64, policy::ActiveModel)> {
    row.policies.iter().map(|used| {
        let id = policy_number(&row.service, used.key.as_str());
        let model = policy::ActiveModel {
            id: Set(id),
            service: Set(row.service.clone()),
            policy_key: Set(used.key.to_string()),
            name: Set(used.name.to_string()),
        };
        (id, model)
    })
}

fn shadow(row: &AuditRow) -> Result<Option<String>, StoreError> {
    row.shadow.as_ref().map(|shadow| json("audit_ruling.shadow", shadow)).transpose()
}

fn policies(row: &AuditRow) -> Result<String, StoreError> {
    json("audit_ruling.policies", &row.policies)
}
