//! One policy's scope: as Cedar parsed it, and in numbers.

use std::sync::Arc;

use cedar_policy_core::ast::{
    ActionConstraint, EntityReference, EntityType, EntityUID, Policy, PrincipalOrResourceConstraint,
};

use super::{Atom, Class, Names};
use crate::policy::strip::bare;

/// The scope of one policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::policy) struct Scope {
    pub(in crate::policy) principal: PrincipalOrResourceConstraint,
    pub(in crate::policy) action: ActionConstraint,
    pub(in crate::policy) resource: PrincipalOrResourceConstraint,
}

impl Scope {
    /// The scope of a static policy, without the places that it was written at: each would keep the
    /// policy's text.
    pub(in crate::policy) fn of(policy: &Policy) -> Self {
        Self {
            principal: entity_without_places(policy.principal_constraint().into_inner()),
            action: action_without_places(policy.action_constraint()),
            resource: entity_without_places(policy.resource_constraint().into_inner()),
        }
    }
}

fn entity_without_places(scope: PrincipalOrResourceConstraint) -> PrincipalOrResourceConstraint {
    use PrincipalOrResourceConstraint as Scope;
    let reference = |reference: EntityReference| match reference {
        EntityReference::EUID(uid) => EntityReference::EUID(Arc::new(bare(&uid))),
        slot @ EntityReference::Slot(_) => slot,
    };
    let kind = |kind: Arc<EntityType>| Arc::new(kind.with_loc(None));
    match scope {
        Scope::Any => Scope::Any,
        Scope::Eq(uid) => Scope::Eq(reference(uid)),
        Scope::In(uid) => Scope::In(reference(uid)),
        Scope::Is(name) => Scope::Is(kind(name)),
        Scope::IsIn(name, uid) => Scope::IsIn(kind(name), reference(uid)),
    }
}

fn action_without_places(scope: &ActionConstraint) -> ActionConstraint {
    match scope {
        ActionConstraint::Any => ActionConstraint::Any,
        ActionConstraint::Eq(uid) => ActionConstraint::Eq(Arc::new(bare(uid))),
        ActionConstraint::In(uids) => {
            ActionConstraint::In(uids.iter().map(|uid| Arc::new(bare(uid))).collect())
        }
    }
}

/// A principal's or a resource's part of a scope, in numbers.
#[derive(Debug)]
pub(super) enum Within {
    Any,
    Eq(Atom),
    In(Atom),
    Is(Atom),
    IsIn(Atom, Atom),
    /// A slot matches nothing: bundles hold no templates.
    Nothing,
}

impl Within {
    /// Whether an entity of this class is within.
    pub(super) fn holds(&self, class: &Class) -> bool {
        match self {
            Self::Any => true,
            Self::Eq(uid) => class.own == *uid,
            Self::In(uid) => class.is_in(*uid),
            Self::Is(kind) => class.kind == *kind,
            Self::IsIn(kind, uid) => class.kind == *kind && class.is_in(*uid),
            Self::Nothing => false,
        }
    }

    /// The one entity that it names; 0 where it names none.
    pub(super) fn key(&self) -> Atom {
        match self {
            Self::Eq(uid) | Self::In(uid) | Self::IsIn(_, uid) => *uid,
            Self::Any | Self::Is(_) | Self::Nothing => 0,
        }
    }
}

/// An action's part of a scope, in numbers.
#[derive(Debug)]
pub(super) enum ActionWithin {
    Any,
    Eq(Atom),
    /// Ascending, without repetition.
    In(Box<[Atom]>),
}

impl ActionWithin {
    /// Whether an action of this class is within.
    pub(super) fn holds(&self, class: &Class) -> bool {
        match self {
            Self::Any => true,
            Self::Eq(uid) => class.own == *uid,
            Self::In(uids) => uids.iter().any(|uid| class.is_in(*uid)),
        }
    }

    /// The actions that it names; 0 alone where it means any.
    pub(super) fn keys(&self) -> &[Atom] {
        match self {
            Self::Any => &[0],
            Self::Eq(uid) => std::slice::from_ref(uid),
            Self::In(uids) => uids,
        }
    }
}

impl Names {
    pub(super) fn within(&mut self, scope: &PrincipalOrResourceConstraint) -> Within {
        use PrincipalOrResourceConstraint as Scope;
        match scope {
            Scope::Any => Within::Any,
            Scope::Eq(EntityReference::EUID(uid)) => Within::Eq(self.number(uid)),
            Scope::In(EntityReference::EUID(uid)) => Within::In(self.number(uid)),
            Scope::Is(kind) => Within::Is(self.number_kind(kind)),
            Scope::IsIn(kind, EntityReference::EUID(uid)) => {
                Within::IsIn(self.number_kind(kind), self.number(uid))
            }
            Scope::Eq(_) | Scope::In(_) | Scope::IsIn(..) => Within::Nothing,
        }
    }

    pub(super) fn action_within(&mut self, scope: &ActionConstraint) -> ActionWithin {
        match scope {
            ActionConstraint::Any => ActionWithin::Any,
            ActionConstraint::Eq(uid) => ActionWithin::Eq(self.number(uid)),
            ActionConstraint::In(uids) => {
                let mut atoms: Vec<Atom> = uids.iter().map(|uid| self.number(uid)).collect();
                atoms.sort_unstable();
                atoms.dedup();
                ActionWithin::In(atoms.into())
            }
        }
    }

    fn number(&mut self, uid: &Arc<EntityUID>) -> Atom {
        if let Some(atom) = self.entities.get(uid) {
            return *atom;
        }
        let next = next(self.entities.len());
        *self.entities.entry(Arc::clone(uid)).or_insert(next)
    }

    fn number_kind(&mut self, kind: &EntityType) -> Atom {
        if let Some(atom) = self.kinds.get(kind) {
            return *atom;
        }
        let next = next(self.kinds.len());
        *self.kinds.entry(kind.clone()).or_insert(next)
    }
}

/// The number after `taken` others. Bundles are capped far below 2^32 names; numbers that ran out would
/// make scopes match more entities than they name, so they never do.
fn next(taken: usize) -> Atom {
    Atom::try_from(taken).ok().and_then(|taken| taken.checked_add(1)).unwrap_or(Atom::MAX)
}
