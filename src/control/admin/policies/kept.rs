//! Invariants before an agent's set is changed, where the configuration wants them proved.
//!
//! Invariants: what is asked is the set that would decide, in shadow what is in shadow, and no reload of the
//! files comes between the answer and the change; where nothing is to be proved, no set is built for it.

use std::sync::Arc;

use tokio::sync::OwnedMutexGuard;

use super::tried::Shelf;
use super::{Admin, AdminFault, FaultKind};
use crate::model::Agent;
use crate::policy::Bundle;
use crate::store::PolicyRow;

/// While it is held, what was proved of the files' policies is of those in force.
#[must_use = "dropped before the change is made, a reload may come between"]
pub(in crate::control::admin) struct Kept(
    #[expect(dead_code, reason = "it is held")] Option<OwnedMutexGuard<()>>,
);

impl Kept {
    /// Nothing was to be proved.
    pub(in crate::control::admin) const fn nothing() -> Self {
        Self(None)
    }
}

impl Admin {
    /// Refuses a change after which an invariant would not hold of the agent's set, which `after` builds of
    /// the shelf. The answer holds for as long as what is returned is held: the files stay as they are.
    pub(super) async fn keep_invariants(
        &self,
        shelf: &Shelf,
        after: impl FnOnce(&Shelf) -> Bundle,
    ) -> Result<Kept, AdminFault> {
        if !self.live.keeps_invariants() {
            return Ok(Kept::nothing());
        }
        self.live.check_invariants(Arc::new(after(shelf))).await.map_err(|diagnostics| {
            AdminFault::rejected("an invariant of the policies would not hold", diagnostics)
                .with_help("say less, or in another way; `wicket policy prove` tells more of the call")
        })?;
        let held = self.live.hold_files().await;
        if !self.live.bundle().is_ok_and(|base| Arc::ptr_eq(&base, &shelf.base)) {
            let message = "the files' policies changed while the invariants were proved; nothing was changed";
            return Err(AdminFault::new(FaultKind::Conflict, message).with_help("try again"));
        }
        Ok(Kept(held))
    }

    /// The same of policies that come with something else; those that would not be put are not asked about.
    pub(in crate::control::admin) async fn keep_invariants_seeding(
        &self,
        agent: &Agent,
        seeds: &[PolicyRow],
    ) -> Result<Kept, AdminFault> {
        if seeds.is_empty() || !self.live.keeps_invariants() {
            return Ok(Kept::nothing());
        }
        let shelf = self.shelf(agent).await?;
        let decided = |seed: &PolicyRow| {
            shelf.before.iter().any(|row| (row.member, &row.service) == (seed.member, &seed.service))
        };
        let put: Vec<PolicyRow> = seeds.iter().filter(|seed| !decided(seed)).cloned().collect();
        if put.is_empty() {
            return Ok(Kept::nothing());
        }
        self.keep_invariants(&shelf, |shelf| shelf.with(&put)).await
    }
}
