//! Signing in by a one-time link, and the browsers that are signed in.
//!
//! Invariants: a link's and a session's secret leave this file in one reply each; a link is used once, by
//! whoever brings it first, and never tells why it does not open; a session is opened for an account that
//! is let in, and for an invited address whose account is made by this.

use std::net::IpAddr;

use serde_json::{Value, json};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::super::{Admin, Changing, random};
use super::secret;
use crate::control::api::caller::digest;
use crate::control::reply::{ShownOnce, SignInLink};
use crate::control::{AdminFault, AdminReply, FaultKind, Operator};
use crate::model::{Account, EmailAddress, Timestamp, WebSessionId};
use crate::store::{MaySignIn, SignInLinkRow, WebSessionRow};

/// A link is good for so long, in milliseconds (specification 12).
pub const LINK_MS: i64 = 600_000;
/// Links that an address may be sent within an hour (specification 12).
pub const LINKS_HOURLY_MAX: u64 = 15;
/// Browsers of one account that are signed in at once; one more ends the one seen longest ago.
const SESSIONS_AT_ONCE_MAX: u64 = 20;
/// Characters kept of what a browser calls itself.
const USER_AGENT_CHARACTERS_MAX: usize = 200;

/// How long a browser stays signed in, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionLimits {
    /// Without a request.
    pub idle_ms_max: i64,
    /// Whatever it does.
    pub ms_max: i64,
}

/// The browser that signs in.
#[derive(Debug, Clone)]
pub struct Browser {
    /// What it calls itself; for its owner to know it again.
    pub user_agent: String,
    pub ip: IpAddr,
}

/// A session that was just opened: the only time that its secret is seen.
pub struct Opened {
    pub account: Account,
    pub session: WebSessionRow,
    pub secret: Zeroizing<String>,
}

