//! The Cedar schema, generated from the connectors' files as text that an operator can read
//! (decisions 4, 5).
//!
//! Invariants: the text depends on the connectors' locks and on the policies alone, never on a live
//! list; every action is one accepted tool, in its connector's tier and groups; every argument is
//! optional, because nothing checks a call against its JSON schema before it is decided.

/// Appends a formatted line; writing to a string cannot fail.
macro_rules! line {
    ($out:expr, $($format:tt)*) => { let _ = writeln!($out, $($format)*); };
}

mod narrow;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::argument::{self, quoted};
use super::clock::{CLOCK_FIELDS, Zones};
use super::reads::{COUNTER_RECORDS, place_of};
use crate::connector::{AttributeType, Connector, Connectors, SERVICE_TYPE, Tool, operation};
use crate::model::{CounterKey, Diagnostic, PolicyKey, Tier, ToolName};

pub(super) use narrow::{Narrow, narrow};

/// The namespace of what all connectors share.
pub(super) const NAMESPACE: &str = "Wicket";

/// What the schema is generated from.
pub(super) struct Ground<'a> {
    pub(super) connectors: &'a Connectors,
    pub(super) zones: &'a Zones,
}

/// Every counter that a decision could read.
pub(super) fn all_counters<'a>(
    connectors: &Connectors,
    policies: impl Iterator<Item = &'a PolicyKey>,
) -> BTreeSet<CounterKey> {
    let mut keys = BTreeSet::from([CounterKey::Calls, CounterKey::Denials]);
    keys.extend(Tier::ALL.map(CounterKey::Tier));
    for connector in connectors.iter() {
        keys.insert(CounterKey::Service(connector.service.clone()));
        let tool = |name: &ToolName| CounterKey::Tool(connector.service.clone(), name.clone());
        keys.extend(connector.actions().map(|(name, _)| tool(name)));
    }
    for policy in policies {
        keys.insert(CounterKey::PolicyAllow(policy.clone()));
        keys.insert(CounterKey::PolicyDeny(policy.clone()));
    }
    keys
}

/// The schema as text, with these counters of session and member.
pub(super) fn text(
    ground: &Ground<'_>,
    session: &BTreeSet<CounterKey>,
    member: &BTreeSet<CounterKey>,
) -> String {
    let mut out = String::from(
        "// Generated from config/connectors: each connector's file and its lock. Do not edit.\n",
    );
    shared(&mut out, ground.zones, session, member);
    for connector in ground.connectors.iter() {
        namespace(&mut out, connector);
    }
    out
}

fn shared(out: &mut String, zones: &Zones, session: &BTreeSet<CounterKey>, member: &BTreeSet<CounterKey>) {
    let clock: Vec<String> = CLOCK_FIELDS.iter().map(|name| format!("{name}: Long")).collect();
    let clock = clock.join(", ");
    let zones: Vec<String> = zones.keys().map(|name| format!("{}: Clock", quoted(name))).collect();
    line!(out, "\nnamespace {NAMESPACE} {{");
    line!(out, "  entity Agent = {{name: String, trust: String}};");
    line!(out, "  entity Group;");
    line!(out, "  entity Member in [Group, Agent] = {{agent: Agent, name: String, role: String}};");
    line!(out, "  // Each connector's service stands in the one of its key: Wicket::Service::\"github\".");
    line!(out, "  entity Service;");
    line!(out, "  // `dayOfWeek` 0 is Sunday; `epochDay` counts days since 1970-01-01.");
    line!(out, "  type Clock = {{{clock}}};");
    line!(out, "  // The clock of UTC, and of each zone that a policy names.");
    line!(
        out,
        "  type Time = {{{clock}, epochMillis: Long, now: datetime, zones: {{{}}}}};",
        zones.join(", ")
    );
    line!(out, "  // This conversation.");
    line!(out, "  type SessionCounters = {};", counters(session));
    line!(out, "  // The member's last 24 hours, whatever sessions or keys it opens.");
    line!(out, "  type MemberCounters = {};", counters(member));
    line!(out, "  type Caller = {{ip: ipaddr, keyId: String}};");
    for tier in Tier::ALL {
        line!(out, "  action {};", quoted(tier.as_str()));
    }
    line!(out, "  // The methods of MCP beside tools/call, of all connectors.");
    for operation in operation::names() {
        line!(out, "  action {};", quoted(operation));
    }
    line!(out, "}}");
}

/// A record type of counters, each a required number.
fn counters(keys: &BTreeSet<CounterKey>) -> String {
    let mut plain = Vec::new();
    let mut records: BTreeMap<&str, Vec<String>> = COUNTER_RECORDS.map(|name| (name, Vec::new())).into();
    for key in keys {
        let (record, name) = place_of(key);
        let member = format!("{}: Long", quoted(&name));
        match record {
            None => plain.push(member),
            Some(record) => records.entry(record).or_default().push(member),
        }
    }
    plain.extend(records.iter().map(|(name, members)| format!("{name}: {{{}}}", members.join(", "))));
    format!("{{{}}}", plain.join(", "))
}

