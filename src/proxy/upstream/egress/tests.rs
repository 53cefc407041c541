use super::*;

fn check(address: &str, expect: Option<&str>) {
    assert_eq!(denied(address.parse().unwrap()), expect, "{address}");
}

#[test]
fn every_special_range_is_known_by_its_first_and_last_address() {
    for (kind, addresses) in [
        ("unspecified", &["0.0.0.0", "0.255.255.255", "::"][..]),
        ("loopback", &["127.0.0.1", "127.255.255.255", "::1"]),
        (
            "private",
            &[
                "10.0.0.0",
                "10.255.255.255",
                "172.16.0.0",
                "172.31.255.255",
                "192.168.0.0",
                "192.168.255.255",
                "fc00::",
                "fd00:ec2::254",
                "fdff::1",
                "fec0::1",
                "64:ff9b:1::a00:1",
                // A private IPv4 address behind NAT64 and 6to4.
                "64:ff9b::10.0.0.1",
                "2002:c0a8:101::",
            ],
        ),
        ("shared (carrier-grade NAT)", &["100.64.0.0", "100.100.100.200", "100.127.255.255"]),
        (
            "link-local",
            &[
                "169.254.0.0",
                "169.254.169.254",
                "169.254.255.255",
                "fe80::1",
                "febf::1",
                "64:ff9b::169.254.169.254",
            ],
        ),
        ("for documentation", &["192.0.2.1", "198.51.100.1", "203.0.113.1", "2001:db8::1", "3fff::1"]),
        ("for benchmarks", &["198.18.0.0", "198.19.255.255"]),
        ("multicast", &["224.0.0.1", "239.255.255.255", "ff02::1", "ffff::"]),
        (
            "reserved",
            &["192.0.0.1", "192.88.99.1", "240.0.0.0", "255.255.255.255", "100::1", "2001::1", "2001:1ff::"],
        ),
        (
            "IPv4 written as IPv6",
            &["::ffff:127.0.0.1", "::ffff:8.8.8.8", "::127.0.0.1", "::ffff:0:10.0.0.1", "::2"],
        ),
    ] {
        for address in addresses {
            check(address, Some(kind));
        }
    }
}

#[test]
fn public_addresses_beside_the_ranges_may_be_dialled() {
    for address in [
        "1.1.1.1",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.0",
        "169.253.255.255",
        "169.255.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "192.167.255.255",
        "192.169.0.0",
        "198.17.255.255",
        "198.20.0.0",
        "223.255.255.255",
        "2606:4700::1111",
        "2001:200::1",
        "2a00::1",
        "64:ff9b::8.8.8.8",
        "2002:808:808::1",
    ] {
        check(address, None);
    }
}

#[test]
fn of_two_dns_answers_only_the_public_one_is_dialled() {
    let private: SocketAddr = "10.0.0.1:443".parse().unwrap();
    let public: SocketAddr = "1.1.1.1:443".parse().unwrap();
    for order in [[private, public], [public, private]] {
        assert_eq!(allowed("evil.example", order.into_iter(), false), Ok(vec![public]));
    }
    let fault = allowed("evil.example", [private].into_iter(), false).unwrap_err().to_string();
    assert!(fault.contains("`evil.example` resolves to 10.0.0.1, which is private"), "{fault}");
    assert_eq!(allowed("evil.example", [private].into_iter(), true), Ok(vec![private]));
    assert!(allowed("none.example", std::iter::empty(), true).is_err());
    let many = std::iter::repeat_n(public, ADDRESSES_MAX * 2);
    assert_eq!(allowed("many.example", many, false).unwrap().len(), ADDRESSES_MAX);
}

