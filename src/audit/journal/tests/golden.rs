//! The canonical bytes of one entry of each type, kept as a golden file.

use super::super::super::checkpointed;
use super::super::super::disk::Local;
use super::super::super::retention::{RetentionEntry, RetentionReason};
use super::super::super::writer::{Room, with_type};
use super::session::checkpoint as session_checkpoint_of;
use super::*;

#[test]
fn one_entry_of_each_type_in_its_canonical_bytes() {
    let data = tempfile::tempdir().unwrap();
    let config = config(data.path(), Durability::Durable);
    let dir = config.dir.clone();
    std::fs::create_dir(&dir).unwrap();
    let boot = uuid::Uuid::from_bytes([0xB0; 16]);
    let mut writer = Writer::new(config, Arc::new(Local), node(), boot, signing());
    writer.begin(&Past::default(), NOW).unwrap();
    let scene = Scene::new();
    let key = signing().derive("wicket/arguments/v1");
    for (n, allowed) in [(1, true), (2, false)] {
        let body = call_body(&scene.facts(call(n)), &decision(allowed), bundle(), node(), &key);
        if allowed {
            writer.append_intent(call(n), &body, NOW).unwrap();
        } else {
            writer.append(&body, Room::Needed, NOW).unwrap();
        }
    }
    let ended = Completion { call: call(1), intent: 2, at: NOW, outcome: RESULT, note: CompletionNote::None };
    let lost = Completion::unknown(call(3), 9, NOW, CompletionNote::Recovered);
    writer.append_completions(&[ended, lost], NOW);
    let before = serde_json::json!({"suffix": "abcd", "secret": "hunter2"});
    let facts = AdministrativeFacts {
        change: call(4),
        at: NOW,
        phase: AdministrativePhase::Intent,
        who: "operator",
        what: "key.revoke",
        target: "key/1",
        agent: None,
        before: Some(&before),
        after: None,
    };
    writer.append(&administrative_body(&facts, node()), Room::Needed, NOW).unwrap();
    for body in checkpointed::bodies(&session_checkpoint(), node()) {
        writer.append(&body, Room::Needed, NOW).unwrap();
    }
    let retention = RetentionEntry {
        timestamp: NOW,
        node: node(),
        reason: RetentionReason::Age,
        first_segment: "segment-00000001.jsonl".into(),
        last_segment: "segment-00000002.jsonl".into(),
        segments: 2,
        entries: 500,
        bytes: 300_000,
        last_seq: 500,
        last_chain: crate::audit::ChainHash::GENESIS,
        kept_bytes: 1_400,
        kept_sha256: "ab".repeat(32),
    };
    writer.append(&with_type(EntryKind::Retention, &retention), Room::Always, NOW).unwrap();
    writer.checkpoint(EntryKind::Checkpoint, NOW);
    writer.checkpoint(EntryKind::Close, NOW);
    writer.put_everything(NOW).unwrap();
    let text = std::fs::read_to_string(dir.join("segment-00000001.jsonl")).unwrap();
    assert!(!text.contains("hunter2"));
    insta::assert_snapshot!("entries", text);
}

/// One of a session that has ended, with a window.
fn session_checkpoint() -> crate::model::SessionCheckpoint {
    let mut checkpoint = session_checkpoint_of(12);
    let tool = crate::model::CounterKey::Tool(
        crate::model::ServiceKey::parse("github").unwrap(),
        crate::model::ToolName::parse("delete_file").unwrap(),
    );
    checkpoint.cause = crate::model::CheckpointCause::Ended;
    checkpoint.ended = Some((NOW, "inactivity"));
    checkpoint.counters.insert(tool.clone(), 2);
    let counts = |n| -> std::collections::BTreeMap<_, _> {
        [(crate::model::CounterKey::Calls, n), (tool.clone(), 1)].into()
    };
    checkpoint.window = Some(crate::model::WindowCheckpoint {
        bucket_ms: 300_000,
        whole: true,
        settled: true,
        buckets: vec![(5_984_368, counts(5)), (5_984_369, counts(7))],
    });
    checkpoint
}
