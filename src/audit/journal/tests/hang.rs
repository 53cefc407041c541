//! Disks that do not answer: calls are refused in bounded time, and no thread of the data plane hangs.
//! Each test runs its calls on one thread, so that a thread that hangs is a test that hangs.

use std::time::Instant;

use super::super::super::testing::{Answer, Ask, FaultyDisk, open_on};
use super::*;

/// What a call waits at most, in these tests.
const COMMIT_MS_MAX: u32 = 150;
const COMMIT_MAX: Duration = Duration::from_millis(COMMIT_MS_MAX as u64);
/// The same with what a busy machine adds.
const REFUSED_WITHIN: Duration = Duration::from_millis(COMMIT_MS_MAX as u64 + 100);

fn hanging(mode: Durability, segment_bytes_max: u64) -> (tempfile::TempDir, Arc<FaultyDisk>, Arc<Journal>) {
    let data = tempfile::tempdir().unwrap();
    let mut config = config(data.path(), mode);
    config.commit_ms_max = COMMIT_MS_MAX;
    config.segment_bytes_max = segment_bytes_max;
    config.open_intents_max = 8;
    let disk = FaultyDisk::new();
    let journal = Arc::new(open_on(Arc::clone(&disk), config));
    (data, disk, journal)
}

/// The longest that this thread did not come to its other work while `work` was awaited.
async fn longest_gap<T>(work: impl Future<Output = T>) -> (T, Duration) {
    let mut longest = Duration::ZERO;
    let mut last = Instant::now();
    tokio::pin!(work);
    loop {
        tokio::select! {
            biased;
            done = &mut work => return (done, longest.max(last.elapsed())),
            () = tokio::time::sleep(Duration::from_millis(1)) => {
                longest = longest.max(last.elapsed());
                last = Instant::now();
            }
        }
    }
}

#[tokio::test]
async fn a_sync_that_hangs_refuses_calls_in_bounded_time() {
    let (data, disk, journal) = hanging(Durability::Durable, u64::MAX);
    let before = record(&journal, 1).await.unwrap();
    disk.set(Ask::Sync, Answer::Hangs);
    let asked = Instant::now();
    let late = record(&journal, 2).await.unwrap_err().to_string();
    assert!(late.contains("no sync within 150 ms"), "{late}");
    assert!(asked.elapsed() < REFUSED_WITHIN, "{:?}", asked.elapsed());
    // Whoever comes while it hangs need not wait for the same, once the sync itself has taken so long: on a busy
    // machine it began later than it was asked for.
    let hangs = || journal.shared.writer.lock().sync_started.is_some_and(|at| at.elapsed() > COMMIT_MAX);
    until("the sync has taken too long", hangs).await;
    for n in 3..20 {
        let refused = record(&journal, n).now_or_never().expect("refused at once").unwrap_err().to_string();
        assert!(refused.contains("does not answer a sync"), "{refused}");
    }
    let asked = Instant::now();
    before.complete(RESULT);
    assert!(journal.status().bytes > 0);
    assert!(asked.elapsed() < Duration::from_millis(100), "{:?}", asked.elapsed());
    disk.set(Ask::Sync, Answer::Works);
    until("a call is recorded", || {
        record(&journal, 30).now_or_never().is_none() || journal.shared.writer.lock().sync_started.is_none()
    })
    .await;
    record(&journal, 40).await.unwrap().complete(RESULT);
    journal.close();
    let ends = of_kind(&data.path().join("journal"), EntryKind::Completion);
    let refused: Vec<_> = ends.iter().filter(|e| e["notForwarded"] == true).collect();
    assert!(refused.iter().any(|e| e["call"] == call(2).to_string()), "{ends:?}");
    assert_intact(data.path());
}

