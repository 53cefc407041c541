//! Commands about agents, members, groups, keys and sessions.

use clap::{Subcommand, ValueEnum};

use crate::model::{EmailAddress, GroupName, KeyId, ServiceKey, SessionId, TrustMode};

/// `wicket agent …`
#[derive(Debug, Subcommand)]
pub enum AgentCommand {
    /// Make an agent
    #[command(after_help = "\
Examples:
  wicket agent create reviewer --service github --service files
  wicket agent create contractor --trust untrusted
  wicket agent create deployer --service github --owner ada@example.org")]
    Create {
        /// Display name, unique on this gate; it stands in denial messages
        name: String,
        /// trusted: one set of policies for all members; untrusted: one for each member. Fixed for good
        #[arg(long, value_enum, default_value_t = Trust::Trusted)]
        trust: Trust,
        /// A connector to enable; may be repeated
        #[arg(long = "service", value_name = "SERVICE")]
        services: Vec<ServiceKey>,
        /// The account that owns it
        #[arg(long, value_name = "EMAIL")]
        owner: Option<EmailAddress>,
    },
    /// All agents
    List,
    /// One agent with its members, keys and groups
    Show {
        /// Name or id
        agent: String,
    },
    /// Let a disabled agent call again
    Enable {
        /// Name or id
        agent: String,
    },
    /// The emergency stop: from the next call on, everything answers 403; keys stay
    #[command(after_help = "\
Example:
  wicket agent disable reviewer     holds when the command returns; undo it with `wicket agent enable`")]
    Disable {
        /// Name or id
        agent: String,
    },
    /// Which connectors the agent may use; without options, show them
    #[command(after_help = "\
Examples:
  wicket agent services reviewer
  wicket agent services reviewer --add github --remove files
  wicket agent services reviewer --set github --set files")]
    Services {
        /// Name or id
        agent: String,
        /// Enable this one too; may be repeated
        #[arg(long, value_name = "SERVICE", conflicts_with = "set")]
        add: Vec<ServiceKey>,
        /// Disable this one; may be repeated
        #[arg(long, value_name = "SERVICE", conflicts_with = "set")]
        remove: Vec<ServiceKey>,
        /// Enable these and no others; may be repeated
        #[arg(long, value_name = "SERVICE")]
        set: Vec<ServiceKey>,
    },
    /// How fast each key of the agent may call
    #[command(after_help = "\
Examples:
  wicket agent rate reviewer --burst 120 --per-second 5
  wicket agent rate reviewer --default")]
    Rate {
        /// Name or id
        agent: String,
        /// Requests that may come at once
        #[arg(long, required_unless_present = "default", requires = "per_second")]
        burst: Option<u32>,
        /// Requests a second after that
        #[arg(long, requires = "burst")]
        per_second: Option<f64>,
        /// Back to the configured limit
        #[arg(long, conflicts_with_all = ["burst", "per_second"])]
        default: bool,
    },
    /// Delete the agent with its members, groups and keys; the audit keeps its calls
    Delete {
        /// Name or id
        agent: String,
        /// Really: it cannot be undone
        #[arg(long)]
        yes: bool,
    },
}

/// `--trust`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Trust {
    Trusted,
    Untrusted,
}

impl From<Trust> for TrustMode {
    fn from(trust: Trust) -> Self {
        match trust {
            Trust::Trusted => Self::Trusted,
            Trust::Untrusted => Self::Untrusted,
        }
    }
}

/// `wicket member …`
#[derive(Debug, Subcommand)]
pub enum MemberCommand {
    /// Add a member, approved at once
    #[command(after_help = "\
Examples:
  wicket member add reviewer ada@example.org
  wicket member add reviewer eve@example.org --pending")]
    Add {
        /// The agent's name or id
        agent: String,
        /// E-mail address or display name, unique within the agent
        member: String,
        /// Wait for `wicket member approve` before a key can be made
        #[arg(long)]
        pending: bool,
        /// The agent's owner
        #[arg(long)]
        owner: bool,
    },
    /// The agent's members
    List {
        /// The agent's name or id
        agent: String,
    },
    /// Let a member hold a key and call
    Approve {
        /// The agent's name or id
        agent: String,
        /// The member's name or id
        member: String,
    },
    /// Refuse a member: calls answer 403 from the next one on
    Reject {
        /// The agent's name or id
        agent: String,
        /// The member's name or id
        member: String,
    },
    /// Remove a member; the key dies at once
    Remove {
        /// The agent's name or id
        agent: String,
        /// The member's name or id
        member: String,
    },
}

