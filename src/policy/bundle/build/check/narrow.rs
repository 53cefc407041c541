//! The schema as one policy's action scope needs it: to check a policy for one tool against every kind of
//! call of 1,500 tools would take 1,500 times as long.
//!
//! Invariant: a narrowed schema declares everything that the whole one declares, with the same groups and
//! types; only actions out of the scope apply to nothing. For a call of such an action the condition is
//! false by its scope, which Cedar's type checker sees before it looks at anything behind the scope: those
//! kinds of call could neither fail nor make a policy possible.

use std::collections::HashSet;

use cedar_policy_core::ast::{ActionConstraint, EntityUID};
use cedar_policy_core::validator::types::Type;
use cedar_policy_core::validator::{Validator, ValidatorActionId, ValidatorSchema};

use crate::policy::source::Placed;

/// The actions and groups that a scope names, in order, and whether it means those alone or what stands
/// in them as well; `None` for every action.
pub(super) type Scope<'a> = Option<(bool, Vec<&'a EntityUID>)>;

/// The action scope of a policy.
pub(super) fn scope_of(placed: &Placed) -> Scope<'_> {
    match &placed.written.body.scope.action {
        ActionConstraint::Any => None,
        ActionConstraint::Eq(uid) => Some((false, vec![uid.as_ref()])),
        ActionConstraint::In(uids) => {
            let mut uids: Vec<&EntityUID> = uids.iter().map(AsRef::as_ref).collect();
            uids.sort_unstable();
            uids.dedup();
            Some((true, uids))
        }
    }
}

/// A validator for policies with this action scope.
pub(super) fn narrowed(schema: &ValidatorSchema, scope: &Scope<'_>) -> Validator {
    let mut within: HashSet<&EntityUID> = HashSet::new();
    if let Some((groups, uids)) = scope {
        within.extend(uids);
        if *groups {
            let named = uids.iter().filter_map(|uid| schema.get_action_id(uid));
            within.extend(named.flat_map(ValidatorActionId::descendants));
        }
    }
    let action = |action: &ValidatorActionId| match within.contains(action.name()) {
        true => action.clone(),
        false => {
            let (name, descendants) = (action.name().clone(), action.descendants().cloned());
            ValidatorActionId::new_defined(name, [], [], descendants, Type::Never, None)
        }
    };
    Validator::new(ValidatorSchema::new(schema.entity_types().cloned(), schema.action_ids().map(action)))
}
