//! How an upstream is reached.
//!
//! Invariant: `Debug` never shows a value that may be a secret (header values, environment
//! values), only names.

use std::collections::BTreeMap;
use std::fmt;

/// The three ways to an upstream.
#[derive(Clone, PartialEq, Eq)]
pub enum Transport {
    /// Served by the gate itself; nothing leaves the process.
    InProcess,
    /// MCP streamable HTTP.
    Http {
        /// `http://` or `https://`, with a host, without user information or fragment.
        url: String,
        /// Sent with every request, beside those that MCP itself defines.
        headers: Vec<(String, HeaderValueSource)>,
        /// The `Host` to send where it is not the URL's.
        host: Option<String>,
        /// Whether loopback, private and link-local addresses may be dialled.
        allow_private: bool,
        era: EraChoice,
    },
    /// A child process that speaks MCP on its standard input and output.
    Stdio {
        command: String,
        args: Vec<String>,
        /// Given to the child as it stands here.
        env: BTreeMap<String, String>,
        /// Names of the gate's own environment variables that the child gets; no other is passed.
        pass_env: Vec<String>,
        /// Where the child runs; the gate's working directory where absent.
        working_dir: Option<String>,
        /// Whether the child is told that a client's roots changed. All clients share it, so that what it makes of
        /// one client's roots may hold for all.
        tell_roots: bool,
        era: EraChoice,
    },
}

/// In which of MCP's two ways an upstream is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EraChoice {
    /// As it answers to `server/discover`.
    #[default]
    Auto,
    /// With `initialize`; up to 2025-11-25.
    Session,
    /// Each request for itself; from 2026-07-28 on.
    Stateless,
}

/// Where a header's value comes from.
#[derive(Clone, PartialEq, Eq)]
pub enum HeaderValueSource {
    Literal(String),
    /// The whole value of this environment variable of the gate, read at start.
    Env(String),
}

impl fmt::Debug for HeaderValueSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Literal(_) => f.write_str("Literal(…)"),
            Self::Env(name) => write!(f, "Env({name})"),
        }
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InProcess => f.write_str("InProcess"),
            Self::Http { url, headers, host, allow_private, era } => f
                .debug_struct("Http")
                .field("url", url)
                .field("headers", headers)
                .field("host", host)
                .field("allow_private", allow_private)
                .field("era", era)
                .finish(),
            Self::Stdio { command, args, env, pass_env, working_dir, tell_roots, era } => f
                .debug_struct("Stdio")
                .field("command", command)
                .field("args", args)
                .field("env", &env.keys().collect::<Vec<_>>())
                .field("pass_env", pass_env)
                .field("working_dir", working_dir)
                .field("tell_roots", tell_roots)
                .field("era", era)
                .finish(),
        }
    }
}
