//! Commands about the audit, policies and connectors.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::simulate::{ShadowArguments, SimulateArguments};
use super::stored::StoredCommand;
use super::trial::TrialArguments;
use crate::model::{CallId, MemberId, ServiceKey, Tier, Timestamp, ToolName};

/// `wicket audit …`
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// The last entries of the journal, oldest first
    #[command(after_help = "\
Examples:
  wicket audit tail
  wicket audit tail -n 100 --json
  wicket audit tail --follow

Reads the journal's files: it works while the gate is stopped, too.")]
    Tail {
        /// How many entries
        #[arg(short = 'n', long, default_value_t = 20, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=100_000))]
        lines: u32,
        /// Go on printing as entries are written; end with Ctrl-C
        #[arg(short, long)]
        follow: bool,
    },
    /// Search the recorded calls, newest first
    #[command(after_help = "\
Examples:
  wicket audit query --result deny --from 2026-11-22T00:00:00Z
  wicket audit query --agent review --service github --tool delete
  wicket audit query --policy no-deletes --limit 500 --offset 500 --json

Times are RFC 3339 with any offset, both ends included; all filters given must hold.")]
    Query(Box<AuditFilters>),
    /// Prove that no entry was changed, removed or reordered
    #[command(after_help = "\
Examples:
  wicket audit verify
  wicket audit verify --witness /mnt/elsewhere/checkpoints.jsonl

Names the first bad entry by file, line and sequence number; exit code 1 where there is one. Against a
journal that was cut at its end only a witness on another disk or machine helps.")]
    Verify {
        /// A copy of the signed checkpoints that was kept elsewhere
        #[arg(long, value_name = "FILE")]
        witness: Option<PathBuf>,
        /// The journal's directory, where it is not this gate's
        #[arg(long, value_name = "DIR")]
        journal: Option<PathBuf>,
        /// The verifying key, as `wicket audit verify` prints it; this gate's own by default
        #[arg(long, value_name = "KEY")]
        key: Option<String>,
    },
}

/// The filters of the audit.
#[derive(Debug, Clone, Args)]
pub struct AuditFilters {
    /// From this time on
    #[arg(long, value_name = "TIME", value_parser = Timestamp::parse)]
    pub from: Option<Timestamp>,
    /// Up to this time
    #[arg(long, value_name = "TIME", value_parser = Timestamp::parse)]
    pub to: Option<Timestamp>,
    /// Part of the agent's name, in any case
    #[arg(long, value_name = "TEXT")]
    pub agent: Option<String>,
    /// The connector
    #[arg(long, value_name = "SERVICE")]
    pub service: Option<ServiceKey>,
    /// Part of the tool's name, in any case
    #[arg(long, value_name = "TEXT")]
    pub tool: Option<String>,
    /// How it was decided
    #[arg(long, value_enum, ignore_case = true)]
    pub result: Option<AuditResult>,
    /// The member's id, from `wicket member list`
    #[arg(long, value_name = "ID")]
    pub member: Option<MemberId>,
    /// The key of a policy that determined the decision
    #[arg(long, value_name = "KEY")]
    pub policy: Option<String>,
    /// At most so many
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=500))]
    pub limit: u32,
    /// Skip so many, for further pages
    #[arg(long, default_value_t = 0)]
    pub offset: u64,
}

/// `--result`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum AuditResult {
    Allow,
    Deny,
}

/// `wicket policy …`
#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    /// Try the policy files: syntax, schema, names, lints
    #[command(after_help = "\
Example:
  wicket policy check     what the gate would say of these files, without loading them")]
    Check,
    /// Say why a call is or would be allowed or denied
    #[command(after_help = "\
Examples:
  wicket policy explain --agent reviewer --member ada@example.org \\
      --tool files__write_file --args '{\"path\":\"/tmp/a\",\"content\":\"x\"}'
  wicket policy explain --agent reviewer --member ada@example.org --tool files__write_file \\
      --at 2026-11-22T23:30:00Z --session-counter tier/write=10
  wicket policy explain --call 0193e4b2-7c1a-7000-8000-0123456789ab

Counters: calls, denials, tool/SERVICE:TOOL, tier/TIER, service/SERVICE, allow/POLICY, deny/POLICY;
those not given stand at 0. Nothing is sent anywhere. Exit code 1 where the call is denied.")]
    Explain(Box<ExplainArguments>),
    /// Run the cases in `policies/cases.toml`
    #[command(after_help = "\
Examples:
  wicket policy test
  wicket policy test --filter breaker --watch
  wicket policy test --with office-hours.json       as if this policy stood beside the files
  wicket policy test --coverage --coverage-min 80 --junit target/policies.xml

