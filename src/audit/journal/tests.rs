use futures_util::FutureExt as _;

use super::super::testing::{
    NOW, RESULT, Scene, bundle, call, config, decision, node, open, record, segments, signing, snapshot,
    until,
};
use super::super::{AdministrativePhase, Entry, Place, Reader, Recovery, verify};
use super::*;
use crate::model::{Outcome, OutcomeKind};

mod crash;
mod golden;

fn entries(dir: &std::path::Path) -> Vec<Entry> {
    let mut reader = Reader::at(dir, Place::default());
    std::iter::from_fn(|| reader.read().unwrap()).collect()
}

fn of_kind(dir: &std::path::Path, kind: EntryKind) -> Vec<serde_json::Value> {
    entries(dir).iter().filter(|e| e.kind == kind).map(|e| e.json().unwrap()).collect()
}

fn assert_intact(data: &std::path::Path) -> super::super::VerifyReport {
    let witness = data.join("checkpoints.jsonl");
    let report = verify(&data.join("journal"), &signing().verifying_key(), Some(&witness)).unwrap();
    assert!(report.is_intact(), "{report}");
    report
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn parallel_calls_are_recorded_completed_and_attested_in_both_modes() {
    for mode in [Durability::Process, Durability::Durable] {
        let data = tempfile::tempdir().unwrap();
        let mut config = config(data.path(), mode);
        config.segment_bytes_max = 64 << 10;
        config.checkpoint_entries_max = 100;
        let dir = config.dir.clone();
        let (journal, recovery) = open(config);
        assert_eq!(recovery, Recovery::default());
        let journal = Arc::new(journal);
        let tasks: Vec<_> = (0..8)
            .map(|task| {
                let journal = Arc::clone(&journal);
                tokio::spawn(async move {
                    for n in 0..50 {
                        let receipt = record(&journal, task * 1_000 + n).await.unwrap();
                        if mode == Durability::Durable {
                            let synced = journal.shared.writer.lock().synced.seq;
                            assert!(synced >= receipt.intent_seq(), "acknowledged before it was synced");
                        }
                        receipt.complete(RESULT);
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        journal.close();
        let seqs: Vec<u64> = entries(&dir).iter().map(|e| e.seq).collect();
        assert_eq!(seqs, (1..=seqs.len() as u64).collect::<Vec<_>>());
        assert_eq!(of_kind(&dir, EntryKind::Intent).len(), 400);
        assert_eq!(of_kind(&dir, EntryKind::Completion).len(), 400);
        let report = assert_intact(data.path());
        assert!(report.closed && report.unattested_entries == 0 && report.checkpoints >= 6, "{report}");
        assert!(segments(data.path()).len() > 4, "{report}");
        assert!(
            matches!(report.witness, super::super::WitnessState::Agrees { checkpoints } if checkpoints == report.checkpoints)
        );
    }
}

#[tokio::test]
async fn a_receipt_ends_in_exactly_one_completion_however_it_ends() {
    let data = tempfile::tempdir().unwrap();
    let mut config = config(data.path(), Durability::Process);
    // The queue holds one: the others are written by whoever completes.
    config.completion_queue_max = 1;
    let dir = config.dir.clone();
    let (journal, _) = open(config);
    let receipts = [
        record(&journal, 1).await.unwrap(),
        record(&journal, 2).await.unwrap(),
        record(&journal, 3).await.unwrap(),
    ];
    assert_eq!(journal.status().open_intents, 3);
    let [one, two, three] = receipts;
    one.complete(RESULT);
    drop(two);
    three.complete(Outcome { kind: OutcomeKind::Timeout, ..RESULT });
    assert_eq!(journal.status().open_intents, 0);
    journal.close();
    let ends: std::collections::BTreeMap<String, String> = of_kind(&dir, EntryKind::Completion)
        .iter()
        .map(|e| (e["call"].as_str().unwrap().to_owned(), e["outcome"].as_str().unwrap().to_owned()))
        .collect();
    let expected =
        [(1, "result"), (2, "unknown"), (3, "timeout")].map(|(n, o)| (call(n).to_string(), o.to_owned()));
    assert_eq!(ends, expected.into());
    assert_intact(data.path());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_intent_given_up_while_it_waits_says_that_nothing_was_sent() {
    let data = tempfile::tempdir().unwrap();
    let config = config(data.path(), Durability::Durable);
    let dir = config.dir.clone();
    let (journal, _) = open(config);
    let mut given_up = 0;
    for n in 0..200 {
        match record(&journal, n).now_or_never() {
            None => given_up += 1,
            Some(recorded) => recorded.unwrap().complete(RESULT),
        }
    }
    assert!(given_up > 0);
    journal.close();
    let ends = of_kind(&dir, EntryKind::Completion);
    assert_eq!(ends.len(), 200);
    assert_eq!(
        ends.iter().filter(|e| e["notForwarded"] == true && e["outcome"] == "unreachable").count(),
        given_up
    );
    assert_intact(data.path());
}

#[tokio::test]
async fn open_intents_of_a_dead_boot_are_completed_as_unknown_once() {
    for mode in [Durability::Process, Durability::Durable] {
        let data = tempfile::tempdir().unwrap();
        let (journal, _) = open(config(data.path(), mode));
        let receipts: Vec<_> =
            [record(&journal, 1).await.unwrap(), record(&journal, 2).await.unwrap()].into();
        record(&journal, 3).await.unwrap().complete(RESULT);
        let dir = data.path().join("journal");
        until("the completion is written", || of_kind(&dir, EntryKind::Completion).len() == 1).await;
        let crashed = snapshot(data.path());
        drop(receipts);

        let (after, recovery) = open(config(crashed.path(), mode));
        assert_eq!((recovery.open_intents, recovery.torn_bytes, recovery.damaged), (2, 0, None));
        after.close();
        let dir = crashed.path().join("journal");
        let recovered: Vec<_> =
            of_kind(&dir, EntryKind::Completion).into_iter().filter(|e| e["recovered"] == true).collect();
        assert_eq!(
            recovered.iter().map(|e| e["outcome"].as_str().unwrap()).collect::<Vec<_>>(),
            ["unknown"; 2]
        );
        assert_eq!(recovered[0]["call"], call(1).to_string());
        assert_eq!(open(config(crashed.path(), mode)).1.open_intents, 0);
        assert_intact(crashed.path());
    }
}

#[tokio::test]
async fn a_long_boot_is_read_from_its_oldest_open_intent_on() {
    for mode in [Durability::Process, Durability::Durable] {
        let data = tempfile::tempdir().unwrap();
        let mut small = config(data.path(), mode);
        small.segment_bytes_max = 4 << 10;
        let (journal, _) = open(small);
        let count = || segments(data.path()).len();
        let fill = async |from: u32, until_segments: usize| {
            let mut n = from;
            while count() < until_segments {
                record(&journal, n).await.unwrap().complete(RESULT);
                n += 1;
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        fill(1_000, 4).await;
        let old = record(&journal, 1).await.unwrap();
        fill(2_000, 8).await;
        let young = record(&journal, 2).await.unwrap();
        let dir = data.path().join("journal");
        until("completions are written", || {
            of_kind(&dir, EntryKind::Completion).len() + 2 == of_kind(&dir, EntryKind::Intent).len()
        })
        .await;
        let crashed = snapshot(data.path());
        // What lies before the oldest open intent is not read: here, it could not be.
        for early in &segments(crashed.path())[1..3] {
            std::fs::write(early, "unread\n").unwrap();
        }
        let (after, recovery) = open(config(crashed.path(), mode));
        assert_eq!(recovery.open_intents, 2);
        after.close();
        let last = std::fs::read_to_string(segments(crashed.path()).last().unwrap()).unwrap();
        let recovered: Vec<u64> = last
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
            .filter(|entry| entry["recovered"] == true)
            .map(|entry| entry["intent"].as_u64().unwrap())
            .collect();
        assert_eq!(recovered, [old.intent_seq(), young.intent_seq()]);
        drop((old, young));
    }
}

#[tokio::test]
async fn a_recovery_that_was_cut_short_is_taken_up_by_the_next() {
    let data = tempfile::tempdir().unwrap();
    let (journal, _) = open(config(data.path(), Durability::Process));
    let mut receipts = Vec::new();
    for n in 0..4 {
        receipts.push(record(&journal, n).await.unwrap());
    }
    let crashed = snapshot(data.path());
    drop(open(config(crashed.path(), Durability::Process)));
    // The second boot died after one of its four completions, and within the next.
    let segment = segments(crashed.path())[1].clone();
    let text = std::fs::read_to_string(&segment).unwrap();
    let kept: usize = text.lines().take(2).map(|l| l.len() + 1).sum();
    std::fs::write(&segment, &text.as_bytes()[..kept + 40]).unwrap();
    std::fs::remove_file(crashed.path().join("checkpoints.jsonl")).unwrap();

    let (after, recovery) = open(config(crashed.path(), Durability::Process));
    assert_eq!((recovery.open_intents, recovery.torn_bytes, recovery.segments), (3, 40, 2));
    after.close();
    let dir = crashed.path().join("journal");
    let calls: std::collections::BTreeSet<String> =
        of_kind(&dir, EntryKind::Completion).iter().map(|e| e["call"].to_string()).collect();
    assert_eq!((calls.len(), of_kind(&dir, EntryKind::Completion).len()), (4, 4));
    let report = assert_intact(crashed.path());
    assert!(report.notes.iter().any(|n| n.contains("a crash tore 40 bytes")), "{report}");
}

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

#[tokio::test]
async fn two_gates_never_share_a_journal_and_a_closed_one_takes_nothing() {
    let data = tempfile::tempdir().unwrap();
    let (journal, _) = open(config(data.path(), Durability::Process));
    let second = Journal::open(config(data.path(), Durability::Process), node(), signing(), NOW).unwrap_err();
    assert!(second.to_string().contains("another gate"), "{second}");
    journal.close();
    journal.close();
    assert!(record(&journal, 1).await.is_err());
    let facts = AdministrativeFacts {
        change: call(1),
        at: NOW,
        phase: AdministrativePhase::Intent,
        who: "operator",
        what: "key.revoke",
        target: "key/1",
        before: None,
        after: None,
    };
    assert!(journal.administrative(&facts).await.is_err());
    drop(journal);
    open(config(data.path(), Durability::Process));
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

#[tokio::test]
async fn a_permit_records_its_own_call_and_no_other() {
    let sources = crate::policy::Sources {
        policies: vec![crate::model::SourceFile::new(
            "a.cedar",
            "@id(\"all\") permit(principal, action, resource);",
        )],
        cases: None,
        connectors: Arc::new(crate::connector::Connectors::read(&[]).unwrap()),
    };
    let bundle = crate::policy::Bundle::build(&sources).unwrap();
    let scene = Scene::new();
    let mut caller = scene.caller.clone();
    let mut agent = (*caller.agent).clone();
    agent.services = [crate::model::ServiceKey::parse("wicket").unwrap()].into();
    caller.agent = Arc::new(agent);
    let connector = bundle.connectors().get("wicket").unwrap();
    let (arguments, tool) =
        (serde_json::json!({}), &connector.tools[&crate::model::ToolName::parse("whoami").unwrap()]);
    let question = crate::policy::Question {
        call: call(1),
        caller: &caller,
        connector,
        tool,
        arguments: &arguments,
        resource: &crate::connector::resource_of(connector, tool, &arguments),
        history: &scene.history,
        now: NOW,
    };
    let crate::policy::Verdict::Allow(permit) = bundle.authorise(&question) else { panic!("denied") };
    let denial = Denial::of(call(1), crate::model::Reason::Quarantined, bundle.digest());

    let data = tempfile::tempdir().unwrap();
    let (journal, _) = open(config(data.path(), Durability::Durable));
    assert!(journal.intent(&permit, &scene.facts(call(2))).await.is_err());
    assert!(journal.denial(&denial, &scene.facts(call(2))).await.is_err());
    let receipt = journal.intent(&permit, &scene.facts(call(1))).await.unwrap();
    assert_eq!(receipt.call(), call(1));
    receipt.complete(RESULT);
    journal.denial(&denial, &scene.facts(call(1))).await.unwrap();
    journal.close();
    let dir = data.path().join("journal");
    assert_eq!(of_kind(&dir, EntryKind::Intent)[0]["bundle"], bundle.digest().to_string());
    assert_eq!(of_kind(&dir, EntryKind::Denial)[0]["reason"], "quarantined");
}

#[test]
fn no_call_however_large_exceeds_a_line() {
    let mut scene = Scene::new();
    scene.arguments = format!("{{\"content\":\"{}\"}}", "\\u0001".repeat(1 << 20));
    scene.client.name = "\u{1}".repeat(100_000);
    for n in 0..10_000u32 {
        let key = crate::model::PolicyKey::parse(&format!("{n:0>100}")).unwrap();
        scene.history.session.insert(crate::model::CounterKey::PolicyDeny(key.clone()), i64::MIN);
        scene.history.member.insert(crate::model::CounterKey::PolicyDeny(key), i64::MIN);
    }
    let policy = crate::model::PolicyRef {
        key: crate::model::PolicyKey::parse(&"k".repeat(100)).unwrap(),
        name: Arc::from("\u{1}".repeat(100_000)),
        version: u32::MAX,
    };
    let error =
        crate::model::EvaluationError { policy: policy.key.clone(), message: "\u{1}".repeat(100_000) };
    let long = "\u{1}".repeat(100_000);
    let facts =
        CallFacts { tool: &long, resource: &long, action: &long, principal: &long, ..scene.facts(call(1)) };
    let big = Decision { determining: vec![policy; 500], errors: vec![error; 500], ..decision(false) };
    let body = call_body(&facts, &big, bundle(), node(), &[0; 32]);
    let mut line = Vec::new();
    crate::audit::chain::seal(&crate::audit::ChainHash::GENESIS, u64::MAX, &body, &mut line);
    assert!(line.len() <= crate::audit::chain::LINE_BYTES_MAX, "{}", line.len());
    let value: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(value["matchedPoliciesOmitted"], 500 - 48);
    assert_eq!(value["history"]["omitted"], 2 * (10_000 - 32) + 2);
}
