//! Who asks: an account, by a session's cookie or by an API token.
//!
//! Invariants: a request names one credential or none, never two; an unknown, expired, revoked or
//! disabled one is refused with one and the same answer; a session's unsafe request must come from the
//! gate's own page (`Origin`) and carry the session's own word (`x-csrf-token`); the credential itself
//! goes no further than this file.

pub mod cookie;

use std::net::IpAddr;
use std::sync::Arc;

use http::request::Parts;
use http::{HeaderMap, HeaderName, Method, header};
use sha2::Digest as _;

use self::cookie::{Cookie, Word};
use super::problem::{Code, Problem};
use super::public_url::PublicUrl;
use super::{ApiState, Shared};
use crate::control::Operator;
use crate::model::{Account, AccountStatus, Scope, Timestamp, TokenId, WebSessionId};
use crate::store::{StoreError, TokenRow, WebSessionRow};

/// What an API token begins with, so that it is known for what it is where it leaks.
pub const TOKEN_PREFIX: &str = "wkt_";
/// Where a session's page says its word.
pub const WORD_HEADER: HeaderName = HeaderName::from_static("x-csrf-token");
/// What browsers say of where a request comes from.
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

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
    /// When the credential is over at the latest.
    pub expires_at: Timestamp,
    /// What the session's page says with unsafe requests; tokens need none.
    pub word: Option<Word>,
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
    let at = &state.settings.public_url;
    let bearer = bearer(&parts.headers)?;
    let cookie = Cookie::of(&parts.headers, at).map_err(|_| unauthenticated())?;
    match (bearer, cookie) {
        // Which of the two was meant decides what may be done: nobody is guessed at.
        (Some(_), Some(_)) => Err(Problem::invalid("this request carries a token and a session's cookie")
            .with_help("send one of the two")),
        (Some(token), None) => by_token(state, token).await,
        (None, Some(cookie)) => by_cookie(state, parts, &cookie).await,
        (None, None) => Err(unauthenticated()),
    }
}

/// Whether the request carries anything that claims to be a credential.
pub(super) fn claims(state: &Shared, headers: &HeaderMap) -> bool {
    let cookie = Cookie::of(headers, &state.settings.public_url);
    headers.contains_key(header::AUTHORIZATION) || !matches!(cookie, Ok(None))
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
    let open = |row: &TokenRow, account: &Account| {
        row.revoked_at.is_none() && row.expires_at > now && account.status == AccountStatus::Active
    };
    match found {
        Some((row, account)) if open(&row, &account) => {
            state.uses.token(row.id, row.last_used_at, now);
            let (expires_at, via) = (row.expires_at, Via::Token { id: row.id, scopes: row.scopes });
            Ok(Caller { account, via, expires_at, word: None })
        }
        _ => Err(unauthenticated()),
    }
}

async fn by_cookie(state: &Shared, parts: &Parts, cookie: &Cookie) -> Result<Caller, Problem> {
    let found = state.admin.store().web_sessions().by_digest(&cookie.digest()).await?;
    let (now, idle_ms_max) = (Timestamp::now(), state.settings.sessions.idle_ms_max);
    let open = |row: &WebSessionRow, account: &Account| {
        row.is_live(now, idle_ms_max) && account.status == AccountStatus::Active
    };
    let (row, account) = found.filter(|(row, account)| open(row, account)).ok_or_else(unauthenticated)?;
    let word = cookie.word().ok_or_else(unauthenticated)?;
    if !is_safe(&parts.method) {
        from_own_page(&parts.headers, &state.settings.public_url)?;
        let said = one(&parts.headers, &WORD_HEADER).unwrap_or_default();
        if !word.is(said) {
            return Err(cross_site("`x-csrf-token` is not the session's word").with_help(
                "send the `csrfToken` that `GET /api/auth/status` gives in this session as `x-csrf-token`",
            ));
        }
    }
    state.uses.session(row.id, row.last_seen_at, idle_ms_max, now);
    let idle_until = row.last_seen_at.plus_millis(idle_ms_max);
    let expires_at = row.expires_at.min(idle_until);
    Ok(Caller { account, via: Via::Session(row.id), expires_at, word: Some(word) })
}

