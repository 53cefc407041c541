//! Accounts, their tokens, sessions and sign-in links; invites; who owns an agent and is a member.
//!
//! Secrets stand here as digests alone: whoever reads the database cannot sign in with what it holds.

use sea_orm::sea_query::{ColumnDef, TableCreateStatement};

use crate::store::migration::Step;
use crate::store::migration::columns::{
    added, belongs, blob, index, made, nullable, number, table, text, unique,
};

pub(in crate::store::migration) fn steps() -> Vec<Step> {
    let mut steps = accounts();
    steps.extend(sign_in());
    steps.extend(invites());
    steps.extend(ownership());
    steps
}

fn id() -> ColumnDef {
    text("id").primary_key().take()
}

fn owned(
    mut table: TableCreateStatement,
    column: &'static str,
    name: &'static str,
    to: &'static str,
) -> Step {
    made(table.foreign_key(&mut belongs(name, column, to)).to_owned())
}

fn accounts() -> Vec<Step> {
    let account = table("account", vec![id(), text("email"), text("status"), number("created_at")]);
    let token = table(
        "api_token",
        vec![
            id(),
            text("account_id"),
            text("name"),
            // JSON list.
            text("scopes"),
            blob("digest"),
            text("display_suffix"),
            number("created_at"),
            number("expires_at"),
            nullable(number("last_used_at")),
            nullable(number("revoked_at")),
        ],
    );
    vec![
        made(account),
        unique("account", "account_by_email", &["email"]),
        owned(token, "account_id", "api_token", "account"),
        unique("api_token", "api_token_by_digest", &["digest"]),
        index("api_token", "api_token_by_account", &["account_id"]),
    ]
}

fn sign_in() -> Vec<Step> {
    let session = table(
        "web_session",
        vec![
            id(),
            text("account_id"),
            blob("digest"),
            text("user_agent"),
            text("caller_ip"),
            number("created_at"),
            number("last_seen_at"),
            number("expires_at"),
            nullable(number("ended_at")),
        ],
    );
    let link = table(
        "sign_in_link",
        vec![
            id(),
            text("email"),
            blob("digest"),
            number("created_at"),
            number("expires_at"),
            nullable(number("used_at")),
        ],
    );
    vec![
        owned(session, "account_id", "web_session", "account"),
        unique("web_session", "web_session_by_digest", &["digest"]),
        index("web_session", "web_session_by_account", &["account_id"]),
        index("web_session", "web_session_by_expiry", &["expires_at"]),
        made(link),
        unique("sign_in_link", "sign_in_link_by_digest", &["digest"]),
        index("sign_in_link", "sign_in_link_by_email", &["email", "created_at"]),
        index("sign_in_link", "sign_in_link_by_expiry", &["expires_at"]),
    ]
}

fn invites() -> Vec<Step> {
    let invite = table(
        "invite",
        vec![
            id(),
            text("agent_id"),
            text("email"),
            // The account that invited; none for the operator on the machine.
            nullable(text("invited_by")),
            number("created_at"),
            number("expires_at"),
            nullable(number("revoked_at")),
            nullable(number("used_at")),
            // The membership that it became.
            nullable(text("member_id")),
        ],
    );
    vec![
        owned(invite, "agent_id", "invite", "agent"),
        index("invite", "invite_by_agent", &["agent_id", "created_at"]),
        index("invite", "invite_by_email", &["email"]),
    ]
}

fn ownership() -> Vec<Step> {
    vec![
        added("agent", nullable(text("owner_id"))),
        added("agent", text("tags").default("[]").take()),
        index("agent", "agent_by_owner", &["owner_id"]),
        added("agent", text("folded").default("").take()),
        // The database folds at least ASCII; the row is folded whole when it is next written.
        Step::Run("UPDATE agent SET folded = lower(name)"),
        added("member", nullable(text("account_id"))),
        // One person is one member of an agent.
        unique("member", "member_by_account", &["agent_id", "account_id"]),
        index("member", "member_of_account", &["account_id"]),
        added("member", text("folded").default("").take()),
        Step::Run("UPDATE member SET folded = lower(name)"),
        index("member", "member_by_folded", &["agent_id", "folded"]),
        index("member", "member_by_status", &["agent_id", "status"]),
        index("session", "session_of_agent_by_end", &["agent_id", "ended_at"]),
        index("session", "session_of_member_by_end", &["member_id", "ended_at"]),
    ]
}
