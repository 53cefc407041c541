//! Which arguments of a recorded call are not what was sent: masked, or cut.
//!
//! Invariant: what a caller wrote to look like a mask counts as one: an explanation then claims less.

use serde_json::Value;

use crate::policy::Explanation;

/// Arguments that are named; a call has few.
const NAMED_MAX: usize = 20;

/// Says in `caveats` what cannot be told, and takes back what was told of values that nobody knows.
pub(super) fn told(arguments: &Value, explanation: &mut Explanation, caveats: &mut Vec<String>) {
    let mut withheld = Vec::new();
    look(arguments, &mut Vec::new(), &mut withheld);
    for path in withheld.iter().take(NAMED_MAX) {
        let name = path.join(".");
        caveats.push(if reads(explanation, path) {
            format!("`{name}` was redacted or cut, and a policy reads it: whether its condition held cannot be told")
        } else {
            format!("`{name}` was redacted or cut")
        });
    }
    let unknown = |fact: &str| {
        let path = fact.strip_prefix("args.").unwrap_or_default();
        withheld.iter().any(|withheld| withheld.join(".") == path)
    };
    explanation.nearest.retain(|turn| !turn.changes.iter().any(|change| unknown(&change.fact)));
}

fn look(value: &Value, path: &mut Vec<String>, found: &mut Vec<Vec<String>>) {
    match value {
        Value::String(text) if is_marked(text) => {
            if found.last() != Some(path) {
                found.push(path.clone());
            }
        }
        // An element is told by its list.
        Value::Array(items) => items.iter().for_each(|item| look(item, path, found)),
        Value::Object(members) => {
            for (name, member) in members {
                path.push(name.clone());
                look(member, path, found);
                path.pop();
            }
        }
        _ => {}
    }
}

/// As the journal masks and cuts.
fn is_marked(text: &str) -> bool {
    (text.starts_with("[redacted") && text.ends_with(']'))
        || (text.contains("… [") && text.ends_with(" bytes]"))
}

/// Whether a clause looked at the argument, or at part of it.
fn reads(explanation: &Explanation, path: &[String]) -> bool {
    let Some(first) = path.first() else { return false };
    let names = [format!("context.args.{first}"), format!("context.args[\"{}", first.escape_debug())];
    let clauses = explanation.candidates.iter().flat_map(|candidate| &candidate.clauses);
    clauses.flat_map(|clause| &clause.reads).any(|read| names.iter().any(|name| read.path.starts_with(name)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::Timestamp;
    use crate::policy::fixtures::bundle;
    use crate::policy::{Scenario, explain};

    #[test]
    fn what_was_masked_is_named_and_nothing_is_claimed_of_it() {
        let bundle = bundle(
            "@id(\"p\") permit(principal, action, resource) when { context has args.path && context.args.path == \"a\" };",
        );
        let explained = |arguments: Value| {
            let at = Timestamp::parse("2026-11-22T09:30:00Z").unwrap();
            let scenario = Scenario { arguments: arguments.clone(), ..Scenario::new("depot__get_file", at) };
            let mut explanation = scenario.ask(&bundle, |question| explain(&bundle, question)).unwrap();
            let mut caveats = Vec::new();
            told(&arguments, &mut explanation, &mut caveats);
            (caveats, explanation.nearest.len())
        };
        assert_eq!(explained(json!({"path": "b"})), (vec![], 1));
        let (caveats, nearest) = explained(json!({"path": "[redacted]", "labels": ["x", "[redacted: key]"]}));
        assert_eq!(nearest, 0);
        assert_eq!(caveats[0], "`labels` was redacted or cut");
        assert!(caveats[1].starts_with("`path` was redacted or cut, and a policy reads it"), "{caveats:?}");
        let (caveats, _) = explained(json!({"repo": "abc… [900 bytes]"}));
        assert_eq!(caveats, ["`repo` was redacted or cut"]);
    }
}
