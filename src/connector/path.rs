//! File system paths among the arguments, read so that a policy on a directory cannot be dodged.
//!
//! Cedar sees one resource for each call, and a call may name several paths. A permit wants *all*
//! of them inside a directory, a forbid wants *any*; no single hierarchy can serve both. So a
//! resource of paths has two sets of directories: `within`, those that hold all of its paths, for
//! permits, and `touches`, those that hold any, for forbids; for a single path they are equal. The
//! attributes of one path (`path`, `folded`, `raw`, `directory`, `name`, `extension`) exist only where
//! there is one. An id of several paths is their list, which equals no single path's id.
//!
//! Paths are made absolute and normal lexically: `.`, `..`, `//` and a trailing `/` are resolved
//! here exactly as a server without symbolic links resolves them, and names are brought to Unicode's
//! NFC, because servers open `e` with a combining accent, or a Kelvin sign for `K`, as the file of
//! the composed name. What only the server could
//! resolve (`~`, a relative path without a configured base, a backslash, a control character) is
//! unreadable rather than guessed.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use unicode_normalization::UnicodeNormalization;

use super::ArgumentPath;
use super::resource::{Attribute, AttributeSource, AttributeType, AttributeValue};
use super::template::ID_BYTES_MAX;
use crate::model::Digest;

/// Paths of one call.
const PATHS_MAX: usize = 256;
/// Bytes of one path, before and after it is made absolute (Linux's `PATH_MAX`).
const PATH_BYTES_MAX: usize = 4_096;
/// Names in one path.
const DEPTH_MAX: usize = 128;
/// Bytes of all directories of all paths of one call.
const DIRECTORY_BYTES_MAX: usize = 1024 * 1024;

pub(super) enum PathFault {
    Absent,
    Unreadable(ArgumentPath),
}

/// The paths of one call, absolute and normal, each with its spelling in the arguments.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PathFacts {
    /// Never empty.
    normal_to_raw: BTreeMap<String, BTreeSet<String>>,
    within: BTreeSet<String>,
    touches: BTreeSet<String>,
}

/// The attributes that a type of paths has.
pub(super) fn declared_attributes() -> BTreeMap<String, Attribute> {
    use AttributeType::{Bool, String as Text, StringSet};
    let rows = [
        ("directory", Text, false),
        ("extension", Text, false),
        ("folded", Text, false),
        ("name", Text, false),
        ("path", Text, false),
        ("paths", StringSet, true),
        ("raw", Text, false),
        ("recursive", Bool, true),
        ("touches", StringSet, true),
        ("within", StringSet, true),
    ];
    let attribute = |kind, required| Attribute { kind, required, source: AttributeSource::Path };
    rows.into_iter().map(|(name, kind, required)| (name.to_owned(), attribute(kind, required))).collect()
}

/// Reads every path at these arguments, each a string or a list of strings.
pub(super) fn read(
    arguments: &Value,
    places: &[ArgumentPath],
    base: Option<&str>,
) -> Result<PathFacts, PathFault> {
    let mut normal_to_raw = BTreeMap::<String, BTreeSet<String>>::new();
    let mut count = 0_usize;
    for place in places {
        let unreadable = || PathFault::Unreadable(place.clone());
        let Some(given) = place.find(arguments) else { continue };
        let items = match given {
            Value::Array(items) => items.as_slice(),
            one => std::slice::from_ref(one),
        };
        count = count.saturating_add(items.len());
        if count > PATHS_MAX {
            return Err(unreadable());
        }
        for item in items {
            let raw = item.as_str().ok_or_else(unreadable)?;
            let normal = normalise(raw, base).ok_or_else(unreadable)?;
            normal_to_raw.entry(normal).or_default().insert(raw.to_owned());
        }
    }
    let last = places.last().filter(|_| !normal_to_raw.is_empty()).ok_or(PathFault::Absent)?;
    let size: usize = normal_to_raw.keys().map(|path| directories(path).map(str::len).sum::<usize>()).sum();
    if size > DIRECTORY_BYTES_MAX {
        return Err(PathFault::Unreadable(last.clone()));
    }
    let mut sets = normal_to_raw.keys().map(|path| directories(path).map(str::to_owned).collect());
    let within: BTreeSet<String> = sets.next().unwrap_or_default();
    let touches = within.clone();
    let (within, touches) = sets.fold((within, touches), |(within, mut touches), next: BTreeSet<String>| {
        let common = within.intersection(&next).cloned().collect();
        touches.extend(next);
        (common, touches)
    });
    Ok(PathFacts { normal_to_raw, within, touches })
}

/// The path itself and every directory above it, up to `/`.
fn directories(path: &str) -> impl Iterator<Item = &str> {
    let above = path.match_indices('/').filter_map(|(index, _)| path.get(..index.max(1)));
    above.chain((path != "/").then_some(path))
}

/// The absolute, normal form, or nothing where only the server could know it.
pub(super) fn normalise(raw: &str, base: Option<&str>) -> Option<String> {
    let absolute = match raw.starts_with('/') {
        true => raw.to_owned(),
        false => format!("{}/{raw}", base?),
    };
    let for_the_server = raw.is_empty()
        || raw.starts_with('~')
        || raw.contains(|c: char| c.is_control() || c == '\\')
        || absolute.len() > PATH_BYTES_MAX;
    if for_the_server {
        return None;
    }
    let absolute: String = absolute.nfc().collect();
    let mut names = Vec::new();
    for name in absolute.split('/') {
        match name {
            "" | "." => {}
            ".." => drop(names.pop()),
            name => names.push(name),
        }
    }
    (names.len() <= DEPTH_MAX).then(|| format!("/{}", names.join("/")))
}

impl PathFacts {
    pub(super) fn id(&self) -> String {
        let paths: Vec<&String> = self.normal_to_raw.keys().collect();
        if let [path] = paths.as_slice() {
            return (*path).clone();
        }
        let list = Value::from_iter(paths.into_iter().map(String::as_str)).to_string();
        match list.len() <= ID_BYTES_MAX {
            true => list,
            false => format!("paths {}", Digest::of(list.as_bytes())),
        }
    }

    pub(super) fn attributes(&self, recursive: bool) -> BTreeMap<String, AttributeValue> {
        let set = |items: &BTreeSet<String>| AttributeValue::StringSet(items.clone());
        let text = |text: &str| AttributeValue::String(text.to_owned());
        let mut attributes = BTreeMap::from([
            ("paths".to_owned(), AttributeValue::StringSet(self.normal_to_raw.keys().cloned().collect())),
            ("within".to_owned(), set(&self.within)),
            ("touches".to_owned(), set(&self.touches)),
            ("recursive".to_owned(), AttributeValue::Bool(recursive)),
        ]);
        let mut entries = self.normal_to_raw.iter();
        if let (Some((path, raws)), None) = (entries.next(), entries.next()) {
            attributes.insert("path".to_owned(), text(path));
            attributes.insert("folded".to_owned(), text(&path.to_lowercase()));
            if let (1, Some(raw)) = (raws.len(), raws.first()) {
                attributes.insert("raw".to_owned(), text(raw));
            }
            let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
            attributes
                .insert("directory".to_owned(), text(if directory.is_empty() { "/" } else { directory }));
            attributes.insert("name".to_owned(), text(name));
            if let Some((stem, extension)) = name.rsplit_once('.')
                && !stem.is_empty()
                && !extension.is_empty()
            {
                attributes.insert("extension".to_owned(), text(&extension.to_lowercase()));
            }
        }
        attributes
    }
}
