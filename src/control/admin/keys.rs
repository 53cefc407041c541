//! Member keys: minted and shown once, rotated, revoked, listed.
//!
//! Invariant: the key itself leaves this file in one reply only; the store and the journal see its
//! record, which opens nothing.

use serde_json::json;
use zeroize::Zeroizing;

use super::agents::checked_rate;
use super::members::target;
use super::views::key_view;
use super::{Admin, Changing, random};
use crate::control::reply::{KeyView, MintedKey, ShownOnce};
use crate::control::{AdminFault, AdminReply, FaultKind, Operator};
use crate::keys::{MemberKey, seal_public};
use crate::model::{
    Agent, AgentStatus, KeyId, Member, MemberId, MemberStatus, RateLimit, Timestamp, TrustMode,
};
use crate::store::KeyRow;

impl Admin {
    /// Gives an approved member a key; one that it has already stops at once.
    ///
    /// # Errors
    /// `Conflict` where the member is not approved.
    pub async fn replace_key(
        &self,
        operator: Operator,
        agent: &Agent,
        id: MemberId,
    ) -> Result<MintedKey, AdminFault> {
        let has_one = self.store.keys().live_of(id).await?.is_some();
        let what = if has_one { "key.rotate" } else { "key.create" };
        let Changing { recorder, _one_at_a_time } = self.change(operator, what).await;
        let member = self.store.members().get(id).await?;
        if member.status != MemberStatus::Approved {
            let message = format!("the member `{}` is not approved", member.name);
            return Err(AdminFault::new(FaultKind::Conflict, message)
                .with_help("the agent's owner approves first; then a key can be generated"));
        }
        let former = self.store.keys().live_of(id).await?;
        // A key that was held back is not let loose by its rotation.
        let rate = former.as_ref().and_then(|key| key.rate);
        let (key, row) = self.fresh_key(&member, rate)?;
        let record = key_view(&row, &member);
        let act = Box::pin(async { Ok(self.store.keys().rotate(&row).await?) });
        let before: Vec<KeyView> = former.iter().map(|row| key_view(row, &member)).collect();
        recorder
            .about(agent.id)
            .made(&target(&agent.name, &member.name), json!(before), json!(record), act)
            .await?;
        Ok(MintedKey {
            agent: agent.name.clone(),
            member: member.name.clone(),
            record,
            key: ShownOnce::new(key.expose().to_owned()),
            url: self.places.agents_url.clone(),
            revoked: former.iter().map(|row| row.id).collect(),
            hindrances: hindrances(agent),
        })
    }

    /// The same by names; where nothing is to be replaced, a member that has a key keeps it.
    pub(super) async fn mint_key(
        &self,
        operator: Operator,
        agent: &str,
        member: &str,
        replaces: bool,
    ) -> Result<AdminReply, AdminFault> {
        let agent = self.find_agent(agent).await?;
        let member = self.find_member(&agent, member).await?;
        if member.status != MemberStatus::Approved {
            let message = format!("member `{}` of agent `{}` is not approved", member.name, agent.name);
            return Err(AdminFault::new(FaultKind::Conflict, message).with_help(format!(
                "approve first: wicket member approve '{}' '{}'",
                agent.name, member.name
            )));
        }
        if let Some(key) = self.store.keys().live_of(member.id).await?.filter(|_| !replaces) {
            let message =
                format!("member `{}` has a key already, ending in `{}`", member.name, key.display_suffix);
            return Err(AdminFault::new(FaultKind::Conflict, message).with_help(format!(
                "to replace it: wicket key rotate '{}' '{}'; the old key then stops at once",
                agent.name, member.name
            )));
        }
        let minted = self.replace_key(operator, &agent, member.id).await?;
        Ok(AdminReply::Minted(Box::new(minted)))
    }

