//! A small full-text index over the definitions of a merged list: names, titles, descriptions and
//! arguments, ranked as BM25 ranks.
//!
//! Invariants: what is found is filtered by what the caller sees before it is counted; index and answer
//! are bounded ([`WORDS_MAX`] words of a definition, [`QUERY_WORDS_MAX`] of a query).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::merged::Entry;

/// Words of one definition that are indexed.
const WORDS_MAX: usize = 1_000;
/// Words of a query that are looked for.
const QUERY_WORDS_MAX: usize = 32;
/// Words of the index that the beginning of one is taken to mean.
const COMPLETIONS_MAX: usize = 32;
/// Words that say nothing of what a tool does.
const STOP_WORDS: [&str; 18] = [
    "an", "and", "as", "at", "by", "for", "from", "in", "is", "it", "me", "my", "of", "on", "or", "the",
    "to", "with",
];
/// How often a word counts, by where it stands: what a tool is called says most.
const NAME_WEIGHT: f32 = 4.0;
const TITLE_WEIGHT: f32 = 2.0;
const TEXT_WEIGHT: f32 = 1.0;
const ARGUMENT_WEIGHT: f32 = 0.5;
/// How much a word that only begins like the one asked for counts.
const COMPLETION_WEIGHT: f32 = 0.5;
/// BM25: how soon a word that is repeated says no more, and how much long texts are discounted.
const SATURATION: f32 = 1.2;
const LENGTH_DISCOUNT: f32 = 0.75;

/// Words, and where they stand.
#[derive(Debug, Default)]
pub(in crate::proxy) struct SearchIndex {
    /// For each word the places of the definitions that hold it, each with its weight there.
    places: BTreeMap<Box<str>, Vec<(u32, f32)>>,
    /// Weighted length of each definition.
    lengths: Vec<f32>,
    mean_length: f32,
}

impl SearchIndex {
    /// The index of these, by their places.
    pub fn new(entries: &[Entry]) -> Self {
        let mut index = Self::default();
        for (place, entry) in (0..).zip(entries) {
            let weights = weights(entry);
            index.lengths.push(weights.values().sum());
            for (word, weight) in weights {
                index.places.entry(word.into_boxed_str()).or_default().push((place, weight));
            }
        }
        let count = float(index.lengths.len()).max(1.0);
        index.mean_length = (index.lengths.iter().sum::<f32>() / count).max(1.0);
        index
    }

    /// Places of what the query means, best first, among those that `seen` lets through.
    pub fn find(&self, query: &str, seen: impl Fn(u32) -> bool) -> Vec<u32> {
        let says = |word: &String| !STOP_WORDS.contains(&word.as_str());
        let asked: BTreeSet<String> = words(query).filter(says).take(QUERY_WORDS_MAX).collect();
        let mut scores: BTreeMap<u32, f32> = BTreeMap::new();
        for word in &asked {
            // For each definition the best of the words that the asked one can mean.
            let mut best: BTreeMap<u32, f32> = BTreeMap::new();
            for (found, places) in self.meant(word) {
                let discount = if found == word { 1.0 } else { COMPLETION_WEIGHT };
                let rarity = self.rarity(places.len());
                for (place, weight) in places.iter().filter(|(place, _)| seen(*place)) {
                    let score = discount * rarity * self.saturated(*place, *weight);
                    let best = best.entry(*place).or_default();
                    *best = best.max(score);
                }
            }
            for (place, score) in best {
                *scores.entry(place).or_default() += score;
            }
        }
        let mut ranked: Vec<(u32, f32)> = scores.into_iter().collect();
        ranked.sort_by(|(place, score), (other, more)| more.total_cmp(score).then(place.cmp(other)));
        ranked.into_iter().map(|(place, _)| place).collect()
    }

    /// The word itself, and words that begin with it.
    fn meant<'a>(&'a self, word: &'a str) -> impl Iterator<Item = (&'a str, &'a Vec<(u32, f32)>)> {
        let from = self.places.range::<str, _>((std::ops::Bound::Included(word), std::ops::Bound::Unbounded));
        let from = from.map(|(found, places)| (&**found, places));
        from.take_while(move |(found, _)| found.starts_with(word)).take(COMPLETIONS_MAX)
    }

    /// How much a word says that so many definitions hold.
    fn rarity(&self, holders: usize) -> f32 {
        let (all, holders) = (float(self.lengths.len()), float(holders));
        (1.0 + (all - holders + 0.5) / (holders + 0.5)).ln()
    }

    fn saturated(&self, place: u32, weight: f32) -> f32 {
        let length = usize::try_from(place).ok().and_then(|place| self.lengths.get(place));
        let relative = length.copied().unwrap_or(self.mean_length) / self.mean_length;
        let bound = SATURATION * (1.0 - LENGTH_DISCOUNT + LENGTH_DISCOUNT * relative);
        weight * (SATURATION + 1.0) / (weight + bound)
    }
}

