//! Commands about accounts and their API tokens.

use clap::Subcommand;

use crate::model::{EmailAddress, Scope, TokenId};

/// `wicket account …`
#[derive(Debug, Subcommand)]
pub enum AccountCommand {
    /// Make an account for a person
    #[command(after_help = "\
Example:
  wicket account create ada@example.org
  wicket account sign-in-link ada@example.org

Whoever is invited to an agent needs no account beforehand: the first sign-in makes it.")]
    Create {
        /// The person's e-mail address
        email: EmailAddress,
    },
    /// All accounts
    List,
    /// One account with its agents, sessions and tokens
    Show {
        /// The account's e-mail address
        email: EmailAddress,
    },
    /// Shut an account out: its sessions and tokens end at once, and it gets no others
    #[command(after_help = "\
Its member keys go on working: they are the agents' owners' to take away (`wicket member reject`).")]
    Disable {
        /// The account's e-mail address
        email: EmailAddress,
    },
    /// Let a disabled account in again; what was ended stays ended
    Enable {
        /// The account's e-mail address
        email: EmailAddress,
    },
    /// Print a link that signs a person in, once, within ten minutes
    #[command(after_help = "\
Example:
  wicket account sign-in-link ada@example.org

Whoever opens the link first is that person to the gate. `control.public_url` is what it begins with.")]
    SignInLink {
        /// The account's e-mail address, or an invited one
        email: EmailAddress,
    },
    /// Give an agent to an account: it becomes the owner, with a membership of that role
    #[command(after_help = "\
Examples:
  wicket account adopt reviewer ada@example.org
  wicket account adopt reviewer bob@example.org --replace

A member of the same name without an account becomes the owner's membership, and keeps its key.")]
    Adopt {
        /// The agent's name or id
        agent: String,
        /// The account's e-mail address
        email: EmailAddress,
        /// Also where another account owns it; that one stays a member
        #[arg(long)]
        replace: bool,
    },
}

/// `wicket token …`
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Make an API token of an account and show it, this once
    #[command(after_help = "\
Examples:
  wicket token create ada@example.org --name 'nightly export' --scope audit:read --days 90
  wicket token create ada@example.org --name ops --scope agents:read --scope agents:write --days 7

A token may do what its account may, as far as its scopes name it. GET /api/tokens/scopes lists them.")]
    Create {
        /// The account's e-mail address
        email: EmailAddress,
        /// What it is for
        #[arg(long)]
        name: String,
        /// What it opens, such as agents:read; may be repeated
        #[arg(long = "scope", value_name = "SCOPE", required = true)]
        scopes: Vec<Scope>,
        /// Days until it is over, at most 366
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..=366))]
        days: u32,
    },
    /// An account's tokens; never the tokens themselves
    List {
        /// The account's e-mail address
        email: EmailAddress,
    },
    /// Stop a token: its next request answers 401
    #[command(after_help = "\
Example:
  wicket token list ada@example.org
  wicket token revoke 0193e4b2-7c1a-7000-8000-0123456789ab")]
    Revoke {
        /// The token's id, from `wicket token list`
        token: TokenId,
    },
}
