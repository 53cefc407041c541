//! The canonical bytes of one entry of each type, kept as a golden file.

use super::*;

#[test]
fn one_entry_of_each_type_in_its_canonical_bytes() {
    let data = tempfile::tempdir().unwrap();
    let config = config(data.path(), Durability::Durable);
    let dir = config.dir.clone();
    std::fs::create_dir(&dir).unwrap();
    let boot = uuid::Uuid::from_bytes([0xB0; 16]);
    let mut writer = Writer::new(config, node(), boot, signing());
    writer.begin(SegmentNumber(0), 0, 0, None, 0, NOW).unwrap();
    let scene = Scene::new();
    let key = signing().derive("wicket/arguments/v1");
    for (n, allowed) in [(1, true), (2, false)] {
        let body = call_body(&scene.facts(call(n)), &decision(allowed), bundle(), node(), &key);
        writer.append(&body, Room::Needed, NOW).unwrap();
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
    let text = std::fs::read_to_string(dir.join("segment-00000001.jsonl")).unwrap();
    assert!(!text.contains("hunter2"));
    insta::assert_snapshot!("entries", text);
}
