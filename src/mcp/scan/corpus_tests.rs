//! Replays `tests/corpus/json`: the expected outcome is in each file's name.

use std::fs;
use std::path::Path;

use super::{Limits, scan};

/// Kinds that serde_json, read into a value, does not know: there the gate is stricter.
const STRICTER: [&str; 3] = ["duplicate_key", "too_deep", "too_many_keys"];

#[test]
fn every_text_of_the_corpus_has_the_outcome_in_its_name() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/json");
    let (mut accepted, mut refused, mut wrong) = (0, 0, Vec::new());
    for entry in fs::read_dir(&directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let Some(stem) = name.strip_suffix(".json") else { continue };
        let bytes = fs::read(&path).unwrap();
        let found = scan(&bytes, Limits::REQUEST).map(|_| ()).map_err(|fault| fault.kind().as_str());
        let theirs = serde_json::from_slice::<serde_json::Value>(&bytes).is_ok();
        let parts: Vec<&str> = stem.split('.').collect();
        let good = match parts.as_slice() {
            ["accept", _] => {
                accepted += 1;
                found == Ok(()) && theirs
            }
            ["refuse", kind, _] => {
                refused += 1;
                found == Err(*kind) && (!theirs || STRICTER.contains(kind))
            }
            _ => false,
        };
        if !good {
            wrong.push(format!("{name}: found {found:?}, serde_json accepts: {theirs}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(accepted >= 50 && refused >= 150, "corpus of {accepted} and {refused} texts");
}