Exit code 1 where a case comes out otherwise than it says, or where less is exercised than --coverage-min
asks for. A policy is exercised when it decides a case, a clause when one case saw it hold and another fail.")]
    Test(TrialArguments),
    /// Show the Cedar text of a structured policy, the tools it touches and what to know of it
    #[command(after_help = "\
Example:
  wicket policy preview office-hours.json     `-` reads standard input; nothing is stored

The form: docs/guide/structured-policies.md. Exit code 1 where it does not compile.")]
    Preview {
        /// The policy as JSON
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Say what recorded calls would have come to under other policies
    #[command(after_help = "\
Examples:
  wicket policy simulate --agent reviewer --draft no-deletes.json
  wicket policy simulate --agent reviewer --draft office-hours.json --replace office-hours
  wicket policy simulate --policies ../policies-next --from 2026-11-20T00:00:00Z --rows 100
  wicket policy simulate --agent reviewer --enforce no-deletes     a policy that is in shadow
  wicket policy simulate                                           the set as it is: what changed since

Reads the journal's files and the policy files as they are now; asks the gate for what it stores. Nothing is
changed. Counters of sessions and members are evolved along the replay: docs/guide/simulate.md.")]
    Simulate(Box<SimulateArguments>),
    /// Say what policies in shadow would have changed, as it was recorded with each call
    #[command(after_help = "\
Examples:
  wicket policy shadow
  wicket policy shadow --agent reviewer --from 2026-11-15T00:00:00Z --rows 100

Reads the journal's files. Counters stood as the enforced policies left them: `wicket policy simulate --enforce`
evolves them as they would have stood.")]
    Shadow(ShadowArguments),
    /// Prove what must be true of every call, with the solver cvc5
    #[command(after_help = "\
Examples:
  wicket policy prove                         every invariant of policies/invariants.toml
  wicket policy prove --against ../released/policies   nothing is allowed that those do not allow
  wicket policy prove --against v1.4.0 --equivalent    a revision of git instead of a directory
  wicket policy prove --idle --errors         policies that change nothing; calls on which one fails

What is proved holds of every call; what is wrong is told as a call, which the gate's own decision has
confirmed. Exit code 1 where something is wrong or unknown, 2 where there is no solver.")]
    Prove(ProveArguments),
    /// Say what becomes allowed and what denied from one set of policies to another
    #[command(after_help = "\
Examples:
  wicket policy diff ../released/policies     against the policies of this configuration
  wicket policy diff HEAD~1 HEAD              the policy directory as git keeps it
  wicket policy diff v1.4.0:gate/policies     another directory of that revision
  wicket policy diff HEAD --agent reviewer    for one agent: what it stores stands on both sets
  wicket policy diff old new --sample         made-up calls instead of a proof

Both sets are read with the connectors of this configuration; a directory comes before a revision.
Without the solver cvc5 a sample is drawn, and called one. Exit code 1 where a call is decided
otherwise, or may be.")]
    Diff(DiffArguments),
    /// Print the Cedar schema that the connectors make
    #[command(after_help = "\
Example:
  wicket policy schema > wicket.cedarschema     for an editor's Cedar support")]
    Schema,
    #[command(flatten)]
    Stored(StoredCommand),
}

/// What `policy prove` is to prove.
#[derive(Debug, Clone, Args)]
pub struct ProveArguments {
    /// The invariants [default: invariants.toml in the policy directory, unless something else is asked]
    #[arg(long, value_name = "FILE")]
    pub invariants: Option<PathBuf>,
    /// That nothing is allowed which the policies of this directory, or of this revision of git, do not allow
    #[arg(long, value_name = "DIR|REVISION")]
    pub against: Option<String>,
    /// With --against: that nothing is denied either which those allow
    #[arg(long, requires = "against")]
    pub equivalent: bool,
    /// That every policy matches some call, and makes a difference
    #[arg(long)]
    pub idle: bool,
    /// That no policy fails
    #[arg(long)]
    pub errors: bool,
    /// Give up after so long; what was not asked is unknown
    #[arg(long, value_name = "SECONDS", default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub seconds_max: u32,
}

/// What `policy diff` compares.
#[derive(Debug, Clone, Args)]
pub struct DiffArguments {
    /// The directory of the old policies, or the revision of git
    #[arg(value_name = "OLD")]
    pub old: String,
    /// The same of the new ones [default: the policies of the configuration, as they are now]
    #[arg(value_name = "NEW")]
    pub new: Option<String>,
    /// For the calls of this agent: with the policies that it stores (asks the gate)
    #[arg(long, value_name = "AGENT")]
    pub agent: Option<String>,
    /// Draw a sample of made-up calls, though there is a solver
    #[arg(long)]
    pub sample: bool,
    /// Give up after so long; what was not asked is unknown
    #[arg(long, value_name = "SECONDS", default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub seconds_max: u32,
}

