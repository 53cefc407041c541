//! The policies that a command compares with: those of a directory, or those that git keeps of one.
//!
//! Invariants: a directory that is there is never taken for a revision; git is only read, never asked to fetch;
//! what it says is bounded as files are.

use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::app::{Files, Places};
use crate::cli::ending::Fault;
use crate::cli::output::one_line;
use crate::cli::settings::Settings;
use crate::model::{Diagnostic, SourceFile};
use crate::policy::Bundle;

/// Bytes of one file at most, as of files that are read from a disk.
const FILE_BYTES_MAX: u64 = 16 << 20;
/// Bytes of a list of files.
const LIST_BYTES_MAX: u64 = 16 << 20;
/// Files of one revision: each takes a process.
const FILES_MAX: usize = 1_000;
/// Bytes of what git says of its own failure.
const COMPLAINT_BYTES_MAX: u64 = 4_096;

/// The policies that are named so, over the connectors of the configuration.
///
/// # Errors
/// What is neither a directory nor known to git; every fault of the files.
pub fn load(settings: &Settings, named: &str) -> Result<Bundle, Fault> {
    let rejected = |diagnostics: Vec<Diagnostic>| {
        Fault::problem(format!("the policies of `{}` do not load with these connectors", one_line(named)))
            .with_diagnostics(diagnostics)
    };
    let connectors = &settings.config.connectors.dir;
    let dir = Path::new(named);
    if dir.is_dir() {
        let places =
            Places { policies: dir.to_owned(), connectors: connectors.clone(), show: Default::default() };
        return Files::read(&places).and_then(Files::build).map_err(rejected);
    }
    let policies = Repository { named, dir: &settings.config.policies.dir }.policies()?;
    Files::over(connectors, policies).and_then(Files::build).map_err(rejected)
}

/// What git is asked of.
struct Repository<'a> {
    /// As it was typed: a revision, or `REVISION:DIRECTORY`.
    named: &'a str,
    /// The directory of the policies here.
    dir: &'a Path,
}

/// A file of a revision.
struct Blob {
    id: String,
    path: String,
    bytes: u64,
}

