//! What a connector's resources are known by.

use crate::connector::{AttributeSource, AttributeType, Candidate, Connector, Identity, Tool};
use crate::policy::structured::Draft;

/// An attribute as the connector's types declare it.
pub(super) struct Known {
    pub(super) kind: AttributeType,
    /// Whether values are compared in lower case.
    pub(super) folds_case: bool,
    /// Whether no argument gives it.
    pub(super) harvested: bool,
}

impl Draft<'_> {
    /// The attribute of this name, over all resource types of the connector; a fault where there is none, or
    /// where types disagree on what it holds.
    pub(super) fn attribute(&mut self, field: &str, name: &str) -> Option<Known> {
        let declared: Vec<_> =
            self.connector.resource_types.iter().filter_map(|one| one.attributes.get(name)).collect();
        let Some(first) = declared.first() else {
            let names = known_attributes(self.connector);
            let detail = format!("the resources of `{}` have no `{}`", self.connector.service, shown(name));
            let help = if names.is_empty() {
                "its file declares no attributes".to_owned()
            } else {
                format!("they have {}", names.join(", "))
            };
            self.fault(field, detail, &help);
            return None;
        };
        if declared.iter().any(|other| other.kind != first.kind) {
            let detail = format!("`{}` is not of one type in all resources", shown(name));
            self.fault(field, detail, "write this policy in Cedar");
            return None;
        }
        let folds =
            |source: &AttributeSource| matches!(source, AttributeSource::Argument { fold_case: true, .. });
        Some(Known {
            kind: first.kind,
            folds_case: declared.iter().any(|attribute| folds(&attribute.source)),
            harvested: declared.iter().all(|attribute| matches!(attribute.source, AttributeSource::Harvest)),
        })
    }
}

fn known_attributes(connector: &Connector) -> Vec<&str> {
    let mut names: Vec<&str> =
        connector.resource_types.iter().flat_map(|one| one.attributes.keys().map(String::as_str)).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// Whether a call of the tool may act on a resource of this type.
pub(super) fn may_be(tool: &Tool, type_name: &str) -> bool {
    tool.resource_type_names().any(|name| name == type_name)
}

/// The type of this name as conditions write it: `pull_request`, `pullRequest` and `pullRequestRef` are
/// `PullRequest`.
pub(super) fn type_of<'a>(connector: &'a Connector, written: &str) -> Option<&'a str> {
    let bare =
        |name: &str| name.chars().filter(|c| *c != '_').flat_map(char::to_lowercase).collect::<String>();
    let wanted = bare(written);
    let types = connector.resource_types.iter().map(|one| one.name.as_str());
    types.into_iter().find(|name| bare(name) == wanted || format!("{}ref", bare(name)) == wanted)
}

/// The type and those above it, without `Service`.
pub(super) fn lineage<'a>(connector: &'a Connector, type_name: &'a str) -> Vec<&'a str> {
    let mut names = vec![type_name];
    while let Some(parent) = names.last().and_then(|last| connector.resource_type(last)?.parent.as_deref()) {
        if names.contains(&parent) {
            break;
        }
        names.push(parent);
    }
    names
}

/// The other types whose resources always tell in which resource of this type they stand: whatever call names
/// one has named that as well.
pub(super) fn always_within<'a>(connector: &'a Connector, type_name: &str) -> Vec<&'a str> {
    let tells = |candidate: &Candidate| {
        let mut above = candidate.parent.as_deref();
        while let Some(parent) = above {
            if parent.resource_type.name == type_name {
                return named_along(candidate, parent);
            }
            above = parent.parent.as_deref();
        }
        false
    };
    let mappings = connector.actions().filter_map(|(_, tool)| tool.resource.as_ref());
    let candidates: Vec<&Candidate> = mappings.flat_map(|mapping| &mapping.candidates).collect();
    let always = |name: &&str| {
        let mut of_type = candidates.iter().filter(|one| one.resource_type.name == *name).peekable();
        of_type.peek().is_some() && of_type.all(|candidate| tells(candidate))
    };
    connector.resource_types.iter().map(|one| one.name.as_str()).filter(always).collect()
}

/// Whether all that makes the id of the one above is part of the id below, out of the same arguments.
fn named_along(below: &Candidate, above: &Candidate) -> bool {
    let (Identity::Template(inner), Identity::Template(outer)) = (&below.identity, &above.identity) else {
        return false;
    };
    outer.attributes().all(|name| {
        let needed = inner.attributes().any(|other| other == name);
        needed && below.arguments.contains_key(name) && below.arguments.get(name) == above.arguments.get(name)
    })
}

fn shown(name: &str) -> String {
    name.chars().take(80).collect::<String>().escape_debug().to_string()
}
