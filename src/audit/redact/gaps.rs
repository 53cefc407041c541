//! Where a redacted copy does not say what the original said: what a replay must not take for the call.
//!
//! Invariant: a value that differs from the original's, or is missing, lies in a gap. What a caller wrote
//! to look like a mask makes a gap too: a replay then says less, never something else.

use serde_json::Value;

use crate::policy::simulate::{Gap, GapKind};

/// Gaps that are told apart; where there are more, everything is one.
const GAPS_MAX: usize = 64;
/// The name under which left out members are counted.
const OMITTED_MEMBER: &str = "…";

/// The gaps of a redacted copy, whose text is at hand as well.
pub fn gaps(text: &str, copy: &Value) -> Vec<Gap> {
    // Each mark holds one of these: most calls have none.
    if !text.contains("[redacted") && !text.contains('…') && !text.contains('\u{FFFD}') {
        return Vec::new();
    }
    let mut found = Vec::new();
    look(copy, &mut Vec::new(), &mut found);
    if found.len() > GAPS_MAX {
        return vec![Gap { path: Vec::new(), kind: GapKind::Value }];
    }
    found
}

fn look(value: &Value, path: &mut Vec<String>, found: &mut Vec<Gap>) {
    if found.len() > GAPS_MAX {
        return;
    }
    match value {
        Value::String(text) if is_marked(text) => {
            let gap = Gap { path: path.clone(), kind: GapKind::Value };
            if found.last() != Some(&gap) {
                found.push(gap);
            }
        }
        // Elements are at the path of their list.
        Value::Array(items) => items.iter().for_each(|item| look(item, path, found)),
        Value::Object(members) => {
            if members.keys().any(|name| name == OMITTED_MEMBER || is_marked(name)) {
                let kept = members.keys().filter(|name| *name != OMITTED_MEMBER && !is_marked(name));
                found.push(Gap { path: path.clone(), kind: GapKind::Members(kept.cloned().collect()) });
            }
            for (name, member) in members {
                path.push(name.clone());
                look(member, path, found);
                path.pop();
            }
        }
        _ => {}
    }
}

/// Whether the text is a mask, was cut, counts left out elements, or had characters replaced.
fn is_marked(text: &str) -> bool {
    text.starts_with("[redacted")
        || text.contains('\u{FFFD}')
        || (text.ends_with(" bytes]") && text.contains("… ["))
        || (text.starts_with("… ") && text.ends_with(" more"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::audit::{RedactLimits, redact};

    fn gaps_of(arguments: &Value, limits: RedactLimits) -> (Value, Vec<Gap>) {
        let text = redact(&arguments.to_string(), &[], limits);
        let copy = serde_json::from_str(&text).unwrap();
        let found = gaps(&text, &copy);
        (copy, found)
    }

    #[test]
    fn each_mark_is_a_gap_at_its_place() {
        let table = [
            (json!({"path": "/a", "n": 1}), vec![]),
            (json!({"token": "x", "path": "/a"}), vec!["token"]),
            (json!({"a": {"password": [1, 2]}, "b": 1}), vec!["a.password"]),
            (json!({"text": "x".repeat(300)}), vec!["text"]),
            (json!({"list": ["a", "x".repeat(300), "y".repeat(300)]}), vec!["list"]),
            (json!({"text": "bell\u{7}"}), vec!["text"]),
            (json!({"text": "[redacted]"}), vec!["text"]),
        ];
        for (arguments, expected) in table {
            let (_, found) = gaps_of(&arguments, RedactLimits::default());
            let paths: Vec<String> = found.iter().map(|gap| gap.path.join(".")).collect();
            assert_eq!(paths, expected, "{arguments}");
        }
    }

    #[test]
    fn left_out_members_are_a_gap_that_names_those_that_are_there() {
        let mut arguments = serde_json::Map::new();
        for n in 0..400 {
            arguments.insert(format!("member{n}"), json!("some text"));
        }
        let (copy, found) = gaps_of(&Value::Object(arguments), RedactLimits::default());
        let [Gap { path, kind: GapKind::Members(kept) }] = found.as_slice() else { panic!("{found:?}") };
        assert!(path.is_empty() && kept.len() > 10 && kept.len() < 400);
        assert!(kept.iter().all(|name| copy.get(name).is_some()));
    }

    /// Whether reading the member at this path could see what is missing.
    fn covered(gaps: &[Gap], path: &[String]) -> bool {
        gaps.iter().any(|gap| {
            let common = gap.path.iter().zip(path).all(|(a, b)| a == b);
            match &gap.kind {
                GapKind::Value => common,
                GapKind::Members(kept) => {
                    common && path.get(gap.path.len()).is_none_or(|name| !kept.contains(name))
                }
            }
        })
    }

    fn check(original: &Value, copy: Option<&Value>, path: &mut Vec<String>, gaps: &[Gap]) {
        if copy == Some(original) || covered(gaps, path) {
            return;
        }
        let (Value::Object(members), Some(Value::Object(kept))) = (original, copy) else {
            panic!("{path:?}: {original} became {copy:?}, and the gaps are {gaps:?}");
        };
        for (name, member) in members {
            path.push(name.clone());
            check(member, kept.get(name), path, gaps);
            path.pop();
        }
    }

    fn json_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "[a-z \u{7}…é]{0,12}".prop_map(Value::from),
            "[a-z]{250,300}".prop_map(Value::from),
            Just(json!("Bearer abcdefghijklmnop")),
        ];
        leaf.prop_recursive(4, 48, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::btree_map("[a-f]{1,3}|token|x{98,103}", inner, 0..6)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_differs_from_the_original_lies_in_a_gap(
            value in json_value(), output_bytes_max in 40_usize..600, string_characters_max in 16_usize..300,
        ) {
            let arguments = json!({"root": value, "after": 1});
            let (copy, found) = gaps_of(&arguments, RedactLimits { output_bytes_max, string_characters_max });
            check(&arguments, Some(&copy), &mut Vec::new(), &found);
        }
    }
}
