//! A raw HTTP/1.1 connection that reads just enough of a reply to know that it came.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::mutate::{Ending, Request};

/// Longer without an end is a hang (G5: 5 s; a loaded two-core machine is given twice that).
const HANG: Duration = Duration::from_secs(10);

/// Why no status was read.
pub enum WireFault {
    Closed,
    Hang,
}

/// Keeps its connection where the last exchange left it whole.
pub struct Wire {
    address: SocketAddr,
    stream: Option<TcpStream>,
}

impl Wire {
    pub fn new(address: SocketAddr) -> Self {
        Self { address, stream: None }
    }

    /// Sends one request; the status of the first reply.
    pub async fn exchange(&mut self, request: &Request) -> Result<u16, WireFault> {
        let fresh = self.stream.is_none() || request.ending != Ending::Keep;
        let exchange = self.once(request, fresh);
        match tokio::time::timeout(HANG, exchange).await {
            Ok(status) => status.ok_or(WireFault::Closed),
            Err(_) => Err(WireFault::Hang),
        }
    }

    async fn once(&mut self, request: &Request, fresh: bool) -> Option<u16> {
        let mut stream = match self.stream.take().filter(|_| !fresh) {
            Some(stream) => stream,
            None => TcpStream::connect(self.address).await.unwrap(),
        };
        let _ = stream.write_all(&request.bytes).await;
        if request.ending == Ending::HalfClose {
            let _ = stream.shutdown().await;
        }
        let mut reply = Vec::new();
        let mut buffer = [0_u8; 4_096];
        loop {
            if request.ending == Ending::Keep && is_whole(&reply) {
                self.stream = Some(stream);
                break;
            }
            match stream.read(&mut buffer).await {
                Ok(0) | Err(_) => break,
                Ok(count) => reply.extend_from_slice(&buffer[..count]),
            }
        }
        std::str::from_utf8(reply.get(9..12)?).ok()?.parse().ok()
    }
}

/// Whether a reply with a content length, or chunks, has come to its end.
fn is_whole(reply: &[u8]) -> bool {
    let Some(head) = reply.windows(4).position(|window| window == b"\r\n\r\n") else { return false };
    let text = String::from_utf8_lossy(&reply[..head]).to_ascii_lowercase();
    let body = &reply[head + 4..];
    if text.starts_with("http/1.1 204") {
        return true;
    }
    match text.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok()) {
        Some(length) => body.len() >= length,
        None => body.ends_with(b"0\r\n\r\n"),
    }
}
