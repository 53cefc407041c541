//! Reads the journal's files as a stranger would: line by line, with a JSON parser and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;

/// What the journal says about calls.
#[derive(Debug, Default)]
pub struct Journal {
    pub entries: Vec<Value>,
}

impl Journal {
    /// Every whole line of every segment, in order. A torn last line is not an entry.
    pub fn read(data_dir: &Path) -> Self {
        let dir = data_dir.join("journal");
        let mut files: Vec<_> = std::fs::read_dir(&dir)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "jsonl"))
            .collect();
        files.sort();
        let mut entries = Vec::new();
        for file in files {
            let text = String::from_utf8_lossy(&std::fs::read(file).unwrap()).into_owned();
            entries.extend(text.lines().filter_map(|line| serde_json::from_str(line).ok()));
        }
        Self { entries }
    }

    fn of_type<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Value> {
        self.entries.iter().filter(move |entry| entry["type"] == kind)
    }

    /// Call ids with an entry of this type: `intent`, `denial`, `completion`.
    pub fn calls(&self, kind: &str) -> BTreeSet<String> {
        self.of_type(kind).filter_map(|entry| entry["call"].as_str().map(str::to_owned)).collect()
    }

    /// The intents, by call id.
    pub fn intents(&self) -> BTreeMap<String, &Value> {
        self.of_type("intent").filter_map(|entry| Some((entry["call"].as_str()?.to_owned(), entry))).collect()
    }

    /// Administrative changes that were made, in order: what, and what is after it.
    pub fn administrative(&self) -> Vec<(String, Value)> {
        let made = self.of_type("administrative").filter(|entry| entry["phase"] == "completed");
        made.map(|entry| (entry["what"].as_str().unwrap().to_owned(), entry["after"].clone())).collect()
    }

    /// Intents without completion.
    pub fn open(&self) -> BTreeSet<String> {
        let completed = self.calls("completion");
        self.calls("intent").difference(&completed).cloned().collect()
    }

    /// Calls whose completion says that a restart found them open.
    pub fn recovered(&self) -> BTreeSet<String> {
        self.of_type("completion")
            .filter(|entry| entry["outcome"] == "unknown" && entry["recovered"] == true)
            .filter_map(|entry| entry["call"].as_str().map(str::to_owned))
            .collect()
    }

    /// How often each call id has an intent; more than once is a fault.
    pub fn intents_twice(&self) -> Vec<String> {
        let mut seen = BTreeSet::new();
        let ids = self.of_type("intent").filter_map(|entry| entry["call"].as_str());
        ids.filter(|id| !seen.insert((*id).to_owned())).map(str::to_owned).collect()
    }
}
