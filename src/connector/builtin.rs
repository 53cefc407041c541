//! The gate's own connector, `wicket`: an agent can ask before it tries.
//!
//! Invariants: it is always there and needs no file; its tools only read; its lock is derived from
//! the very definitions that are listed, so the two cannot differ.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::lock::Lock;
use super::{Connector, Limits, OnChange, ShortNames, Tool, Transport};
use crate::model::{Diagnostic, Digest, ServiceKey};

/// Its service key: tools are `wicket__whoami`, `wicket__session`, `wicket__explain` and
/// `wicket__search_tools`.
pub const SERVICE: &str = "wicket";

/// Its Cedar namespace.
pub const NAMESPACE: &str = "WicketMCP";

/// The result of `tools/list` as an upstream would send it: `{"tools": […]}`.
pub const TOOLS_LIST_RESULT: &str = include_str!("builtin/tools.json");

/// The built-in connector.
///
/// # Errors
/// None in a build that passed its tests: the definitions are part of the program.
pub(super) fn connector() -> Result<Connector, Diagnostic> {
    let fault = |why: String| Diagnostic::of_file("wicket (built in)", why);
    let service = ServiceKey::parse(SERVICE).map_err(|error| fault(error.to_string()))?;
    let listed: Value = serde_json::from_str(TOOLS_LIST_RESULT).map_err(|error| fault(error.to_string()))?;
    let definitions = listed.get("tools").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let lock = Lock::from_definitions(&service, definitions, None);
    let lock = lock.map_err(|faults| fault(faults.iter().map(ToString::to_string).collect()))?;
    let tools = lock.tools.into_iter().map(|locked| {
        let name = locked.name.clone();
        (name, Arc::new(Tool::from_locked(locked, NAMESPACE, None)))
    });
    Ok(Connector {
        service,
        display_name: "Wicket".to_owned(),
        description: Some(
            "What the gate says of itself: who calls, what was used up, what would be decided".to_owned(),
        ),
        namespace: NAMESPACE.to_owned(),
        optional: false,
        requires: Vec::new(),
        transport: Transport::InProcess,
        limits: Limits::default(),
        on_change: OnChange::Quarantine,
        tools: tools.collect(),
        // It serves tools alone.
        operations: BTreeMap::new(),
        resource_types: Vec::new(),
        redact: Vec::new(),
        groups: BTreeMap::new(),
        short_names: ShortNames::default(),
        digest: Digest::of(TOOLS_LIST_RESULT.as_bytes()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Tier;

    #[test]
    fn the_built_in_tools_are_four_and_only_read() {
        let connector = connector().unwrap();
        let tools: Vec<_> = connector.tools.values().map(|t| (t.name.as_str(), t.tier)).collect();
        assert_eq!(
            tools.iter().map(|(name, _)| *name).collect::<Vec<_>>(),
            ["explain", "search_tools", "session", "whoami"]
        );
        assert!(tools.iter().all(|(_, tier)| *tier == Tier::Read));
        let listed: Value = serde_json::from_str(TOOLS_LIST_RESULT).unwrap();
        for tool in listed["tools"].as_array().unwrap() {
            assert!(tool["description"].as_str().unwrap().len() > 100, "{tool}");
            assert_eq!(tool["inputSchema"]["additionalProperties"], false, "{tool}");
            assert_eq!(tool["outputSchema"]["type"], "object", "{tool}");
        }
    }
}
