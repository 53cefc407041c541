//! The methods of MCP beside `tools/call`, as what policies decide on: each is an **operation** of every
//! connector, an action of its own beside the tools of the lock, in a tier like them.
//!
//! So one way leads through decision, counters and records for all of them: a prompt that is fetched
//! is decided as `EverythingMCP::Action::"prompts/get"` with `context.args.name`, and counts as
//! `toolsUsed["everything:prompts/get"]`.
//!
//! Invariant: a tool cannot have an operation's name (`policy::schema` refuses such a lock).

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::Tool;
use crate::model::{Digest, Tier, ToolName};

/// A method, its tier, and the arguments that policies may read.
struct Row {
    method: &'static str,
    tier: Tier,
    arguments: fn() -> Value,
}

const fn row(method: &'static str, tier: Tier, arguments: fn() -> Value) -> Row {
    Row { method, tier, arguments }
}

/// Every operation. What a server asks of a person or of a model changes nothing at the server, so it is
/// in the read tier as well; a client asks its user, too.
const TABLE: [Row; 11] = [
    row(
        "completion/complete",
        Tier::Read,
        || json!({"ref": object(&["type", "name", "uri"]), "argument": object(&["name", "value"])}),
    ),
    row("elicitation/create", Tier::Read, || json!({"mode": text(), "message": text(), "url": text()})),
    row("logging/setLevel", Tier::Read, || json!({"level": text()})),
    row("prompts/get", Tier::Read, || json!({"name": text()})),
    row("prompts/list", Tier::Read, || json!({})),
    row("resources/list", Tier::Read, || json!({})),
    row("resources/read", Tier::Read, || json!({"uri": text()})),
    row("resources/subscribe", Tier::Read, || json!({"uri": text()})),
    row("resources/templates/list", Tier::Read, || json!({})),
    row("roots/list", Tier::Read, || json!({})),
    row(
        "sampling/createMessage",
        Tier::Read,
        || json!({"maxTokens": {"type": "integer"}, "systemPrompt": text()}),
    ),
];

fn text() -> Value {
    json!({"type": "string"})
}

fn object(members: &[&str]) -> Value {
    let members = members.iter().map(|name| ((*name).to_owned(), text()));
    json!({"type": "object", "properties": members.collect::<serde_json::Map<_, _>>()})
}

/// The names of all operations: the shared actions `Wicket::Action::"prompts/get"` and so on.
pub fn names() -> impl Iterator<Item = &'static str> {
    TABLE.iter().map(|row| row.method)
}

/// Whether this is an operation's name.
pub fn is_operation(name: &str) -> bool {
    names().any(|method| method == name)
}

/// The operations of a connector of this namespace.
pub(super) fn of(namespace: &str) -> BTreeMap<ToolName, Arc<Tool>> {
    let operation = |row: &Row| {
        let name = ToolName::parse(row.method).ok()?;
        let input_schema = json!({"type": "object", "properties": (row.arguments)()});
        let digest = Digest::of(input_schema.to_string().as_bytes());
        let action = format!("{namespace}::Action::\"{name}\"");
        let tool = Tool {
            name: name.clone(),
            action,
            tier: row.tier,
            digest,
            input_schema,
            may_mirror: false,
            title: None,
            description: None,
            resource: None,
        };
        Some((name, Arc::new(tool)))
    };
    TABLE.iter().filter_map(operation).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_has_a_name_that_actions_can_have() {
        let operations = of("XMCP");
        assert_eq!(operations.len(), TABLE.len());
        assert_eq!(operations["prompts/get"].action, r#"XMCP::Action::"prompts/get""#);
        assert!(is_operation("roots/list") && !is_operation("tools/call"));
    }
}
