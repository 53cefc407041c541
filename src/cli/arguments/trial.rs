//! What `wicket policy test` can be told.

use std::path::PathBuf;

use clap::Args;

/// Which cases to run, and how to tell what came of them.
#[derive(Debug, Clone, Default, Args)]
pub struct TrialArguments {
    /// Run the cases whose names hold this text, in any case of letters; may be repeated
    #[arg(long = "filter", value_name = "TEXT")]
    pub filters: Vec<String>,
    /// Try them with this policy beside the files: Cedar (`.cedar`) or a structured policy as JSON; may be
    /// repeated
    #[arg(long = "with", value_name = "FILE")]
    pub with: Vec<PathBuf>,
    /// Show which policies and clauses no case exercises
    #[arg(long)]
    pub coverage: bool,
    /// Fail where less than this is exercised
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u32).range(0..=100))]
    pub coverage_min: Option<u32>,
    /// Write the results as JUnit's XML, for build servers
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
    /// Run again whenever a policy, the cases or a connector changes; end with Ctrl-C
    #[arg(long)]
    pub watch: bool,
}