impl Shared {
    /// Whether what the caller was known by still opens: for answers that go on, which are looked at anew
    /// now and then.
    ///
    /// # Errors
    /// [`StoreError`]: nobody can tell now.
    pub async fn still_opens(&self, caller: &Caller) -> Result<bool, StoreError> {
        let (store, now) = (self.admin.store(), Timestamp::now());
        if store.accounts().get(caller.account.id).await?.status != AccountStatus::Active {
            return Ok(false);
        }
        match &caller.via {
            // An answer that goes on is itself a use: idle is the absence of one.
            Via::Session(id) => {
                let row = store.web_sessions().get(*id).await?;
                Ok(row.is_live(now, i64::MAX / 2))
            }
            Via::Token { id, .. } => {
                let row = store.tokens().get(*id).await?;
                Ok(row.revoked_at.is_none() && row.expires_at > now)
            }
        }
    }
}

fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// Goes on only where a browser says that its own page of the gate sends this.
///
/// # Errors
/// 403 `cross_site`.
fn from_own_page(headers: &HeaderMap, at: &PublicUrl) -> Result<(), Problem> {
    let said = match headers.contains_key(header::ORIGIN) {
        true => one(headers, &header::ORIGIN),
        false => one(headers, &header::REFERER),
    };
    if !said.is_some_and(|said| at.is_origin_of(said)) {
        return Err(cross_site("the session's request does not come from the gate's own page").with_help(
            format!("use the gate at {at}; `control.public_url` must be what the browser shows"),
        ));
    }
    no_other_page(headers, at)
}

/// Goes on where the request comes from the gate's own page, or from no browser.
///
/// # Errors
/// 403 `cross_site`.
pub(super) fn no_other_page(headers: &HeaderMap, at: &PublicUrl) -> Result<(), Problem> {
    let foreign = |name: &HeaderName, own: &dyn Fn(&str) -> bool| {
        headers.contains_key(name) && !one(headers, name).is_some_and(own)
    };
    if foreign(&header::ORIGIN, &|said| at.is_origin_of(said))
        || foreign(&FETCH_SITE, &|said| said == "same-origin")
    {
        return Err(cross_site("the request comes from another page than the gate's own").with_help(
            format!("use the gate at {at}; `control.public_url` must be what the browser shows"),
        ));
    }
    Ok(())
}

fn cross_site(detail: &str) -> Problem {
    Problem::new(Code::CrossSite, detail)
}

/// The value of a header that stands there once.
fn one<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut given = headers.get_all(name).iter();
    let value = given.next()?.to_str().ok()?;
    given.next().is_none().then_some(value)
}

