//! A policy file, cut where its policies end, so that only the ones that changed are parsed again.
//!
//! Invariant: the pieces follow each other without a gap and together are the file. Each but the last
//! ends with the `;` of one policy: in Cedar a `;` stands nowhere else but in strings and comments.

/// A piece of a file: at most one policy, with the comments before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece<'a> {
    /// Without the white space at its beginning and end.
    pub(super) text: &'a str,
    /// Where the text begins: the byte, and line and column from 1.
    pub(super) start: usize,
    pub(super) line: u32,
    pub(super) column: u32,
}

/// The pieces of a file that hold anything but white space.
pub(super) fn split(text: &str) -> Vec<Piece<'_>> {
    let bytes = text.as_bytes();
    let (mut pieces, mut at, mut from) = (Vec::new(), 0, 0);
    let mut place = (1, 1);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => at = end_of_string(bytes, at),
            b'/' if bytes.get(at + 1) == Some(&b'/') => at = end_of_comment(bytes, at),
            b';' => {
                pieces.extend(piece(text, from, at + 1, &mut place));
                from = at + 1;
            }
            _ => {}
        }
        at += 1;
    }
    pieces.extend(piece(text, from, bytes.len(), &mut place));
    pieces
}

/// The piece between two bytes; `place` is where the first of them stands, and then where the second
/// does.
fn piece<'a>(text: &'a str, from: usize, to: usize, place: &mut (u32, u32)) -> Option<Piece<'a>> {
    let whole = text.get(from..to)?;
    let trimmed = whole.trim_ascii_start();
    let blank = whole.len() - trimmed.len();
    let (line, column) = after(*place, whole.get(..blank).unwrap_or_default());
    *place = after((line, column), trimmed);
    let text = trimmed.trim_ascii_end();
    (!text.is_empty()).then_some(Piece { text, start: from + blank, line, column })
}

/// Line and column behind a text that begins at `place`.
pub(in crate::policy) fn after((line, column): (u32, u32), text: &str) -> (u32, u32) {
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    match text.bytes().rposition(|byte| byte == b'\n') {
        None => (line, column.saturating_add(count(text.len()))),
        Some(last) => {
            let lines = text.bytes().filter(|byte| *byte == b'\n').count();
            (line.saturating_add(count(lines)), count(text.len() - last))
        }
    }
}

/// The closing quote of the string that begins here; the text's end where there is none.
pub(super) fn end_of_string(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\\' => at += 2,
            b'"' => return at,
            _ => at += 1,
        }
    }
    at
}

/// The end of the line that a comment begins in. To Cedar a carriage return ends it as well.
pub(super) fn end_of_comment(bytes: &[u8], start: usize) -> usize {
    let rest = bytes.get(start..).unwrap_or_default();
    start + rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')).unwrap_or(rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::SourceFile;

    #[test]
    fn a_file_is_cut_where_its_policies_end() {
        let table: [(&str, &[&str]); 9] = [
            ("", &[]),
            (" \n\t\r\n", &[]),
            ("a; b;", &["a;", "b;"]),
            ("a;\n\n  // c;\n b ;\n// end", &["a;", "// c;\n b ;", "// end"]),
            ("a \"x;\\\";\" ; b", &["a \"x;\\\";\" ;", "b"]),
            ("// a;\rb;c;", &["// a;\rb;", "c;"]),
            ("a / b; \"open; c;", &["a / b;", "\"open; c;"]),
            (";;", &[";", ";"]),
            ("\u{e9};\u{1f980};", &["\u{e9};", "\u{1f980};"]),
        ];
        for (text, expected) in table {
            let pieces = split(text);
            assert_eq!(pieces.iter().map(|piece| piece.text).collect::<Vec<_>>(), expected, "{text:?}");
            let file = SourceFile::new("f", text);
            for piece in pieces {
                assert_eq!((piece.line, piece.column), file.position(piece.start), "{text:?} {piece:?}");
                assert!(text.get(piece.start..).unwrap().starts_with(piece.text));
            }
        }
    }
}
