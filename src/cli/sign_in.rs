//! Commands about accounts and API tokens: asked, and shown as tables.

use super::accounts::{answer, show};
use super::arguments::sign_in::{AccountCommand, TokenCommand};
use super::ending::{Fault, Page};
use super::output::{Style, Table, ago, one_line};
use super::settings::Settings;
use crate::control::reply::{AccountView, TokenView};
use crate::control::{AdminReply, AdminRequest};
use crate::model::{Account, AccountStatus, Timestamp};

/// `wicket account …`
pub async fn account(settings: &Settings, command: AccountCommand) -> Result<Page, Fault> {
    use AccountCommand as C;
    let request = match command {
        C::Create { email } => AdminRequest::AccountCreate { email },
        C::List => AdminRequest::AccountList {},
        C::Show { email } => AdminRequest::AccountShow { email },
        C::Disable { email } => AdminRequest::AccountStatus { email, status: AccountStatus::Disabled },
        C::Enable { email } => AdminRequest::AccountStatus { email, status: AccountStatus::Active },
        C::SignInLink { email } => AdminRequest::AccountLink { email },
        C::Adopt { agent, email, replace } => {
            return answer(settings, AdminRequest::AccountAdopt { agent, email, replace }, show::agents)
                .await;
        }
    };
    answer(settings, request, accounts).await
}

/// `wicket token …`
pub async fn token(settings: &Settings, command: TokenCommand) -> Result<Page, Fault> {
    use TokenCommand as C;
    let request = match command {
        C::Create { email, name, scopes, days } => AdminRequest::TokenCreate { email, name, scopes, days },
        C::List { email } => AdminRequest::TokenList { email },
        C::Revoke { token } => AdminRequest::TokenRevoke { token },
    };
    answer(settings, request, tokens).await
}

fn accounts(reply: &AdminReply, style: Style) -> Option<String> {
    match reply {
        AdminReply::Account(account) => Some(format!("account {}\n", line(account))),
        AdminReply::Accounts(accounts) if accounts.is_empty() => {
            Some("no accounts yet; make one: wicket account create EMAIL\n".to_owned())
        }
        AdminReply::Accounts(accounts) => {
            let mut table = Table::new(&["EMAIL", "STATUS", "CREATED", "ID"]);
            for account in accounts {
                table.row([
                    account.email.to_string(),
                    status(account.status).to_owned(),
                    account.created_at.to_string(),
                    account.id.to_string(),
                ]);
            }
            Some(table.render(0, style))
        }
        AdminReply::AccountShown(view) => Some(account_page(view, style)),
        AdminReply::SignInLink(link) => Some(format!(
            "{} for {}, shown this once; it signs its reader in once, until {}:\n\n    {}\n",
            style.strong("Sign-in link"),
            link.email,
            link.expires_at,
            style.good(link.url.expose())
        )),
        _ => None,
    }
}

fn line(account: &Account) -> String {
    let next = match account.status {
        AccountStatus::Active => format!("signs in with: wicket account sign-in-link {}", account.email),
        AccountStatus::Disabled => "its sessions and tokens are ended".to_owned(),
    };
    format!("{} is {}; {next}\n  id {}", account.email, status(account.status), account.id)
}

const fn status(status: AccountStatus) -> &'static str {
    match status {
        AccountStatus::Active => "active",
        AccountStatus::Disabled => "disabled",
    }
}

fn account_page(view: &AccountView, style: Style) -> String {
    let account = &view.account;
    let state = match account.status {
        AccountStatus::Active => style.good("active"),
        AccountStatus::Disabled => style.bad("disabled: it cannot sign in"),
    };
    let agents: Vec<String> = view.agents.iter().map(|name| one_line(name)).collect();
    let agents = if agents.is_empty() { "none".to_owned() } else { agents.join(", ") };
    let mut text = format!("{}  {state}\n", style.strong(account.email.as_str()));
    for (label, value) in [
        ("id", account.id.to_string()),
        ("owns", agents),
        ("browsers", format!("{} signed in", view.sessions)),
        ("created", account.created_at.to_string()),
    ] {
        text.push_str(&format!("  {label:<11} {value}\n"));
    }
    if !view.tokens.is_empty() {
        text.push('\n');
        text.push_str(&token_table(&view.tokens).render(2, style));
    }
    text
}

fn tokens(reply: &AdminReply, style: Style) -> Option<String> {
    match reply {
        AdminReply::TokenMinted(minted) => Some(format!(
            "{} `{}`, shown this once; good until {}:\n\n    {}\n\n{}\n",
            style.strong("API token"),
            one_line(&minted.record.name),
            minted.record.expires_at,
            style.good(minted.token.expose()),
            style.faint(
                "Send it as `Authorization: Bearer …`. Keep it like a password: the gate keeps a digest only."
            )
        )),
        AdminReply::Token(token) => {
            Some(format!("token {} is revoked: its next request answers 401\n", token.id))
        }
        AdminReply::Tokens(tokens) if tokens.is_empty() => Some(
            "no tokens yet; make one: wicket token create EMAIL --name … --scope … --days …\n".to_owned(),
        ),
        AdminReply::Tokens(tokens) => Some(token_table(tokens).render(0, style)),
        _ => None,
    }
}

fn token_table(tokens: &[TokenView]) -> Table {
    let now = Timestamp::now();
    let mut table = Table::new(&["NAME", "TOKEN", "STATE", "SCOPES", "EXPIRES", "LAST USED", "ID"]);
    for token in tokens {
        let state = match (token.revoked_at, token.expires_at > now) {
            (Some(_), _) => "revoked",
            (None, false) => "over",
            (None, true) => "works",
        };
        let scopes: Vec<&str> = token.scopes.iter().map(|scope| scope.as_str()).collect();
        table.row([
            token.name.clone(),
            format!("…{}", token.display_suffix),
            state.to_owned(),
            scopes.join(" "),
            token.expires_at.to_string(),
            token.last_used_at.map_or_else(|| "never".to_owned(), |at| ago(at, Some(now))),
            token.id.to_string(),
        ]);
    }
    table
}
