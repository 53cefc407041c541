//! The Cedar world of a bundle: what is shared by all calls, and what is made for each.
//!
//! Invariants: shared parts are built once with the bundle; a call makes entities only for its
//! caller, its groups, its resource and what a candidate names; the context holds what the
//! candidates read and nothing else.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use cedar_policy_core::ast::{
    Context, Eid, Entity, EntityType, EntityUID, EntityUIDEntry, Name, PartialValue, Request, Value,
};
use cedar_policy_core::entities::{Entities, NoEntitiesSchema, TCComputation};
use cedar_policy_core::extensions::Extensions;
use cedar_policy_core::validator::ValidatorSchema;

use super::argument::{self, Members, Unreadable};
use super::clock::{self, Zones};
use super::extension;
use super::index::Place;
use super::question::Question;
use super::reads::{COUNTER_RECORDS, CounterReach, Reach, Reads, place_of};
use super::schema::NAMESPACE;
use crate::connector::{AttributeValue, Connector, Connectors, Resource, SERVICE_TYPE};
use crate::model::{CounterKey, CounterScope, Role, ServiceKey, ToolName, TrustMode};

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
    pub(super) entity: Arc<Entity>,
    pub(super) arguments: Members,
}

/// One connector's names in Cedar.
#[derive(Debug)]
struct Service {
    actions: HashMap<ToolName, Action>,
    types: HashMap<String, EntityType>,
    /// `GitHubMCP::Service::"github"` and `Wicket::Service::"github"`.
    entities: [Arc<Entity>; 2],
}

/// The shared parts.
#[derive(Debug)]
pub(super) struct World {
    services: HashMap<ServiceKey, Service>,
    member: EntityType,
    group: EntityType,
    agent: EntityType,
    /// Entities of this bundle by uid, for conditions that name one.
    fixed: HashMap<EntityUID, Arc<Entity>>,
    pub(super) zones: Zones,
    /// Every counter that the schema declares.
    pub(super) counters: BTreeSet<CounterKey>,
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
    /// The shared parts of these connectors under this schema.
    ///
    /// # Errors
    /// A sentence that names what Cedar cannot take as a name.
    pub(super) fn new(
        connectors: &Connectors,
        schema: &ValidatorSchema,
        zones: Zones,
        counters: BTreeSet<CounterKey>,
    ) -> Result<Self, String> {
        let wicket = |name: &str| entity_type(&format!("{NAMESPACE}::{name}"));
        let wicket_service = wicket("Service")?;
        let actions = schema.action_entities().map_err(|error| error.to_string())?;
        let mut fixed: HashMap<EntityUID, Arc<Entity>> =
            actions.iter().map(|action| (action.uid().clone(), Arc::new(action.clone()))).collect();
        let mut services = HashMap::new();
        for connector in connectors.iter() {
            let service = Self::service(connector, &wicket_service, &fixed)?;
            fixed.extend(service.entities.iter().map(|entity| (entity.uid().clone(), Arc::clone(entity))));
            services.insert(connector.service.clone(), service);
        }
        let (member, group, agent) = (wicket("Member")?, wicket("Group")?, wicket("Agent")?);
        Ok(Self { services, member, group, agent, fixed, zones, counters })
    }

    fn service(
        connector: &Connector,
        wicket_service: &EntityType,
        fixed: &HashMap<EntityUID, Arc<Entity>>,
    ) -> Result<Service, String> {
        let full = |name: &str| format!("{}::{name}", connector.namespace);
        let action_type = entity_type(&full("Action"))?;
        let mut actions = HashMap::new();
        for (name, tool) in &connector.tools {
            let uid = uid(&action_type, name.as_str());
            let entity = fixed.get(&uid).map(Arc::clone).ok_or_else(|| format!("no action `{uid}`"))?;
            actions
                .insert(name.clone(), Action { entity, arguments: argument::members_of(&tool.input_schema) });
        }
        let names = connector.resource_types.iter().map(|declared| declared.name.as_str());
        let mut types = HashMap::new();
        for name in names.chain([SERVICE_TYPE]) {
            types.insert(full(name), entity_type(&full(name))?);
        }
        let outer = uid(wicket_service, connector.service.as_str());
        let own = uid(&entity_type(&full(SERVICE_TYPE))?, connector.service.as_str());
        let entities = [entity(own, [], HashSet::from([outer.clone()])), entity(outer, [], HashSet::new())];
        Ok(Service { actions, types, entities })
    }

