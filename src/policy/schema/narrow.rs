//! The schema of one kind of call, for questions to a solver: nothing but what the policies at hand could
//! look at, so that a question stays as small as they are, however many tools there are.
//!
//! Invariant: every type, attribute, argument and counter that the asked conditions name is declared here
//! exactly as the whole schema declares it. What is left out could not have changed their value.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::{Ground, NAMESPACE, action_groups, entity_types, parents_of, shared};
use crate::connector::{Connector, Tool};
use crate::model::{CounterKey, ToolName};
use crate::policy::argument::{self, quoted};

/// What the schema of one kind of call declares.
pub(in crate::policy) struct Narrow<'a> {
    /// The connectors, and the zones that are read.
    pub(in crate::policy) ground: Ground<'a>,
    pub(in crate::policy) connector: &'a Connector,
    pub(in crate::policy) tool: &'a Tool,
    /// The bare name of the resource's type.
    pub(in crate::policy) resource: &'a str,
    /// The bare name of the action; it need not be the tool's where no condition looks at the action.
    pub(in crate::policy) action: &'a str,
    /// The actions that conditions name, with their namespaces, and that the action's groups matter at all.
    pub(in crate::policy) actions_named: Option<BTreeSet<(String, String)>>,
    /// Namespaces of other connectors whose types are named.
    pub(in crate::policy) namespaces: BTreeSet<String>,
    /// The arguments that are read.
    pub(in crate::policy) arguments: BTreeSet<String>,
    pub(in crate::policy) session: BTreeSet<CounterKey>,
    pub(in crate::policy) member: BTreeSet<CounterKey>,
}

/// The schema as text. `context.proof` is the solver's own: no call has it.
pub(in crate::policy) fn narrow(narrow: &Narrow<'_>) -> String {
    let mut out = String::new();
    shared(&mut out, narrow.ground.zones, &narrow.session, &narrow.member);
    for connector in narrow.ground.connectors.iter() {
        let own = connector.namespace == narrow.connector.namespace;
        if !own && !narrow.namespaces.contains(&connector.namespace) {
            continue;
        }
        line!(out, "\nnamespace {} {{", connector.namespace);
        entity_types(&mut out, connector);
        if let Some(named) = &narrow.actions_named {
            action_groups(&mut out, connector);
            named_actions(&mut out, narrow, connector, named);
        }
        if own {
            action(&mut out, narrow);
        }
        line!(out, "}}");
    }
    out
}

/// The actions that conditions name beside the one that is asked about.
fn named_actions(
    out: &mut String,
    narrow: &Narrow<'_>,
    connector: &Connector,
    named: &BTreeSet<(String, String)>,
) {
    for (_, name) in named.iter().filter(|(namespace, _)| *namespace == connector.namespace) {
        let asked = connector.namespace == narrow.connector.namespace && name == narrow.action;
        let Some(tool) = connector.action(name).filter(|_| !asked) else { continue };
        line!(out, "  action {} in [{}];", quoted(name), parents_of(connector, &tool.name, tool).join(", "));
    }
}

fn action(out: &mut String, narrow: &Narrow<'_>) {
    let parents = match &narrow.actions_named {
        Some(_) => parents(narrow.connector, &narrow.tool.name, narrow.tool),
        None => String::new(),
    };
    let members = argument::members_of(&narrow.tool.input_schema);
    let read = members.into_iter().filter(|(name, _)| narrow.arguments.contains(name)).collect();
    line!(out, "  action {}{parents} appliesTo {{", quoted(narrow.action));
    line!(out, "    principal: [{NAMESPACE}::Member], resource: [{}],", narrow.resource);
    line!(out, "    context: {{");
    line!(out, "      args: {},", argument::record_to_cedar(&read));
    line!(out, "      time: {NAMESPACE}::Time, caller: {NAMESPACE}::Caller, proof: {{week: Long}},");
    line!(out, "      session: {NAMESPACE}::SessionCounters, member: {NAMESPACE}::MemberCounters");
    line!(out, "    }}");
    line!(out, "  }};");
}

fn parents(connector: &Connector, name: &ToolName, tool: &Tool) -> String {
    format!(" in [{}]", parents_of(connector, name, tool).join(", "))
}
