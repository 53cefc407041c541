//! `wicket policy simulate` and `wicket policy shadow`.

use std::path::PathBuf;

use clap::Args;

use crate::model::{MemberId, Timestamp};

/// What is tried, on which calls.
#[derive(Debug, Clone, Args)]
pub struct SimulateArguments {
    /// The agent's name or id; needed for all but `--policies` [default: every agent]
    #[arg(long)]
    pub agent: Option<String>,
    /// A policy of the agent's that is not saved: its form as JSON, or Cedar (`*.cedar`); `-` reads JSON
    #[arg(long, value_name = "FILE", group = "tried", requires = "agent")]
    pub draft: Option<PathBuf>,
    /// The stored policy, by key or id, in whose place the draft would stand
    #[arg(long, value_name = "POLICY", requires = "draft")]
    pub replace: Option<String>,
    /// Whose the draft would be, under an untrusted agent: the member's id
    #[arg(long, value_name = "ID", requires = "draft")]
    pub member: Option<MemberId>,
    /// A stored policy that is in shadow or off, as if it were enforced
    #[arg(long, value_name = "POLICY", group = "tried", requires = "agent")]
    pub enforce: Option<String>,
    /// The agent's set without this stored policy
    #[arg(long, value_name = "POLICY", group = "tried", requires = "agent")]
    pub without: Option<String>,
    /// Another directory of policy files
    #[arg(long, value_name = "DIR", group = "tried")]
    pub policies: Option<PathBuf>,
    /// From when on [default: 24 hours before the end]
    #[arg(long, value_name = "TIME", value_parser = Timestamp::parse)]
    pub from: Option<Timestamp>,
    /// Until when [default: now]
    #[arg(long, value_name = "TIME", value_parser = Timestamp::parse)]
    pub to: Option<Timestamp>,
    /// Calls that are listed, those that change first
    #[arg(long, default_value_t = 20, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=10_000))]
    pub rows: u32,
    /// The journal's directory, where it is not this gate's
    #[arg(long, value_name = "DIR")]
    pub journal: Option<PathBuf>,
}

/// Which calls are looked at.
#[derive(Debug, Clone, Args)]
pub struct ShadowArguments {
    /// The agent's name or id [default: every agent]
    #[arg(long)]
    pub agent: Option<String>,
    /// From when on [default: 24 hours before the end]
    #[arg(long, value_name = "TIME", value_parser = Timestamp::parse)]
    pub from: Option<Timestamp>,
    /// Until when [default: now]
    #[arg(long, value_name = "TIME", value_parser = Timestamp::parse)]
    pub to: Option<Timestamp>,
    /// Calls that are listed
    #[arg(long, default_value_t = 20, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=10_000))]
    pub rows: u32,
    /// The journal's directory, where it is not this gate's
    #[arg(long, value_name = "DIR")]
    pub journal: Option<PathBuf>,
}
