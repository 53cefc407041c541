//! Lines of a child's output, with a cap: a child that never ends its line takes no more memory
//! than one that does.

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// Bytes that are read at a time.
const READ_BYTES: usize = 16 * 1024;

/// One line without its end.
#[derive(Debug, PartialEq, Eq)]
pub enum Line {
    /// The whole line.
    Whole(Bytes),
    /// The line is longer than the cap: its first and its last bytes; the rest was thrown away.
    TooLong { head: Bytes, tail: Bytes },
}

/// Bytes that are kept of each end of a line that is too long.
const ENDS_BYTES: usize = 128;

/// Reads lines of at most `line_bytes_max` bytes.
#[derive(Debug)]
pub struct Lines<R> {
    input: R,
    held: BytesMut,
    /// Bytes of `held` that are known to hold no line end.
    scanned: usize,
    line_bytes_max: usize,
    /// The head of a line that proved too long and whose end has not come yet.
    skipping: Option<Skipped>,
}

/// What is kept of a line that is too long.
#[derive(Debug)]
struct Skipped {
    head: Bytes,
    tail: BytesMut,
}

impl Skipped {
    fn new(first: &Bytes) -> Self {
        Self { head: first.slice(..ENDS_BYTES.min(first.len())), tail: BytesMut::new() }
    }

    fn take(&mut self, more: &Bytes) {
        let from = more.len().saturating_sub(ENDS_BYTES);
        self.tail.extend_from_slice(&more.slice(from..));
        let surplus = self.tail.len().saturating_sub(ENDS_BYTES);
        drop(self.tail.split_to(surplus));
    }
}

impl<R: AsyncRead + Unpin> Lines<R> {
    /// Lines of this input.
    pub fn new(input: R, line_bytes_max: usize) -> Self {
        Self { input, held: BytesMut::new(), scanned: 0, line_bytes_max, skipping: None }
    }

    /// The next line; `None` at the end. A last line without its end is not a line: a child that
    /// dies in the middle of a message said nothing.
    ///
    /// # Errors
    /// The pipe's.
    pub async fn next(&mut self) -> std::io::Result<Option<Line>> {
        loop {
            if let Some(line) = self.take_line() {
                return Ok(Some(line));
            }
            self.held.reserve(READ_BYTES);
            if self.input.read_buf(&mut self.held).await? == 0 {
                return Ok(None);
            }
        }
    }

    fn take_line(&mut self) -> Option<Line> {
        let fresh = self.held.get(self.scanned..).unwrap_or_default();
        let end = fresh.iter().position(|byte| *byte == b'\n').map(|at| self.scanned + at);
        let Some(end) = end else {
            self.scanned = self.held.len();
            if self.held.len() > self.line_bytes_max || self.skipping.is_some() {
                let part = self.held.split().freeze();
                self.skipping.get_or_insert_with(|| Skipped::new(&part)).take(&part);
                self.scanned = 0;
            }
            return None;
        };
        let mut line = self.held.split_to(end + 1).freeze();
        self.scanned = 0;
        line.truncate(end);
        if line.last() == Some(&b'\r') {
            line.truncate(end.saturating_sub(1));
        }
        let skipped = self.skipping.take();
        if skipped.is_none() && line.len() <= self.line_bytes_max {
            return Some(Line::Whole(line));
        }
        let mut skipped = skipped.unwrap_or_else(|| Skipped::new(&line));
        skipped.take(&line);
        Some(Line::TooLong { head: skipped.head, tail: skipped.tail.freeze() })
    }
}

/// The id that stands at the start or at the end of a response too long to be read, where servers
/// write it. It only says which call to give up at once instead of after its silence.
pub fn likely_id(head: &[u8], tail: &[u8]) -> Option<u64> {
    let squeezed = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        text.chars().filter(|c| !c.is_ascii_whitespace()).collect::<String>()
    };
    let (head, tail) = (squeezed(head), squeezed(tail));
    let first =
        ["{\"jsonrpc\":\"2.0\",\"id\":", "{\"id\":"].iter().find_map(|start| head.strip_prefix(start));
    let first = first.and_then(|rest| rest.split_once(',')).map(|(id, _)| id);
    let last = tail.strip_suffix('}').and_then(|rest| rest.rsplit_once("\"id\":")).map(|(_, id)| id);
    first.and_then(|id| id.parse().ok()).or_else(|| last.and_then(|id| id.parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn check(chunks: &[&str], expect: &[Line]) {
        let (mut writer, reader) = tokio::io::duplex(3);
        let text = chunks.concat();
        let writing = tokio::spawn(async move {
            use tokio::io::AsyncWriteExt as _;
            writer.write_all(text.as_bytes()).await.unwrap();
        });
        let mut lines = Lines::new(reader, 8);
        let mut got = Vec::new();
        while let Some(line) = lines.next().await.unwrap() {
            got.push(line);
        }
        writing.await.unwrap();
        assert_eq!(got, expect, "{chunks:?}");
    }

    fn whole(text: &'static str) -> Line {
        Line::Whole(Bytes::from_static(text.as_bytes()))
    }

    #[tokio::test]
    async fn lines_come_whole_and_a_long_one_costs_only_itself() {
        check(&[], &[]).await;
        check(&["a\n", "bc\r\n", "\n"], &[whole("a"), whole("bc"), whole("")]).await;
        check(&["12345678\n", "ok\n"], &[whole("12345678"), whole("ok")]).await;
        let long = |head: &str, tail: &str| Line::TooLong {
            head: Bytes::copy_from_slice(head.as_bytes()),
            tail: Bytes::copy_from_slice(tail.as_bytes()),
        };
        check(&["123456789\n", "ok\n"], &[long("123456789", "123456789"), whole("ok")]).await;
        let (x, y) = ("x".repeat(9), "y".repeat(ENDS_BYTES));
        let text = format!("{x}{}{y}\r\nok\n", "-".repeat(500));
        check(&[&text], &[long(&x, &y), whole("ok")]).await;
    }

    #[tokio::test]
    async fn a_line_that_was_cut_off_is_no_line() {
        check(&["whole\n", "cut"], &[whole("whole")]).await;
    }

    #[test]
    fn the_id_of_a_long_line_is_looked_for_at_both_ends() {
        for (head, tail, expect) in [
            ("{\"jsonrpc\": \"2.0\", \"id\": 7, \"result\": {", "xxx", Some(7)),
            ("{\"id\":8,\"jsonrpc\"", "\"id\":9}", Some(8)),
            ("{\"result\":{\"id\":1", "}},\"jsonrpc\":\"2.0\",\"id\":9}", Some(9)),
            ("{\"result\":{\"id\":1", "\"text\":\"\"}}", None),
            ("{\"jsonrpc\":\"2.0\",\"method\":\"x\"", "\"id\":\"9\"}", None),
            ("", "", None),
        ] {
            assert_eq!(likely_id(head.as_bytes(), tail.as_bytes()), expect, "{head} … {tail}");
        }
    }
}
