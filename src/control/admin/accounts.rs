//! Accounts, as the operator makes them on the machine itself: made, shown, shut out, let in, given agents.
//!
//! Invariant: from the answer on, an account that was shut out signs in with nothing that it had.

mod sign_in;
mod tokens;

use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::{Admin, Changing, random, shown};
use crate::control::reply::{AccountView, TokenView};
use crate::control::{AdminFault, AdminReply, AdminRequest, FaultKind, Operator};
use crate::model::{
    Account, AccountId, AccountStatus, EmailAddress, Member, MemberId, MemberStatus, Role, Timestamp,
};
use crate::store::StoreError;

pub use sign_in::{Browser, LINK_MS, LINKS_HOURLY_MAX, Opened, SessionLimits};
pub use tokens::{TOKEN_DAYS_MAX, TOKEN_NAME_CHARACTERS_MAX};

/// Tokens that the command line lists of an account, newest first.
const TOKENS_LISTED_MAX: u64 = 500;

impl Admin {
    pub(super) async fn on_accounts(
        &self,
        operator: Operator,
        request: AdminRequest,
    ) -> Result<AdminReply, AdminFault> {
        use AdminRequest as R;
        match request {
            R::AccountCreate { email } => {
                self.create_account(operator, &email).await.map(AdminReply::Account)
            }
            R::AccountList {} => Ok(AdminReply::Accounts(self.store.accounts().list().await?)),
            R::AccountShow { email } => self.show_account(&email).await,
            R::AccountStatus { email, status } => self.set_account_status(operator, &email, status).await,
            R::AccountLink { email } => self.operators_link(operator, &email).await,
            R::AccountAdopt { agent, email, replace } => {
                self.adopt_agent(operator, &agent, &email, replace).await
            }
            R::TokenCreate { email, name, scopes, days } => {
                let account = self.account_of(&email).await?;
                let minted = self.create_token(operator, &account, &name, scopes, days).await?;
                Ok(AdminReply::TokenMinted(Box::new(minted)))
            }
            R::TokenList { email } => {
                let account = self.account_of(&email).await?;
                let (tokens, _) = self.store.tokens().list(account.id, TOKENS_LISTED_MAX, 0).await?;
                Ok(AdminReply::Tokens(tokens.iter().map(TokenView::of).collect()))
            }
            R::TokenRevoke { token } => self.revoke_token(operator, token, None).await.map(AdminReply::Token),
            _ => Err(AdminFault::invalid("this request is not about accounts")),
        }
    }

    /// Makes the account of this address.
    ///
    /// # Errors
    /// `Conflict` where it has one.
    pub async fn create_account(
        &self,
        operator: Operator,
        email: &EmailAddress,
    ) -> Result<Account, AdminFault> {
        let Changing { recorder, _one_at_a_time } = self.change(operator, "account.create").await;
        let now = Timestamp::now();
        let account = Account {
            id: AccountId::mint(now, random()?),
            email: email.clone(),
            status: AccountStatus::Active,
            created_at: now,
        };
        let act = Box::pin(async { Ok(self.store.accounts().create(&account).await?) });
        recorder.made(email.as_str(), Value::Null, json!(account), act).await?;
        Ok(account)
    }

    async fn account_of(&self, email: &EmailAddress) -> Result<Account, AdminFault> {
        match self.store.accounts().get_by_email(email).await {
            Err(StoreError::NotFound { .. }) => {
                Err(AdminFault::not_found(format!("no account of `{}`", shown(email.as_str())))
                    .with_help("`wicket account list` shows them; `wicket account create` makes one"))
            }
            found => Ok(found?),
        }
    }

    async fn show_account(&self, email: &EmailAddress) -> Result<AdminReply, AdminFault> {
        let account = self.account_of(email).await?;
        let now = Timestamp::now();
        let ever = Timestamp::from_millis(0);
        let sessions = self.store.web_sessions().live(account.id, now, ever).await?.len();
        let tokens = self.store.tokens().open(account.id, now).await?;
        let tokens = tokens.iter().map(TokenView::of).collect();
        let agents = self.store.accounts().owned(account.id).await?;
        Ok(AdminReply::AccountShown(Box::new(AccountView { account, agents, sessions, tokens })))
    }

    async fn set_account_status(
        &self,
        operator: Operator,
        email: &EmailAddress,
        status: AccountStatus,
    ) -> Result<AdminReply, AdminFault> {
        let Changing { recorder, _one_at_a_time } = self.change(operator, "account.status").await;
        let before = self.account_of(email).await?;
        let (rows, now) = (self.store.accounts(), Timestamp::now());
        let act = Box::pin(async {
            match status {
                AccountStatus::Active => rows.enable(before.id).await?,
                AccountStatus::Disabled => rows.disable(before.id, now).await.map(drop)?,
            }
            Ok(())
        });
        recorder.made(email.as_str(), json!(before.status), json!(status), act).await?;
        Ok(AdminReply::Account(Account { status, ..before }))
    }

    async fn adopt_agent(
        &self,
        operator: Operator,
        agent: &str,
        email: &EmailAddress,
        replace: bool,
    ) -> Result<AdminReply, AdminFault> {
        let Changing { recorder, _one_at_a_time } = self.change(operator, "agent.adopt").await;
        let account = self.account_of(email).await?;
        let agent = self.find_agent(agent).await?;
        let before = match agent.owner {
            Some(owner) => Some(self.store.accounts().get(owner).await?.email),
            None => None,
        };
        if let Some(owner) = before.as_ref().filter(|owner| **owner != account.email && !replace) {
            return Err(AdminFault::new(
                FaultKind::Conflict,
                format!("agent `{}` is owned by {owner}", shown(&agent.name)),
            )
            .with_help("say it again with --replace to make it another's; whoever owned it stays a member"));
        }
        let now = Timestamp::now();
        let fresh = Member {
            id: MemberId::mint(now, random()?),
            agent_id: agent.id,
            name: account.email.as_str().to_owned(),
            role: Role::Owner,
            status: MemberStatus::Approved,
            groups: Default::default(),
            account: Some(account.id),
            created_at: now,
        };
        let act = Box::pin(async { Ok(self.store.accounts().adopt(agent.id, &account, &fresh).await?) });
        recorder.about(agent.id).made(&agent.name, json!(before), json!(account.email), act).await?;
        let agent = self.store.agents().get(agent.id).await?;
        Ok(AdminReply::Agent(Box::new(self.agent_view(&agent).await?)))
    }
}

/// 32 random bytes behind a prefix, in base64url.
fn secret(prefix: &str) -> Result<Zeroizing<String>, AdminFault> {
    use base64::Engine as _;
    let bytes = Zeroizing::new(random::<32>()?);
    let text = Zeroizing::new(base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(*bytes));
    Ok(Zeroizing::new(format!("{prefix}{}", text.as_str())))
}
