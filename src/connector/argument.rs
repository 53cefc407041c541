//! Paths into the arguments of a call, as connector files write them.

use std::fmt;

use serde_json::Value;

/// Steps in one path; more are refused where the path is read.
const STEPS_MAX: usize = 16;

/// A path into a JSON value: `owner`, `target.repo`, `edits.*.newText`, or, for names that hold a
/// point, a JSON pointer (RFC 6901): `/a.b/c`. `*` is each element of an array or each member of an
/// object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ArgumentPath {
    text: String,
    steps: Vec<ArgumentStep>,
}

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ArgumentStep {
    Member(String),
    /// Every element or member.
    Each,
}

impl ArgumentPath {
    /// Reads the written form.
    ///
    /// # Errors
    /// A sentence that says what was expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        let fault = |why: &str| format!("`{}` is not an argument path: {why}", text.escape_default());
        let names: Vec<String> = match text.strip_prefix('/') {
            Some(pointer) => pointer.split('/').map(|n| n.replace("~1", "/").replace("~0", "~")).collect(),
            None => text.split('.').map(str::to_owned).collect(),
        };
        if names.iter().any(String::is_empty) {
            return Err(fault("names joined by `.` are expected, such as `target.repo`"));
        }
        if names.len() > STEPS_MAX {
            return Err(fault("at most 16 steps"));
        }
        let step = |name| if name == "*" { ArgumentStep::Each } else { ArgumentStep::Member(name) };
        Ok(Self { text: text.to_owned(), steps: names.into_iter().map(step).collect() })
    }

    /// The steps, outermost first.
    pub fn steps(&self) -> &[ArgumentStep] {
        &self.steps
    }

    /// The path as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the path names at most one value, having no `*`.
    pub fn is_single(&self) -> bool {
        !self.steps.contains(&ArgumentStep::Each)
    }

    /// The value at a path without `*`; `None` where it is absent or the path has one.
    pub fn find<'a>(&self, arguments: &'a Value) -> Option<&'a Value> {
        self.steps.iter().try_fold(arguments, |value, step| match step {
            ArgumentStep::Member(name) => value.as_object()?.get(name),
            ArgumentStep::Each => None,
        })
    }

    /// Calls `change` with every value at this path.
    pub fn for_each_mut(&self, arguments: &mut Value, change: &mut dyn FnMut(&mut Value)) {
        walk(&self.steps, arguments, change);
    }
}

fn walk(steps: &[ArgumentStep], value: &mut Value, change: &mut dyn FnMut(&mut Value)) {
    let Some((step, rest)) = steps.split_first() else {
        return change(value);
    };
    match (step, value) {
        (ArgumentStep::Member(name), Value::Object(members)) => {
            if let Some(member) = members.get_mut(name) {
                walk(rest, member, change);
            }
        }
        (ArgumentStep::Each, Value::Array(items)) => {
            items.iter_mut().for_each(|item| walk(rest, item, change));
        }
        (ArgumentStep::Each, Value::Object(members)) => {
            members.values_mut().for_each(|member| walk(rest, member, change));
        }
        _ => {}
    }
}

impl fmt::Display for ArgumentPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_path_finds_what_it_names() {
        let arguments = json!({"a": {"b": 1, "c.d": 2}, "e": [{"f": 3}, {"f": 4}, 5]});
        let found = |path: &str| ArgumentPath::parse(path).unwrap().find(&arguments).cloned();
        assert_eq!(found("a.b"), Some(json!(1)));
        assert_eq!(found("/a/c.d"), Some(json!(2)));
        assert_eq!(found("a.c.d"), None);
        assert_eq!(found("e.0"), None);
        assert_eq!(found("e.*.f"), None);
        for bad in ["", ".", "a..b", "a.", "/", "/a//b", &"a.".repeat(17)] {
            assert!(ArgumentPath::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn each_reaches_every_element_and_member() {
        let mut arguments = json!({"e": [{"f": 3}, {"f": 4}, 5], "g": {"x": {"f": 1}, "y": 2}});
        for path in ["e.*.f", "g.*.f"] {
            ArgumentPath::parse(path).unwrap().for_each_mut(&mut arguments, &mut |v| *v = json!("hidden"));
        }
        let expected =
            json!({"e": [{"f": "hidden"}, {"f": "hidden"}, 5], "g": {"x": {"f": "hidden"}, "y": 2}});
        assert_eq!(arguments, expected);
    }
}
