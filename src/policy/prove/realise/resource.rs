//! The arguments of a call that acts on what a solver found: the connector's mapping, backwards.

use cedar_policy_core::ast::{Entity, ValueKind};
use serde_json::{Map, Value as Json};

use super::{attribute, json};
use crate::connector::{ArgumentPath, AttributeSource, Candidate, Identity, Template};
use crate::policy::argument::{self, Members, Shape};
use crate::policy::prove::axioms::resource::{candidate, top_level};
use crate::policy::prove::kind::Kind;

/// Arguments that may name the resource, the likeliest first; those that are given stand in each.
pub(super) fn arguments(
    kind: &Kind<'_>,
    id: Option<&str>,
    resource: Option<&Entity>,
    given: Map<String, Json>,
) -> Vec<Json> {
    let members = argument::members_of(&kind.tool.input_schema);
    if kind.untold {
        return untold(kind, &given);
    }
    let Some(candidate) = candidate(kind) else { return vec![Json::Object(given)] };
    match &candidate.identity {
        Identity::Template(template) => vec![by_template(candidate, template, id, resource, given)],
        Identity::Paths { arguments, .. } => by_path(arguments, &members, resource, &given),
    }
}

fn by_template(
    candidate: &Candidate,
    template: &Template,
    id: Option<&str>,
    resource: Option<&Entity>,
    mut given: Map<String, Json>,
) -> Json {
    let in_id = id.and_then(|id| template.read(id)).unwrap_or_default();
    for (name, path) in &candidate.arguments {
        let Some(argument) = top_level(path).filter(|argument| !given.contains_key(*argument)) else {
            continue;
        };
        let found = resource.and_then(|entity| json(attribute(entity, name)?));
        let found = found.or_else(|| {
            let (_, value) = in_id.iter().find(|(named, _)| named == name)?;
            Some(Json::from(*value))
        });
        let needed = template.attributes().any(|needed| needed == name);
        let value = match (found, needed) {
            (Some(value), _) => value,
            // Nobody looks at it, and yet the call has to name something.
            (None, true) => Json::from("x"),
            (None, false) => continue,
        };
        given.insert(argument.to_owned(), as_given(candidate, name, value));
    }
    Json::Object(given)
}

/// The argument that an attribute's value is read from.
fn as_given(candidate: &Candidate, name: &str, value: Json) -> Json {
    let declared = candidate.resource_type.attributes.get(name).map(|attribute| &attribute.source);
    match (declared, &value) {
        (Some(AttributeSource::Argument { host_only: true, .. }), Json::String(host)) => {
            format!("https://{host}/").into()
        }
        _ => value,
    }
}

/// The first path argument, with each path that the resource's attributes hint at.
fn by_path(
    arguments: &[ArgumentPath],
    members: &Members,
    resource: Option<&Entity>,
    given: &Map<String, Json>,
) -> Vec<Json> {
    let mut paths: Vec<String> = Vec::new();
    let hint = |name: &str| resource.and_then(|entity| attribute(entity, name));
    for name in ["path", "folded", "raw", "directory"] {
        paths.extend(super::text(hint(name)));
    }
    for name in ["within", "touches", "paths"] {
        if let Some(ValueKind::Set(items)) = hint(name).map(cedar_policy_core::ast::Value::value_kind) {
            let directories = items.iter().filter_map(|item| super::text(Some(item)));
            paths.extend(directories.flat_map(|directory| [directory.clone(), format!("{directory}/x")]));
        }
    }
    paths.retain(|path| path.starts_with('/'));
    paths.push("/x".to_owned());
    let needed: Vec<&str> = arguments.iter().filter_map(top_level).collect();
    let with = |path: &String| {
        let mut given = given.clone();
        for name in &needed {
            let value = match members.get(*name) {
                Some(Shape::Set(_)) => Json::from(vec![path.clone()]),
                _ => Json::from(path.clone()),
            };
            given.entry((*name).to_owned()).or_insert(value);
        }
        Json::Object(given)
    };
    let mut all: Vec<Json> = paths.iter().map(with).collect();
    all.push(Json::Object(given.clone()));
    all
}

/// Arguments that name something, and yet not plainly: an argument of another type, an empty one, one that
/// holds what stands between two.
fn untold(kind: &Kind<'_>, given: &Map<String, Json>) -> Vec<Json> {
    let mut all = Vec::new();
    for candidate in kind.tool.resource.iter().flat_map(|mapping| &mapping.candidates) {
        let paths: Vec<&ArgumentPath> = match &candidate.identity {
            Identity::Template(template) => {
                template.attributes().filter_map(|name| candidate.arguments.get(name)).collect()
            }
            Identity::Paths { arguments, .. } => arguments.iter().collect(),
        };
        let names: Vec<&str> = paths.into_iter().filter_map(top_level).collect();
        for odd in &names {
            let mut full = given.clone();
            for name in names.iter().filter(|name| !given.contains_key(**name)) {
                full.insert((*name).to_owned(), "x".into());
            }
            for value in [Json::from(7), Json::from(""), Json::from("a/b"), Json::from("~")] {
                let mut odd_one = full.clone();
                odd_one.insert((*odd).to_owned(), value);
                all.push(Json::Object(odd_one));
            }
        }
    }
    all
}
