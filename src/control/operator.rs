//! Who asks for an administrative change, as the journal names them.
//!
//! The admin socket is 0600 inside a 0700 directory, so whoever speaks on it is the gate's own account
//! or root; the number says which of the two, it authenticates nothing.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The header that carries the operator over the admin socket.
pub const OPERATOR_HEADER: &str = "wicket-operator";

/// A local operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operator {
    /// Unix user id of the process that asked.
    pub uid: u32,
}

impl Operator {
    /// The account that this process runs under.
    pub fn this_process() -> Self {
        Self { uid: rustix::process::getuid().as_raw() }
    }

    /// Reads the written form, `uid:1000`.
    pub fn parse(text: &str) -> Option<Self> {
        text.strip_prefix("uid:")?.parse().ok().map(|uid| Self { uid })
    }
}

impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "uid:{}", self.uid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operator_reads_back() {
        let operator = Operator { uid: 1000 };
        assert_eq!(Operator::parse(&operator.to_string()), Some(operator));
        for bad in ["", "1000", "uid:", "uid:-1", "uid:root"] {
            assert_eq!(Operator::parse(bad), None, "{bad}");
        }
    }
}
