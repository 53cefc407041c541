//! How a forwarded call ended.

use serde::{Deserialize, Serialize};

/// The kinds of end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutcomeKind {
    /// The upstream answered with a result.
    Result,
    /// The upstream answered with a result marked `isError`.
    ToolError,
    /// The upstream answered with a JSON-RPC error.
    RpcError,
    /// The upstream answered that it needs an answer of the client first (MCP 2026-07-28).
    InputRequired,
    /// The upstream could not be reached: nothing was sent.
    Unreachable,
    /// The upstream broke off, or answered what is no MCP reply.
    Broken,
    /// The upstream was silent past its limit, or the call outlived its life.
    Timeout,
    /// The caller cancelled.
    Cancelled,
    /// Nobody knows: the process died, or the exchange was dropped before it ended.
    Unknown,
}

impl OutcomeKind {
    /// Every kind, for metrics and golden files.
    pub const ALL: [Self; 9] = [
        Self::Result,
        Self::ToolError,
        Self::RpcError,
        Self::InputRequired,
        Self::Unreachable,
        Self::Broken,
        Self::Timeout,
        Self::Cancelled,
        Self::Unknown,
    ];

    /// The written form, in the audit and as a metric label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Result => "result",
            Self::ToolError => "tool_error",
            Self::RpcError => "rpc_error",
            Self::InputRequired => "input_required",
            Self::Unreachable => "unreachable",
            Self::Broken => "broken",
            Self::Timeout => "timeout",
            Self::Cancelled => "cancelled",
            Self::Unknown => "unknown",
        }
    }
}

/// How a forwarded call ended, for its completion entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    pub kind: OutcomeKind,
    /// The upstream's HTTP status; 0 where there was none (stdio, in-process, unreachable).
    pub status: u16,
    /// Bytes of the reply's body that were relayed downstream.
    pub bytes: u64,
    /// From the call's arrival to its end, upstream included (specification 7.1 `durationMs`).
    pub duration_ms: u64,
}
