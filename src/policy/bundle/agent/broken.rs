//! What is in force in the place of a stored policy that no longer loads.
//!
//! Invariant: it never allows what the policy did not: a permit is left out; a forbid, and what nobody can
//! read, forbids at least everything that the policy could have forbidden, of the members that it spoke of.

use std::collections::BTreeSet;
use std::fmt;

use cedar_policy_core::ast::{ActionConstraint, Policy};
use cedar_policy_core::parser;

use super::Work;
use super::reading::file_of;
use crate::model::{PolicyEffect, PolicyMode, PolicyText, ServiceKey, StoredPolicy};
use crate::policy::source::{self, Placed};

/// What is in force instead of a stored policy that does not load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Instead {
    /// Nothing: it was a permit, or in shadow mode.
    Nothing,
    /// Everything of the service is forbidden, whatever the call says; of every service where the policy
    /// spoke of more than one, or cannot be read.
    Forbidden(Option<ServiceKey>),
}

impl fmt::Display for Instead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("it is left out"),
            Self::Forbidden(Some(service)) => write!(f, "everything of `{service}` is forbidden"),
            Self::Forbidden(None) => f.write_str("everything is forbidden"),
        }
    }
}

impl Work<'_> {
    /// What is in force instead of this policy, and the policy that says so. `Err` where that cannot be
    /// made, so that only a set that denies everything is as strict.
    pub(super) fn instead(&self, stored: &StoredPolicy) -> Result<(Instead, Option<Placed>), Instead> {
        let Some(service) = self.forbidden(stored) else { return Ok((Instead::Nothing, None)) };
        let key = &stored.key;
        let principal = match stored.member {
            Some(member) => format!("principal == Wicket::Member::\"{member}\""),
            None => "principal".to_owned(),
        };
        let (resource, of) = match &service {
            Some(service) => {
                (format!("resource in Wicket::Service::\"{service}\""), format!("everything of {service}"))
            }
            None => ("resource".to_owned(), "everything".to_owned()),
        };
        let message = format!(
            "the policy {key} no longer loads and forbids {of} until the owner of this agent mends it"
        );
        let text = format!(
            "@id(\"{key}\")\n@denyMessage(\"{message}\")\nforbid (\n  {principal},\n  action,\n  {resource}\n);\n"
        );
        let placed = source::read_stored(&file_of(key, &text), (stored.id, stored.version), self.base.show);
        match placed {
            Ok(placed) => Ok((Instead::Forbidden(service), Some(placed))),
            Err(_) => Err(Instead::Forbidden(None)),
        }
    }

    /// Of what the policy could forbid: `None` for a permit and for one that decides nothing, `Some(None)` for
    /// everything.
    fn forbidden(&self, stored: &StoredPolicy) -> Option<Option<ServiceKey>> {
        if stored.mode != PolicyMode::Enforced {
            return None;
        }
        let text = match &stored.text {
            PolicyText::Structured(policy) => {
                return (policy.effect == PolicyEffect::Forbid).then(|| Some(policy.service.clone()));
            }
            PolicyText::Cedar(text) => text,
        };
        let Ok(policy) = parser::parse_policy(None, text).map(Policy::from) else { return Some(None) };
        match policy.effect() {
            cedar_policy_core::ast::Effect::Permit => None,
            cedar_policy_core::ast::Effect::Forbid => Some(self.service_of(&policy)),
        }
    }

    /// The one service whose actions the scope names.
    fn service_of(&self, policy: &Policy) -> Option<ServiceKey> {
        let actions = match policy.action_constraint() {
            ActionConstraint::Any => return None,
            ActionConstraint::Eq(uid) => vec![uid],
            ActionConstraint::In(uids) => uids.iter().collect(),
        };
        let namespaces: BTreeSet<String> = actions.iter().map(|uid| uid.entity_type().to_string()).collect();
        let mut namespaces = namespaces.into_iter();
        let (Some(only), None) = (namespaces.next(), namespaces.next()) else { return None };
        let namespace = only.strip_suffix("::Action")?;
        let connector = self.base.connectors.iter().find(|connector| connector.namespace == namespace)?;
        Some(connector.service.clone())
    }
}
