//! Signing in by a one-time link: asking for one, and bringing it.
//!
//! Invariants: what is asked for an address is answered alike, and as soon, whoever it is; a link is
//! brought by `POST`, so that what only fetches links uses none up; one answer to every link that does not
//! open; the page says nothing to anybody but this gate.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::response::IntoResponse as _;
use axum::routing::get;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use serde::Deserialize;
use tokio::sync::Semaphore;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use zeroize::Zeroizing;

use super::access::Open;
use super::auth::AuthBody;
use super::caller::cookie::Cookie;
use super::caller::{Caller, CallerAddress, Via, no_other_page};
use super::edge::too_many;
use super::extract::Json;
use super::problem::{Code, MEDIA_TYPE, Problem, ProblemBody, Refusals};
use super::{ApiState, Shared};
use crate::control::admin::accounts::{Browser, LINK_MS};
use crate::control::delivery::Notice;
use crate::control::reply::SignInLink;
use crate::model::{EmailAddress, Timestamp};

mod page;

/// Links that are asked for at once; more askers are refused, whoever they ask for.
const LINKS_AT_ONCE_MAX: usize = 64;
/// Each takes its place for so long, whether there was something to do or not: else a flood that asks for
/// one address would be refused sooner where that one has an account.
const LINK_TAKES: Duration = Duration::from_millis(200);
/// Characters of a link's secret that are looked at.
const SECRET_CHARACTERS_MAX: usize = 64;

/// Room for the links that are under way.
#[derive(Debug, Clone)]
pub struct Underway(Arc<Semaphore>);

impl Default for Underway {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(LINKS_AT_ONCE_MAX)))
    }
}

/// Who asks for a link.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = LinkRequest, example = json!({"email": "ann@example.com"}))]
pub(super) struct LinkAsked {
    /// The account's address, or an invited one.
    #[schema(value_type = String, format = Email, min_length = 3, max_length = 254)]
    email: EmailAddress,
}

/// What a link holds behind its `#`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = SignIn, example = json!({"secret": "mB3rX0wYc1pNnV8sZ5uKQ7hT2dLfG9jAe4iOoRxW6yE"}))]
pub(super) struct SecretBrought {
    /// Whatever opens nothing is answered alike, however long it is.
    secret: String,
}

/// Ask for a link
///
/// Whether the address may sign in is not told: the answer is the same, and comes as soon, for each. A link
/// is good for ten minutes and once; an address is sent at most 15 within an hour. How it is delivered is
/// the operator's choice (`control.delivery`).
#[utoipa::path(
    post, path = "/api/auth/link", operation_id = "askForLink", tag = "Account",
    request_body = LinkAsked,
    responses((status = 202, description = "If the address may sign in, a link is on its way"), Refusals),
    security(()),
)]
async fn ask_for_link(
    State(state): State<ApiState>,
    _open: Open,
    address: Option<Extension<CallerAddress>>,
    headers: HeaderMap,
    Json(asked): Json<LinkAsked>,
) -> Result<StatusCode, Problem> {
    allowed(&state, &headers)?;
    if let Some(Extension(address)) = address {
        state.pace.link(address.0, Timestamp::now()).map_err(too_many)?;
    }
    let Ok(place) = Arc::clone(&state.links_underway.0).try_acquire_owned() else {
        return Err(
            Problem::new(Code::Unavailable, "too many links are on their way").after(Duration::from_secs(1))
        );
    };
    // What follows takes its time for some addresses and none for others: nobody waits for it.
    let shared = Arc::clone(&state);
    tokio::spawn(async move {
        let _place = place;
        tokio::join!(deliver(&shared, &asked.email), tokio::time::sleep(LINK_TAKES));
    });
    Ok(StatusCode::ACCEPTED)
}

async fn deliver(state: &Shared, email: &EmailAddress) {
    let link = match state.admin.sign_in_link(email).await {
        Ok(Some(link)) => link,
        Ok(None) => return,
        Err(fault) => return tracing::warn!(%fault, "no sign-in link could be made"),
    };
    match state.settings.delivery.deliver(notice(&link)).await {
        Ok(()) => tracing::info!(%email, "a sign-in link was delivered"),
        Err(reason) => tracing::warn!(reason, "a sign-in link could not be delivered"),
    }
}

