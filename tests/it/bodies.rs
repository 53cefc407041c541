//! Bodies of every size pass byte for byte, and one byte over the limit does not pass at all.

use bytes::Bytes;
use http_body_util::Full;
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{Client, Connector, Gate, GateOptions};
use crate::recorder::{Recorder, RecorderOptions, definitions};

const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;

struct Setup {
    gate: Gate,
    upstream: Recorder,
    _dir: tempfile::TempDir,
}

async fn setup() -> Setup {
    let dir = tempfile::tempdir().unwrap();
    let upstream = Recorder::start(dir.path(), RecorderOptions { synced: false }).await;
    let connector = Connector::http("recorder", &upstream.url(), definitions());
    let gate = Gate::start(GateOptions::new(vec![connector]).with_audit_mode("process")).await;
    Setup { gate, upstream, _dir: dir }
}

/// A call whose body has exactly this many bytes, and its arguments.
fn body_of(bytes: usize) -> Option<(String, String)> {
    let build = |text: &str| {
        let arguments = format!(r#"{{"text":"{text}"}}"#);
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"recorder__echo","arguments":{arguments}}}}}"#
        );
        (body, arguments)
    };
    let filler = bytes.checked_sub(build("").0.len())?;
    let letters: String = (0..filler).map(|n| char::from(b'a' + (n % 26) as u8)).collect();
    Some(build(&letters))
}

async fn passes(client: &Client, bytes: usize) -> Option<String> {
    let (body, arguments) = body_of(bytes)?;
    assert_eq!(body.len(), bytes);
    let reply = client.post(body).await;
    assert!(
        reply.succeeded(),
        "{bytes} bytes: {} {:?}",
        reply.status,
        reply.body.slice(..reply.body.len().min(300))
    );
    Some(arguments)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_size_to_4_kib_and_powers_of_two_to_the_limit() {
    let Setup { gate, upstream, _dir } = setup().await;
    let client = gate.client();
    let powers = (13..=22).map(|power| 1_usize << power);
    let around = powers.flat_map(|power| [power - 1, power, (power + 1).min(BODY_BYTES_MAX)]);
    let mut sent = Vec::new();
    for bytes in (1..=4_096).chain(around) {
        sent.extend(passes(&client, bytes).await);
    }
    assert!(sent.len() > 4_000, "only {} sizes were tried", sent.len());
    let received: Vec<_> = upstream.calls().into_iter().map(|call| call.arguments).collect();
    assert_eq!(sent.len(), received.len());
    for (sent, received) in sent.iter().zip(&received) {
        assert!(sent == received, "arguments of {} bytes arrived otherwise", sent.len());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_byte_over_is_413_however_it_is_sent() {
    let Setup { gate, upstream, _dir } = setup().await;
    let client = gate.client();
    let (body, _) = body_of(BODY_BYTES_MAX + 1).unwrap();
    let declared = client.try_send(client.request(body.clone())).await.unwrap();
    assert_eq!(declared.status, 413);
    assert_eq!(declared.error().unwrap().code, -32600);

    let chunked = raw_chunked(&gate, body.as_bytes(), 60_000).await;
    assert!(chunked.starts_with("HTTP/1.1 413"), "{chunked}");
    assert!(upstream.calls().is_empty());

    let (fits, _) = body_of(BODY_BYTES_MAX).unwrap();
    let whole = raw_chunked(&gate, fits.as_bytes(), 60_000).await;
    assert!(whole.starts_with("HTTP/1.1 200"), "{}", &whole[..whole.len().min(400)]);
    assert_eq!(upstream.calls().len(), 1);
}

/// A 4 KiB body in two writes, split at every byte; the same in two chunks for every 16th.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_4_kib_body_split_at_every_byte() {
    let Setup { gate, upstream, _dir } = setup().await;
    let (body, arguments) = body_of(4_096).unwrap();
    let bytes = body.as_bytes();
    let head = format!(
        "POST /mcp HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n\
         accept: application/json, text/event-stream\r\ncontent-length: {}\r\n\r\n",
        gate.agents(),
        gate.key(),
        bytes.len()
    );
    let mut stream = TcpStream::connect(gate.agents()).await.unwrap();
    stream.set_nodelay(true).unwrap();
    for split in 0..=bytes.len() {
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&bytes[..split]).await.unwrap();
        tokio::task::yield_now().await;
        stream.write_all(&bytes[split..]).await.unwrap();
        let reply = read_reply(&mut stream).await;
        assert!(reply.starts_with("HTTP/1.1 200"), "split at {split}: {reply}");
    }
    for split in (1..bytes.len()).step_by(16) {
        let reply = raw_chunked(&gate, bytes, split).await;
        assert!(reply.starts_with("HTTP/1.1 200"), "chunks of {split}: {reply}");
    }
    let received = upstream.calls();
    assert_eq!(received.len(), bytes.len() + 1 + (1..bytes.len()).step_by(16).count());
    assert!(received.iter().all(|call| call.arguments == arguments));
}

/// Digests instead of texts: four mebibytes of escapes, non-ASCII and numbers stay what they were.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn arguments_are_spliced_never_written_anew() {
    let Setup { gate, upstream, _dir } = setup().await;
    let client = gate.client();
    let awkward = [
        r#"{ "text" : "\u0041\/\n\ud83d\ude00 ü 😀" }"#.to_owned(),
        r#"{"text":"x","n":1.0,"big":123456789012345678901234567890,"e":1E+2,"m":-0.0}"#.to_owned(),
        "{\n\t\"z\": 1,\r\n \"a\": [ 1 , 2 ,{ } ] }".to_owned(),
        format!(r#"{{"text":"{}"}}"#, "ü😀\\n".repeat(200_000)),
    ];
    for arguments in &awkward {
        let body = format!(
            r#"{{"method":"tools/call","params":{{"arguments":{arguments},"name":"recorder__echo"}},"id":"x\u0031","jsonrpc":"2.0"}}"#
        );
        let reply = client.send(client.request(Bytes::from(body)).map(|body: Full<Bytes>| body)).await;
        assert!(reply.succeeded(), "{reply:?}");
        assert_eq!(reply.message()["id"], json!("x1"));
    }
    let digest = |text: &str| Sha256::digest(text.as_bytes());
    let sent: Vec<_> = awkward.iter().map(|text| digest(text)).collect();
    let received: Vec<_> = upstream.calls().iter().map(|call| digest(&call.arguments)).collect();
    assert_eq!(sent, received);
}

/// One reply with a content length, or chunked.
async fn read_reply(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let mut buffer = [0_u8; 16_384];
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
            let whole = match length {
                Some(length) => body.len() >= length,
                None => body.ends_with("0\r\n\r\n"),
            };
            if whole {
                return text;
            }
        }
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return text,
            Ok(count) => bytes.extend_from_slice(&buffer[..count]),
        }
    }
}

/// The body in chunks of so many bytes, on a connection of its own; the reply as text.
async fn raw_chunked(gate: &Gate, body: &[u8], chunk: usize) -> String {
    let mut stream = TcpStream::connect(gate.agents()).await.unwrap();
    let head = format!(
        "POST /mcp HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n\
         accept: application/json, text/event-stream\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n",
        gate.agents(),
        gate.key()
    );
    let mut request = head.into_bytes();
    for piece in body.chunks(chunk) {
        request.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
        request.extend_from_slice(piece);
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"0\r\n\r\n");
    // A refusal may come before everything is sent: then the write breaks, and the reply still counts.
    let _ = stream.write_all(&request).await;
    read_reply(&mut stream).await
}
