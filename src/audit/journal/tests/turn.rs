//! Calls that come together are one write, and nothing else of them changes.

use std::task::Poll;

use futures_util::future::join_all;
use futures_util::poll;

use super::super::super::testing::{Answer, Ask, FaultyDisk, open_on};
use super::super::super::writer::prepare_next;
use super::super::turn::{TURN_CALLS_MAX, UNDER_WAY_MIN};
use super::*;

/// A journal on this disk with so many calls under way that others wait for their turn. Its own thread rests:
/// it would write as well.
async fn loaded(data: &std::path::Path, disk: &Arc<FaultyDisk>) -> (Journal, Vec<Receipt>) {
    loaded_with(config(data, Durability::Process), disk).await
}

async fn loaded_with(config: JournalConfig, disk: &Arc<FaultyDisk>) -> (Journal, Vec<Receipt>) {
    let journal = open_on(Arc::clone(disk), config);
    *journal.shared.poll_stop.lock() = true;
    let under_way = load(&journal).await;
    (journal, under_way)
}

async fn load(journal: &Journal) -> Vec<Receipt> {
    let mut under_way = Vec::new();
    for n in 0..u32::try_from(UNDER_WAY_MIN).unwrap() {
        under_way.push(record(journal, n).await.unwrap());
    }
    under_way
}

fn closed(journal: &Journal) {
    *journal.shared.poll_stop.lock() = false;
    journal.close();
}

