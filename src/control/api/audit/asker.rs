//! Who asks, over an answer that lasts: the credential and the sight are read anew while it runs.

use http::request::Parts;

use crate::control::api::ApiState;
use crate::control::api::caller;
use crate::control::api::problem::Problem;
use crate::model::{AccountId, Scope};
use crate::store::Sight;

/// The account behind an answer that lasts.
pub(super) struct Asker {
    state: ApiState,
    parts: Parts,
    account: AccountId,
}

impl Asker {
    pub const fn new(state: ApiState, parts: Parts, account: AccountId) -> Self {
        Self { state, parts, account }
    }

    pub const fn state(&self) -> &ApiState {
        &self.state
    }

    pub const fn parts(&self) -> &Parts {
        &self.parts
    }

    /// What the account may see now.
    ///
    /// # Errors
    /// [`Problem`]: the credential opens no more, or the store does not answer; both end the answer.
    pub async fn sight(&self) -> Result<Sight, Problem> {
        let caller = caller::of_request(&self.state, &self.parts).await?;
        if caller.account.id != self.account || !caller.holds(Scope::AuditRead) {
            return Err(caller::unauthenticated());
        }
        Ok(self.state.admin.store().audit().sight(self.account).await?)
    }
}
