//! One entry of the journal on one line, for eyes that run down a terminal.

use serde_json::Value;

use crate::audit::{Entry, EntryKind};
use crate::cli::output::{Style, one_line};

/// Characters of a reason or a target.
const DETAIL_CHARACTERS_MAX: usize = 120;

/// What a person who watches wants to see: calls, their ends and changes, not the journal's own book-keeping.
pub fn is_of_interest(kind: EntryKind) -> bool {
    !matches!(kind, EntryKind::Open | EntryKind::Checkpoint | EntryKind::Close)
}

/// The entry's line, with its end.
pub fn render(entry: &Entry, style: Style) -> String {
    match entry.json() {
        Ok(value) => format!("{}\n", line_of(entry.kind, &value, style)),
        Err(error) => format!("{} {}\n", style.bad("unreadable"), one_line(&error.to_string())),
    }
}

/// The line of an entry's members.
pub fn line_of(kind: EntryKind, entry: &Value, style: Style) -> String {
    let text = |name: &str| cut(entry.get(name).and_then(Value::as_str).unwrap_or("-"));
    let number = |name: &str| entry.get(name).and_then(Value::as_u64).unwrap_or(0);
    let time = text("timestamp");
    match kind {
        EntryKind::Intent | EntryKind::Denial => {
            let decision = if kind == EntryKind::Intent { style.good("ALLOW") } else { style.bad("DENY ") };
            format!(
                "{time}  {decision}  {}  {}  {}__{}  {}  {}  {}",
                text("agentName"),
                text("memberName"),
                text("service"),
                text("tool"),
                text("resource"),
                why(entry),
                style.faint(&text("call")),
            )
        }
        EntryKind::Completion => {
            let outcome = text("outcome");
            let well = matches!(outcome.as_str(), "result" | "tool_error" | "rpc_error");
            format!(
                "{time}  {}  {outcome}, status {}, {} bytes, {} ms  {}",
                if well { style.faint("ended") } else { style.warn("ended") },
                number("status"),
                number("bytes"),
                number("durationMs"),
                style.faint(&text("call")),
            )
        }
        EntryKind::Administrative => format!(
            "{time}  {}  {} {} by {}: {}",
            style.strong("CHANGE"),
            text("what"),
            text("target"),
            text("who"),
            text("phase"),
        ),
        EntryKind::Session => format!(
            "{time}  {}  {} of member {}: {} calls, {} denied ({}{})",
            style.faint("SESSION"),
            text("sessionId"),
            text("memberId"),
            counter(entry, "calls"),
            counter(entry, "denials"),
            text("cause"),
            part(entry),
        ),
        EntryKind::Retention => format!(
            "{time}  {}  {} to {} dropped for {}: {} entries, {} bytes; their checkpoints are kept",
            style.warn("RETENTION"),
            text("firstSegment"),
            text("lastSegment"),
            text("reason"),
            number("entries"),
            number("bytes"),
        ),
        EntryKind::Open | EntryKind::Checkpoint | EntryKind::Close => {
            format!("{time}  {}", style.faint(&text("type")))
        }
    }
}

fn counter(entry: &Value, name: &str) -> i64 {
    entry.get("counters").and_then(|counters| counters.get(name)?.as_i64()).unwrap_or(0)
}

/// Which part of a checkpoint that takes several entries.
fn part(entry: &Value) -> String {
    let number = |name: &str| entry.get(name).and_then(Value::as_u64).unwrap_or(1);
    if number("parts") > 1 {
        format!(", part {} of {}", number("part"), number("parts"))
    } else {
        String::new()
    }
}

fn why(entry: &Value) -> String {
    let keys: Vec<String> = entry
        .get("matchedPolicies")
        .and_then(Value::as_array)
        .map(|policies| policies.iter().filter_map(|p| p.get("key")?.as_str()).map(cut).collect())
        .unwrap_or_default();
    let reason = entry.get("reason").and_then(Value::as_str).unwrap_or("-");
    let by = if keys.is_empty() { cut(reason) } else { format!("by {}", keys.join(", ")) };
    match entry.get("denyMessage").and_then(Value::as_str) {
        Some(message) => format!("{by}: {}", cut(message)),
        None => by,
    }
}

fn cut(text: &str) -> String {
    let short: String = text.chars().take(DETAIL_CHARACTERS_MAX).collect();
    let more = if short.len() < text.len() { "…" } else { "" };
    one_line(&format!("{short}{more}"))
}
