//! The client's side: lines in, lines out, each on a thread of its own, since a pipe can block.
//!
//! Invariants: a line is held up to a cap and no further, and a longer one costs only itself; both
//! queues are bounded, so that a client that does not read stops what is read for it.

use std::io::{BufRead, Write};

use bytes::{Bytes, BytesMut};
use tokio::sync::{mpsc, oneshot};

/// Lines that wait to be taken, or to be written.
const LINES_MAX: usize = 64;

/// What a client wrote.
#[derive(Debug, PartialEq, Eq)]
pub enum Line {
    Whole(Bytes),
    TooLong,
}

/// Reads lines until the input ends or nobody takes them.
pub fn lines_of(input: impl BufRead + Send + 'static, line_bytes_max: usize) -> mpsc::Receiver<Line> {
    let (give, take) = mpsc::channel(LINES_MAX);
    let mut input = input;
    std::thread::spawn(move || {
        while let Some(line) = next(&mut input, line_bytes_max) {
            if line != Line::Whole(Bytes::new()) && give.blocking_send(line).is_err() {
                return;
            }
        }
    });
    take
}

/// The next line without its end; `None` at the end of the input, which a broken pipe is too.
fn next(input: &mut impl BufRead, line_bytes_max: usize) -> Option<Line> {
    let mut held = BytesMut::new();
    let mut too_long = false;
    let mut begun = false;
    loop {
        let piece = match input.fill_buf() {
            Ok(piece) => piece,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(_) => return None,
        };
        if piece.is_empty() {
            // A client that sends its last message without a line end means it.
            return begun.then(|| finished(held, too_long));
        }
        begun = true;
        let end = piece.iter().position(|byte| *byte == b'\n');
        let (line, taken) = match end {
            Some(end) => (piece.get(..end).unwrap_or_default(), end + 1),
            None => (piece, piece.len()),
        };
        too_long |= held.len() + line.len() > line_bytes_max;
        if too_long {
            held = BytesMut::new();
        } else {
            held.extend_from_slice(line);
        }
        input.consume(taken);
        if end.is_some() {
            return Some(finished(held, too_long));
        }
    }
}

fn finished(held: BytesMut, too_long: bool) -> Line {
    if too_long {
        return Line::TooLong;
    }
    let mut line = held.freeze();
    let end = line.len() - usize::from(line.last() == Some(&b'\r'));
    line.truncate(end);
    Line::Whole(line)
}

/// Writes lines until the last sender is gone or the reader is; the receiver hears of it.
pub fn lines_to(output: impl Write + Send + 'static) -> (mpsc::Sender<Bytes>, oneshot::Receiver<()>) {
    let (give, mut take) = mpsc::channel::<Bytes>(LINES_MAX);
    let (done, ended) = oneshot::channel();
    let mut output = output;
    std::thread::spawn(move || {
        let _done = done;
        while let Some(line) = take.blocking_recv() {
            let written = output.write_all(&line).and_then(|()| output.write_all(b"\n"));
            if written.and_then(|()| output.flush()).is_err() {
                return;
            }
        }
    });
    (give, ended)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &'static str, expected: &[Option<&'static str>]) {
        let mut input = std::io::BufReader::with_capacity(3, text.as_bytes());
        let mut got = Vec::new();
        while let Some(line) = next(&mut input, 8) {
            got.push(line);
        }
        let expected: Vec<Line> = expected
            .iter()
            .map(|line| line.map_or(Line::TooLong, |line| Line::Whole(Bytes::from_static(line.as_bytes()))))
            .collect();
        assert_eq!(got, expected, "{text:?}");
    }

    #[test]
    fn lines_come_whole_and_a_long_one_costs_only_itself() {
        check("", &[]);
        check("a\nbc\r\n\n", &[Some("a"), Some("bc"), Some("")]);
        check("12345678\nok", &[Some("12345678"), Some("ok")]);
        check("123456789\nok\n", &[None, Some("ok")]);
        check(concat!("1234567890", "1234567890", "\n12345678\n"), &[None, Some("12345678")]);
    }

    #[test]
    fn what_is_sent_is_written_line_by_line() {
        let (read, write) = std::io::pipe().unwrap();
        let (lines, ended) = lines_to(write);
        lines.blocking_send(Bytes::from_static(b"one")).unwrap();
        lines.blocking_send(Bytes::from_static(b"two")).unwrap();
        drop(lines);
        assert!(ended.blocking_recv().is_err());
        assert_eq!(std::io::read_to_string(read).unwrap(), "one\ntwo\n");
    }
}
