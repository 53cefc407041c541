//! The body of an answer that lasts: made piece by piece in the background, sent as fast as it is read.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use tokio::sync::mpsc;

/// Pieces that wait to be sent.
const PIECES_MAX: usize = 1;
/// A client that takes nothing for so long is given up.
const STALLED_MAX: Duration = Duration::from_secs(60);

/// What an answer's pieces are handed to. Whoever asked and went away closes it; an error breaks the answer
/// off, so that it does not look whole.
pub(super) type Sender = mpsc::Sender<Result<Bytes, std::io::Error>>;

/// Hands over a piece as soon as the one before is sent; `false`: the client went away, or stalls.
pub(super) async fn hand(sender: &Sender, piece: Result<Bytes, std::io::Error>) -> bool {
    matches!(tokio::time::timeout(STALLED_MAX, sender.send(piece)).await, Ok(Ok(())))
}

/// A body and what its pieces are handed to.
pub(super) fn body() -> (Sender, Body) {
    let (sender, receiver) = mpsc::channel(PIECES_MAX);
    let pieces = stream::unfold(receiver, |mut receiver: mpsc::Receiver<_>| async {
        let piece = receiver.recv().await?;
        Some((piece, receiver))
    });
    (sender, Body::from_stream(pieces))
}