/// The spellings by which a loopback or metadata address slips past a check of the text: the
/// system's resolver reads them all, so each must end at the guard or resolve to nothing.
#[tokio::test]
async fn no_spelling_of_a_private_address_is_dialled() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    for host in [
        "127.0.0.1",
        "127.1",
        "0x7f.1",
        "0x7f000001",
        "2130706433",
        "017700000001",
        "0177.0.0.1",
        "127.000.000.001",
        "0",
        "0.0.0.0",
        "localhost",
        "LOCALHOST",
        "localhost.",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "[0:0:0:0:0:0:0:1]",
        "169.254.169.254",
        "0xa9fea9fe",
        "2852039166",
        "[fd00:ec2::254]",
    ] {
        let uri: Uri = format!("http://{host}:{port}/mcp").parse().unwrap();
        let fault = dial(&uri, false, Duration::from_secs(2)).await.unwrap_err().to_string();
        assert!(fault.contains("which is") || fault.contains("does not resolve"), "{host}: {fault}");
    }
    let uri: Uri = format!("http://127.1:{port}/mcp").parse().unwrap();
    assert!(dial(&uri, true, Duration::from_secs(2)).await.is_ok(), "and with the connector's word it is");
}

mod tls {
    use std::io::Write as _;
    use std::sync::Arc;

    use hyper_util::client::legacy::connect::Connection as _;
    use rustls::pki_types::pem::PemObject as _;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};

    use super::*;

    // Made for these tests with openssl, valid for 100 years; the authority's key was thrown away.
    const AUTHORITY: &[u8] = include_bytes!("../../../../tests/data/tls/ca.pem");
    const CERTIFICATE: &[u8] = include_bytes!("../../../../tests/data/tls/localhost.pem");
    const KEY: &[u8] = include_bytes!("../../../../tests/data/tls/localhost.key");

    fn server(protocols: &[&str]) -> u16 {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let chain = CertificateDer::pem_slice_iter(CERTIFICATE).collect::<Result<Vec<_>, _>>().unwrap();
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, PrivateKeyDer::from_pem_slice(KEY).unwrap())
            .unwrap();
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        let listener = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            while let Ok((mut stream, _)) = listener.accept() {
                let mut session = rustls::ServerConnection::new(Arc::new(config.clone())).unwrap();
                // A client that does not trust us ends the handshake.
                if session.complete_io(&mut stream).is_ok() {
                    let _gone = stream.flush();
                }
            }
        });
        port
    }

    async fn check(protocols: &[&str], http2: bool, trusted: bool, host: &str) -> Result<bool, String> {
        let mut roots = rustls::RootCertStore::empty();
        if trusted {
            roots.add(CertificateDer::from_pem_slice(AUTHORITY).unwrap()).unwrap();
        }
        let config = tls_builder().unwrap().with_root_certificates(roots).with_no_client_auth();
        let mut dialer = Dialer::new(config, true, Duration::from_secs(2), http2);
        let uri: Uri = format!("https://{host}:{}/", server(protocols)).parse().unwrap();
        let stream = dialer.call(uri).await.map_err(|error| error.to_string())?;
        Ok(stream.connected().is_negotiated_h2())
    }

    #[tokio::test]
    async fn http2_is_spoken_where_both_want_it_and_only_with_a_trusted_server() {
        assert_eq!(check(&["h2", "http/1.1"], true, true, "localhost").await, Ok(true));
        assert_eq!(check(&["h2", "http/1.1"], false, true, "localhost").await, Ok(false));
        assert_eq!(check(&["http/1.1"], true, true, "127.0.0.1").await, Ok(false));
        assert_eq!(check(&[], true, true, "localhost").await, Ok(false));
        for (trusted, host) in [(false, "localhost"), (true, "127.0.0.2")] {
            let fault = check(&["h2"], true, trusted, host).await.unwrap_err();
            assert!(fault.contains("certificate"), "{fault}");
        }
    }

    #[tokio::test]
    async fn a_dial_that_hangs_in_tls_ends_in_time() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri: Uri = format!("https://{}/", listener.local_addr().unwrap()).parse().unwrap();
        let mut dialer = Dialer::new(no_tls().unwrap(), true, Duration::from_millis(200), true);
        let fault = dialer.call(uri).await.err().unwrap().to_string();
        assert_eq!(fault, "no connection within 200 ms");
    }
}
