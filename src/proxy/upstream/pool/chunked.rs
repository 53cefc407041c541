//! The chunked transfer coding, read (RFC 9112, 7.1).
//!
//! Invariants: a line ends with CR LF, a size is hexadecimal digits and nothing else; what is no data (lines,
//! extensions, trailers) is capped in bytes over the whole body; data is given out as it comes and never
//! beyond its chunk.

use bytes::{Buf as _, Bytes, BytesMut};

/// Bytes of one line that announces a chunk.
const LINE_BYTES_MAX: usize = 4 << 10;
/// Bytes of extensions and trailers of one body.
const ASIDE_BYTES_MAX: usize = 16 << 10;
/// Digits of a size.
const DIGITS_MAX: usize = 16;

/// Where the reader stands.
#[derive(Debug, PartialEq, Eq)]
enum State {
    Size,
    Data(u64),
    /// Behind the data of a chunk.
    DataEnd,
    Trailers,
    Ended,
}

/// A body that is being read.
#[derive(Debug)]
pub(super) struct Chunked {
    state: State,
    aside_bytes: usize,
}

/// What a look at the buffer gives.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    Data(Bytes),
    /// More has to be read.
    More,
    /// The body is whole.
    End,
}

impl Chunked {
    pub const fn new() -> Self {
        Self { state: State::Size, aside_bytes: 0 }
    }

    /// Takes what can be taken from the front of the buffer.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn next(&mut self, buffer: &mut BytesMut) -> Result<Step, &'static str> {
        loop {
            match self.state {
                State::Size => {
                    let Some(line) = line(buffer)? else { return Ok(Step::More) };
                    let (size, extensions) = size(&line)?;
                    self.aside(extensions)?;
                    self.state = if size == 0 { State::Trailers } else { State::Data(size) };
                }
                State::Data(_) if buffer.is_empty() => return Ok(Step::More),
                State::Data(left) => {
                    let here = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
                    let rest = left.saturating_sub(here as u64);
                    self.state = if rest == 0 { State::DataEnd } else { State::Data(rest) };
                    return Ok(Step::Data(buffer.split_to(here).freeze()));
                }
                State::DataEnd => match buffer.get(..2) {
                    Some(b"\r\n") => {
                        buffer.advance(2);
                        self.state = State::Size;
                    }
                    None if matches!(buffer.first(), None | Some(b'\r')) => return Ok(Step::More),
                    _ => return Err("a chunk of its body is not as long as it says"),
                },
                State::Trailers => {
                    let Some(line) = line(buffer)? else { return Ok(Step::More) };
                    self.aside(line.len())?;
                    if line.is_empty() {
                        self.state = State::Ended;
                    }
                }
                State::Ended => return Ok(Step::End),
            }
        }
    }

    fn aside(&mut self, bytes: usize) -> Result<(), &'static str> {
        self.aside_bytes = self.aside_bytes.saturating_add(bytes);
        if self.aside_bytes > ASIDE_BYTES_MAX {
            return Err("its body has more beside its data than is read");
        }
        Ok(())
    }
}

/// The next line without its end, if it is there.
fn line(buffer: &mut BytesMut) -> Result<Option<BytesMut>, &'static str> {
    let Some(at) = buffer.iter().take(LINE_BYTES_MAX).position(|byte| *byte == b'\n') else {
        if buffer.len() >= LINE_BYTES_MAX {
            return Err("a line in its body is longer than is read");
        }
        return Ok(None);
    };
    let mut line = buffer.split_to(at + 1);
    if !line.ends_with(b"\r\n") {
        return Err("a line in its body does not end as one");
    }
    line.truncate(at - 1);
    Ok(Some(line))
}

