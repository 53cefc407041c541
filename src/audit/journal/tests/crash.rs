//! The journal against `kill -9` and against a full disk, in a process of its own: this test binary,
//! started again.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use super::*;

const CHILD_DATA: &str = "WICKET_TEST_JOURNAL_DATA";
const CHILD_MODE: &str = "WICKET_TEST_JOURNAL_MODE";

#[expect(clippy::disallowed_methods, reason = "how this test hands its child a directory")]
fn child_config() -> Option<JournalConfig> {
    let data = std::env::var_os(CHILD_DATA)?;
    let durable = std::env::var_os(CHILD_MODE)? == "durable";
    let mode = if durable { Durability::Durable } else { Durability::Process };
    Some(config(Path::new(&data), mode))
}

fn child(test: &str, data: &Path, mode: Durability) -> Command {
    let mut command = Command::new("/bin/sh");
    // A write beyond the limit is to fail, not to kill.
    command.args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""]).arg(std::env::current_exe().unwrap());
    command.args(["--exact", "--ignored", "--nocapture", "--test-threads=1"]);
    command.arg(format!("audit::journal::tests::crash::{test}"));
    command
        .env(CHILD_DATA, data)
        .env(CHILD_MODE, if mode == Durability::Durable { "durable" } else { "process" });
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    command
}

/// Records calls and says which are acknowledged, until it is killed.
#[test]
#[ignore = "the child of the kill test"]
fn child_that_records() {
    let Some(mut config) = child_config() else { return };
    config.segment_bytes_max = 256 << 10;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let journal = Arc::new(open(config).0);
        let tasks: Vec<_> = (0..4u32)
            .map(|task| {
                let journal = Arc::clone(&journal);
                tokio::spawn(async move {
                    for n in 0..1_000_000 {
                        let call = task * 1_000_000 + n;
                        let receipt = record(&journal, call).await.unwrap();
                        println!("ack {call}");
                        if n % 7 != 0 {
                            receipt.complete(RESULT);
                        } else {
                            // Open until the kill.
                            std::mem::forget(receipt);
                        }
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
}

#[test]
fn every_acknowledged_intent_survives_kill_9_in_both_modes() {
    for mode in [Durability::Process, Durability::Durable] {
        let data = tempfile::tempdir().unwrap();
        let mut acknowledged = BTreeSet::new();
        for kill in 0..10usize {
            let mut child = child("child_that_records", data.path(), mode).spawn().unwrap();
            let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
            let mut seen = BTreeSet::new();
            // Killed at a different point each time, from the first acknowledgement on.
            while seen.len() < 1 + kill * 37 {
                let line = lines.next().expect("the child ended by itself").unwrap();
                seen.extend(line.split("ack ").nth(1).and_then(|n| n.parse::<u32>().ok()));
            }
            child.kill().unwrap();
            child.wait().unwrap();
            // What it said before it died counts, too; the last line may be torn.
            seen.extend(
                lines.map_while(Result::ok).filter_map(|l| l.strip_prefix("ack ")?.parse::<u32>().ok()),
            );
            acknowledged = seen;
            check_after_kill(data.path(), &acknowledged, kill);
        }
        assert!(acknowledged.len() > 300);
    }
}

fn check_after_kill(data: &Path, acknowledged: &BTreeSet<u32>, kill: usize) {
    let dir = data.join("journal");
    let last_boot = |kind| -> Vec<String> {
        let all = entries(&dir);
        let opened = |e: &Entry| e.kind == EntryKind::Open && e.json().unwrap().get("openIntents").is_some();
        let start = all.iter().rposition(opened).unwrap();
        all[start..]
            .iter()
            .filter(|e| e.kind == kind)
            .map(|e| e.json().unwrap()["call"].as_str().unwrap().to_owned())
            .collect()
    };
    let intents: BTreeSet<String> = last_boot(EntryKind::Intent).into_iter().collect();
    let completed: BTreeSet<String> = last_boot(EntryKind::Completion).into_iter().collect();
    for n in acknowledged {
        assert!(
            intents.contains(&call(*n).to_string()),
            "kill {kill}: call {n} was acknowledged and is lost"
        );
    }
    let open_before = intents.difference(&completed).count() as u64;
    let (journal, recovery) = open(config(data, Durability::Process));
    assert_eq!((recovery.open_intents, recovery.damaged), (open_before, None), "kill {kill}");
    journal.close();
    assert_intact(data);
}

/// Fills its file size limit, is refused, raises the limit, is accepted again.
#[test]
#[ignore = "the child of the full disk test"]
fn child_with_a_full_disk() {
    let Some(config) = child_config() else { return };
    let limit = |bytes: Option<u64>| {
        let maximum = rustix::process::getrlimit(rustix::process::Resource::Fsize).maximum;
        let limit = rustix::process::Rlimit { current: bytes, maximum };
        rustix::process::setrlimit(rustix::process::Resource::Fsize, limit).unwrap();
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let (journal, _) = open(config);
        let first = record(&journal, 0).await.unwrap();
        // Room for some entries in this segment, and for none in the next but its opening.
        let bytes = journal.status().bytes;
        limit(Some(bytes + 5_000));
        let mut n = 1;
        while let Ok(receipt) = record(&journal, n).await {
            receipt.complete(RESULT);
            n += 1;
            assert!(n < 100, "the limit does not bite");
        }
        limit(Some(100));
        let asked = std::time::Instant::now();
        assert!(record(&journal, 1_000).await.is_err() && !journal.healthy());
        assert!(asked.elapsed() < Duration::from_millis(250));
        first.complete(RESULT);
        tokio::time::sleep(Duration::from_millis(600)).await;
        assert!(!journal.healthy(), "accepted while nothing can be written");
        limit(None);
        let repaired = std::time::Instant::now();
        until("the journal accepts again", || journal.healthy()).await;
        assert!(repaired.elapsed() < Duration::from_secs(2), "{:?}", repaired.elapsed());
        record(&journal, 2_000).await.unwrap().complete(RESULT);
        journal.close();
        println!("refused after {n}");
    });
}

#[test]
fn a_full_disk_refuses_calls_and_is_survived_without_a_restart() {
    for mode in [Durability::Process, Durability::Durable] {
        let data = tempfile::tempdir().unwrap();
        let output = child("child_with_a_full_disk", data.path(), mode).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && said.contains("refused after"), "{mode:?}: {said}");
        assert_intact(data.path());
        let dir = data.path().join("journal");
        let calls = |kind| -> BTreeSet<String> {
            of_kind(&dir, kind).iter().map(|e| e["call"].as_str().unwrap().to_owned()).collect()
        };
        let (intents, completions) = (calls(EntryKind::Intent), calls(EntryKind::Completion));
        assert!(intents.contains(&call(2_000).to_string()) && !intents.contains(&call(1_000).to_string()));
        assert_eq!(intents, completions, "a completion was lost: {said}");
    }
}
