//! What a call of a tool may act on, as far as it is known before the arguments are.
//!
//! Invariant: whatever [`crate::connector::resource_of`] makes of any arguments of the tool has one of
//! the tool's shapes.

use cedar_policy_core::ast::{EntityReference, EntityType, EntityUID, PrincipalOrResourceConstraint};

use super::possible::Possible;
use crate::connector::{Candidate, Connector, SERVICE_TYPE, Tool};
use crate::policy::world::Service;

/// One kind of resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shape {
    kind: EntityType,
    /// The types that it may stand in, beside the services; nothing for the service itself.
    above: Vec<EntityType>,
    /// The two entities in which everything of the connector stands, the first of which is the resource
    /// itself where a call names none.
    services: [EntityUID; 2],
    exact: bool,
}

/// The names that tell a tool's shapes from another's of the same connector.
pub(super) fn names(tool: &Tool) -> Vec<Vec<&str>> {
    candidates(tool).map(|candidate| chain(candidate).collect()).collect()
}

fn candidates(tool: &Tool) -> impl Iterator<Item = &Candidate> {
    tool.resource.iter().flat_map(|mapping| &mapping.candidates)
}

/// The type of a candidate, and those of all that it may stand in.
fn chain(candidate: &Candidate) -> impl Iterator<Item = &str> {
    let chain = std::iter::successors(Some(candidate), |candidate| candidate.parent.as_deref());
    chain.map(|candidate| candidate.resource_type.name.as_str())
}

/// Everything that a call of this tool may act on. A call that names no resource, or one that cannot be
/// read, acts on the service.
pub(super) fn shapes(service: &Service, connector: &Connector, tool: &Tool) -> Vec<Shape> {
    let services = service.uids();
    let full = |name: &str| service.type_of(&format!("{}::{name}", connector.namespace)).cloned();
    let shape = |candidate: &Candidate| {
        let types: Option<Vec<EntityType>> = chain(candidate).map(full).collect();
        // A type that the bundle does not know: such a call is denied.
        let (kind, above) = types?.split_first().map(|(kind, above)| (kind.clone(), above.to_vec()))?;
        Some(Shape { kind, above, services: services.clone(), exact: false })
    };
    let whole = full(SERVICE_TYPE).map(|kind| Shape {
        kind,
        above: Vec::new(),
        services: services.clone(),
        exact: true,
    });
    let mut shapes: Vec<Shape> = Vec::new();
    for shape in whole.into_iter().chain(candidates(tool).filter_map(shape)) {
        if !shapes.contains(&shape) {
            shapes.push(shape);
        }
    }
    shapes
}

impl Shape {
    /// Whether it is one entity, and which.
    pub(super) const fn is_exact(&self) -> bool {
        self.exact
    }

    /// Whether the entity may be the resource, or one that the resource stands in, so that its attributes
    /// depend on the call.
    pub(super) fn may_hold(&self, uid: &EntityUID) -> bool {
        !self.exact && (*uid.entity_type() == self.kind || self.above.contains(uid.entity_type()))
    }

    /// `resource is`.
    pub(super) fn is(&self, kind: &EntityType) -> Possible {
        if self.kind == *kind { Possible::TRUE } else { Possible::FALSE }
    }

    /// `resource ==`.
    pub(super) fn equals(&self, uid: &EntityUID) -> Possible {
        match self.exact {
            true if self.services.first() == Some(uid) => Possible::TRUE,
            false if self.kind == *uid.entity_type() => Possible::MAYBE,
            _ => Possible::FALSE,
        }
    }

    /// `resource in`.
    pub(super) fn stands_in(&self, uid: &EntityUID) -> Possible {
        if self.services.contains(uid) {
            return Possible::TRUE;
        }
        if self.may_hold(uid) { Possible::MAYBE } else { Possible::FALSE }
    }

    /// Whether it is within a scope.
    pub(super) fn scope(&self, scope: &PrincipalOrResourceConstraint) -> Possible {
        use PrincipalOrResourceConstraint as Scope;
        match scope {
            Scope::Any => Possible::TRUE,
            Scope::Eq(EntityReference::EUID(uid)) => self.equals(uid),
            Scope::In(EntityReference::EUID(uid)) => self.stands_in(uid),
            Scope::Is(kind) => self.is(kind),
            Scope::IsIn(kind, EntityReference::EUID(uid)) => match self.is(kind) {
                Possible::TRUE => self.stands_in(uid),
                other => other,
            },
            // A slot matches nothing: bundles hold no templates.
            Scope::Eq(_) | Scope::In(_) | Scope::IsIn(..) => Possible::FALSE,
        }
    }
}
