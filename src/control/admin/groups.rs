//! Groups of an agent's members, which policies name as `Wicket::Group::"<name>"`.

use serde_json::{Value, json};

use super::members::target;
use super::views::group_view;
use super::{Admin, Changing};
use crate::control::reply::GroupView;
use crate::control::{AdminFault, AdminReply, AdminRequest, Operator};
use crate::model::{Agent, GroupName, Member, Timestamp};
use crate::store::{Group, StoreError};

impl Admin {
    /// Makes an empty group.
    ///
    /// # Errors
    /// `Conflict` where there is one of this name, or too many.
    pub async fn create_group(
        &self,
        operator: Operator,
        agent: &Agent,
        name: &GroupName,
    ) -> Result<Timestamp, AdminFault> {
        let Changing { recorder, _one_at_a_time } = self.change(operator, "group.create").await;
        let now = Timestamp::now();
        let act = Box::pin(async { Ok(self.store.groups().create(agent.id, name, now).await?) });
        recorder
            .about(agent.id)
            .made(&target(&agent.name, name.as_str()), Value::Null, json!(name), act)
            .await?;
        Ok(now)
    }

    /// Puts a member into a group, or takes it out.
    ///
    /// # Errors
    /// `NotFound`: the agent has no such group, or the group no such member to take out.
    pub async fn change_group(
        &self,
        operator: Operator,
        agent: &Agent,
        name: &GroupName,
        member: &Member,
        joins: bool,
    ) -> Result<(), AdminFault> {
        let what = if joins { "group.add" } else { "group.remove" };
        let Changing { recorder, _one_at_a_time } = self.change(operator, what).await;
        let groups = self.store.groups();
        let was = groups.holds(agent.id, name, member.id).await?;
        let act = Box::pin(async {
            if joins {
                groups.add_member(agent.id, name, member.id).await?;
            } else {
                groups.remove_member(agent.id, name, member.id).await?;
            }
            Ok(())
        });
        let place = |holds: bool| if holds { json!(member.name) } else { Value::Null };
        recorder
            .about(agent.id)
            .made(&target(&agent.name, name.as_str()), place(was), place(joins), act)
            .await
    }

    /// Deletes a group; says how many members it had, which stay members of the agent.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn delete_group(
        &self,
        operator: Operator,
        agent: &Agent,
        name: &GroupName,
    ) -> Result<usize, AdminFault> {
        let Changing { recorder, _one_at_a_time } = self.change(operator, "group.delete").await;
        let before = self.store.groups().get(agent.id, name).await?;
        let act = Box::pin(async { Ok(self.store.groups().delete(agent.id, name).await?) });
        let shown = json!({ "name": name, "members": before.members.len() });
        recorder.about(agent.id).made(&target(&agent.name, name.as_str()), shown, Value::Null, act).await?;
        Ok(before.members.len())
    }

    pub(super) async fn on_groups(
        &self,
        operator: Operator,
        request: AdminRequest,
    ) -> Result<AdminReply, AdminFault> {
        match request {
            AdminRequest::GroupCreate { agent, group } => {
                let agent = self.find_agent(&agent).await?;
                self.create_group(operator, &agent, &group).await?;
                Ok(AdminReply::Group(GroupView { name: group, members: Vec::new() }))
            }
            AdminRequest::GroupList { agent } => {
                let agent = self.find_agent(&agent).await?;
                let members = self.store.members().list(agent.id).await?;
                let groups = self.store.groups().list(agent.id).await?;
                Ok(AdminReply::Groups(groups.iter().map(|group| group_view(&members, group)).collect()))
            }
            AdminRequest::GroupAdd { agent, group, member } => {
                self.change_named_group(operator, &agent, &group, &member, true).await
            }
            AdminRequest::GroupRemove { agent, group, member } => {
                self.change_named_group(operator, &agent, &group, &member, false).await
            }
            AdminRequest::GroupDelete { agent, group } => {
                let agent = self.find_agent(&agent).await?;
                self.find_group(&agent, &group).await?;
                let members = self.delete_group(operator, &agent, &group).await?;
                Ok(AdminReply::Gone(format!(
                    "deleted group `{group}` of agent `{}`; its {members} members stay members of the agent",
                    agent.name
                )))
            }
            _ => Err(AdminFault::invalid("this request is not about groups")),
        }
    }

    async fn change_named_group(
        &self,
        operator: Operator,
        agent: &str,
        name: &GroupName,
        member: &str,
        joins: bool,
    ) -> Result<AdminReply, AdminFault> {
        let agent = self.find_agent(agent).await?;
        self.find_group(&agent, name).await?;
        let member = self.find_member(&agent, member).await?;
        self.change_group(operator, &agent, name, &member, joins).await?;
        let members = self.store.members().list(agent.id).await?;
        Ok(AdminReply::Group(group_view(&members, &self.find_group(&agent, name).await?)))
    }

    async fn find_group(&self, agent: &Agent, name: &GroupName) -> Result<Group, AdminFault> {
        self.store.groups().get(agent.id, name).await.map_err(|error| match error {
            StoreError::NotFound { .. } => {
                AdminFault::not_found(format!("no group `{name}` of agent `{}`", agent.name))
                    .with_help("`wicket group create` makes one")
            }
            error => error.into(),
        })
    }
}
