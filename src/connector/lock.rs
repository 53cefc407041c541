//! Locks: which tools of a server were accepted, with which schemas and tiers (decision 5).
//!
//! Invariants: tools stand in the order of their names, each once; writing a lock and reading it
//! back loses nothing; a tool that no person and no annotation speaks for is destructive.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::model::{Diagnostic, Digest, ServiceKey, SourceFile, Tier, Timestamp, ToolName, canonical_json};

/// Tools of one server; a lock or a live list with more is refused.
const TOOLS_MAX: usize = 4_096;

/// The file `<service>.tools.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Lock {
    pub service: ServiceKey,
    /// What the server called itself when the lock was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_info: Option<ServerInfo>,
    /// When a person accepted it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted_at: Option<Timestamp>,
    pub tools: Vec<LockedTool>,
}

/// `serverInfo` of `initialize` (MCP 2025-11-25, lifecycle).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerInfo {
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    pub version: String,
}

/// One accepted tool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LockedTool {
    pub name: ToolName,
    pub tier: Tier,
    /// Over [`canonical_json`] of the whole definition, fields that are not kept here included.
    pub digest: Digest,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Kept so that a person sees what an agent is told, and what changed in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    pub input_schema: Value,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_schema: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<Value>,
}

/// A definition that cannot be accepted. `Display` names the tool and the reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockFault {
    tool: String,
    why: String,
}

impl LockFault {
    fn new(tool: &str, why: impl Into<String>) -> Self {
        Self { tool: tool.chars().take(128).collect(), why: why.into() }
    }
}

impl fmt::Display for LockFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tool `{}`: {}", self.tool.escape_default(), self.why)
    }
}

impl std::error::Error for LockFault {}

impl Lock {
    /// Reads a lock file.
    ///
    /// # Errors
    /// One diagnostic with line and column, or one for each tool that stands there twice.
    pub fn parse(source: &SourceFile) -> Result<Self, Vec<Diagnostic>> {
        let help = "restore it from version control, or write it anew with `wicket connector sync`";
        let mut lock: Self = serde_json::from_str(&source.text).map_err(|error| {
            let file = source.name.to_string();
            let (line, column) = (error.line(), error.column());
            let from_one = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
            let message = format!("not a lock: {error}");
            vec![Diagnostic {
                file,
                line: from_one(line),
                column: from_one(column),
                message,
                help: Some(help.to_owned()),
            }]
        })?;
        let mut faults = Vec::new();
        if lock.tools.len() > TOOLS_MAX {
            faults.push(Diagnostic::of_file(&source.name, format!("more than {TOOLS_MAX} tools")));
        }
        lock.tools.sort_by(|a, b| a.name.cmp(&b.name));
        for pair in lock.tools.windows(2) {
            if let [first, second] = pair
                && first.name == second.name
            {
                let message = format!("tool `{}` stands in it twice", first.name);
                faults.push(Diagnostic::of_file(&source.name, message).with_help(help));
            }
        }
        for tool in lock.tools.iter().filter(|tool| !tool.input_schema.is_object()) {
            let message = format!("the inputSchema of tool `{}` is not an object", tool.name);
            faults.push(Diagnostic::of_file(&source.name, message).with_help(help));
        }
        if faults.is_empty() { Ok(lock) } else { Err(faults) }
    }

    /// The lock that accepts these definitions, each one an element of `tools/list`'s `tools` as the
    /// server sent it. A tool that `old` knows keeps its tier; for another one the tier is proposed
    /// from its annotations (MCP 2025-11-25, tools): `readOnlyHint: true` is read,
    /// `destructiveHint: false` is write, anything else destructive.
    ///
    /// # Errors
    /// Every definition that has no usable name or schema, or a name that came before.
    pub fn from_definitions(
        service: &ServiceKey,
        definitions: &[Value],
        old: Option<&Self>,
    ) -> Result<Self, Vec<LockFault>> {
        let mut faults = Vec::new();
        if definitions.len() > TOOLS_MAX {
            return Err(vec![LockFault::new("", format!("more than {TOOLS_MAX} tools"))]);
        }
        let mut tools = BTreeMap::new();
        for definition in definitions {
            match lock_tool(definition, old) {
                Err(fault) => faults.push(fault),
                Ok(tool) => {
                    if let Some(twice) = tools.insert(tool.name.clone(), tool) {
                        faults.push(LockFault::new(twice.name.as_str(), "the server lists it twice"));
                    }
                }
            }
        }
        let server_info = old.and_then(|old| old.server_info.clone());
        let lock = Self {
            service: service.clone(),
            server_info,
            accepted_at: None,
            tools: tools.into_values().collect(),
        };
        if faults.is_empty() { Ok(lock) } else { Err(faults) }
    }

    /// The file's text: pretty, in stable order, with a line end.
    ///
    /// # Errors
    /// None in practice: every field is plain JSON; a sentence if that should change.
    pub fn to_json(&self) -> Result<String, String> {
        let mut text = serde_json::to_string_pretty(self).map_err(|error| error.to_string())?;
        text.push('\n');
        Ok(text)
    }

    /// The locked tool of this name.
    pub fn tool(&self, name: &str) -> Option<&LockedTool> {
        let index = self.tools.binary_search_by(|tool| tool.name.as_str().cmp(name)).ok()?;
        self.tools.get(index)
    }
}

fn lock_tool(definition: &Value, old: Option<&Lock>) -> Result<LockedTool, LockFault> {
    let text = |field: &str| definition.get(field).and_then(Value::as_str);
    let name = text("name").ok_or_else(|| LockFault::new("", "a definition without a name"))?;
    let parsed = ToolName::parse(name).map_err(|error| LockFault::new(name, error.to_string()))?;
    let input_schema = definition.get("inputSchema").filter(|schema| schema.is_object());
    let input_schema =
        input_schema.ok_or_else(|| LockFault::new(name, "its inputSchema is not an object"))?;
    let tier = match old.and_then(|old| old.tool(name)) {
        Some(known) => known.tier,
        None => proposed_tier(definition.get("annotations")),
    };
    Ok(LockedTool {
        name: parsed,
        tier,
        digest: Digest::of(canonical_json(definition).as_bytes()),
        title: text("title").map(str::to_owned),
        description: text("description").map(str::to_owned),
        input_schema: input_schema.clone(),
        output_schema: definition.get("outputSchema").cloned(),
        annotations: definition.get("annotations").cloned(),
    })
}

fn proposed_tier(annotations: Option<&Value>) -> Tier {
    let hint = |name: &str| annotations.and_then(|a| a.get(name)).and_then(Value::as_bool);
    match (hint("readOnlyHint"), hint("destructiveHint")) {
        // A server that calls one tool both is not believed.
        (Some(true), Some(true)) => Tier::Destructive,
        (Some(true), _) => Tier::Read,
        (_, Some(false)) => Tier::Write,
        _ => Tier::Destructive,
    }
}

#[cfg(test)]
mod tests;
