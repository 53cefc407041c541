//! From what a solver found to calls that can be made.
//!
//! Invariant: nothing here is believed. What is made of the solver's values is a list of attempts, each of
//! which the gate then decides for itself.

mod moment;
mod resource;

use std::collections::BTreeMap;
use std::net::IpAddr;

use cedar_policy_core::ast::{Context, Entity, EntityUID, Literal, PartialValue, Value, ValueKind};
use cedar_policy_core::entities::Dereference;
use cedar_policy_symcc::Env;
use ipnet::IpNet;
use serde_json::{Map, Value as Json};

use super::kind::Kind;
use super::read::Looks;
use crate::model::{CounterKey, GroupName, History, MemberId, Role, Timestamp, TrustMode};
use crate::policy::Scenario;
use crate::policy::reads::place_of;
use crate::policy::schema::NAMESPACE;

/// Attempts that are made of one answer.
const ATTEMPTS_MAX: usize = 24;
/// When a call happens where the time does not matter: a Monday morning.
const SOME_TIME: &str = "2026-11-23T10:00:00Z";

/// The largest decimal that is put into an argument.
const DECIMAL_MAX: f64 = 100_000_000_000.0;

/// Values of the solver's, by name.
type Record = BTreeMap<String, Value>;

/// The calls that this answer may mean.
pub(super) fn scenarios(kind: &Kind<'_>, looks: &Looks, owners: &[MemberId], env: &Env) -> Vec<Scenario> {
    let request: &cedar_policy_core::ast::Request = env.request.as_ref();
    let context = match request.context() {
        Some(Context::Value(values)) => {
            values.iter().map(|(name, value)| (name.to_string(), value.clone())).collect()
        }
        _ => Record::new(),
    };
    let Ok(some_time) = Timestamp::parse(SOME_TIME) else { return Vec::new() };
    let mut scenario = Scenario::new(&kind.tool_name(), some_time);
    let entities = env.entities.as_ref();
    let entity = |uid: Option<&EntityUID>| match entities.entity(uid?) {
        Dereference::Data(entity) => Some(entity),
        _ => None,
    };
    if let Some(uid) = request.principal().uid() {
        principal(looks, uid, entity(Some(uid)), &mut scenario);
        let agent = entity(Some(uid)).and_then(|member| uid_of(attribute(member, "agent")?));
        if let (true, Some(uid)) = (looks.reads.principal, &agent) {
            agent_of(uid, entity(Some(uid)), &mut scenario);
        }
    }
    if let Some(owner) = owners.first() {
        scenario.trust = TrustMode::Untrusted;
        if !owners.contains(&scenario.member) {
            scenario.member = *owner;
        }
    }
    scenario.history = history(looks, &context);
    if !looks.time().is_nothing() {
        match record(context.get("time")).and_then(|time| moment::find(looks, &time)) {
            Some(at) => scenario.at = at,
            // There is no such moment: whatever the gate says of another would be beside the point.
            None => return Vec::new(),
        }
    }
    let caller = record(context.get("caller")).unwrap_or_default();
    if let Some(key) = text(caller.get("keyId")).and_then(|key| key.parse().ok()) {
        scenario.key = key;
    }
    let read = looks.reads.context.beneath("caller").touches_name("ip");
    let addresses = if read { addresses(caller.get("ip")) } else { vec![scenario.ip] };
    let given = arguments(looks, record(context.get("args")).unwrap_or_default());
    let resource = entity(request.resource().uid());
    let id = request.resource().uid().map(|uid| AsRef::<str>::as_ref(uid.eid()).to_owned());
    let arguments = resource::arguments(kind, id.as_deref(), resource, given);
    let with =
        |(ip, arguments): (IpAddr, &Json)| Scenario { ip, arguments: arguments.clone(), ..scenario.clone() };
    let all = addresses.iter().flat_map(|ip| arguments.iter().map(|arguments| (*ip, arguments)));
    all.map(with).take(ATTEMPTS_MAX).collect()
}

/// Groups, role and name of the caller, as far as they matter.
fn principal(looks: &Looks, uid: &EntityUID, member: Option<&Entity>, scenario: &mut Scenario) {
    let id: &str = uid.eid().as_ref();
    if let Ok(id) = id.parse() {
        scenario.member = id;
    }
    let Some(member) = member else { return };
    let group = format!("{NAMESPACE}::Group");
    let named = |uid: &&EntityUID| looks.reads.literals.contains(uid);
    for uid in member.ancestors().filter(named).filter(|uid| uid.entity_type().to_string() == group) {
        scenario.groups.extend(GroupName::parse(uid.eid().as_ref()).ok());
    }
    if !looks.reads.principal {
        return;
    }
    if text(attribute(member, "role")).as_deref() == Some("owner") {
        scenario.role = Role::Owner;
    }
    if let Some(name) = text(attribute(member, "name")).filter(|name| !name.is_empty()) {
        scenario.member_name = name;
    }
}

