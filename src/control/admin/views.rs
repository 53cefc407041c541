//! Rows put together as replies show them.

use std::collections::BTreeMap;

use super::{Admin, AdminFault};
use crate::control::reply::{AgentView, GroupView, KeyView, MemberView};
use crate::model::{Agent, Member};
use crate::store::{Group, KeyRow};

pub(super) fn key_view(row: &KeyRow, member: &Member) -> KeyView {
    KeyView {
        id: row.id,
        member_id: row.member_id,
        member: member.name.clone(),
        display_suffix: row.display_suffix.clone(),
        created_at: row.created_at,
        last_used_at: row.last_used_at,
        revoked_at: row.revoked_at,
        rate: row.rate,
    }
}

pub(super) fn group_view(members: &[Member], group: &Group) -> GroupView {
    let named = members.iter().filter(|member| group.members.contains(&member.id));
    let mut members: Vec<String> = named.map(|member| member.name.clone()).collect();
    members.sort();
    GroupView { name: group.name.clone(), members }
}

impl Admin {
    /// The agent's members with their keys that work, by name.
    pub(super) async fn member_views(&self, agent: &Agent) -> Result<Vec<MemberView>, AdminFault> {
        let members = self.store.members().list(agent.id).await?;
        let mut keys: BTreeMap<_, Vec<KeyRow>> = BTreeMap::new();
        for key in self.store.keys().live_of_agent(agent.id).await? {
            keys.entry(key.member_id).or_default().push(key);
        }
        let view = |member: Member| {
            let rows = keys.remove(&member.id).unwrap_or_default();
            MemberView { keys: rows.iter().map(|row| key_view(row, &member)).collect(), member }
        };
        Ok(members.into_iter().map(view).collect())
    }

    pub(super) async fn agent_view(&self, agent: &Agent) -> Result<AgentView, AdminFault> {
        let groups = self.store.groups().list(agent.id).await?;
        Ok(AgentView {
            agent: agent.clone(),
            members: self.member_views(agent).await?,
            groups: groups.into_iter().map(|group| group.name).collect(),
        })
    }
}
