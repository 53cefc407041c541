//! Which URLs are taken.

use super::*;

#[test]
fn only_urls_of_known_databases_are_taken() {
    for (url, place) in [
        ("sqlite:data/wicket.db", Some("data/wicket.db")),
        ("sqlite:///var/lib/wicket.db?mode=rwc", Some("/var/lib/wicket.db")),
        ("sqlite::memory:", Some(sqlite::MEMORY)),
        ("postgres://me@db/wicket", None),
    ] {
        assert_eq!(sqlite::place(url).unwrap(), place);
    }
    assert!(sqlite::place("sqlite:").unwrap_err().to_string().contains("use `sqlite:<path>`"));
}

#[tokio::test]
async fn another_database_is_refused_without_its_password() {
    for url in ["mysql://me:secret@db/wicket", "wicket.db", ""] {
        let opening = Opening { url: url.to_owned(), ..Opening::default() };
        let error = connect(&opening).await.unwrap_err().to_string();
        assert!(error.contains("use `sqlite:<path>` or `postgres:") && !error.contains("secret"), "{error}");
    }
}
