//! Who asks, over an answer that lasts: whether the credential still opens, and the sight, are read anew while
//! it runs.

use crate::control::api::ApiState;
use crate::control::api::caller::{Caller, unauthenticated};
use crate::control::api::problem::Problem;
use crate::store::Sight;

/// The account behind an answer that lasts.
pub(super) struct Asker {
    state: ApiState,
    caller: Caller,
}

impl Asker {
    pub const fn new(state: ApiState, caller: Caller) -> Self {
        Self { state, caller }
    }

    pub const fn state(&self) -> &ApiState {
        &self.state
    }

    pub const fn caller(&self) -> &Caller {
        &self.caller
    }

    /// What the account may see now.
    ///
    /// # Errors
    /// [`Problem`]: the credential opens no more, or the store does not answer; both end the answer.
    pub async fn sight(&self) -> Result<Sight, Problem> {
        if !self.state.still_opens(&self.caller).await? {
            return Err(unauthenticated());
        }
        Ok(self.state.admin.store().audit().sight(self.caller.account.id).await?)
    }
}
