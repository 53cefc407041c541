//! Disks that are full, gone, slow or failing: refused in bounded time, repaired without a restart.

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
async fn a_disk_that_does_not_answer_refuses_calls_in_bounded_time() {
    let data = tempfile::tempdir().unwrap();
    let mut config = config(data.path(), Durability::Durable);
    config.commit_ms_max = 50;
    let (journal, _) = open(config);
    let hung = journal.shared.writer.lock();
    let asked = std::time::Instant::now();
    let refused = record(&journal, 1).now_or_never().expect("answered by itself").unwrap_err();
    assert!(refused.to_string().contains("does not answer"), "{refused}");
    assert!(asked.elapsed() < Duration::from_millis(250), "{:?}", asked.elapsed());
    drop(hung);
    // The sync that opening asked for must be over, or its end would wipe out what is set here.
    until("the first sync is over", || {
        let writer = journal.shared.writer.lock();
        writer.sync_started.is_none() && !writer.sync_wanted
    })
    .await;
    let long_ago = std::time::Instant::now().checked_sub(Duration::from_secs(1));
    journal.shared.writer.lock().sync_started = long_ago;
    assert!(record(&journal, 2).await.unwrap_err().to_string().contains("does not answer a sync"));
    journal.shared.writer.lock().sync_started = None;
    // A sync thread that never comes: the wait itself is bounded, and the call is known to be unsent.
    journal.shared.writer.lock().sync_stop = true;
    journal.shared.sync_signal.notify_all();
    until("the sync thread has ended", || journal.shared.dead.load(Ordering::Acquire)).await;
    assert!(record(&journal, 3).await.unwrap_err().to_string().contains("restart the gate"));
    journal.shared.accepting.store(true, Ordering::Release);
    let late = record(&journal, 4).await.unwrap_err().to_string();
    assert!(late.contains("no sync within 50 ms"), "{late}");
    journal.close();
    let ends = of_kind(&data.path().join("journal"), EntryKind::Completion);
    assert_eq!((ends.len(), &ends[0]["notForwarded"]), (1, &serde_json::json!(true)));
    assert_intact(data.path());
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

#[test]
fn a_failed_sync_disowns_what_it_was_to_make_durable() {
    let data = tempfile::tempdir().unwrap();
    let config = config(data.path(), Durability::Durable);
    let dir = config.dir.clone();
    std::fs::create_dir(&dir).unwrap();
    let mut writer = Writer::new(config, node(), node(), signing());
    writer.begin(SegmentNumber(0), 0, 0, None, 0, NOW).unwrap();
    let scene = Scene::new();
    let intent = |n| call_body(&scene.facts(call(n)), &decision(true), bundle(), node(), &[0; 32]);
    writer.append(&intent(1), Room::Needed, NOW).unwrap();
    let synced = writer.at;
    writer.sync_succeeded(synced);
    writer.append(&intent(2), Room::Needed, NOW).unwrap();
    let done = Completion::unknown(call(1), 2, NOW, CompletionNote::None);
    writer.append_completions(&[done], NOW);
    writer.checkpoint(EntryKind::Checkpoint, NOW);
    writer.sync_failed("input/output error");

    assert!(writer.is_broken() && writer.witness_lines.is_empty() && writer.epoch == 1);
    assert!(writer.append(&intent(3), Room::Needed, NOW).unwrap_err().contains("input/output error"));
    assert_eq!(std::fs::metadata(dir.join("segment-00000001.jsonl")).unwrap().len(), synced.bytes);
    writer.mend(NOW).unwrap();
    writer.append(&intent(3), Room::Needed, NOW).unwrap();
    writer.checkpoint(EntryKind::Close, NOW);
    // The intent that nobody was told of is gone; the completion, which must not be lost, came again.
    let calls =
        |kind| of_kind(&dir, kind).iter().map(|e| e["call"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(calls(EntryKind::Intent), [call(1).to_string(), call(3).to_string()]);
    assert_eq!(calls(EntryKind::Completion), [call(1).to_string()]);
    let report = verify(&dir, &signing().verifying_key(), None).unwrap();
    assert!(report.is_intact() && report.notes.iter().any(|n| n.contains("writing failed")), "{report}");
}
