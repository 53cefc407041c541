//! The gate's environment, as far as connectors may name it: read once at start by `app::config`,
//! given here, never asked of the process again.

use std::collections::BTreeMap;
use std::fmt;

use zeroize::Zeroizing;

/// Variables that every child process gets, since without them hardly any program starts.
pub(super) const CHILD_MINIMUM: [&str; 6] = ["PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR"];

/// Names and values; `Debug` shows names only.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<String, Zeroizing<String>>);

impl Environment {
    /// Out of pairs, such as `std::env::vars()`.
    pub fn new(pairs: impl IntoIterator<Item = (String, String)>) -> Self {
        Self(pairs.into_iter().map(|(name, value)| (name, Zeroizing::new(value))).collect())
    }

    /// The value of this variable.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|value| value.as_str())
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}
