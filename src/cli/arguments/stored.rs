//! Commands about the policies that an agent stores.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `wicket policy list …` and the like
#[derive(Debug, Subcommand)]
pub enum StoredCommand {
    /// The policies that an agent stores
    #[command(after_help = "\
Examples:
  wicket policy list --agent reviewer
  wicket policy list --agent reviewer --search delete --json

Those of the policy files hold for every agent and are not among them: `wicket policy check --json` lists them.")]
    List {
        /// The agent's name or id
        #[arg(long)]
        agent: String,
        /// Part of the name or of the key, in any case
        #[arg(long, value_name = "TEXT")]
        search: Option<String>,
    },
    /// A stored policy, and the Cedar that is evaluated
    Show(Which),
    /// Store a new policy; it decides the next call
    #[command(after_help = "\
Examples:
  wicket policy create --agent reviewer office-hours.json
  wicket policy show --agent reviewer no-deletes --json | wicket policy create --agent writer -

The form: docs/guide/structured-policies.md. What would not load with the rest is not stored; exit code 1 then.")]
    Create {
        /// The agent's name or id
        #[arg(long)]
        agent: String,
        /// The policy as JSON; `-` reads standard input
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Replace what a stored policy says
    #[command(after_help = "\
Examples:
  wicket policy show --agent reviewer no-deletes --json > no-deletes.json     then edit it
  wicket policy update --agent reviewer no-deletes no-deletes.json

Where the JSON names a `version`, as that of `show` does, no later version is replaced.")]
    Update {
        #[command(flatten)]
        which: Which,
        /// The policy as JSON; `-` reads standard input
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Let a stored policy decide
    Enable(Which),
    /// Take a stored policy out of all decisions, and keep it
    Disable(Which),
    /// Delete a stored policy with its versions
    Delete {
        #[command(flatten)]
        which: Which,
        /// Really
        #[arg(long)]
        yes: bool,
    },
    /// What a stored policy was, and what each save changed
    Versions(Which),
    /// Make what an earlier version said the newest
    #[command(after_help = "\
Example:
  wicket policy rollback --agent reviewer no-deletes 3

Nothing of the history is lost, and whether the policy is enabled stays as it is.")]
    Rollback {
        #[command(flatten)]
        which: Which,
        /// The version to go back to, from `wicket policy versions`
        version: u32,
    },
}

/// A stored policy.
#[derive(Debug, Clone, Args)]
pub struct Which {
    /// The agent's name or id
    #[arg(long)]
    pub agent: String,
    /// The policy's key or id, from `wicket policy list`
    pub policy: String,
}
