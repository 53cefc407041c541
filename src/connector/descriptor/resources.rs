//! The `[[resource]]` tables: types, and for every tool the candidates that its calls may act on.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use toml::Spanned;

use super::raw::{RawAttributeType, RawPart, RawResource};
use super::{Faults, Known, cedar_name};
use crate::connector::lock::LockedTool;
use crate::connector::path;
use crate::connector::template::Template;
use crate::connector::{
    ArgumentPath, ArgumentStep, Attribute, AttributeSource, AttributeType, Candidate, Identity,
    ResourceMapping, ResourceType, SERVICE_TYPE,
};
use crate::model::ToolName;

/// Types of one connector.
const TYPES_MAX: usize = 64;
/// Attributes of one type.
const ATTRIBUTES_MAX: usize = 64;

/// Words that Cedar's grammar keeps; `resource.in` would not parse.
const CEDAR_WORDS: [&str; 9] = ["true", "false", "if", "then", "else", "in", "is", "like", "has"];

/// Every declared type, parents resolved to declared ones.
pub(super) fn read_types(raw: &[RawResource], faults: &mut Faults<'_>) -> Vec<ResourceType> {
    let mut types = Vec::<ResourceType>::new();
    if let Some(beyond) = raw.get(TYPES_MAX) {
        faults.at(beyond.name.span(), format!("more than {TYPES_MAX} resource types"), "remove some");
    }
    for table in raw {
        let span = table.name.span();
        let name = faults.take(span.clone(), cedar_name(table.name.as_ref()), "such as `Repository`");
        let name = name.unwrap_or_default();
        if name == SERVICE_TYPE || types.iter().any(|earlier| earlier.name == name) {
            faults.at(span, format!("type `{name}` is already there"), "choose another name");
        }
        check_path_keys(table, faults);
        let attributes = match &table.paths {
            Some(paths) => {
                let stray = table.id.is_some() || !table.attributes.is_empty() || !table.overrides.is_empty();
                if stray {
                    let help =
                        "a type of `paths` has its attributes given; remove `id`, `attributes`, `overrides`";
                    faults.at(paths.span(), "`paths` beside an id or attributes", help);
                }
                path::declared_attributes()
            }
            None => read_attributes(table, faults),
        };
        let parent = table.parent.as_ref().map(|parent| parent.as_ref().clone());
        types.push(ResourceType { name, parent: parent.filter(|parent| parent != SERVICE_TYPE), attributes });
    }
    check_parents(raw, &types, faults);
    types
}

fn check_path_keys(table: &RawResource, faults: &mut Faults<'_>) {
    for path in table.paths.iter().flat_map(|paths| paths.as_ref()) {
        single_path(path.as_ref(), path.span(), faults);
    }
    if let Some(paths) = table.paths.as_ref().filter(|paths| paths.as_ref().is_empty()) {
        faults.at(paths.span(), "no argument holds a path", "such as `paths = [\"path\"]`");
    }
    if let Some(base) = &table.base
        && path::normalise(base.as_ref(), None).as_ref() != Some(base.as_ref())
    {
        let help = "such as `/srv/files`: from `/`, without `.`, `..` or a slash at the end";
        faults.at(base.span(), "`base` is not an absolute, normal path", help);
    }
    let stray = table.base.as_ref().or(table.recursive_tools.first());
    if let (None, Some(stray)) = (&table.paths, stray) {
        faults.at(stray.span(), "`base` and `recursive_tools` belong to a type of `paths`", "remove it");
    }
}

fn check_parents(raw: &[RawResource], types: &[ResourceType], faults: &mut Faults<'_>) {
    let parent_of = |name: &str| types.iter().find(|t| t.name == name).and_then(|t| t.parent.as_deref());
    for (table, declared) in raw.iter().zip(types) {
        let (Some(written), Some(parent)) = (&table.parent, declared.parent.as_deref()) else { continue };
        if !types.iter().any(|candidate| candidate.name == parent) {
            let message = format!("`{}` is not a declared type", parent.escape_default());
            faults.at(written.span(), message, "declare it in a `[[resource]]` of its own");
        }
        let mut above = Some(parent);
        for _ in 0..types.len() {
            above = above.and_then(parent_of);
        }
        if above.is_some() {
            faults.at(written.span(), "a type stands, over its parents, in itself", "break the ring");
        }
    }
}

