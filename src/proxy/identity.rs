//! Who presents a key: `Authorization: Bearer <member key>` -> [`Caller`] (specification 3.1, 3.2).
//!
//! Invariants: a presented key of the right form is digested and compared in constant time, with a dummy
//! where none is known, so that unknown and revoked keys are one case; the key itself goes no
//! further than this file.

use std::net::IpAddr;
use std::sync::Arc;

use http::HeaderMap;
use http::header::AUTHORIZATION;

use crate::keys::{KeyTag, MemberKey, Pepper};
use crate::model::{AgentStatus, Caller, MemberStatus, RateLimit, ServiceKey};

use super::snapshot::{Directory, KeyEntry};

/// Why nobody is behind a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stranger {
    /// No `Authorization: Bearer`, or more than one.
    NoKey,
    /// A key that opens nothing here.
    UnknownKey,
    /// The agent is disabled.
    AgentDisabled { agent: String },
    /// The membership is pending or rejected.
    NotApproved { status: MemberStatus },
}

/// A caller and the rate limit of its key.
#[derive(Debug)]
pub struct Identified {
    pub caller: Caller,
    pub rate: RateLimit,
}

/// Finds who presents the key.
///
/// # Errors
/// [`Stranger`] says what is missing. Whether the agent is active and the membership approved is
/// checked by [`standing`], after the bucket was charged.
pub fn identify(
    headers: &HeaderMap,
    directory: &Directory,
    pepper: &Pepper,
    ip: IpAddr,
) -> Result<Identified, Stranger> {
    let token = bearer(headers).ok_or(Stranger::NoKey)?;
    let key = MemberKey::parse(token).map_err(|_| Stranger::UnknownKey)?;
    let entry = verified(&key.tag(pepper), directory).ok_or(Stranger::UnknownKey)?;
    let caller = Caller {
        agent: Arc::clone(&entry.agent),
        member: Arc::clone(&entry.member),
        key: entry.id,
        ip,
        session: None,
    };
    Ok(Identified { caller, rate: entry.rate })
}

/// Whether the caller's agent is active and its membership approved.
///
/// # Errors
/// [`Stranger::AgentDisabled`] and [`Stranger::NotApproved`].
pub fn standing(caller: &Caller) -> Result<(), Stranger> {
    match (caller.agent.status, caller.member.status) {
        (AgentStatus::Active, MemberStatus::Approved) => Ok(()),
        (AgentStatus::Disabled, _) => Err(Stranger::AgentDisabled { agent: caller.agent.name.clone() }),
        (AgentStatus::Active, status) => Err(Stranger::NotApproved { status }),
    }
}

/// What a caller has lost since it was identified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lost {
    /// Its key is revoked, its agent disabled, or its membership taken back.
    Right(Stranger),
    /// The service was taken from its agent.
    Service,
}

/// Whether a caller that was identified earlier may still be here: its key is not revoked, its agent
/// active, the service enabled, its membership approved.
///
/// # Errors
/// What it lost of these.
pub fn still_stands(caller: &Caller, service: &ServiceKey, directory: &Directory) -> Result<(), Lost> {
    let entry = directory.key_of(&caller.key).ok_or(Lost::Right(Stranger::UnknownKey))?;
    let now = Caller { agent: Arc::clone(&entry.agent), member: Arc::clone(&entry.member), ..caller.clone() };
    standing(&now).map_err(Lost::Right)?;
    if now.agent.services.contains(service) { Ok(()) } else { Err(Lost::Service) }
}

/// The token of the one `Authorization` header, its scheme compared without case (RFC 7235).
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next()?.to_str().ok()?;
    if values.next().is_some() {
        return None;
    }
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim_matches(' '))
}

fn verified<'d>(tag: &KeyTag, directory: &'d Directory) -> Option<&'d KeyEntry> {
    let entry = directory.key(&tag.index());
    let dummy = KeyTag::from_bytes([0; 32]);
    let matches = tag.matches(entry.map_or(&dummy, |entry| &entry.tag));
    entry.filter(|_| matches)
}
