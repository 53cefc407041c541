//! The head of an upstream's answer, and how its body ends (RFC 9112, 6.3).
//!
//! Invariants: an answer whose length can be understood in two ways is refused; of the headers only those are
//! kept that the gate reads.

use http::{HeaderValue, StatusCode};

use super::chunked::Chunked;
use super::http1::Ended;

/// How the body of an answer ends.
#[derive(Debug)]
pub enum Framing {
    /// After so many bytes more.
    Length(u64),
    Chunked(Chunked),
    /// With the connection.
    Close,
}

/// The head of an answer.
#[derive(Debug)]
pub struct Head {
    pub status: StatusCode,
    pub content_type: Option<HeaderValue>,
    pub is_encoded: bool,
    pub session_id: Option<HeaderValue>,
    pub framing: Framing,
    /// Whether the connection can be used again behind the body.
    pub keeps: bool,
}

/// Reads a head.
///
/// # Errors
/// It is not clear where its body ends.
pub fn read_head(parsed: &httparse::Response<'_, '_>) -> Result<Head, Ended> {
    let status = parsed.code.and_then(|code| StatusCode::from_u16(code).ok());
    let status = status.ok_or(Ended::Broken("its answer has no status"))?;
    let mut head = Head {
        status,
        content_type: None,
        is_encoded: false,
        session_id: None,
        framing: Framing::Close,
        keeps: parsed.version == Some(1),
    };
    let (mut length, mut coding) = (None, None);
    for header in parsed.headers.iter() {
        let (name, value) = (header.name, header.value);
        if name.eq_ignore_ascii_case("content-length") {
            let read = digits(value).ok_or(AMBIGUOUS)?;
            if length.replace(read).is_some_and(|before| before != read) {
                return Err(AMBIGUOUS);
            }
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            if coding.replace(value).is_some() {
                return Err(AMBIGUOUS);
            }
        } else if name.eq_ignore_ascii_case("connection") {
            head.keeps &= !value
                .split(|byte| *byte == b',')
                .any(|word| word.trim_ascii().eq_ignore_ascii_case(b"close"));
        } else if name.eq_ignore_ascii_case("content-encoding") {
            head.is_encoded = true;
        } else if name.eq_ignore_ascii_case("content-type") {
            keep(&mut head.content_type, value);
        } else if name.eq_ignore_ascii_case(super::SESSION_ID.as_str()) {
            keep(&mut head.session_id, value);
        }
    }
    head.framing = framing(status, length, coding, parsed.version)?;
    head.keeps &= !matches!(head.framing, Framing::Close);
    // A body that may not be there may come all the same.
    let none = matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let announced =
        coding.is_some() || (status == StatusCode::NO_CONTENT && length.is_some_and(|length| length > 0));
    head.keeps &= !(none && announced);
    Ok(head)
}

const AMBIGUOUS: Ended = Ended::Broken("the length of its answer is not clear");

/// How a body ends (RFC 9112, 6.3). Stricter where the RFC lets a client choose: two lengths are none.
fn framing(
    status: StatusCode,
    length: Option<u64>,
    coding: Option<&[u8]>,
    version: Option<u8>,
) -> Result<Framing, Ended> {
    if status.is_informational() || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
        return Ok(Framing::Length(0));
    }
    match (coding, length) {
        (Some(coding), None)
            if version == Some(1) && coding.trim_ascii().eq_ignore_ascii_case(b"chunked") =>
        {
            Ok(Framing::Chunked(Chunked::new()))
        }
        (Some(_), _) => Err(AMBIGUOUS),
        (None, Some(length)) => Ok(Framing::Length(length)),
        (None, None) => Ok(Framing::Close),
    }
}

/// A length is digits; a list of equal ones is forgiven nowhere.
fn digits(value: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(value.trim_ascii()).ok()?;
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// Keeps the first value of a header, the usual one without a copy.
fn keep(kept: &mut Option<HeaderValue>, value: &[u8]) {
    if kept.is_none() {
        *kept = match value {
            b"application/json" => Some(HeaderValue::from_static("application/json")),
            value => HeaderValue::from_bytes(value).ok(),
        };
    }
}
