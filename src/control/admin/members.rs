//! Members: added, approved, rejected, removed.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Admin, Changing, checked_name, random, shown};
use crate::control::{AdminFault, AdminReply, AdminRequest, FaultKind, Operator};
use crate::model::{Agent, Member, MemberId, MemberStatus, Role, Timestamp};

/// Characters of a member's name: an e-mail address fits (RFC 5321).
const MEMBER_NAME_CHARACTERS_MAX: usize = 254;

impl Admin {
    /// Approves or rejects a member that waits for it.
    ///
    /// # Errors
    /// `Conflict` where the membership is in another state; nothing is changed then.
    pub async fn settle_member(
        &self,
        operator: Operator,
        agent: &Agent,
        id: MemberId,
        to: MemberStatus,
    ) -> Result<Member, AdminFault> {
        let Changing { recorder, _one_at_a_time } = self.change(operator, "member.status").await;
        let member = self.store.members().get(id).await?;
        if member.status != MemberStatus::Pending {
            return Err(not_pending(&member, to));
        }
        let (seeds, _kept) =
            self.seeds_of_member(agent, &Member { status: to, ..member.clone() }, &recorder.operator).await?;
        let members = self.store.members();
        let act = Box::pin(async { Ok(members.move_status(id, MemberStatus::Pending, to, &seeds).await?) });
        recorder
            .about(agent.id)
            .made(&target(&agent.name, &member.name), json!(member.status), json!(to), act)
            .await?;
        Ok(Member { status: to, ..member })
    }

    /// Removes a member with its keys and places in groups.
    ///
    /// # Errors
    /// `Conflict` where it is the owner's own membership.
    pub async fn remove_member(
        &self,
        operator: Operator,
        agent: &Agent,
        id: MemberId,
    ) -> Result<Member, AdminFault> {
        let Changing { recorder, _one_at_a_time } = self.change(operator, "member.remove").await;
        let member = self.store.members().get(id).await?;
        if agent.owner.is_some() && agent.owner == member.account {
            let message = "the owner is a member of the agent as long as there is one";
            return Err(AdminFault::new(FaultKind::Conflict, message)
                .with_help("revoke your key to stop your own calls, or delete the agent"));
        }
        let act = Box::pin(async { Ok(self.store.members().remove(id).await?) });
        recorder
            .about(agent.id)
            .made(&target(&agent.name, &member.name), json!(member), Value::Null, act)
            .await?;
        Ok(member)
    }

    pub(super) async fn on_members(
        &self,
        operator: Operator,
        request: AdminRequest,
    ) -> Result<AdminReply, AdminFault> {
        match request {
            AdminRequest::MemberAdd { agent, name, role, status } => {
                let agent = self.find_agent(&agent).await?;
                self.add_member(operator, &agent, &name, role, status).await.map(AdminReply::Member)
            }
            AdminRequest::MemberList { agent } => {
                let agent = self.find_agent(&agent).await?;
                Ok(AdminReply::Members(self.member_views(&agent).await?))
            }
            AdminRequest::MemberStatus { agent, member, status } => {
                let agent = self.find_agent(&agent).await?;
                let id = self.find_member(&agent, &member).await?.id;
                self.set_member_status(operator, &agent, id, status).await.map(AdminReply::Member)
            }
            AdminRequest::MemberRemove { agent, member } => {
                let agent = self.find_agent(&agent).await?;
                let id = self.find_member(&agent, &member).await?.id;
                let member = self.remove_member(operator, &agent, id).await?;
                Ok(AdminReply::Gone(format!(
                    "removed member `{}` of agent `{}`; the member's key answers 401 from now on",
                    member.name, agent.name
                )))
            }
            _ => Err(AdminFault::invalid("this request is not about members")),
        }
    }

    async fn add_member(
        &self,
        operator: Operator,
        agent: &Agent,
        name: &str,
        role: Role,
        status: MemberStatus,
    ) -> Result<Member, AdminFault> {
        checked_name("a member", name, MEMBER_NAME_CHARACTERS_MAX)?;
        let Changing { recorder, _one_at_a_time } = self.change(operator, "member.add").await;
        if super::found(self.store.members().find(agent.id, name).await)?.is_some() {
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
        let (seeds, _kept) = self.seeds_of_member(agent, &member, &recorder.operator).await?;
        let act = Box::pin(async { Ok(self.store.members().create_seeding(&member, &seeds).await?) });
        recorder.about(agent.id).made(&target(&agent.name, name), Value::Null, json!(member), act).await?;
        Ok(member)
    }

    /// The operator on the machine may put a member into any state.
    async fn set_member_status(
        &self,
        operator: Operator,
        agent: &Agent,
        id: MemberId,
        status: MemberStatus,
    ) -> Result<Member, AdminFault> {
        let Changing { recorder, _one_at_a_time } = self.change(operator, "member.status").await;
        let member = self.store.members().get(id).await?;
        let (seeds, _kept) =
            self.seeds_of_member(agent, &Member { status, ..member.clone() }, &recorder.operator).await?;
        let members = self.store.members();
        let act = Box::pin(async { Ok(members.set_status_seeding(id, status, &seeds).await?) });
        recorder
            .about(agent.id)
            .made(&target(&agent.name, &member.name), json!(member.status), json!(status), act)
            .await?;
        Ok(Member { status, ..member })
    }
}

fn not_pending(member: &Member, to: MemberStatus) -> AdminFault {
    let (is, help) = match (member.status, to) {
        (MemberStatus::Approved, MemberStatus::Rejected) => {
            ("approved already", "remove the member instead: that stops its key at once")
        }
        (MemberStatus::Approved, _) => ("approved already", "nothing is left to do"),
        (MemberStatus::Rejected, MemberStatus::Rejected) => ("rejected already", "nothing is left to do"),
        (MemberStatus::Rejected, _) => {
            ("rejected", "invite the address anew: whoever joins then waits for approval")
        }
        (MemberStatus::Pending, _) => ("pending", "try again"),
    };
    AdminFault::new(FaultKind::Conflict, format!("the member `{}` is {is}", shown(&member.name)))
        .with_help(help)
}

/// A member as the journal names it.
pub(super) fn target(agent: &str, member: &str) -> String {
    format!("{agent}/{member}")
}
