//! Reply bodies of the recorder: whole JSON, streams, and the ways in which a stream can go wrong.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::Response;
use hyper::body::{Body, Frame};
use serde_json::Value;
use tokio::sync::mpsc;

/// The body of every reply; an error cuts the connection without a clean end.
pub type ReplyBody = BoxBody<Bytes, Cut>;

/// The connection is to be cut here.
#[derive(Debug)]
pub struct Cut;

impl std::fmt::Display for Cut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("cut on purpose")
    }
}

impl std::error::Error for Cut {}

/// A plain reply.
pub fn status(status: u16, text: &str) -> Response<ReplyBody> {
    whole(status, "text/plain", Bytes::copy_from_slice(text.as_bytes()))
}

/// A JSON reply with status 200.
pub fn json(value: &Value) -> Response<ReplyBody> {
    whole(200, "application/json", Bytes::from(value.to_string()))
}

/// Any whole reply.
pub fn whole(status: u16, content_type: &str, body: Bytes) -> Response<ReplyBody> {
    Response::builder()
        .status(status)
        .header("content-type", content_type)
        .body(Full::new(body).map_err(|never: Infallible| match never {}).boxed())
        .unwrap()
}

/// What a stream gives next.
pub enum Piece {
    Bytes(Bytes),
    Cut,
}

/// One SSE message.
pub fn event(value: &Value) -> Piece {
    Piece::Bytes(Bytes::from(format!("event: message\ndata: {value}\n\n")))
}

/// An event stream fed by the sender; dropping the sender ends it cleanly.
pub fn stream() -> (mpsc::Sender<Piece>, Response<ReplyBody>) {
    let (sender, receiver) = mpsc::channel(16);
    let response = Response::builder()
        .status(200)
        .header("content-type", "text/event-stream")
        .header("cache-control", "no-cache")
        .body(Stream(receiver).boxed())
        .unwrap();
    (sender, response)
}

struct Stream(mpsc::Receiver<Piece>);

impl Body for Stream {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        self.0.poll_recv(context).map(|piece| {
            piece.map(|piece| match piece {
                Piece::Bytes(bytes) => Ok(Frame::data(bytes)),
                Piece::Cut => Err(Cut),
            })
        })
    }
}
