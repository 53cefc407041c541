//! What is tried: the sets of policies with a draft and without it.
//!
//! Invariants: a draft that does not load is told with all its faults and never simulated as something
//! else; the sets are made for the simulation alone, so that what it keeps in mind is not in the way of
//! living calls.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use super::Sets;
use crate::model::{AgentId, MemberId, PolicyId, PolicyKey, PolicyMode, PolicyText, StoredPolicy};
use crate::policy::{Bundle, structured};

/// What differs from the set in force.
#[derive(Debug, Clone)]
pub enum Draft {
    /// Nothing: what is in force is replayed as it is.
    Unchanged,
    /// A policy of the agent's, or of one member's under an untrusted agent.
    Policy(Box<NewPolicy>),
    /// A stored policy that is in shadow or off, as if it were enforced.
    Enforce(PolicyId),
    /// The set without one of its stored policies.
    Without(PolicyId),
    /// Other files: guardrails of all agents.
    Files(Arc<Bundle>),
}

/// A policy that is not saved.
#[derive(Debug, Clone)]
pub struct NewPolicy {
    pub text: PolicyText,
    /// The stored policy in whose place it would stand.
    pub replaces: Option<PolicyId>,
    /// Whose it would be, under an untrusted agent.
    pub member: Option<MemberId>,
}

/// Why a draft cannot be tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DraftFault {
    /// The agent stores no policy of this id.
    NotStored(PolicyId),
    /// No key can be made of its name.
    NoKey,
    /// Everything that is wrong with it.
    DoesNotLoad(Vec<String>),
}

impl fmt::Display for DraftFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotStored(id) => write!(f, "the agent stores no policy `{id}`"),
            Self::NoKey => f.write_str("no key can be made of the draft's name"),
            Self::DoesNotLoad(faults) => {
                f.write_str("the draft does not load")?;
                faults.iter().try_for_each(|fault| write!(f, "; {fault}"))
            }
        }
    }
}

impl std::error::Error for DraftFault {}

/// The key of a draft in Cedar, which says none itself.
const CEDAR_KEY: &str = "draft";

/// The sets of an agent with these stored policies, with a draft and without it.
///
/// # Errors
/// [`DraftFault`].
pub fn sets(
    base: &Bundle,
    agent: AgentId,
    stored: &[Arc<StoredPolicy>],
    draft: &Draft,
) -> Result<Sets, DraftFault> {
    let made = |base: &Bundle, stored: &[Arc<StoredPolicy>], previous: Option<&Bundle>| {
        Bundle::for_agent(base, stored, previous)
    };
    let without = |id: PolicyId| -> Vec<Arc<StoredPolicy>> {
        stored.iter().filter(|policy| policy.id != id).map(Arc::clone).collect()
    };
    let find = |id: PolicyId| stored.iter().find(|policy| policy.id == id).ok_or(DraftFault::NotStored(id));
    let (others, tried) = match draft {
        Draft::Unchanged => {
            let set = Arc::new(made(base, stored, None).bundle);
            return Ok(Sets { after: Arc::clone(&set), baseline: set });
        }
        Draft::Files(files) => {
            let baseline = made(base, stored, None).bundle;
            let after = made(files, stored, Some(&baseline)).bundle;
            return Ok(Sets { after: Arc::new(after), baseline: Arc::new(baseline) });
        }
        Draft::Without(id) => {
            find(*id)?;
            let set = Arc::new(made(base, &without(*id), None).bundle);
            let baseline = Arc::new(made(base, stored, Some(&set)).bundle);
            return Ok(Sets { after: set, baseline });
        }
        Draft::Enforce(id) => {
            let policy = find(*id)?;
            let enforced = StoredPolicy { mode: PolicyMode::Enforced, ..StoredPolicy::clone(policy) };
            (without(*id), enforced)
        }
        Draft::Policy(draft) => {
            let replaced = draft.replaces.map(find).transpose()?;
            let others = draft.replaces.map_or_else(|| stored.to_vec(), without);
            let tried = tried(base, (agent, &others), replaced.map(AsRef::as_ref), draft)?;
            (others, tried)
        }
    };
    let baseline = made(base, &others, None).bundle;
    let id = tried.id;
    let mut all = others;
    all.push(Arc::new(tried));
    let after = made(base, &all, Some(&baseline));
    if let Some(broken) = after.broken.into_iter().find(|broken| broken.id == id) {
        return Err(DraftFault::DoesNotLoad(broken.faults));
    }
    Ok(Sets { after: Arc::new(after.bundle), baseline: Arc::new(baseline) })
}

/// The draft as a policy that is stored.
fn tried(
    base: &Bundle,
    (agent, others): (AgentId, &[Arc<StoredPolicy>]),
    replaced: Option<&StoredPolicy>,
    draft: &NewPolicy,
) -> Result<StoredPolicy, DraftFault> {
    let text = draft.text.clone();
    if let Some(replaced) = replaced {
        let version = replaced.version.saturating_add(1);
        // Whose it is never changes.
        return Ok(StoredPolicy { version, mode: PolicyMode::Enforced, text, ..replaced.clone() });
    }
    let mut taken: BTreeSet<PolicyKey> = base.policies().iter().map(|info| info.key.clone()).collect();
    taken.extend(others.iter().map(|policy| policy.key.clone()));
    let name = match &text {
        PolicyText::Structured(policy) => policy.name.as_str(),
        PolicyText::Cedar(_) => CEDAR_KEY,
    };
    let key = structured::key_of(name, &taken).ok_or(DraftFault::NoKey)?;
    let (id, member) = (PolicyId::from_uuid(uuid::Uuid::nil()), draft.member);
    Ok(StoredPolicy { id, agent, member, key, version: 1, mode: PolicyMode::Enforced, text })
}
