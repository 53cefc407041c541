//! Event streams (WHATWG HTML, 9.2): read as they come, in pieces split anywhere, and written.
//!
//! Invariants: no more than the cap is held of an event that is not complete; an event counts only
//! when its blank line has come, so a stream that ends inside one is told apart from a clean end; the
//! text is UTF-8 or the stream is broken (the standard would replace; a gate must not guess).

use std::fmt;

use bytes::Bytes;

/// One event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Event {
    /// The `id` field of this event.
    pub id: Option<String>,
    /// The event's type; `message` where absent.
    pub event: Option<String>,
    /// Its data, lines joined by a line feed.
    pub data: String,
    /// Milliseconds to wait before a reconnection.
    pub retry: Option<u64>,
}

impl Event {
    /// An event that carries only data.
    pub fn of_data(data: impl Into<String>) -> Self {
        Self { data: data.into(), ..Self::default() }
    }
}

/// A comment: keeps an idle connection open and means nothing.
pub const KEEP_ALIVE: &[u8] = b":\n\n";

/// Why a stream cannot be read on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SseFault {
    /// One event, or one line, is longer than the cap.
    TooLarge { event_bytes_max: usize },
    /// A line is not UTF-8.
    Encoding,
}

impl fmt::Display for SseFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { event_bytes_max } => {
                write!(f, "an event is longer than {event_bytes_max} bytes")
            }
            Self::Encoding => f.write_str("an event is not UTF-8"),
        }
    }
}

impl std::error::Error for SseFault {}

/// A stream that ended inside an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Truncated;

impl fmt::Display for Truncated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the stream ended inside an event")
    }
}

impl std::error::Error for Truncated {}

/// Reads an event stream piece by piece.
#[derive(Debug)]
pub struct Decoder {
    event_bytes_max: usize,
    /// The line that is not complete.
    line: Vec<u8>,
    /// The event that is not complete.
    event: Event,
    /// Whether a field of it has come.
    begun: bool,
    /// Whether a `data` field of it has come.
    has_data: bool,
    /// Bytes of its lines so far, without their ends.
    event_bytes: usize,
    /// Whether the last byte was CR, so that an LF belongs to it.
    after_cr: bool,
    /// Whether no line has ended yet, so that a byte order mark may stand at its start.
    at_start: bool,
}

impl Decoder {
    /// A decoder that holds at most so many bytes of one event (of its lines, without their ends).
    pub fn new(event_bytes_max: usize) -> Self {
        Self {
            event_bytes_max,
            line: Vec::new(),
            event: Event::default(),
            begun: false,
            has_data: false,
            event_bytes: 0,
            after_cr: false,
            at_start: true,
        }
    }

    /// Takes the next piece and gives the events that it completes.
    ///
    /// # Errors
    /// [`SseFault`]; the stream cannot be read on after it.
    pub fn push(&mut self, piece: &[u8]) -> Result<Vec<Event>, SseFault> {
        let mut events = Vec::new();
        let mut rest = piece;
        if self.after_cr && !rest.is_empty() {
            self.after_cr = false;
            rest = rest.strip_prefix(b"\n").unwrap_or(rest);
        }
        while let Some(end) = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
            let (line, tail) = rest.split_at_checked(end).unwrap_or((rest, &[]));
            self.hold(line)?;
            events.extend(self.end_line()?);
            rest = match tail {
                [b'\r', b'\n', after @ ..] => after,
                [b'\r'] => {
                    self.after_cr = true;
                    &[]
                }
                [_, after @ ..] => after,
                [] => &[],
            };
        }
        self.hold(rest)?;
        Ok(events)
    }

    /// The stream has ended.
    ///
    /// # Errors
    /// [`Truncated`] where a line or an event was not complete.
    pub fn finish(self) -> Result<(), Truncated> {
        if self.begun || !self.line.is_empty() { Err(Truncated) } else { Ok(()) }
    }

    fn hold(&mut self, bytes: &[u8]) -> Result<(), SseFault> {
        if self.event_bytes + self.line.len() + bytes.len() > self.event_bytes_max {
            return Err(SseFault::TooLarge { event_bytes_max: self.event_bytes_max });
        }
        self.line.extend_from_slice(bytes);
        Ok(())
    }

    fn end_line(&mut self) -> Result<Option<Event>, SseFault> {
        let held = std::mem::take(&mut self.line);
        let line = std::str::from_utf8(&held).map_err(|_| SseFault::Encoding)?;
        let line = if self.at_start { line.strip_prefix('\u{feff}').unwrap_or(line) } else { line };
        self.at_start = false;
        let event = if line.is_empty() { self.dispatch() } else { None };
        self.field(line);
        // The buffer's room is kept for the next line.
        self.line = held;
        self.line.clear();
        Ok(event)
    }

    /// A blank line: gives the event, unless it has no data (which only sets an id or a delay).
    fn dispatch(&mut self) -> Option<Event> {
        let event = std::mem::take(&mut self.event);
        let whole = std::mem::replace(&mut self.has_data, false);
        self.begun = false;
        self.event_bytes = 0;
        whole.then_some(event)
    }

    fn field(&mut self, line: &str) {
        if line.is_empty() || line.starts_with(':') {
            return;
        }
        self.begun = true;
        self.event_bytes += line.len();
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "data" => {
                if self.has_data {
                    self.event.data.push('\n');
                }
                self.has_data = true;
                self.event.data.push_str(value);
            }
            "event" => self.event.event = (!value.is_empty()).then(|| value.to_owned()),
            "id" if !value.contains('\0') => self.event.id = Some(value.to_owned()),
            "retry" if !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()) => {
                self.event.retry = value.parse().ok();
            }
            _ => {}
        }
    }
}

/// Writes one event. Line ends in the data become one line feed each when it is read again, which in
/// JSON changes white space only; an id or type that holds a line end is left out.
pub fn encode(event: &Event) -> Bytes {
    let mut out = String::with_capacity(event.data.len() + 64);
    let one_line = |text: &&String| !text.contains(['\n', '\r', '\0']);
    if let Some(id) = event.id.as_ref().filter(one_line) {
        push_field(&mut out, "id", id);
    }
    if let Some(name) = event.event.as_ref().filter(one_line) {
        push_field(&mut out, "event", name);
    }
    if let Some(retry) = event.retry {
        push_field(&mut out, "retry", &retry.to_string());
    }
    let mut rest = event.data.as_str();
    while let Some((line, tail)) = rest.split_once(['\n', '\r']) {
        push_field(&mut out, "data", line);
        let crlf = rest.as_bytes().get(line.len()) == Some(&b'\r') && tail.starts_with('\n');
        rest = if crlf { tail.strip_prefix('\n').unwrap_or(tail) } else { tail };
    }
    push_field(&mut out, "data", rest);
    out.push('\n');
    Bytes::from(out)
}

fn push_field(out: &mut String, name: &str, value: &str) {
    out.push_str(name);
    out.push_str(": ");
    out.push_str(value);
    out.push('\n');
}

#[cfg(test)]
mod tests;
