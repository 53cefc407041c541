//! From the arguments of a call to the resource that it acts on.
//!
//! Invariants: total, whatever the arguments are. An argument that is absent leads to a less
//! specific type and in the end to the service. An argument that is given but cannot be read as
//! declared leads straight to the service and is named in [`Resource::unreadable`]: claiming a
//! repository of which only half was understood would let a permit match that should not. An
//! argument that the tool's locked schema does not declare is never read, so a caller cannot pick
//! a resource type by adding one.

use std::collections::BTreeMap;

use serde_json::Value;

use super::path::{self, PathFault};
use super::resource::{AttributeSource, AttributeType, AttributeValue, Resource, ResourceType};
use super::template::Template;
use super::url;
use super::{ArgumentPath, Connector, Tool};

/// How the calls of one tool name resources: the candidates are tried in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceMapping {
    pub candidates: Vec<Candidate>,
}

/// One resource type that a call may act on, and where its attributes come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    pub resource_type: ResourceType,
    pub identity: Identity,
    /// Where this tool carries each attribute that arguments give.
    pub arguments: BTreeMap<String, ArgumentPath>,
    /// The declared type in which an entity of this one stands, filled from the same arguments.
    pub parent: Option<Box<Candidate>>,
}

/// What makes the id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// Attributes put into a template.
    Template(Template),
    /// One or more file system paths.
    Paths {
        arguments: Vec<ArgumentPath>,
        /// The absolute directory against which the server resolves relative paths.
        base: Option<String>,
        /// Whether this tool also acts on what is below its paths.
        recursive: bool,
    },
}

impl ResourceMapping {
    /// The bare names of all types that a call may act on, each once.
    pub fn type_names(&self) -> Vec<&str> {
        let mut names = Vec::new();
        for candidate in &self.candidates {
            let name = candidate.resource_type.name.as_str();
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }
}

enum Fault {
    Absent,
    Unreadable(ArgumentPath),
}

/// The resource that a call of this tool acts on.
pub fn resource_of(connector: &Connector, tool: &Tool, arguments: &Value) -> Resource {
    let service = Resource::service(connector);
    let candidates = tool.resource.iter().flat_map(|mapping| &mapping.candidates);
    for candidate in candidates {
        match candidate.fill(&service, connector, arguments) {
            Ok(resource) => return resource,
            Err(Fault::Absent) => {}
            Err(Fault::Unreadable(path)) => return Resource { unreadable: vec![path], ..service },
        }
    }
    service
}

impl Candidate {
    fn fill(&self, service: &Resource, connector: &Connector, arguments: &Value) -> Result<Resource, Fault> {
        let (id, attributes) = match &self.identity {
            Identity::Template(template) => self.fill_template(template, arguments)?,
            Identity::Paths { arguments: paths, base, recursive } => {
                let facts = path::read(arguments, paths, base.as_deref()).map_err(|fault| match fault {
                    PathFault::Absent => Fault::Absent,
                    PathFault::Unreadable(path) => Fault::Unreadable(path),
                })?;
                (facts.id(), facts.attributes(*recursive))
            }
        };
        let parent = self.fill_parent(service, connector, arguments)?;
        Ok(Resource {
            type_name: format!("{}::{}", connector.namespace, self.resource_type.name),
            id,
            attributes,
            parents: vec![parent],
            unreadable: Vec::new(),
        })
    }

    /// The nearest ancestor of which the arguments tell enough.
    fn fill_parent(
        &self,
        service: &Resource,
        connector: &Connector,
        arguments: &Value,
    ) -> Result<Resource, Fault> {
        let mut next = self.parent.as_deref();
        while let Some(parent) = next {
            match parent.fill(service, connector, arguments) {
                Err(Fault::Absent) => next = parent.parent.as_deref(),
                decided => return decided,
            }
        }
        Ok(service.clone())
    }

    fn fill_template(
        &self,
        template: &Template,
        arguments: &Value,
    ) -> Result<(String, BTreeMap<String, AttributeValue>), Fault> {
        let mut attributes = BTreeMap::new();
        for (name, path) in &self.arguments {
            let Some(given) = path.find(arguments) else { continue };
            let declared = self.resource_type.attributes.get(name);
            let read = declared.and_then(|attribute| match attribute.source {
                AttributeSource::Argument { host_only: true, .. } => {
                    given.as_str().and_then(url::host_of).map(AttributeValue::String)
                }
                AttributeSource::Argument { fold_case, .. } => read_value(attribute.kind, fold_case, given),
                AttributeSource::Path | AttributeSource::Harvest => None,
            });
            let value = read.ok_or_else(|| Fault::Unreadable(path.clone()))?;
            attributes.insert(name.clone(), value);
        }
        if template.attributes().any(|name| !attributes.contains_key(name)) {
            return Err(Fault::Absent);
        }
        let filled = template.fill(|name| match attributes.get(name) {
            Some(AttributeValue::String(text)) => Some(text.clone()),
            Some(AttributeValue::Long(number)) => Some(number.to_string()),
            _ => None,
        });
        let id = filled.map_err(|name| match self.arguments.get(name) {
            Some(path) => Fault::Unreadable(path.clone()),
            None => Fault::Absent,
        })?;
        Ok((id, attributes))
    }
}

/// Strings of one attribute set; more make the argument unreadable.
const SET_ITEMS_MAX: usize = 1_024;

/// Bytes of one attribute's text; more make the argument unreadable.
const TEXT_BYTES_MAX: usize = 4_096;

fn read_value(kind: AttributeType, fold_case: bool, given: &Value) -> Option<AttributeValue> {
    let text = |given: &Value| {
        let text = given.as_str().filter(|text| text.len() <= TEXT_BYTES_MAX)?;
        Some(if fold_case { text.to_lowercase() } else { text.to_owned() })
    };
    match kind {
        AttributeType::String => text(given).map(AttributeValue::String),
        AttributeType::Long => given.as_i64().map(AttributeValue::Long),
        AttributeType::Bool => given.as_bool().map(AttributeValue::Bool),
        AttributeType::Decimal => read_decimal(given).map(AttributeValue::Decimal),
        AttributeType::StringSet => {
            let items = given.as_array().filter(|items| items.len() <= SET_ITEMS_MAX)?;
            items.iter().map(text).collect::<Option<_>>().map(AttributeValue::StringSet)
        }
    }
}

/// Cedar's decimals are 64-bit integers of ten-thousandths; what does not fit exactly is refused,
/// never rounded.
fn read_decimal(given: &Value) -> Option<String> {
    let text = given.as_number()?.to_string();
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, "0"));
    if fraction.len() > 4 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let in_units = format!("{whole}{fraction:0<4}").parse::<i64>();
    in_units.ok().map(|_| format!("{whole}.{fraction}"))
}

#[cfg(test)]
mod tests;
