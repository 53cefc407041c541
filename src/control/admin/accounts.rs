//! Accounts and their API tokens, as the operator makes them on the machine itself and as accounts make
//! their own.
//!
//! Invariant: a token leaves this file in one reply only; the store and the journal see its record.

use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::{Admin, Changing, checked_name, random};
use crate::control::api::caller::{TOKEN_PREFIX, digest};
use crate::control::reply::{MintedToken, ShownOnce, TokenView};
use crate::control::{AdminFault, Operator};
use crate::model::{Account, AccountId, AccountStatus, EmailAddress, Scope, Timestamp, TokenId};
use crate::store::TokenRow;

/// Characters of a token's name.
const TOKEN_NAME_CHARACTERS_MAX: usize = 100;
/// Days that a token may be good for.
pub const TOKEN_DAYS_MAX: u32 = 366;
/// Characters of a token that are shown again.
const SUFFIX_CHARACTERS: usize = 4;
const DAY_MS: i64 = 86_400_000;

impl Admin {
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

    /// Mints a token for this account, good for so many days.
    ///
    /// # Errors
    /// What is wrong with name, scopes or days.
    pub async fn create_token(
        &self,
        operator: Operator,
        account: &Account,
        name: &str,
        scopes: Vec<Scope>,
        days: u32,
    ) -> Result<MintedToken, AdminFault> {
        checked_name("a token", name, TOKEN_NAME_CHARACTERS_MAX)?;
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
        let act = Box::pin(async { Ok(self.store.tokens().create(&row).await?) });
        recorder.made(account.email.as_str(), Value::Null, json!(record), act).await?;
        Ok(MintedToken { token: ShownOnce::new(token.to_string()), record })
    }
}

/// 32 random bytes behind a prefix, in base64url.
pub(super) fn secret(prefix: &str) -> Result<Zeroizing<String>, AdminFault> {
    use base64::Engine as _;
    let bytes = Zeroizing::new(random::<32>()?);
    let text = Zeroizing::new(base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(*bytes));
    Ok(Zeroizing::new(format!("{prefix}{}", text.as_str())))
}

fn suffix(token: &str) -> String {
    let from = token.chars().count().saturating_sub(SUFFIX_CHARACTERS);
    token.chars().skip(from).collect()
}
