//! A call in Cedar's terms: names, places in the hierarchy, entities and context (decision 4).
//!
//! Invariants: only what belongs to one call is built for it, over parts that the whole bundle shares;
//! what no candidate reads is not built at all, and where a condition could look at it all the same it
//! would find nothing and fail, which denies.

mod context;
mod principal;
mod store;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use cedar_policy_core::ast::{Eid, Entity, EntityType, EntityUID, Name, PartialValue, Value};
use cedar_policy_core::validator::ValidatorSchema;

use super::argument::{self, Members};
use super::clock::Zones;
use super::index::{Atom, Class, Names};
use super::schema::NAMESPACE;
use crate::connector::{Connector, Connectors, Resource, SERVICE_TYPE};
use crate::model::{CounterKey, ServiceKey, ToolName};

pub use self::context::Moment;
pub(super) use self::context::Named;
pub(super) use self::principal::{CAPS as PRINCIPAL_CAPS, Principal};
pub(super) use self::store::Store;

/// Chains of parents that a resource may have.
const PARENTS_DEPTH_MAX: usize = 16;

/// What stands in the way of asking Cedar at all; such a call is denied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unaskable {
    /// The resource has a type that this bundle's connectors do not declare.
    ResourceType,
    /// The time is beyond what calendars hold.
    Time,
    /// A value that Cedar refuses.
    Value,
}

/// One tool, as a Cedar action.
#[derive(Debug)]
pub(super) struct Action {
    entity: Arc<Entity>,
    uid: Arc<EntityUID>,
    arguments: Arc<Members>,
    pub(super) class: Class,
}

/// One type of resource.
#[derive(Debug)]
struct Kind {
    name: EntityType,
    atom: Atom,
    /// The entities of this type that scopes name.
    named: HashMap<Box<str>, Atom>,
}

/// One connector's names in Cedar.
#[derive(Debug)]
pub(super) struct Service {
    actions: HashMap<ToolName, Action>,
    kinds: HashMap<String, Kind>,
    /// `GitHubMCP::Service::"github"` and `Wicket::Service::"github"`.
    entities: [Arc<Entity>; 2],
    atoms: [Atom; 2],
}

/// The shared parts.
#[derive(Debug)]
pub(super) struct World {
    services: HashMap<ServiceKey, Service>,
    member: EntityType,
    group: EntityType,
    agent: EntityType,
    /// Entities of this bundle by uid, for conditions that name one.
    fixed: Arc<HashMap<EntityUID, Arc<Entity>>>,
    pub(super) zones: Zones,
    /// Every counter that the schema declares.
    pub(super) counters: Arc<BTreeSet<CounterKey>>,
}

/// The type with this full name.
fn entity_type(name: &str) -> Result<EntityType, String> {
    let parsed: Result<Name, _> = name.parse();
    parsed.map(EntityType::EntityType).map_err(|error| format!("`{}`: {error}", name.escape_default()))
}

fn uid(kind: &EntityType, id: &str) -> EntityUID {
    EntityUID::from_components(kind.clone(), Eid::new(id), None)
}

