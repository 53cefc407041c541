//! Text on a terminal: colours that can be switched off, tables that line up, sizes and ages in words.

use std::io::{IsTerminal, Write};

use crate::model::Timestamp;

/// Whether colours are used. Meaning never rests on colour alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    pub colour: bool,
}

impl Style {
    /// For standard output: colours on a terminal only.
    pub fn for_stdout(plain: bool) -> Self {
        Self { colour: !plain && std::io::stdout().is_terminal() }
    }

    /// For standard error.
    pub fn for_stderr(plain: bool) -> Self {
        Self { colour: !plain && std::io::stderr().is_terminal() }
    }

    /// No colours.
    #[cfg(test)]
    pub const fn plain() -> Self {
        Self { colour: false }
    }

    fn wrap(self, code: &str, text: &str) -> String {
        if self.colour { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    /// A heading.
    pub fn strong(self, text: &str) -> String {
        self.wrap("1", text)
    }

    /// Something that is well.
    pub fn good(self, text: &str) -> String {
        self.wrap("32", text)
    }

    /// Something that needs looking at.
    pub fn warn(self, text: &str) -> String {
        self.wrap("33", text)
    }

    /// Something that is wrong.
    pub fn bad(self, text: &str) -> String {
        self.wrap("31", text)
    }

    /// Something beside the point.
    pub fn faint(self, text: &str) -> String {
        self.wrap("2", text)
    }
}

/// Writes to standard output; a reader that went away is no fault.
pub fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    drop(out.write_all(text.as_bytes()).and_then(|()| out.flush()));
}

/// Writes to standard error.
pub fn print_error(text: &str) {
    drop(std::io::stderr().lock().write_all(text.as_bytes()));
}

/// Writes to standard output and says whether the reader is still there.
pub fn print_on(text: &str) -> bool {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_ok()
}

/// Rows under headings, each column as wide as its widest cell, two spaces between.
#[derive(Debug, Clone)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table of these headings.
    pub fn new(headings: &[&str]) -> Self {
        Self { rows: vec![headings.iter().map(|heading| (*heading).to_owned()).collect()] }
    }

    /// Adds a row; cells are shown escaped, for names come from people and upstreams.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().map(|cell| one_line(&cell)).collect());
    }

    /// The text, each line indented by so many spaces.
    pub fn render(&self, indent: usize, style: Style) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width_of = |column: usize| {
            self.rows
                .iter()
                .filter_map(|row| row.get(column))
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width_of).collect();
        let mut text = String::new();
        for (number, row) in self.rows.iter().enumerate() {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
            let line = cells.collect::<Vec<_>>().join("  ");
            let line = line.trim_end();
            text.push_str(&" ".repeat(indent));
            text.push_str(&if number == 0 { style.faint(line) } else { line.to_owned() });
            text.push('\n');
        }
        text
    }
}

/// Foreign text on one line, without what would move a terminal's cursor.
pub fn one_line(text: &str) -> String {
    text.chars()
        .flat_map(|c| {
            let harmless = !c.is_control() && !matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
            let escaped = (!harmless).then(|| c.escape_default());
            harmless.then_some(c).into_iter().chain(escaped.into_iter().flatten())
        })
        .collect()
}

/// The same for text that has lines of its own.
pub fn lines(text: &str) -> String {
    text.lines().map(one_line).collect::<Vec<_>>().join("\n")
}

/// A size, as `12.3 MiB`.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    let mut value = count;
    let mut rest = 0;
    let mut unit = "B";
    for next in UNITS {
        if value < 1024 {
            break;
        }
        rest = value % 1024;
        value /= 1024;
        unit = next;
    }
    if value >= 10 { format!("{value} {unit}") } else { format!("{value}.{} {unit}", rest * 10 / 1024) }
}

/// A span of time, as `2 h 5 min`.
pub fn span(millis: i64) -> String {
    let seconds = millis.max(0) / 1_000;
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..86_400 => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

/// How long ago, as `3 s ago`.
pub fn ago(then: Timestamp, now: Option<Timestamp>) -> String {
    match now {
        Some(now) => format!("{} ago", span(now.millis_since(then))),
        None => format!("at {then}"),
    }
}

/// A count with its noun.
pub fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_foreign_text_stays_on_its_line() {
        let mut table = Table::new(&["NAME", "STATE"]);
        table.row(["bölling".into(), "active".into()]);
        table.row(["a\u{1b}[2Jb".into(), "x\ny".into()]);
        let text = table.render(2, Style::plain());
        let expected = ["  NAME         STATE", "  bölling      active", "  a\\u{1b}[2Jb  x\\ny", ""];
        assert_eq!(text.split('\n').collect::<Vec<_>>(), expected);
    }

    #[test]
    fn sizes_and_spans_are_in_words() {
        for (count, text) in
            [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1536, "1.5 KiB"), (10 << 30, "10 GiB")]
        {
            assert_eq!(bytes(count), text);
        }
        for (millis, text) in [
            (-5, "0 s"),
            (59_999, "59 s"),
            (60_000, "1 min"),
            (7_500_000, "2 h 5 min"),
            (180_000_000, "2 d 2 h"),
        ] {
            assert_eq!(span(millis), text);
        }
    }
}
