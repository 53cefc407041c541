//! Resources and their types, as policies see them (decision 4).
//!
//! A resource carries only what the arguments of the call gave; attributes that only a harvest
//! could know are declared, so that policies may name them, and absent (decision 8).

use std::collections::{BTreeMap, BTreeSet};

use super::{ArgumentPath, Connector};

/// The type that every connector has, for calls of which no narrower resource is known.
pub const SERVICE_TYPE: &str = "Service";

/// A resource type of one connector: an entity type in its Cedar namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceType {
    /// Without namespace: `Repository`.
    pub name: String,
    /// The declared type, bare, in which an entity of this one stands; `None`: in `Service`.
    pub parent: Option<String>,
    pub attributes: BTreeMap<String, Attribute>,
}

/// One declared attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attribute {
    pub kind: AttributeType,
    /// Whether every entity of the type that [`super::resource_of`] makes has it: required in the
    /// Cedar schema, else optional.
    pub required: bool,
    pub source: AttributeSource,
}

/// Who knows an attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttributeSource {
    /// The call's arguments.
    Argument {
        /// Where they carry it, unless the descriptor says otherwise for a tool.
        path: ArgumentPath,
        /// Whether the upstream takes `Acme` and `acme` for the same, so that the value is lower-cased
        /// for the decision: a forbid on `acme` is not dodged by spelling.
        fold_case: bool,
        /// Whether the argument is a URL and the value its host alone.
        host_only: bool,
    },
    /// Derived from one or more path arguments: `within`, `touches`, …
    Path,
    /// Only a harvest; absent until harvesting exists (specification 10).
    Harvest,
}

/// The types that both JSON arguments and Cedar can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttributeType {
    String,
    Long,
    Bool,
    /// At most four decimals, within Cedar's range.
    Decimal,
    StringSet,
}

/// A value of one of those types.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttributeValue {
    String(String),
    Long(i64),
    Bool(bool),
    /// In Cedar's notation, such as `12.5`; always with a point.
    Decimal(String),
    StringSet(BTreeSet<String>),
}

/// What a call acts on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// In full: `GitHubMCP::Repository`, or `GitHubMCP::Service`.
    pub type_name: String,
    /// Unescaped: `acme/site`.
    pub id: String,
    pub attributes: BTreeMap<String, AttributeValue>,
    /// Direct parents with theirs; every chain ends in the service resource, which has none here
    /// (the policy engine puts it in `Wicket::Service`).
    pub parents: Vec<Resource>,
    /// Arguments that were given but cannot be read as the connector's file declares them, so that
    /// this resource claims less than the call does. Never empty without the resource being the
    /// service; where a candidate policy looks at the resource, such a call has to be denied.
    pub unreadable: Vec<ArgumentPath>,
}

impl Resource {
    /// The resource that stands for a whole connector.
    pub fn service(connector: &Connector) -> Self {
        Self {
            type_name: format!("{}::{SERVICE_TYPE}", connector.namespace),
            id: connector.service.to_string(),
            attributes: BTreeMap::new(),
            parents: Vec::new(),
            unreadable: Vec::new(),
        }
    }

    /// The Cedar uid as the audit writes it: `GitHubMCP::Repository::"acme/site"`.
    pub fn uid(&self) -> String {
        format!("{}::\"{}\"", self.type_name, self.id.escape_debug())
    }
}