/// `wicket group …`
#[derive(Debug, Subcommand)]
pub enum GroupCommand {
    /// Make an empty group
    #[command(after_help = "\
Example:
  wicket group create reviewer leads
  wicket group add reviewer leads ada@example.org

Policies name it as: principal in Wicket::Group::\"leads\"")]
    Create {
        /// The agent's name or id
        agent: String,
        /// a-z, 0-9, - and _
        group: GroupName,
    },
    /// The agent's groups and who is in them
    List {
        /// The agent's name or id
        agent: String,
    },
    /// Put a member into a group
    Add {
        /// The agent's name or id
        agent: String,
        group: GroupName,
        /// The member's name or id
        member: String,
    },
    /// Take a member out of a group
    Remove {
        /// The agent's name or id
        agent: String,
        group: GroupName,
        /// The member's name or id
        member: String,
    },
    /// Delete a group; its members stay members of the agent
    Delete {
        /// The agent's name or id
        agent: String,
        group: GroupName,
    },
}

/// `wicket key …`
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Make a member's key and show it, this once
    #[command(after_help = "\
Example:
  wicket key create reviewer ada@example.org

Prints the key with configurations to paste. The gate keeps a digest only: a key that is lost is
replaced with `wicket key rotate`.")]
    Create {
        /// The agent's name or id
        agent: String,
        /// The member's name or id
        member: String,
    },
    /// Make a new key and stop the old one at once
    Rotate {
        /// The agent's name or id
        agent: String,
        /// The member's name or id
        member: String,
    },
    /// Stop a key: its next call answers 401
    #[command(after_help = "\
Example:
  wicket key list reviewer
  wicket key revoke 0193e4b2-7c1a-7000-8000-0123456789ab")]
    Revoke {
        /// The key's id, from `wicket key list`
        key: KeyId,
    },
    /// How fast this key may call, over its agent's limit; without options, show it
    #[command(after_help = "\
Examples:
  wicket key rate reviewer alice@example.com
  wicket key rate reviewer alice@example.com --burst 10 --per-second 0.5
  wicket key rate 0193e4b2-7c1a-7000-8000-0123456789ab --default

Holds for the key's next call. A key that replaces it (`wicket key rotate`) has the same rate.")]
    Rate {
        /// Whose key: an agent and a member, by name or id; or the key's id, from `wicket key list`
        #[arg(required = true, num_args = 1..=2, value_names = ["AGENT", "MEMBER"])]
        whose: Vec<String>,
        /// Requests that may come at once
        #[arg(long, requires = "per_second")]
        burst: Option<u32>,
        /// Requests a second after that
        #[arg(long, requires = "burst")]
        per_second: Option<f64>,
        /// Back to the agent's limit
        #[arg(long, conflicts_with_all = ["burst", "per_second"])]
        default: bool,
    },
    /// Keys of an agent or of one member; never the keys themselves
    List {
        /// The agent's name or id
        agent: String,
        /// The member's name or id
        member: Option<String>,
    },
}

/// `wicket session …`
#[derive(Debug, Subcommand)]
pub enum SessionCommand {
    /// Open sessions, last used first
    #[command(after_help = "\
Examples:
  wicket session list
  wicket session list reviewer --member ada@example.org --ended")]
    List {
        /// The agent's name or id
        agent: Option<String>,
        /// Of this member only; name or id
        #[arg(long, requires = "agent")]
        member: Option<String>,
        /// Ended ones too
        #[arg(long)]
        ended: bool,
    },
    /// End a session: the agent's next call opens a fresh one with counters at 0
    #[command(after_help = "\
The member's counters over 24 hours (`context.member`) are not touched: they are what a reset cannot undo.")]
    Reset {
        /// As `ts_…` from `wicket session list`
        session: SessionId,
    },
}
