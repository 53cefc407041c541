//! Which policies can matter for one call, without evaluating any condition.
//!
//! Invariant: a policy is a candidate exactly if its scope matches. Scopes cannot fail to evaluate,
//! so leaving the others out changes neither the decision nor the determining nor the failing
//! policies (pitfalls 3; Cedar's `isAuthorized_eq_for_sound_policy_slice`).

use std::collections::{HashMap, HashSet};

use cedar_policy_core::ast::{
    ActionConstraint, EntityReference, EntityUID, Policy, PrincipalOrResourceConstraint,
};

/// An entity and everything that it stands in.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) uid: EntityUID,
    pub(super) ancestors: HashSet<EntityUID>,
}

impl Place {
    fn is_in(&self, other: &EntityUID) -> bool {
        self.uid == *other || self.ancestors.contains(other)
    }

    /// Whether this entity is within a scope. A slot matches nothing: bundles hold no templates.
    pub(super) fn is_within(&self, scope: &PrincipalOrResourceConstraint) -> bool {
        use PrincipalOrResourceConstraint as Scope;
        match scope {
            Scope::Any => true,
            Scope::Eq(EntityReference::EUID(uid)) => self.uid == **uid,
            Scope::In(EntityReference::EUID(uid)) => self.is_in(uid),
            Scope::Is(kind) => self.uid.entity_type() == kind.as_ref(),
            Scope::IsIn(kind, EntityReference::EUID(uid)) => {
                self.uid.entity_type() == kind.as_ref() && self.is_in(uid)
            }
            Scope::Eq(_) | Scope::In(_) | Scope::IsIn(..) => false,
        }
    }

    /// Whether an action with its groups is within a scope.
    pub(super) fn is_within_action(&self, scope: &ActionConstraint) -> bool {
        match scope {
            ActionConstraint::Any => true,
            ActionConstraint::Eq(uid) => self.uid == **uid,
            ActionConstraint::In(uids) => uids.iter().any(|uid| self.is_in(uid)),
        }
    }
}

/// The scope of one policy.
#[derive(Debug, Clone)]
pub(super) struct Scope {
    pub(super) principal: PrincipalOrResourceConstraint,
    pub(super) action: ActionConstraint,
    pub(super) resource: PrincipalOrResourceConstraint,
}

impl Scope {
    /// The scope of a static policy.
    pub(super) fn of(policy: &Policy) -> Self {
        Self {
            principal: policy.principal_constraint().into_inner(),
            action: policy.action_constraint().clone(),
            resource: policy.resource_constraint().into_inner(),
        }
    }

    /// The one entity that a principal has to be, or to stand in, for this scope to match.
    fn principal_key(&self) -> Option<&EntityUID> {
        use PrincipalOrResourceConstraint as Scope;
        match &self.principal {
            Scope::Eq(EntityReference::EUID(uid))
            | Scope::In(EntityReference::EUID(uid))
            | Scope::IsIn(_, EntityReference::EUID(uid)) => Some(uid),
            _ => None,
        }
    }
}

/// The policies that speak of one action.
#[derive(Debug, Default)]
struct Bucket {
    /// Those that name no principal, by their number in the bundle, ascending.
    anyone: Vec<u32>,
    /// Those that name one, by what they name.
    named: HashMap<EntityUID, Vec<u32>>,
}

/// The policies of a bundle by action and principal.
#[derive(Debug, Default)]
pub(super) struct Index {
    scopes: Vec<Scope>,
    buckets: HashMap<EntityUID, Bucket>,
}

impl Index {
    /// Sorts these policies by the actions that there are.
    pub(super) fn new(scopes: Vec<Scope>, actions: impl IntoIterator<Item = Place>) -> Self {
        let mut buckets = HashMap::new();
        for action in actions {
            let mut bucket = Bucket::default();
            for (number, scope) in (0u32..).zip(&scopes) {
                if !action.is_within_action(&scope.action) {
                    continue;
                }
                match scope.principal_key() {
                    None => bucket.anyone.push(number),
                    Some(uid) => bucket.named.entry(uid.clone()).or_default().push(number),
                }
            }
            buckets.insert(action.uid, bucket);
        }
        Self { scopes, buckets }
    }

    /// The policies whose action and principal scopes match, ascending; none for an action that is
    /// not there.
    pub(super) fn addressed(&self, principal: &Place, action: &EntityUID) -> Vec<u32> {
        let Some(bucket) = self.buckets.get(action) else {
            return Vec::new();
        };
        let mut found = bucket.anyone.clone();
        if !bucket.named.is_empty() {
            let keys = std::iter::once(&principal.uid).chain(&principal.ancestors);
            found.extend(keys.filter_map(|uid| bucket.named.get(uid)).flatten());
        }
        found.retain(|number| self.scope(*number).is_some_and(|scope| principal.is_within(&scope.principal)));
        found.sort_unstable();
        found.dedup();
        found
    }

    /// The policies whose whole scope matches, ascending.
    pub(super) fn candidates(&self, principal: &Place, action: &EntityUID, resource: &Place) -> Vec<u32> {
        let mut found = self.addressed(principal, action);
        found.retain(|number| self.scope(*number).is_some_and(|scope| resource.is_within(&scope.resource)));
        found
    }

    /// The scope of a policy, by its number.
    pub(super) fn scope(&self, number: u32) -> Option<&Scope> {
        self.scopes.get(usize::try_from(number).ok()?)
    }
}
