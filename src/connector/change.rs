//! What differs between two locks, field by field, for a person who has to accept it.

use std::fmt;

use serde_json::Value;

use super::lock::{Lock, LockedTool};
use crate::model::{Tier, ToolName};

/// Differences listed for one schema; the rest is summed up in one line.
const DIFFERENCES_MAX: usize = 64;

/// Characters shown of one value.
const SHOWN_CHARS_MAX: usize = 300;

/// One difference.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// What the server calls itself, or its version.
    Server { before: String, after: String },
    /// A tool that the old lock does not have, with its proposed tier.
    Added { tool: ToolName, tier: Tier },
    /// A tool that the server no longer lists.
    Removed { tool: ToolName, tier: Tier },
    /// A field of a tool; an absent value is `None`.
    Changed { tool: ToolName, field: ChangedField, before: Option<String>, after: Option<String> },
}

/// Which field of a tool changed; pointers are RFC 6901.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChangedField {
    Tier,
    Title,
    Description,
    InputSchema {
        pointer: String,
    },
    OutputSchema {
        pointer: String,
    },
    Annotations {
        pointer: String,
    },
    /// A field that the lock keeps only in the digest (icons, `_meta`, …).
    Other,
}

impl fmt::Display for ChangedField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tier => f.write_str("tier"),
            Self::Title => f.write_str("title"),
            Self::Description => f.write_str("description"),
            Self::InputSchema { pointer } => write!(f, "inputSchema{pointer}"),
            Self::OutputSchema { pointer } => write!(f, "outputSchema{pointer}"),
            Self::Annotations { pointer } => write!(f, "annotations{pointer}"),
            Self::Other => f.write_str("other fields (digest)"),
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |value: &Option<String>| match value {
            None => "absent".to_owned(),
            Some(text) => {
                let cut: String = text.chars().take(SHOWN_CHARS_MAX).collect();
                let more = if cut.len() < text.len() { "…" } else { "" };
                format!("`{}{more}`", escaped(&cut))
            }
        };
        match self {
            Self::Server { before, after } => {
                write!(f, "server: `{}` -> `{}`", escaped(before), escaped(after))
            }
            Self::Added { tool, tier } => write!(f, "{tool}: new, proposed tier {tier}"),
            Self::Removed { tool, tier } => write!(f, "{tool}: gone (was {tier})"),
            Self::Changed { tool, field, before, after } => {
                write!(f, "{tool}: {field}: {} -> {}", shown(before), shown(after))
            }
        }
    }
}

/// What a server sent may hold codes that a terminal obeys; quotes stay readable.
fn escaped(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '"' | '\'' => shown.push(letter),
            other => shown.extend(other.escape_debug()),
        }
    }
    shown
}

/// Everything that differs, in the order of the tools' names.
pub fn diff(old: &Lock, new: &Lock) -> Vec<Change> {
    let mut changes = Vec::new();
    let named = |lock: &Lock| match &lock.server_info {
        Some(info) => format!("{} {}", info.name, info.version),
        None => "unknown".to_owned(),
    };
    if old.server_info != new.server_info {
        changes.push(Change::Server { before: named(old), after: named(new) });
    }
    for tool in &old.tools {
        match new.tool(tool.name.as_str()) {
            None => changes.push(Change::Removed { tool: tool.name.clone(), tier: tool.tier }),
            Some(now) => changes.extend(diff_tool(tool, now)),
        }
    }
    for tool in new.tools.iter().filter(|tool| old.tool(tool.name.as_str()).is_none()) {
        changes.push(Change::Added { tool: tool.name.clone(), tier: tool.tier });
    }
    let name = |change: &Change| match change {
        Change::Server { .. } => String::new(),
        Change::Added { tool, .. } | Change::Removed { tool, .. } | Change::Changed { tool, .. } => {
            tool.to_string()
        }
    };
    changes.sort_by_key(name);
    changes
}

fn diff_tool(old: &LockedTool, new: &LockedTool) -> Vec<Change> {
    let mut changes = Vec::new();
    let mut note = |field, before: Option<String>, after: Option<String>| {
        changes.push(Change::Changed { tool: old.name.clone(), field, before, after });
    };
    if old.digest == new.digest {
        // One definition, whatever of its texts each lock has kept; only the tier is ours.
        if old.tier != new.tier {
            note(ChangedField::Tier, Some(old.tier.to_string()), Some(new.tier.to_string()));
        }
        return changes;
    }
    let mut only_digest = true;
    if old.title != new.title {
        only_digest = false;
        note(ChangedField::Title, old.title.clone(), new.title.clone());
    }
    if old.description != new.description {
        only_digest = false;
        note(ChangedField::Description, old.description.clone(), new.description.clone());
    }
    type Field = fn(String) -> ChangedField;
    let values: [(Field, Option<&Value>, Option<&Value>); 3] = [
        (|pointer| ChangedField::InputSchema { pointer }, Some(&old.input_schema), Some(&new.input_schema)),
        (
            |pointer| ChangedField::OutputSchema { pointer },
            old.output_schema.as_ref(),
            new.output_schema.as_ref(),
        ),
        (|pointer| ChangedField::Annotations { pointer }, old.annotations.as_ref(), new.annotations.as_ref()),
    ];
    for (field, before, after) in values {
        let mut differences = Vec::new();
        diff_values("", before, after, &mut differences);
        let more = differences.len().saturating_sub(DIFFERENCES_MAX);
        for (pointer, before, after) in differences.into_iter().take(DIFFERENCES_MAX) {
            only_digest = false;
            note(field(pointer), before, after);
        }
        if more > 0 {
            note(field(String::new()), None, Some(format!("{more} more differences")));
        }
    }
    if only_digest {
        note(ChangedField::Other, Some(old.digest.to_string()), Some(new.digest.to_string()));
    }
    if old.tier != new.tier {
        note(ChangedField::Tier, Some(old.tier.to_string()), Some(new.tier.to_string()));
    }
    changes
}

fn diff_values(
    pointer: &str,
    before: Option<&Value>,
    after: Option<&Value>,
    found: &mut Vec<(String, Option<String>, Option<String>)>,
) {
    if let (Some(Value::Object(old)), Some(Value::Object(new))) = (before, after) {
        let added = new.keys().filter(|name| !old.contains_key(*name));
        for name in old.keys().chain(added) {
            let deeper = format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"));
            diff_values(&deeper, old.get(name), new.get(name), found);
        }
    } else if before != after {
        found.push((pointer.to_owned(), before.map(Value::to_string), after.map(Value::to_string)));
    }
}
