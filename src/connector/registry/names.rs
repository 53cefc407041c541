//! Short names for tools whose full names clients would cut or refuse.
//!
//! Invariants: a short name depends on the tool's full name and on nothing else, unless it would be
//! another tool's; no two tools are offered under one name; a full name goes on meaning its tool.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::connector::Connector;
use crate::model::{Digest, SEPARATOR, ServiceKey, ToolName};

/// Characters of a name that clients take. Names are ASCII, so that these are bytes.
pub(super) const NAME_CHARS_MAX: usize = 64;
/// Characters of the hash that a short name ends in.
const HASH_CHARS: usize = 6;
/// Hashes that are tried for one name before it stays long.
const TRIES_MAX: u32 = 64;

/// The short names of all connectors.
#[derive(Debug, Clone, Default)]
pub(super) struct ShortNames {
    /// The tool's own name, by the short name that stands for it.
    tools: HashMap<String, ToolName>,
    /// The short name, by the full one.
    by_full: BTreeMap<String, String>,
}

fn full(service: &ServiceKey, tool: &ToolName) -> String {
    format!("{service}{SEPARATOR}{tool}")
}

impl ShortNames {
    /// The short names of the tools of these connectors' locks.
    pub(super) fn of<'a>(connectors: impl Iterator<Item = &'a Connector>) -> Self {
        let mut names = Self::default();
        for connector in connectors {
            names.of_connector(connector);
        }
        names
    }

    fn of_connector(&mut self, connector: &Connector) {
        let all = connector.tools.keys().map(|tool| full(&connector.service, tool));
        let taken: HashSet<String> = all.filter(|name| name.len() <= NAME_CHARS_MAX).collect();
        for tool in connector.tools.keys() {
            let name = full(&connector.service, tool);
            if name.len() <= NAME_CHARS_MAX {
                continue;
            }
            let free = |short: &String| !taken.contains(short) && !self.tools.contains_key(short);
            // Without a free one it is offered under its full name: no tool stands for another.
            let Some(short) = (0..TRIES_MAX).map(|attempt| shortened(&name, attempt)).find(free) else {
                continue;
            };
            self.tools.insert(short.clone(), tool.clone());
            self.by_full.insert(name, short);
        }
    }

    /// The tool's own name that this short name stands for.
    pub(super) fn tool(&self, short: &str) -> Option<&str> {
        if self.tools.is_empty() { None } else { self.tools.get(short).map(ToolName::as_str) }
    }

    /// The name under which the tool is offered.
    pub(super) fn listed(&self, service: &ServiceKey, tool: &ToolName) -> String {
        let name = full(service, tool);
        self.by_full.get(&name).cloned().unwrap_or(name)
    }

    /// Full and short names, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.by_full.iter().map(|(full, short)| (full.as_str(), short.as_str()))
    }
}

/// The beginning of a name, and a hash of the whole. Nobody is kept from finding two names with one
/// hash: what is taken is tried anew with another `attempt`.
fn shortened(name: &str, attempt: u32) -> String {
    let digest = Digest::of_parts([name.as_bytes(), &attempt.to_be_bytes()]);
    let hash: String = digest.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    let kept: String = name.chars().take(NAME_CHARS_MAX - HASH_CHARS - 1).collect();
    format!("{kept}_{}", hash.chars().take(HASH_CHARS).collect::<String>())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::connector::{Connectors, Lock};
    use crate::model::SourceFile;

    fn connectors(tools: &[String]) -> Connectors {
        let key = ServiceKey::parse("depot").unwrap();
        let definitions: Vec<_> =
            tools.iter().map(|name| json!({"name": name, "inputSchema": {"type": "object"}})).collect();
        let lock = Lock::from_definitions(&key, &definitions, None).unwrap().to_json().unwrap();
        let text = "[transport]\nkind = \"http\"\nurl = \"https://depot.example/mcp\"\n";
        let files = [SourceFile::new("depot.toml", text), SourceFile::new("depot.tools.json", &lock)];
        Connectors::read(&files).unwrap()
    }

    #[test]
    fn long_names_are_short_and_lead_back() {
        let (fits, long, other) = ("a".repeat(57), "a".repeat(58), format!("{}b", "a".repeat(100)));
        let all = [fits.clone(), long.clone(), other.clone()];
        let connectors = connectors(&all);
        let mut listed = Vec::new();
        for tool in &all {
            let name = ToolName::parse(tool).unwrap();
            let shown = connectors.listed_name(&ServiceKey::parse("depot").unwrap(), &name);
            assert!(shown.len() <= NAME_CHARS_MAX && shown.starts_with("depot__aaa"), "{shown}");
            assert_eq!(shown == format!("depot__{tool}"), *tool == fits, "{shown}");
            for way in [&shown, &format!("depot__{tool}")] {
                let (connector, found) = connectors.resolve(way).unwrap();
                assert_eq!((connector.service.as_str(), found), ("depot", tool.as_str()), "{way}");
            }
            listed.push(shown);
        }
        assert_eq!(HashSet::<&String>::from_iter(&listed).len(), 3);
        assert_eq!(connectors.shortened().count(), 2);
        // The same name has the same short name, whatever else is there.
        let alone = self::connectors(&all[1..2]);
        assert_eq!(alone.shortened().next().unwrap().1, listed[1]);
    }

    #[test]
    fn a_short_name_that_is_a_tools_own_is_not_given() {
        let long = "a".repeat(80);
        let first = shortened(&format!("depot__{long}"), 0);
        let own = first.strip_prefix("depot__").unwrap().to_owned();
        let connectors = connectors(&[long.clone(), own.clone()]);
        let (_, short) = connectors.shortened().next().unwrap();
        assert_ne!(short, first);
        assert_eq!(connectors.resolve(&first).unwrap().1, own);
        assert_eq!(connectors.resolve(short).unwrap().1, long);
    }
}
