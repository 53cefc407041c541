//! What a client reports of its progress with what it was asked (MCP 2025-11-25, progress).
//!
//! Invariant: everything but the token goes on byte for byte.

use std::ops::Range;

use bytes::Bytes;

use super::RequestId;
use crate::mcp::scan::{Document, Kind};
use crate::mcp::splice::splice_into;

/// Bytes of the parameters of one report; a longer one is none.
const REPORT_BYTES_MAX: usize = 8 * 1024;

/// One report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientProgress {
    /// Which question it is about, as the question named itself.
    pub token: RequestId,
    amount: String,
    /// The raw parameters, and where the token stands in them.
    params: String,
    place: Range<usize>,
}

impl ClientProgress {
    /// Reads `notifications/progress`; nothing where it is malformed.
    pub(super) fn read(document: &Document<'_>) -> Option<Self> {
        let params = document.get("params").filter(|params| params.raw().len() <= REPORT_BYTES_MAX)?;
        let token = document.get_in("params", "progressToken")?;
        let amount = document.get_in("params", "progress").filter(|amount| amount.kind() == Kind::Number)?;
        let (start, range) = (params.range().start, token.range());
        Some(Self {
            token: RequestId::of(&token)?,
            amount: amount.raw().to_owned(),
            params: params.raw().to_owned(),
            place: range.start.checked_sub(start)?..range.end.checked_sub(start)?,
        })
    }

    /// How far it is; it grows from report to report.
    pub fn amount(&self) -> f64 {
        self.amount.parse().unwrap_or(f64::NAN)
    }

    /// The notification under the token of whoever asked.
    pub fn with_token(&self, token: &RequestId) -> Bytes {
        let mut out = String::from(r#"{"jsonrpc":"2.0","method":"notifications/progress","params":"#);
        splice_into(&mut out, &self.params, &[(self.place.clone(), token.raw())]);
        out.push('}');
        Bytes::from(out)
    }
}