/// What `policy explain` is about.
#[derive(Debug, Clone, Args)]
pub struct ExplainArguments {
    /// A recorded call, by its request id from the audit
    #[arg(long, value_name = "ID", conflicts_with_all = ["agent", "member", "tool", "args", "at", "session_counters", "member_counters"])]
    pub call: Option<CallId>,
    /// The agent's name or id
    #[arg(long, required_unless_present = "call")]
    pub agent: Option<String>,
    /// The member's name or id
    #[arg(long, required_unless_present = "call")]
    pub member: Option<String>,
    /// As the agent calls it
    #[arg(long, value_name = "SERVICE__TOOL", required_unless_present = "call")]
    pub tool: Option<String>,
    /// The call's arguments
    #[arg(long, value_name = "JSON", default_value = "{}")]
    pub args: String,
    /// When [default: now]
    #[arg(long, value_name = "TIME", value_parser = Timestamp::parse)]
    pub at: Option<Timestamp>,
    /// A counter of the session; may be repeated
    #[arg(long = "session-counter", value_name = "COUNTER=N", value_parser = counter)]
    pub session_counters: Vec<(String, i64)>,
    /// A counter of the member over 24 hours; may be repeated
    #[arg(long = "member-counter", value_name = "COUNTER=N", value_parser = counter)]
    pub member_counters: Vec<(String, i64)>,
}

fn counter(text: &str) -> Result<(String, i64), String> {
    let (key, value) =
        text.rsplit_once('=').ok_or("a counter and its value are expected, as in tier/write=10")?;
    let key: crate::model::CounterKey = key.parse()?;
    let value: i64 = value.parse().map_err(|_| format!("`{}` is no whole number", value.escape_debug()))?;
    if value < 0 {
        return Err("a counter is never below 0".to_owned());
    }
    Ok((key.to_string(), value))
}

/// `wicket connector …`
#[derive(Debug, Subcommand)]
pub enum ConnectorCommand {
    /// The configured connectors
    List,
    /// Connectors that come with the gate and are not configured yet
    Available,
    /// Configure one of those: write its file, its lock and its policies
    #[command(after_help = "\
Examples:
  wicket connector available
  wicket connector add git
  wicket connector add github      then put its token where config/connectors/github.toml says

Writes files only, where the connectors and policies of this configuration are, and nothing that would not
load; a gate that runs takes them up at once. An agent gets it by `wicket agent services`.")]
    Add {
        /// The connector
        service: ServiceKey,
    },
    /// Ask the upstream for its tools; write the lock if there is none yet, else show what differs
    #[command(after_help = "\
Example:
  wicket connector sync github     then read config/connectors/github.tools.json, correct the tiers, commit it

A tool is proposed as `read` only where the upstream says that it only reads, as `write` where it says that
it destroys nothing, else as `destructive`. What it says is a claim: look before you commit.")]
    Sync {
        /// The connector
        service: ServiceKey,
    },
    /// Show how what the upstream serves now differs from the lock, field by field, and which policies
    /// would not load with it; exit code 1 where it differs
    Diff {
        /// The connector
        service: ServiceKey,
    },
    /// Write what the upstream serves now into the lock, and load it
    #[command(after_help = "\
Examples:
  wicket connector diff github
  wicket connector accept github --tool create_issue
  wicket connector accept github --tier delete_file=destructive")]
    Accept {
        /// The connector
        service: ServiceKey,
        /// Only this tool; may be repeated [default: every tool that differs]
        #[arg(long = "tool", value_name = "TOOL")]
        tools: Vec<ToolName>,
        /// The tier of a tool, over the one proposed; may be repeated
        #[arg(long = "tier", value_name = "TOOL=TIER", value_parser = tier)]
        tiers: Vec<(ToolName, Tier)>,
        /// Write the lock even though policies would not load with it: the set in force stays until they are
        /// mended, and a gate that is started before does not come up
        #[arg(long)]
        write_anyway: bool,
    },
}

fn tier(text: &str) -> Result<(ToolName, Tier), String> {
    let (tool, tier) =
        text.rsplit_once('=').ok_or("a tool and its tier are expected, as in delete_file=destructive")?;
    Ok((ToolName::parse(tool).map_err(|error| error.to_string())?, tier.parse()?))
}
