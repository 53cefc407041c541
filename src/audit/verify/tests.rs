use std::path::PathBuf;

use super::*;
use crate::audit::Durability;
use crate::audit::chain::{ChainHash, EntryKind, SealedLine, seal};
use crate::audit::testing::{RESULT, config, open, record, segments, signing, snapshot, turned};
use crate::keys::SigningKey;

/// A closed journal of 500 entries, in one segment or in several.
async fn journal(segment_bytes_max: u64) -> tempfile::TempDir {
    let data = tempfile::tempdir().unwrap();
    let mut config = config(data.path(), Durability::Process);
    config.checkpoint_entries_max = 50;
    config.checkpoint_ms_max = 600_000;
    config.segment_bytes_max = segment_bytes_max;
    let (journal, _) = open(config);
    let mut n = 0;
    while journal.status().last_seq < 480 {
        record(&journal, n).await.unwrap().complete(RESULT);
        n += 1;
        tokio::task::yield_now().await;
        turned(&journal).await;
    }
    journal.close();
    data
}

fn check(data: &Path) -> VerifyReport {
    check_with(data, Some(data.join("checkpoints.jsonl")))
}

fn check_with(data: &Path, witness: Option<PathBuf>) -> VerifyReport {
    verify(&data.join("journal"), &signing().verifying_key(), witness.as_deref()).unwrap()
}

/// Every `step`th position, and every position of the first and last 200 bytes. (That each bit of a
/// line counts is shown line by line in `chain`.)
fn positions(length: usize, step: usize) -> impl Iterator<Item = usize> {
    (0..length).filter(move |at| at % step == 0 || *at < 200 || at + 200 > length)
}

fn line_of(bytes: &[u8], at: usize) -> u64 {
    bytes[..at].iter().filter(|b| **b == b'\n').count() as u64 + 1
}

#[tokio::test]
async fn every_flip_is_found_and_located() {
    let data = journal(u64::MAX).await;
    let report = check(data.path());
    assert!(report.is_intact() && report.closed && report.entries >= 480, "{report}");
    let path = segments(data.path())[0].clone();
    let good = std::fs::read(&path).unwrap();
    for at in positions(good.len(), 1_999) {
        let mut bad = good.clone();
        bad[at] ^= 1 << (at % 8);
        std::fs::write(&path, &bad).unwrap();
        let fault = check(data.path()).fault.unwrap_or_else(|| panic!("flip at {at} is not seen"));
        assert_eq!(
            (fault.file.as_str(), fault.line),
            ("segment-00000001.jsonl", line_of(&good, at)),
            "flip at {at}: {fault}"
        );
    }
}

#[tokio::test]
async fn every_cut_is_found_and_located() {
    let data = journal(u64::MAX).await;
    let path = segments(data.path())[0].clone();
    let good = std::fs::read(&path).unwrap();
    for at in positions(good.len(), 2_999) {
        std::fs::write(&path, &good[..at]).unwrap();
        let fault = check(data.path()).fault.unwrap_or_else(|| panic!("cut at {at} is not seen"));
        assert_eq!(fault.line, line_of(&good, at), "cut at {at}: {fault}");
    }
}

#[tokio::test]
async fn a_changed_witness_is_named() {
    let data = journal(u64::MAX).await;
    let path = data.path().join("checkpoints.jsonl");
    let good = std::fs::read(&path).unwrap();
    for at in (0..good.len() - 1).step_by(41) {
        let mut bad = good.clone();
        bad[at] ^= 1;
        std::fs::write(&path, &bad).unwrap();
        let report = check(data.path());
        let fault = report.fault.clone().unwrap_or_else(|| panic!("flip at {at} is not seen"));
        assert_eq!((fault.file.as_str(), fault.line), ("checkpoints.jsonl", line_of(&good, at)), "{fault}");
        assert!(matches!(report.witness, WitnessState::Differs { .. }));
    }
    std::fs::remove_file(&path).unwrap();
    assert_eq!(check(data.path()).witness, WitnessState::Absent);
}

#[tokio::test]
async fn lines_deleted_swapped_and_doubled_are_found() {
    let data = journal(u64::MAX).await;
    let path = segments(data.path())[0].clone();
    let good: Vec<String> = std::fs::read_to_string(&path).unwrap().lines().map(str::to_owned).collect();
    let put = |lines: &[String]| std::fs::write(&path, lines.join("\n") + "\n").unwrap();
    for at in (0..good.len()).step_by(23).chain([1, good.len() - 1]) {
        for (what, change) in [("delete", 0), ("double", 1), ("swap", 2)] {
            let mut lines = good.clone();
            match change {
                0 => drop(lines.remove(at)),
                1 => lines.insert(at, good[at].clone()),
                _ if at + 1 < lines.len() => lines.swap(at, at + 1),
                _ => continue,
            }
            put(&lines);
            let fault = check(data.path()).fault.unwrap_or_else(|| panic!("{what} at {at} is not seen"));
            let expected = if what == "double" { at + 2 } else { at + 1 } as u64;
            assert_eq!(fault.line, expected, "{what} at {at}: {fault}");
        }
    }
}

