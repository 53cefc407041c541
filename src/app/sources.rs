//! The files that operators edit, read into one bundle: policies, their cases, connectors and locks.
//!
//! Invariants: a bundle is built of what one pass over the directories found, or not at all; a file
//! that cannot be read is a fault, never left out; sizes and numbers are bounded.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Mode, OFlags};

use crate::connector::Connectors;
use crate::model::{Diagnostic, Digest, Show, SourceFile};
use crate::policy::{Bundle, Sources};

/// Bytes of one file at most.
const FILE_BYTES_MAX: u64 = 16 << 20;
/// Files of one directory tree at most.
const FILES_MAX: usize = 10_000;
/// Directories within directories at most.
const DEPTH_MAX: usize = 8;

/// Where the files are.
#[derive(Debug, Clone)]
pub struct Places {
    pub policies: PathBuf,
    pub connectors: PathBuf,
    /// What policies without a `@show` tell of themselves.
    pub show: Show,
}

/// The files of one moment.
#[derive(Debug)]
pub struct Files {
    policies: Vec<SourceFile>,
    cases: Option<SourceFile>,
    invariants: Option<SourceFile>,
    connectors: Vec<SourceFile>,
    show: Show,
}

impl Files {
    /// Reads both directories.
    ///
    /// # Errors
    /// Every file and directory that cannot be read.
    pub fn read(places: &Places) -> Result<Self, Vec<Diagnostic>> {
        let mut faults = Vec::new();
        let beside = ["cases.toml", "invariants.toml"];
        let cedar = |name: &str| name.ends_with(".cedar") || beside.contains(&name);
        let mut policies = collect(&places.policies, &cedar, &mut faults);
        let connectors = collect(&places.connectors, &is_connector, &mut faults);
        let [cases, invariants] = beside.map(|name| {
            let is = |file: &SourceFile| Path::new(&*file.name).file_name().is_some_and(|n| n == name);
            policies.iter().position(is).map(|at| policies.remove(at))
        });
        let show = places.show;
        if faults.is_empty() {
            Ok(Self { policies, cases, invariants, connectors, show })
        } else {
            Err(faults)
        }
    }

    /// Policies that were read elsewhere, over the connectors of this directory.
    ///
    /// # Errors
    /// As [`Files::read`].
    pub fn over(connectors: &Path, policies: Vec<SourceFile>) -> Result<Self, Vec<Diagnostic>> {
        let mut faults = Vec::new();
        let connectors = collect(connectors, &is_connector, &mut faults);
        let files = Self { policies, cases: None, invariants: None, connectors, show: Show::default() };
        if faults.is_empty() { Ok(files) } else { Err(faults) }
    }

    /// The same with more files, each in the place of one of the same path.
    #[must_use]
    pub fn with(mut self, policies: Vec<SourceFile>, connectors: Vec<SourceFile>) -> Self {
        let as_read = |file: SourceFile| SourceFile::new(named(&file.name), &file.text);
        for (into, more) in [(&mut self.policies, policies), (&mut self.connectors, connectors)] {
            let more: Vec<SourceFile> = more.into_iter().map(as_read).collect();
            into.retain(|file| more.iter().all(|other| other.name != file.name));
            into.extend(more);
            into.sort_by(|a, b| a.name.cmp(&b.name));
        }
        self
    }

    /// The digest of all names and texts: two equal ones need no second build.
    pub fn digest(&self) -> Digest {
        let beside = self.cases.iter().chain(&self.invariants);
        let files = self.policies.iter().chain(beside).chain(&self.connectors);
        Digest::of_parts(files.flat_map(|file| [file.name.as_bytes(), file.text.as_bytes()]))
    }

    /// The policy files alone.
    pub fn into_policies(self) -> Vec<SourceFile> {
        self.policies
    }

    /// What must be true of the policies: `invariants.toml`, where there is one.
    pub fn invariants(&self) -> Option<SourceFile> {
        self.invariants.clone()
    }

    /// Builds the bundle.
    ///
    /// # Errors
    /// Every fault, with file, line and reason.
    pub fn build(self) -> Result<Bundle, Vec<Diagnostic>> {
        Bundle::build(&self.sources()?)
    }

    /// What a bundle is built of, for whoever needs the cases as well.
    ///
    /// # Errors
    /// Every fault of the connectors.
    pub fn sources(self) -> Result<Sources, Vec<Diagnostic>> {
        let connectors = Arc::new(Connectors::read(&self.connectors)?);
        Ok(Sources { policies: self.policies, cases: self.cases, connectors, show: self.show })
    }
}

fn is_connector(name: &str) -> bool {
    name.ends_with(".toml") || name.ends_with(".tools.json")
}

fn collect(root: &Path, wanted: &dyn Fn(&str) -> bool, faults: &mut Vec<Diagnostic>) -> Vec<SourceFile> {
    let mut paths = Vec::new();
    walk(root, wanted, DEPTH_MAX, &mut paths, faults);
    paths.sort();
    let read = |path: PathBuf| read(&path).map_err(|fault| faults.push(fault)).ok();
    paths.into_iter().filter_map(read).collect()
}

fn walk(
    dir: &Path,
    wanted: &dyn Fn(&str) -> bool,
    depth: usize,
    paths: &mut Vec<PathBuf>,
    faults: &mut Vec<Diagnostic>,
) {
    let name = dir.display().to_string();
    let fault = |message: String, help: &str| Diagnostic::of_file(&name, message).with_help(help);
    if depth == 0 {
        return faults.push(fault("directories are nested too deep".to_owned(), "put the files higher up"));
    }
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) => {
            let help = "make the directory, or name another in the configuration";
            return faults.push(fault(format!("cannot be read: {error}"), help));
        }
    };
    for entry in entries {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                return faults.push(fault(format!("cannot be read: {error}"), "look at its permissions"));
            }
        };
        let file_name = entry.file_name();
        let Some(file_name) = file_name.to_str().filter(|name| !name.starts_with('.')) else { continue };
        let path = entry.path();
        if path.is_dir() {
            walk(&path, wanted, depth - 1, paths, faults);
        } else if wanted(file_name) {
            if paths.len() >= FILES_MAX {
                return faults.push(fault(format!("more than {FILES_MAX} files"), "use fewer, larger files"));
            }
            paths.push(path);
        }
    }
}

/// A path as diagnostics name it.
fn named(path: &str) -> &str {
    path.strip_prefix("./").unwrap_or(path)
}

fn read(path: &Path) -> Result<SourceFile, Diagnostic> {
    let name = path.display().to_string();
    let name = named(&name);
    let fault = |message: String| Diagnostic::of_file(name, message);
    let unreadable = |error: std::io::Error| fault(format!("cannot be read: {error}"));
    // A pipe must not be waited for, nor a device be read without end.
    let open = rustix::fs::open(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty());
    let file = fs::File::from(open.map_err(|errno| unreadable(errno.into()))?);
    if !file.metadata().map_err(unreadable)?.is_file() {
        return Err(fault("is no file".to_owned()));
    }
    let mut text = String::new();
    file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(unreadable)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(fault(format!("holds more than {FILE_BYTES_MAX} bytes")));
    }
    Ok(SourceFile::new(name, &text))
}
