//! What can be typed: every command with its help and examples. No behaviour.
//!
//! The text of each `--help` is a golden file, so that a change of it is seen in review.

pub mod accounts;
pub mod bench;
pub mod inspect;
pub mod sign_in;
pub mod simulate;
pub mod stored;
pub mod trial;

use std::path::PathBuf;

use clap::builder::FalseyValueParser;
use clap::{ArgAction, Parser, Subcommand};

use self::accounts::{AgentCommand, GroupCommand, KeyCommand, MemberCommand, SessionCommand};
use self::bench::BenchArguments;
use self::inspect::{AuditCommand, ConnectorCommand, PolicyCommand};
use self::sign_in::{AccountCommand, TokenCommand};

/// The gate between AI agents and the systems they act on: every MCP tool call is authenticated,
/// decided by Cedar policies, recorded, and only then forwarded.
#[derive(Debug, Parser)]
#[command(
    name = "wicket",
    version,
    disable_help_subcommand = true,
    arg_required_else_help = true,
    after_help = "\
First steps:
  wicket run --first-run       start, make an agent with a key, print what to paste
  wicket status                is all well, and if not, what to do
  wicket audit tail --follow   watch calls as they are decided

Exit codes: 0 fine; 1 a problem was found; 2 the command line is wrong; 3 no gate answers."
)]
pub struct Arguments {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// What every command takes.
#[derive(Debug, Clone, clap::Args)]
pub struct Global {
    /// The configuration file [default: config/wicket.toml where it exists, else built-in defaults]
    #[arg(long, global = true, value_name = "FILE", env = "WICKET_CONFIG", hide_env_values = true)]
    pub config: Option<PathBuf>,
    /// The data directory, over the configuration's `data_dir`
    #[arg(long, global = true, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Print JSON, for programs
    #[arg(long, global = true)]
    pub json: bool,
    /// Print without colours, even on a terminal
    #[arg(
        long,
        global = true,
        env = "NO_COLOR",
        hide_env = true,
        action = ArgAction::SetTrue,
        value_parser = FalseyValueParser::new()
    )]
    pub no_color: bool,
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start the gate
    #[command(after_help = "\
Examples:
  wicket run
  wicket run --config /etc/wicket/wicket.toml
  wicket run --first-run            make an agent with a key if there is none, show the key once
  wicket run --first-run --new-key  replace that key and show the new one

Stop it with Ctrl-C or SIGTERM: it finishes the calls in flight, then ends.")]
    Run {
        /// Make `my-first-agent` with a member and a key if there is no agent; keep what is there
        #[arg(long)]
        first_run: bool,
        /// Replace the first agent's key and show the new one; the old one stops at once
        #[arg(long, requires = "first_run")]
        new_key: bool,
    },
    /// Try configuration, connectors, policies and their cases without starting anything
    #[command(after_help = "\
Examples:
  wicket check                 before a restart, or in continuous integration
  wicket check --json | jq     exit code 1 where anything is wrong

Reads files only: it needs no network and no running gate, and changes nothing.")]
    Check,
    /// Load policies and connectors anew, now, and say whether they hold
    #[command(after_help = "\
Example:
  wicket reload     answers when the next call is decided by the new files, or says why not

The gate watches its files too: an edit loads by itself, 60 ms after one file was saved and 250 ms
after the last of several. A set that does not load leaves the old one in force.")]
    Reload,
    /// Is all well, and if not, what to do
    #[command(after_help = "\
Examples:
  wicket status
  wicket status --json | jq .bundle.digest

Exit codes: 0 running and well; 1 running, but look; 3 not running.")]
    Status,
    /// What was called, decided and changed
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Try, test and explain policies
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// Agents: named identities that own connectors, members and policies
    #[command(subcommand)]
    Agent(AgentCommand),
    /// Members: people who hold a key of an agent
    #[command(subcommand)]
    Member(MemberCommand),
    /// Groups of an agent's members, for policies
    #[command(subcommand)]
    Group(GroupCommand),
    /// Member keys: what an MCP client presents
    #[command(subcommand)]
    Key(KeyCommand),
    /// Accounts: people who sign in, and own agents
    #[command(subcommand)]
    Account(AccountCommand),
    /// API tokens of accounts, for automation
    #[command(subcommand)]
    Token(TokenCommand),
    /// Tool sessions and their counters
    #[command(subcommand)]
    Session(SessionCommand),
    /// Connectors: the MCP servers behind the gate, and the locks on their tools
    #[command(subcommand)]
    Connector(ConnectorCommand),
    /// Put a load on a gate, or on any MCP server over HTTP, and measure it
    #[command(after_help = "\
Examples:
  read -rs WICKET_BENCH_KEY && export WICKET_BENCH_KEY
  wicket bench http://127.0.0.1:7400/mcp
  wicket bench http://127.0.0.1:7400/mcp --tool fs__read_text_file --arguments '{\"path\":\"/tmp/a\"}'
  wicket bench http://127.0.0.1:7400/mcp --rate 500 --connections 64 --duration 30
  wicket bench http://127.0.0.1:3000/mcp --tool echo --json

The tool is really called, again and again: choose one that may be. A key on the command line
stands in the list of processes; WICKET_BENCH_KEY and standard input (KEY is -) do not show it.

Exit codes: 0 all calls were answered or denied; 1 some failed; 2 the command line is wrong.")]
    Bench(Box<BenchArguments>),
    /// Serve a client that can only start a program: MCP on standard input and output
    #[command(after_help = "\
Examples:
  WICKET_KEY=… wicket connect
  wicket connect http://127.0.0.1:7400/mcp --key-file ~/.config/wicket/key
  wicket connect https://gate.example.com/mcp

The client starts this command (docs/guide/clients.md shows its configuration). Each line that it writes
is sent to the gate with the member key; what comes back is written line by line, as it comes. Messages
for people go to standard error.")]
    Connect(ConnectArguments),
    /// Completions for your shell
    #[command(after_help = "\
Examples:
  wicket completions bash > /etc/bash_completion.d/wicket
  wicket completions zsh > ~/.zfunc/_wicket
  wicket completions fish > ~/.config/fish/completions/wicket.fish")]
    Completions {
        /// bash, zsh, fish, elvish or powershell
        shell: clap_complete::Shell,
    },
}

/// `wicket connect`
#[derive(Debug, Clone, clap::Args)]
pub struct ConnectArguments {
    /// The gate [default: the one of this data directory, else http://127.0.0.1:7400/mcp]
    #[arg(value_name = "URL")]
    pub url: Option<String>,
    /// A file that holds the member key [default: the environment variable WICKET_KEY]
    #[arg(long, value_name = "FILE")]
    pub key_file: Option<PathBuf>,
}

#[cfg(test)]
#[path = "arguments/tests.rs"]
mod tests;
