//! What `wicket bench` takes.

use std::fmt;

use clap::Args;
use clap::builder::NonEmptyStringValueParser;

/// `wicket bench`
#[derive(Clone, Args)]
pub struct BenchArguments {
    /// The MCP server: http://127.0.0.1:7400/mcp
    #[arg(value_name = "URL")]
    pub url: String,
    /// The member key; `-` reads it from standard input [default: none is sent]
    #[arg(value_name = "KEY", env = "WICKET_BENCH_KEY", hide_env_values = true)]
    pub key: Option<String>,
    /// The tool to call, with its prefix [default: wicket__whoami, where it is listed]
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    pub tool: Option<String>,
    /// Its arguments, a JSON object
    #[arg(long, value_name = "JSON", default_value = "{}")]
    pub arguments: String,
    /// How many clients, each with a session of its own and one call at a time
    #[arg(short, long, value_name = "N", default_value_t = 16)]
    pub connections: usize,
    /// How long is measured, in seconds
    #[arg(short, long, value_name = "SECONDS", default_value_t = 10.0, allow_negative_numbers = true)]
    pub duration: f64,
    /// Calls that are made before and not counted, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0, allow_negative_numbers = true)]
    pub warm_up: f64,
    /// Calls a second, whatever comes back (open loop) [default: each client sends its next call when
    /// the last is answered (closed loop)]
    #[arg(short, long, value_name = "PER_SECOND", allow_negative_numbers = true)]
    pub rate: Option<f64>,
    /// A call without an answer after this has failed, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 30.0, allow_negative_numbers = true)]
    pub call_max: f64,
    /// Threads of the load generator
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub threads: usize,
}

impl fmt::Debug for BenchArguments {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BenchArguments")
            .field("url", &self.url)
            .field("tool", &self.tool)
            .finish_non_exhaustive()
    }
}
