//! The baseline that comes with a connector (decision 6): an ordinary stored policy that permits its read tier.
//!
//! Invariant: it permits what only reads, and nothing of a connector that the agent does not have enabled
//! (which is asked before any policy); whoever changes or deletes it has decided: see `store::policies::seed`.

use std::collections::BTreeSet;

use super::policies::Kept;
use super::{Admin, random};
use crate::control::{AdminFault, Operator};
use crate::model::{
    Agent, Member, MemberId, MemberStatus, PolicyEffect, PolicyId, PolicyMode, PolicyText, ServiceKey,
    Timestamp, TrustMode,
};
use crate::policy::structured::{self, Ground, baseline};
use crate::store::PolicyRow;

impl Admin {
    /// The baselines of these connectors for an agent of this kind: one each that all members share, or one
    /// for each of these members.
    ///
    /// # Errors
    /// `Rejected` where an invariant would not hold with them, and the configuration wants that known.
    pub(super) async fn seeds<'a>(
        &self,
        agent: &Agent,
        services: impl IntoIterator<Item = &'a ServiceKey> + Send,
        members: &[Member],
        operator: &Operator,
    ) -> Result<(Vec<PolicyRow>, Kept), AdminFault> {
        let approved = members.iter().filter(|member| member.status == MemberStatus::Approved);
        let whose: Vec<Option<MemberId>> = match agent.trust {
            TrustMode::Trusted => vec![None],
            TrustMode::Untrusted => approved.map(|member| Some(member.id)).collect(),
        };
        let mut seeds = Vec::new();
        for service in services {
            for member in &whose {
                seeds.push(self.seed(agent, service, *member, operator)?);
            }
        }
        let kept = self.keep_invariants_seeding(agent, &seeds).await?;
        Ok((seeds, kept))
    }

    /// The baselines that a member gets when it is approved.
    pub(super) async fn seeds_of_member(
        &self,
        agent: &Agent,
        member: &Member,
        operator: &Operator,
    ) -> Result<(Vec<PolicyRow>, Kept), AdminFault> {
        if agent.trust == TrustMode::Trusted {
            return Ok((Vec::new(), Kept::nothing()));
        }
        self.seeds(agent, &agent.services, std::slice::from_ref(member), operator).await
    }

    /// The members whom a newly enabled connector concerns one by one.
    pub(super) async fn members_to_seed(&self, agent: &Agent) -> Result<Vec<Member>, AdminFault> {
        match agent.trust {
            TrustMode::Trusted => Ok(Vec::new()),
            TrustMode::Untrusted => Ok(self.store.members().list(agent.id).await?),
        }
    }

    fn seed(
        &self,
        agent: &Agent,
        service: &ServiceKey,
        member: Option<MemberId>,
        operator: &Operator,
    ) -> Result<PolicyRow, AdminFault> {
        let (key, form) = baseline::of(service, member)?;
        let cedar = self.live.bundle().ok().and_then(|bundle| {
            let keys = BTreeSet::new();
            let ground = Ground { connectors: bundle.connectors(), policies: &keys };
            structured::compile_for(&form, (&key, member), ground).ok()
        });
        let now = Timestamp::now();
        Ok(PolicyRow {
            id: PolicyId::mint(now, random()?),
            agent: agent.id,
            member,
            key,
            name: form.name.clone(),
            service: Some(service.clone()),
            effect: PolicyEffect::Permit,
            enabled: true,
            mode: PolicyMode::Enforced,
            version: 1,
            text: PolicyText::Structured(Box::new(form)),
            cedar: cedar.map(|compiled| compiled.text).unwrap_or_default(),
            created_at: now,
            updated_at: now,
            updated_by: operator.to_string(),
        })
    }
}
