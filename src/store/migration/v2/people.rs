//! Accounts, their tokens, sessions and sign-in links; invites; who owns an agent and is a member.
//!
//! Secrets stand here as digests alone: whoever reads the database cannot sign in with what it holds.

use crate::store::migration::Step;
use crate::store::migration::columns::{
    added, belongs, blob, folded, index, made, nullable, number, table, text, unique,
};

pub(in crate::store::migration) fn steps() -> Vec<Step> {
    let id = || text("id").primary_key().take();
    let account = table("account", vec![id(), text("email"), text("status"), number("created_at")]);
    let mut token = table(
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
    let mut session = table(
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
    let mut invite = table(
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
    let owned = |table: &mut sea_orm::sea_query::TableCreateStatement, name, column, to| {
        made(table.foreign_key(&mut belongs(name, column, to)).to_owned())
    };
    vec![
        made(account),
        unique("account", "account_by_email", &["email"]),
        owned(&mut token, "api_token", "account_id", "account"),
        unique("api_token", "api_token_by_digest", &["digest"]),
        index("api_token", "api_token_by_account", &["account_id"]),
        owned(&mut session, "web_session", "account_id", "account"),
        unique("web_session", "web_session_by_digest", &["digest"]),
        index("web_session", "web_session_by_account", &["account_id"]),
        index("web_session", "web_session_by_expiry", &["expires_at"]),
        made(link),
        unique("sign_in_link", "sign_in_link_by_digest", &["digest"]),
        index("sign_in_link", "sign_in_link_by_email", &["email", "created_at"]),
        index("sign_in_link", "sign_in_link_by_expiry", &["expires_at"]),
        owned(&mut invite, "invite", "agent_id", "agent"),
        index("invite", "invite_by_agent", &["agent_id", "created_at"]),
        index("invite", "invite_by_email", &["email"]),
        added("agent", nullable(text("owner_id"))),
        added("agent", text("tags").default("[]").take()),
        index("agent", "agent_by_owner", &["owner_id"]),
        added("agent", text("folded").default("").take()),
        folded("agent", "folded", "name"),
        added("member", nullable(text("account_id"))),
        // One person is one member of an agent.
        unique("member", "member_by_account", &["agent_id", "account_id"]),
        index("member", "member_of_account", &["account_id"]),
        added("member", text("folded").default("").take()),
        folded("member", "folded", "name"),
        index("member", "member_by_folded", &["agent_id", "folded"]),
        index("member", "member_by_status", &["agent_id", "status"]),
        index("session", "session_of_agent_by_end", &["agent_id", "ended_at"]),
        index("session", "session_of_member_by_end", &["member_id", "ended_at"]),
        index("audit_entry", "audit_entry_by_session", &["session_id", "at", "seq"]),
    ]
}