    /// The tool's action; `None` for a tool that this bundle does not know.
    pub(super) fn action(&self, service: &ServiceKey, tool: &ToolName) -> Option<&Action> {
        self.services.get(service)?.actions.get(tool)
    }

    /// Every tool's action with its groups.
    pub(super) fn actions(&self) -> impl Iterator<Item = Place> {
        self.services.values().flat_map(|service| service.actions.values()).map(Action::place)
    }

    /// The caller as a principal.
    pub(super) fn principal(&self, question: &Question<'_>) -> Place {
        let caller = question.caller;
        let mut ancestors = HashSet::from([uid(&self.agent, &caller.agent.id.to_string())]);
        ancestors.extend(caller.member.groups.iter().map(|group| uid(&self.group, group.as_str())));
        Place { uid: uid(&self.member, &caller.member.id.to_string()), ancestors }
    }

    /// What the call acts on, with all that it stands in.
    pub(super) fn resource(&self, question: &Question<'_>) -> Result<Place, Unaskable> {
        let service = self.services.get(&question.connector.service).ok_or(Unaskable::ResourceType)?;
        let uid = service.uid(question.resource)?;
        let mut ancestors = service.entities.iter().map(|entity| entity.uid().clone()).collect();
        service.ancestors(question.resource, &mut ancestors, PARENTS_DEPTH_MAX)?;
        ancestors.remove(&uid);
        Ok(Place { uid, ancestors })
    }

    /// The entities of one call, with those that `reads` names.
    pub(super) fn entities(
        &self,
        question: &Question<'_>,
        principal: &Place,
        action: &Action,
        reads: &[&Reads],
    ) -> Result<Entities, Unaskable> {
        let service = self.services.get(&question.connector.service).ok_or(Unaskable::ResourceType)?;
        let mut made: HashMap<EntityUID, Arc<Entity>> = HashMap::new();
        let mut add = |entity: Arc<Entity>| drop(made.insert(entity.uid().clone(), entity));
        for literal in reads.iter().flat_map(|reads| &reads.literals) {
            self.fixed.get(literal).into_iter().for_each(|entity| add(Arc::clone(entity)));
        }
        service.entities.iter().for_each(|entity| add(Arc::clone(entity)));
        add(Arc::clone(&action.entity));
        self.caller_entities(question, principal).into_iter().for_each(&mut add);
        service.resource_entities(question.resource, &mut add, PARENTS_DEPTH_MAX)?;
        Entities::new()
            .add_entities(
                made.into_values(),
                None::<&NoEntitiesSchema>,
                TCComputation::AssumeAlreadyComputed,
                Extensions::all_available(),
            )
            .map_err(|_| Unaskable::Value)
    }

    fn caller_entities(&self, question: &Question<'_>, principal: &Place) -> Vec<Arc<Entity>> {
        let (agent, member) = (&question.caller.agent, &question.caller.member);
        let trust = match agent.trust {
            TrustMode::Trusted => "trusted",
            TrustMode::Untrusted => "untrusted",
        };
        let role = match member.role {
            Role::Owner => "owner",
            Role::Member => "member",
        };
        let agent_uid = uid(&self.agent, &agent.id.to_string());
        let attributes = [
            ("agent", Value::from(agent_uid.clone())),
            ("name", Value::from(member.name.as_str())),
            ("role", Value::from(role)),
        ];
        let agent_attributes = [("name", Value::from(agent.name.as_str())), ("trust", Value::from(trust))];
        let groups = member.groups.iter().map(|group| uid(&self.group, group.as_str()));
        groups
            .map(|group| entity(group, [], HashSet::new()))
            .chain([
                entity(agent_uid, agent_attributes, HashSet::new()),
                entity(principal.uid.clone(), attributes, principal.ancestors.clone()),
            ])
            .collect()
    }

