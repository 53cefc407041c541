//! Where the database is and who opens it. Nothing here shows a password.

use std::fmt;

use uuid::Uuid;
use zeroize::Zeroizing;

/// What stands for a password wherever a URL is shown.
const HIDDEN: &str = "***";

/// The database's password, kept apart from its URL.
#[derive(Clone)]
pub struct Password(Zeroizing<String>);

impl Password {
    /// Wraps a password; an empty one is none.
    pub fn new(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| Self(Zeroizing::new(text.to_owned())))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(redacted)")
    }
}

/// Where the database is and who opens it.
#[derive(Clone, Default)]
pub struct Opening {
    /// `sqlite:<path>`, `sqlite::memory:` or `postgres://<user>@<host>:<port>/<database>`, with
    /// `sslmode`, `sslrootcert`, `sslcert` and `sslkey` as parameters.
    pub url: String,
    /// Goes before one in the URL.
    pub password: Option<Password>,
    /// The node that opens it, as its data directory says. `None`: the one that a SQLite database
    /// was made by, or a new one.
    pub node: Option<Uuid>,
}

impl fmt::Debug for Opening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Opening");
        shown.field("url", &without_password(&self.url)).field("node", &self.node).finish_non_exhaustive()
    }
}

/// The URL with what may be a password hidden: that of the authority, and every parameter's value
/// but those that are known to be none.
pub fn without_password(url: &str) -> String {
    let (place, parameters) = match url.split_once('?') {
        Some((place, parameters)) => (place, Some(parameters)),
        None => (url, None),
    };
    // The last `@` ends the user's part, whatever a password holds.
    let mut shown = match (place.split_once("://"), place.rsplit_once('@')) {
        (Some((scheme, _)), Some((before, host))) => {
            let user = before.get(scheme.len() + 3..).unwrap_or_default();
            match user.split_once(':') {
                Some((name, _)) => format!("{scheme}://{name}:{HIDDEN}@{host}"),
                None => place.to_owned(),
            }
        }
        _ => place.to_owned(),
    };
    for (at, pair) in parameters.into_iter().flat_map(|all| all.split('&')).enumerate() {
        shown.push(if at == 0 { '?' } else { '&' });
        match pair.split_once('=') {
            Some((name, value))
                if matches!(name, "mode" | "sslmode" | "host" | "port" | "dbname" | "user") =>
            {
                shown.push_str(&format!("{name}={value}"));
            }
            Some((name, _)) => shown.push_str(&format!("{name}={HIDDEN}")),
            None => shown.push_str(pair),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_shown_without_its_password() {
        for (url, shown) in [
            ("sqlite:data/a:b@c.db", "sqlite:data/a:b@c.db"),
            ("sqlite://data/wicket.db?mode=rwc", "sqlite://data/wicket.db?mode=rwc"),
            ("postgres://me@db/wicket", "postgres://me@db/wicket"),
            (
                "postgres://me:s3:c@r@db:1/wicket?sslmode=require",
                "postgres://me:***@db:1/wicket?sslmode=require",
            ),
            ("postgres://db/wicket?user=me&password=s3", "postgres://db/wicket?user=me&password=***"),
        ] {
            assert_eq!(without_password(url), shown);
        }
        assert!(Password::new("").is_none());
        assert!(!format!("{:?}", Password::new("s3cret")).contains("s3cret"));
    }
}
