//! Identifiers and names, parsed once at the wall.
//!
//! Ids are UUIDv7 (decision 18); names are checked against one grammar each. No function of the
//! gate takes a bare string where one of these is meant.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A name or id that does not follow its grammar. `Display` says which rule was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameError {
    kind: &'static str,
    given: String,
    rule: &'static str,
}

impl NameError {
    pub(super) fn new(kind: &'static str, given: &str, rule: &'static str) -> Self {
        let given = given.chars().take(80).collect();
        Self { kind, given, rule }
    }
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is not a {}: {}", self.given.escape_default(), self.kind, self.rule)
    }
}

impl std::error::Error for NameError {}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            /// Wraps a UUID that was minted elsewhere (UUIDv7, decision 18).
            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// Mints a UUIDv7 at this time from ten random bytes.
            pub fn mint(now: super::Timestamp, random: [u8; 10]) -> Self {
                let millis = now.as_millis().max(0).unsigned_abs();
                Self(uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid())
            }

            /// The UUID without its prefix.
            pub const fn as_uuid(&self) -> &Uuid {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                let bare = text.strip_prefix($prefix).unwrap_or(text);
                Uuid::try_parse(bare)
                    .map(Self)
                    .map_err(|_| NameError::new($kind, text, "a UUID is expected"))
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

uuid_id!(
    /// An agent: a named identity that owns connectors, policies and members.
    AgentId, "agent id", ""
);
uuid_id!(
    /// A member: one person's membership of one agent.
    MemberId, "member id", ""
);
uuid_id!(
    /// A member key's record, never the key itself (`memberKeyId` in the audit).
    KeyId, "key id", ""
);
uuid_id!(
    /// A person who signs in to the control API.
    AccountId, "account id", ""
);
uuid_id!(
    /// An API token's record, never the token itself.
    TokenId, "token id", ""
);
uuid_id!(
    /// A signed-in browser's session, not to be confused with a tool session.
    WebSessionId, "session id", ""
);
uuid_id!(
    /// An invitation of one e-mail address to one agent.
    InviteId, "invite id", ""
);
uuid_id!(
    /// A stored policy, shown as `p_…` (specification 4.1).
    PolicyId, "policy id", "p_"
);
uuid_id!(
    /// A tool session, shown as `ts_…` (specification 6).
    SessionId, "session id", "ts_"
);
uuid_id!(
    /// One downstream request: the request id of logs, of the audit and of `x-request-id` upstream.
    CallId, "request id", ""
);

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $max:literal, $rule:literal, $valid:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks the text against the grammar of this name.
            ///
            /// # Errors
            /// [`NameError`] names the rule that was broken.
            pub fn parse(text: &str) -> Result<Self, NameError> {
                let valid: fn(&str) -> bool = $valid;
                if text.is_empty() || text.len() > $max || !valid(text) {
                    return Err(NameError::new($kind, text, $rule));
                }
                Ok(Self(Arc::from(text)))
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::parse(text)
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                Self::parse(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}

name!(
    /// A connector's key: the `service` of `service__tool` (decision 1).
    ServiceKey, "service key", 32,
    "1 to 32 of a-z, 0-9 and single `-` or `_`, starting with a letter, never `__`",
    |text| {
        text.starts_with(|c: char| c.is_ascii_lowercase())
            && !text.ends_with('_')
            && !text.contains("__")
            && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_'))
    }
);
name!(
    /// A tool's own name, without prefix (MCP 2025-11-25, tools: 1 to 128 characters).
    ToolName, "tool name", 128,
    "1 to 128 of A-Z, a-z, 0-9, `_`, `.`, `-` and `/`",
    |text| {
        text.bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-' | b'/'))
    }
);
name!(
    /// A policy's stable key: its `@id`, the name by which the audit and the counters know it.
    PolicyKey, "policy key", 100,
    "1 to 100 of a-z, A-Z, 0-9, `-`, `_` and `.`",
    |text| {
        text.bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
    }
);
name!(
    /// A group of members of one agent, named in policies as `Wicket::Group::"<name>"`.
    GroupName, "group name", 64,
    "1 to 64 of a-z, 0-9, `-` and `_`",
    |text| {
        text.bytes()
            .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_'))
    }
);

/// Which conversation a call belongs to: a digest of the identifier that the client sent, under
/// the member and the name of the header that carried it (decision 10). It authenticates nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConversationId([u8; 16]);

impl ConversationId {
    /// Wraps the first 16 bytes of the digest.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The digest's bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn service_keys_follow_their_grammar() {
        for good in ["github", "a", "my-crm", "g2_x"] {
            assert!(ServiceKey::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "GitHub", "a__b", "1a", "a_", "a b", "é", &"x".repeat(33)] {
            assert!(ServiceKey::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_id_reads_back_with_and_without_its_prefix() {
        let id = SessionId::mint(crate::model::Timestamp::from_millis(1_700_000_000_000), [7; 10]);
        assert!(id.to_string().starts_with("ts_"));
        assert_eq!(id.to_string().parse::<SessionId>(), Ok(id));
        assert_eq!(id.as_uuid().to_string().parse::<SessionId>(), Ok(id));
        assert_eq!(id.as_uuid().get_version_num(), 7);
        assert!("ts_nope".parse::<SessionId>().is_err());
    }

    #[test]
    fn a_name_error_shows_the_rule_and_not_the_whole_input() {
        let error = ToolName::parse(&"é".repeat(500)).unwrap_err().to_string();
        assert!(error.contains("tool name"), "{error}");
        assert!(error.len() < 900, "{}", error.len());
    }
}