    fn fresh_key(&self, member: &Member, rate: Option<RateLimit>) -> Result<(MemberKey, KeyRow), AdminFault> {
        let now = Timestamp::now();
        let secret = Zeroizing::new(random::<24>()?);
        let key = MemberKey::mint(*secret);
        let tag = key.tag(&self.pepper);
        let seal_salt = random()?;
        let row = KeyRow {
            id: KeyId::mint(now, random()?),
            member_id: member.id,
            index: tag.index(),
            tag: *tag.as_bytes(),
            display_suffix: key.suffix().to_owned(),
            seal_salt,
            seal_public: *seal_public(&key, &seal_salt).as_bytes(),
            created_at: now,
            last_used_at: None,
            revoked_at: None,
            rate,
        };
        Ok((key, row))
    }

    /// Revokes a key; one that was revoked already keeps its first time. `what` is the change's name in the
    /// journal.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn revoke_key(
        &self,
        operator: Operator,
        what: &'static str,
        id: KeyId,
    ) -> Result<KeyView, AdminFault> {
        let Changing { recorder, _one_at_a_time } = self.change(operator, what).await;
        let (row, member) = self.key_and_member(id).await?;
        let now = Timestamp::now();
        let after = KeyRow { revoked_at: row.revoked_at.or(Some(now)), ..row.clone() };
        let act = Box::pin(async { Ok(self.store.keys().revoke(id, now).await?) });
        let before = json!(key_view(&row, &member));
        recorder.about(member.agent_id).made(&id.to_string(), before, json!(after.revoked_at), act).await?;
        Ok(key_view(&after, &member))
    }

    pub(super) async fn set_key_rate(
        &self,
        operator: Operator,
        id: KeyId,
        rate: Option<RateLimit>,
    ) -> Result<AdminReply, AdminFault> {
        checked_rate(rate)?;
        let Changing { recorder, _one_at_a_time } = self.change(operator, "key.rate").await;
        let (row, member) = self.key_and_member(id).await?;
        if let Some(at) = row.revoked_at {
            let message = format!("key `{id}` was revoked at {at}; it has no rate any more");
            return Err(AdminFault::new(FaultKind::Conflict, message)
                .with_help("`wicket key list AGENT` shows which keys work"));
        }
        let act = Box::pin(async { Ok(self.store.keys().set_rate(id, rate).await?) });
        recorder.about(member.agent_id).made(&id.to_string(), json!(row.rate), json!(rate), act).await?;
        Ok(AdminReply::Key(key_view(&KeyRow { rate, ..row }, &member)))
    }

    pub(super) async fn show_key(&self, id: KeyId) -> Result<AdminReply, AdminFault> {
        let (row, member) = self.key_and_member(id).await?;
        Ok(AdminReply::Key(key_view(&row, &member)))
    }

    async fn key_and_member(&self, id: KeyId) -> Result<(KeyRow, Member), AdminFault> {
        let row = self.store.keys().get(id).await.map_err(|error| {
            AdminFault::from(error).with_help("`wicket key list AGENT` shows the ids of keys")
        })?;
        let member = self.store.members().get(row.member_id).await?;
        Ok((row, member))
    }

    pub(super) async fn list_keys(
        &self,
        agent: &str,
        member: Option<&str>,
    ) -> Result<AdminReply, AdminFault> {
        let agent = self.find_agent(agent).await?;
        let members = match member {
            Some(given) => vec![self.find_member(&agent, given).await?],
            None => self.store.members().list(agent.id).await?,
        };
        let mut views = Vec::new();
        for member in &members {
            let rows = self.store.keys().list(member.id).await?;
            views.extend(rows.iter().map(|row| key_view(row, member)));
        }
        Ok(AdminReply::Keys(views))
    }
}

/// Why calls with a new key of this agent would be refused as things stand.
fn hindrances(agent: &Agent) -> Vec<String> {
    let mut reasons = Vec::new();
    if agent.status == AgentStatus::Disabled {
        reasons.push(format!("the agent is disabled: wicket agent enable '{}'", agent.name));
    }
    if agent.services.is_empty() {
        reasons
            .push(format!("no connector is enabled: wicket agent services '{}' --add SERVICE", agent.name));
    }
    if agent.trust == TrustMode::Untrusted {
        reasons.push(
            "the agent is untrusted: each member needs a stored policy of its own, which this version cannot hold yet, so every call is denied"
                .to_owned(),
        );
    }
    reasons
}
