//! API tokens: minted and shown once, revoked.
//!
//! Invariant: a token leaves this file in one reply only; the store and the journal see its record.

use serde_json::{Value, json};

use super::super::{Admin, Changing, checked_name, random};
use super::secret;
use crate::control::api::caller::{TOKEN_PREFIX, digest};
use crate::control::reply::{MintedToken, ShownOnce, TokenView};
use crate::control::{AdminFault, Operator};
use crate::model::{Account, AccountId, Scope, Timestamp, TokenId};
use crate::store::TokenRow;

/// Characters of a token's name.
pub const TOKEN_NAME_CHARACTERS_MAX: usize = 100;
/// Days that a token may be good for.
pub const TOKEN_DAYS_MAX: u32 = 366;
/// Tokens of an account that open at once.
const TOKENS_AT_ONCE_MAX: u64 = 100;
/// Characters of a token that are shown again.
const SUFFIX_CHARACTERS: usize = 4;
const DAY_MS: i64 = 86_400_000;

impl Admin {
    /// Mints a token for this account, good for so many days.
    ///
    /// # Errors
    /// What is wrong with name, scopes or days; `Conflict` where the account is disabled or has too many.
    pub async fn create_token(
        &self,
        operator: Operator,
        account: &Account,
        name: &str,
        mut scopes: Vec<Scope>,
        days: u32,
    ) -> Result<MintedToken, AdminFault> {
        checked_name("a token", name, TOKEN_NAME_CHARACTERS_MAX)?;
        scopes.sort_unstable();
        scopes.dedup();
        if scopes.is_empty() {
            return Err(
                AdminFault::invalid("a token without a scope opens nothing").with_help("name one at least")
            );
        }
        if days == 0 || days > TOKEN_DAYS_MAX {
            return Err(AdminFault::invalid(format!("{days} days are not between 1 and {TOKEN_DAYS_MAX}")));
        }
        let Changing { recorder, _one_at_a_time } = self.change(operator, "token.create").await;
        let now = Timestamp::now();
        let token = secret(TOKEN_PREFIX)?;
        let row = TokenRow {
            id: TokenId::mint(now, random()?),
            account: account.id,
            name: name.to_owned(),
            scopes,
            digest: digest(&token),
            display_suffix: suffix(&token),
            created_at: now,
            expires_at: now.plus_millis(i64::from(days).saturating_mul(DAY_MS)),
            last_used_at: None,
            revoked_at: None,
        };
        let record = TokenView::of(&row);
        let act = Box::pin(async { Ok(self.store.tokens().create(&row, TOKENS_AT_ONCE_MAX).await?) });
        recorder.made(account.email.as_str(), Value::Null, json!(record), act).await?;
        Ok(MintedToken { token: ShownOnce::new(token.to_string()), record })
    }

    /// Revokes a token; of this account, where one is named. One that was revoked keeps its first time.
    ///
    /// # Errors
    /// `NotFound` where there is none, or it is another account's.
    pub async fn revoke_token(
        &self,
        operator: Operator,
        id: TokenId,
        of: Option<AccountId>,
    ) -> Result<TokenView, AdminFault> {
        let Changing { recorder, _one_at_a_time } = self.change(operator, "token.revoke").await;
        let unknown =
            || AdminFault::not_found(format!("no token `{id}`")).with_help("list the tokens to find its id");
        let row = self.store.tokens().get(id).await.map_err(|error| match error {
            crate::store::StoreError::NotFound { .. } => unknown(),
            error => error.into(),
        })?;
        if of.is_some_and(|account| account != row.account) {
            return Err(unknown());
        }
        let account = self.store.accounts().get(row.account).await?;
        let now = Timestamp::now();
        let before = TokenView::of(&row);
        let after = TokenView { revoked_at: row.revoked_at.or(Some(now)), ..before.clone() };
        let act = Box::pin(async { Ok(self.store.tokens().revoke(id, now).await?) });
        recorder.made(account.email.as_str(), json!(before), json!(after), act).await?;
        Ok(after)
    }
}

fn suffix(token: &str) -> String {
    let from = token.chars().count().saturating_sub(SUFFIX_CHARACTERS);
    token.chars().skip(from).collect()
}
