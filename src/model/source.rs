//! Files that operators edit, and what is wrong with them.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A file's name, relative to where the operator would look for it, and its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    pub name: Arc<str>,
    pub text: Arc<str>,
}

impl SourceFile {
    /// A source out of its name and text.
    pub fn new(name: &str, text: &str) -> Self {
        Self { name: Arc::from(name), text: Arc::from(text) }
    }

    /// The line and column, both from 1, of a byte offset; the end of the text where it is beyond.
    pub fn position(&self, offset: usize) -> (u32, u32) {
        let before = self.text.as_bytes().get(..offset).unwrap_or(self.text.as_bytes());
        let line = before.iter().filter(|b| **b == b'\n').count();
        let column = before.iter().rev().take_while(|b| **b != b'\n').count();
        let from_one = |n: usize| u32::try_from(n).unwrap_or(u32::MAX).saturating_add(1);
        (from_one(line), from_one(column))
    }
}

/// Something that keeps a set of files from loading: file, line, reason and what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnostic {
    pub file: String,
    /// From 1; 0 where the fault is the whole file's.
    pub line: u32,
    /// From 1; 0 where unknown.
    pub column: u32,
    pub message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
}

impl Diagnostic {
    /// A fault at a byte offset of a file.
    pub fn at(source: &SourceFile, offset: usize, message: impl Into<String>) -> Self {
        let (line, column) = source.position(offset);
        Self { file: source.name.to_string(), line, column, message: message.into(), help: None }
    }

    /// A fault of a file as a whole.
    pub fn of_file(file: &str, message: impl Into<String>) -> Self {
        Self { file: file.to_owned(), line: 0, column: 0, message: message.into(), help: None }
    }

    /// The same, with a sentence that says what to do.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
            if self.column > 0 {
                write!(f, ":{}", self.column)?;
            }
        }
        write!(f, ": {}", self.message)?;
        match &self.help {
            Some(help) => write!(f, " ({help})"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_names_file_line_and_column() {
        let source = SourceFile::new("policies/a.cedar", "permit(\n  oops\n);");
        let fault = Diagnostic::at(&source, 10, "unexpected `oops`").with_help("close the scope");
        assert_eq!(fault.to_string(), "policies/a.cedar:2:3: unexpected `oops` (close the scope)");
        assert_eq!(source.position(9_999), (3, 3));
    }
}