fn read_attributes(table: &RawResource, faults: &mut Faults<'_>) -> BTreeMap<String, Attribute> {
    let in_id: BTreeSet<String> = match &table.id {
        None => {
            faults.at(table.name.span(), "neither `id` nor `paths`", "such as `id = \"{owner}/{repo}\"`");
            BTreeSet::new()
        }
        Some(id) => {
            let read = Template::parse(id.as_ref());
            let template = faults.take(id.span(), read, "such as `{owner}/{repo}`");
            template.iter().flat_map(Template::attributes).map(str::to_owned).collect()
        }
    };
    if let Some(id) = &table.id {
        for name in in_id.iter().filter(|name| !table.attributes.contains_key(*name)) {
            faults.at(
                id.span(),
                format!("the id names no attribute `{name}`"),
                "declare it under `attributes`",
            );
        }
    }
    if table.attributes.len() > ATTRIBUTES_MAX {
        faults.at(table.name.span(), format!("more than {ATTRIBUTES_MAX} attributes"), "remove some");
    }
    let mut attributes = BTreeMap::new();
    for (name, written) in &table.attributes {
        let raw = written.as_ref();
        let span = written.span();
        let fits = name.starts_with(|c: char| c.is_ascii_alphabetic())
            && name.len() <= 64
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
            && !CEDAR_WORDS.contains(&name.as_str());
        if !fits {
            let shown: String = name.chars().take(80).collect();
            let message = format!("`{}` is not an attribute's name in policies", shown.escape_default());
            faults.at(span.clone(), message, "a letter, then letters, digits and `_`; no word of Cedar's");
        }
        let kind = kind_of(raw.kind);
        let required = in_id.contains(name);
        if required && !matches!(kind, AttributeType::String | AttributeType::Long) {
            faults.at(span.clone(), format!("`{name}` is in the id"), "its type must be string or long");
        }
        if raw.harvested && (required || raw.argument.is_some() || raw.fold_case) {
            let message = format!("`{name}` is harvested, so no argument gives it");
            faults.at(span.clone(), message, "remove `harvested`, or take it out of the id");
        }
        if raw.fold_case && !matches!(kind, AttributeType::String | AttributeType::StringSet) {
            faults.at(span.clone(), format!("`{name}` has no case"), "remove `fold_case`");
        }
        let host_only = matches!(raw.part, Some(RawPart::Host));
        if host_only && (raw.harvested || raw.fold_case || kind != AttributeType::String) {
            let help = "its type is string, in lower case already; remove `harvested` and `fold_case`";
            faults.at(span.clone(), format!("`{name}` is the host of a URL"), help);
        }
        let written_path = raw.argument.as_ref().map_or(name.as_str(), |path| path.as_ref().as_str());
        let source = match raw.harvested {
            true => Some(AttributeSource::Harvest),
            false => single_path(written_path, span, faults).map(|path| AttributeSource::Argument {
                path,
                fold_case: raw.fold_case,
                host_only,
            }),
        };
        if let Some(source) = source {
            attributes.insert(name.clone(), Attribute { kind, required, source });
        }
    }
    attributes
}

fn kind_of(raw: RawAttributeType) -> AttributeType {
    match raw {
        RawAttributeType::String => AttributeType::String,
        RawAttributeType::Long => AttributeType::Long,
        RawAttributeType::Bool => AttributeType::Bool,
        RawAttributeType::Decimal => AttributeType::Decimal,
        RawAttributeType::StringSet => AttributeType::StringSet,
    }
}

fn single_path(text: &str, span: std::ops::Range<usize>, faults: &mut Faults<'_>) -> Option<ArgumentPath> {
    let read = ArgumentPath::parse(text).and_then(|path| match path.is_single() {
        true => Ok(path),
        false => Err(format!("`{text}` may name several values")),
    });
    faults.take(span, read, "one argument, such as `owner` or `target.repo`")
}

