//! One conformance suite for every database ([`database`] is its frame), and what is one's alone.
#![expect(clippy::large_futures, reason = "a test waits for one thing at a time")]

mod accounts;
mod audit;
pub(crate) mod database;
mod killed;
mod ledger;
mod lists;
mod people;
mod policies;
mod postgresql;
mod sessions;
mod upgrade;

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::*;
use crate::model::{
    Agent, AgentId, AgentStatus, KeyId, Member, MemberId, MemberStatus, Role, Timestamp, TrustMode,
};
use database::on_each_database;

/// Everything that a database must do for the store, a file for each noun.
async fn suite(store: Store) {
    people::suite(&store).await;
    accounts::suite(&store).await;
    sessions::suite(&store).await;
    audit::suite(&store).await;
    ledger::suite(&store).await;
    ledger::sights(&store).await;
    ledger::changes::suite(&store).await;
    lists::suite(&store).await;
    policies::suite(&store).await;
}

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(1_800_000_000_000 + millis)
}

fn seed(n: u8) -> [u8; 10] {
    [n; 10]
}

pub(crate) fn agent(n: u8, name: &str) -> Agent {
    Agent {
        id: AgentId::mint(at(0), seed(n)),
        name: name.to_owned(),
        trust: TrustMode::Trusted,
        status: AgentStatus::Active,
        services: Default::default(),
        rate: None,
        owner: None,
        tags: Vec::new(),
        created_at: at(0),
    }
}

pub(crate) fn member(n: u8, agent: AgentId, name: &str) -> Member {
    Member {
        id: MemberId::mint(at(0), seed(n)),
        agent_id: agent,
        name: name.to_owned(),
        role: Role::Member,
        status: MemberStatus::Approved,
        groups: Default::default(),
        account: None,
        created_at: at(i64::from(n)),
    }
}

pub(crate) fn key(n: u8, member: MemberId) -> KeyRow {
    KeyRow {
        id: KeyId::mint(at(0), seed(n)),
        member_id: member,
        index: [n; 16],
        tag: [n; 32],
        display_suffix: format!("k{n:03}"),
        seal_salt: [n.wrapping_add(1); 32],
        seal_public: [n.wrapping_add(2); 32],
        created_at: at(i64::from(n)),
        last_used_at: None,
        revoked_at: None,
        rate: None,
    }
}

impl Store {
    /// A change that does not say what it touched.
    pub(crate) async fn change_unsaid(&self) -> Result<Generation, StoreError> {
        self.change().await?.commit().await
    }
}

fn url(path: &Path) -> String {
    format!("sqlite:{}", path.display())
}

#[tokio::test]
async fn the_suite_holds_in_memory() {
    suite(Store::open("sqlite::memory:").await.unwrap()).await;
}

#[tokio::test]
async fn the_suite_holds_on_each_database() {
    on_each_database(async |database| suite(database.open().await).await).await;
}

#[tokio::test]
async fn a_file_is_its_owners_alone_and_keeps_rows_generation_and_node() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("wicket.db");
    let store = Store::open(&url(&path)).await.unwrap();
    let node = store.node_id();
    let generation = store.agents().create(&agent(1, "kept")).await.unwrap();
    for file in ["wicket.db", "wicket.db-wal"] {
        let mode = std::fs::metadata(dir.path().join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    store.close().await;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let store = Store::open(&url(&path)).await.unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(store.node_id(), node);
    assert_eq!(store.generation().await.unwrap(), generation);
    assert_eq!(store.agents().get_by_name("kept").await.unwrap(), agent(1, "kept"));
}

#[tokio::test]
async fn a_file_is_written_ahead_and_synced_in_full_with_foreign_keys() {
    use sea_orm::ConnectionTrait as _;
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&url(&dir.path().join("wicket.db"))).await.unwrap();
    for (pragma, expected) in [("synchronous", 2), ("foreign_keys", 1), ("busy_timeout", 5_000)] {
        let statement =
            sea_orm::Statement::from_string(sea_orm::DbBackend::Sqlite, format!("PRAGMA {pragma}"));
        let row = store.connection.query_one_raw(statement).await.unwrap().unwrap();
        assert_eq!(row.try_get_by_index::<i32>(0).unwrap(), expected, "{pragma}");
    }
    let mode = sea_orm::Statement::from_string(sea_orm::DbBackend::Sqlite, "PRAGMA journal_mode");
    let row = store.connection.query_one_raw(mode).await.unwrap().unwrap();
    assert_eq!(row.try_get_by_index::<String>(0).unwrap(), "wal");
}