impl Repository<'_> {
    fn policies(&self) -> Result<Vec<SourceFile>, Fault> {
        if self.named.is_empty() || self.named.starts_with(['-', ':']) {
            return Err(self.unknown("it names nothing"));
        }
        // As git takes it: from the top of the repository, or, where it says `./`, from here.
        let (tree, shown) = match self.named.split_once(':') {
            Some(_) => (self.named.to_owned(), self.named.to_owned()),
            None => (format!("{}:./", self.named), format!("{}:{}", self.named, self.dir.display())),
        };
        let blobs = self.blobs(&tree)?;
        if blobs.is_empty() {
            return Err(self.unknown("it holds no `*.cedar` file there"));
        }
        let shown = shown.trim_end_matches('/');
        blobs.iter().map(|blob| self.read(blob, shown)).collect()
    }

    /// The policy files beneath it, in the order of their paths.
    fn blobs(&self, tree: &str) -> Result<Vec<Blob>, Fault> {
        let listed = self.git(&["ls-tree", "-r", "-l", "-z", "--full-tree", tree], LIST_BYTES_MAX)?;
        let mut blobs = Vec::new();
        for line in listed.split('\0').filter(|line| !line.is_empty()) {
            let Some(blob) = policy_file(line) else { continue };
            if blob.bytes > FILE_BYTES_MAX {
                return Err(self.unknown(&format!("`{}` holds more than {FILE_BYTES_MAX} bytes", blob.path)));
            }
            blobs.push(blob);
            if blobs.len() > FILES_MAX {
                return Err(self
                    .unknown(&format!("it has more than {FILES_MAX} policy files"))
                    .with_help("check it out with `git worktree add` and name the directory"));
            }
        }
        Ok(blobs)
    }

    fn read(&self, blob: &Blob, shown: &str) -> Result<SourceFile, Fault> {
        let text = self.git(&["cat-file", "blob", &blob.id], FILE_BYTES_MAX)?;
        Ok(SourceFile::new(&format!("{shown}/{}", blob.path), &text))
    }

    /// What git says to this.
    fn git(&self, words: &[&str], bytes_max: u64) -> Result<String, Fault> {
        let at = if self.named.contains(':') { Path::new(".") } else { self.dir };
        let child = Command::new("git")
            .arg("-C")
            .arg(at)
            .args(words)
            .env("GIT_NO_LAZY_FETCH", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = child.map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => self
                .unknown("git, which may know it as a revision, is not installed")
                .with_help("name a directory, or install git"),
            _ => self.unknown(&format!("git cannot be started: {error}")),
        })?;
        let (mut said, mut complaint) = (Vec::new(), Vec::new());
        if let Some(stdout) = child.stdout.take() {
            let read = stdout.take(bytes_max.saturating_add(1)).read_to_end(&mut said);
            read.map_err(|error| self.unknown(&format!("git broke off: {error}")))?;
        }
        // Little is said there, and what is beyond it is not waited for: its end is dropped.
        if let Some(stderr) = child.stderr.take() {
            let _unheard = stderr.take(COMPLAINT_BYTES_MAX).read_to_end(&mut complaint);
        }
        let ended = child.wait().map_err(|error| self.unknown(&format!("git broke off: {error}")))?;
        if said.len() as u64 > bytes_max {
            return Err(self.unknown(&format!("git says more than {bytes_max} bytes")));
        }
        if !ended.success() {
            let complaint = String::from_utf8_lossy(&complaint);
            let first = complaint.lines().next().unwrap_or("git does not know it").to_owned();
            return Err(self.unknown(first.strip_prefix("fatal: ").unwrap_or(&first)).with_help(
                "name a directory of policies, a revision as in `HEAD~1`, or `REVISION:DIRECTORY`",
            ));
        }
        String::from_utf8(said).map_err(|_| self.unknown("a file there is not UTF-8"))
    }

    fn unknown(&self, why: &str) -> Fault {
        Fault::usage(format!(
            "`{}` is no directory here, and no revision of policies: {}",
            one_line(self.named),
            one_line(why)
        ))
    }
}

/// A line of `git ls-tree -l`, where it is a policy file as a gate would read it.
fn policy_file(line: &str) -> Option<Blob> {
    let (head, path) = line.split_once('\t')?;
    let mut words = head.split_ascii_whitespace();
    let (mode, kind, id, bytes) = (words.next()?, words.next()?, words.next()?, words.next()?);
    // Not what links point at.
    let is_file = kind == "blob" && mode.starts_with("100");
    let hidden = path.split('/').any(|part| part.starts_with('.'));
    if !is_file || hidden || !path.ends_with(".cedar") {
        return None;
    }
    Some(Blob { id: id.to_owned(), path: path.to_owned(), bytes: bytes.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_revision_the_files_are_read_that_a_gate_would_read() {
        let id = "0123456789abcdef0123456789abcdef01234567";
        for (mode, path, expected) in [
            ("100644 blob", "a.cedar", Some("a.cedar")),
            ("100755 blob", "teams/b c.cedar", Some("teams/b c.cedar")),
            ("120000 blob", "link.cedar", None),
            ("160000 commit", "module.cedar", None),
            ("100644 blob", "cases.toml", None),
            ("100644 blob", ".drafts/a.cedar", None),
            ("100644 blob", "recipes/x.cedar.example", None),
        ] {
            let found = policy_file(&format!("{mode} {id}     123\t{path}"));
            assert_eq!(found.as_ref().map(|blob| blob.path.as_str()), expected, "{mode} {path}");
            assert!(found.is_none_or(|blob| (blob.id.as_str(), blob.bytes) == (id, 123)));
        }
    }
}