    /// The request of one call, with the context as far as `reach` reads it, and the arguments that
    /// it could not hold.
    pub(super) fn request(
        &self,
        question: &Question<'_>,
        places: (&Place, &Place),
        action: &Action,
        reach: &Reach,
    ) -> Result<(Request, Vec<Unreadable>), Unaskable> {
        let mut pairs: Vec<(&str, Value)> = Vec::with_capacity(5);
        let mut unreadable = Vec::new();
        let beneath = |name: &str| Some(reach.beneath(name)).filter(|reach| !reach.is_nothing());
        if let Some(reach) = beneath("args") {
            let (value, faults) = argument::record(&action.arguments, question.arguments, &reach);
            pairs.push(("args", value));
            unreadable = faults;
        }
        if let Some(reach) = beneath("time") {
            pairs.push(("time", clock::record(question.now, &self.zones, &reach).ok_or(Unaskable::Time)?));
        }
        for (name, scope) in [("session", CounterScope::Session), ("member", CounterScope::Member)] {
            if let Some(reach) = beneath(name) {
                pairs.push((name, self.counted(question, scope, &CounterReach::of(&reach))));
            }
        }
        if beneath("caller").is_some() {
            let ip = extension::ip(question.caller.ip).ok_or(Unaskable::Value)?;
            let key = Value::from(question.caller.key.to_string());
            pairs.push(("caller", Value::record([("ip", ip), ("keyId", key)], None)));
        }
        let context = pairs.into_iter().map(|(name, value)| (name.into(), value)).collect();
        let known = |uid: &EntityUID| EntityUIDEntry::known(uid.clone(), None);
        let request = Request::new_unchecked(
            known(&places.0.uid),
            known(action.entity.uid()),
            known(&places.1.uid),
            Some(Context::Value(Arc::new(context))),
        );
        Ok((request, unreadable))
    }

    /// `context.session` or `context.member` with these counters.
    fn counted(&self, question: &Question<'_>, scope: CounterScope, reach: &CounterReach) -> Value {
        let number = |key: &CounterKey| Value::from(question.history.get(scope, key));
        let keys = match reach {
            CounterReach::Keys(keys) => keys,
            CounterReach::Whole => &self.counters,
        };
        let mut plain: Vec<(&str, Value)> = Vec::new();
        let mut records: HashMap<&str, Vec<(String, Value)>> = HashMap::new();
        for key in keys {
            match place_of(key) {
                (None, _) if *key == CounterKey::Calls => plain.push(("calls", number(key))),
                (None, _) => plain.push(("denials", number(key))),
                (Some(record), name) => records.entry(record).or_default().push((name, number(key))),
            }
        }
        if matches!(reach, CounterReach::Whole) {
            for name in COUNTER_RECORDS {
                records.entry(name).or_default();
            }
        }
        let records = records.into_iter().map(|(name, pairs)| (name, Value::record(pairs, None)));
        Value::record(plain.into_iter().chain(records), None)
    }
}

impl Action {
    /// The action with all groups that it is in.
    pub(super) fn place(&self) -> Place {
        Place { uid: self.entity.uid().clone(), ancestors: self.entity.ancestors().cloned().collect() }
    }
}

impl Service {
    fn uid(&self, resource: &Resource) -> Result<EntityUID, Unaskable> {
        let kind = self.types.get(&resource.type_name).ok_or(Unaskable::ResourceType)?;
        Ok(uid(kind, &resource.id))
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

    /// Adds the entities of a resource and of all that it stands in, but for the services.
    fn resource_entities(
        &self,
        resource: &Resource,
        add: &mut impl FnMut(Arc<Entity>),
        depth: usize,
    ) -> Result<(), Unaskable> {
        let depth = depth.checked_sub(1).ok_or(Unaskable::Value)?;
        for parent in &resource.parents {
            self.resource_entities(parent, add, depth)?;
        }
        let uid = self.uid(resource)?;
        let mut ancestors: HashSet<EntityUID> = self.entities.iter().map(|e| e.uid().clone()).collect();
        if ancestors.contains(&uid) {
            return Ok(());
        }
        self.ancestors(resource, &mut ancestors, depth)?;
        let mut attributes = Vec::with_capacity(resource.attributes.len());
        for (name, value) in &resource.attributes {
            let value = attribute(value).ok_or(Unaskable::Value)?;
            attributes.push((name.as_str().into(), PartialValue::Value(value)));
        }
        let made = Entity::new_with_attr_partial_value(uid, attributes, HashSet::new(), ancestors, []);
        add(Arc::new(made));
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