fn entity(
    uid: EntityUID,
    attributes: impl IntoIterator<Item = (&'static str, Value)>,
    ancestors: HashSet<EntityUID>,
) -> Arc<Entity> {
    let attributes = attributes.into_iter().map(|(name, value)| (name.into(), PartialValue::Value(value)));
    Arc::new(Entity::new_with_attr_partial_value(uid, attributes, HashSet::new(), ancestors, []))
}

impl World {
    /// The shared parts of these connectors under this schema, for policies whose scopes name `names`.
    /// `known` is the world of an earlier bundle with the same connectors.
    ///
    /// # Errors
    /// A sentence that names what Cedar cannot take as a name.
    pub(super) fn new(
        (connectors, known): (&Connectors, Option<&Self>),
        schema: &ValidatorSchema,
        names: &Names,
        zones: Zones,
        counters: Arc<BTreeSet<CounterKey>>,
    ) -> Result<Self, String> {
        let wicket = |name: &str| entity_type(&format!("{NAMESPACE}::{name}"));
        let (member, group, agent) = (wicket("Member")?, wicket("Group")?, wicket("Agent")?);
        if let Some(known) = known {
            return Ok(Self::over(known, names, zones, counters));
        }
        let wicket_service = wicket("Service")?;
        let actions = schema.action_entities().map_err(|error| error.to_string())?;
        let mut fixed: HashMap<EntityUID, Arc<Entity>> =
            actions.iter().map(|action| (action.uid().clone(), Arc::new(action.clone()))).collect();
        let mut services = HashMap::new();
        for connector in connectors.iter() {
            let service = Service::new(connector, &wicket_service, names, &fixed)?;
            fixed.extend(service.entities.iter().map(|entity| (entity.uid().clone(), Arc::clone(entity))));
            services.insert(connector.service.clone(), service);
        }
        Ok(Self { services, member, group, agent, fixed: Arc::new(fixed), zones, counters })
    }

    /// The same shared parts, for policies whose scopes name `names`.
    pub(super) fn over(
        known: &Self,
        names: &Names,
        zones: Zones,
        counters: Arc<BTreeSet<CounterKey>>,
    ) -> Self {
        let services = known.services.iter().map(|(key, service)| (key.clone(), service.renamed(names)));
        let (services, fixed) = (services.collect(), Arc::clone(&known.fixed));
        let [member, group, agent] = [&known.member, &known.group, &known.agent].map(Clone::clone);
        Self { services, member, group, agent, fixed, zones, counters }
    }

    /// The connector's names and the tool's action; `None` for a tool that this bundle does not know.
    pub(super) fn action(&self, service: &ServiceKey, tool: &ToolName) -> Option<(&Service, &Action)> {
        let service = self.services.get(service)?;
        Some((service, service.actions.get(tool)?))
    }
}

impl Service {
    fn new(
        connector: &Connector,
        wicket_service: &EntityType,
        names: &Names,
        fixed: &HashMap<EntityUID, Arc<Entity>>,
    ) -> Result<Self, String> {
        let full = |name: &str| format!("{}::{name}", connector.namespace);
        let action_type = entity_type(&full("Action"))?;
        let mut actions = HashMap::new();
        for (name, tool) in connector.actions() {
            let uid = uid(&action_type, name.as_str());
            let entity = fixed.get(&uid).map(Arc::clone).ok_or_else(|| format!("no action `{uid}`"))?;
            let class = names.class(&uid, entity.ancestors());
            let arguments = Arc::new(argument::members_of(&tool.input_schema));
            actions.insert(name.clone(), Action { entity, uid: Arc::new(uid), arguments, class });
        }
        let types = connector.resource_types.iter().map(|declared| declared.name.as_str());
        let mut kinds = HashMap::new();
        for name in types.chain([SERVICE_TYPE]) {
            kinds.insert(full(name), Kind::new(entity_type(&full(name))?, names));
        }
        let outer = uid(wicket_service, connector.service.as_str());
        let own = uid(&entity_type(&full(SERVICE_TYPE))?, connector.service.as_str());
        let atoms = [names.entity(&own), names.entity(&outer)];
        let entities = [entity(own, [], HashSet::from([outer.clone()])), entity(outer, [], HashSet::new())];
        Ok(Self { actions, kinds, entities, atoms })
    }

    /// The same connector, for policies whose scopes name `names`.
    fn renamed(&self, names: &Names) -> Self {
        let action = |(name, action): (&ToolName, &Action)| (name.clone(), action.renamed(names));
        let kind = |(name, kind): (&String, &Kind)| (name.clone(), Kind::new(kind.name.clone(), names));
        Self {
            actions: self.actions.iter().map(action).collect(),
            kinds: self.kinds.iter().map(kind).collect(),
            entities: self.entities.clone(),
            atoms: self.entities.each_ref().map(|entity| names.entity(entity.uid())),
        }
    }

    fn kind(&self, resource: &Resource) -> Result<&Kind, Unaskable> {
        self.kinds.get(&resource.type_name).ok_or(Unaskable::ResourceType)
    }

    /// How scopes see what the call acts on.
    pub(super) fn class(&self, resource: &Resource) -> Result<Class, Unaskable> {
        let kind = self.kind(resource)?;
        let mut above = self.atoms.to_vec();
        self.atoms_above(resource, &mut above, PARENTS_DEPTH_MAX)?;
        Ok(Class::new(kind.atom, kind.named(&resource.id), above))
    }

    fn atoms_above(&self, resource: &Resource, found: &mut Vec<Atom>, depth: usize) -> Result<(), Unaskable> {
        let depth = depth.checked_sub(1).ok_or(Unaskable::Value)?;
        for parent in &resource.parents {
            found.push(self.kind(parent)?.named(&parent.id));
            self.atoms_above(parent, found, depth)?;
        }
        Ok(())
    }

    /// `GitHubMCP::Service::"github"` and `Wicket::Service::"github"`, in which everything stands that a
    /// call acts on.
    pub(super) fn uids(&self) -> [EntityUID; 2] {
        self.entities.each_ref().map(|entity| entity.uid().clone())
    }

    /// The type of resource with this full name.
    pub(super) fn type_of(&self, name: &str) -> Option<&EntityType> {
        self.kinds.get(name).map(|kind| &kind.name)
    }

    fn uid(&self, resource: &Resource) -> Result<EntityUID, Unaskable> {
        Ok(uid(&self.kind(resource)?.name, &resource.id))
    }
}

impl Action {
    /// Whether the context could hold an argument of this name.
    pub(super) fn declares(&self, argument: &str) -> bool {
        self.arguments.contains_key(argument)
    }

    fn renamed(&self, names: &Names) -> Self {
        Self {
            class: names.class(&self.uid, self.entity.ancestors()),
            entity: Arc::clone(&self.entity),
            uid: Arc::clone(&self.uid),
            arguments: Arc::clone(&self.arguments),
        }
    }
}

impl Kind {
    fn new(name: EntityType, names: &Names) -> Self {
        let (atom, named) = (names.kind(&name), names.of_kind(&name));
        Self { name, atom, named }
    }

    /// The atom of the entity with this id; 0 where no scope names it.
    fn named(&self, id: &str) -> Atom {
        if self.named.is_empty() { 0 } else { self.named.get(id).copied().unwrap_or_default() }
    }
}
