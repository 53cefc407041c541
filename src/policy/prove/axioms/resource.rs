//! What a call acts on, and how that follows from its arguments: the connector's mapping, as far as Cedar
//! can say it.
//!
//! Invariant: each sentence follows from what [`crate::connector::resource_of`] does. What is harvested is
//! absent, because nothing harvests yet; whoever changes that takes that sentence out.

use cedar_policy_core::ast::EntityUID;

use crate::connector::{
    ArgumentPath, ArgumentStep, AttributeSource, AttributeType, Candidate, Identity, SERVICE_TYPE, Template,
};
use crate::policy::argument::{self, Members, Shape, quoted};
use crate::policy::prove::kind::Kind;
use crate::policy::reads::Reads;
use crate::policy::schema::NAMESPACE;

/// The candidate of this kind's resource type, where the resource is no service.
pub(in crate::policy::prove) fn candidate<'a>(kind: &Kind<'a>) -> Option<&'a Candidate> {
    let mapping = kind.tool.resource.as_ref()?;
    let mut of_type = mapping.candidates.iter().filter(|one| one.resource_type.name == kind.resource);
    // Of several that make one type, none can be told from the type.
    of_type.next().filter(|_| of_type.next().is_none())
}

/// The name of an argument that stands at the top.
pub(in crate::policy::prove) fn top_level(path: &ArgumentPath) -> Option<&str> {
    match path.steps() {
        [ArgumentStep::Member(name)] => Some(name),
        _ => None,
    }
}

/// Adds the sentences.
pub(super) fn sentences(kind: &Kind<'_>, reads: &Reads, out: &mut Vec<String>) {
    services(kind, reads, out);
    let members = argument::members_of(&kind.tool.input_schema);
    if kind.resource == SERVICE_TYPE {
        let service = kind.connector.service.as_str();
        out.push(format!("resource == {}::{}", kind.resource_type(), quoted(service)));
        if !kind.untold {
            absent(kind, &members, out);
        }
        return;
    }
    let Some(candidate) = candidate(kind) else { return };
    match &candidate.identity {
        Identity::Template(template) => {
            attributes(candidate, template, &members, out);
            named(kind, candidate, template, reads, out);
        }
        Identity::Paths { arguments, .. } => paths(arguments, &members, out),
    }
}

/// Everything that a call acts on stands in its connector's service, and in no other.
fn services(kind: &Kind<'_>, reads: &Reads, out: &mut Vec<String>) {
    let service = kind.connector.service.as_str();
    let (own, shared) =
        (format!("{}::{SERVICE_TYPE}", kind.connector.namespace), format!("{NAMESPACE}::Service"));
    for uid in &reads.literals {
        let of = uid.entity_type().to_string();
        let holds = AsRef::<str>::as_ref(uid.eid()) == service;
        if of == own || of == shared {
            out.push(if holds { format!("resource in {uid}") } else { format!("!(resource in {uid})") });
        }
    }
}

/// A call that acts on the service lacks what would name something narrower.
fn absent(kind: &Kind<'_>, members: &Members, out: &mut Vec<String>) {
    for candidate in kind.tool.resource.iter().flat_map(|mapping| &mapping.candidates) {
        let needed: Option<Vec<&str>> = match &candidate.identity {
            Identity::Template(template) => {
                let path = |name: &str| top_level(candidate.arguments.get(name)?);
                template.attributes().map(path).collect()
            }
            Identity::Paths { arguments, .. } => match arguments.as_slice() {
                [only] => top_level(only).map(|name| vec![name]),
                _ => None,
            },
        };
        let text = |name: &&str| members.get(*name) == Some(&Shape::Text);
        let Some(needed) = needed.filter(|names| names.iter().all(text)) else { continue };
        let given: Vec<String> =
            needed.iter().map(|name| format!("context.args has {}", quoted(name))).collect();
        out.push(format!("!({})", given.join(" && ")));
    }
}

