//! How dangerous a tool is, and how it is named on the wire.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A tool's tier (specification 4.10). What is not tiered by a person counts as destructive.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    Read,
    Write,
    Destructive,
}

impl Tier {
    /// All tiers, mildest first.
    pub const ALL: [Self; 3] = [Self::Read, Self::Write, Self::Destructive];

    /// The name in files, in Cedar (`Wicket::Action::"read"`) and on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Destructive => "destructive",
        }
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Tier {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|tier| tier.as_str() == text)
            .ok_or_else(|| format!("`{}` is not a tier: read, write or destructive", text.escape_default()))
    }
}

/// Between a service and its tool's own name; no service key contains it.
pub const SEPARATOR: &str = "__";

/// The service and the tool's own name of `service__tool`, at the first separator; `None` without one, or
/// with nothing on one side of it.
pub fn split_prefixed(name: &str) -> Option<(&str, &str)> {
    name.split_once(SEPARATOR).filter(|(service, tool)| !service.is_empty() && !tool.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_split_at_the_first_separator() {
        for (name, expected) in [
            ("github__get_file", Some(("github", "get_file"))),
            ("slack__slack_send", Some(("slack", "slack_send"))),
            ("a__b__c", Some(("a", "b__c"))),
            ("a___b", Some(("a", "_b"))),
            ("github_get", None),
            ("__get", None),
            ("github__", None),
            ("__", None),
            ("", None),
        ] {
            assert_eq!(split_prefixed(name), expected, "{name}");
        }
    }
}
