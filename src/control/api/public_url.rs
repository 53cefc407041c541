//! Where browsers reach the control port: what links begin with, and what a browser's requests must name
//! as their origin.
//!
//! Invariant: two spellings of one origin (RFC 6454: scheme, host in lower case, port unless it is the
//! scheme's) are equal, and nothing that is not an origin is equal to anything.

use std::fmt;
use std::net::IpAddr;

use http::Uri;

/// `https://wicket.example.com`, without a slash at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicUrl {
    text: String,
    authority: String,
    secure: bool,
    loopback: bool,
}

impl PublicUrl {
    /// Reads a URL of scheme, host and port alone; a slash at its end is taken off.
    ///
    /// # Errors
    /// What is wrong with it, lower case.
    pub fn parse(text: &str) -> Result<Self, String> {
        let expected = || format!("`{}` is not like https://wicket.example.com", text.escape_default());
        let bare = text.strip_suffix('/').unwrap_or(text);
        let (scheme, authority) = origin_of(bare).ok_or_else(expected)?;
        if bare.split_once("://").is_none_or(|(_, rest)| rest.contains(['/', '?', '#', '@'])) {
            return Err(expected());
        }
        let secure = scheme == "https";
        let loopback = host_of(&authority).is_some_and(|host| is_loopback_host(&host));
        Ok(Self { text: format!("{scheme}://{authority}"), authority, secure, loopback })
    }

    /// The URL, without a slash at the end. It is its own origin.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether browsers speak TLS to it.
    pub const fn is_secure(&self) -> bool {
        self.secure
    }

    /// Whether a browser may keep a cookie for it: what is sent over TLS, or never leaves the machine.
    pub const fn may_sign_in(&self) -> bool {
        self.secure || self.loopback
    }

    /// Whether a URL or the value of `Origin` has this origin.
    pub fn is_origin_of(&self, url: &str) -> bool {
        origin_of(url).is_some_and(|(scheme, authority)| {
            authority == self.authority && scheme == if self.secure { "https" } else { "http" }
        })
    }

    /// Whether a `Host` names it, its port aside: a proxy in front may have another.
    pub fn is_host(&self, authority: &str) -> bool {
        let given = host_of(authority);
        given.is_some() && given == host_of(&self.authority)
    }
}

impl fmt::Display for PublicUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Scheme and authority of an HTTP URL, as origins are compared.
fn origin_of(url: &str) -> Option<(&'static str, String)> {
    let uri: Uri = url.parse().ok()?;
    let scheme = match uri.scheme_str()? {
        "https" => "https",
        "http" => "http",
        _ => return None,
    };
    let authority = uri.authority()?;
    let host = host_of(authority.as_str())?;
    let usual = if scheme == "https" { 443 } else { 80 };
    Some((
        scheme,
        match authority.port_u16() {
            Some(port) if port != usual => format!("{host}:{port}"),
            Some(_) => host,
            // A port that is no number is no port.
            None if authority.as_str().len() > authority.host().len() => return None,
            None => host,
        },
    ))
}

/// The host of `host` or `host:port`, in lower case; nothing where somebody's name stands before it.
fn host_of(authority: &str) -> Option<String> {
    let authority: http::uri::Authority = authority.parse().ok()?;
    if authority.as_str().contains('@') || authority.host().is_empty() {
        return None;
    }
    Some(authority.host().to_ascii_lowercase())
}

fn is_loopback_host(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare == "localhost" || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_url_is_scheme_host_and_port() {
        for (text, read, may) in [
            ("https://Wicket.Example.com/", "https://wicket.example.com", true),
            ("https://wicket.example.com:443", "https://wicket.example.com", true),
            ("https://wicket.example.com:8443", "https://wicket.example.com:8443", true),
            ("http://127.0.0.1:7401", "http://127.0.0.1:7401", true),
            ("http://[::1]:7401", "http://[::1]:7401", true),
            ("http://localhost:80", "http://localhost", true),
            ("http://10.0.0.7:7401", "http://10.0.0.7:7401", false),
            ("http://0.0.0.0:7401", "http://0.0.0.0:7401", false),
        ] {
            let url = PublicUrl::parse(text).unwrap();
            assert_eq!((url.as_str(), url.may_sign_in()), (read, may));
            assert!(url.is_origin_of(text), "{text}");
        }
        for bad in [
            "",
            "wicket.example.com",
            "ftp://wicket.example.com",
            "https://",
            "https://wicket.example.com/gate",
            "https://wicket.example.com?x",
            "https://wicket.example.com#x",
            "https://ann@wicket.example.com",
            "https://wicket.example.com:port",
        ] {
            assert!(PublicUrl::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn another_origin_is_another() {
        let url = PublicUrl::parse("https://wicket.example.com").unwrap();
        assert!(url.is_origin_of("https://wicket.example.com/page?x=1"));
        for other in [
            "null",
            "",
            "http://wicket.example.com",
            "https://wicket.example.com:444",
            "https://wicket.example.com.evil.com",
            "https://evil.com/https://wicket.example.com",
            "https://ann@wicket.example.com",
            "https://wicket.example.com@evil.com",
        ] {
            assert!(!url.is_origin_of(other), "{other}");
        }
        assert!(url.is_host("WICKET.example.com:7401"));
        assert!(!url.is_host("example.com") && !url.is_host("x@wicket.example.com"));
    }
}
