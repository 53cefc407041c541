//! Request ids: kept exactly as they were written.

use std::fmt;
use std::sync::Arc;

use crate::mcp::scan::{self, Kind, Limits, Value};

/// Bytes of an id, quotes included.
pub const ID_BYTES_MAX: usize = 256;

/// The raw JSON text of a string or an integer: what the client gets back, byte for byte. Ids are
/// equal when they were written the same.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(Arc<str>);

impl RequestId {
    /// The id that this value is; nothing for null, fractions, other kinds and longer texts.
    pub(in crate::mcp) fn of(value: &Value<'_>) -> Option<Self> {
        let raw = value.raw();
        let fits = raw.len() <= ID_BYTES_MAX && (value.kind() == Kind::String || value.is_integer());
        fits.then(|| Self(Arc::from(raw)))
    }

    /// Reads an id out of its JSON text.
    pub fn parse(raw: &str) -> Option<Self> {
        Self::of(scan::scan_text(raw, Limits::REQUEST).ok()?.root())
    }

    /// The id of a request that the gate itself makes.
    pub fn from_u64(id: u64) -> Self {
        Self(Arc::from(id.to_string()))
    }

    /// The JSON text.
    pub fn raw(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RequestId({})", self.0)
    }
}