/// The size that a line announces, and how many bytes of it are something else.
fn size(line: &[u8]) -> Result<(u64, usize), &'static str> {
    let digits = line.iter().position(|byte| !byte.is_ascii_hexdigit()).unwrap_or(line.len());
    let (size, rest) = line.split_at(digits);
    // Blanks before an extension are bad, and forgiven (RFC 9112, 7.1.1); a sign, or `0x`, is not.
    if !matches!(rest.iter().find(|byte| !matches!(byte, b' ' | b'\t')), None | Some(b';')) {
        return Err("a chunk of its body has no size");
    }
    let text = std::str::from_utf8(size).ok().filter(|text| (1..=DIGITS_MAX).contains(&text.len()));
    let size = text.and_then(|text| u64::from_str_radix(text, 16).ok());
    Ok((size.ok_or("a chunk of its body has no size")?, rest.len()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The data of a body that arrives in pieces of so many bytes, and what lies behind it.
    fn read(body: &[u8], piece: usize) -> Result<(Vec<u8>, Vec<u8>), &'static str> {
        let (mut chunked, mut buffer, mut data) = (Chunked::new(), BytesMut::new(), Vec::new());
        let mut pieces = body.chunks(piece);
        loop {
            match chunked.next(&mut buffer)? {
                Step::Data(bytes) => data.extend_from_slice(&bytes),
                Step::End => {
                    let behind = buffer.iter().chain(pieces.flatten()).copied();
                    return Ok((data, behind.collect()));
                }
                Step::More => match pieces.next() {
                    Some(bytes) => buffer.extend_from_slice(bytes),
                    None => return Err("cut"),
                },
            }
        }
    }

    fn check(body: &str, expect: Result<(&str, &str), &str>) {
        for piece in [1, 2, 3, 7, 1 << 20] {
            let expect = expect.map(|(data, behind)| (data.as_bytes().to_vec(), behind.as_bytes().to_vec()));
            assert_eq!(read(body.as_bytes(), piece), expect, "{body:?} by {piece}");
        }
    }

    #[test]
    fn chunks_are_read_however_they_arrive() {
        check("0\r\n\r\n", Ok(("", "")));
        check("5\r\nhello\r\n1;a=b\r\n \r\n5 ;x\r\nworld\r\n000\r\n\r\n", Ok(("hello world", "")));
        check("A\r\n0123456789\r\n0\r\nx: y\r\nz: \r\n\r\nHTTP", Ok(("0123456789", "HTTP")));
        check("2\r\n\r\n\r\n0\r\n\r\n", Ok(("\r\n", "")));
        for cut in ["", "5", "5\r", "5\r\nhel", "5\r\nhello", "5\r\nhello\r", "0\r\n", "0\r\nx: y\r\n"] {
            check(cut, Err("cut"));
        }
    }

    #[test]
    fn what_is_no_chunk_is_refused() {
        let no_size = Err("a chunk of its body has no size");
        for line in ["", " 5", "+5", "-5", "0x5", "g", "5 5", ";a", "12345678901234567"] {
            check(&format!("{line}\r\nhello\r\n0\r\n\r\n"), no_size);
        }
        check("5\nhello\r\n0\r\n\r\n", Err("a line in its body does not end as one"));
        for longer in ["5\r\nhello!\r\n", "5\r\nhello\n0\r\n\r\n", "4\r\nhello\r\n0\r\n\r\n"] {
            check(longer, Err("a chunk of its body is not as long as it says"));
        }
    }

    #[test]
    fn what_is_no_data_is_capped() {
        let long = "x".repeat(LINE_BYTES_MAX);
        check(&format!("0;{long}\r\n\r\n"), Err("a line in its body is longer than is read"));
        check(&format!("0\r\nx: {long}\r\n\r\n"), Err("a line in its body is longer than is read"));
        let extended = format!("1;{}\r\nx\r\n", "y".repeat(1_000)).repeat(100);
        check(&extended, Err("its body has more beside its data than is read"));
        let trailers = format!("0\r\n{}\r\n", "x: y\r\n".repeat(10_000));
        check(&trailers, Err("its body has more beside its data than is read"));
    }

    proptest! {
        #[test]
        fn a_body_is_the_same_however_it_arrives(
            parts in prop::collection::vec("[0-3a]{0,2}(;x)?\r?\n|[a-z]{0,4}|\r\n|0\r\n", 0..12),
            end in any::<bool>(), pieces in 1..9_usize
        ) {
            let body = parts.concat() + if end { "\r\n0\r\n\r\n" } else { "" };
            prop_assert_eq!(read(body.as_bytes(), pieces), read(body.as_bytes(), usize::MAX));
        }

        #[test]
        fn what_is_chunked_is_read_back(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..8), pieces in 1..9_usize
        ) {
            let mut body = Vec::new();
            for chunk in &chunks {
                body.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                body.extend_from_slice(chunk);
                body.extend_from_slice(b"\r\n");
            }
            body.extend_from_slice(b"0\r\n\r\nbehind");
            prop_assert_eq!(read(&body, pieces), Ok((chunks.concat(), b"behind".to_vec())));
        }
    }
}