/// Changes one entry and recomputes the chain behind it, heads of checkpoints included: all that anyone
/// can do who may write the file and has no key.
fn restamp(text: &str, change: impl Fn(&str) -> String) -> String {
    let mut head = ChainHash::GENESIS;
    let mut out = Vec::new();
    for line in text.lines() {
        let sealed = SealedLine::parse(line.as_bytes()).unwrap();
        let mut stated = change(line.split_at(line.len() - 76).0);
        if let Some(at) = stated.find("\"head\":\"") {
            stated.replace_range(at + 8..at + 72, &head.to_string());
        }
        let body = format!("{{{}}}", stated.split_once(',').unwrap().1);
        head = seal(&head, sealed.seq, body.as_bytes(), &mut out);
    }
    String::from_utf8(out).unwrap()
}

#[tokio::test]
async fn a_restamped_chain_fails_at_the_next_signature() {
    let data = journal(u64::MAX).await;
    let path = segments(data.path())[0].clone();
    let good = std::fs::read_to_string(&path).unwrap();
    assert_eq!(restamp(&good, str::to_owned), good);
    let at = good.lines().position(|l| l.contains("\"type\":\"intent\"")).unwrap() + 100;
    let victim = good.lines().skip(at).find(|l| l.contains("\"type\":\"intent\"")).unwrap();
    let victim_line = good.lines().position(|l| l == victim).unwrap() as u64 + 1;
    let forge = |stated: &str| {
        if victim.starts_with(stated) {
            stated.replace("delete_file", "read_file__")
        } else {
            stated.to_owned()
        }
    };
    std::fs::write(&path, restamp(&good, forge)).unwrap();
    for witness in [None, Some(data.path().join("checkpoints.jsonl"))] {
        let fault = check_with(data.path(), witness).fault.unwrap();
        let next = good
            .lines()
            .skip(victim_line as usize)
            .position(|l| l.contains("\"type\":\"checkpoint\""))
            .unwrap() as u64;
        assert_eq!(fault.line, victim_line + next + 1, "{fault}");
        assert!(fault.reason.contains("signature"), "{fault}");
    }
    // Signed anew with another key: the key is not the one to verify with.
    let other = SigningKey::from_bytes([8; 32]);
    let report = verify(&data.path().join("journal"), &other.verifying_key(), None).unwrap();
    assert!(report.fault.unwrap().reason.contains("is the key to verify with"));
}

#[tokio::test]
async fn a_missing_or_renamed_segment_is_named() {
    let data = journal(40 << 10).await;
    let count = segments(data.path()).len();
    assert!(count > 5 && check(data.path()).is_intact());
    for gone in 0..count {
        let copy = snapshot(data.path());
        let path = segments(copy.path())[gone].clone();
        std::fs::remove_file(&path).unwrap();
        let fault = check(copy.path()).fault.unwrap_or_else(|| panic!("segment {gone} is not missed"));
        let name = path.file_name().unwrap().to_str().unwrap();
        let said = fault.to_string();
        assert!(
            said.contains(name) || gone + 1 == count && said.contains("the journal ends here"),
            "{gone}: {said}"
        );
    }
    let copy = snapshot(data.path());
    let paths = segments(copy.path());
    let (a, b) = (std::fs::read(&paths[2]).unwrap(), std::fs::read(&paths[3]).unwrap());
    std::fs::write(&paths[2], b).unwrap();
    std::fs::write(&paths[3], a).unwrap();
    assert!(!check(copy.path()).is_intact());
    // Cutting lines off a segment that is not the last one shows without any witness.
    let copy = snapshot(data.path());
    let path = segments(copy.path())[1].clone();
    let text = std::fs::read_to_string(&path).unwrap();
    let shorter: usize = text.lines().map(|l| l.len() + 1).take(text.lines().count() - 1).sum();
    std::fs::write(&path, &text.as_bytes()[..shorter]).unwrap();
    let fault = check_with(copy.path(), None).fault.unwrap();
    assert!(fault.file.contains("00000002") && fault.reason.contains("missing here"), "{fault}");
}

#[tokio::test]
async fn tampering_before_a_restart_is_not_forgiven_by_it() {
    let data = journal(u64::MAX).await;
    let copy = snapshot(data.path());
    let path = segments(copy.path())[0].clone();
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let (journal, recovery) = open(config(copy.path(), Durability::Process));
    assert!(recovery.damaged.is_some());
    journal.close();
    for witness in [None, Some(copy.path().join("checkpoints.jsonl"))] {
        let fault = check_with(copy.path(), witness).fault.unwrap();
        assert_eq!(
            (fault.file.as_str(), fault.line),
            ("segment-00000001.jsonl", line_of(&bytes, middle)),
            "{fault}"
        );
    }
}

#[tokio::test]
async fn what_is_not_attested_is_counted() {
    let data = tempfile::tempdir().unwrap();
    let mut config = config(data.path(), Durability::Process);
    config.checkpoint_ms_max = 600_000;
    let (journal, _) = open(config);
    let mut receipts = Vec::new();
    for n in 0..7 {
        receipts.push(record(&journal, n).await.unwrap());
    }
    let report = check(data.path());
    assert!(report.is_intact() && !report.closed && report.unattested_entries == 7, "{report}");
    assert!(report.to_string().contains("7 entries behind it are not"), "{report}");
    // A cut within them cannot be seen; that is what the number says.
    let copy = snapshot(data.path());
    let path = segments(copy.path())[0].clone();
    let text = std::fs::read_to_string(&path).unwrap();
    let shorter = text.len() - text.lines().last().unwrap().len() - 1;
    std::fs::write(&path, &text.as_bytes()[..shorter]).unwrap();
    assert_eq!(check(copy.path()).unattested_entries, 6);
    assert_eq!(SealedLine::parse(text.lines().last().unwrap().as_bytes()).unwrap().kind, EntryKind::Intent);
}
