//! What the conditions of one question look at, and so what its schema has to declare.

use std::collections::BTreeSet;

use cedar_policy_core::ast::{Expr, ExprKind};

use super::kind::Kind;
use crate::model::CounterKey;
use crate::policy::clock::{self, Zones};
use crate::policy::reads::{CounterReach, Reach, Reads, children};
use crate::policy::schema::{self, Ground, Narrow};

/// The name of the action in questions that do not look at it, so that tools which differ in name alone
/// ask the same question.
const ANY_ACTION: &str = "a call";

/// What is looked at.
#[derive(Debug)]
pub(super) struct Looks {
    pub(super) reads: Reads,
    pub(super) session: BTreeSet<CounterKey>,
    pub(super) member: BTreeSet<CounterKey>,
    pub(super) zones: Zones,
    /// Entity types that an `is` names.
    types: BTreeSet<String>,
}

impl Looks {
    /// What these conditions look at.
    pub(super) fn at(conditions: &[&Expr], counters: &BTreeSet<CounterKey>) -> Self {
        let (mut reads, mut types) = (Reads::default(), BTreeSet::new());
        for condition in conditions {
            let mut more = Reads::of(Some(condition));
            reads.zones.append(&mut more.zones);
            reads.join(more);
            types_of(condition, &mut types);
        }
        let counted = |name: &str| match CounterReach::of(&reads.context.beneath(name)) {
            CounterReach::Keys(keys) => keys,
            CounterReach::Whole => counters.clone(),
        };
        let (session, member) = (counted("session"), counted("member"));
        let named = reads.zones.iter().filter_map(|(name, _)| Some((name.clone(), clock::zone(name)?)));
        let zones = named.collect();
        Self { reads, session, member, zones, types }
    }

    /// What is read of `context.args`.
    pub(super) fn arguments(&self) -> Reach {
        self.reads.context.beneath("args")
    }

    /// What is read of `context.time`.
    pub(super) fn time(&self) -> Reach {
        self.reads.context.beneath("time")
    }

    /// The name under which the action stands in the question.
    pub(super) fn action<'k>(&self, kind: &'k Kind<'_>) -> &'k str {
        if self.actions().is_some() { kind.tool.name.as_str() } else { ANY_ACTION }
    }

    /// The actions that are named, as namespaces and ids; `None` where nobody looks at the action.
    fn actions(&self) -> Option<BTreeSet<(String, String)>> {
        let named = self.reads.literals.iter().filter_map(|uid| {
            let kind = uid.entity_type().to_string();
            let namespace = kind.strip_suffix("::Action")?;
            Some((namespace.to_owned(), AsRef::<str>::as_ref(uid.eid()).to_owned()))
        });
        let named: BTreeSet<(String, String)> = named.collect();
        (self.reads.action || !named.is_empty()).then_some(named)
    }

    /// The schema of the question.
    pub(super) fn schema(&self, kind: &Kind<'_>) -> String {
        let literals = self.reads.literals.iter().map(|uid| uid.entity_type().to_string());
        let namespace = |name: String| name.rsplit_once("::").map(|(namespace, _)| namespace.to_owned());
        let arguments = self.arguments();
        let declared = crate::policy::argument::members_of(&kind.tool.input_schema);
        schema::narrow(&Narrow {
            ground: Ground { connectors: kind.connectors, zones: &self.zones },
            connector: kind.connector,
            tool: kind.tool,
            resource: kind.resource,
            action: self.action(kind),
            actions_named: self.actions(),
            namespaces: literals.chain(self.types.iter().cloned()).filter_map(namespace).collect(),
            arguments: declared.into_keys().filter(|name| arguments.touches_name(name)).collect(),
            session: self.session.clone(),
            member: self.member.clone(),
        })
    }
}

fn types_of(condition: &Expr, types: &mut BTreeSet<String>) {
    if let ExprKind::Is { entity_type, .. } = condition.expr_kind() {
        types.insert(entity_type.to_string());
    }
    for child in children(condition) {
        types_of(child, types);
    }
}