/// For every tool of the lock that some type claims, its candidates in the order of the file.
pub(super) fn read_mappings(
    raw: &[RawResource],
    types: &[ResourceType],
    known: &Known<'_>,
    faults: &mut Faults<'_>,
) -> BTreeMap<ToolName, ResourceMapping> {
    let mut mappings = BTreeMap::<ToolName, ResourceMapping>::new();
    for table in raw {
        for (tool, row) in &table.overrides {
            known.tool(tool, row.span(), faults);
            for (attribute, path) in row.as_ref() {
                single_path(path.as_ref(), path.span(), faults);
                if table.attributes.get(attribute).is_none_or(|declared| declared.as_ref().harvested) {
                    let message =
                        format!("`{}` is not an attribute from arguments", attribute.escape_default());
                    faults.at(path.span(), message, "declare it under `attributes`");
                }
            }
        }
        for tool in &table.recursive_tools {
            known.tool(tool.as_ref(), tool.span(), faults);
        }
    }
    // Where a type or a path is broken, its candidates would only repeat the fault.
    let Some(lock) = known.lock.filter(|_| faults.found.is_empty()) else { return mappings };
    for table in raw {
        let named: Vec<(&LockedTool, Option<&Spanned<String>>)> = match &table.tools {
            Some(names) => {
                let pairs = names.iter().map(|name| (known.tool(name.as_ref(), name.span(), faults), name));
                pairs.filter_map(|(tool, name)| Some((tool?, Some(name)))).collect()
            }
            None => lock.tools.iter().map(|tool| (tool, None)).collect(),
        };
        for (tool, name) in named {
            let candidate = candidate_of(table, raw, types, tool);
            match (candidate, name) {
                (Ok(candidate), _) => {
                    let mapping = mappings.entry(tool.name.clone());
                    mapping
                        .or_insert_with(|| ResourceMapping { candidates: Vec::new() })
                        .candidates
                        .push(candidate);
                }
                (Err(missing), Some(name)) => {
                    let message = format!("`{}` has no argument `{missing}`", tool.name);
                    faults.at(
                        name.span(),
                        message,
                        "say under `overrides` what it is called there, or take the tool out",
                    );
                }
                // Chosen by its schema: a tool without the arguments is none of this type.
                (Err(_), None) => {}
            }
        }
    }
    mappings
}

/// The candidate for one tool, or the argument that its schema lacks.
fn candidate_of(
    table: &RawResource,
    all: &[RawResource],
    types: &[ResourceType],
    tool: &LockedTool,
) -> Result<Candidate, String> {
    let resource_type = types.iter().find(|declared| declared.name == *table.name.as_ref());
    let resource_type = resource_type.ok_or_else(|| table.name.as_ref().clone())?.clone();
    let mut arguments = BTreeMap::new();
    for (name, attribute) in &resource_type.attributes {
        let AttributeSource::Argument { path, .. } = &attribute.source else { continue };
        let overridden = table.overrides.get(tool.name.as_str()).and_then(|row| row.as_ref().get(name));
        let path = match overridden {
            Some(text) => ArgumentPath::parse(text.as_ref())?,
            None => path.clone(),
        };
        match (declares(&tool.input_schema, &path), attribute.required) {
            (true, _) => drop(arguments.insert(name.clone(), path)),
            (false, true) => return Err(path.to_string()),
            (false, false) => {}
        }
    }
    let parent = resource_type.parent.as_deref();
    let parent = parent.and_then(|name| all.iter().find(|table| table.name.as_ref() == name));
    // A tool may name a branch by arguments that say nothing of, say, its organisation.
    let parent = parent.and_then(|table| candidate_of(table, all, types, tool).ok()).map(Box::new);
    let identity = match &table.paths {
        None => Identity::Template(Template::parse(table.id.as_ref().map_or("", |id| id.as_ref()))?),
        Some(written) => {
            let paths: Result<Vec<_>, _> =
                written.as_ref().iter().map(|p| ArgumentPath::parse(p.as_ref())).collect();
            let mut paths = paths?;
            let first = paths.first().map(ToString::to_string).unwrap_or_default();
            paths.retain(|path| declares(&tool.input_schema, path));
            if paths.is_empty() {
                return Err(first);
            }
            let recursive = table.recursive_tools.iter().any(|name| name.as_ref() == tool.name.as_str());
            let base = table.base.as_ref().map(|base| base.as_ref().clone());
            Identity::Paths { arguments: paths, base, recursive }
        }
    };
    Ok(Candidate { resource_type, identity, arguments, parent })
}

/// Whether the schema has this argument, as far as it says: below an object without `properties`
/// anything may be.
fn declares(schema: &Value, path: &ArgumentPath) -> bool {
    let mut schema = schema;
    for (depth, step) in path.steps().iter().enumerate() {
        let ArgumentStep::Member(name) = step else { return false };
        match (schema.get("properties").and_then(Value::as_object), depth) {
            (Some(properties), _) => match properties.get(name) {
                Some(deeper) => schema = deeper,
                None => return false,
            },
            (None, 0) => return false,
            (None, _) => return true,
        }
    }
    true
}
