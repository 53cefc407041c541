//! How a call to an upstream fails, in the words that the operator and the audit need.
//!
//! Invariants: [`UpstreamFailure::Unreachable`], [`UpstreamFailure::Busy`],
//! [`UpstreamFailure::TooManyWatched`] and [`UpstreamFailure::Unpermitted`] mean that certainly no byte of the call left; every other
//! failure means that the upstream may have run it. No text holds a credential or raw bytes of an
//! upstream's answer.

use std::borrow::Cow;
use std::fmt;

use crate::model::OutcomeKind;

/// Why a call has no (whole) answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UpstreamFailure {
    /// The permit, the receipt and the call do not belong together: a fault of the gate itself.
    /// Nothing was sent.
    Unpermitted,
    /// The upstream could not be reached, or is known to be down. Nothing was sent.
    Unreachable(Cow<'static, str>),
    /// The upstream has as many calls in flight as its connector allows. Nothing was sent.
    Busy {
        /// The limit that was met (`in_flight_max`, sessions, or `catalogue_waiters_max`).
        limit: u32,
    },
    /// As many resources of the upstream are subscribed to as may be, by all or by this member. Nothing was
    /// sent.
    TooManyWatched { limit: usize },
    /// The upstream was silent for this long; it may have run the call.
    Silent {
        /// Milliseconds, the connector's `silence_ms_max`.
        after_ms: u32,
    },
    /// The call outlived its whole life; it may have been run.
    Expired {
        /// Milliseconds, the connector's `call_ms_max`.
        after_ms: u32,
    },
    /// The upstream broke off, or answered what is no MCP reply; it may have run the call.
    Broken {
        /// The upstream's HTTP status; 0 where there was none.
        status: u16,
        why: Cow<'static, str>,
    },
    /// The answer is larger than the connector allows; the call was run.
    TooLarge {
        /// Bytes, `reply_bytes_max` or `event_bytes_max`.
        bytes_max: u32,
    },
    /// The caller cancelled, or went away; the upstream was told.
    Cancelled,
}

impl UpstreamFailure {
    /// An [`UpstreamFailure::Unreachable`] with its reason.
    pub(super) fn unreachable(why: impl Into<Cow<'static, str>>) -> Self {
        Self::Unreachable(why.into())
    }

    /// An [`UpstreamFailure::Broken`] without an HTTP status.
    pub(super) fn broken(why: impl Into<Cow<'static, str>>) -> Self {
        Self::Broken { status: 0, why: why.into() }
    }

    /// The same failure of something that was not the call itself (a handshake): since the call
    /// never left, it reads as unreachable. Silence stays silence, so that a caller sees 504.
    #[must_use]
    pub(super) fn before_the_call(self) -> Self {
        match self {
            Self::Broken { status: 0, why } => Self::Unreachable(why),
            Self::Broken { status, why } => {
                Self::unreachable(format!("HTTP {status} to the handshake: {why}"))
            }
            Self::TooLarge { .. } => Self::unreachable("the answer to the handshake is too large"),
            other => other,
        }
    }

    /// Whether a dial failed or the upstream was silent: what the circuit breaker counts.
    pub(super) fn is_sickness(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::Silent { .. })
    }

    /// The kind for the completion entry.
    pub fn outcome_kind(&self) -> OutcomeKind {
        match self {
            Self::Unpermitted | Self::Unreachable(_) | Self::Busy { .. } | Self::TooManyWatched { .. } => {
                OutcomeKind::Unreachable
            }
            Self::Silent { .. } | Self::Expired { .. } => OutcomeKind::Timeout,
            Self::Broken { .. } | Self::TooLarge { .. } => OutcomeKind::Broken,
            Self::Cancelled => OutcomeKind::Cancelled,
        }
    }

    /// The upstream's HTTP status for the completion entry; 0 where there was none.
    pub fn status(&self) -> u16 {
        match self {
            Self::Broken { status, .. } => *status,
            _ => 0,
        }
    }

    /// A short constant word.
    #[cfg(test)]
    pub fn label(&self) -> &'static str {
        match self {
            Self::Unpermitted => "unpermitted",
            Self::Unreachable(_) => "unreachable",
            Self::Busy { .. } => "busy",
            Self::TooManyWatched { .. } => "too_many_watched",
            Self::Silent { .. } => "silent",
            Self::Expired { .. } => "expired",
            Self::Broken { .. } => "broken",
            Self::TooLarge { .. } => "too_large",
            Self::Cancelled => "cancelled",
        }
    }
}

impl fmt::Display for UpstreamFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unpermitted => f.write_str("the permit, the record and the call do not belong together"),
            Self::Unreachable(why) => write!(f, "could not be reached: {why}"),
            Self::Busy { limit } => {
                write!(
                    f,
                    "has {limit} calls in flight or waiting for its tools, its limit (raise `in_flight_max` if it can take more)"
                )
            }
            Self::TooManyWatched { limit } => {
                write!(f, "has {limit} of its resources subscribed to already, for one member or for all")
            }
            Self::Silent { after_ms } => write!(f, "sent nothing for {after_ms} ms"),
            Self::Expired { after_ms } => write!(f, "did not finish within {after_ms} ms"),
            Self::Broken { status: 0, why } => write!(f, "broke off: {why}"),
            Self::Broken { status, why } => write!(f, "answered with HTTP {status}: {why}"),
            Self::TooLarge { bytes_max } => write!(f, "answered with more than {bytes_max} bytes"),
            Self::Cancelled => f.write_str("was told that the call is cancelled"),
        }
    }
}

impl std::error::Error for UpstreamFailure {}
