//! Which policies can matter for one call, without evaluating any condition.
//!
//! Invariants: a policy is a candidate exactly if its scope matches. Scopes cannot fail to evaluate,
//! so leaving the others out changes neither the decision nor the determining nor the failing
//! policies (pitfalls 3; Cedar's `isAuthorized_eq_for_sound_policy_slice`). Candidates are a function
//! of three [`Class`]es and of nothing else: whoever keeps them under those has kept them rightly.

mod scope;

use std::collections::HashMap;
use std::sync::Arc;

use cedar_policy_core::ast::{EntityType, EntityUID};

pub(super) use self::scope::Scope;
use self::scope::{ActionWithin, Within};

/// The number of an entity, or of a type, that some scope names; 0 stands for every other.
pub(super) type Atom = u32;

/// How one entity looks to the scopes of a bundle: two entities of one class are in the same scopes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Class {
    kind: Atom,
    own: Atom,
    /// What it stands in, as far as scopes name it; ascending, without repetition.
    above: Vec<Atom>,
}

impl Class {
    /// The class of an entity out of its type's atom, its own and those of all its ancestors.
    pub(super) fn new(kind: Atom, own: Atom, mut above: Vec<Atom>) -> Self {
        above.retain(|atom| *atom != 0);
        above.sort_unstable();
        above.dedup();
        Self { kind, own, above }
    }

    fn is_in(&self, atom: Atom) -> bool {
        self.own == atom || self.above.binary_search(&atom).is_ok()
    }

    /// Everything that a scope could name to mean this entity, and "any" (0).
    fn keys(&self) -> impl Iterator<Item = Atom> + Clone {
        let own = (self.own != 0).then_some(self.own);
        std::iter::once(0).chain(own).chain(self.above.iter().copied())
    }

    /// The numbers that tell this class from every other, for a key; they end where they end.
    pub(super) fn words(&self) -> impl Iterator<Item = u32> {
        let length = u32::try_from(self.above.len()).unwrap_or(u32::MAX);
        [self.kind, self.own, length].into_iter().chain(self.above.iter().copied())
    }

    /// Bytes that it takes up.
    pub(super) fn bytes(&self) -> usize {
        size_of::<Self>() + self.above.len() * size_of::<Atom>()
    }
}

/// Who asks for what, of what, as scopes see it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Classes<'a> {
    pub(super) principal: &'a Class,
    pub(super) action: &'a Class,
    pub(super) resource: &'a Class,
}

/// What the scopes name, numbered from 1.
#[derive(Debug, Default)]
pub(super) struct Names {
    entities: HashMap<Arc<EntityUID>, Atom>,
    kinds: HashMap<EntityType, Atom>,
}

impl Names {
    /// The number of an entity; 0 where no scope names it.
    pub(super) fn entity(&self, uid: &EntityUID) -> Atom {
        self.entities.get(uid).copied().unwrap_or_default()
    }

    /// The number of a type; 0 where no scope names it.
    pub(super) fn kind(&self, kind: &EntityType) -> Atom {
        self.kinds.get(kind).copied().unwrap_or_default()
    }

    /// The class of an entity that stands in these others.
    pub(super) fn class<'a>(
        &self,
        uid: &EntityUID,
        ancestors: impl IntoIterator<Item = &'a EntityUID>,
    ) -> Class {
        let above = ancestors.into_iter().map(|uid| self.entity(uid)).collect();
        Class::new(self.kind(uid.entity_type()), self.entity(uid), above)
    }

    /// The entities of this type that scopes name, by their ids.
    pub(super) fn of_kind(&self, kind: &EntityType) -> HashMap<Box<str>, Atom> {
        let named = self.entities.iter().filter(|(uid, _)| uid.entity_type() == kind);
        named.map(|(uid, atom)| (AsRef::<str>::as_ref(uid.eid()).into(), *atom)).collect()
    }
}

/// One scope, in numbers.
#[derive(Debug)]
struct Numbered {
    principal: Within,
    action: ActionWithin,
    resource: Within,
}

impl Numbered {
    fn addresses(&self, classes: Classes<'_>) -> bool {
        self.principal.holds(classes.principal) && self.action.holds(classes.action)
    }
}

/// The policies of a bundle by what their scopes name.
#[derive(Debug, Default)]
pub(super) struct Index {
    names: Names,
    numbered: Vec<Numbered>,
    /// The policies, ascending, by one action, one principal and one resource that they name each; 0
    /// where they name none. A policy for several actions stands in several lists.
    lists: HashMap<[Atom; 3], Vec<u32>>,
}

