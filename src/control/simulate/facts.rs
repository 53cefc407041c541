//! What the store knows of an agent that a simulation needs: its kind, its policies, its members' standing.

use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::draft::{self, Draft, DraftFault};
use super::{Ground, Standing};
use crate::model::{AgentId, MemberId, StoredPolicy, TrustMode};
use crate::policy::Bundle;

/// An agent, as the store has it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AgentFacts {
    pub id: AgentId,
    pub name: String,
    pub trust: TrustMode,
    /// Every stored policy, whatever its mode.
    pub policies: Vec<StoredPolicy>,
    /// Role and groups now, for entries that do not hold those of then.
    pub members: Vec<(MemberId, Standing)>,
}

impl AgentFacts {
    /// The stored policies.
    pub fn stored(&self) -> Vec<Arc<StoredPolicy>> {
        self.policies.iter().cloned().map(Arc::new).collect()
    }

    /// What is replayed of the agent's calls: its set on these files, with a draft and without it.
    ///
    /// # Errors
    /// [`DraftFault`].
    pub fn ground(&self, base: &Bundle, draft: &Draft) -> Result<Ground, DraftFault> {
        let sets = draft::sets(base, self.id, &self.stored(), draft)?;
        let members: HashMap<MemberId, Standing> = self.members.iter().cloned().collect();
        Ok(Ground { trust: self.trust, sets, members })
    }
}
