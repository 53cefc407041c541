//! Rows put together as replies show them.

use crate::control::reply::{AgentView, GroupView, KeyView, MemberView};
use crate::model::{Agent, Member};
use crate::store::{Directory, Group, KeyRow};

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

pub(super) fn member_view(directory: &Directory, member: &Member) -> MemberView {
    let keys = directory.keys.iter().filter(|key| key.member_id == member.id);
    MemberView { member: member.clone(), keys: keys.map(|key| key_view(key, member)).collect() }
}

pub(super) fn member_views(directory: &Directory, agent: &Agent) -> Vec<MemberView> {
    let members = directory.members.iter().filter(|member| member.agent_id == agent.id);
    let mut views: Vec<_> = members.map(|member| member_view(directory, member)).collect();
    views.sort_by(|a, b| a.member.name.cmp(&b.member.name));
    views
}

pub(super) fn agent_view(directory: &Directory, agent: &Agent, groups: &[Group]) -> AgentView {
    AgentView {
        agent: agent.clone(),
        members: member_views(directory, agent),
        groups: groups.iter().map(|group| group.name.clone()).collect(),
    }
}

pub(super) fn group_view(directory: &Directory, group: &Group) -> GroupView {
    let named = directory.members.iter().filter(|member| group.members.contains(&member.id));
    let mut members: Vec<String> = named.map(|member| member.name.clone()).collect();
    members.sort();
    GroupView { name: group.name.clone(), members }
}
