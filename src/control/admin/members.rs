//! Members: added, approved, rejected, removed.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::views::{member_view, member_views};
use super::{Admin, Recorder, checked_name, find_agent, find_member, random, shown};
use crate::control::{AdminFault, AdminReply, AdminRequest, FaultKind};
use crate::model::{Member, MemberId, MemberStatus, Role, Timestamp};

/// Characters of a member's name: an e-mail address fits (RFC 5321).
const MEMBER_NAME_CHARACTERS_MAX: usize = 254;

impl Admin {
    pub(super) async fn on_members(
        &self,
        change: &Recorder<'_>,
        request: AdminRequest,
    ) -> Result<AdminReply, AdminFault> {
        match request {
            AdminRequest::MemberAdd { agent, name, role, status } => {
                self.add_member(change, &agent, &name, role, status).await
            }
            AdminRequest::MemberList { agent } => {
                let directory = self.directory().await?;
                let agent = find_agent(&directory, &agent)?;
                Ok(AdminReply::Members(member_views(&directory, agent)))
            }
            AdminRequest::MemberStatus { agent, member, status } => {
                self.set_member_status(change, &agent, &member, status).await
            }
            AdminRequest::MemberRemove { agent, member } => self.remove_member(change, &agent, &member).await,
            _ => Err(AdminFault::invalid("this request is not about members")),
        }
    }

    async fn add_member(
        &self,
        change: &Recorder<'_>,
        agent: &str,
        name: &str,
        role: Role,
        status: MemberStatus,
    ) -> Result<AdminReply, AdminFault> {
        checked_name("a member", name, MEMBER_NAME_CHARACTERS_MAX)?;
        let directory = self.directory().await?;
        let agent = find_agent(&directory, agent)?;
        if find_member(&directory, agent, name).is_ok() {
            let message = format!("agent `{}` has a member `{}` already", agent.name, shown(name));
            return Err(AdminFault::new(FaultKind::Conflict, message)
                .with_help("look at `wicket member list`; a further person needs another name"));
        }
        let now = Timestamp::now();
        let member = Member {
            id: MemberId::mint(now, random()?),
            agent_id: agent.id,
            name: name.to_owned(),
            role,
            status,
            groups: BTreeSet::new(),
            account: None,
            created_at: now,
        };
        let act = Box::pin(async { Ok(self.store.members().create(&member).await?) });
        change.made(&target(&agent.name, name), Value::Null, json!(member), act).await?;
        Ok(AdminReply::Member(member))
    }

    async fn set_member_status(
        &self,
        change: &Recorder<'_>,
        agent: &str,
        member: &str,
        status: MemberStatus,
    ) -> Result<AdminReply, AdminFault> {
        let directory = self.directory().await?;
        let agent = find_agent(&directory, agent)?;
        let member = find_member(&directory, agent, member)?;
        let act = Box::pin(async { Ok(self.store.members().set_status(member.id, status).await?) });
        change.made(&target(&agent.name, &member.name), json!(member.status), json!(status), act).await?;
        Ok(AdminReply::Member(Member { status, ..member.clone() }))
    }

    async fn remove_member(
        &self,
        change: &Recorder<'_>,
        agent: &str,
        member: &str,
    ) -> Result<AdminReply, AdminFault> {
        let directory = self.directory().await?;
        let agent = find_agent(&directory, agent)?;
        let member = find_member(&directory, agent, member)?;
        let before = json!(member_view(&directory, member));
        let act = Box::pin(async { Ok(self.store.members().remove(member.id).await?) });
        change.made(&target(&agent.name, &member.name), before, Value::Null, act).await?;
        Ok(AdminReply::Gone(format!(
            "removed member `{}` of agent `{}`; the member's key answers 401 from now on",
            member.name, agent.name
        )))
    }
}

/// A member as the journal names it.
pub(super) fn target(agent: &str, member: &str) -> String {
    format!("{agent}/{member}")
}
