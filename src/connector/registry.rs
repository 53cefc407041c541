//! All connectors of the gate, read as one set.
//!
//! Invariants: a set loads whole or not at all; service keys and namespaces are unique in it; the
//! built-in connector `wicket` is always there; the digest covers every byte of every file.

mod names;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use self::names::ShortNames;
use super::builtin;
use super::descriptor::{self, RESERVED_NAMESPACES};
use super::lock::Lock;
use super::{Connector, Tool};
use crate::model::{Diagnostic, Digest, ServiceKey, SourceFile, ToolName, split_prefixed};

/// What a descriptor's name ends in.
const DESCRIPTOR_END: &str = ".toml";
/// What a lock's name ends in.
const LOCK_END: &str = ".tools.json";

/// Every connector, the built-in one included.
#[derive(Debug, Clone)]
pub struct Connectors {
    by_service: BTreeMap<ServiceKey, Arc<Connector>>,
    /// For tools whose full names are too long for clients.
    short: ShortNames,
    digest: Digest,
}

/// Why a prefixed tool name names no connector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResolveFault {
    /// It is not `service__tool`.
    NoPrefix,
    /// No connector has this service key; the prefix as it was sent.
    UnknownService(String),
}

impl fmt::Display for ResolveFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoPrefix => f.write_str("the tool's name is not `service__tool`"),
            Self::UnknownService(service) => {
                let shown: String = service.chars().take(64).collect();
                write!(f, "no connector `{}`", shown.escape_default())
            }
        }
    }
}

impl std::error::Error for ResolveFault {}

impl Connectors {
    /// Reads descriptors (`*.toml`) and locks (`*.tools.json`); other files are faults, so that a
    /// misspelt name is not silently without effect.
    ///
    /// # Errors
    /// Everything that is wrong, with file, line and what to do.
    pub fn read(files: &[SourceFile]) -> Result<Self, Vec<Diagnostic>> {
        let mut faults = Vec::new();
        let mut descriptors = BTreeMap::new();
        let mut locks = BTreeMap::new();
        for file in files {
            match sort_file(file) {
                Ok((service, true)) => drop(descriptors.insert(service, file)),
                Ok((service, false)) => drop(locks.insert(service, file)),
                Err(fault) => faults.push(fault),
            }
        }
        let mut by_service = BTreeMap::new();
        match builtin::connector() {
            Ok(connector) => drop(by_service.insert(connector.service.clone(), Arc::new(connector))),
            Err(fault) => faults.push(fault),
        }
        for (service, source) in &descriptors {
            match read_one(service, source, locks.remove(service)) {
                Ok(connector) => drop(by_service.insert(service.clone(), Arc::new(connector))),
                Err(more) => faults.extend(more),
            }
        }
        for (service, lock) in locks {
            let message = format!("a lock without its descriptor `{service}{DESCRIPTOR_END}`");
            faults.push(
                Diagnostic::of_file(&lock.name, message).with_help("write the descriptor or delete the lock"),
            );
        }
        faults.extend(shared_namespaces(&by_service, &descriptors));
        if !faults.is_empty() {
            return Err(faults);
        }
        let short = ShortNames::of(by_service.values().map(AsRef::as_ref));
        Ok(Self { by_service, short, digest: digest_of(files) })
    }

    /// The connector of this service.
    pub fn get(&self, service: &str) -> Option<&Arc<Connector>> {
        self.by_service.get(service)
    }

    /// All connectors, in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Connector>> {
        self.by_service.values()
    }

    /// Over the names and texts of all files and of the built-in connector.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Takes `service__tool` apart, and a short name that stands for it. The tool need not be one of the
    /// connector's.
    ///
    /// # Errors
    /// [`ResolveFault`]; a service key never holds `__`, so there is one way to read a name.
    pub fn resolve<'a>(&'a self, prefixed: &'a str) -> Result<(&'a Arc<Connector>, &'a str), ResolveFault> {
        let (service, tool) = split_prefixed(prefixed).ok_or(ResolveFault::NoPrefix)?;
        let unknown = || ResolveFault::UnknownService(service.to_owned());
        let connector = self.get(service).ok_or_else(unknown)?;
        Ok((connector, self.short.tool(prefixed).unwrap_or(tool)))
    }

    /// The name under which a tool is offered: `service__tool`, or a short one that stands for it.
    pub fn listed_name(&self, service: &ServiceKey, tool: &ToolName) -> String {
        self.short.listed(service, tool)
    }

    /// Every tool whose full name is too long for clients, with the name under which it is offered.
    pub fn shortened(&self) -> impl Iterator<Item = (&str, &str)> {
        self.short.iter()
    }

    /// The connector and the locked tool of a prefixed name, where both exist.
    pub fn tool<'a>(&'a self, prefixed: &'a str) -> Option<(&'a Arc<Connector>, &'a Arc<Tool>)> {
        let (connector, tool) = self.resolve(prefixed).ok()?;
        connector.tools.get(tool).map(|tool| (connector, tool))
    }
}

