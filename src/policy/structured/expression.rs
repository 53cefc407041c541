//! Cedar expressions as they are put together, and how they are laid out.

use crate::policy::argument;

/// Columns of a line; longer ones are broken at their operators.
const COLUMNS_MAX: usize = 100;
const INDENT: usize = 2;

/// A condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Expression {
    /// Cedar text that binds tighter than `&&`.
    Atom(String),
    Not(Box<Expression>),
    /// All of these; never empty.
    All(Vec<Expression>),
    /// One of these at least; never empty.
    Any(Vec<Expression>),
}

/// One `when`, and what it says in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Clause {
    pub(super) says: String,
    pub(super) when: Expression,
}

/// What is known of something: a test of it, and the test's opposite.
pub(super) struct Test {
    pub(super) holds: Expression,
    pub(super) fails: Expression,
}

impl Expression {
    pub(super) fn atom(text: impl Into<String>) -> Self {
        Self::Atom(text.into())
    }

    pub(super) fn negated(self) -> Self {
        match self {
            Self::Not(inner) => *inner,
            other => Self::Not(Box::new(other)),
        }
    }

    /// All of these; one stands alone. `None` for none.
    pub(super) fn all(mut parts: Vec<Self>) -> Option<Self> {
        if parts.len() > 1 { Some(Self::All(parts)) } else { parts.pop() }
    }

    /// One of these at least; one stands alone. `None` for none.
    pub(super) fn any(mut parts: Vec<Self>) -> Option<Self> {
        if parts.len() > 1 { Some(Self::Any(parts)) } else { parts.pop() }
    }

    /// The test of something that may be unknown.
    pub(super) fn of_known(known: Vec<Self>, test: Test, unknown_is_met: bool) -> Self {
        let mut parts = known;
        if unknown_is_met {
            parts.push(test.fails);
            Self::All(parts).negated()
        } else {
            parts.push(test.holds);
            Self::All(parts)
        }
    }

    fn on_one_line(&self) -> String {
        match self {
            Self::Atom(text) => text.clone(),
            Self::Not(inner) => format!("!({})", inner.on_one_line()),
            Self::All(parts) => Self::joined(parts, " && "),
            Self::Any(parts) => Self::joined(parts, " || "),
        }
    }

    fn joined(parts: &[Self], operator: &str) -> String {
        let texts: Vec<String> = parts.iter().map(Self::within).collect();
        texts.join(operator)
    }

    /// As a part of something else.
    fn within(&self) -> String {
        match self {
            Self::All(_) | Self::Any(_) => format!("({})", self.on_one_line()),
            _ => self.on_one_line(),
        }
    }

    /// Its lines, from this column on.
    fn lay_out(&self, indent: usize, out: &mut String) {
        let line = self.on_one_line();
        let fits = indent + line.chars().count() <= COLUMNS_MAX;
        match self {
            Self::All(parts) if !fits => Self::broken(parts, "&&", indent, out),
            Self::Any(parts) if !fits => Self::broken(parts, "||", indent, out),
            Self::Not(inner) if !fits => {
                out.push_str("!(\n");
                out.push_str(&" ".repeat(indent + INDENT));
                inner.lay_out(indent + INDENT, out);
                out.push('\n');
                out.push_str(&" ".repeat(indent));
                out.push(')');
            }
            _ => out.push_str(&line),
        }
    }

    fn broken(parts: &[Self], operator: &str, indent: usize, out: &mut String) {
        for (at, part) in parts.iter().enumerate() {
            if at > 0 {
                out.push(' ');
                out.push_str(operator);
                out.push('\n');
                out.push_str(&" ".repeat(indent));
            }
            if matches!(part, Self::All(_) | Self::Any(_)) {
                out.push('(');
                part.lay_out(indent + 1, out);
                out.push(')');
            } else {
                part.lay_out(indent, out);
            }
        }
    }
}

impl Clause {
    pub(super) fn new(says: impl Into<String>, when: Expression) -> Self {
        Self { says: says.into(), when }
    }

    /// The comment and the `when`.
    pub(super) fn render(&self) -> String {
        let line = self.when.on_one_line();
        let mut out = comment(&self.says);
        if line.chars().count() + "when {  }".len() <= COLUMNS_MAX {
            out.push_str(&format!("when {{ {line} }}"));
            return out;
        }
        out.push_str("when\n{\n");
        out.push_str(&" ".repeat(INDENT));
        self.when.lay_out(INDENT, &mut out);
        out.push_str("\n}");
        out
    }
}

/// A string literal of Cedar; an apostrophe needs no escape there.
pub(in crate::policy) fn quoted(text: &str) -> String {
    argument::quoted(text).replace("\\'", "'")
}

/// A line of comment; nothing in it can end it.
pub(super) fn comment(says: &str) -> String {
    let line: String = says.chars().map(|c| if c.is_control() || is_line_end(c) { ' ' } else { c }).collect();
    format!("// {}\n", line.trim())
}

/// What some editor takes for the end of a line.
const fn is_line_end(c: char) -> bool {
    matches!(c, '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// A list of string literals.
pub(super) fn texts<'a>(values: impl IntoIterator<Item = &'a str>) -> String {
    let quotes: Vec<String> = values.into_iter().map(quoted).collect();
    format!("[{}]", quotes.join(", "))
}

/// Words in a sentence: `a`, `a or b`, `a, b or c`; long lists are cut.
pub(super) fn listed<S: AsRef<str>>(words: impl IntoIterator<Item = S>, joined_by: &str) -> String {
    const SHOWN_MAX: usize = 6;
    let words: Vec<String> = words.into_iter().map(|word| word.as_ref().to_owned()).collect();
    let more = words.len().saturating_sub(SHOWN_MAX);
    match words.split_last() {
        None => String::new(),
        Some((only, [])) => only.clone(),
        Some((last, others)) if more == 0 => format!("{} {joined_by} {last}", others.join(", ")),
        Some(_) => {
            let shown: Vec<String> = words.into_iter().take(SHOWN_MAX).collect();
            format!("{} {joined_by} {more} more", shown.join(", "))
        }
    }
}

/// `has`, attribute by attribute from a record inward, and the place itself; names are quoted, so that any
/// name does.
pub(super) fn record_path(root: &str, names: &[&str]) -> (Vec<Expression>, String) {
    let mut place = root.to_owned();
    let mut known = Vec::with_capacity(names.len());
    for name in names {
        let quote = quoted(name);
        known.push(Expression::atom(format!("{place} has {quote}")));
        place = format!("{place}[{quote}]");
    }
    (known, place)
}
