//! Accounts: the people who sign in to the control API (specification 1.1), and what a token of theirs may do.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{AccountId, NameError, Timestamp};

/// Bytes of an e-mail address (RFC 5321, 4.5.3.1.3, without the angle brackets).
pub const EMAIL_BYTES_MAX: usize = 254;

/// An e-mail address as accounts are known by: in lower case, so that one mailbox is one account.
///
/// RFC 5321 lets a mail server tell `A@example.com` from `a@example.com`; none in use does, and two
/// accounts that differ in case alone would be one person's way around an invite.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EmailAddress(Arc<str>);

impl EmailAddress {
    /// Checks an address (RFC 5321 without comments, quotes, display names and address literals) and
    /// folds its case.
    ///
    /// # Errors
    /// [`NameError`] names the rule that was broken.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        const RULE: &str = "an address like `name@example.com` is expected, of at most 254 bytes";
        let refused = || NameError::new("e-mail address", text, RULE);
        let options = email_address::Options::default()
            .without_display_text()
            .without_domain_literal()
            .with_required_tld();
        let plain = text.is_ascii() && !text.contains(['"', '(', ')', ' ', ':', ';', '<', '>', ',']);
        if text.len() > EMAIL_BYTES_MAX || !plain {
            return Err(refused());
        }
        email_address::EmailAddress::parse_with_options(text, options).map_err(|_| refused())?;
        Ok(Self(Arc::from(text.to_ascii_lowercase())))
    }

    /// The address, in lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EmailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for EmailAddress {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::parse(text)
    }
}

impl Serialize for EmailAddress {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for EmailAddress {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

/// Whether an account may do anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum AccountStatus {
    /// Signs in and uses tokens.
    Active,
    /// Every sign-in, session and token is refused; its member keys are the agents' owners' matter.
    Disabled,
}

/// A person who signs in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Account {
    pub id: AccountId,
    /// Unique.
    pub email: EmailAddress,
    pub status: AccountStatus,
    pub created_at: Timestamp,
}

macro_rules! scopes {
    ($(#[doc = $doc:literal] $name:ident = $text:literal),* $(,)?) => {
        /// What an API token may be used for, beneath what its account may do anyway.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Scope {
            $(#[doc = $doc] $name),*
        }

        impl Scope {
            /// Every scope, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The written form.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text),*
                }
            }

            /// What it opens, for people.
            pub const fn about(self) -> &'static str {
                match self {
                    $(Self::$name => $doc),*
                }
            }
        }
    };
}

scopes! {
    #[doc = "Agents, their connectors and onboarding, the catalogue and connectors' metadata: read."]
    AgentsRead = "agents:read",
    #[doc = "Agents: create, change, switch off and on, delete; enable connectors."]
    AgentsWrite = "agents:write",
    #[doc = "Members, invites and groups: read."]
    MembersRead = "members:read",
    #[doc = "Members, invites and groups: invite, join, approve, reject, remove, group."]
    MembersWrite = "members:write",
    #[doc = "The account's own member keys: generate, rotate, revoke, reset."]
    KeysWrite = "keys:write",
    #[doc = "Tool sessions and their activity: read."]
    SessionsRead = "sessions:read",
    #[doc = "Tool sessions: reset."]
    SessionsWrite = "sessions:write",
    #[doc = "The audit, its export and live feed, administrative changes, statistics: read."]
    AuditRead = "audit:read",
    #[doc = "Policies: read, preview, simulate."]
    PoliciesRead = "policies:read",
    #[doc = "Policies: create, change, toggle, delete."]
    PoliciesWrite = "policies:write",
    #[doc = "Upstream credentials and connections: metadata."]
    CredentialsRead = "credentials:read",
    #[doc = "Upstream credentials and connections: set and remove."]
    CredentialsWrite = "credentials:write",
    #[doc = "The account itself and its state: read."]
    AccountRead = "account:read",
}

impl utoipa::PartialSchema for Scope {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        let words = Self::ALL.iter().map(|scope| scope.as_str());
        let text = utoipa::openapi::schema::Type::String;
        utoipa::openapi::ObjectBuilder::new()
            .schema_type(text)
            .enum_values(Some(words))
            .description(Some("What a token opens, of what its account may do anyway."))
            .build()
            .into()
    }
}

impl utoipa::ToSchema for Scope {}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Scope {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let found = Self::ALL.iter().copied().find(|scope| scope.as_str() == text);
        found.ok_or_else(|| NameError::new("scope", text, "`GET /api/tokens/scopes` lists them"))
    }
}

impl Serialize for Scope {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Scope {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_mailbox_is_one_address() {
        assert_eq!(EmailAddress::parse("Ann@Example.COM").unwrap().as_str(), "ann@example.com");
        for bad in [
            "",
            "ann",
            "@example.com",
            "ann@",
            "Ann <ann@example.com>",
            "ann@[127.0.0.1]",
            "a b@c.de",
            "ann@example.com\r\nBcc: b@c.de",
            "\u{e4}nn@example.com",
            "ann@localhost",
        ] {
            assert!(EmailAddress::parse(bad).is_err(), "{bad}");
        }
        assert!(EmailAddress::parse(&format!("{}@example.com", "a".repeat(250))).is_err());
    }

    #[test]
    fn scopes_read_back() {
        for scope in Scope::ALL {
            assert_eq!(scope.as_str().parse::<Scope>().unwrap(), *scope);
        }
        assert!("agents".parse::<Scope>().is_err());
    }
}