#[tokio::test]
async fn a_write_that_hangs_takes_one_thread_and_no_other() {
    let (data, disk, journal) = hanging(Durability::Process, u64::MAX);
    let before = record(&journal, 1).await.unwrap();
    disk.set(Ask::Write, Answer::Hangs);
    let other = Arc::clone(&journal);
    let hung = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(record(&other, 2)).map(|receipt| receipt.complete(RESULT))
    });
    until("somebody hangs in a write", || journal.shared.writer.is_locked()).await;
    tokio::time::sleep(Duration::from_millis(60)).await;
    let asked = Instant::now();
    let (refused, gap) = longest_gap(record(&journal, 3)).await;
    assert!(refused.unwrap_err().to_string().contains("the disk does not answer"));
    assert!(asked.elapsed() < REFUSED_WITHIN, "{:?}", asked.elapsed());
    assert!(gap < Duration::from_millis(100), "this thread stood still for {gap:?}");
    // From now on without waiting, readiness included.
    assert!(!journal.healthy());
    assert!(record(&journal, 4).now_or_never().expect("refused at once").is_err());
    before.complete(RESULT);
    let status = journal.status();
    assert!(status.alarm.unwrap().contains("does not answer"));
    disk.set(Ask::Write, Answer::Works);
    hung.join().unwrap().unwrap();
    until("the journal accepts again", || journal.healthy()).await;
    record(&journal, 5).await.unwrap().complete(RESULT);
    journal.close();
    let dir = data.path().join("journal");
    assert_eq!(of_kind(&dir, EntryKind::Intent).len(), of_kind(&dir, EntryKind::Completion).len());
    assert_intact(data.path());
}

#[tokio::test]
async fn a_next_segment_that_cannot_be_made_in_time_keeps_nobody_waiting() {
    for (mode, ask) in [
        (Durability::Process, Ask::Create),
        (Durability::Process, Ask::Sync),
        (Durability::Durable, Ask::Create),
    ] {
        let (data, disk, journal) = hanging(mode, 4 << 10);
        disk.set(ask, Answer::Hangs);
        let mut n = 0;
        // Far beyond the segment's size, and beyond what may be open: ends are written by those who come.
        while journal.status().bytes < 64 << 10 {
            let (recorded, gap) = longest_gap(record(&journal, n)).await;
            recorded.unwrap().complete(RESULT);
            assert!(gap < Duration::from_millis(100), "{mode:?}: this thread stood still for {gap:?}");
            n += 1;
        }
        if ask == Ask::Create {
            assert_eq!(journal.status().segments, 1, "{mode:?}");
        }
        disk.set(ask, Answer::Works);
        until("it is left", || journal.status().segments > 1).await;
        record(&journal, n).await.unwrap().complete(RESULT);
        journal.close();
        let dir = data.path().join("journal");
        assert_eq!(of_kind(&dir, EntryKind::Completion).len(), n as usize + 1);
        assert_intact(data.path());
    }
}

#[tokio::test]
async fn a_turn_that_hangs_refuses_calls_in_bounded_time_and_is_made_up_for() {
    let (data, disk, journal) = hanging(Durability::Durable, 4 << 10);
    let mut n = 0;
    while !journal.shared.writer.lock().can_turn() && journal.status().segments == 1 {
        record(&journal, n).await.unwrap().complete(RESULT);
        n += 1;
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    disk.set(Ask::Sync, Answer::Hangs);
    let asked = Instant::now();
    let (refused, gap) = longest_gap(record(&journal, 1_000)).await;
    assert!(refused.is_err() && asked.elapsed() < REFUSED_WITHIN, "{:?}", asked.elapsed());
    assert!(gap < Duration::from_millis(100), "this thread stood still for {gap:?}");
    disk.set(Ask::Sync, Answer::Works);
    until("the turn is made", || journal.status().segments > 1).await;
    until("a sync is over", || journal.shared.writer.lock().sync_started.is_none()).await;
    record(&journal, 2_000).await.unwrap().complete(RESULT);
    journal.close();
    assert_intact(data.path());
}

#[tokio::test]
async fn a_witness_that_hangs_stops_neither_calls_nor_the_gate() {
    let data = tempfile::tempdir().unwrap();
    let mut config = config(data.path(), Durability::Process);
    config.open_intents_max = 8;
    config.checkpoint_ms_max = 1;
    let journal = open(config).0;
    // A pipe that nobody reads: opening it for writing hangs.
    let witness = data.path().join("checkpoints.jsonl");
    until("the witness is begun", || witness.exists()).await;
    std::fs::remove_file(&witness).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, &witness, rustix::fs::Mode::from_raw_mode(0o600)).unwrap();
    for n in 0..100 {
        record(&journal, n).await.unwrap().complete(RESULT);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    for n in 100..200 {
        record(&journal, n).await.unwrap().complete(RESULT);
    }
    let began = Instant::now();
    journal.close();
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    let dir = data.path().join("journal");
    assert_eq!(of_kind(&dir, EntryKind::Completion).len(), 200);
    assert!(verify(&dir, &signing().verifying_key(), None).unwrap().is_intact());
    // Frees the thread that hangs.
    drop(std::fs::OpenOptions::new().read(true).write(true).open(&witness).unwrap());
}
