//! Member keys: minted and shown once, rotated, revoked, listed.
//!
//! Invariant: the key itself leaves this file in one reply only; the store and the journal see its
//! record, which opens nothing.

use serde_json::json;
use zeroize::Zeroizing;

use super::agents::checked_rate;
use super::members::target;
use super::views::key_view;
use super::{Admin, Recorder, find_agent, find_member, random};
use crate::control::reply::{KeyView, MintedKey, ShownOnce};
use crate::control::{AdminFault, AdminReply, FaultKind};
use crate::keys::{MemberKey, seal_public};
use crate::model::{Agent, AgentStatus, KeyId, Member, MemberStatus, RateLimit, Timestamp, TrustMode};
use crate::store::KeyRow;

impl Admin {
    pub(super) async fn mint_key(
        &self,
        change: &Recorder<'_>,
        agent: &str,
        member: &str,
        replaces: bool,
    ) -> Result<AdminReply, AdminFault> {
        let directory = self.directory().await?;
        let agent = find_agent(&directory, agent)?;
        let member = find_member(&directory, agent, member)?;
        if member.status != MemberStatus::Approved {
            let message = format!("member `{}` of agent `{}` is not approved", member.name, agent.name);
            return Err(AdminFault::new(FaultKind::Conflict, message).with_help(format!(
                "approve first: wicket member approve '{}' '{}'",
                agent.name, member.name
            )));
        }
        let former: Vec<&KeyRow> = directory.keys.iter().filter(|key| key.member_id == member.id).collect();
        if let Some(key) = former.first().filter(|_| !replaces) {
            let message =
                format!("member `{}` has a key already, ending in `{}`", member.name, key.display_suffix);
            return Err(AdminFault::new(FaultKind::Conflict, message).with_help(format!(
                "to replace it: wicket key rotate '{}' '{}'; the old key then stops at once",
                agent.name, member.name
            )));
        }
        // A key that was held back is not let loose by its rotation.
        let rate = former.first().and_then(|key| key.rate);
        let (key, row) = self.fresh_key(member, rate)?;
        let record = key_view(&row, member);
        let act = Box::pin(async {
            let keys = self.store.keys();
            if replaces {
                keys.rotate(&row).await?
            } else {
                keys.insert(&row).await?
            };
            Ok(())
        });
        let before: Vec<KeyView> = former.iter().map(|row| key_view(row, member)).collect();
        change.made(&target(&agent.name, &member.name), json!(before), json!(record), act).await?;
        Ok(AdminReply::Minted(Box::new(MintedKey {
            agent: agent.name.clone(),
            member: member.name.clone(),
            record,
            key: ShownOnce::new(key.expose().to_owned()),
            url: self.places.agents_url.clone(),
            revoked: former.iter().map(|row| row.id).collect(),
            hindrances: hindrances(agent),
        })))
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

    pub(super) async fn revoke_key(
        &self,
        change: &Recorder<'_>,
        id: KeyId,
    ) -> Result<AdminReply, AdminFault> {
        let (row, member) = self.key_and_member(id).await?;
        let now = Timestamp::now();
        let after = KeyRow { revoked_at: row.revoked_at.or(Some(now)), ..row.clone() };
        let act = Box::pin(async { Ok(self.store.keys().revoke(id, now).await?) });
        change.made(&id.to_string(), json!(key_view(&row, &member)), json!(after.revoked_at), act).await?;
        Ok(AdminReply::Key(key_view(&after, &member)))
    }

    pub(super) async fn set_key_rate(
        &self,
        change: &Recorder<'_>,
        id: KeyId,
        rate: Option<RateLimit>,
    ) -> Result<AdminReply, AdminFault> {
        checked_rate(rate)?;
        let (row, member) = self.key_and_member(id).await?;
        if let Some(at) = row.revoked_at {
            let message = format!("key `{id}` was revoked at {at}; it has no rate any more");
            return Err(AdminFault::new(FaultKind::Conflict, message)
                .with_help("`wicket key list AGENT` shows which keys work"));
        }
        let act = Box::pin(async { Ok(self.store.keys().set_rate(id, rate).await?) });
        change.made(&id.to_string(), json!(row.rate), json!(rate), act).await?;
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
        let directory = self.directory().await?;
        let agent = find_agent(&directory, agent)?;
        let only = member.map(|given| find_member(&directory, agent, given)).transpose()?;
        let mut views = Vec::new();
        for member in directory.members.iter().filter(|member| member.agent_id == agent.id) {
            if only.is_none_or(|only| only.id == member.id) {
                let rows = self.store.keys().list(member.id).await?;
                views.extend(rows.iter().map(|row| key_view(row, member)));
            }
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