/// Counts of a list are far below what a float holds exactly.
fn float(count: usize) -> f32 {
    f32::from(u16::try_from(count).unwrap_or(u16::MAX))
}

/// The words of a definition, each with how much it counts there.
fn weights(entry: &Entry) -> BTreeMap<String, f32> {
    let definition: Value = serde_json::from_str(&entry.definition).unwrap_or_default();
    let text =
        |value: &Value, key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut parts = vec![
        (format!("{} {}", entry.service, entry.tool), NAME_WEIGHT),
        (text(&definition, "title"), TITLE_WEIGHT),
        (
            definition.get("annotations").map(|annotations| text(annotations, "title")).unwrap_or_default(),
            TITLE_WEIGHT,
        ),
        (text(&definition, "description"), TEXT_WEIGHT),
    ];
    let arguments = definition.pointer("/inputSchema/properties").and_then(Value::as_object);
    for (name, schema) in arguments.into_iter().flatten() {
        parts.push((name.clone(), ARGUMENT_WEIGHT));
        parts.push((text(schema, "description"), ARGUMENT_WEIGHT));
    }
    let mut weights = BTreeMap::new();
    let weighted = parts.iter().flat_map(|(part, weight)| words(part).map(|word| (word, *weight)));
    for (word, weight) in weighted.take(WORDS_MAX) {
        *weights.entry(word).or_default() += weight;
    }
    weights
}

/// The words of a text: runs of letters and digits in lower case, taken apart where `camelCase` begins a
/// word, without the `s` of a plural.
fn words(text: &str) -> impl Iterator<Item = String> {
    let mut spaced = String::with_capacity(text.len() + 8);
    let mut before = ' ';
    for letter in text.chars() {
        if letter.is_uppercase() && before.is_lowercase() {
            spaced.push(' ');
        }
        spaced.push(letter);
        before = letter;
    }
    let lower = spaced.to_lowercase();
    let runs: Vec<String> = lower
        .split(|letter: char| !letter.is_alphanumeric())
        .filter(|run| run.chars().nth(1).is_some() || run.chars().any(|letter| !letter.is_ascii_lowercase()))
        .map(|run| match run.strip_suffix('s') {
            Some(one) if one.len() > 2 && !one.ends_with('s') => one.to_owned(),
            _ => run.to_owned(),
        })
        .collect();
    runs.into_iter()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::{ServiceKey, ToolName};

    fn entry(service: &str, tool: &str, description: &str, argument: &str) -> Entry {
        let name = format!("{service}__{tool}");
        let schema = json!({"type": "object", "properties": {argument: {"description": "Which one."}}});
        let definition = json!({"name": name, "description": description, "inputSchema": schema}).to_string();
        let (service, tool) = (ServiceKey::parse(service).unwrap(), ToolName::parse(tool).unwrap());
        Entry { service, tool, name, definition }
    }

    fn entries() -> Vec<Entry> {
        vec![
            entry("github", "create_issue", "Opens a new issue in a repository.", "repo"),
            entry("github", "list_issues", "Lists the issues of a repository, newest first.", "repo"),
            entry("github", "getFileContents", "Reads a file.", "path"),
            entry("slack", "send_message", "Sends a message to a channel.", "channel_id"),
            entry("time", "now", "Tells the time. Mention a timezone to get another.", "timezone"),
        ]
    }

    fn found(query: &str) -> String {
        let (entries, seen) = (entries(), |place: u32| place != 1);
        let index = SearchIndex::new(&entries);
        let names = index.find(query, seen).into_iter().map(|place| entries[place as usize].tool.to_string());
        names.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn what_is_meant_comes_first_and_what_is_not_seen_not_at_all() {
        let table = [
            ("create an issue", "create_issue"),
            ("issues", "create_issue"),
            ("read file contents", "getFileContents"),
            ("send slack message", "send_message"),
            ("SEND messages", "send_message"),
            ("timezone", "now"),
            ("chan", "send_message"),
            ("list", ""),
            ("nothing of the kind", ""),
            ("", ""),
            ("?!", ""),
        ];
        for (query, first) in table {
            assert_eq!(found(query).split(' ').next().unwrap(), first, "{query}");
        }
        assert_eq!(found("repository repo"), "create_issue");
    }

    #[test]
    fn texts_are_taken_apart_into_words() {
        let table = [
            ("getFileContents, list_issues", "get file content list issue"),
            ("a C4 is 日 HTTPServer access", "c4 is 日 httpserver access"),
        ];
        for (text, expected) in table {
            assert_eq!(words(text).collect::<Vec<_>>().join(" "), expected);
        }
        // A query as long as a body is cut, not refused.
        assert_eq!(found(&"x1 ".repeat(100_000)), "");
    }
}
