//! Whether a policy that is previewed makes any difference.
//!
//! Invariant: nobody waits longer than was said, whatever the configuration allows a reload; what is not known
//! then is not told.

use std::time::Duration;

use super::{Cvc5, Keeper, Patience};
use crate::model::PolicyKey;
use crate::policy::Bundle;
use crate::policy::prove::{Idleness, Progress, Prover};

impl Keeper {
    /// Why this policy of the set could as well not be there, if the solver finds out within `most`, and the
    /// rest of the question that it is at then.
    pub fn idleness(&self, bundle: &Bundle, policy: &PolicyKey, most: Duration) -> Option<Idleness> {
        let Patience { question, whole } = self.patience;
        let patience = Patience { question: question.min(most / 2), whole: whole.min(most) };
        let solver = Cvc5::new(self.solver.clone().ok()?, patience.question);
        let goes_on = patience.starting_now();
        let mut prover = Prover::new(solver, move |_: Progress| goes_on()).ok()?;
        prover.idleness(bundle, policy)
    }
}