/// The name without the folders before it.
fn base_name(file: &SourceFile) -> &str {
    file.name.rsplit(['/', '\\']).next().unwrap_or(&file.name)
}

/// Which service a file is of, and whether it is its descriptor.
fn sort_file(file: &SourceFile) -> Result<(ServiceKey, bool), Diagnostic> {
    let name = base_name(file);
    let (stem, is_descriptor) = match (name.strip_suffix(DESCRIPTOR_END), name.strip_suffix(LOCK_END)) {
        (Some(stem), _) => (stem, true),
        (None, Some(stem)) => (stem, false),
        (None, None) => {
            let fault = Diagnostic::of_file(&file.name, "neither a descriptor nor a lock");
            return Err(
                fault.with_help("name it `<service>.toml` or `<service>.tools.json`, or move it away")
            );
        }
    };
    let service = ServiceKey::parse(stem).map_err(|error| {
        Diagnostic::of_file(&file.name, error.to_string()).with_help("rename the file after its service")
    })?;
    if service.as_str() == builtin::SERVICE {
        let fault = Diagnostic::of_file(&file.name, "`wicket` is the gate's own connector");
        return Err(fault.with_help("choose another service key"));
    }
    Ok((service, is_descriptor))
}

fn read_one(
    service: &ServiceKey,
    source: &SourceFile,
    lock: Option<&SourceFile>,
) -> Result<Connector, Vec<Diagnostic>> {
    let Some(lock_source) = lock else {
        let mut faults = descriptor::read_descriptor(source).err().unwrap_or_default();
        let message = format!("no lock `{service}{LOCK_END}` beside it");
        let help = format!("run `wicket connector sync {service}`, then `wicket connector accept {service}`");
        faults.push(Diagnostic::of_file(&source.name, message).with_help(help));
        return Err(faults);
    };
    let lock = Lock::parse(lock_source)?;
    if lock.service != *service {
        let message = format!("the lock says it is of service `{}`", lock.service);
        return Err(vec![
            Diagnostic::of_file(&lock_source.name, message).with_help("rename the file or make it anew"),
        ]);
    }
    let mut connector = descriptor::read_with_lock(source, &lock)?;
    connector.digest = Digest::of_parts([source.text.as_bytes(), lock_source.text.as_bytes()]);
    Ok(connector)
}

fn shared_namespaces(
    connectors: &BTreeMap<ServiceKey, Arc<Connector>>,
    descriptors: &BTreeMap<ServiceKey, &SourceFile>,
) -> Vec<Diagnostic> {
    let mut owners = BTreeMap::<&str, &ServiceKey>::new();
    let mut faults = Vec::new();
    for connector in connectors.values() {
        let file = descriptors.get(&connector.service).map_or("wicket (built in)", |file| &file.name);
        // Two services whose keys differ in punctuation only derive one namespace.
        if let Some(other) = owners.insert(&connector.namespace, &connector.service) {
            let message = format!("namespace `{}` is also that of `{other}`", connector.namespace);
            faults.push(Diagnostic::of_file(file, message).with_help("set `namespace` in one of them"));
        } else if RESERVED_NAMESPACES.contains(&connector.namespace.as_str()) {
            let message = format!("namespace `{}` is the gate's own", connector.namespace);
            faults.push(Diagnostic::of_file(file, message).with_help("choose another `namespace`"));
        }
    }
    faults
}

fn digest_of(files: &[SourceFile]) -> Digest {
    let mut sorted: Vec<_> = files.iter().map(|file| (base_name(file), file.text.as_ref())).collect();
    sorted.sort_unstable();
    let parts = sorted.iter().flat_map(|(name, text)| [name.as_bytes(), text.as_bytes()]);
    Digest::of_parts([builtin::TOOLS_LIST_RESULT.as_bytes()].into_iter().chain(parts))
}

#[cfg(test)]
mod tests;
