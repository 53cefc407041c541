//! What is PostgreSQL's alone: who may connect and how, a server that restarts or hangs, programs that
//! start at once.

use std::path::Path;
use std::time::{Duration, Instant};

use super::database::postgresql::{PASSWORD, Server};
use super::database::{TestDatabase, skip::skip};
use super::*;

/// A server of the test's own; `None`, said loudly, where there is none.
fn own_server(arguments: &[&str], files: &[&Path]) -> Option<Server> {
    Server::start(arguments, files).map_err(|why| skip("postgresql", &why)).ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_programs_that_start_at_once_one_migrates_and_the_others_wait() {
    let Some(database) = TestDatabase::postgresql() else { return };
    let open = || {
        let url = database.url.clone();
        tokio::spawn(async move { Store::open(&url).await })
    };
    let mut nodes = std::collections::BTreeSet::new();
    for opened in (0..6).map(|_| open()).collect::<Vec<_>>() {
        let store = opened.await.unwrap().unwrap();
        assert_eq!(store.generation().await.unwrap(), Generation::default());
        nodes.insert(store.node_id());
    }
    assert_eq!(nodes.len(), 6, "who names no node is a new one");
}

#[tokio::test]
async fn a_password_comes_from_beside_the_url_and_is_in_no_error() {
    let Ok(server) = Server::of_process() else { return skip("postgresql", "no server") };
    let database = server.create_database();
    let url = server.url_over_tcp("127.0.0.1", &database);
    let opening = |password: &str| Opening {
        url: url.clone(),
        password: Password::new(password),
        ..Opening::default()
    };
    Store::open_as(&opening(PASSWORD)).await.unwrap();
    let error = Store::open_as(&opening("wr0ng")).await.unwrap_err().to_string();
    assert!(error.contains("WICKET_STORE_PASSWORD") && !error.contains("wr0ng"), "{error}");
    let inline = url.replace("wicket@", "wicket:wr0ng@");
    let error = Store::open(&inline).await.unwrap_err().to_string();
    assert!(error.contains("`postgres://wicket@127.0.0.1:") && !error.contains("wr0ng"), "{error}");
    let error = Store::open(&server.url("missing")).await.unwrap_err().to_string();
    assert!(error.contains("createdb"), "{error}");
    let began = Instant::now();
    let error = Store::open("postgres://me@127.0.0.1:9/wicket").await.unwrap_err().to_string();
    assert!(error.contains("refused") && error.contains("look whether the server runs"), "{error}");
    assert!(began.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn a_remote_servers_certificate_is_checked() {
    let pem = |name: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tls").join(name);
    let files = [pem("localhost.key"), pem("localhost.pem")];
    let settings = [
        "ssl=on",
        "ssl_key_file=../localhost.key",
        "ssl_cert_file=../localhost.pem",
        "listen_addresses=127.0.0.1,127.0.0.2",
        "fsync=off",
    ];
    let arguments: Vec<&str> = settings.iter().flat_map(|setting| ["-c", *setting]).collect();
    let Some(server) = own_server(&arguments, &[&files[0], &files[1]]) else { return };
    let database = server.create_database();
    let open = async |host: &str, parameters: &str| {
        let url = format!("{}?{parameters}", server.url_over_tcp(host, &database));
        let opening = Opening { url, password: Password::new(PASSWORD), ..Opening::default() };
        Store::open_as(&opening).await.map(drop).map_err(|error| error.to_string())
    };
    let authority = format!("sslrootcert={}", pem("ca.pem").display());
    open("localhost", &format!("sslmode=verify-full&{authority}")).await.unwrap();
    open("127.0.0.1", "sslmode=require").await.unwrap();
    for refused in [
        open("localhost", "sslmode=verify-full").await,
        open("127.0.0.2", &format!("sslmode=verify-full&{authority}")).await,
    ] {
        let error = refused.unwrap_err();
        assert!(error.contains("look at the server's certificate"), "{error}");
    }
}

#[tokio::test]
async fn the_pool_comes_back_after_the_server_restarted() {
    let Some(server) = own_server(&["-c", "fsync=off"], &[]) else { return };
    let store = Store::open(&server.url(&server.create_database())).await.unwrap();
    store.agents().create(&agent(1, "before")).await.unwrap();
    server.kill();
    let began = Instant::now();
    let error = store.agents().create(&agent(2, "meanwhile")).await.unwrap_err();
    assert!(error.is_transient(), "{error}");
    assert!(began.elapsed() < Duration::from_millis(STATEMENT_MS_MAX + 2_000));
    server.launch();
    store.agents().create(&agent(3, "after")).await.unwrap();
    let names: Vec<_> = store.agents().list().await.unwrap().into_iter().map(|one| one.name).collect();
    assert_eq!(names, ["after", "before"]);
}

#[tokio::test]
async fn one_that_hangs_with_the_lock_does_not_stop_the_others_for_ever() {
    let Some(database) = TestDatabase::postgresql() else { return };
    let (hung, other) = (database.open().await, database.open().await);
    let _held = hung.change().await.unwrap();
    let began = Instant::now();
    let error = other.agents().create(&agent(1, "a")).await.unwrap_err();
    assert!(error.is_transient() && began.elapsed() < Duration::from_millis(STATEMENT_MS_MAX + 2_000));
    // The server has ended the session that held it by now.
    other.agents().create(&agent(1, "a")).await.unwrap();
}

/// A caller who names a tool with the character NUL must not stop the index.
#[tokio::test]
async fn what_postgresql_cannot_keep_stops_nothing() {
    on_each_database(async |database| {
        let store = database.open().await;
        let mut row = super::audit::row(store.node_id(), 1);
        row.tool = "de\0lete".to_owned();
        let write = AuditWrite::Entry(Box::new(row));
        let position = AuditPosition { segment: "1-1.journal".to_owned(), offset: 1 };
        store.audit().append(store.node_id(), &[write], &position).await.unwrap();
        let found = store.audit().query(&AuditFilter::default()).await.unwrap();
        assert_eq!(found.rows[0].1.tool, "de\u{FFFD}lete");
    })
    .await;
    let Some(database) = TestDatabase::postgresql() else { return };
    let store = database.open().await;
    let refused = store.agents().create(&agent(1, "a\0b")).await.unwrap_err();
    assert!(matches!(refused, StoreError::Conflict { .. }), "{refused}");
    let missing = store.agents().get_by_name("a\0b").await.unwrap_err();
    assert!(!missing.is_transient(), "{missing}");
}

#[tokio::test]
async fn a_change_is_heard_at_once_and_only_once_it_is_committed() {
    let Some(database) = TestDatabase::postgresql() else { return };
    let (one, other) = (database.open().await, database.open().await);
    let mut listener = one.listen().await.unwrap().unwrap();
    drop(other.change().await.unwrap());
    let pending = other.change().await.unwrap();
    let silence = tokio::time::timeout(Duration::from_millis(200), listener.heard()).await;
    assert!(silence.is_err(), "an uncommitted change was heard: {silence:?}");
    let generation = pending.commit().await.unwrap();
    let heard = tokio::time::timeout(Duration::from_secs(5), listener.heard()).await.unwrap();
    assert_eq!(heard.unwrap(), generation);
}
