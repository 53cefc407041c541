//! The cookie of a signed-in browser, and the word that its page must say with each unsafe request.
//!
//! Invariants: a cookie is read only in the form that the gate gives out, and only where there is one of
//! its name; over https its name is one that browsers take from this very host alone (`__Host-`); the
//! word is made of the cookie's secret, so that whoever has not read this session's answers has none.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac as _};
use http::{HeaderMap, HeaderValue, header};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::control::api::public_url::PublicUrl;

/// The cookie's name over https.
pub const SECURE_NAME: &str = "__Host-wicket_session";
/// Its name over http, which is for loopback alone: browsers take no `__Host-` without TLS.
pub const LOOPBACK_NAME: &str = "wicket_session";
/// Bytes of the secret, and its characters in base64url.
const SECRET_BYTES: usize = 32;
const SECRET_CHARACTERS: usize = 43;
/// What the word is made for; another use of the secret would have another.
const WORD_LABEL: &[u8] = b"wicket/csrf/v1";

/// The cookie's name at this URL.
pub const fn name(at: &PublicUrl) -> &'static str {
    if at.is_secure() { SECURE_NAME } else { LOOPBACK_NAME }
}

/// The session's secret, as the browser sends it back.
pub struct Cookie(Zeroizing<String>);

/// The cookie is there more than once, or in a form that the gate never gave out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unreadable;

/// What a session's page says in `x-csrf-token`.
#[derive(Clone, PartialEq, Eq)]
pub struct Word(String);

impl fmt::Debug for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Word(redacted)")
    }
}

impl Word {
    /// The word, for the session's own page.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether this is the word, in a time that does not tell where it differs.
    pub fn is(&self, said: &str) -> bool {
        self.0.as_bytes().ct_eq(said.as_bytes()).into()
    }
}

impl Cookie {
    /// The session's cookie among a request's: nothing where there is none of the name.
    ///
    /// # Errors
    /// More than one of the name, which a neighbour on the host may have planted, or one that the gate
    /// never gave out.
    pub fn of(headers: &HeaderMap, at: &PublicUrl) -> Result<Option<Self>, Unreadable> {
        let name = name(at);
        let mut found: Option<&str> = None;
        for value in headers.get_all(header::COOKIE) {
            let Ok(text) = value.to_str() else { continue };
            let pairs = text.split(';').filter_map(|pair| pair.trim_matches([' ', '\t']).split_once('='));
            for (_, value) in pairs.filter(|(given, _)| *given == name) {
                if found.replace(value).is_some() {
                    return Err(Unreadable);
                }
            }
        }
        match found {
            None => Ok(None),
            // What a browser keeps after it was told to forget.
            Some("") => Ok(None),
            Some(text) if is_secret(text) => Ok(Some(Self(Zeroizing::new(text.to_owned())))),
            Some(_) => Err(Unreadable),
        }
    }

    /// A new session's.
    pub const fn new(secret: Zeroizing<String>) -> Self {
        Self(secret)
    }

    /// What the store knows it by.
    pub fn digest(&self) -> [u8; 32] {
        super::digest(&self.0)
    }

    /// The session's word; none only if a key of 43 bytes were refused, which HMAC does not do.
    pub fn word(&self) -> Option<Word> {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.0.as_bytes()).ok()?;
        mac.update(WORD_LABEL);
        Some(Word(URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())))
    }

    /// The header that hands it to the browser for so many seconds.
    pub fn set(&self, at: &PublicUrl, seconds: i64) -> Option<HeaderValue> {
        written(at, &self.0, seconds)
    }

    /// The header that has the browser forget it.
    pub fn forget(at: &PublicUrl) -> Option<HeaderValue> {
        written(at, "", 0)
    }
}

/// `Strict`: the page that needs the cookie is loaded without it and asks from its own origin, so nothing
/// is lost by not sending it with a click on somebody else's page.
fn written(at: &PublicUrl, secret: &str, seconds: i64) -> Option<HeaderValue> {
    let secure = if at.is_secure() { "; Secure" } else { "" };
    let text = Zeroizing::new(format!(
        "{}={secret}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}",
        name(at)
    ));
    let mut value = HeaderValue::from_str(&text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn is_secret(text: &str) -> bool {
    text.len() == SECRET_CHARACTERS
        && URL_SAFE_NO_PAD.decode(text).is_ok_and(|bytes| bytes.len() == SECRET_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(url: &str) -> PublicUrl {
        PublicUrl::parse(url).unwrap()
    }

    fn read(url: &str, cookies: &[&str]) -> Result<Option<String>, Unreadable> {
        let mut headers = HeaderMap::new();
        for cookie in cookies {
            headers.append(header::COOKIE, HeaderValue::from_str(cookie).unwrap());
        }
        Cookie::of(&headers, &at(url)).map(|cookie| cookie.map(|cookie| cookie.0.to_string()))
    }

    #[test]
    fn one_cookie_of_the_name_is_read_and_two_are_none() {
        let secret = URL_SAFE_NO_PAD.encode([7; 32]);
        let (http, https) = ("http://127.0.0.1:7401", "https://wicket.example.com");
        let plain = format!("wicket_session={secret}");
        let host = format!("__Host-wicket_session={secret}");
        let mixed = format!("a=b; {plain};c=d");
        for (url, cookies, expect) in [
            (http, vec![plain.as_str()], Ok(Some(secret.clone()))),
            (http, vec!["x=1", &mixed], Ok(Some(secret.clone()))),
            (https, vec![host.as_str()], Ok(Some(secret.clone()))),
            (https, vec![plain.as_str()], Ok(None)),
            (http, vec![host.as_str()], Ok(None)),
            (http, vec![], Ok(None)),
            (http, vec!["wicket_session="], Ok(None)),
            (http, vec![plain.as_str(), plain.as_str()], Err(Unreadable)),
            (http, vec!["wicket_session=short"], Err(Unreadable)),
            (http, vec!["wicket_session=\"quoted\""], Err(Unreadable)),
        ] {
            assert_eq!(read(url, &cookies), expect, "{url} {cookies:?}");
        }
    }

    #[test]
    fn a_cookie_is_given_out_for_its_host_alone() {
        let cookie = Cookie::new(Zeroizing::new(URL_SAFE_NO_PAD.encode([7; 32])));
        let over_tls = cookie.set(&at("https://wicket.example.com"), 60).unwrap();
        let text = over_tls.to_str().unwrap();
        assert!(text.starts_with("__Host-wicket_session="), "{text}");
        assert!(text.ends_with("; Path=/; Max-Age=60; HttpOnly; SameSite=Strict; Secure"), "{text}");
        assert!(!format!("{over_tls:?}").contains("__Host"));
        let plain = Cookie::forget(&at("http://localhost:7401")).unwrap();
        assert_eq!(plain, "wicket_session=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict");
    }

    #[test]
    fn a_word_belongs_to_one_session() {
        let cookie = |n| Cookie::new(Zeroizing::new(URL_SAFE_NO_PAD.encode([n; 32])));
        let word = cookie(7).word().unwrap();
        assert!(word.is(word.expose()) && !word.expose().contains(cookie(7).0.as_str()));
        assert!(!word.is(cookie(8).word().unwrap().expose()) && !word.is("") && !word.is(&cookie(7).0));
        assert!(!format!("{word:?}").contains(word.expose()));
    }
}
