//! A simulation as server-sent events: how far it is, and at the end what it found.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderValue, Response, header};
use serde_json::json;
use tokio::sync::mpsc;

use super::{Asked, STREAM_MAX, problem};
use crate::control::simulate::{self, Stand};

/// Between two words of progress.
const PROGRESS_EVERY: Duration = Duration::from_millis(250);
/// Events that wait to be sent; progress beyond is left out.
const EVENTS_MAX: usize = 8;

type Sender = mpsc::Sender<Result<Bytes, std::io::Error>>;

/// The answer, and the simulation on a thread where blocking is no harm.
pub(super) fn answer(asked: Asked) -> Response<Body> {
    let (sender, receiver) = mpsc::channel(EVENTS_MAX);
    drop(tokio::task::spawn_blocking(move || run(&asked, &sender)));
    let pieces = stream::unfold(receiver, |mut receiver: mpsc::Receiver<_>| async {
        let piece = receiver.recv().await?;
        Some((piece, receiver))
    });
    let mut response = Response::new(Body::from_stream(pieces));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

fn run(asked: &Asked, sender: &Sender) {
    let begun = Instant::now();
    let mut told = begun;
    let mut look = |stand: Stand| {
        if sender.is_closed() || begun.elapsed() > STREAM_MAX {
            return ControlFlow::Break(());
        }
        if told.elapsed() >= PROGRESS_EVERY {
            told = Instant::now();
            let data = json!({
                "bytesRead": stand.progress.read, "bytes": stand.progress.of,
                "calls": stand.calls, "changed": stand.changed,
            });
            // A client that reads slowly misses some of it.
            let _left_out = sender.try_send(Ok(event("progress", &data.to_string())));
        }
        ControlFlow::Continue(())
    };
    let last = match simulate::run(&asked.job, &mut look) {
        Ok(found) => {
            serde_json::to_string(&found).map(|data| event("result", &data)).map_err(std::io::Error::other)
        }
        Err(failed) => {
            let problem = problem(failed);
            let data = json!({"code": problem.code(), "detail": problem.detail()});
            Ok(event("problem", &data.to_string()))
        }
    };
    // Nobody reads it any more, or it is handed over.
    let _gone = sender.blocking_send(last);
}

fn event(name: &str, data: &str) -> Bytes {
    Bytes::from(format!("event: {name}\ndata: {data}\n\n"))
}
