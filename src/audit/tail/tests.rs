use super::*;
use crate::audit::Durability;
use crate::audit::testing::{RESULT, config, open, record, turned};

fn seqs(tail: &mut Tail) -> Vec<u64> {
    std::iter::from_fn(|| tail.next_now().unwrap()).map(|e| e.seq).collect()
}

#[tokio::test]
async fn the_last_entries_are_found_across_segments_and_followed() {
    let data = tempfile::tempdir().unwrap();
    let mut config = config(data.path(), Durability::Process);
    config.segment_bytes_max = 6 << 10;
    let dir = config.dir.clone();
    let (journal, _) = open(config.clone());
    for n in 0..30 {
        record(&journal, n).await.unwrap().complete(RESULT);
        turned(&journal).await;
    }
    let only_intents = |e: &Entry| e.kind == EntryKind::Intent;
    let mut intents = tail(&dir, 12, &only_intents).unwrap();
    let last: Vec<u64> = std::iter::from_fn(|| intents.last.pop_front()).map(|e| e.seq).collect();
    assert_eq!(last.len(), 12);
    assert!(last.windows(2).all(|w| w[0] < w[1]));
    let receipt = record(&journal, 99).await.unwrap();
    let next = loop {
        let entry = intents.next_followed().await.unwrap();
        if entry.kind == EntryKind::Intent {
            break entry;
        }
    };
    assert_eq!(next.seq, receipt.intent_seq());
    assert_eq!(next.json().unwrap()["tool"], "delete_file");
    receipt.complete(RESULT);
    journal.close();
    assert!(crate::audit::segment::list(&dir).unwrap().len() > 3);
    let all = seqs(&mut tail(&dir, usize::MAX, &|_| true).unwrap());
    assert_eq!(all, (1..=*all.last().unwrap()).collect::<Vec<_>>());
    let mut reader = Reader::at(&dir, Place::default());
    let read: Vec<u64> = std::iter::from_fn(|| reader.read().unwrap()).map(|e| e.seq).collect();
    assert_eq!(read, all);
}

#[tokio::test]
async fn a_half_written_line_is_read_once_it_is_whole() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("segment-00000001.jsonl");
    let mut line = Vec::new();
    crate::audit::chain::seal(&crate::audit::ChainHash::GENESIS, 1, br#"{"type":"open"}"#, &mut line);
    std::fs::write(&path, &line[..20]).unwrap();
    let mut reader = Reader::at(dir.path(), Place::default());
    assert_eq!(reader.read().unwrap(), None);
    std::fs::write(&path, &line).unwrap();
    assert_eq!(reader.read().unwrap().unwrap().seq, 1);
    assert_eq!(reader.read().unwrap(), None);
}

#[tokio::test]
async fn a_segment_that_is_only_made_ahead_ends_nothing() {
    let data = tempfile::tempdir().unwrap();
    let config = config(data.path(), Durability::Process);
    let dir = config.dir.clone();
    let (journal, _) = open(config);
    std::fs::write(dir.join("segment-00000002.jsonl"), "").unwrap();
    let mut reader = Reader::at(&dir, Place::default());
    let mut last = tail(&dir, 1, &|_| true).unwrap();
    let read = |reader: &mut Reader| std::iter::from_fn(|| reader.read().unwrap()).count();
    assert!(read(&mut reader) > 0 && !seqs(&mut last).is_empty());
    record(&journal, 1).await.unwrap().complete(RESULT);
    assert!(read(&mut reader) > 0, "what came after in the segment before is passed over");
    assert!(!seqs(&mut last).is_empty());
}
