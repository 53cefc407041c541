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

use super::declare::Declaring;
use crate::policy::source::Placed;

/// The actions and groups that a scope names, in order, and whether it means those alone or what stands
/// in them as well; `None` for every action.
pub(super) type Scope<'a> = Option<(bool, Vec<&'a EntityUID>)>;

/// The action scope of a policy; every action where it names one that the schema does not declare, or
/// some of several namespaces together: the type checker refuses such a scope, and looks behind it.
pub(super) fn scope_of<'a>(placed: &'a Placed, schema: &ValidatorSchema) -> Scope<'a> {
    scope(&placed.written.body.scope.action, schema)
}

fn scope<'a>(action: &'a ActionConstraint, schema: &ValidatorSchema) -> Scope<'a> {
    let (groups, mut uids): (bool, Vec<&EntityUID>) = match action {
        ActionConstraint::Any => return None,
        ActionConstraint::Eq(uid) => (false, vec![uid.as_ref()]),
        ActionConstraint::In(uids) => (true, uids.iter().map(AsRef::as_ref).collect()),
    };
    uids.sort_unstable();
    uids.dedup();
    let first = uids.first().map(|uid| uid.entity_type());
    let plain = |uid: &&EntityUID| schema.get_action_id(uid).is_some() && Some(uid.entity_type()) == first;
    uids.iter().all(plain).then_some((groups, uids))
}

/// A validator for policies with this action scope, under a schema that declares counters and zones as
/// `declaring` says where that is given. `None` where no call is in the scope, so that the type checker would
/// look at nothing, not even at the scope; the whole schema is then as good whatever it declares.
pub(super) fn narrowed(
    schema: &ValidatorSchema,
    scope: &Scope<'_>,
    declaring: Option<&Declaring>,
) -> Option<Validator> {
    if scope.is_none() {
        // Every action: there is nothing to leave out.
        let declaring = declaring?;
        let actions = schema.action_ids().map(|action| declaring.declared(action));
        return Some(Validator::new(ValidatorSchema::new(schema.entity_types().cloned(), actions)));
    }
    let mut within: HashSet<&EntityUID> = HashSet::new();
    if let Some((groups, uids)) = scope {
        within.extend(uids);
        if *groups {
            let named = uids.iter().filter_map(|uid| schema.get_action_id(uid));
            within.extend(named.flat_map(ValidatorActionId::descendants));
        }
    }
    let mut applied = schema.action_ids().filter(|action| within.contains(action.name()));
    if !applied.any(|action| action.applies_to_principals().next().is_some()) {
        return None;
    }
    let action = |action: &ValidatorActionId| match within.contains(action.name()) {
        true => declaring.map_or_else(|| action.clone(), |declaring| declaring.declared(action)),
        false => {
            let (name, descendants) = (action.name().clone(), action.descendants().cloned());
            ValidatorActionId::new_defined(name, [], [], descendants, Type::Never, None)
        }
    };
    let (types, actions) = (schema.entity_types().cloned(), schema.action_ids().map(action));
    Some(Validator::new(ValidatorSchema::new(types, actions)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use cedar_policy_core::ast::{Policy, PolicySet};
    use cedar_policy_core::extensions::Extensions;
    use cedar_policy_core::validator::ValidationMode;

    use super::*;
    use crate::policy::fixtures::bundle;

    const SCOPES: [&str; 13] = [
        "action == DepotMCP::Action::\"get_file\"",
        "action == DepotMCP::Action::\"pay\"",
        "action == NotesMCP::Action::\"list\"",
        "action == Wicket::Action::\"read\"",
        "action == DepotMCP::Action::\"nonesuch\"",
        "action in Wicket::Action::\"read\"",
        "action in Wicket::Action::\"unlisted\"",
        "action in DepotMCP::Action::\"files\"",
        "action in [DepotMCP::Action::\"pay\", Wicket::Action::\"destructive\"]",
        "action in [DepotMCP::Action::\"pay\", DepotMCP::Action::\"read\"]",
        "action in [NotesMCP::Action::\"add\", NotesMCP::Action::\"add\"]",
        "action in []",
        "action",
    ];
    const RESOURCES: [&str; 3] =
        ["resource", "resource is DepotMCP::Repository", "resource in DepotMCP::Owner::\"a\""];
    const CONDITIONS: [&str; 9] = [
        "true",
        "context.args has path && context.args.path like \"a*\"",
        "context has args.amount && context.args.amount.lessThan(decimal(\"1.0\"))",
        "context.args.owner == \"a\"",
        "resource.owner == \"a\"",
        "resource has owner && resource.owner == 5",
        "action in DepotMCP::Action::\"files\" && context.nope",
        "principal in Wicket::Group::\"a\" || context.session.calls > \"x\"",
        "action == DepotMCP::Action::\"pay\" || action == NotesMCP::Action::\"list\"",
    ];

    fn said(validator: &Validator, policy: &Policy) -> (BTreeSet<String>, BTreeSet<String>) {
        let result = validator.validate(&PolicySet::singleton(policy.clone()), ValidationMode::Strict);
        let errors = result.validation_errors().map(ToString::to_string).collect();
        (errors, result.validation_warnings().map(ToString::to_string).collect())
    }

    #[test]
    fn a_narrowed_schema_gives_the_verdict_of_the_whole() {
        let bundle = bundle("");
        let (text, extensions) = (bundle.schema_text(), Extensions::all_available());
        let (schema, _) = ValidatorSchema::from_cedarschema_str(text, extensions).unwrap();
        let whole = Validator::new(schema);
        let (mut wrong, mut warned, mut narrow) = (0, 0, 0);
        for action in SCOPES {
            for resource in RESOURCES {
                for condition in CONDITIONS {
                    let text = format!("forbid(principal, {action}, {resource}) when {{ {condition} }};");
                    let policy = cedar_policy_core::parser::parse_policy(None, &text).unwrap();
                    let policy = Policy::from(policy);
                    let expected = said(&whole, &policy);
                    wrong += usize::from(!expected.0.is_empty());
                    warned += usize::from(!expected.1.is_empty());
                    let scope = scope(policy.action_constraint(), whole.schema());
                    if scope.is_some()
                        && let Some(narrowed) = narrowed(whole.schema(), &scope, None)
                    {
                        narrow += 1;
                        assert_eq!(said(&narrowed, &policy), expected, "{text}");
                    }
                }
            }
        }
        assert!(wrong > 50 && warned > 20 && narrow > 100, "{wrong} {warned} {narrow}");
    }
}