impl Admin {
    /// Makes a link for this address, where somebody of it may sign in and it had not too many already.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn sign_in_link(&self, email: &EmailAddress) -> Result<Option<SignInLink>, AdminFault> {
        let (link, row) = self.fresh_link(email)?;
        if self.store.sign_in_links().may(email, row.created_at).await? == MaySignIn::No {
            return Ok(None);
        }
        let made = self.store.sign_in_links().create(&row, LINKS_HOURLY_MAX).await?;
        Ok(made.then_some(link))
    }

    /// The same by the operator's word, for the operator to hand on.
    pub(super) async fn operators_link(
        &self,
        operator: Operator,
        email: &EmailAddress,
    ) -> Result<AdminReply, AdminFault> {
        let Changing { recorder, _one_at_a_time } = self.change(operator, "account.link").await;
        let (link, row) = self.fresh_link(email)?;
        match self.store.sign_in_links().may(email, row.created_at).await? {
            MaySignIn::Account | MaySignIn::Invited => {}
            MaySignIn::No => {
                let message = match self.store.accounts().get_by_email(email).await {
                    Ok(_) => format!("the account of `{email}` is disabled"),
                    Err(_) => format!("`{email}` has neither an account nor an invite"),
                };
                return Err(AdminFault::new(FaultKind::Conflict, message).with_help(
                    "`wicket account create EMAIL` makes an account, `enable` lets one in again",
                ));
            }
        }
        let after = json!({ "expiresAt": row.expires_at });
        let act = Box::pin(async {
            self.store.sign_in_links().create(&row, u64::MAX).await?;
            Ok(())
        });
        recorder.made(email.as_str(), Value::Null, after, act).await?;
        Ok(AdminReply::SignInLink(link))
    }

    fn fresh_link(&self, email: &EmailAddress) -> Result<(SignInLink, SignInLinkRow), AdminFault> {
        let (now, secret) = (Timestamp::now(), secret("")?);
        let row = SignInLinkRow {
            id: Uuid::from_bytes(random()?),
            email: email.clone(),
            digest: digest(&secret),
            created_at: now,
            expires_at: now.plus_millis(LINK_MS),
        };
        // Behind the `#`: a browser keeps it from servers, and so from their logs.
        let url = ShownOnce::new(format!("{}/sign-in#{}", self.places.public_url, secret.as_str()));
        Ok((SignInLink { email: email.clone(), url, expires_at: row.expires_at }, row))
    }

    /// Opens a session for whoever brings a link's secret; nothing, whatever the reason, where it opens
    /// none.
    ///
    /// # Errors
    /// Where the store or the journal fails.
    pub async fn sign_in(
        &self,
        link: &str,
        browser: &Browser,
        limits: SessionLimits,
    ) -> Result<Option<Opened>, AdminFault> {
        let (link, now) = (digest(link), Timestamp::now());
        let Some(email) = self.store.sign_in_links().look(&link, now).await? else { return Ok(None) };
        let Some(account) = self.account_signing_in(&email, now).await? else { return Ok(None) };
        let secret = secret("")?;
        let session = WebSessionRow {
            id: WebSessionId::mint(now, random()?),
            account: account.id,
            digest: digest(&secret),
            user_agent: legible(&browser.user_agent),
            caller_ip: browser.ip,
            created_at: now,
            last_seen_at: now,
            expires_at: now.plus_millis(limits.ms_max),
            ended_at: None,
        };
        let operator = Operator::Account { email: email.clone(), token: None };
        let Changing { recorder, _one_at_a_time } = self.change(operator, "account.sign_in").await;
        let act = Box::pin(async {
            if !self.store.sign_in_links().take(&link, now).await? {
                return Err(AdminFault::new(FaultKind::Conflict, "the link was used meanwhile"));
            }
            Ok(self.store.web_sessions().open(&session, SESSIONS_AT_ONCE_MAX).await?)
        });
        match recorder.made(email.as_str(), Value::Null, session_entry(&session), act).await {
            Ok(()) => Ok(Some(Opened { account, session, secret })),
            Err(fault) if fault.kind == FaultKind::Conflict => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    async fn account_signing_in(
        &self,
        email: &EmailAddress,
        now: Timestamp,
    ) -> Result<Option<Account>, AdminFault> {
        match self.store.sign_in_links().may(email, now).await? {
            MaySignIn::No => Ok(None),
            MaySignIn::Account => Ok(Some(self.store.accounts().get_by_email(email).await?)),
            MaySignIn::Invited => {
                let operator = Operator::Account { email: email.clone(), token: None };
                match self.create_account(operator, email).await {
                    Ok(account) => Ok(Some(account)),
                    // Two links of one invited address at once: the other one made it.
                    Err(fault) if fault.kind == FaultKind::Conflict => {
                        Ok(Some(self.store.accounts().get_by_email(email).await?))
                    }
                    Err(fault) => Err(fault),
                }
            }
        }
    }

    /// Ends the account's session.
    ///
    /// # Errors
    /// `NotFound` where the account has no such session.
    pub async fn end_session(
        &self,
        operator: Operator,
        account: &Account,
        id: WebSessionId,
    ) -> Result<(), AdminFault> {
        let Changing { recorder, _one_at_a_time } = self.change(operator, "account.sign_out").await;
        let now = Timestamp::now();
        let ever = Timestamp::from_millis(0);
        let live = self.store.web_sessions().live(account.id, now, ever).await?;
        let unknown = || AdminFault::not_found(format!("no session `{id}`"));
        let session = live.iter().find(|session| session.id == id).ok_or_else(unknown)?;
        let act = Box::pin(async { Ok(self.store.web_sessions().end(account.id, id, now).await?) });
        recorder.made(account.email.as_str(), session_entry(session), Value::Null, act).await
    }

    /// Ends all the account's sessions but this one: how many.
    ///
    /// # Errors
    /// Where the store or the journal fails.
    pub async fn end_other_sessions(
        &self,
        operator: Operator,
        account: &Account,
        kept: WebSessionId,
    ) -> Result<u64, AdminFault> {
        let Changing { recorder, _one_at_a_time } = self.change(operator, "account.sign_out_others").await;
        let now = Timestamp::now();
        let act = Box::pin(async {
            let ended = self.store.web_sessions().end_others(account.id, kept, now).await?;
            Ok((ended, json!({ "ended": ended })))
        });
        recorder.made_by(account.email.as_str(), json!({ "kept": kept }), act).await
    }
}

fn session_entry(session: &WebSessionRow) -> Value {
    json!({
        "session": session.id,
        "callerIp": session.caller_ip,
        "userAgent": session.user_agent,
        "expiresAt": session.expires_at,
    })
}

/// A browser's own words, cut and without what would disturb a terminal.
fn legible(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(USER_AGENT_CHARACTERS_MAX).collect()
}