#[tokio::test]
async fn rows_and_generation_outlive_the_pool() {
    on_each_database(async |database| {
        let store = database.open().await;
        let generation = store.agents().create(&agent(1, "kept")).await.unwrap();
        store.close().await;
        let store = database.open().await;
        assert_eq!(store.generation().await.unwrap(), generation);
        assert_eq!(store.agents().get_by_name("kept").await.unwrap(), agent(1, "kept"));
    })
    .await;
}

#[tokio::test]
async fn a_newer_schema_is_refused_with_advice() {
    use sea_orm::ConnectionTrait as _;
    on_each_database(async |database| {
        let store = database.open().await;
        store
            .connection
            .execute_unprepared("INSERT INTO schema_version (version, applied_at) VALUES (99, 0)")
            .await
            .unwrap();
        store.close().await;
        let error = Store::open(&database.url).await.unwrap_err();
        assert!(matches!(error, StoreError::CannotOpen { .. }));
        assert!(error.to_string().contains("version 99"), "{error}");
        assert!(error.to_string().contains("newer wicket"), "{error}");
    })
    .await;
}

#[tokio::test]
async fn what_is_no_database_is_not_opened() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notes.txt");
    std::fs::write(
        &path,
        "not a database, but long enough to be taken for one by its length alone".repeat(20),
    )
    .unwrap();
    let error = Store::open(&url(&path)).await.unwrap_err().to_string();
    assert!(error.contains("notes.txt"), "{error}");
    let error = Store::open(&url(&dir.path().join("missing/wicket.db"))).await.unwrap_err().to_string();
    assert!(error.contains("create its directory"), "{error}");
}

#[tokio::test]
async fn two_processes_changing_at_once_lose_no_change() {
    on_each_database(async |database| {
        let (one, other) = (database.open().await, database.open().await);
        assert_eq!(one.node_id(), other.node_id());
        let start = one.generation().await.unwrap();
        let mut changes = Vec::new();
        for n in 0..40_u8 {
            let store = if n % 2 == 0 { one.clone() } else { other.clone() };
            changes.push(tokio::spawn(async move {
                store.agents().create(&agent(n, &format!("agent {n}"))).await
            }));
        }
        let mut seen = std::collections::BTreeSet::new();
        for change in changes {
            seen.insert(change.await.unwrap().unwrap());
        }
        assert_eq!(seen.len(), 40, "each change has a generation of its own");
        assert_eq!(one.generation().await.unwrap().get(), start.get() + 40);
        assert_eq!(other.directory().await.unwrap().agents.len(), 40);
    })
    .await;
}

/// What is read in a transaction that will write stays true until it commits: two members of a pair
/// who both look before they take never take both.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_read_before_a_write_stays_true() {
    on_each_database(async |database| {
        let (one, other) = (database.open().await, database.open().await);
        one.agents().create(&agent(1, "a")).await.unwrap();
        one.members().create(&member(1, agent(1, "a").id, "ann")).await.unwrap();
        for round in 0..20_u8 {
            let mint = |store: &Store, n: u8| {
                let (store, key) = (store.clone(), key(n, member(1, agent(1, "a").id, "ann").id));
                tokio::spawn(async move { store.keys().insert(&key).await })
            };
            let (first, second) = (mint(&one, round * 2 + 10), mint(&other, round * 2 + 11));
            let taken = [first.await.unwrap(), second.await.unwrap()];
            assert_eq!(taken.iter().filter(|taken| taken.is_ok()).count(), 1, "{taken:?}");
            for key in one.directory().await.unwrap().keys {
                one.keys().revoke(key.id, at(0)).await.unwrap();
            }
        }
    })
    .await;
}

#[tokio::test]
async fn names_sort_by_their_code_points() {
    on_each_database(async |database| {
        let store = database.open().await;
        for (n, name) in (1..).zip(["b", "a", "B", "Z", "ä", "_", "1", "ab", "a b"]) {
            store.agents().create(&agent(n, name)).await.unwrap();
        }
        let names: Vec<_> = store.agents().list().await.unwrap().into_iter().map(|one| one.name).collect();
        assert_eq!(names, ["1", "B", "Z", "_", "a", "a b", "ab", "b", "ä"]);
    })
    .await;
}

#[tokio::test]
async fn a_row_that_was_edited_by_hand_is_an_error_that_names_it() {
    use sea_orm::ConnectionTrait as _;
    on_each_database(async |database| {
        let store = database.open().await;
        store.agents().create(&agent(1, "a")).await.unwrap();
        store.connection.execute_unprepared("UPDATE agent SET status = 'actve'").await.unwrap();
        let error = store.directory().await.unwrap_err();
        assert!(matches!(error, StoreError::Corrupt { place: "agent.status", .. }), "{error}");
    })
    .await;
}