fn notice(link: &SignInLink) -> Notice {
    let text = Zeroizing::new(format!(
        "Open this link to sign in to Wicket. It is good once, until {}:\n\n{}\n\nWhoever has it is you: hand \
         it to nobody. If you did not ask for it, leave it be.\n",
        link.expires_at,
        link.url.expose()
    ));
    let at = link.expires_at.plus_millis(-LINK_MS);
    Notice { to: link.email.clone(), subject: "Sign in to Wicket", text, at }
}

/// Sign in
///
/// Brings what a link holds behind its `#` and gets the session's cookie (`Set-Cookie`). A link that was
/// used, is over or never was, and one of an account that is disabled, are answered alike.
#[utoipa::path(
    post, path = "/api/auth/sign-in", operation_id = "signIn", tag = "Account",
    request_body = SecretBrought,
    responses(
        (status = 200, body = AuthBody, headers(("set-cookie" = String, description = "The session's cookie"))),
        Refusals,
        (status = 401, description = "`unauthenticated`: the link signs nobody in", body = ProblemBody,
            content_type = MEDIA_TYPE),
    ),
    security(()),
)]
async fn sign_in(
    State(state): State<ApiState>,
    _open: Open,
    address: Option<Extension<CallerAddress>>,
    headers: HeaderMap,
    Json(brought): Json<SecretBrought>,
) -> Result<Response<axum::body::Body>, Problem> {
    allowed(&state, &headers)?;
    let unknown = CallerAddress(std::net::Ipv4Addr::UNSPECIFIED.into());
    let CallerAddress(ip) = address.map_or(unknown, |Extension(address)| address);
    let user_agent = headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok());
    let browser = Browser { user_agent: user_agent.unwrap_or_default().to_owned(), ip };
    let limits = state.settings.sessions;
    let secret = Zeroizing::new(brought.secret);
    let opened = match secret.len() {
        1..=SECRET_CHARACTERS_MAX => state.admin.sign_in(&secret, &browser, limits).await?,
        _ => None,
    };
    let Some(opened) = opened else {
        state.pace.wrong(ip, Timestamp::now());
        return Err(Problem::new(
            Code::Unauthenticated,
            "this link signs nobody in: it was used, is over, or never was",
        )
        .with_help("ask for another one"));
    };
    leave_former(&state, &headers).await;
    let cookie = Cookie::new(opened.secret);
    let caller = Caller {
        account: opened.account,
        via: Via::Session(opened.session.id),
        expires_at: opened
            .session
            .expires_at
            .min(opened.session.last_seen_at.plus_millis(limits.idle_ms_max)),
        word: cookie.word(),
    };
    let set = cookie.set(&state.settings.public_url, limits.ms_max / 1_000);
    let mut response = Json(AuthBody::of(caller)).into_response();
    match set {
        Some(set) => drop(response.headers_mut().append(header::SET_COOKIE, set)),
        None => return Err(Problem::new(Code::Internal, "the cookie cannot be written")),
    }
    Ok(response)
}

/// The session that the browser's new one takes the place of, if it had one, ends.
async fn leave_former(state: &Shared, headers: &HeaderMap) {
    let Ok(Some(cookie)) = Cookie::of(headers, &state.settings.public_url) else { return };
    let found = state.admin.store().web_sessions().by_digest(&cookie.digest()).await;
    let Ok(Some((session, account))) = found else { return };
    let operator = crate::control::Operator::Account { email: account.email.clone(), token: None };
    // It may have ended by itself: then there is nothing to end.
    let _ended = state.admin.end_session(operator, &account, session.id).await;
}

/// Goes on where a browser may keep a cookie of this gate, and no other page asks.
fn allowed(state: &Shared, headers: &HeaderMap) -> Result<(), Problem> {
    let at = &state.settings.public_url;
    if !at.may_sign_in() {
        return Err(Problem::new(Code::Forbidden, format!("{at} is neither https nor loopback: a cookie would be sent in the clear"))
            .with_help("the operator sets `control.public_url` to the https address that browsers use; tokens work meanwhile"));
    }
    no_other_page(headers, at)
}

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(ask_for_link)).routes(routes!(sign_in)).route("/sign-in", get(shown))
}

/// The page that a link opens.
async fn shown(_open: Open) -> Response<axum::body::Body> {
    let mut response = page::PAGE.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    if let Ok(policy) = HeaderValue::from_str(&page::content_security_policy()) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    response
}
