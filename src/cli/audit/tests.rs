use super::*;

const ENTRY: &str = r#"{"type":"denial","timestamp":"2026-11-22T03:05:00.123Z",
  "call":"0193e4b2-7c1a-7000-8000-0123456789ab","agentId":"0193e4b2-7c1a-7000-8000-000000000001",
  "agentName":"reviewer","memberId":"0193e4b2-7c1a-7000-8000-000000000002","memberName":"ada@example.org",
  "service":"files","tool":"write_file","resource":"FilesMCP::File::\"/tmp/a\"","callerIp":"10.1.2.3",
  "toolArgs":{"path":"/tmp/a"},"decision":"DENY","reason":"forbidden","denyMessage":"no \u001b[31mwrites",
  "matchedPolicies":[{"key":"no-writes","name":"No writes","version":0}],
  "history":{"session":{"calls":3,"tier/write":10},"member":{}}}"#;

#[test]
fn a_denial_is_one_line_with_its_reason_and_its_id() {
    let entry: serde_json::Value = serde_json::from_str(ENTRY).unwrap();
    let text = line::line_of(EntryKind::Denial, &entry, Style::plain());
    assert_eq!(
        text,
        "2026-11-22T03:05:00.123Z  DENY   reviewer  ada@example.org  files__write_file  \
         FilesMCP::File::\"/tmp/a\"  by no-writes: no \\u{1b}[31mwrites  \
         0193e4b2-7c1a-7000-8000-0123456789ab"
    );
}

#[test]
fn a_recorded_call_is_asked_about_with_what_it_was_decided_on() {
    let mut entry: serde_json::Value = serde_json::from_str(ENTRY).unwrap();
    let question = question_of(&entry).unwrap();
    assert_eq!(question.tool, "files__write_file");
    assert_eq!(question.session.get("tier/write"), Some(&10));
    assert_eq!(question.ip, Some("10.1.2.3".parse().unwrap()));
    assert_eq!(question.at.unwrap().to_string(), "2026-11-22T03:05:00.123Z");
    // Counters that do not read must not silently count as 0.
    entry["history"]["session"]["calls"] = serde_json::json!("many");
    assert_eq!(question_of(&entry), None);
    entry.as_object_mut().unwrap().remove("history");
    assert!(question_of(&entry).unwrap().session.is_empty());
}

#[test]
fn what_shadows_would_have_made_of_a_call_is_read_off_its_entry() {
    let entry = serde_json::json!({"shadow": {"decision": "DENY", "reason": "forbidden",
        "policies": [{"key": "no-whoami", "version": 0}, {"key": "night", "version": 2}]}});
    let said = shadow_of(&entry).unwrap();
    assert_eq!(said, "when it was made, policies in shadow would have made it DENY by `no-whoami`, `night`");
    let failed =
        serde_json::json!({"shadow": {"decision": "DENY", "reason": "evaluation_error", "policies": []}});
    assert!(shadow_of(&failed).unwrap().ends_with("made it DENY"));
    assert_eq!(shadow_of(&serde_json::json!({"decision": "ALLOW"})), None);
}

#[test]
fn a_change_and_an_end_are_told_apart() {
    let change = serde_json::json!({"timestamp": "T", "what": "key.revoke", "target": "k", "who": "uid:0", "phase": "completed"});
    let text = line::line_of(EntryKind::Administrative, &change, Style::plain());
    assert_eq!(text, "T  CHANGE  key.revoke k by uid:0: completed");
    let end = serde_json::json!({"timestamp": "T", "outcome": "timeout", "status": 504, "bytes": 0, "durationMs": 30000, "call": "c"});
    let text = line::line_of(EntryKind::Completion, &end, Style::plain());
    assert_eq!(text, "T  ended  timeout, status 504, 0 bytes, 30000 ms  c");
    let session = serde_json::json!({"timestamp": "T", "sessionId": "s", "memberId": "m", "cause": "ended", "counters": {"calls": 12, "denials": 1}, "part": 1, "parts": 1});
    let text = line::line_of(EntryKind::Session, &session, Style::plain());
    assert_eq!(text, "T  SESSION  s of member m: 12 calls, 1 denied (ended)");
    let retention = serde_json::json!({"timestamp": "T", "firstSegment": "a", "lastSegment": "b", "reason": "age", "entries": 7, "bytes": 900});
    let text = line::line_of(EntryKind::Retention, &retention, Style::plain());
    assert_eq!(
        text,
        "T  RETENTION  a to b dropped for age: 7 entries, 900 bytes; their checkpoints are kept"
    );
    assert!(line::is_of_interest(EntryKind::Session) && line::is_of_interest(EntryKind::Retention));
    assert!(!line::is_of_interest(EntryKind::Checkpoint));
}
