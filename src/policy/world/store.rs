//! The entities of one call, as far as its candidates look at any.

use std::collections::HashSet;
use std::sync::{Arc, LazyLock};

use cedar_policy_core::ast::{Entity, EntityUID, PartialValue, Value};
use cedar_policy_core::entities::{Entities, NoEntitiesSchema, TCComputation};
use cedar_policy_core::extensions::Extensions;

use super::{Action, PARENTS_DEPTH_MAX, Principal, Service, Unaskable, World};
use crate::connector::{AttributeValue, Resource};
use crate::policy::extension;
use crate::policy::reads::Reach;
use crate::policy::slice::Plan;

static NONE: LazyLock<Entities> = LazyLock::new(Entities::new);

/// Where the entities of one call are.
#[derive(Debug)]
pub(in crate::policy) enum Store {
    /// No candidate looks at any.
    None,
    /// They look at the principal alone, which has them ready.
    OfPrincipal(Arc<Principal>),
    /// They were made for this call.
    Own(Entities),
}

impl Store {
    pub(in crate::policy) fn entities(&self) -> &Entities {
        match self {
            Self::None => &NONE,
            Self::OfPrincipal(principal) => principal.entities(),
            Self::Own(entities) => entities,
        }
    }
}

/// Entities whose ancestors are all listed in each.
pub(super) fn entities(made: impl IntoIterator<Item = Arc<Entity>>) -> Result<Entities, Unaskable> {
    Entities::new()
        .add_entities(
            made,
            None::<&NoEntitiesSchema>,
            TCComputation::AssumeAlreadyComputed,
            Extensions::all_available(),
        )
        .map_err(|_| Unaskable::Value)
}

/// What a condition could name beside the variables.
#[derive(Debug, Clone, Copy, Default)]
struct Named {
    principal: bool,
    resource: bool,
}

impl World {
    /// The entities that this plan wants.
    pub(in crate::policy) fn store(
        &self,
        plan: &Plan,
        principal: &Arc<Principal>,
        (service, action): (&Service, &Action),
        resource: &Resource,
    ) -> Result<Store, Unaskable> {
        let mut made: Vec<Arc<Entity>> = Vec::new();
        let mut named = Named::default();
        for literal in &plan.literals {
            if let Some(entity) = self.fixed.get(literal) {
                made.push(Arc::clone(entity));
            } else if [&self.member, &self.agent, &self.group].contains(&literal.entity_type()) {
                named.principal = true;
            } else {
                named.resource = true;
            }
        }
        if plan.action {
            made.push(Arc::clone(&action.entity));
        }
        let look_at_resource = named.resource || !plan.resource.is_nothing();
        if made.is_empty() && !look_at_resource {
            return Ok(match plan.principal || named.principal {
                true => Store::OfPrincipal(Arc::clone(principal)),
                false => Store::None,
            });
        }
        if plan.principal || named.principal {
            made.extend(principal.each().iter().map(Arc::clone));
        }
        if look_at_resource {
            let reach = if named.resource { &Reach::Whole } else { &plan.resource };
            let wanted = Wanted { reach, hierarchy: plan.hierarchy, parents: named.resource };
            service.resource_entities(resource, wanted, &mut made, PARENTS_DEPTH_MAX)?;
        }
        dedup(&mut made);
        entities(made).map(Store::Own)
    }
}

/// Keeps one of each: a resource may be one of the fixed entities, and have a parent twice.
fn dedup(made: &mut Vec<Arc<Entity>>) {
    let mut at = 0;
    while let Some(entity) = made.get(at) {
        let (before, _) = made.split_at(at);
        if before.iter().any(|other| other.uid() == entity.uid()) {
            made.remove(at);
        } else {
            at += 1;
        }
    }
}

/// How much of a resource is looked at.
#[derive(Debug, Clone, Copy)]
struct Wanted<'a> {
    reach: &'a Reach,
    /// Whether anyone asks what it stands in.
    hierarchy: bool,
    /// Whether what it stands in is looked at as well.
    parents: bool,
}

impl Service {
    /// Adds the entities of a resource and of all that it stands in, but for the services.
    fn resource_entities(
        &self,
        resource: &Resource,
        wanted: Wanted<'_>,
        made: &mut Vec<Arc<Entity>>,
        depth: usize,
    ) -> Result<(), Unaskable> {
        let depth = depth.checked_sub(1).ok_or(Unaskable::Value)?;
        if wanted.parents {
            for parent in &resource.parents {
                self.resource_entities(parent, wanted, made, depth)?;
            }
        }
        let uid = self.uid(resource)?;
        if let Some(service) = self.entities.iter().find(|service| *service.uid() == uid) {
            made.push(Arc::clone(service));
            return Ok(());
        }
        let mut ancestors = HashSet::new();
        if wanted.hierarchy {
            ancestors.extend(self.entities.iter().map(|entity| entity.uid().clone()));
            self.ancestors(resource, &mut ancestors, depth)?;
        }
        let mut attributes = Vec::with_capacity(resource.attributes.len());
        for (name, value) in &resource.attributes {
            if wanted.reach.touches(std::slice::from_ref(name)) {
                let value = attribute(value).ok_or(Unaskable::Value)?;
                attributes.push((name.as_str().into(), PartialValue::Value(value)));
            }
        }
        let made_now = Entity::new_with_attr_partial_value(uid, attributes, HashSet::new(), ancestors, []);
        made.push(Arc::new(made_now));
        Ok(())
    }

    /// Adds all that a resource stands in.
    fn ancestors(
        &self,
        resource: &Resource,
        found: &mut HashSet<EntityUID>,
        depth: usize,
    ) -> Result<(), Unaskable> {
        let depth = depth.checked_sub(1).ok_or(Unaskable::Value)?;
        for parent in &resource.parents {
            found.insert(self.uid(parent)?);
            self.ancestors(parent, found, depth)?;
        }
        Ok(())
    }
}

fn attribute(value: &AttributeValue) -> Option<Value> {
    match value {
        AttributeValue::String(text) => Some(Value::from(text.as_str())),
        AttributeValue::Long(number) => Some(Value::from(*number)),
        AttributeValue::Bool(truth) => Some(Value::from(*truth)),
        AttributeValue::Decimal(text) => extension::decimal(text),
        AttributeValue::StringSet(texts) => {
            Some(Value::set(texts.iter().map(|text| Value::from(text.as_str())), None))
        }
    }
}