/// What each attribute says of the argument that gives it.
fn attributes(candidate: &Candidate, template: &Template, members: &Members, out: &mut Vec<String>) {
    for (name, attribute) in &candidate.resource_type.attributes {
        let here = quoted(name);
        let in_id = template.attributes().any(|needed| needed == name);
        if in_id && !attribute.required {
            out.push(format!("resource has {here}"));
        }
        let (path, folded) = match (&attribute.source, candidate.arguments.get(name)) {
            (AttributeSource::Argument { fold_case, host_only, .. }, Some(path)) => {
                (path, *fold_case || *host_only)
            }
            _ if attribute.required => continue,
            _ => {
                out.push(format!("!(resource has {here})"));
                continue;
            }
        };
        let Some(argument) = top_level(path).filter(|name| same_type(attribute.kind, members.get(*name)))
        else {
            continue;
        };
        let given = quoted(argument);
        if !attribute.required && !in_id {
            out.push(format!("(resource has {here}) == (context.args has {given})"));
        } else {
            out.push(format!("context.args has {given}"));
        }
        if !folded {
            let equal = format!("resource[{here}] == context.args[{given}]");
            let has = format!("resource has {here} && context.args has {given}");
            out.push(format!("if {has} then {equal} else true"));
        }
    }
    for (name, following) in template.parts().filter(|(name, _)| is_text(candidate, name)) {
        let here = quoted(name);
        out.push(format!("resource has {here} && resource[{here}] != \"\""));
        if !following.is_empty() {
            let pattern = following.replace('*', "\\*");
            out.push(format!("resource has {here} && !(resource[{here}] like \"*{}*\")", escaped(&pattern)));
        }
    }
}

fn is_text(candidate: &Candidate, name: &str) -> bool {
    let declared = candidate.resource_type.attributes.get(name);
    declared.is_some_and(|attribute| attribute.kind == AttributeType::String)
}

/// A pattern's text in Cedar's notation, its `\*` kept.
fn escaped(pattern: &str) -> String {
    pattern.split("\\*").map(|part| part.escape_debug().to_string()).collect::<Vec<_>>().join("\\*")
}

fn same_type(kind: AttributeType, shape: Option<&Shape>) -> bool {
    matches!(
        (kind, shape),
        (AttributeType::String, Some(Shape::Text))
            | (AttributeType::Long, Some(Shape::Long))
            | (AttributeType::Bool, Some(Shape::Bool))
    )
}

/// What it means that the resource is, or stands in, one that a policy names.
fn named(kind: &Kind<'_>, candidate: &Candidate, template: &Template, reads: &Reads, out: &mut Vec<String>) {
    for uid in &reads.literals {
        let of = uid.entity_type().to_string();
        if of == kind.resource_type() {
            let means = meaning(uid, template, |name| Some(name.to_owned()), candidate);
            out.extend(means.map(|means| format!("(resource == {uid}) == ({means})")));
            continue;
        }
        let mut above = candidate.parent.as_deref();
        while let Some(parent) = above {
            let full = format!("{}::{}", kind.connector.namespace, parent.resource_type.name);
            if let (true, Identity::Template(outer)) = (of == full, &parent.identity) {
                // The attribute of this resource that the same argument gives.
                let own = |name: &str| {
                    let path = parent.arguments.get(name)?;
                    let mut same = candidate.arguments.iter().filter(|(_, own)| *own == path);
                    same.next()
                        .map(|(name, _)| name.clone())
                        .filter(|name| template.attributes().any(|needed| needed == name))
                };
                let means = meaning(uid, outer, own, candidate);
                out.extend(means.map(|means| format!("(resource in {uid}) == ({means})")));
            }
            above = parent.parent.as_deref();
        }
    }
}

/// The attributes that make this id; `false` where none do, nothing where Cedar cannot say it.
fn meaning(
    uid: &EntityUID,
    template: &Template,
    own: impl Fn(&str) -> Option<String>,
    candidate: &Candidate,
) -> Option<String> {
    let id: &str = uid.eid().as_ref();
    let Some(values) = template.read(id) else { return Some("false".to_owned()) };
    let mut parts = Vec::new();
    for (name, value) in values {
        let name = own(name)?;
        let here = quoted(&name);
        let kind = candidate.resource_type.attributes.get(&name)?.kind;
        let value = match kind {
            AttributeType::String => quoted(value),
            AttributeType::Long => value.parse::<i64>().ok()?.to_string(),
            _ => return None,
        };
        parts.push(format!("resource has {here} && resource[{here}] == {value}"));
    }
    Some(parts.join(" && "))
}

/// What is true of one path, where the tool takes one.
fn paths(arguments: &[ArgumentPath], members: &Members, out: &mut Vec<String>) {
    let single = match arguments {
        [only] => top_level(only).is_some_and(|name| members.get(name) == Some(&Shape::Text)),
        _ => false,
    };
    let together = |name: &str| format!("(resource has path) == (resource has {name})");
    out.extend(["folded", "directory", "name"].map(together));
    out.push("if resource has path then resource.path like \"/*\" else true".to_owned());
    out.push("if resource has folded then resource.folded like \"/*\" else true".to_owned());
    if single {
        out.push("resource has path && resource.within == resource.touches".to_owned());
        out.push("resource.paths == [resource.path]".to_owned());
    }
}