impl Index {
    /// Sorts these scopes, each by its place in the list.
    pub(super) fn new<'a>(scopes: impl IntoIterator<Item = &'a Scope>) -> Self {
        let mut index = Self::default();
        for (number, scope) in (0u32..).zip(scopes) {
            let numbered = index.names.numbered(scope);
            for action in numbered.action.keys() {
                let key = [*action, numbered.principal.key(), numbered.resource.key()];
                index.lists.entry(key).or_default().push(number);
            }
            index.numbered.push(numbered);
        }
        index.lists.shrink_to_fit();
        index.lists.values_mut().for_each(Vec::shrink_to_fit);
        index
    }

    /// What the scopes name.
    pub(super) fn names(&self) -> &Names {
        &self.names
    }

    /// The policies whose whole scope matches, ascending.
    pub(super) fn candidates(&self, classes: Classes<'_>) -> Vec<u32> {
        let mut found = self.nearby(classes);
        found.retain(|number| {
            let within =
                |scope: &Numbered| scope.addresses(classes) && scope.resource.holds(classes.resource);
            self.numbered(*number).is_some_and(within)
        });
        found.sort_unstable();
        // A policy for several actions may have been found under more than one.
        found.dedup();
        found
    }

    /// Policies that hold all whose scope matches: those that name what these classes are or stand in. Where
    /// that is to look at more lists than there are policies, simply every policy.
    fn nearby(&self, classes: Classes<'_>) -> Vec<u32> {
        let (principals, resources) = (classes.principal.keys(), classes.resource.keys());
        let lists = (classes.action.keys().count() * principals.clone().count())
            .saturating_mul(resources.clone().count());
        if lists > self.numbered.len() {
            return (0u32..).take(self.numbered.len()).collect();
        }
        let mut found = Vec::new();
        for action in classes.action.keys() {
            for principal in principals.clone() {
                let keys = resources.clone().map(|resource| [action, principal, resource]);
                found.extend(keys.filter_map(|key| self.lists.get(&key)).flatten());
            }
        }
        found
    }

    /// The policies whose principal and action scopes match, whatever their resource, ascending, each
    /// with whether its resource scope matches as well. It looks at every policy.
    pub(super) fn addressed(&self, classes: Classes<'_>) -> Vec<(u32, bool)> {
        let all = (0u32..).zip(&self.numbered).filter(|(_, scope)| scope.addresses(classes));
        all.map(|(number, scope)| (number, scope.resource.holds(classes.resource))).collect()
    }

    /// The policies whose principal's scope matches, ready to be asked for by action, whatever their
    /// resource. It looks at every policy.
    pub(super) fn of_principal(&self, principal: &Class) -> OfPrincipal<'_> {
        let mut by_action: HashMap<Atom, Vec<u32>> = HashMap::new();
        let within = (0u32..).zip(&self.numbered).filter(|(_, scope)| scope.principal.holds(principal));
        for (number, scope) in within {
            for action in scope.action.keys() {
                by_action.entry(*action).or_default().push(number);
            }
        }
        OfPrincipal { index: self, by_action }
    }

    /// Which of action, principal and resource do not match a policy's scope.
    pub(super) fn missed(&self, number: u32, classes: Classes<'_>) -> Option<[bool; 3]> {
        let scope = self.numbered(number)?;
        Some([
            !scope.action.holds(classes.action),
            !scope.principal.holds(classes.principal),
            !scope.resource.holds(classes.resource),
        ])
    }

    fn numbered(&self, number: u32) -> Option<&Numbered> {
        self.numbered.get(usize::try_from(number).ok()?)
    }
}

/// The policies that speak of one principal.
pub(super) struct OfPrincipal<'a> {
    index: &'a Index,
    by_action: HashMap<Atom, Vec<u32>>,
}

impl OfPrincipal<'_> {
    /// Those whose action's scope matches as well, ascending.
    pub(super) fn of(&self, action: &Class) -> Vec<u32> {
        let lists = action.keys().filter_map(|key| self.by_action.get(&key));
        let mut found: Vec<u32> = lists.flatten().copied().collect();
        found.retain(|number| self.index.numbered(*number).is_some_and(|scope| scope.action.holds(action)));
        found.sort_unstable();
        found.dedup();
        found
    }
}

impl Names {
    fn numbered(&mut self, scope: &Scope) -> Numbered {
        Numbered {
            principal: self.within(&scope.principal),
            action: self.action_within(&scope.action),
            resource: self.within(&scope.resource),
        }
    }
}

#[cfg(test)]
mod tests;
