//! Groups of an agent's members, which policies name as `Wicket::Group::"<name>"`.

use serde_json::{Value, json};

use super::members::target;
use super::views::group_view;
use super::{Admin, Recorder, find_agent, find_member};
use crate::control::reply::GroupView;
use crate::control::{AdminFault, AdminReply, AdminRequest};
use crate::model::{Agent, GroupName, Timestamp};
use crate::store::{Directory, Group};

impl Admin {
    pub(super) async fn on_groups(
        &self,
        change: &Recorder<'_>,
        request: AdminRequest,
    ) -> Result<AdminReply, AdminFault> {
        match request {
            AdminRequest::GroupCreate { agent, group } => self.create_group(change, &agent, &group).await,
            AdminRequest::GroupList { agent } => {
                let directory = self.directory().await?;
                let agent = find_agent(&directory, &agent)?;
                let groups = self.store.groups().list(agent.id).await?;
                Ok(AdminReply::Groups(groups.iter().map(|group| group_view(&directory, group)).collect()))
            }
            AdminRequest::GroupAdd { agent, group, member } => {
                self.change_group(change, &agent, &group, &member, true).await
            }
            AdminRequest::GroupRemove { agent, group, member } => {
                self.change_group(change, &agent, &group, &member, false).await
            }
            AdminRequest::GroupDelete { agent, group } => self.delete_group(change, &agent, &group).await,
            _ => Err(AdminFault::invalid("this request is not about groups")),
        }
    }

    async fn create_group(
        &self,
        change: &Recorder<'_>,
        agent: &str,
        name: &GroupName,
    ) -> Result<AdminReply, AdminFault> {
        let directory = self.directory().await?;
        let agent = find_agent(&directory, agent)?;
        let act = Box::pin(async { Ok(self.store.groups().create(agent.id, name, Timestamp::now()).await?) });
        change.made(&target(&agent.name, name.as_str()), Value::Null, json!(name), act).await?;
        Ok(AdminReply::Group(GroupView { name: name.clone(), members: Vec::new() }))
    }

    async fn change_group(
        &self,
        change: &Recorder<'_>,
        agent: &str,
        name: &GroupName,
        member: &str,
        joins: bool,
    ) -> Result<AdminReply, AdminFault> {
        let directory = self.directory().await?;
        let agent = find_agent(&directory, agent)?;
        let group = self.find_group(agent, name).await?;
        let member = find_member(&directory, agent, member)?;
        let before = group_view(&directory, &group);
        let mut after = before.clone();
        after.members.retain(|name| *name != member.name);
        if joins {
            after.members.push(member.name.clone());
            after.members.sort();
        }
        let act = Box::pin(async {
            let groups = self.store.groups();
            if joins {
                groups.add_member(agent.id, name, member.id).await?;
            } else {
                groups.remove_member(agent.id, name, member.id).await?;
            }
            Ok(())
        });
        let target = target(&agent.name, name.as_str());
        change.made(&target, json!(before.members), json!(after.members), act).await?;
        Ok(AdminReply::Group(after))
    }

    async fn delete_group(
        &self,
        change: &Recorder<'_>,
        agent: &str,
        name: &GroupName,
    ) -> Result<AdminReply, AdminFault> {
        let directory: Directory = self.directory().await?;
        let agent = find_agent(&directory, agent)?;
        let before = group_view(&directory, &self.find_group(agent, name).await?);
        let act = Box::pin(async { Ok(self.store.groups().delete(agent.id, name).await?) });
        change.made(&target(&agent.name, name.as_str()), json!(before), Value::Null, act).await?;
        Ok(AdminReply::Gone(format!(
            "deleted group `{name}` of agent `{}`; its {} members stay members of the agent",
            agent.name,
            before.members.len()
        )))
    }

    async fn find_group(&self, agent: &Agent, name: &GroupName) -> Result<Group, AdminFault> {
        let groups = self.store.groups().list(agent.id).await?;
        groups.into_iter().find(|group| group.name == *name).ok_or_else(|| {
            AdminFault::not_found(format!("no group `{name}` of agent `{}`", agent.name))
                .with_help("`wicket group create` makes one")
        })
    }
}
