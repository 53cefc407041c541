//! Whom a draft speaks of, as far as the store knows them: for what a preview finds.
//!
//! Invariant: only what the draft names is asked for; an agent may have ten thousand members.

use std::collections::BTreeMap;

use super::{Admin, AdminFault};
use crate::model::{Agent, PolicyPrincipal, PolicyText, Timestamp};
use crate::policy::Surroundings;

impl Admin {
    /// The groups and members that this text names, those that there are.
    pub(super) async fn around(&self, agent: &Agent, text: &PolicyText) -> Result<Surroundings, AdminFault> {
        let mut around = Surroundings { now: Some(Timestamp::now()), ..Surroundings::default() };
        let PolicyText::Structured(policy) = text else { return Ok(around) };
        match &policy.principal {
            PolicyPrincipal::AllMembers => {}
            PolicyPrincipal::Groups { groups } => {
                let found = self.store.groups().among(agent.id, groups).await?;
                let sizes: BTreeMap<_, _> =
                    found.into_iter().map(|group| (group.name, group.member_count)).collect();
                around.groups = Some(sizes);
            }
            PolicyPrincipal::SpecificMembers { user_ids } => {
                around.members = Some(self.store.members().among(agent.id, user_ids).await?);
            }
        }
        Ok(around)
    }
}
