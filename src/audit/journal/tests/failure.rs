//! Disks that are full, gone, slow or failing: refused in bounded time, repaired without a restart.

use super::super::super::testing::{Answer, Ask, FaultyDisk, open_on};
use super::super::super::writer::{Room, mend};
use super::*;

#[tokio::test]
async fn what_cannot_be_written_is_refused_until_the_directory_is_back() {
    for mode in [Durability::Process, Durability::Durable] {
        let data = tempfile::tempdir().unwrap();
        let config = config(data.path(), mode);
        let dir = config.dir.clone();
        let (journal, _) = open(config);
        let pending = record(&journal, 1).await.unwrap();
        std::fs::remove_dir_all(&dir).unwrap();
        for n in 2..20 {
            let asked = std::time::Instant::now();
            let refused = record(&journal, n).await.unwrap_err().to_string();
            assert!(refused.contains("deleted") || refused.contains("segment"), "{refused}");
            assert!(asked.elapsed() < Duration::from_millis(250), "{:?}", asked.elapsed());
        }
        assert!(!journal.healthy());
        pending.complete(RESULT);
        assert!(journal.status().last_error.is_some());
        std::fs::create_dir(&dir).unwrap();
        let repaired = std::time::Instant::now();
        until("the journal accepts again", || journal.healthy()).await;
        assert!(repaired.elapsed() < Duration::from_secs(2), "{:?}", repaired.elapsed());
        record(&journal, 20).await.unwrap().complete(RESULT);
        journal.close();
        let calls: Vec<_> = of_kind(&dir, EntryKind::Completion).iter().map(|e| e["call"].clone()).collect();
        assert_eq!(calls, [call(1).to_string(), call(20).to_string()]);
        let fault = verify(&dir, &signing().verifying_key(), None).unwrap().fault.unwrap();
        assert!(fault.reason.contains("segment-00000001.jsonl before it is missing"), "{fault}");
    }
}

#[tokio::test]
async fn at_its_cap_the_journal_refuses_calls_and_still_completes_them() {
    let data = tempfile::tempdir().unwrap();
    let mut config = config(data.path(), Durability::Process);
    config.journal_bytes_max = 20 << 10;
    let dir = config.dir.clone();
    let (journal, _) = open(config);
    let mut receipts = Vec::new();
    let refused = loop {
        match record(&journal, u32::try_from(receipts.len()).unwrap()).await {
            Ok(receipt) => receipts.push(receipt),
            Err(refused) => break refused.to_string(),
        }
        assert!(receipts.len() < 100);
    };
    assert!(refused.contains("20480") && refused.contains("journal_bytes_max"), "{refused}");
    assert!(journal.status().alarm.is_some());
    let count = receipts.len();
    receipts.into_iter().for_each(|receipt| receipt.complete(RESULT));
    journal.close();
    assert_eq!(of_kind(&dir, EntryKind::Completion).len(), count);
    assert_intact(data.path());
}

#[tokio::test]
async fn too_little_free_space_refuses_calls() {
    let data = tempfile::tempdir().unwrap();
    let mut config = config(data.path(), Durability::Process);
    config.free_bytes_min = u64::MAX;
    let (journal, _) = open(config);
    until("space is measured", || !journal.healthy()).await;
    assert!(record(&journal, 1).await.unwrap_err().to_string().contains("are free on its disk"));
}

#[tokio::test]
async fn a_failing_disk_costs_no_end_and_no_acknowledged_intent() {
    for (mode, ask) in [
        (Durability::Process, Ask::Write),
        (Durability::Durable, Ask::Write),
        (Durability::Durable, Ask::Sync),
    ] {
        let data = tempfile::tempdir().unwrap();
        let config = config(data.path(), mode);
        let dir = config.dir.clone();
        let disk = FaultyDisk::new();
        let journal = open_on(Arc::clone(&disk), config);
        // One that has ended and is handed on, one that ends while nothing can be written, one refused.
        let (ended, open) = (record(&journal, 1).await.unwrap(), record(&journal, 2).await.unwrap());
        ended.complete(RESULT);
        until("the end is handed on", || journal.shared.completions.is_empty()).await;
        disk.set(ask, Answer::Fails);
        let asked = std::time::Instant::now();
        let refused = record(&journal, 3).await.unwrap_err().to_string();
        assert!(asked.elapsed() < Duration::from_millis(250), "{mode:?}: {:?}", asked.elapsed());
        assert!(!journal.healthy(), "{mode:?}: {refused}");
        open.complete(RESULT);
        assert!(record(&journal, 4).await.is_err());
        disk.set(ask, Answer::Works);
        let repaired = std::time::Instant::now();
        until("the journal accepts again", || journal.healthy()).await;
        assert!(repaired.elapsed() < Duration::from_secs(2), "{mode:?}: {:?}", repaired.elapsed());
        record(&journal, 5).await.unwrap().complete(RESULT);
        journal.close();
        let calls = |kind| -> Vec<String> {
            of_kind(&dir, kind).iter().map(|e| e["call"].as_str().unwrap().to_owned()).collect()
        };
        let mut ends = calls(EntryKind::Completion);
        ends.sort();
        assert_eq!(ends, [call(1), call(2), call(5)].map(|c| c.to_string()), "{mode:?}, {ask:?}");
        assert_eq!(calls(EntryKind::Intent), ends, "{mode:?}, {ask:?}: {refused}");
        let report = assert_intact(data.path());
        assert!(report.notes.iter().any(|n| n.contains("writing failed")), "{report}");
    }
}

