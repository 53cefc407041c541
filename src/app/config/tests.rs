//! The configuration keeps its promises: the shipped file states the defaults, faults name their place.

use super::*;

fn parse(text: &str, environment: &[(&str, &str)]) -> Result<Config, Vec<Diagnostic>> {
    let environment = environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    Config::parse(&SourceFile::new("wicket.toml", text), &environment)
}

#[test]
fn the_shipped_file_states_every_key_with_its_default() {
    let text = include_str!("../../../config/wicket.toml");
    assert_eq!(parse(text, &[]).unwrap(), Config::default());

    let shipped: toml::Table = text.parse().unwrap();
    let full = toml::Table::try_from(Config::default()).unwrap();
    assert_eq!(paths(&shipped, ""), paths(&full, ""), "a key is missing in config/wicket.toml");
}

fn paths(table: &toml::Table, prefix: &str) -> std::collections::BTreeSet<String> {
    let mut all = std::collections::BTreeSet::new();
    for (key, value) in table {
        let path = format!("{prefix}{key}");
        match value.as_table() {
            Some(inner) => all.extend(paths(inner, &format!("{path}."))),
            None => drop(all.insert(path)),
        }
    }
    all
}

#[test]
fn faults_name_file_line_and_remedy() {
    let faults = parse("[limits]\nbody_bytes = 1\n", &[]).unwrap_err();
    let text = faults[0].to_string();
    assert!(text.starts_with("wicket.toml:2:1: unknown field `body_bytes`"), "{text}");

    let faults = parse("[listen.agents]\naddress = \"0.0.0.0:7400\"\n", &[]).unwrap_err();
    assert!(faults[0].to_string().contains("plaintext_allowed"), "{}", faults[0]);
    assert!(parse("[listen.agents]\naddress = \"0.0.0.0:7400\"\nplaintext_allowed = true\n", &[]).is_ok());

    assert!(parse("[limits]\nin_flight_max = 0\n", &[]).is_err());
    assert!(parse("[trust]\ntrusted_proxies = [\"10.0.0.0/99\"]\n", &[]).is_err());
    assert!(parse("[listen.agents]\ntls_key_file = \"k.pem\"\n", &[]).is_err());
}

#[test]
fn the_environment_overrides_a_key_in_its_own_type() {
    let config = parse(
        "",
        &[
            ("WICKET__LISTEN__AGENTS__ADDRESS", "127.0.0.1:9000"),
            ("WICKET__LIMITS__RATE_BURST", "5"),
            ("WICKET__AUDIT__MODE", "process"),
            ("WICKET__TRUST__TRUSTED_PROXIES", "10.0.0.0/8, 192.168.1.7"),
            ("WICKET_PORT", "ignored: another program's"),
        ],
    )
    .unwrap();
    assert_eq!(config.listen.agents.address.port(), 9000);
    assert_eq!(config.limits.rate_burst, 5);
    assert_eq!(config.audit.mode, AuditMode::Process);
    assert_eq!(config.trusted_networks().len(), 2);

    for (name, value) in
        [("WICKET__LIMITS__NOPE", "1"), ("WICKET__LIMITS__RATE_BURST", "many"), ("WICKET__NO__X", "1")]
    {
        let text = parse("", &[(name, value)]).unwrap_err()[0].to_string();
        assert!(text.contains(name), "{text}");
    }
}

#[test]
fn a_password_is_read_from_a_private_file_and_printed_nowhere() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("password");
    std::fs::write(&file, "s3cret\n").unwrap();
    let mut config = Config::for_tests(dir.path());
    config.store.url = "postgres://me:s3cret@db/wicket".to_owned();
    config.store.password_file = file.clone();
    for (mode, readable) in [(0o644, false), (0o640, false), (0o600, true), (0o400, true)] {
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        let opening = config.opening(None);
        assert_eq!(opening.is_ok(), readable, "{mode:o}: {opening:?}");
        assert!(!format!("{opening:?} {config:?} {}", config.to_toml()).contains("s3cret"));
    }
    assert!(config.opening(None).unwrap().password.is_some());
    config.store.password_file = dir.path().join("missing");
    assert!(config.opening(None).unwrap_err().contains("store.password_file"));
    assert!(config.opening(Some("s3cret")).unwrap().password.is_some(), "the environment goes first");
}

#[test]
fn what_is_printed_reads_back() {
    let config = Config::for_tests(Path::new("/nowhere"));
    assert_eq!(parse(&config.to_toml(), &[]).unwrap(), config);
}