fn calls(dir: &std::path::Path, kind: EntryKind) -> Vec<String> {
    of_kind(dir, kind).iter().map(|e| e["call"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn calls_of_one_turn_are_one_write_and_each_has_its_own_receipt() {
    let data = tempfile::tempdir().unwrap();
    let disk = FaultyDisk::new();
    let (journal, under_way) = loaded(data.path(), &disk).await;
    let before = disk.writes();
    assert_eq!(before, UNDER_WAY_MIN as usize + 2, "an opening, a checkpoint, and each by itself");
    let together: Vec<Receipt> =
        join_all((100..120).map(|n| record(&journal, n))).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(disk.writes(), before + 1);
    let of: Vec<(CallId, u64)> = together.iter().map(|one| (one.call(), one.intent_seq())).collect();
    let first = of[0].1;
    assert_eq!(of, (100..120).map(|n| (call(n), first + u64::from(n) - 100)).collect::<Vec<_>>());
    under_way.into_iter().chain(together).for_each(|receipt| receipt.complete(RESULT));
    closed(&journal);
    let dir = data.path().join("journal");
    let intents = of_kind(&dir, EntryKind::Intent);
    for (call, seq) in of {
        let intent = intents.iter().find(|intent| intent["call"] == call.to_string()).unwrap();
        assert_eq!(intent["seq"], seq);
    }
    let ends = of_kind(&dir, EntryKind::Completion);
    assert_eq!((intents.len(), ends.len()), (28, 28));
    assert!(ends.iter().all(|end| end["outcome"] == "result"), "{ends:?}");
    assert_intact(data.path());
}

#[tokio::test]
async fn a_turn_takes_no_more_calls_than_it_may() {
    let data = tempfile::tempdir().unwrap();
    let disk = FaultyDisk::new();
    let (journal, under_way) = loaded(data.path(), &disk).await;
    let before = disk.writes();
    let many = u32::try_from(TURN_CALLS_MAX).unwrap() + 3;
    let receipts = join_all((100..100 + many).map(|n| record(&journal, n))).await;
    assert_eq!(disk.writes(), before + 1 + 3);
    assert!(receipts.iter().all(Result::is_ok));
    drop((receipts, under_way));
    closed(&journal);
    assert_intact(data.path());
}

#[tokio::test]
async fn who_leaves_before_the_write_takes_nobody_with_it() {
    // Which of three leaves: the first, who would write, or one who waits.
    for leaves in 0..3 {
        let data = tempfile::tempdir().unwrap();
        let disk = FaultyDisk::new();
        let (journal, under_way) = loaded(data.path(), &disk).await;
        let mut three: Vec<_> = (100..103).map(|n| Box::pin(record(&journal, n))).collect();
        for one in &mut three {
            assert!(matches!(poll!(one.as_mut()), Poll::Pending));
        }
        drop(three.remove(leaves));
        for stays in three {
            stays.await.unwrap().complete(RESULT);
        }
        under_way.into_iter().for_each(|receipt| receipt.complete(RESULT));
        closed(&journal);
        let gone = call(100 + u32::try_from(leaves).unwrap()).to_string();
        let dir = data.path().join("journal");
        let ends = of_kind(&dir, EntryKind::Completion);
        let end = ends.iter().find(|end| end["call"] == gone);
        if leaves == 0 {
            assert!(end.is_none() && !calls(&dir, EntryKind::Intent).contains(&gone), "{end:?}");
        } else {
            let end = end.unwrap();
            assert_eq!((&end["outcome"], &end["notForwarded"]), (&"unreachable".into(), &true.into()));
        }
        assert_eq!(ends.len(), calls(&dir, EntryKind::Intent).len());
        assert_intact(data.path());
    }
}

#[tokio::test]
async fn a_turn_that_cannot_be_written_is_refused_whole_and_leaves_nothing() {
    let data = tempfile::tempdir().unwrap();
    let disk = FaultyDisk::new();
    let journal = open_on(Arc::clone(&disk), config(data.path(), Durability::Process));
    let under_way = load(&journal).await;
    disk.set(Ask::Write, Answer::Fails);
    let refused = join_all((100..110).map(|n| record(&journal, n))).await;
    assert!(
        refused.iter().all(|one| one.as_ref().is_err_and(|why| why.to_string().contains("storage space")))
    );
    assert!(!journal.healthy());
    disk.set(Ask::Write, Answer::Works);
    until("the journal accepts again", || journal.healthy()).await;
    let again = join_all((200..210).map(|n| record(&journal, n))).await;
    again.into_iter().map(Result::unwrap).chain(under_way).for_each(|receipt| receipt.complete(RESULT));
    journal.close();
    let dir = data.path().join("journal");
    let intents = calls(&dir, EntryKind::Intent);
    let expected: Vec<String> = (0..8).chain(200..210).map(|n| call(n).to_string()).collect();
    assert_eq!(intents, expected);
    assert_eq!(calls(&dir, EntryKind::Completion).len(), expected.len());
    assert_intact(data.path());
}

#[tokio::test]
async fn a_turn_beyond_the_bound_is_taken_as_far_as_there_are_places() {
    let data = tempfile::tempdir().unwrap();
    let mut config = config(data.path(), Durability::Process);
    (config.open_intents_max, config.commit_ms_max) = (12, 50);
    let disk = FaultyDisk::new();
    let (journal, mut under_way) = loaded_with(config, &disk).await;
    let taken: Vec<_> = join_all((100..110).map(|n| record(&journal, n))).await;
    let (taken, refused): (Vec<_>, Vec<_>) = taken.into_iter().partition(Result::is_ok);
    assert_eq!((taken.len(), refused.len()), (4, 6));
    let why = refused.into_iter().next().unwrap().unwrap_err().to_string();
    assert!(why.contains("12 calls wait for their end"), "{why}");
    // Ends that wait to be written are no hindrance, to several at once neither.
    taken.into_iter().map(Result::unwrap).for_each(|receipt| receipt.complete(RESULT));
    let before = disk.writes();
    let again = join_all((200..204).map(|n| record(&journal, n))).await;
    assert_eq!(disk.writes(), before + 2, "the ends, and the turn");
    under_way.extend(again.into_iter().map(Result::unwrap));
    drop(under_way);
    closed(&journal);
    assert_intact(data.path());
}

#[tokio::test]
async fn an_intent_that_fills_its_segment_is_open_to_the_next_start() {
    // By itself, and with others of its turn.
    for alone in [true, false] {
        let data = tempfile::tempdir().unwrap();
        let (journal, under_way) = loaded(data.path(), &FaultyDisk::new()).await;
        let (before, behind) = if alone { (under_way, Vec::new()) } else { (Vec::new(), under_way) };
        before.into_iter().for_each(|receipt| receipt.complete(RESULT));
        prepare_next(&journal.shared.writer).unwrap();
        {
            let mut writer = journal.shared.writer.lock();
            journal.shared.end_some(&mut writer, NOW);
            writer.config.segment_bytes_max = writer.at.bytes + 1;
        }
        let filling = join_all((100..102).take(if alone { 1 } else { 2 }).map(|n| record(&journal, n))).await;
        let opened = of_kind(&data.path().join("journal"), EntryKind::Open);
        assert_eq!(opened.len(), 2, "its write leaves the segment");
        behind.into_iter().for_each(|receipt| receipt.complete(RESULT));
        journal.shared.end_some(&mut journal.shared.writer.lock(), NOW);
        let crashed = snapshot(data.path());
        let (again, recovery) = open(config(crashed.path(), Durability::Process));
        assert_eq!(recovery.open_intents, filling.len() as u64, "alone: {alone}");
        again.close();
        let ends = of_kind(&crashed.path().join("journal"), EntryKind::Completion);
        assert_eq!(ends.iter().filter(|end| end["outcome"] == "unknown").count(), filling.len());
        drop(filling);
        closed(&journal);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn turns_of_several_threads_are_one_chain() {
    let data = tempfile::tempdir().unwrap();
    let mut config = config(data.path(), Durability::Process);
    config.segment_bytes_max = 64 << 10;
    let dir = config.dir.clone();
    let (journal, _) = open(config);
    let journal = Arc::new(journal);
    let tasks: Vec<_> = (0..64)
        .map(|task| {
            let journal = Arc::clone(&journal);
            tokio::spawn(async move {
                for n in 0..50 {
                    let receipt = record(&journal, task * 1_000 + n).await.unwrap();
                    tokio::task::yield_now().await;
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
    let (mut intents, mut ends) = (calls(&dir, EntryKind::Intent), calls(&dir, EntryKind::Completion));
    intents.sort();
    ends.sort();
    assert_eq!(intents.len(), 64 * 50);
    assert_eq!(intents, ends);
    assert!(of_kind(&dir, EntryKind::Completion).iter().all(|end| end["outcome"] == "result"));
    assert_intact(data.path());
}