fn agent_of(uid: &EntityUID, agent: Option<&Entity>, scenario: &mut Scenario) {
    let id: &str = uid.eid().as_ref();
    if let Ok(id) = id.parse() {
        scenario.agent = id;
    }
    let Some(agent) = agent else { return };
    if let Some(name) = text(attribute(agent, "name")).filter(|name| !name.is_empty()) {
        scenario.agent_name = name;
    }
}

fn history(looks: &Looks, context: &Record) -> History {
    let counted = |scope: &str, keys: &mut dyn Iterator<Item = &CounterKey>| {
        let all = record(context.get(scope)).unwrap_or_default();
        let count = |key: &CounterKey| {
            let (within, name) = place_of(key);
            let value = match within {
                None => all.get(&name).cloned(),
                Some(within) => record(all.get(within))?.remove(&name),
            };
            Some((key.clone(), number(value.as_ref())?))
        };
        keys.filter_map(count).filter(|(_, count)| *count != 0).collect()
    };
    History {
        session: counted("session", &mut looks.session.iter()),
        member: counted("member", &mut looks.member.iter()),
    }
}

/// The arguments that are read, as JSON.
fn arguments(looks: &Looks, given: Record) -> Map<String, Json> {
    let read = looks.arguments();
    let read = given.into_iter().filter(|(name, _)| read.touches_name(name));
    read.filter_map(|(name, value)| Some((name, json(&value)?))).collect()
}

/// The addresses that a solver's address or network may mean: a policy on ranges cannot tell it from
/// one of them.
fn addresses(value: Option<&Value>) -> Vec<IpAddr> {
    let written = value.map(ToString::to_string).unwrap_or_default();
    let quoted = written.split('"').nth(1).unwrap_or_default();
    if let Ok(address) = quoted.parse::<IpAddr>() {
        return vec![address];
    }
    let Ok(net) = quoted.parse::<IpNet>() else { return Vec::new() };
    let mut found = vec![net.addr(), net.network(), net.broadcast()];
    found.extend(net.hosts().take(2));
    found.dedup();
    found
}

fn attribute<'e>(entity: &'e Entity, name: &str) -> Option<&'e Value> {
    match entity.get(name)? {
        PartialValue::Value(value) => Some(value),
        PartialValue::Residual(_) => None,
    }
}

fn uid_of(value: &Value) -> Option<EntityUID> {
    match value.value_kind() {
        ValueKind::Lit(Literal::EntityUID(uid)) => Some(uid.as_ref().clone()),
        _ => None,
    }
}

fn record(value: Option<&Value>) -> Option<Record> {
    match value?.value_kind() {
        ValueKind::Record(members) => {
            Some(members.iter().map(|(name, value)| (name.to_string(), value.clone())).collect())
        }
        _ => None,
    }
}

fn number(value: Option<&Value>) -> Option<i64> {
    match value?.value_kind() {
        ValueKind::Lit(Literal::Long(number)) => Some(*number),
        _ => None,
    }
}

fn text(value: Option<&Value>) -> Option<String> {
    match value?.value_kind() {
        ValueKind::Lit(Literal::String(text)) => Some(text.to_string()),
        _ => None,
    }
}

/// A value as a call carries it.
fn json(value: &Value) -> Option<Json> {
    match value.value_kind() {
        ValueKind::Lit(Literal::Bool(truth)) => Some((*truth).into()),
        ValueKind::Lit(Literal::Long(number)) => Some((*number).into()),
        ValueKind::Lit(Literal::String(text)) => Some(text.as_str().into()),
        ValueKind::Lit(Literal::EntityUID(_)) => None,
        ValueKind::Set(items) => items.iter().map(json).collect::<Option<Vec<_>>>().map(Json::from),
        ValueKind::Record(members) => {
            let member = |(name, value): (&_, &Value)| Some((ToString::to_string(name), json(value)?));
            members
                .iter()
                .map(|(name, value)| member((name, value)))
                .collect::<Option<Map<_, _>>>()
                .map(Json::from)
        }
        // A decimal; nothing else of the extensions can stand in an argument.
        ValueKind::ExtensionValue(_) => {
            let written = value.to_string();
            let number: Json = serde_json::from_str(written.split('"').nth(1)?).ok()?;
            // Beyond this a JSON number has no four decimals left: the largest that has stands for it.
            let shown = number.as_f64()?.clamp(-DECIMAL_MAX, DECIMAL_MAX);
            Some(Json::from(shown))
        }
    }
}
