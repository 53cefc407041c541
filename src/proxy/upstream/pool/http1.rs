//! One HTTP/1.1 connection to an upstream: a request out, the head of its answer in (RFC 9112).
//!
//! Invariants: the request's framing is one computed length; an answer whose length can be understood in two
//! ways is refused; head and headers are capped; bytes that nobody asked for end the connection.

use std::fmt;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf as _, Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, HOST};
use http::{Method, Request, StatusCode, Uri};
use hyper_rustls::MaybeHttpsStream;
use hyper_util::rt::TokioIo;
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use tokio::io::AsyncWrite as _;
use tokio::net::TcpStream;
use tokio_util::io::poll_read_buf;

use super::NoAnswer;
use super::head::{Head, read_head};
use crate::proxy::upstream::egress::Dialled;

/// Headers of an answer.
const HEADERS_MAX: usize = 100;
/// Bytes of the head of an answer.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// Interim answers (1xx) before the answer.
const INTERIM_MAX: usize = 100;
/// Empty lines before an answer, in bytes: some servers send one behind a body.
const EMPTY_BYTES_MAX: usize = 64;
/// Bytes that are read at a time: at first, and of a large body.
const READ_BYTES_MIN: usize = 8 << 10;
const READ_BYTES_MAX: usize = 256 << 10;
/// Bytes of a body that goes in one piece with its head.
const JOINED_BYTES_MAX: usize = 4 << 10;

/// A request as it is written: its head, with its body where that is small, and its body where it is not.
pub struct Message {
    head: Vec<u8>,
    body: Bytes,
}

/// A connection that gave no answer.
#[derive(Debug)]
pub enum Ended {
    /// It took no byte of the request.
    Untouched(io::Error),
    /// It may have carried the request.
    Broken(&'static str),
    Failed(io::Error),
}

impl From<Ended> for NoAnswer {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::Untouched(error) | Ended::Failed(error) => Self::Broken(error.into()),
            Ended::Broken(why) => Self::Broken(why.into()),
        }
    }
}

/// A connection.
pub struct Connection {
    stream: TokioIo<Dialled>,
    /// What was read and not taken yet.
    pub buffer: BytesMut,
    read_bytes: usize,
    /// Bytes of the buffer in which no head ends.
    looked_at: usize,
    /// Bytes of empty lines before the head.
    skipped: usize,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not what lies in its buffer: that is somebody's answer.
        write!(f, "Connection({} bytes read)", self.buffer.len())
    }
}

impl Message {
    /// The bytes of a request, in origin form.
    pub fn of(request: &Request<Bytes>) -> Self {
        let (uri, headers, body) = (request.uri(), request.headers(), request.body());
        let joined = body.len() <= JOINED_BYTES_MAX;
        let mut head = Vec::with_capacity(768 + if joined { body.len() } else { 0 });
        let mut put = |parts: &[&[u8]]| parts.iter().for_each(|part| head.extend_from_slice(part));
        let target = uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
        // A URL may have a query and no path.
        let slash: &[u8] = if target.starts_with('/') { b"" } else { b"/" };
        put(&[request.method().as_str().as_bytes(), b" ", slash, target.as_bytes(), b" HTTP/1.1\r\n"]);
        if !headers.contains_key(HOST) {
            put(&[b"host: ", host(uri).as_bytes(), b"\r\n"]);
        }
        for (name, value) in headers {
            put(&[name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"]);
        }
        if !body.is_empty() || request.method() == Method::POST {
            put(&[CONTENT_LENGTH.as_str().as_bytes(), b": ", body.len().to_string().as_bytes(), b"\r\n"]);
        }
        put(&[b"\r\n"]);
        if joined {
            put(&[body]);
        }
        Self { head, body: if joined { Bytes::new() } else { body.clone() } }
    }

    fn len(&self) -> usize {
        self.head.len().saturating_add(self.body.len())
    }

    /// What is left of it behind so many bytes.
    fn behind(&self, written: usize) -> [IoSlice<'_>; 2] {
        let of_body = written.saturating_sub(self.head.len());
        let rest = [self.head.get(written..), self.body.get(of_body..)];
        rest.map(|part| IoSlice::new(part.unwrap_or_default()))
    }
}

/// The upstream's name for itself, with its port where that is not the scheme's own (RFC 9110, 7.2).
fn host(uri: &Uri) -> String {
    let host = uri.host().unwrap_or_default();
    match (uri.port_u16(), uri.scheme_str()) {
        (None, _) | (Some(80), Some("http")) | (Some(443), Some("https")) => host.to_owned(),
        (Some(port), _) => format!("{host}:{port}"),
    }
}

impl Connection {
    pub fn new(dialled: Dialled) -> Self {
        let stream = TokioIo::new(dialled);
        Self { stream, buffer: BytesMut::new(), read_bytes: READ_BYTES_MIN, looked_at: 0, skipped: 0 }
    }

    /// Whether it can carry another request: it is open, and says nothing. The socket itself is asked: what
    /// the runtime knows is as old as its last look, and a server that closes behind its answer does so within
    /// that time.
    pub fn is_idle(&mut self) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        if !self.buffer.is_empty() || self.poll_read(&mut context).is_ready() {
            return false;
        }
        let peeked = recv(self.socket(), &mut [0_u8; 1], RecvFlags::PEEK | RecvFlags::DONTWAIT);
        matches!(peeked, Err(Errno::AGAIN))
    }

    fn socket(&self) -> &TcpStream {
        match self.stream.inner() {
            MaybeHttpsStream::Http(stream) => stream.inner(),
            MaybeHttpsStream::Https(stream) => stream.inner().get_ref().0.inner().inner(),
        }
    }

    /// Behind a whole answer: what it grew to for a large one is given back.
    pub fn rest(&mut self) {
        self.read_bytes = READ_BYTES_MIN;
        if self.buffer.capacity() > READ_BYTES_MIN * 2 {
            self.buffer = BytesMut::new();
        }
    }

    /// Reads more; 0 is its end.
    pub fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let room = self.buffer.capacity() - self.buffer.len();
        if room < self.read_bytes / 2 {
            self.buffer.reserve(self.read_bytes);
        }
        let room = self.buffer.capacity() - self.buffer.len();
        let read = ready!(poll_read_buf(Pin::new(&mut self.stream), context, &mut self.buffer))?;
        if read == room {
            self.read_bytes = (self.read_bytes * 2).min(READ_BYTES_MAX);
        }
        Poll::Ready(Ok(read))
    }