fn namespace(out: &mut String, connector: &Connector) {
    line!(out, "\n// {}: `{}__…`", connector.display_name.escape_debug(), connector.service);
    line!(out, "namespace {} {{", connector.namespace);
    entity_types(out, connector);
    action_groups(out, connector);
    actions(out, connector);
    line!(out, "}}");
}

fn entity_types(out: &mut String, connector: &Connector) {
    line!(out, "  entity {SERVICE_TYPE} in [{NAMESPACE}::Service];");
    for declared in &connector.resource_types {
        let parent = declared.parent.as_deref().unwrap_or(SERVICE_TYPE);
        let attributes: Vec<String> = declared
            .attributes
            .iter()
            .map(|(name, attribute)| {
                let optional = if attribute.required { "" } else { "?" };
                format!("{}{optional}: {}", quoted(name), attribute_type(attribute.kind))
            })
            .collect();
        line!(out, "  entity {} in [{parent}] = {{{}}};", declared.name, attributes.join(", "));
    }
}

fn action_groups(out: &mut String, connector: &Connector) {
    for tier in Tier::ALL {
        line!(out, "  action {} in [{NAMESPACE}::Action::{}];", quoted(tier.as_str()), quoted(tier.as_str()));
    }
    for group in connector.groups.keys() {
        line!(out, "  action {};", quoted(group));
    }
}

/// The groups of actions that one stands in, as the connector's namespace names them.
fn parents_of(connector: &Connector, name: &ToolName, tool: &Tool) -> Vec<String> {
    let mut parents = vec![quoted(tool.tier.as_str())];
    if connector.operations.contains_key(name) {
        parents.push(format!("{NAMESPACE}::Action::{}", quoted(name.as_str())));
    }
    let groups = connector.groups.iter().filter(|(_, tools)| tools.contains(name));
    parents.extend(groups.map(|(group, _)| quoted(group)));
    parents
}

fn actions(out: &mut String, connector: &Connector) {
    for (name, tool) in connector.actions() {
        let parents = parents_of(connector, name, tool);
        let mut resources: BTreeSet<&str> = tool.resource_type_names().collect();
        resources.insert(SERVICE_TYPE);
        let resources: Vec<&str> = resources.into_iter().collect();
        line!(out, "  action {} in [{}] appliesTo {{", quoted(name.as_str()), parents.join(", "));
        line!(out, "    principal: [{NAMESPACE}::Member], resource: [{}],", resources.join(", "));
        line!(out, "    context: {{");
        line!(out, "      args: {},", argument::record_to_cedar(&argument::members_of(&tool.input_schema)));
        line!(out, "      time: {NAMESPACE}::Time, caller: {NAMESPACE}::Caller,");
        line!(out, "      session: {NAMESPACE}::SessionCounters, member: {NAMESPACE}::MemberCounters");
        line!(out, "    }}");
        line!(out, "  }};");
    }
}

const fn attribute_type(kind: AttributeType) -> &'static str {
    match kind {
        AttributeType::String => "String",
        AttributeType::Long => "Long",
        AttributeType::Bool => "Bool",
        AttributeType::Decimal => "decimal",
        AttributeType::StringSet => "Set<String>",
    }
}

/// Names that would mean two things in one connector's namespace.
pub(super) fn clashes(connectors: &Connectors) -> Vec<Diagnostic> {
    let mut faults = Vec::new();
    for connector in connectors.iter() {
        let file = format!("{}.toml", connector.service);
        if connector.namespace == NAMESPACE {
            faults.push(
                Diagnostic::of_file(&file, format!("the namespace `{NAMESPACE}` is the gate's own"))
                    .with_help("choose another `namespace`"),
            );
        }
        let tiers = Tier::ALL.map(Tier::as_str);
        for name in connector.tools.keys().map(|name| name.as_str()) {
            if tiers.contains(&name) || connector.groups.contains_key(name) || operation::is_operation(name) {
                let message = format!("the tool `{name}` has the name of a tier, a group or an MCP method");
                faults.push(Diagnostic::of_file(&file, message).with_help(
                    "policies could not tell them apart: rename the group, or leave the tool out of the lock",
                ));
            }
        }
        for group in connector.groups.keys().filter(|group| tiers.contains(&group.as_str())) {
            let message = format!("the group `{group}` has the name of a tier");
            faults.push(Diagnostic::of_file(&file, message).with_help("rename the group"));
        }
    }
    faults
}
