//! Who asks for an administrative change, as the journal names them.
//!
//! Locally: the admin socket is 0600 inside a 0700 directory, so whoever speaks on it is the gate's own
//! account or root; the number says which of the two, it authenticates nothing. Over the REST API: an
//! account, which that API has authenticated.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::model::{EmailAddress, TokenId};

/// The header that carries the operator over the admin socket.
pub const OPERATOR_HEADER: &str = "wicket-operator";

/// Who makes a change. Its written form is `uid:1000`, `account:ann@example.com` or
/// `account:ann@example.com via:0192…`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operator {
    /// Unix user id of the process that asked on the machine itself.
    Local { uid: u32 },
    /// An account, by a signed-in browser or by this token.
    Account { email: EmailAddress, token: Option<TokenId> },
}

impl Operator {
    /// The account that this process runs under.
    pub fn this_process() -> Self {
        Self::Local { uid: rustix::process::getuid().as_raw() }
    }

    /// Reads the written form of a local operator, which is all that the admin socket takes.
    pub fn parse_local(text: &str) -> Option<Self> {
        text.strip_prefix("uid:")?.parse().ok().map(|uid| Self::Local { uid })
    }

    /// Reads the written form.
    pub fn parse(text: &str) -> Option<Self> {
        let Some(account) = text.strip_prefix("account:") else { return Self::parse_local(text) };
        let (email, token) = match account.split_once(" via:") {
            Some((email, token)) => (email, Some(token.parse().ok()?)),
            None => (account, None),
        };
        Some(Self::Account { email: email.parse().ok()?, token })
    }
}

impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local { uid } => write!(f, "uid:{uid}"),
            Self::Account { email, token: None } => write!(f, "account:{email}"),
            Self::Account { email, token: Some(token) } => write!(f, "account:{email} via:{token}"),
        }
    }
}

impl Serialize for Operator {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Operator {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("this is no operator"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operator_reads_back() {
        let email = EmailAddress::parse("ann@example.com").unwrap();
        let token = "0190b5a0-0000-7000-8000-000000000001".parse().unwrap();
        for operator in [
            Operator::Local { uid: 1000 },
            Operator::Account { email: email.clone(), token: None },
            Operator::Account { email, token: Some(token) },
        ] {
            assert_eq!(Operator::parse(&operator.to_string()), Some(operator));
        }
        for bad in
            ["", "1000", "uid:", "uid:-1", "uid:root", "account:", "account:ann", "account:a@b.de via:x"]
        {
            assert_eq!(Operator::parse(bad), None, "{bad}");
        }
        assert_eq!(Operator::parse_local("account:ann@example.com"), None);
    }
}
