//! The canonical bytes of one entry of each type, kept as a golden file.

use super::super::super::disk::Local;
use super::super::super::writer::Room;
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
        before: Some(&before),
        after: None,
    };
    writer.append(&administrative_body(&facts, node()), Room::Needed, NOW).unwrap();
    writer.checkpoint(EntryKind::Checkpoint, NOW);
    writer.checkpoint(EntryKind::Close, NOW);
    writer.put_everything(NOW).unwrap();
    let text = std::fs::read_to_string(dir.join("segment-00000001.jsonl")).unwrap();
    assert!(!text.contains("hunter2"));
    insta::assert_snapshot!("entries", text);
}
