//! What of a recorded call is not as it was: arguments that are masked or cut, counters that were not recorded.
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
    counters(explanation, caveats);
}

/// Says in `caveats` which counters the record does not hold. It holds those that decided: policies in shadow
/// may read others.
fn counters(explanation: &Explanation, caveats: &mut Vec<String>) {
    let Some(shadow) = &explanation.shadow else { return };
    if shadow.counters_not_given.is_empty() {
        return;
    }
    let mut named: Vec<String> =
        shadow.counters_not_given.iter().take(NAMED_MAX).map(|counter| format!("`{counter}`")).collect();
    let more = shadow.counters_not_given.len().saturating_sub(named.len());
    if more > 0 {
        named.push(format!("{more} more"));
    }
    caveats.push(format!(
        "policies in shadow read counters that are not recorded with a call, and stand at 0 here: {}",
        named.join(", ")
    ));
}

/// Whether a clause looked at the argument, or at part of it.
fn reads(explanation: &Explanation, path: &[String]) -> bool {
    let Some(first) = path.first() else { return true };
    let names = [format!("context.args.{first}"), format!("context.args[\"{}", first.escape_debug())];
    let in_shadow = explanation.shadow.iter().flat_map(|shadow| &shadow.candidates);
    let clauses = explanation.candidates.iter().chain(in_shadow).flat_map(|candidate| &candidate.clauses);
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

    #[test]
    fn counters_that_shadows_read_and_nobody_recorded_are_named() {
        let bundle = bundle(
            "@id(\"p\") permit(principal, action, resource);\n\
             @id(\"s\") @mode(\"shadow\") forbid(principal, action, resource) when { context.member.denials > 2 };",
        );
        let caveats = |given: Option<i64>| {
            let at = Timestamp::parse("2026-11-22T09:30:00Z").unwrap();
            let mut scenario = Scenario::new("depot__get_file", at);
            let counted = given.map(|count| (crate::model::CounterKey::Denials, count));
            scenario.history.member.extend(counted);
            let explanation = scenario.ask(&bundle, |question| explain(&bundle, question)).unwrap();
            let mut caveats = Vec::new();
            counters(&explanation, &mut caveats);
            caveats
        };
        let said = caveats(None);
        assert!(said.len() == 1 && said[0].ends_with("stand at 0 here: `member.denials`"), "{said:?}");
        assert!(caveats(Some(3)).is_empty());
    }
}
