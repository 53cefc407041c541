//! The PROXY protocol, version 2 (haproxy, `doc/proxy-protocol.txt`), as far as it tells an address.
//!
//! Invariant: exactly the head is taken from the stream; anything else is a fault that closes it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tokio::io::{AsyncRead, AsyncReadExt};

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Addresses and type-length-values together, in bytes.
const PAYLOAD_BYTES_MAX: usize = 2_048;

/// A head that is none.
#[derive(Debug, PartialEq, Eq)]
pub struct HeadFault(&'static str);

impl fmt::Display for HeadFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no PROXY protocol v2 head: {}", self.0)
    }
}

impl std::error::Error for HeadFault {}

/// Takes the head off the stream and returns the source address, `None` for the proxy's own
/// connections (`LOCAL`) and for address families without one.
///
/// # Errors
/// [`HeadFault`] when the stream does not begin with a head, or ends in it.
pub async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Result<Option<IpAddr>, HeadFault> {
    let cut = |_| HeadFault("the stream ends in it");
    let mut fixed = [0u8; 16];
    stream.read_exact(&mut fixed).await.map_err(cut)?;
    let [signature @ .., version_command, family, high, low] = fixed;
    if signature != SIGNATURE {
        return Err(HeadFault("another signature"));
    }
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length > PAYLOAD_BYTES_MAX {
        return Err(HeadFault("too long"));
    }
    let mut payload = vec![0u8; length];
    stream.read_exact(&mut payload).await.map_err(cut)?;
    match version_command {
        0x20 => Ok(None),
        0x21 => source(family, &payload),
        _ => Err(HeadFault("another version or command")),
    }
}

fn source(family: u8, payload: &[u8]) -> Result<Option<IpAddr>, HeadFault> {
    let short = HeadFault("addresses are cut");
    match family {
        // TCP or UDP over IPv4: source, destination, ports.
        0x11 | 0x12 => match payload.first_chunk::<12>() {
            Some([a, b, c, d, ..]) => Ok(Some(Ipv4Addr::new(*a, *b, *c, *d).into())),
            None => Err(short),
        },
        0x21 | 0x22 => match (payload.first_chunk::<16>(), payload.len() >= 36) {
            (Some(source), true) => Ok(Some(Ipv6Addr::from(*source).into())),
            _ => Err(short),
        },
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(version_command: u8, family: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = SIGNATURE.to_vec();
        bytes.extend([version_command, family]);
        bytes.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
        bytes.extend(payload);
        bytes
    }

    async fn check(bytes: &[u8], expect: Result<Option<&str>, ()>) {
        let mut rest = bytes;
        let read = read(&mut rest).await;
        assert_eq!(read.map_err(drop), expect.map(|ip| ip.map(|ip| ip.parse().unwrap())));
    }

    #[tokio::test]
    async fn heads_are_read_exactly() {
        let v4 = [203, 0, 113, 9, 10, 0, 0, 1, 0x1f, 0x90, 0x1c, 0xe8];
        check(&head(0x21, 0x11, &v4), Ok(Some("203.0.113.9"))).await;
        check(&head(0x20, 0x00, &[]), Ok(None)).await;
        let mut v6 = [0u8; 36];
        v6[..4].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
        check(&head(0x21, 0x21, &v6), Ok(Some("2001:db8::"))).await;

        check(&head(0x21, 0x11, &v4[..8]), Err(())).await;
        check(&head(0x31, 0x11, &v4), Err(())).await;
        check(&head(0x21, 0x11, &v4)[..20], Err(())).await;
        check(b"POST /mcp HTTP/1.1\r\n\r\n", Err(())).await;

        let mut bytes = head(0x21, 0x11, &v4);
        bytes.extend(b"GET");
        let mut rest = bytes.as_slice();
        super::read(&mut rest).await.unwrap();
        assert_eq!(rest, b"GET");
    }
}
