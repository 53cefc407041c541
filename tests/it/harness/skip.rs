//! What the environment tells a test, and how a test that cannot run says so loudly.

/// A setting of the harness, such as `WICKET_TEST_KILLS`.
#[expect(clippy::disallowed_methods, reason = "the one place of the tests that reads the environment")]
pub fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// A number set from outside, or the short form's.
pub fn setting_or(name: &str, default: u64) -> u64 {
    setting(name)
        .map_or(default, |value| value.parse().unwrap_or_else(|_| panic!("{name}={value}: no number")))
}

/// Notes that a promise was not shown, and why. `make test` lists the notes at its end; with
/// `REQUIRE_ALL=1` a skip is red.
pub fn skip(name: &str, why: &str) {
    assert!(setting("WICKET_TEST_REQUIRE_ALL").is_none(), "REQUIRE_ALL is set, but {name} cannot run: {why}");
    eprintln!("SKIPPED {name}: {why}");
    if let Some(dir) = setting("WICKET_TEST_SKIPPED_DIR") {
        std::fs::write(std::path::Path::new(&dir).join(name), why).unwrap();
    }
}
