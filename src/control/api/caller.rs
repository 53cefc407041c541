//! Who asks: an account, by a session's cookie or by an API token.
//!
//! Invariants: a request names one credential or none, never two; an unknown, expired, revoked or
//! disabled one is refused with one and the same answer; a session's unsafe request must come from the
//! gate's own page (`Origin`) and carry the session's own word (`x-csrf-token`); the credential itself
//! goes no further than this file.

use std::net::IpAddr;
use std::sync::Arc;

use http::request::Parts;
use http::{HeaderMap, header};
use sha2::Digest as _;

use super::problem::{Code, Problem};
use super::{ApiState, Shared};
use crate::control::Operator;
use crate::model::{Account, AccountStatus, Scope, Timestamp, TokenId, WebSessionId};

/// What an API token begins with, so that it is known for what it is where it leaks.
pub const TOKEN_PREFIX: &str = "wkt_";

/// By what the account was known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Via {
    /// A browser that is signed in: may do what its account may.
    Session(WebSessionId),
    /// A token: of that, what its scopes name.
    Token { id: TokenId, scopes: Vec<Scope> },
}

/// The account that asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    pub account: Account,
    pub via: Via,
}

/// Where the request came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallerAddress(pub IpAddr);

impl Caller {
    /// Whether the credential opens this scope.
    pub fn holds(&self, scope: Scope) -> bool {
        match &self.via {
            Via::Session(_) => true,
            Via::Token { scopes, .. } => scopes.contains(&scope),
        }
    }

    /// The account as the journal names who made a change.
    pub fn operator(&self) -> Operator {
        let via = match &self.via {
            Via::Session(_) => None,
            Via::Token { id, .. } => Some(*id),
        };
        Operator::Account { email: self.account.email.clone(), token: via }
    }
}

/// SHA-256 of a token or cookie of 32 random bytes: nobody guesses what it is the digest of.
pub fn digest(secret: &str) -> [u8; 32] {
    sha2::Sha256::digest(secret.as_bytes()).into()
}

/// The one answer to every credential that does not open.
pub(super) fn unauthenticated() -> Problem {
    Problem::new(Code::Unauthenticated, "this takes an account: nobody is signed in by this request")
        .with_help("send `Authorization: Bearer <api token>` with a token that is neither revoked nor expired, or sign in")
}

/// Who asks, by what the request carries.
///
/// # Errors
/// [`Problem`]: nothing opens, or a session's request comes from elsewhere.
pub(super) async fn of_request(state: &ApiState, parts: &Parts) -> Result<Caller, Problem> {
    let bearer = bearer(&parts.headers)?;
    match bearer {
        Some(token) => by_token(state, token).await,
        None => Err(unauthenticated()),
    }
}

fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let mut given = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = given.next() else { return Ok(None) };
    let text = value.to_str().map_err(|_| unauthenticated())?;
    let (scheme, token) = text.split_once(' ').ok_or_else(unauthenticated)?;
    if given.next().is_some() || !scheme.eq_ignore_ascii_case("bearer") {
        return Err(unauthenticated());
    }
    Ok(Some(token.trim()))
}

async fn by_token(state: &Shared, token: &str) -> Result<Caller, Problem> {
    if !token.starts_with(TOKEN_PREFIX) {
        return Err(unauthenticated());
    }
    // Looked up by its digest: how long that takes tells nothing of a secret of 256 bits.
    let found = state.admin.store().tokens().by_digest(&digest(token)).await?;
    let now = Timestamp::now();
    let open = |row: &crate::store::TokenRow, account: &Account| {
        row.revoked_at.is_none() && row.expires_at > now && account.status == AccountStatus::Active
    };
    match found {
        Some((row, account)) if open(&row, &account) => {
            Ok(Caller { account, via: Via::Token { id: row.id, scopes: row.scopes } })
        }
        _ => Err(unauthenticated()),
    }
}

/// What [`of_request`] found, kept for the extractors of one request.
#[derive(Clone)]
pub(super) struct Asked(pub Arc<Result<Caller, Problem>>);
