//! The kinds of calls that there are: a tool, and a type of resource that it may act on. Every question is
//! asked of each kind on its own, because that is how Cedar types its requests.
//!
//! Invariant: a policy that is left out for a kind matches no call of it: its scope names other actions, or
//! types that no such call has.

use cedar_policy_core::ast::{
    ActionConstraint, EntityReference, EntityType, EntityUID, PrincipalOrResourceConstraint,
};

use crate::connector::{Connector, Connectors, SERVICE_TYPE, Tool};
use crate::policy::Effect;
use crate::policy::engine::Rule;
use crate::policy::schema::NAMESPACE;

/// A tool, and a type of resource that its calls may act on.
#[derive(Debug, Clone)]
pub(super) struct Kind<'a> {
    pub(super) connectors: &'a Connectors,
    pub(super) connector: &'a Connector,
    pub(super) tool: &'a Tool,
    /// Bare: `Repository`, or `Service`.
    pub(super) resource: &'a str,
    /// Whether these are the calls whose resource cannot be told from their arguments: they act on the
    /// service in spite of what they name.
    pub(super) untold: bool,
    /// The action and every group that it stands in.
    actions: Vec<EntityUID>,
    /// The full names of the resource's type and of those that it may stand in.
    types: Vec<String>,
}

/// Every kind of call, in the order of connectors and tools.
pub(super) fn kinds(connectors: &Connectors) -> Vec<Kind<'_>> {
    let mut kinds = Vec::new();
    for connector in connectors.iter() {
        for (_, tool) in connector.actions() {
            let types = tool.resource_type_names().filter(|name| *name != SERVICE_TYPE);
            for resource in types.chain([SERVICE_TYPE]) {
                kinds.extend(Kind::new(connectors, connector, tool, resource));
            }
            if tool.resource.is_some() {
                let untold = Kind::new(connectors, connector, tool, SERVICE_TYPE);
                kinds.extend(untold.map(|kind| Kind { untold: true, ..kind }));
            }
        }
    }
    kinds
}

impl<'a> Kind<'a> {
    fn new(
        connectors: &'a Connectors,
        connector: &'a Connector,
        tool: &'a Tool,
        resource: &'a str,
    ) -> Option<Self> {
        let own = &connector.namespace;
        let name = tool.name.as_str();
        let groups = connector.groups.iter().filter(|(_, tools)| tools.contains(name));
        let mut actions: Vec<(&str, &str)> =
            groups.map(|(group, _)| (own.as_str(), group.as_str())).collect();
        actions.extend([(own.as_str(), name), (own.as_str(), tool.tier.as_str())]);
        actions.push((NAMESPACE, tool.tier.as_str()));
        if connector.operations.contains_key(name) {
            actions.push((NAMESPACE, name));
        }
        let uid = |(namespace, id): (&str, &str)| {
            let kind = format!("{namespace}::Action").parse::<cedar_policy_core::ast::Name>().ok()?;
            let eid = cedar_policy_core::ast::Eid::new(id);
            Some(EntityUID::from_components(EntityType::EntityType(kind), eid, None))
        };
        let actions = actions.into_iter().map(uid).collect::<Option<Vec<_>>>()?;
        let mut types = vec![format!("{own}::{resource}")];
        let mut next = connector.resource_type(resource).and_then(|declared| declared.parent.as_deref());
        while let Some(parent) = next.filter(|parent| !types.contains(&format!("{own}::{parent}"))) {
            types.push(format!("{own}::{parent}"));
            next = connector.resource_type(parent).and_then(|declared| declared.parent.as_deref());
        }
        types.extend([format!("{own}::{SERVICE_TYPE}"), format!("{NAMESPACE}::Service")]);
        Some(Self { connectors, connector, tool, resource, untold: false, actions, types })
    }

    /// The full name of the resource's type.
    pub(super) fn resource_type(&self) -> String {
        format!("{}::{}", self.connector.namespace, self.resource)
    }

    /// The full name of the action.
    pub(super) fn action_type(&self) -> String {
        format!("{}::Action", self.connector.namespace)
    }

    /// As an agent calls the tool.
    pub(super) fn tool_name(&self) -> String {
        self.connectors.listed_name(&self.connector.service, &self.tool.name)
    }

    /// Whether the policy could match a call of this kind.
    pub(super) fn is_within(&self, rule: &Rule) -> bool {
        self.addresses(rule) && self.acts_on(rule)
    }

    /// Whether the policy denies every call of this kind of whom it speaks at all: it looks at a resource
    /// that cannot be told (`policy/slice.rs` says which do).
    pub(super) fn is_blinding(&self, rule: &Rule) -> bool {
        self.untold
            && self.addresses(rule)
            && match self.acts_on(rule) {
                true => !rule.body.reads().resource.is_nothing(),
                false => rule.body.effect == Effect::Forbid,
            }
    }

    /// Whether the policy's resource could be of this kind.
    fn acts_on(&self, rule: &Rule) -> bool {
        could_be(&rule.body.scope.resource, &self.resource_type(), &self.types)
    }

    /// Whether the policy's action is of this kind, and its principal can be any caller.
    fn addresses(&self, rule: &Rule) -> bool {
        let scope = &rule.body.scope;
        let acts = match &scope.action {
            ActionConstraint::Any => true,
            ActionConstraint::Eq(uid) => self.actions.contains(uid),
            ActionConstraint::In(uids) => uids.iter().any(|uid| self.actions.contains(uid)),
        };
        let member = format!("{NAMESPACE}::Member");
        let callers = [member.clone(), format!("{NAMESPACE}::Group"), format!("{NAMESPACE}::Agent")];
        acts && could_be(&scope.principal, &member, &callers)
    }
}

/// Whether an entity of the type `own`, which may stand in entities of the types `above`, could match.
fn could_be(scope: &PrincipalOrResourceConstraint, own: &str, above: &[String]) -> bool {
    use PrincipalOrResourceConstraint as Scope;
    let is = |kind: &EntityType| kind.to_string() == own;
    let stands_in = |uid: &EntityReference| match uid {
        EntityReference::EUID(uid) => above.contains(&uid.entity_type().to_string()),
        EntityReference::Slot(_) => false,
    };
    match scope {
        Scope::Any => true,
        Scope::Is(kind) => is(kind),
        Scope::Eq(EntityReference::EUID(uid)) => is(uid.entity_type()),
        Scope::Eq(EntityReference::Slot(_)) => false,
        Scope::In(uid) => stands_in(uid),
        Scope::IsIn(kind, uid) => is(kind) && stands_in(uid),
    }
}
