//! Invites: made and revoked by an agent's owner, used by whoever has the address.
//!
//! Invariant: what became of an invite is told to the account of its address alone; everybody else hears
//! that there is none.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::members::target;
use super::{Admin, Changing, found, random};
use crate::control::{AdminFault, FaultKind, Operator};
use crate::keys::{InviteFacts, InviteSigner, InviteToken};
use crate::model::{
    Account, AccountId, Agent, AgentId, EmailAddress, InviteId, Member, MemberId, MemberStatus, Role,
    Timestamp,
};
use crate::store::{InviteJoin, InviteRow};

/// Days that an invite is good for (specification 1.4).
pub const INVITE_DAYS: i64 = 7;
/// Days after its end that an invite is still listed.
const INVITE_KEPT_DAYS: i64 = 90;
const DAY_MS: i64 = 86_400_000;

/// Why nobody joined.
#[derive(Debug)]
pub enum JoinFault {
    /// There is no such invite for this account.
    Unknown,
    Expired,
    Revoked,
    Used,
    Fault(AdminFault),
}

impl<T: Into<AdminFault>> From<T> for JoinFault {
    fn from(fault: T) -> Self {
        Self::Fault(fault.into())
    }
}

impl Admin {
    /// Invites an address, and gives the token of its link. The open invite of the same address ends.
    ///
    /// # Errors
    /// `Conflict` where the person is a member already.
    pub async fn create_invite(
        &self,
        operator: Operator,
        agent: &Agent,
        email: &EmailAddress,
        invited_by: Option<AccountId>,
    ) -> Result<(InviteRow, String), AdminFault> {
        let Changing { recorder, _one_at_a_time } = self.change(operator, "invite.create").await;
        if let Some(member) = self.member_of_address(agent.id, email).await? {
            refuse_members(&member)?;
        }
        let now = Timestamp::now();
        let invite = InviteRow {
            id: InviteId::mint(now, random()?),
            agent_id: agent.id,
            email: email.clone(),
            invited_by,
            created_at: now,
            expires_at: now.plus_millis(INVITE_DAYS * DAY_MS),
            revoked_at: None,
            used_at: None,
            member_id: None,
        };
        let forget_before = now.plus_millis(-INVITE_KEPT_DAYS * DAY_MS);
        let act = Box::pin(async { Ok(self.store.invites().create(&invite, forget_before).await?) });
        recorder
            .about(agent.id)
            .made(&target(&agent.name, email.as_str()), Value::Null, shown(&invite), act)
            .await?;
        let token = InviteSigner::new(&self.pepper).token(&facts(&invite));
        Ok((invite, token))
    }

    /// The membership that this address has or would clash with.
    async fn member_of_address(
        &self,
        agent: AgentId,
        email: &EmailAddress,
    ) -> Result<Option<Member>, AdminFault> {
        if let Some(account) = found(self.store.accounts().get_by_email(email).await)?
            && let Some(member) = self.store.members().of_account(agent, account.id).await?
        {
            return Ok(Some(member));
        }
        Ok(found(self.store.members().find(agent, email.as_str()).await)?)
    }

    /// Revokes an invite that is open.
    ///
    /// # Errors
    /// `NotFound` where the agent has no such invite, `Conflict` where it ended.
    pub async fn revoke_invite(
        &self,
        operator: Operator,
        agent: &Agent,
        id: InviteId,
    ) -> Result<(), AdminFault> {
        let Changing { recorder, _one_at_a_time } = self.change(operator, "invite.revoke").await;
        let invite = found(self.store.invites().get(id).await)?.filter(|row| row.agent_id == agent.id);
        let invite = invite.ok_or_else(|| AdminFault::not_found("there is no such invite of this agent"))?;
        let now = Timestamp::now();
        if !invite.is_open(now) {
            return Err(AdminFault::new(FaultKind::Conflict, "the invite has ended already")
                .with_help("nothing is left to revoke; remove the member, if it was used"));
        }
        let act = Box::pin(async { Ok(self.store.invites().revoke(id, now).await?) });
        let target = target(&agent.name, invite.email.as_str());
        recorder.about(agent.id).made(&target, shown(&invite), json!({ "revokedAt": now }), act).await
    }

    /// Uses an invite: the account becomes a member that waits for approval.
    ///
    /// # Errors
    /// [`JoinFault`].
    pub async fn join(
        &self,
        operator: Operator,
        account: &Account,
        agent: AgentId,
        token: &str,
    ) -> Result<(Agent, Member), JoinFault> {
        let token = InviteToken::parse(token).ok_or(JoinFault::Unknown)?;
        let Changing { recorder, _one_at_a_time } = self.change(operator, "member.join").await;
        let invite = found(self.store.invites().get(token.id).await)?.ok_or(JoinFault::Unknown)?;
        let signed = InviteSigner::new(&self.pepper).verifies(&token, &facts(&invite));
        if !signed || invite.agent_id != agent || invite.email != account.email {
            return Err(JoinFault::Unknown);
        }
        let now = Timestamp::now();
        match invite {
            InviteRow { used_at: Some(_), .. } => return Err(JoinFault::Used),
            InviteRow { revoked_at: Some(_), .. } => return Err(JoinFault::Revoked),
            _ if !invite.is_open(now) => return Err(JoinFault::Expired),
            _ => {}
        }
        let agent = self.store.agents().get(agent).await?;
        let former = self.member_of_address(agent.id, &account.email).await?;
        if let Some(member) = &former {
            refuse_members(member)?;
        }
        let fresh = Member {
            id: MemberId::mint(now, random()?),
            agent_id: agent.id,
            name: account.email.as_str().to_owned(),
            role: Role::Member,
            status: MemberStatus::Pending,
            groups: BTreeSet::new(),
            account: Some(account.id),
            created_at: now,
        };
        let join = InviteJoin { invite: invite.id, member: fresh, now };
        let act = Box::pin(async {
            let (_, member) = self.store.invites().join(&join).await?;
            let after = json!(member);
            Ok((member, after))
        });
        let name = target(&agent.name, account.email.as_str());
        let member = recorder.about(agent.id).made_by(&name, json!(former), act).await?;
        Ok((agent, member))
    }
}

/// Goes on only where the person was rejected, or is none.
fn refuse_members(member: &Member) -> Result<(), AdminFault> {
    let (what, help) = match (member.status, member.account) {
        (MemberStatus::Rejected, Some(_)) => return Ok(()),
        (MemberStatus::Pending, Some(_)) => {
            ("waits for approval already", "the agent's owner approves or rejects it")
        }
        (MemberStatus::Approved, Some(_)) => ("is a member already", "no invite is needed"),
        (_, None) => (
            "is a member already, one without an account",
            "remove that member first: it was made on the machine itself and belongs to nobody who signs in",
        ),
    };
    Err(AdminFault::new(FaultKind::Conflict, format!("`{}` {what}", member.name)).with_help(help))
}

fn facts(invite: &InviteRow) -> InviteFacts<'_> {
    InviteFacts { id: invite.id, agent: invite.agent_id, email: &invite.email, expires_at: invite.expires_at }
}

/// An invite as the journal has it: who, until when, and never the link.
fn shown(invite: &InviteRow) -> Value {
    json!({ "id": invite.id, "email": invite.email, "expiresAt": invite.expires_at })
}
