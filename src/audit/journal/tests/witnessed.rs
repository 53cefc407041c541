//! A start that finds less than the witness knows says so, goes on, and uses no number twice.

use super::*;
use crate::audit::WitnessState;

/// A closed journal of some calls, and the number of its last entry.
async fn closed(mode: Durability) -> (tempfile::TempDir, u64) {
    let data = tempfile::tempdir().unwrap();
    let (journal, _) = open(config(data.path(), mode));
    for n in 0..5 {
        record(&journal, n).await.unwrap().complete(RESULT);
    }
    journal.close();
    let last = entries(&data.path().join("journal")).last().unwrap().seq;
    (data, last)
}

fn cut_last_lines(data: &std::path::Path, count: usize) {
    let path = segments(data).last().unwrap().clone();
    let text = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    std::fs::write(&path, lines[..lines.len() - count].join("\n") + "\n").unwrap();
}

#[tokio::test]
async fn a_journal_shorter_than_its_witness_is_reported_for_ever_and_goes_on() {
    for mode in [Durability::Process, Durability::Durable] {
        let (data, last) = closed(mode).await;
        cut_last_lines(data.path(), 3);
        let (journal, recovery) = open(config(data.path(), mode));
        let damaged = recovery.damaged.unwrap();
        assert!(damaged.contains(&format!("ends at entry {}", last - 3)), "{damaged}");
        assert!(damaged.contains(&format!("checkpoint {last}")), "{damaged}");
        assert_eq!(journal.status().damaged.as_deref(), Some(damaged.as_str()));
        assert!(journal.healthy());
        let receipt = record(&journal, 100).await.unwrap();
        assert!(receipt.intent_seq() > last, "a number was used twice");
        receipt.complete(RESULT);
        journal.close();
        let witness = data.path().join("checkpoints.jsonl");
        let report =
            verify(&data.path().join("journal"), &signing().verifying_key(), Some(&witness)).unwrap();
        let fault = report.fault.unwrap();
        assert_eq!((fault.file.as_str(), fault.line), ("segment-00000002.jsonl", 1), "{fault}");
        assert!(fault.reason.contains(&format!("its witness held checkpoint {last}")), "{fault}");
        // The next start finds the witness in order: the finding stands in the chain.
        let (journal, recovery) = open(config(data.path(), mode));
        assert_eq!(recovery.damaged, None);
        journal.close();
        assert!(!verify(&data.path().join("journal"), &signing().verifying_key(), None).unwrap().is_intact());
    }
}

#[tokio::test]
async fn what_else_the_witness_may_be_is_told_apart() {
    let (good, last) = closed(Durability::Process).await;
    let start = |change: &dyn Fn(&std::path::Path)| {
        let copy = snapshot(good.path());
        change(&copy.path().join("checkpoints.jsonl"));
        open(config(copy.path(), Durability::Process)).1.damaged
    };
    assert_eq!(start(&|_| {}), None);
    // A torn last line is what a crash leaves, and the journal has it.
    let torn = |path: &std::path::Path| {
        let bytes = std::fs::read(path).unwrap();
        std::fs::write(path, &bytes[..bytes.len() - 5]).unwrap();
    };
    assert_eq!(start(&torn), None);
    let gone = start(&|path| std::fs::remove_file(path).unwrap()).unwrap();
    assert!(gone.contains("is not there or is empty"), "{gone}");
    let forged = |path: &std::path::Path| {
        let text = std::fs::read_to_string(path).unwrap();
        std::fs::write(path, text.replace(&format!("\"seq\":{last},"), &format!("\"seq\":{},", last + 9)))
            .unwrap();
    };
    let forged = start(&forged).unwrap();
    assert!(forged.contains("is not good: the signature does not fit"), "{forged}");
    let other = {
        let data = tempfile::tempdir().unwrap();
        let (journal, _) = Journal::open(
            config(data.path(), Durability::Process),
            uuid::Uuid::from_bytes([1; 16]),
            signing(),
            NOW,
        )
        .unwrap();
        journal.close();
        std::fs::read(data.path().join("checkpoints.jsonl")).unwrap()
    };
    let strange = start(&|path| std::fs::write(path, &other).unwrap()).unwrap();
    assert!(strange.contains("another node's"), "{strange}");
}

#[tokio::test]
async fn a_checkpoint_in_an_earlier_segment_is_found() {
    let (data, _) = closed(Durability::Process).await;
    // A boot that died right after its opening entry: the witness's last line lies a segment back.
    let (journal, _) = open(config(data.path(), Durability::Process));
    let crashed = snapshot(data.path());
    drop(journal);
    let last = segments(crashed.path()).last().unwrap().clone();
    let text = std::fs::read_to_string(&last).unwrap();
    std::fs::write(&last, text.lines().next().unwrap().to_owned() + "\n").unwrap();
    let witness = crashed.path().join("checkpoints.jsonl");
    let lines = std::fs::read_to_string(data.path().join("checkpoints.jsonl")).unwrap();
    let kept: Vec<&str> = lines.lines().filter(|line| line.contains("\"type\":\"close\"")).take(1).collect();
    std::fs::write(&witness, kept.join("\n") + "\n").unwrap();
    let (journal, recovery) = open(config(crashed.path(), Durability::Process));
    assert_eq!(recovery.damaged, None);
    journal.close();
    let report = verify(&crashed.path().join("journal"), &signing().verifying_key(), Some(&witness)).unwrap();
    assert!(matches!(report.witness, WitnessState::Agrees { .. }), "{report}");
}
