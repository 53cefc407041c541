//! What goes, what must stay, and what `verify` says of a journal without its beginning.

use super::*;
use crate::audit::testing::{
    NOW, RESULT, config, node, open, record, segments, signing, snapshot, turned, until,
};
use crate::audit::{Durability, EntryKind, Place, Reader, VerifyReport, verify};
use crate::store::AuditFilter;

const DAY_MS: i64 = 24 * 3_600_000;

struct Bench {
    data: tempfile::TempDir,
    store: Store,
    journal: Journal,
}

impl Bench {
    /// A journal of several segments, all of it indexed.
    async fn new(mode: Durability) -> Self {
        let data = tempfile::tempdir().unwrap();
        let mut config = config(data.path(), mode);
        config.segment_bytes_max = 8 << 10;
        let journal = open(config).0;
        let url = format!("sqlite://{}?mode=rwc", data.path().join("index.sqlite").display());
        let bench = Self { data, store: Store::open(&url).await.unwrap(), journal };
        bench.fill(0, 6).await;
        bench.index().await;
        bench
    }

    async fn fill(&self, from: u32, count: usize) {
        let wanted = segments(self.data.path()).len() + count;
        let mut n = from;
        while segments(self.data.path()).len() < wanted {
            record(&self.journal, n).await.unwrap().complete(RESULT);
            turned(&self.journal).await;
            n += 1;
        }
    }

    async fn index(&self) {
        let settled = || self.journal.standing().is_some_and(|standing| standing.oldest_open.is_none());
        until("ends are in the journal", settled).await;
        crate::audit::index::catch_up(&self.dir(), node(), &self.store).await.unwrap();
    }

    fn dir(&self) -> std::path::PathBuf {
        self.data.path().join("journal")
    }

    async fn retain(&self, limits: RetentionLimits, now: Timestamp) -> Result<Option<Dropped>, String> {
        retain(&self.journal, &self.store, limits, now).await
    }

    /// Drops the first two segments, for size.
    async fn drop_two(&self) {
        let first = std::fs::metadata(&segments(self.data.path())[0]).unwrap().len();
        let limits = by_bytes(self.journal.status().bytes - first - 1);
        assert_eq!(self.retain(limits, NOW).await.unwrap().unwrap().segments, 2);
    }

    fn numbers(&self) -> Vec<u64> {
        let number = |path: &std::path::PathBuf| SegmentNumber::parse(path.file_name()?.to_str()?);
        segments(self.data.path()).iter().filter_map(number).map(|number| number.0).collect()
    }
}

fn check(data: &Path) -> VerifyReport {
    verify(&data.join("journal"), &signing().verifying_key(), Some(&data.join("checkpoints.jsonl"))).unwrap()
}

const BY_AGE: RetentionLimits = RetentionLimits { days_max: 30, bytes_max: 0 };

fn by_bytes(bytes_max: u64) -> RetentionLimits {
    RetentionLimits { days_max: 0, bytes_max }
}

