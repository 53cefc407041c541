//! The whole request body, bounded in bytes and time. Nothing is decided before it is there, because
//! what is decided must be what is sent.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Incoming;

use crate::mcp::Refusal;

/// Bytes of a refused body that are taken and thrown away.
const DISCARDED_BYTES_MAX: usize = 8 << 20;
/// For so long.
const DISCARDED_MAX: Duration = Duration::from_secs(1);

/// Reads the body to its end. A body of one frame, the usual case, is not copied.
///
/// # Errors
/// The row of the table: too large, too slow, cut.
pub async fn read(mut body: Incoming, bytes_max: u32, read_ms_max: u64) -> Result<Bytes, Refusal> {
    let wait = Duration::from_millis(read_ms_max);
    let read = tokio::time::timeout(wait, collect(&mut body, bytes_max)).await;
    let read = read.unwrap_or(Err(Refusal::BodyTooSlow));
    if matches!(read, Err(Refusal::TooLarge { .. })) {
        discard(&mut body).await;
    }
    read
}

/// Takes what a client still sends after it was refused, within narrow bounds: a client that is busy
/// sending does not read, and a connection that is closed on unread bytes is reset, the answer lost.
pub async fn discard(body: &mut Incoming) {
    let take = async {
        let mut taken = 0;
        while let Some(Ok(frame)) = body.frame().await {
            taken += frame.into_data().map_or(0, |data| data.len());
            if taken > DISCARDED_BYTES_MAX {
                return;
            }
        }
    };
    // Whoever sends more, or slower, does without the answer.
    let _done = tokio::time::timeout(DISCARDED_MAX, take).await;
}

async fn collect(body: &mut Incoming, bytes_max: u32) -> Result<Bytes, Refusal> {
    let mut first = Bytes::new();
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| Refusal::InvalidRequest { what: "the body was cut" })?.into_data()
        else {
            continue;
        };
        if first.len().max(whole.len()) + data.len() > bytes_max as usize {
            return Err(Refusal::TooLarge { bytes_max: u64::from(bytes_max) });
        }
        if first.is_empty() && whole.is_empty() {
            first = data;
            continue;
        }
        if whole.is_empty() {
            whole.extend_from_slice(&first);
        }
        whole.extend_from_slice(&data);
    }
    Ok(if whole.is_empty() { first } else { whole.freeze() })
}
