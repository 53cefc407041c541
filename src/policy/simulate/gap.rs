//! Where recorded arguments are not those that were sent.

use serde::Serialize;

use crate::connector::{ArgumentPath, ArgumentStep, Candidate, Identity, Tool};
use crate::policy::argument::length_name;
use crate::policy::reads::Reach;

/// A place in recorded arguments that does not say what was sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Gap {
    /// Names of members from the root. The elements of a list are at the path of the list: policies see a
    /// list whole.
    pub path: Vec<String>,
    pub kind: GapKind,
}

/// What is missing there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GapKind {
    /// The value was masked or cut.
    Value,
    /// Members of the object were left out, or stand under another name; these are there as they were.
    Members(Vec<String>),
}

impl Gap {
    /// Whether reading this of the arguments could have seen what is missing.
    pub(super) fn is_read(&self, reach: &Reach) -> bool {
        match &self.kind {
            GapKind::Value => reach.touches(&self.path) || reach.touches(&length_of(&self.path)),
            GapKind::Members(kept) => {
                let lengths = kept.iter().map(|name| length_name(name));
                reach.touches_but(&self.path, &kept.iter().cloned().chain(lengths).collect::<Vec<_>>())
            }
        }
    }

    /// Whether the value at this path, or what holds it, or part of it, is missing.
    fn meets(&self, path: &ArgumentPath) -> bool {
        let names: Vec<&str> = path
            .steps()
            .iter()
            .filter_map(|step| match step {
                ArgumentStep::Member(name) => Some(name.as_str()),
                ArgumentStep::Each => None,
            })
            .collect();
        let common = names.iter().zip(&self.path).all(|(a, b)| *a == b);
        match &self.kind {
            GapKind::Value => common,
            GapKind::Members(kept) => {
                let next = names.get(self.path.len());
                common && next.is_none_or(|name| !kept.iter().any(|one| one == name))
            }
        }
    }
}

/// Where the length of the argument at this path is read (decision 0058).
fn length_of(path: &[String]) -> Vec<String> {
    let mut path = path.to_vec();
    if let Some(last) = path.last_mut() {
        *last = length_name(last);
    }
    path
}

/// Whether an argument that tells the tool's resource is missing.
pub(super) fn any_in_resource(gaps: &[Gap], tool: &Tool) -> bool {
    let meets = |path: &ArgumentPath| gaps.iter().any(|gap| gap.meets(path));
    tool.resource.iter().flat_map(|mapping| &mapping.candidates).any(|candidate| reads(candidate, &meets))
}

fn reads(candidate: &Candidate, meets: &impl Fn(&ArgumentPath) -> bool) -> bool {
    let own = match &candidate.identity {
        Identity::Template(_) => false,
        Identity::Paths { arguments, .. } => arguments.iter().any(meets),
    };
    own || candidate.arguments.values().any(meets)
        || candidate.parent.as_deref().is_some_and(|parent| reads(parent, meets))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_of_what_is_missing_is_missing_too() {
        let path = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<String>>();
        let reads = |names: &[&str]| Reach::Paths([path(names)].into());
        let masked = Gap { path: path(&["in", "text"]), kind: GapKind::Value };
        let left_out = Gap { path: path(&[]), kind: GapKind::Members(path(&["kept"])) };
        for (reach, of_masked, of_left_out) in [
            (reads(&["in", "text"]), true, true),
            (reads(&["in", "text#length"]), true, true),
            (reads(&["in", "other#length"]), false, true),
            (reads(&["kept"]), false, false),
            (reads(&["kept#length"]), false, false),
            (reads(&["gone#length"]), false, true),
        ] {
            assert_eq!(
                (masked.is_read(&reach), left_out.is_read(&reach)),
                (of_masked, of_left_out),
                "{reach:?}"
            );
        }
    }
}
