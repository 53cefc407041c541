//! How a command ends: its text, its exit code, and faults as a tired person can use them.

use std::fmt;
use std::process::ExitCode;

use super::output::Style;
use crate::control::{AdminFault, FaultKind};
use crate::model::Diagnostic;
use crate::policy::structured;

/// The exit codes, all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// 0.
    Fine,
    /// 1: a problem was found, or the request was refused.
    Problem,
    /// 2: the command line or the configuration is wrong.
    Usage,
    /// 3: a running gate is needed, and none answers.
    NoGate,
}

impl Ending {
    /// The number.
    pub const fn code(self) -> u8 {
        match self {
            Self::Fine => 0,
            Self::Problem => 1,
            Self::Usage => 2,
            Self::NoGate => 3,
        }
    }
}

impl From<Ending> for ExitCode {
    fn from(ending: Ending) -> Self {
        Self::from(ending.code())
    }
}

/// What a command prints, and how it ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    pub text: String,
    pub ending: Ending,
}

impl Page {
    /// All is well.
    pub fn fine(text: impl Into<String>) -> Self {
        Self { text: text.into(), ending: Ending::Fine }
    }

    /// Printed in full, but with a problem in it.
    pub fn with_ending(text: impl Into<String>, ending: Ending) -> Self {
        Self { text: text.into(), ending }
    }
}

/// A command that could not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What, where and why: lower case, no full stop.
    pub message: String,
    /// Faults of files.
    pub diagnostics: Vec<Diagnostic>,
    /// Fields of a policy that cannot be as they are.
    pub fields: Vec<structured::Fault>,
    /// What to do next.
    pub help: Option<String>,
    pub ending: Ending,
}

impl Fault {
    /// A refused request or a found problem.
    pub fn problem(message: impl Into<String>) -> Self {
        let (message, ending) = (message.into(), Ending::Problem);
        Self { message, diagnostics: Vec::new(), fields: Vec::new(), help: None, ending }
    }

    /// A wrong command line or configuration.
    pub fn usage(message: impl Into<String>) -> Self {
        Self { ending: Ending::Usage, ..Self::problem(message) }
    }

    /// No gate where one is needed.
    pub fn no_gate(message: impl Into<String>) -> Self {
        Self { ending: Ending::NoGate, ..Self::problem(message) }
    }

    /// The same, with a sentence that says what to do.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The same, with the faults of files.
    #[must_use]
    pub fn with_diagnostics(mut self, diagnostics: Vec<Diagnostic>) -> Self {
        self.diagnostics = diagnostics;
        self
    }

    /// The text for standard error.
    pub fn render(&self, style: Style) -> String {
        let mut text = format!("{} {}\n", style.bad("error:"), self.message);
        for diagnostic in &self.diagnostics {
            text.push_str(&format!("  {}\n", located(diagnostic, style)));
        }
        for field in &self.fields {
            let bare = structured::Fault { help: None, ..field.clone() };
            text.push_str(&format!("  {}\n", helped(&bare, field.help.as_deref(), style)));
        }
        if let Some(help) = &self.help {
            text.push_str(&format!("{} {help}\n", style.faint(" next:")));
        }
        text
    }
}

/// A fault of a file on one line, with what to do on the next.
pub fn located(diagnostic: &Diagnostic, style: Style) -> String {
    helped(&Diagnostic { help: None, ..diagnostic.clone() }, diagnostic.help.as_deref(), style)
}

fn helped(fault: &impl fmt::Display, help: Option<&str>, style: Style) -> String {
    match help {
        Some(help) => format!("{fault}\n    {} {help}", style.faint("->")),
        None => fault.to_string(),
    }
}

impl From<AdminFault> for Fault {
    fn from(fault: AdminFault) -> Self {
        let ending = match fault.kind {
            FaultKind::NotRunning => Ending::NoGate,
            FaultKind::Invalid => Ending::Usage,
            _ => Ending::Problem,
        };
        let AdminFault { message, diagnostics, fields, help, .. } = fault;
        Self { message, diagnostics, fields, help, ending }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_says_what_where_why_and_what_next() {
        let fault: Fault = AdminFault::rejected(
            "the files do not load; what was in force stays in force",
            vec![
                Diagnostic {
                    file: "policies/guard.cedar".into(),
                    line: 12,
                    column: 3,
                    message: "unknown action `GitHubMCP::Action::\"delete_fil\"`".into(),
                    help: Some("did you mean `delete_file`?".into()),
                },
                Diagnostic::of_file("policies/cases.toml", "cannot be read: permission denied"),
            ],
        )
        .with_help("mend the files and say `wicket reload` again")
        .into();
        assert_eq!(fault.ending.code(), 1);
        insta::assert_snapshot!("fault", fault.render(Style::plain()));
    }

    #[test]
    fn a_fault_of_a_policys_fields_names_each() {
        let field = |help: Option<&str>| structured::Fault {
            field: "tools[0]".into(),
            detail: "no tool `nosuch`".into(),
            help: help.map(str::to_owned),
        };
        let fault = AdminFault::unfit(
            "the policy cannot be stored as it is",
            vec![field(None), field(Some("see `wicket connector show`"))],
        );
        assert_eq!(
            Fault::from(fault).render(Style::plain()),
            "error: the policy cannot be stored as it is\n  `tools[0]`: no tool `nosuch`\n  \
             `tools[0]`: no tool `nosuch`\n    -> see `wicket connector show`\n"
        );
    }

    #[test]
    fn each_kind_of_fault_has_its_exit_code() {
        for (kind, code) in [
            (FaultKind::Invalid, 2),
            (FaultKind::NotFound, 1),
            (FaultKind::Conflict, 1),
            (FaultKind::Rejected, 1),
            (FaultKind::Unavailable, 1),
            (FaultKind::Partial, 1),
            (FaultKind::NotRunning, 3),
        ] {
            assert_eq!(Fault::from(AdminFault::new(kind, "x")).ending.code(), code, "{kind:?}");
        }
    }
}
