//! Which arguments of a recorded call are not what was sent: masked, or cut.
//!
//! Invariant: what a caller wrote to look like a mask counts as one: an explanation then claims less.

use serde_json::Value;

use crate::audit::gaps;
use crate::policy::Explanation;

/// Arguments that are named; a call has few.
const NAMED_MAX: usize = 20;

/// Says in `caveats` what cannot be told, and takes back what was told of values that nobody knows.
pub(super) fn told(arguments: &Value, explanation: &mut Explanation, caveats: &mut Vec<String>) {
    let withheld: Vec<Vec<String>> =
        gaps(&arguments.to_string(), arguments).into_iter().map(|gap| gap.path).collect();
    for path in withheld.iter().take(NAMED_MAX) {
        let name = if path.is_empty() { "the arguments".to_owned() } else { path.join(".") };
        caveats.push(if reads(explanation, path) {
            format!("`{name}` was redacted or cut, and a policy reads it: whether its condition held cannot be told")
        } else {
            format!("`{name}` was redacted or cut")
        });
    }
    let unknown = |fact: &str| {
        let path = fact.strip_prefix("args.").unwrap_or_default();
        withheld.iter().any(|withheld| withheld.is_empty() || withheld.join(".") == path)
    };
    explanation.nearest.retain(|turn| !turn.changes.iter().any(|change| unknown(&change.fact)));
}

/// Whether a clause looked at the argument, or at part of it.
fn reads(explanation: &Explanation, path: &[String]) -> bool {
    let Some(first) = path.first() else { return true };
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
            caveats.sort();
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
