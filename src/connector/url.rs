//! The host of a URL that an agent names, for policies on where a call may reach.
//!
//! Invariant: a URL that two programs could read as two hosts has none here (`None`, so unreadable):
//! user information, backslashes, control characters, numbers that are IPv4 addresses in another
//! dress. What is left is the host that every reader sees.

use std::net::{Ipv4Addr, Ipv6Addr};

/// Bytes of a host's name (RFC 1035).
const HOST_BYTES_MAX: usize = 253;

/// The host in lower case, without port and without a dot at its end.
pub(super) fn host_of(text: &str) -> Option<String> {
    let plain = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    let (scheme, rest) = text.split_once("://").filter(|_| plain)?;
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return None;
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if let Some(bracketed) = authority.strip_prefix('[') {
        let (address, port) = bracketed.split_once(']')?;
        let fits = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
        let address: Ipv6Addr = address.parse().ok().filter(|_| fits)?;
        return Some(format!("[{address}]"));
    }
    let host = match authority.split_once(':') {
        Some((host, port)) => is_port(port).then_some(host)?,
        None => authority,
    };
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    let is_label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    if host.len() > HOST_BYTES_MAX || !host.split('.').all(is_label) {
        return None;
    }
    // Where the last label is a number, readers take the whole for an address.
    let last = host.rsplit('.').next().unwrap_or_default();
    let is_number = last.bytes().all(|byte| byte.is_ascii_digit()) || last.starts_with("0x");
    let is_written_plainly = host.parse::<Ipv4Addr>().is_ok_and(|address| address.to_string() == host);
    (!is_number || is_written_plainly).then_some(host)
}

fn is_port(text: &str) -> bool {
    text.parse::<u16>().is_ok() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_is_what_every_reader_sees() {
        for (url, host) in [
            ("https://Docs.Example.com/a?b#c", "docs.example.com"),
            ("http://example.com:8080", "example.com"),
            ("HTTP://example.com.", "example.com"),
            ("https://example.com?x=https://other.com/", "example.com"),
            ("https://127.0.0.1/", "127.0.0.1"),
            ("https://[0:0::1]:443/", "[::1]"),
            ("https://xn--bcher-kva.example/", "xn--bcher-kva.example"),
        ] {
            assert_eq!(host_of(url).as_deref(), Some(host), "{url}");
        }
    }

    #[test]
    fn a_url_that_two_programs_may_read_otherwise_has_no_host() {
        for url in [
            "",
            "example.com",
            "ftp://example.com/",
            "file:///etc/passwd",
            "https:///path",
            "https://good.com@evil.com/",
            "https://good.com\\@evil.com/",
            "https://good.com\t.evil.com/",
            " https://example.com/",
            "https://bücher.example/",
            "https://a..b/",
            "https://.example.com/",
            "https://example.com:99999/",
            "https://example.com:+80/",
            "https://2130706433/",
            "https://0x7f.1/",
            "https://0177.0.0.1/",
            "https://127.1/",
            "https://[::1/",
            "https://[::1]x/",
            "https://example.com%2eevil.com/",
        ] {
            assert_eq!(host_of(url), None, "{url}");
        }
    }
}
