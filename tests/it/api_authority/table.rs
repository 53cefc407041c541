//! The table of who may what, as text.

use crate::harness::Answer;

/// The columns, in their order.
const COLUMNS: &[&str] = &[
    "nobody", "stranger", "pending", "rejected", "member", "other", "owner", "foreign", "disabled",
    "revoked", "expired", "no word", "session",
];

const LEGEND: &str = "\
Who may what over the REST API, as the gate answers. Made by tests/it/api_authority.rs: make authority.

The people, each by a token of every scope, looking at one agent:
  stranger   an account that has no part in it        pending    a member that waits for approval
  rejected   a member that was turned down            member     an approved member; the member of the path
  other      another approved member                  owner      whoever made the agent
  foreign    the owner of another agent               disabled   an account that is shut out
Then the credentials of whoever may (`by`; the owner where anybody may):
  revoked, expired   a token of every scope that was revoked, that is over
  no word            a browser's session without its word (x-csrf-token)
  session            a browser's session with it
scopes: tokens of that one scope are let in; - where no token is, * where each is.

The numbers are statuses; 403f is `forbidden` (another role), 403s `scope_missing`, 403x `cross_site`.
501 is this release not having it: whoever sees that may.
";

/// What was answered: a status, and the code of a problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cell {
    pub status: u16,
    pub code: &'static str,
}

/// Codes that share a status, with their letter.
const CODES: &[(&str, &str)] = &[("forbidden", "f"), ("scope_missing", "s"), ("cross_site", "x")];

impl Cell {
    pub fn of(answer: &Answer) -> Self {
        let code = answer.json()["code"].as_str().unwrap_or_default().to_owned();
        let code = CODES.iter().find(|(name, _)| *name == code).map_or("", |(name, _)| name);
        Self { status: answer.status.as_u16(), code }
    }

    fn written(self) -> String {
        let letter = CODES.iter().find(|(name, _)| *name == self.code).map_or("", |(_, letter)| letter);
        format!("{}{letter}", self.status)
    }
}

/// One operation.
pub struct Row {
    pub operation: String,
    pub who: String,
    pub cells: Vec<Cell>,
    pub scopes: Vec<String>,
    /// What of the answers was not as documented.
    pub faults: Vec<String>,
}

impl Row {
    /// What this column has.
    pub fn cell(&self, column: &str) -> Cell {
        self.cells[COLUMNS.iter().position(|name| *name == column).unwrap()]
    }

    /// The row as text.
    pub fn line(&self) -> String {
        let cells: Vec<String> = self.cells.iter().map(|cell| format!("{:<8}", cell.written())).collect();
        let scopes = match self.scopes.len() {
            0 => "-".to_owned(),
            all if all == crate::harness::SCOPES.len() => "*".to_owned(),
            _ => self.scopes.join(" "),
        };
        format!("{:<66} {:<8} {} {scopes}", self.operation, self.who, cells.join(" "))
    }
}

/// The whole.
pub fn written(rows: &[Row]) -> String {
    let columns: Vec<String> = COLUMNS.iter().map(|name| format!("{name:<8}")).collect();
    let head = format!("{:<66} {:<8} {} scopes", "operation", "by", columns.join(" "));
    let lines: Vec<String> = rows.iter().map(Row::line).collect();
    format!("{LEGEND}\n{head}\n{}\n", lines.join("\n"))
}