    /// Writes a request and reads the head of its answer. A server may answer before it has read everything: one
    /// that refuses is not sent the rest, and its connection not used again.
    ///
    /// # Errors
    /// [`Ended`]. The connection is of no use then, nor where this future is dropped.
    pub async fn exchange(&mut self, message: &Message, handed: &mut bool) -> Result<Head, Ended> {
        let is_plain = matches!(self.stream.inner(), MaybeHttpsStream::Http(_));
        let mut writing = Writing::default();
        let mut interim = 0;
        // The head of an answer that began while the request is still written.
        let mut early: Option<Head> = None;
        poll_fn(|context| {
            if let Poll::Ready(Err(error)) = writing.poll(&mut self.stream, message, context, handed) {
                // TLS may have sent a part of it before it failed.
                if writing.written == 0 && is_plain {
                    return Poll::Ready(Err(Ended::Untouched(error)));
                }
                *handed = true;
                // What it said before it closed may be the answer.
                writing.over = true;
            }
            loop {
                while let Some(head) = early.take().map_or_else(|| self.head(), |head| Ok(Some(head)))? {
                    if head.status.is_success() && !writing.ended() {
                        early = Some(head);
                        return Poll::Pending;
                    }
                    if !head.status.is_informational() {
                        let keeps = head.keeps && writing.flushed;
                        return Poll::Ready(Ok(Head { keeps, ..head }));
                    }
                    interim += 1;
                    if interim > INTERIM_MAX || head.status == StatusCode::SWITCHING_PROTOCOLS {
                        return Poll::Ready(Err(Ended::Broken("it answers without an answer (HTTP 1xx)")));
                    }
                }
                let read = ready!(self.poll_read(context)).map_err(Ended::Failed)?;
                if read == 0 {
                    return Poll::Ready(Err(Ended::Broken("it closed the connection before it answered")));
                }
            }
        })
        .await
    }

    /// The head that stands at the front of the buffer, if it is whole.
    fn head(&mut self) -> Result<Option<Head>, Ended> {
        self.skip_empty_lines()?;
        if !self.has_empty_line() {
            return if self.buffer.len() > HEAD_BYTES_MAX { Err(LARGE) } else { Ok(None) };
        }
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut parsed = httparse::Response::new(&mut headers);
        let length = match parsed.parse(&self.buffer) {
            Ok(httparse::Status::Complete(length)) if length <= HEAD_BYTES_MAX => length,
            Ok(httparse::Status::Partial) if self.buffer.len() <= HEAD_BYTES_MAX => return Ok(None),
            Ok(_) | Err(httparse::Error::TooManyHeaders) => return Err(LARGE),
            Err(_) => return Err(Ended::Broken("its answer is no HTTP/1.1")),
        };
        let head = read_head(&parsed)?;
        self.buffer.advance(length);
        (self.looked_at, self.skipped) = (0, 0);
        Ok(Some(head))
    }

    fn skip_empty_lines(&mut self) -> Result<(), Ended> {
        let empty = self.buffer.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        if empty > 0 {
            self.buffer.advance(empty);
            (self.looked_at, self.skipped) = (0, self.skipped.saturating_add(empty));
        }
        if self.skipped > EMPTY_BYTES_MAX { Err(LARGE) } else { Ok(()) }
    }

    /// Whether a line without anything in it, the end of a head, came with what was read last: a head that
    /// trickles in is parsed once.
    fn has_empty_line(&mut self) -> bool {
        let from = self.looked_at.saturating_sub(2);
        self.looked_at = self.buffer.len();
        let unseen = self.buffer.get(from..).unwrap_or_default();
        unseen.windows(2).any(|two| two == b"\n\n") || unseen.windows(3).any(|three| three == b"\n\r\n")
    }
}

const LARGE: Ended = Ended::Broken("the head of its answer is larger than is read");

/// How far a request is written.
#[derive(Default)]
struct Writing {
    written: usize,
    /// All of it has left.
    flushed: bool,
    /// Nothing more is written of it: the connection takes no more.
    over: bool,
}

impl Writing {
    const fn ended(&self) -> bool {
        self.flushed || self.over
    }

    fn poll(
        &mut self,
        stream: &mut TokioIo<Dialled>,
        message: &Message,
        context: &mut Context<'_>,
        handed: &mut bool,
    ) -> Poll<io::Result<()>> {
        if self.ended() {
            return Poll::Ready(Ok(()));
        }
        while self.written < message.len() {
            let rest = message.behind(self.written);
            let written = ready!(Pin::new(&mut *stream).poll_write_vectored(context, &rest))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            *handed = true;
            self.written = self.written.saturating_add(written);
        }
        ready!(Pin::new(stream).poll_flush(context))?;
        self.flushed = true;
        Poll::Ready(Ok(()))
    }
}
