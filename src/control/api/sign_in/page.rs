//! The page at `/sign-in`: one file without anything from elsewhere.
//!
//! Invariant: its policy lets run the script and the style that are written in it, by their digests, and
//! nothing else; it is made of the very text that is served.

use std::sync::LazyLock;

use base64::Engine as _;
use sha2::Digest as _;

/// The page.
pub const PAGE: &str = include_str!("page.html");

/// What the page may do, for its header.
pub fn content_security_policy() -> String {
    static POLICY: LazyLock<String> = LazyLock::new(|| {
        format!(
            "default-src 'none'; script-src {}; style-src {}; connect-src 'self'; base-uri 'none'; \
             form-action 'none'; frame-ancestors 'none'",
            digest_of("script"),
            digest_of("style")
        )
    });
    POLICY.clone()
}

/// The digest of the one element of this name; of nothing, which then lets nothing run, without one.
fn digest_of(element: &str) -> String {
    let text = PAGE
        .split_once(&format!("<{element}>"))
        .and_then(|(_, rest)| rest.split_once(&format!("</{element}>")))
        .map_or("", |(text, _)| text);
    let digest = sha2::Sha256::digest(text.as_bytes());
    format!("'sha256-{}'", base64::engine::general_purpose::STANDARD.encode(digest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_one_script_and_one_style_and_nothing_from_elsewhere() {
        for element in ["script", "style"] {
            assert_eq!(PAGE.matches(&format!("<{element}")).count(), 1, "{element}");
            assert_eq!(PAGE.matches(&format!("<{element}>")).count(), 1, "{element}");
        }
        for foreign in ["src=", "href=\"http", "onclick", "style=", "innerHTML", "eval("] {
            assert!(!PAGE.contains(foreign), "{foreign}");
        }
        let empty = base64::engine::general_purpose::STANDARD.encode(sha2::Sha256::digest(b""));
        assert!(!content_security_policy().contains(&empty));
    }
}
