//! The files that operators edit, read from their directories into sources of a bundle.
//!
//! Invariants: names are relative to where the operator would look for them and come in one order on
//! every machine, so that the same files give the same digest; count and size are bounded; a file that
//! cannot be read is a fault, never left out.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::connector::Connectors;
use crate::model::{Diagnostic, Digest, SourceFile};
use crate::policy::{Bundle, Sources};

/// Files of one kind.
pub const FILES_MAX: usize = 10_000;
/// Bytes of one file.
pub const FILE_BYTES_MAX: u64 = 64 << 20;
/// Directories beneath directories.
const DEPTH_MAX: usize = 8;
/// The policies' own tests.
const CASES_FILE: &str = "cases.toml";

/// Reads policies, cases, connectors and locks, and builds the bundle.
///
/// # Errors
/// Every fault found, with file and line.
pub fn build_bundle(policies_dir: &Path, connectors_dir: &Path) -> Result<Bundle, Vec<Diagnostic>> {
    Bundle::build(&read_sources(policies_dir, connectors_dir)?)
}

/// The digest of everything that a bundle is built of: two equal ones need no second build.
pub fn digest(sources: &Sources) -> Digest {
    let files = sources.policies.iter().chain(&sources.cases);
    let texts = files.flat_map(|file| [file.name.as_bytes(), file.text.as_bytes()]);
    Digest::of_parts(texts.chain([sources.connectors.digest().as_bytes().as_slice()]))
}

/// Reads policies, cases, connectors and locks. The directory of the policies must be there: a gate
/// that lost it would deny everything where it should keep what it has. One without connectors is a
/// gate with the built-in one.
///
/// # Errors
/// Every fault found, with file and line.
pub fn read_sources(policies_dir: &Path, connectors_dir: &Path) -> Result<Sources, Vec<Diagnostic>> {
    if !policies_dir.is_dir() {
        let fault = Diagnostic::of_file(&policies_dir.display().to_string(), "there is no such directory");
        return Err(vec![fault.with_help("make it, or name another as `policies.dir` in the configuration")]);
    }
    let policies = read_files(policies_dir, |name| name.ends_with(".cedar"));
    let cases = read_files(policies_dir, |name| name == CASES_FILE);
    let connectors =
        read_files(connectors_dir, |name| name.ends_with(".toml") || name.ends_with(".tools.json"))
            .and_then(|files| Connectors::read(&files));
    match (policies, cases, connectors) {
        (Ok(policies), Ok(cases), Ok(connectors)) => {
            Ok(Sources { policies, cases: cases.into_iter().next(), connectors: Arc::new(connectors) })
        }
        (policies, cases, connectors) => {
            let faults = [policies.err(), cases.err(), connectors.err()];
            let mut faults: Vec<Diagnostic> = faults.into_iter().flatten().flatten().collect();
            faults.dedup();
            Err(faults)
        }
    }
}

/// The wanted files beneath a directory, in the order of their names. A directory that is not there
/// has no files.
fn read_files(dir: &Path, wanted: impl Fn(&str) -> bool) -> Result<Vec<SourceFile>, Vec<Diagnostic>> {
    let mut paths = Vec::new();
    let mut faults = Vec::new();
    if dir.exists() {
        collect(dir, dir, DEPTH_MAX, &wanted, &mut paths, &mut faults);
    }
    paths.sort();
    if paths.len() > FILES_MAX {
        let message = format!("more than {FILES_MAX} files");
        faults.push(Diagnostic::of_file(&dir.display().to_string(), message));
    }
    let mut files = Vec::new();
    for path in paths.iter().take(FILES_MAX) {
        match read_bounded(path) {
            Ok(text) => files.push(SourceFile::new(&name_of(path), &text)),
            Err(reason) => faults.push(
                Diagnostic::of_file(&path.display().to_string(), reason)
                    .with_help("the gate's account must be able to read it; it is UTF-8 text"),
            ),
        }
    }
    if faults.is_empty() { Ok(files) } else { Err(faults) }
}

/// The name under which a file is spoken of.
fn name_of(path: &Path) -> String {
    path.strip_prefix("./").unwrap_or(path).display().to_string()
}

fn collect(
    root: &Path,
    dir: &Path,
    depth: usize,
    wanted: &impl Fn(&str) -> bool,
    paths: &mut Vec<PathBuf>,
    faults: &mut Vec<Diagnostic>,
) {
    let fault = |reason: String| Diagnostic::of_file(&dir.display().to_string(), reason);
    if depth == 0 {
        faults.push(fault(format!("more than {DEPTH_MAX} directories deep")));
        return;
    }
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) => {
            faults.push(fault(format!("cannot be read: {error}")).with_help("check its owner and mode"));
            return;
        }
    };
    for entry in entries {
        let path = match entry {
            Ok(entry) => entry.path(),
            Err(error) => {
                faults.push(fault(format!("cannot be read: {error}")));
                continue;
            }
        };
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        // Editors' own files (`.x.cedar.swp`, `.git`) are nobody's policy.
        if name.starts_with('.') {
            continue;
        }
        if path.is_dir() {
            collect(root, &path, depth - 1, wanted, paths, faults);
        } else if wanted(name) && (name != CASES_FILE || dir == root) {
            paths.push(path);
        }
        if paths.len() > FILES_MAX {
            return;
        }
    }
}

fn read_bounded(path: &Path) -> Result<String, String> {
    let size = std::fs::metadata(path).map_err(|error| format!("cannot be read: {error}"))?.len();
    if size > FILE_BYTES_MAX {
        return Err(format!("is larger than {FILE_BYTES_MAX} bytes"));
    }
    std::fs::read_to_string(path).map_err(|error| format!("cannot be read: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wanted_files_come_in_order_and_editors_files_do_not() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("team")).unwrap();
        for name in ["b.cedar", "a.cedar", "team/c.cedar", ".d.cedar", "e.cedar.bak", "cases.toml"] {
            std::fs::write(dir.path().join(name), name).unwrap();
        }
        let files = read_files(dir.path(), |name| name.ends_with(".cedar")).unwrap();
        let names: Vec<_> = files.iter().map(|file| &*file.text).collect();
        assert_eq!(names, ["a.cedar", "b.cedar", "team/c.cedar"]);
        assert!(files[0].name.ends_with("/a.cedar"), "{}", files[0].name);
    }

    #[test]
    fn a_file_that_cannot_be_read_is_a_fault_and_not_left_out() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a.cedar"), [0xff, 0xfe]).unwrap();
        let faults = read_files(dir.path(), |name| name.ends_with(".cedar")).unwrap_err();
        assert!(faults[0].to_string().contains("a.cedar"), "{faults:?}");
        assert_eq!(read_files(&dir.path().join("none"), |_| true), Ok(Vec::new()));
    }
}
