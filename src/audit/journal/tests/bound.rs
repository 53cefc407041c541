//! P2: a killed process leaves at most as many calls without a known end as may be in flight.

use super::*;

fn bounded(mode: Durability) -> (tempfile::TempDir, JournalConfig) {
    let data = tempfile::tempdir().unwrap();
    let mut config = config(data.path(), mode);
    config.open_intents_max = 4;
    (data, config)
}

/// Intents without completion in the files, as they are at this moment.
fn open_in_files(dir: &std::path::Path) -> usize {
    let all = entries(dir);
    let calls = |kind| -> std::collections::BTreeSet<String> {
        let of_kind = all.iter().filter(|e| e.kind == kind);
        of_kind.map(|e| e.json().unwrap()["call"].as_str().unwrap().to_owned()).collect()
    };
    calls(EntryKind::Intent).difference(&calls(EntryKind::Completion)).count()
}

#[tokio::test]
async fn at_every_moment_no_more_calls_are_open_than_may_be() {
    for mode in [Durability::Process, Durability::Durable] {
        let (data, config) = bounded(mode);
        let dir = config.dir.clone();
        let (journal, _) = open(config);
        // The journal's thread would hide what the queue alone leaves open.
        *journal.shared.poll_stop.lock() = true;
        let mut most = 0;
        for n in 0..60 {
            record(&journal, n).await.unwrap().complete(RESULT);
            most = most.max(open_in_files(&dir));
        }
        assert!((1..=4).contains(&most), "{mode:?}: {most} open");
        *journal.shared.poll_stop.lock() = false;
        journal.close();
        assert_eq!(open_in_files(&dir), 0);
        assert_intact(data.path());
    }
}

#[tokio::test]
async fn a_call_beyond_the_bound_is_refused_until_another_ends() {
    for mode in [Durability::Process, Durability::Durable] {
        let (data, mut config) = bounded(mode);
        // Waited for in vain once; a busy disk needs as long for a sync.
        config.commit_ms_max = 2_000;
        let (journal, _) = open(config);
        let mut receipts = Vec::new();
        for n in 0..4 {
            receipts.push(record(&journal, n).await.unwrap());
        }
        let refused = record(&journal, 4).await.unwrap_err().to_string();
        assert!(refused.contains("4 calls wait for their end"), "{mode:?}: {refused}");
        assert!(journal.healthy(), "the journal itself is well");
        // A denial opens nothing.
        let scene = Scene::new();
        journal.record_denial(&decision(false), bundle(), &scene.facts(call(5))).await.unwrap();
        receipts.pop().unwrap().complete(RESULT);
        receipts.push(record(&journal, 6).await.unwrap());
        receipts.into_iter().for_each(|receipt| receipt.complete(RESULT));
        journal.close();
        assert_intact(data.path());
    }
}
