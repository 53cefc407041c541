//! The body of an upstream's answer.
//!
//! Invariants: it ends only where its framing says so, and is an error otherwise; its connection goes back to
//! the idle ones at its end and not before; what is not read is not taken from the socket.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::task::coop::poll_proceed;

use super::chunked::Step;
use super::head::Framing;
use super::http1::Connection;
use super::idle::Idle;

/// A body that broke.
#[derive(Debug)]
pub enum BodyFault {
    Io(std::io::Error),
    /// It is not framed as it says, or was cut.
    Framing(&'static str),
    Http2(hyper::Error),
}

impl fmt::Display for BodyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Framing(why) => f.write_str(why),
            Self::Http2(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for BodyFault {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(_) | Self::Framing(_) => None,
            Self::Http2(error) => std::error::Error::source(error),
        }
    }
}

/// A body that comes in.
#[derive(Debug)]
pub struct Incoming(State);

#[derive(Debug)]
enum State {
    /// It came with its head, as most do; its connection is in use again, maybe.
    Whole(Bytes),
    Http1(Box<Rest>),
    Http2(hyper::body::Incoming),
}

/// What is still to be read over HTTP/1.1.
#[derive(Debug)]
struct Rest {
    /// Nothing where the body ended or broke.
    connection: Option<Box<Connection>>,
    framing: Framing,
    /// Where the connection is kept for others.
    idle: Option<Arc<Idle>>,
}

impl Incoming {
    /// The body behind a head.
    pub(super) fn of_http1(
        mut connection: Box<Connection>,
        framing: Framing,
        idle: Option<Arc<Idle>>,
    ) -> Self {
        if let Framing::Length(length) = framing
            && let Some(length) =
                usize::try_from(length).ok().filter(|length| *length <= connection.buffer.len())
        {
            let whole = connection.buffer.split_to(length).freeze();
            give_back(connection, idle);
            return Self(State::Whole(whole));
        }
        Self(State::Http1(Box::new(Rest { connection: Some(connection), framing, idle })))
    }

    /// All of it, if it came with its head.
    pub fn into_whole(self) -> Result<Bytes, Self> {
        match self.0 {
            State::Whole(bytes) => Ok(bytes),
            _ => Err(self),
        }
    }

    /// The body of an HTTP/2 stream.
    pub(super) const fn of_http2(body: hyper::body::Incoming) -> Self {
        Self(State::Http2(body))
    }
}

/// The connection of a body that ended: for others, unless something lies behind the body.
fn give_back(connection: Box<Connection>, idle: Option<Arc<Idle>>) {
    if let Some(idle) = idle.filter(|_| connection.buffer.is_empty()) {
        idle.put(connection);
    }
}

impl Drop for Rest {
    /// The end of a body that nobody wants may be there already, as that of an empty one is: its connection can
    /// be used again then.
    fn drop(&mut self) {
        while let Some(connection) = &mut self.connection {
            match step(&mut self.framing, connection) {
                Ok(Step::Data(_)) => {}
                Ok(Step::End) => self.ended(),
                Ok(Step::More) | Err(_) => return,
            }
        }
    }
}

/// What lies in the buffer of a body.
fn step(framing: &mut Framing, connection: &mut Connection) -> Result<Step, &'static str> {
    match framing {
        Framing::Length(0) => Ok(Step::End),
        Framing::Length(left) => Ok(take(connection, left)),
        Framing::Chunked(chunked) => chunked.next(&mut connection.buffer),
        Framing::Close => Ok(take(connection, &mut u64::MAX.clone())),
    }
}

impl Rest {
    fn poll_data(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyFault>>> {
        loop {
            let Some(connection) = &mut self.connection else { return Poll::Ready(None) };
            match step(&mut self.framing, connection) {
                Ok(Step::Data(data)) => return Poll::Ready(Some(Ok(data))),
                Ok(Step::More) => {}
                Ok(Step::End) => {
                    self.ended();
                    return Poll::Ready(None);
                }
                Err(why) => return self.broken(BodyFault::Framing(why)),
            }
            match ready!(connection.poll_read(context)) {
                Ok(0) if matches!(self.framing, Framing::Close) => {
                    self.connection = None;
                    return Poll::Ready(None);
                }
                Ok(0) => {
                    return self
                        .broken(BodyFault::Framing("it closed the connection before its answer was whole"));
                }
                Ok(_) => {}
                Err(error) => return self.broken(BodyFault::Io(error)),
            }
        }
    }

    fn ended(&mut self) {
        if let Some(connection) = self.connection.take() {
            give_back(connection, self.idle.take());
        }
    }

    fn broken(&mut self, fault: BodyFault) -> Poll<Option<Result<Bytes, BodyFault>>> {
        self.connection = None;
        Poll::Ready(Some(Err(fault)))
    }
}

/// What is there of so many bytes.
fn take(connection: &mut Connection, left: &mut u64) -> Step {
    let here = usize::try_from(*left).unwrap_or(usize::MAX).min(connection.buffer.len());
    if here == 0 {
        return Step::More;
    }
    *left = left.saturating_sub(here as u64);
    Step::Data(connection.buffer.split_to(here).freeze())
}

impl Body for Incoming {
    type Data = Bytes;
    type Error = BodyFault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        let data = match &mut self.0 {
            State::Whole(bytes) if bytes.is_empty() => None,
            State::Whole(bytes) => Some(Ok(std::mem::take(bytes))),
            State::Http1(rest) => {
                // Many small chunks may lie in the buffer: others have their turn.
                let turn = ready!(poll_proceed(context));
                let data = ready!(rest.poll_data(context));
                turn.made_progress();
                data
            }
            State::Http2(body) => {
                let frame = ready!(Pin::new(body).poll_frame(context));
                return Poll::Ready(frame.map(|frame| frame.map_err(BodyFault::Http2)));
            }
        };
        Poll::Ready(data.map(|data| data.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            State::Whole(bytes) => bytes.is_empty(),
            State::Http1(rest) => rest.connection.is_none(),
            State::Http2(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            State::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            State::Http1(rest) => match rest.framing {
                Framing::Length(left) => SizeHint::with_exact(left),
                Framing::Chunked(_) | Framing::Close => SizeHint::new(),
            },
            State::Http2(body) => body.size_hint(),
        }
    }
}
