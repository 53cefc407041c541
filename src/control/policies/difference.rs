//! What is different between two versions of a policy: which fields, and which lines of its Cedar.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::PolicyDraft;

/// Lines around a change.
const CONTEXT_LINES: usize = 3;
/// Cells of the table of common lines; beyond, all that differs is shown as replaced.
const CELLS_MAX: usize = 4_000_000;

/// The names of the fields that are not alike, in order.
pub fn changed_fields(before: &PolicyDraft, after: &PolicyDraft) -> Vec<String> {
    let object = |draft: &PolicyDraft| match serde_json::to_value(draft) {
        Ok(serde_json::Value::Object(fields)) => fields,
        _ => serde_json::Map::new(),
    };
    let (before, after) = (object(before), object(after));
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    names.into_iter().filter(|name| before.get(*name) != after.get(*name)).cloned().collect()
}

/// One line of a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line<'a> {
    Both(&'a str),
    Before(&'a str),
    After(&'a str),
}

/// The unified form of the difference; empty where there is none.
pub fn unified(before: &str, after: &str, names: (&str, &str)) -> String {
    if before == after {
        return String::new();
    }
    let lines = compared(&before.lines().collect::<Vec<_>>(), &after.lines().collect::<Vec<_>>());
    let mut out = format!("--- {}\n+++ {}\n", names.0, names.1);
    let mut at = 0;
    while let Some(hunk) = next_hunk(&lines, at) {
        at = hunk.end;
        write_hunk(&lines, hunk, &mut out);
    }
    out
}

/// The lines of both in one order: what is common once, what differs with its side.
fn compared<'a>(before: &[&'a str], after: &[&'a str]) -> Vec<Line<'a>> {
    let head = before.iter().zip(after).take_while(|(a, b)| a == b).count();
    let (rest_before, rest_after) =
        (before.get(head..).unwrap_or_default(), after.get(head..).unwrap_or_default());
    let tail = rest_before.iter().rev().zip(rest_after.iter().rev()).take_while(|(a, b)| a == b).count();
    let middle =
        |lines: &[&'a str]| lines.get(..lines.len().saturating_sub(tail)).unwrap_or_default().to_vec();
    let (old, new) = (middle(rest_before), middle(rest_after));
    let mut lines: Vec<Line<'a>> = before.iter().take(head).map(|line| Line::Both(line)).collect();
    lines.extend(middle_compared(&old, &new));
    lines.extend(rest_before.iter().skip(old.len()).map(|line| Line::Both(line)));
    lines
}

/// The longest common lines, by the table of their lengths.
fn middle_compared<'a>(old: &[&'a str], new: &[&'a str]) -> Vec<Line<'a>> {
    let width = new.len() + 1;
    if (old.len() + 1).saturating_mul(width) > CELLS_MAX {
        let gone = old.iter().map(|line| Line::Before(line));
        return gone.chain(new.iter().map(|line| Line::After(line))).collect();
    }
    let mut lengths = vec![0_u32; (old.len() + 1) * width];
    let cell = |lengths: &[u32], i: usize, j: usize| lengths.get(i * width + j).copied().unwrap_or(0);
    for (i, a) in old.iter().enumerate().rev() {
        for (j, b) in new.iter().enumerate().rev() {
            let length = if a == b {
                cell(&lengths, i + 1, j + 1) + 1
            } else {
                cell(&lengths, i + 1, j).max(cell(&lengths, i, j + 1))
            };
            if let Some(cell) = lengths.get_mut(i * width + j) {
                *cell = length;
            }
        }
    }
    let (mut i, mut j, mut lines) = (0, 0, Vec::with_capacity(old.len().max(new.len())));
    loop {
        match (old.get(i), new.get(j)) {
            (Some(a), Some(b)) if a == b => {
                lines.push(Line::Both(a));
                (i, j) = (i + 1, j + 1);
            }
            (Some(a), other) if other.is_none() || cell(&lengths, i + 1, j) >= cell(&lengths, i, j + 1) => {
                lines.push(Line::Before(a));
                i += 1;
            }
            (_, Some(b)) => {
                lines.push(Line::After(b));
                j += 1;
            }
            _ => return lines,
        }
    }
}

/// The next lines that are shown together, from this one on.
fn next_hunk(lines: &[Line<'_>], from: usize) -> Option<std::ops::Range<usize>> {
    let differs = |line: &Line<'_>| !matches!(line, Line::Both(_));
    let first = from + lines.get(from..)?.iter().position(differs)?;
    let mut last = first;
    for (at, line) in lines.iter().enumerate().skip(first) {
        if differs(line) {
            last = at;
        } else if at - last > 2 * CONTEXT_LINES {
            break;
        }
    }
    Some(first.saturating_sub(CONTEXT_LINES).max(from)..(last + 1 + CONTEXT_LINES).min(lines.len()))
}

fn write_hunk(lines: &[Line<'_>], hunk: std::ops::Range<usize>, out: &mut String) {
    let count = |lines: &[Line<'_>]| {
        let old = lines.iter().filter(|line| !matches!(line, Line::After(_))).count();
        let new = lines.iter().filter(|line| !matches!(line, Line::Before(_))).count();
        (old, new)
    };
    let (old_before, new_before) = count(lines.get(..hunk.start).unwrap_or_default());
    let shown = lines.get(hunk).unwrap_or_default();
    let (old, new) = count(shown);
    // A side without lines is named by the line before it.
    let start = |before: usize, count: usize| if count == 0 { before } else { before + 1 };
    let _ = writeln!(out, "@@ -{},{old} +{},{new} @@", start(old_before, old), start(new_before, new));
    for line in shown {
        let (sign, text) = match line {
            Line::Both(text) => (' ', text),
            Line::Before(text) => ('-', text),
            Line::After(text) => ('+', text),
        };
        let _ = writeln!(out, "{sign}{text}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_reads_as_patch_writes_it() {
        let before = "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\nk\nl\n";
        let after = "a\nb\nc\nD\ne\nf\ng\nh\ni\nj\nk\n";
        let expected = "--- 1\n+++ 2\n@@ -1,7 +1,7 @@\n a\n b\n c\n-d\n+D\n e\n f\n g\n@@ -9,4 +9,3 @@\n i\n j\n k\n-l\n";
        assert_eq!(unified(before, after, ("1", "2")), expected);
        let near = after.replace("\nj\n", "\n");
        assert_eq!(unified(before, &near, ("1", "2")).matches("@@ -").count(), 1);
        assert_eq!(unified(before, before, ("1", "2")), "");
        assert_eq!(unified("", "x\n", ("1", "2")), "--- 1\n+++ 2\n@@ -0,0 +1,1 @@\n+x\n");
        let long = (0..40).map(|n| format!("{n}\n")).collect::<String>();
        let bent = long.replace("\n3\n", "\nthree\n").replace("\n30\n", "\n");
        let difference = unified(&long, &bent, ("1", "2"));
        assert_eq!(difference.matches("@@ -").count(), 2, "{difference}");
        assert!(difference.contains("@@ -28,7 +28,6 @@"), "{difference}");
        assert!(difference.contains("-30\n"), "{difference}");
    }

    /// Whatever differs, both sides can be read off again.
    #[test]
    fn both_sides_are_in_the_comparison() {
        let texts = ["", "a", "b a", "a b c d", "d c b a", "a a b a", "x a y b z"];
        for before in texts {
            for after in texts {
                let (old, new): (Vec<_>, Vec<_>) =
                    (before.split_whitespace().collect(), after.split_whitespace().collect());
                let lines = compared(&old, &new);
                let side = |not: fn(&Line<'_>) -> bool| -> Vec<&str> {
                    let kept = lines.iter().filter(|line| !not(line));
                    kept.map(|line| match line {
                        Line::Both(text) | Line::Before(text) | Line::After(text) => *text,
                    })
                    .collect()
                };
                assert_eq!(side(|line| matches!(line, Line::After(_))), old);
                assert_eq!(side(|line| matches!(line, Line::Before(_))), new);
            }
        }
    }

    #[test]
    fn fields_that_differ_are_named() {
        let before = PolicyDraft { name: "a".into(), ..PolicyDraft::default() };
        let after = PolicyDraft { deny_message: Some("no".into()), enabled: Some(false), ..before.clone() };
        assert_eq!(changed_fields(&before, &after), ["denyMessage", "enabled"]);
        assert!(changed_fields(&before, &before).is_empty());
    }
}
