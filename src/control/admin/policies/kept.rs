//! Invariants before an agent's set is changed, where the configuration wants them proved.
//!
//! Invariant: what is asked is the set that would decide, in shadow what is in shadow; where nothing is to be
//! proved, no set is built for it.

use std::sync::Arc;

use super::{Admin, AdminFault};
use crate::model::Agent;
use crate::policy::Bundle;
use crate::store::PolicyRow;

impl Admin {
    /// Refuses a change after which an invariant would not hold of the agent's set.
    pub(super) async fn keep_invariants(&self, after: impl FnOnce() -> Bundle) -> Result<(), AdminFault> {
        if !self.live.keeps_invariants() {
            return Ok(());
        }
        self.live.check_invariants(Arc::new(after())).await.map_err(|diagnostics| {
            AdminFault::rejected("an invariant of the policies would not hold", diagnostics)
                .with_help("say less, or in another way; `wicket policy prove` tells more of the call")
        })
    }

    /// The same of policies that come with something else; those that would not be put are not asked about.
    pub(in crate::control::admin) async fn keep_invariants_seeding(
        &self,
        agent: &Agent,
        seeds: &[PolicyRow],
    ) -> Result<(), AdminFault> {
        if seeds.is_empty() || !self.live.keeps_invariants() {
            return Ok(());
        }
        let shelf = self.shelf(agent).await?;
        let decided = |seed: &PolicyRow| {
            shelf.before.iter().any(|row| (row.member, &row.service) == (seed.member, &seed.service))
        };
        let put: Vec<PolicyRow> = seeds.iter().filter(|seed| !decided(seed)).cloned().collect();
        if put.is_empty() {
            return Ok(());
        }
        self.keep_invariants(|| shelf.with(&put)).await
    }
}