/// What [`of_request`] found, kept for the extractors of one request.
#[derive(Clone)]
pub(super) struct Asked(pub Arc<Result<Caller, Problem>>);

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use zeroize::Zeroizing;

    use super::*;
    use crate::control::admin::accounts::{Browser, SessionLimits};
    use crate::control::api::pace::Rates;
    use crate::control::api::{ApiSettings, Shared};
    use crate::control::delivery::Delivery;
    use crate::control::health::HostRule;
    use crate::control::{AdminReply, AdminRequest};
    use crate::model::{EmailAddress, RateLimit};

    const OPERATOR: Operator = Operator::Local { uid: 1 };
    const OWN: (&str, &str) = ("origin", "https://wicket.example.com");
    /// Headers, and whether they let a session's request and anybody's pass.
    type Row = (&'static [(&'static str, &'static str)], bool, bool);

    const SESSIONS: SessionLimits = SessionLimits { idle_ms_max: 60_000, ms_max: 60_000 };

    fn shared(admin: &Arc<crate::control::admin::Admin>) -> Shared {
        let rate = RateLimit::default();
        Shared::new(
            Arc::clone(admin),
            ApiSettings {
                public_url: PublicUrl::parse("http://127.0.0.1:7401").unwrap(),
                host_rule: HostRule::Loopback,
                sessions: SESSIONS,
                rates: Rates { account: rate, address: rate },
                delivery: Delivery::Stdout,
            },
        )
    }

    #[tokio::test]
    async fn a_token_opens_until_it_is_over() {
        let bench = crate::control::admin::tests::bench().await;
        let shared = shared(&bench.admin);
        let email = EmailAddress::parse("ann@example.com").unwrap();
        let account = bench.admin.create_account(OPERATOR, &email).await.unwrap();
        let tokens = bench.admin.store().tokens();
        for (left_ms, opens) in [(60_000_i64, true), (0, false), (-60_000, false)] {
            let secret = format!("{TOKEN_PREFIX}{left_ms}");
            let now = Timestamp::now();
            let id = TokenId::mint(now, [left_ms.to_le_bytes()[0]; 10]);
            let row = TokenRow {
                id,
                account: account.id,
                name: secret.clone(),
                scopes: vec![Scope::AuditRead],
                digest: digest(&secret),
                display_suffix: "…".to_owned(),
                created_at: now,
                expires_at: now.plus_millis(left_ms),
                last_used_at: None,
                revoked_at: None,
            };
            tokens.create(&row, 10).await.unwrap();
            let known = by_token(&shared, &secret).await;
            assert_eq!(known.is_ok(), opens, "{left_ms} ms before its end");
            let caller = Caller {
                account: account.clone(),
                via: Via::Token { id, scopes: row.scopes },
                expires_at: row.expires_at,
                word: None,
            };
            assert_eq!(shared.still_opens(&caller).await.unwrap(), opens, "{left_ms} ms before its end");
        }
    }

    #[tokio::test]
    async fn what_goes_on_ends_with_what_opened_it() {
        let bench = crate::control::admin::tests::bench().await;
        let admin = Arc::clone(&bench.admin);
        let (shared, sessions) = (shared(&admin), SESSIONS);
        let email = EmailAddress::parse("ann@example.com").unwrap();
        let account = admin.create_account(OPERATOR, &email).await.unwrap();
        let browser = Browser { user_agent: "b".into(), ip: "127.0.0.1".parse().unwrap() };
        let mut signed = Vec::new();
        for _ in 0..2 {
            let link = admin.perform(OPERATOR, AdminRequest::AccountLink { email: email.clone() }).await;
            let AdminReply::SignInLink(link) = link.unwrap() else { panic!() };
            let secret = Zeroizing::new(link.url.expose().split_once('#').unwrap().1.to_owned());
            signed.push(admin.sign_in(&secret, &browser, sessions).await.unwrap().unwrap());
        }
        let minted = admin.create_token(OPERATOR, &account, "t", vec![Scope::AuditRead], 1).await.unwrap();
        let caller = |via| Caller { account: account.clone(), via, expires_at: Timestamp::now(), word: None };
        let first = caller(Via::Session(signed[0].session.id));
        let second = caller(Via::Session(signed[1].session.id));
        let token = caller(Via::Token { id: minted.record.id, scopes: vec![Scope::AuditRead] });
        let open = async |callers: [&Caller; 3]| {
            let mut open = Vec::new();
            for caller in callers {
                open.push(shared.still_opens(caller).await.unwrap());
            }
            open
        };
        assert_eq!(open([&first, &second, &token]).await, [true; 3]);
        admin.end_session(OPERATOR, &account, signed[0].session.id).await.unwrap();
        assert_eq!(open([&first, &second, &token]).await, [false, true, true]);
        let shut = AdminRequest::AccountStatus { email: email.clone(), status: AccountStatus::Disabled };
        admin.perform(OPERATOR, shut).await.unwrap();
        assert_eq!(open([&first, &second, &token]).await, [false; 3]);
        let again = AdminRequest::AccountStatus { email, status: AccountStatus::Active };
        admin.perform(OPERATOR, again).await.unwrap();
        assert_eq!(open([&first, &second, &token]).await, [false; 3], "for good");
    }

    #[test]
    fn a_sessions_unsafe_request_comes_from_the_gates_own_page() {
        let at = PublicUrl::parse("https://wicket.example.com").unwrap();
        const TABLE: &[Row] = &[
            (&[OWN], true, true),
            (&[OWN, ("sec-fetch-site", "same-origin")], true, true),
            (&[("referer", "https://wicket.example.com/agents/1")], true, true),
            (&[], false, true),
            (&[("origin", "null")], false, false),
            (&[("origin", "https://evil.com")], false, false),
            (&[("origin", "http://wicket.example.com")], false, false),
            (&[("origin", "https://evil.com"), ("referer", "https://wicket.example.com/")], false, false),
            (&[("referer", "https://evil.com/?https://wicket.example.com")], false, true),
            (&[OWN, OWN], false, false),
            (&[OWN, ("sec-fetch-site", "cross-site")], false, false),
            (&[OWN, ("sec-fetch-site", "same-site")], false, false),
            (&[OWN, ("sec-fetch-site", "none")], false, false),
        ];
        for (given, of_a_session, of_anybody) in TABLE {
            let mut headers = HeaderMap::new();
            for (name, value) in *given {
                headers.append(
                    http::HeaderName::from_bytes(name.as_bytes()).unwrap(),
                    HeaderValue::from_str(value).unwrap(),
                );
            }
            assert_eq!(from_own_page(&headers, &at).is_ok(), *of_a_session, "{given:?}");
            assert_eq!(no_other_page(&headers, &at).is_ok(), *of_anybody, "{given:?}");
        }
    }
}