#[tokio::test]
async fn a_segment_that_cannot_be_begun_leaves_no_fork() {
    for mode in [Durability::Process, Durability::Durable] {
        let data = tempfile::tempdir().unwrap();
        let mut config = config(data.path(), mode);
        config.segment_bytes_max = 4 << 10;
        let disk = FaultyDisk::new();
        let journal = open_on(Arc::clone(&disk), config);
        // The poll thread may not turn while the test looks for the moment before it.
        disk.set(Ask::Create, Answer::Hangs);
        let mut n = 0;
        while !journal.shared.writer.lock().is_full() {
            record(&journal, n).await.unwrap().complete(RESULT);
            n += 1;
        }
        let writer = journal.shared.writer.lock();
        disk.set(Ask::Write, Answer::Fails);
        disk.set(Ask::Create, Answer::Works);
        drop(writer);
        until("beginning it fails", || !journal.healthy()).await;
        assert!(record(&journal, 1_000).await.is_err());
        disk.set(Ask::Write, Answer::Works);
        until("the journal accepts again", || journal.healthy()).await;
        for n in 2_000..2_010 {
            record(&journal, n).await.unwrap().complete(RESULT);
        }
        journal.close();
        let dir = data.path().join("journal");
        let of = |kind| of_kind(&dir, kind).len();
        assert_eq!(of(EntryKind::Intent), n as usize + 10, "{mode:?}");
        assert_eq!(of(EntryKind::Completion), n as usize + 10, "{mode:?}");
        assert_intact(data.path());
    }
}

#[test]
fn a_failed_sync_disowns_what_it_was_to_make_durable() {
    let data = tempfile::tempdir().unwrap();
    let config = config(data.path(), Durability::Durable);
    let dir = config.dir.clone();
    std::fs::create_dir(&dir).unwrap();
    let disk = FaultyDisk::new();
    let writer = Mutex::new(Writer::new(config, Arc::clone(&disk) as _, node(), node(), signing()));
    writer.lock().begin(&Past::default(), NOW).unwrap();
    let scene = Scene::new();
    let intent = |n| {
        let body = call_body(&scene.facts(call(n)), &decision(true), bundle(), node(), &[0; 32]);
        writer.lock().append_intent(call(n), &body, NOW)
    };
    intent(1).unwrap();
    writer.lock().put_everything(NOW).unwrap();
    let synced = writer.lock().at;
    intent(2).unwrap();
    let done = Completion::unknown(call(1), 2, NOW, CompletionNote::None);
    writer.lock().append_completions(&[done], NOW);
    writer.lock().checkpoint(EntryKind::Checkpoint, NOW);
    assert_eq!(writer.lock().unfinished(), 2);
    disk.set(Ask::Sync, Answer::Fails);
    writer.lock().put_everything(NOW).unwrap_err();

    assert!(writer.lock().is_broken() && writer.lock().witness_lines.is_empty() && writer.lock().epoch == 1);
    assert!(intent(3).unwrap_err().contains("no storage space"));
    assert_eq!(std::fs::metadata(dir.join("segment-00000001.jsonl")).unwrap().len(), synced.bytes);
    disk.set(Ask::Sync, Answer::Works);
    mend(&writer, NOW).unwrap();
    intent(3).unwrap();
    // The end of a call whose intent was cut ends nothing, though the number is another's now.
    let cut = Completion::unknown(call(2), 6, NOW, CompletionNote::NotForwarded);
    assert_eq!(writer.lock().oldest_open(), Some(5));
    writer.lock().append_completions(&[Completion { intent: 5, ..cut }], NOW);
    assert_eq!(writer.lock().oldest_open(), Some(5));
    writer.lock().checkpoint(EntryKind::Close, NOW);
    writer.lock().put_everything(NOW).unwrap();
    // The intent that nobody was told of is gone; the completion, which must not be lost, came again.
    let calls =
        |kind| of_kind(&dir, kind).iter().map(|e| e["call"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(calls(EntryKind::Intent), [call(1).to_string(), call(3).to_string()]);
    assert_eq!(calls(EntryKind::Completion), [call(1).to_string()]);
    let report = verify(&dir, &signing().verifying_key(), None).unwrap();
    assert!(report.is_intact() && report.notes.iter().any(|n| n.contains("writing failed")), "{report}");
}

#[test]
fn what_a_mended_journal_left_behind_is_synced_before_the_witness_hears_more() {
    let data = tempfile::tempdir().unwrap();
    let config = config(data.path(), Durability::Process);
    std::fs::create_dir(&config.dir).unwrap();
    let disk = FaultyDisk::new();
    let writer = Mutex::new(Writer::new(config, Arc::clone(&disk) as _, node(), node(), signing()));
    writer.lock().begin(&Past::default(), NOW).unwrap();
    writer.lock().append(br#"{"type":"denial","n":1}"#, Room::Needed, NOW).unwrap();
    disk.set(Ask::Write, Answer::Fails);
    writer.lock().append(br#"{"type":"denial","n":2}"#, Room::Needed, NOW).unwrap_err();
    disk.set(Ask::Write, Answer::Works);
    mend(&writer, NOW).unwrap();
    let left: Vec<_> = writer.lock().left_behind.iter().map(|segment| segment.number.0).collect();
    assert_eq!(left, [1]);
}
