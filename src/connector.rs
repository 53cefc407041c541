//! What the gate knows about the servers behind it: one descriptor and one lock for each service.
//!
//! Everything comes from files (decision 5), never from a live list: `<service>.toml` says how a
//! server is reached, how its tools' arguments name resources and what is redacted;
//! `<service>.tools.json`, its lock, says which tools were accepted, with which schemas and tiers.
//!
//! Invariants: a [`Connector`] was read without a single fault; its tools are exactly those of its
//! lock; a tool that no person tiered is destructive; [`resource_of`] is total and, where it is in
//! doubt, names the service itself, so that nothing permitted for a narrower resource matches.

mod argument;
pub mod builtin;
mod change;
mod descriptor;
mod limits;
mod lock;
mod mapping;
mod names;
pub mod operation;
mod path;
mod registry;
mod resource;
mod template;
mod transport;
mod url;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::model::{Digest, ServiceKey, Tier, ToolName, split_prefixed};

pub use argument::{ArgumentPath, ArgumentStep};
pub use change::{Change, ChangedField, diff};
pub use descriptor::read_descriptor;
pub use limits::Limits;
pub use lock::{Lock, LockFault, LockedTool, ServerInfo};
pub use mapping::{Candidate, Identity, ResourceMapping, resource_of};
pub use names::ShortNames;
pub use registry::{Connectors, ResolveFault};
pub use resource::{
    Attribute, AttributeSource, AttributeType, AttributeValue, Resource, ResourceType, SERVICE_TYPE,
};
pub use template::Template;
pub use transport::{EraChoice, HeaderValueSource, Transport};

/// One upstream server: how it is reached, what it offers, what its tools act on.
#[derive(Debug, Clone)]
pub struct Connector {
    /// The `service` of `service__tool`, and the stem of its files' names.
    pub service: ServiceKey,
    /// For people; the service key where the descriptor gives none.
    pub display_name: String,
    /// What it is for, in a sentence for people.
    pub description: Option<String>,
    /// Its Cedar namespace, such as `GitHubMCP` (decision 4).
    pub namespace: String,
    /// A stdio server whose command is missing here is skipped, loudly, instead of being reported
    /// as down.
    pub optional: bool,
    /// Files without which the server cannot start, relative to the gate's working directory: an
    /// optional connector is skipped as well where one of them is missing.
    pub requires: Vec<String>,
    pub transport: Transport,
    pub limits: Limits,
    pub on_change: OnChange,
    /// The tools of the lock.
    pub tools: BTreeMap<ToolName, Arc<Tool>>,
    /// The methods of MCP beside `tools/call`, which are decided like tools.
    pub operations: BTreeMap<ToolName, Arc<Tool>>,
    /// The declared types in the order of the file: where several fit a call, the first is taken.
    /// `Service`, which every connector has, is not among them.
    pub resource_types: Vec<ResourceType>,
    /// Arguments of which the audit keeps no plain text, for all tools of this connector.
    pub redact: Vec<ArgumentPath>,
    /// Named sets of tools: `Namespace::Action::"<group>"` in policies.
    pub groups: BTreeMap<String, BTreeSet<ToolName>>,
    /// For tools whose full names are too long for clients.
    pub short_names: ShortNames,
    /// Over the texts of descriptor and lock: what a running upstream compares on reload.
    pub digest: Digest,
}

impl Connector {
    /// The tool that a prefixed or a short name means, if it is one of this connector's. The tool need not
    /// be in the lock.
    pub fn named<'a>(&'a self, prefixed: &'a str) -> Option<&'a str> {
        let (_, tool) = split_prefixed(prefixed).filter(|(service, _)| *service == self.service.as_str())?;
        Some(self.short_names.tool(prefixed).unwrap_or(tool))
    }

    /// The resource type with this name, bare (`Repository`) or in full (`GitHubMCP::Repository`).
    pub fn resource_type(&self, name: &str) -> Option<&ResourceType> {
        let bare = name.strip_prefix(self.namespace.as_str()).and_then(|rest| rest.strip_prefix("::"));
        let bare = bare.unwrap_or(name);
        self.resource_types.iter().find(|declared| declared.name == bare)
    }

    /// Everything that is decided: the tools of the lock, then the operations.
    pub fn actions(&self) -> impl Iterator<Item = (&ToolName, &Arc<Tool>)> {
        self.tools.iter().chain(&self.operations)
    }

    /// A tool of the lock, or an operation, by its name.
    pub fn action(&self, name: &str) -> Option<&Arc<Tool>> {
        self.tools.get(name).or_else(|| self.operations.get(name))
    }

    /// The resource that stands for the whole connector: `GitHubMCP::Service::"github"`.
    pub fn service_resource(&self) -> Resource {
        Resource::service(self)
    }
}

/// A tool as it was accepted into the lock.
#[derive(Debug, Clone)]
pub struct Tool {
    pub name: ToolName,
    /// Its Cedar action, as the audit writes it: `GitHubMCP::Action::"delete_file"`.
    pub action: String,
    pub tier: Tier,
    /// Of the canonical text of the whole definition, as the upstream sent it.
    pub digest: Digest,
    pub input_schema: serde_json::Value,
    /// Whether the schema may say that arguments are repeated in headers; nearly none does.
    pub may_mirror: bool,
    /// For people.
    pub title: Option<String>,
    /// What an agent is told of it.
    pub description: Option<String>,
    /// `None`: every call acts on the service resource.
    pub resource: Option<ResourceMapping>,
}

impl Tool {
    /// The bare names of the types that a call of this tool may act on, beside `Service`: what
    /// `appliesTo` of its Cedar action lists.
    pub fn resource_type_names(&self) -> impl Iterator<Item = &str> {
        self.resource.iter().flat_map(ResourceMapping::type_names)
    }
}

/// What happens to a tool whose definition at run time differs from the lock (decision 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnChange {
    /// Hidden and refused until it is accepted.
    #[default]
    Quarantine,
    /// Served as it is, and reported.
    Report,
    /// Served as it is.
    Allow,
}

/// By which a schema says that an argument is repeated in a header (MCP 2026-07-28, transports).
const MIRRORED: &str = "x-mcp-header";

/// Whether this key stands anywhere in a schema.
fn mentions(schema: &serde_json::Value, key: &str) -> bool {
    match schema {
        serde_json::Value::Object(members) => {
            members.iter().any(|(name, value)| name == key || mentions(value, key))
        }
        serde_json::Value::Array(items) => items.iter().any(|item| mentions(item, key)),
        _ => false,
    }
}

impl Tool {
    /// The tool of a lock's entry.
    fn from_locked(locked: LockedTool, namespace: &str, resource: Option<ResourceMapping>) -> Self {
        let LockedTool { name, tier, digest, input_schema, title, description, .. } = locked;
        let action = format!("{namespace}::Action::\"{}\"", name.as_str().escape_default());
        let may_mirror = mentions(&input_schema, MIRRORED);
        Self { name, action, tier, digest, input_schema, may_mirror, title, description, resource }
    }
}