fn later(days: i64) -> Timestamp {
    Timestamp::now().plus_millis(days * DAY_MS)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_old_goes_and_the_rest_is_still_proved() {
    for mode in [Durability::Process, Durability::Durable] {
        let bench = Bench::new(mode).await;
        let rows = || async { bench.store.audit().query(&AuditFilter::default()).await.unwrap().total.count };
        let (before, all) = (rows().await, bench.numbers());
        assert_eq!(bench.retain(BY_AGE, later(29)).await, Ok(None));
        assert_eq!(bench.retain(RetentionLimits::default(), later(9_999)).await, Ok(None));
        let bytes = bench.journal.status().bytes;
        let dropped = bench.retain(BY_AGE, later(31)).await.unwrap().unwrap();
        assert_eq!(dropped.reason, RetentionReason::Age);
        assert_eq!(dropped.segments as usize, all.len() - 1, "all but the one being written");
        assert_eq!(bench.numbers(), all[all.len() - 1..]);
        assert!(bench.journal.status().bytes + dropped.bytes < bytes + 4_000);
        assert_eq!(bench.journal.status().segments, 1);
        assert!(rows().await < before, "the index forgets what the journal drops");
        let report = check(bench.data.path());
        let said = report.dropped.clone().unwrap();
        assert!(report.is_intact(), "{report}");
        assert_eq!((said.segments, said.entries), (dropped.segments, dropped.entries));
        assert_eq!(said.checkpoints, dropped.segments, "each was left with a signature");
        // Again, on top of what went before; then through a restart.
        bench.fill(5_000, 3).await;
        bench.index().await;
        let more = bench.retain(BY_AGE, later(31)).await.unwrap().unwrap();
        assert!(check(bench.data.path()).is_intact());
        bench.journal.close();
        let report = check(bench.data.path());
        assert!(report.is_intact() && report.closed, "{report}");
        let in_all = format!("retention dropped {} segments", dropped.segments + more.segments);
        assert!(report.to_string().contains(&in_all), "{report}");
        let (again, recovery) = open(config(bench.data.path(), mode));
        assert_eq!(recovery.damaged, None);
        again.close();
        assert!(check(bench.data.path()).is_intact());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_oldest_go_for_size_and_no_more_than_needed() {
    let bench = Bench::new(Durability::Process).await;
    let bytes = bench.journal.status().bytes;
    assert_eq!(bench.retain(by_bytes(bytes), NOW).await, Ok(None));
    let first = std::fs::metadata(&segments(bench.data.path())[0]).unwrap().len();
    let dropped = bench.retain(by_bytes(bytes - first - 1), NOW).await.unwrap().unwrap();
    assert_eq!((dropped.segments, dropped.reason), (2, RetentionReason::Bytes));
    assert_eq!(bench.numbers()[0], 3);
    assert!(check(bench.data.path()).is_intact());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn open_calls_and_what_is_not_indexed_stay() {
    let bench = Bench::new(Durability::Process).await;
    // In the second of three new segments a call is open.
    bench.fill(1_000, 1).await;
    let receipt = record(&bench.journal, 999).await.unwrap();
    let holds = bench.numbers().last().copied().unwrap();
    bench.fill(2_000, 2).await;
    // Not indexed: the index stands in the seventh.
    let indexed = bench.numbers().len() as u64 - 3;
    bench.retain(BY_AGE, later(31)).await.unwrap();
    assert_eq!(bench.numbers()[0], indexed);
    crate::audit::index::catch_up(&bench.dir(), node(), &bench.store).await.unwrap();
    bench.retain(BY_AGE, later(31)).await.unwrap();
    assert_eq!(bench.numbers()[0], holds);
    assert_eq!(bench.retain(BY_AGE, later(31)).await, Ok(None));
    receipt.complete(RESULT);
    bench.index().await;
    until("its end is written", || bench.journal.standing().is_some_and(|s| s.oldest_open.is_none())).await;
    bench.retain(BY_AGE, later(31)).await.unwrap();
    assert_eq!(bench.numbers().len(), 1);
    assert!(check(bench.data.path()).is_intact());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unlawful_cut_is_found_before_and_after_a_lawful_one() {
    let bench = Bench::new(Durability::Process).await;
    bench.drop_two().await;
    bench.journal.close();
    let key = signing().verifying_key();
    let report = check(bench.data.path());
    assert!(report.is_intact(), "{report}");
    for count in 1..4 {
        let copy = snapshot(bench.data.path());
        for path in segments(copy.path()).iter().take(count) {
            std::fs::remove_file(path).unwrap();
        }
        for witness in [None, Some(copy.path().join("checkpoints.jsonl"))] {
            let report = verify(&copy.path().join("journal"), &key, witness.as_deref()).unwrap();
            let fault = report.fault.unwrap();
            assert!(fault.reason.contains("no signed entry says that retention dropped it"), "{fault}");
            assert_eq!((fault.file.as_str(), fault.line), (&*format!("segment-{:08}.jsonl", 3 + count), 1));
        }
    }
    // The entry is there, and no signature behind it.
    let copy = snapshot(bench.data.path());
    let last = segments(copy.path()).last().unwrap().clone();
    let text = std::fs::read_to_string(&last).unwrap();
    let at = text.lines().position(|line| line.contains("\"type\":\"retention\"")).unwrap();
    let kept: Vec<&str> = text.lines().take(at + 1).collect();
    std::fs::write(&last, kept.join("\n") + "\n").unwrap();
    let fault = verify(&copy.path().join("journal"), &key, None).unwrap().fault.unwrap();
    assert!(fault.reason.contains("no signed entry"), "{fault}");
    // Each byte of what is kept counts.
    let good = std::fs::read(bench.dir().join(KEPT_FILE)).unwrap();
    for at in (0..good.len()).step_by(97) {
        let mut bad = good.clone();
        bad[at] ^= 1;
        std::fs::write(bench.dir().join(KEPT_FILE), &bad).unwrap();
        let fault = check(bench.data.path()).fault.unwrap();
        assert_eq!(fault.file, KEPT_FILE, "flip at {at}: {fault}");
    }
    std::fs::remove_file(bench.dir().join(KEPT_FILE)).unwrap();
    assert_eq!(check(bench.data.path()).fault.unwrap().file, KEPT_FILE);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_between_naming_and_removing_is_made_up_for() {
    let bench = Bench::new(Durability::Process).await;
    let before = snapshot(bench.data.path());
    bench.drop_two().await;
    // The second of the two is still there, as after a kill; and then both.
    for name in ["segment-00000002.jsonl", "segment-00000001.jsonl"] {
        std::fs::copy(before.path().join("journal").join(name), bench.dir().join(name)).unwrap();
        let report = check(bench.data.path());
        assert!(report.is_intact(), "{name}: {report}");
    }
    let kept = std::fs::read(bench.dir().join(KEPT_FILE)).unwrap();
    bench.retain(BY_AGE, later(31)).await.unwrap().unwrap();
    let after = std::fs::read(bench.dir().join(KEPT_FILE)).unwrap();
    assert!(after.starts_with(&kept), "a segment is kept once");
    assert_eq!(bench.numbers().len(), 1);
    assert!(check(bench.data.path()).is_intact());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_segment_that_does_not_prove_is_evidence_and_stays() {
    let bench = Bench::new(Durability::Process).await;
    let path = segments(bench.data.path())[1].clone();
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let refused = bench.retain(BY_AGE, later(31)).await.unwrap_err();
    assert!(refused.contains("segment-00000002.jsonl is not dropped"), "{refused}");
    assert_eq!(bench.numbers()[0], 1, "nothing goes while a person must look");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_the_cap_retention_makes_room_and_where_it_may_not_calls_are_refused() {
    let data = tempfile::tempdir().unwrap();
    let mut config = config(data.path(), Durability::Process);
    config.segment_bytes_max = 8 << 10;
    config.journal_bytes_max = 40 << 10;
    let journal = open(config).0;
    let url = format!("sqlite://{}?mode=rwc", data.path().join("index.sqlite").display());
    let bench = Bench { data, store: Store::open(&url).await.unwrap(), journal };
    let mut n = 0;
    let refused = loop {
        match record(&bench.journal, n).await {
            Ok(receipt) => receipt.complete(RESULT),
            Err(refused) => break refused.to_string(),
        }
        turned(&bench.journal).await;
        n += 1;
    };
    assert!(refused.contains("retention may drop none"), "{refused}");
    // Nothing is indexed: nothing may go, and calls stay refused.
    assert_eq!(bench.retain(by_bytes(1), NOW).await, Ok(None));
    assert!(record(&bench.journal, 900).await.is_err());
    assert!(bench.journal.status().alarm.is_some());
    bench.index().await;
    bench.retain(by_bytes(20 << 10), NOW).await.unwrap().unwrap();
    until("calls pass again", || bench.journal.healthy()).await;
    record(&bench.journal, 901).await.unwrap().complete(RESULT);
    bench.journal.close();
    assert!(check(bench.data.path()).is_intact());
    let mut reader = Reader::at(&bench.dir(), Place::default());
    let kinds: Vec<EntryKind> = std::iter::from_fn(|| reader.read().unwrap()).map(|e| e.kind).collect();
    assert!(kinds.contains(&EntryKind::Retention));
}
