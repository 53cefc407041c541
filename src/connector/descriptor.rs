//! Descriptors: `config/connectors/<service>.toml`, read strictly.

use super::Connector;
use super::lock::Lock;
use crate::model::{Diagnostic, SourceFile};

/// Namespaces that no connector may take.
pub(super) const RESERVED_NAMESPACES: [&str; 1] = ["Wicket"];

/// Reads a descriptor alone, without a lock: enough to reach the server and ask for its tools
/// (`wicket connector sync`). The connector has no tools and must not be served.
///
/// # Errors
/// Every fault, with file, line, column and what to do.
pub fn read_descriptor(source: &SourceFile) -> Result<Connector, Vec<Diagnostic>> {
    Err(vec![Diagnostic::of_file(&source.name, "being built")])
}

/// Reads a descriptor together with its lock.
pub(super) fn read_with_lock(source: &SourceFile, _lock: &Lock) -> Result<Connector, Vec<Diagnostic>> {
    read_descriptor(source)
}
