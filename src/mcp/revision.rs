//! Revisions of MCP: which the gate speaks, and what it answers to others.
//!
//! The session era begins with `initialize`, which settles one revision for the session. The
//! stateless era (2026-07-28) names its revision in each message.

use std::fmt;

/// Which of the two ways to speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Era {
    /// `initialize` first; up to 2025-11-25.
    Session,
    /// Each message for itself; from 2026-07-28 on.
    Stateless,
}

/// A revision that the gate offers, oldest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Revision {
    R2025_03_26,
    R2025_06_18,
    R2025_11_25,
    /// The first of the stateless era.
    R2026_07_28,
}

impl Revision {
    /// Every offered revision, oldest first.
    pub const OFFERED: [Self; 4] =
        [Self::R2025_03_26, Self::R2025_06_18, Self::R2025_11_25, Self::R2026_07_28];

    /// What the gate asks an upstream of the stateless era for.
    pub const NEWEST: Self = Self::R2026_07_28;

    /// What a client gets that asks for a revision unknown to the gate.
    pub const NEWEST_OF_SESSION_ERA: Self = Self::R2025_11_25;

    /// What holds where a client sends no version header (2025-11-25, transports).
    pub const ASSUMED: Self = Self::R2025_03_26;

    /// The date that names it on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::R2025_03_26 => "2025-03-26",
            Self::R2025_06_18 => "2025-06-18",
            Self::R2025_11_25 => "2025-11-25",
            Self::R2026_07_28 => "2026-07-28",
        }
    }

    /// The offered revision of that name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::OFFERED.into_iter().find(|revision| revision.as_str() == text)
    }

    /// The era that it belongs to.
    pub const fn era(self) -> Era {
        match self {
            Self::R2025_03_26 | Self::R2025_06_18 | Self::R2025_11_25 => Era::Session,
            Self::R2026_07_28 => Era::Stateless,
        }
    }

    /// The dates of every offered revision of an era, for `data.supported`.
    pub fn names_of(era: Era) -> Vec<&'static str> {
        Self::OFFERED.into_iter().filter(|revision| revision.era() == era).map(Self::as_str).collect()
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What `initialize` answers to the asked revision: the same where it is offered, else the newest of
/// the session era (2025-11-25, lifecycle).
pub fn negotiate(asked: &str) -> Revision {
    let of_session_era = |revision: &Revision| revision.era() == Era::Session;
    Revision::parse(asked).filter(of_session_era).unwrap_or(Revision::NEWEST_OF_SESSION_ERA)
}

/// Reads the `MCP-Protocol-Version` header of a message after `initialize`; none means 2025-03-26.
///
/// # Errors
/// The text of a version that is not offered: 400, as `Refusal::UnsupportedVersion`.
pub fn of_header(header: Option<&str>) -> Result<Revision, String> {
    match header {
        None => Ok(Revision::ASSUMED),
        Some(text) => Revision::parse(text).ok_or_else(|| text.chars().take(40).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_revision_is_kept_and_another_becomes_the_newest_of_the_session_era() {
        for (asked, expected) in [
            ("2025-03-26", Revision::R2025_03_26),
            ("2025-06-18", Revision::R2025_06_18),
            ("2025-11-25", Revision::R2025_11_25),
            ("2024-11-05", Revision::R2025_11_25),
            ("2026-07-28", Revision::R2025_11_25),
            ("", Revision::R2025_11_25),
        ] {
            assert_eq!(negotiate(asked), expected, "{asked}");
            assert_eq!(negotiate(asked).era(), Era::Session);
        }
    }

    #[test]
    fn a_missing_header_means_the_oldest_and_an_unknown_one_is_refused() {
        assert_eq!(of_header(None), Ok(Revision::R2025_03_26));
        assert_eq!(of_header(Some("2025-06-18")), Ok(Revision::R2025_06_18));
        assert_eq!(of_header(Some("2026-07-28")), Ok(Revision::R2026_07_28));
        assert_eq!(of_header(Some("2026-12-15")), Err("2026-12-15".to_owned()));
        assert_eq!(of_header(Some(" 2025-06-18")), Err(" 2025-06-18".to_owned()));
        assert_eq!(of_header(Some(&"9".repeat(1_000))).unwrap_err().len(), 40);
    }
}
