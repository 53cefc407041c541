//! A database that an earlier release wrote is opened with its rows in place; a step that fails leaves
//! it as it was.
//!
//! `upgrade/v1.sql` is the schema as that release left it in a SQLite file; on PostgreSQL the same with
//! its types, for a database that was moved there row by row.

use std::time::Duration;

use super::database::TestDatabase;
use super::*;
use crate::model::{CounterKey, GroupName};

const V1: &str = include_str!("upgrade/v1.sql");
const NODE: &str = "019fa94f-0000-7000-8000-000000000001";

/// Rows of each table of version 1. `X'…'` is written as each database wants bytes.
const ROWS: &[&str] = &[
    "INSERT INTO schema_version VALUES (1, 1795329235275)",
    "INSERT INTO meta VALUES (1, '019fa94f-0000-7000-8000-000000000001', 41)",
    "INSERT INTO agent VALUES ('01900000-0000-7000-8000-0000000000a1', 'support', 'untrusted', 'disabled', '[\"github\"]', '{\"burst\":5,\"per_second\":0.25}', 1800000000000)",
    "INSERT INTO member VALUES ('01900000-0000-7000-8000-0000000000b1', '01900000-0000-7000-8000-0000000000a1', 'ann', 'owner', 'approved', 1800000000001)",
    "INSERT INTO member VALUES ('01900000-0000-7000-8000-0000000000b2', '01900000-0000-7000-8000-0000000000a1', 'ben', 'member', 'pending', 1800000000002)",
    "INSERT INTO member_group VALUES ('01900000-0000-7000-8000-0000000000d1', '01900000-0000-7000-8000-0000000000a1', 'night', 1800000000003)",
    "INSERT INTO member_group_place VALUES ('01900000-0000-7000-8000-0000000000d1', '01900000-0000-7000-8000-0000000000b1')",
    "INSERT INTO member_key VALUES ('01900000-0000-7000-8000-0000000000c1', '01900000-0000-7000-8000-0000000000b1', X'{16}', X'{32}', 'k001', X'{32}', X'{32}', 1800000000004, NULL, NULL, NULL)",
    "INSERT INTO session VALUES ('01900000-0000-7000-8000-0000000000e1', '01900000-0000-7000-8000-0000000000a1', '01900000-0000-7000-8000-0000000000b1', X'{16}', NULL, 1800000000005, 1800000000006, NULL, NULL, '{\"calls\":7}', '[]')",
    "INSERT INTO member_counter VALUES ('01900000-0000-7000-8000-0000000000b1', 6000000, '{\"calls\":9}')",
    "INSERT INTO audit_entry VALUES ('019fa94f-0000-7000-8000-000000000001', 1, 1, '01900000-0000-7000-8000-0000000000f1', 1800000000007, '01900000-0000-7000-8000-0000000000a1', 'support', 'support', '01900000-0000-7000-8000-0000000000b1', 'ann', '01900000-0000-7000-8000-0000000000c1', NULL, 'github', 'get_me', 'get_me', 'a', 'r', 'p', '10.0.0.1', '{}', TRUE, 'permitted', '[{\"key\":\"reads\",\"name\":\"reads\",\"version\":1}]', X'{32}', 'result', 200, 12, 34)",
    "INSERT INTO audit_entry_policy VALUES ('019fa94f-0000-7000-8000-000000000001', 1, 1, 'reads', 1800000000007)",
    "INSERT INTO audit_position VALUES ('019fa94f-0000-7000-8000-000000000001', '1-1.journal', 4711)",
];

/// The statements that make such a database.
fn version_1(kind: &str) -> Vec<String> {
    let schema = V1.lines().filter(|line| !line.starts_with("--")).map(str::to_owned);
    let rows = ROWS.iter().map(|&row| row.to_owned());
    let bytes = |length: usize| "07".repeat(length);
    let written = |statement: String| {
        let statement = statement.replace("{16}", &bytes(16)).replace("{32}", &bytes(32));
        match kind {
            "sqlite" => statement,
            _ => statement
                .replace(" integer", " bigint")
                .replace("\"id\" bigint", "\"id\" integer")
                .replace(" blob", " bytea")
                .replace("\" text", "\" text COLLATE \"C\"")
                .replace("X'", "'\\x"),
        }
    };
    schema.chain(rows).map(written).collect()
}

async fn raw(database: &TestDatabase) -> sea_orm::DatabaseConnection {
    dialect::connect(&Opening { url: database.url.clone(), ..Opening::default() }).await.unwrap()
}

async fn make_version_1(database: &TestDatabase) {
    use sea_orm::ConnectionTrait as _;
    let connection = raw(database).await;
    for statement in version_1(database.kind) {
        let made = connection.execute_unprepared(&statement).await;
        made.unwrap_or_else(|error| panic!("{statement}: {error}"));
    }
    connection.close().await.unwrap();
}

async fn version(database: &TestDatabase) -> i64 {
    use sea_orm::ConnectionTrait as _;
    let connection = raw(database).await;
    let statement = sea_orm::Statement::from_string(
        connection.get_database_backend(),
        "SELECT max(version) FROM schema_version",
    );
    connection.query_one_raw(statement).await.unwrap().unwrap().try_get_by_index(0).unwrap()
}

#[tokio::test]
async fn version_1_is_opened_with_its_rows_in_place() {
    on_each_database(async |database| {
        make_version_1(database).await;
        assert_eq!(version(database).await, 1);
        let node = Uuid::try_parse(NODE).unwrap();
        let store = database.open_as(node).await;
        assert!(version(database).await >= 2);
        assert_eq!(store.generation().await.unwrap().get(), 41);

        let directory = store.directory().await.unwrap();
        let agent = &directory.agents[0];
        assert_eq!(
            (agent.name.as_str(), agent.trust, agent.status),
            ("support", TrustMode::Untrusted, AgentStatus::Disabled)
        );
        assert_eq!(agent.rate.map(|rate| rate.burst), Some(5));
        let [ann, ben] = &directory.members[..] else { panic!("{:?}", directory.members) };
        assert_eq!((ann.name.as_str(), ann.role, ann.status), ("ann", Role::Owner, MemberStatus::Approved));
        assert_eq!(ann.groups, ["night".parse::<GroupName>().unwrap()].into());
        assert_eq!((ben.name.as_str(), ben.status), ("ben", MemberStatus::Pending));
        assert_eq!((directory.keys[0].member_id, directory.keys[0].tag), (ann.id, [7; 32]));

        // Sessions and counters are those of the node that wrote them, and of no other.
        let sessions = store.sessions().load_active().await.unwrap();
        assert_eq!(sessions[0].counters[&CounterKey::Calls], 7);
        let counters = store.sessions().load_counters(0).await.unwrap();
        assert_eq!((counters[0].member_id, counters[0].counters[&CounterKey::Calls]), (ann.id, 9));
        let other = database.open_as(Uuid::from_u128(2)).await;
        assert!(other.sessions().load_active().await.unwrap().is_empty());
        assert!(other.sessions().load_counters(0).await.unwrap().is_empty());

        // The index is a copy of the journal: it begins anew, at the journal's start.
        assert!(store.audit().query(&AuditFilter::default()).await.unwrap().rows.is_empty());
        assert_eq!(store.audit().position(node).await.unwrap(), None);
        // It goes on from there.
        store.members().set_status(ben.id, MemberStatus::Approved).await.unwrap();
        assert_eq!(store.generation().await.unwrap().get(), 42);
        assert!(matches!(store.directory_since(41).await.unwrap(), DirectoryUpdate::Part(_)));
        assert!(matches!(store.directory_since(40).await.unwrap(), DirectoryUpdate::Whole(_)));
    })
    .await;
}

/// The node of an earlier release's SQLite file is taken over from it.
#[tokio::test]
async fn the_node_of_version_1_is_kept() {
    let database = TestDatabase::sqlite();
    make_version_1(&database).await;
    let store = Store::open(&database.url).await.unwrap();
    assert_eq!(store.node_id().to_string(), NODE);
    assert_eq!(store.sessions().load_active().await.unwrap().len(), 1);
}

/// What is in the way of a step is named, and nothing of the release remains.
#[tokio::test]
async fn a_release_that_cannot_be_applied_leaves_the_database_as_it_was() {
    use sea_orm::ConnectionTrait as _;
    on_each_database(async |database| {
        make_version_1(database).await;
        let connection = raw(database).await;
        connection.execute_unprepared("CREATE TABLE directory_change (mine integer)").await.unwrap();
        Store::open(&database.url).await.unwrap_err();
        assert_eq!(version(database).await, 1);
        let counted = connection.execute_unprepared("SELECT node FROM member_counter").await;
        assert!(counted.is_err(), "a step of the release that failed remained");
        connection.execute_unprepared("DROP TABLE directory_change").await.unwrap();
        Store::open(&database.url).await.unwrap();
    })
    .await;
}

/// A gate that is gone leaves its sessions to their end.
#[tokio::test]
async fn sessions_of_a_gate_that_is_gone_end_when_they_are_idle() {
    on_each_database(async |database| {
        make_version_1(database).await;
        let store = database.open_as(Uuid::from_u128(2)).await;
        let gone = database.open_as(Uuid::try_parse(NODE).unwrap()).await;
        let idle = Duration::from_secs(1_800);
        let last = Timestamp::from_millis(1_800_000_000_006);
        let end = async |after_s: i64| {
            store.sessions().end_of_gone_nodes(idle, last.plus_millis(after_s * 1_000)).await.unwrap()
        };
        gone.nodes().started("0.1.0", last.plus_millis(600_000)).await.unwrap();
        assert_eq!(end(1_801).await, 0, "its node was seen ten minutes after");
        assert_eq!(
            gone.sessions().end_of_gone_nodes(idle, last.plus_millis(9_000_000)).await.unwrap(),
            0,
            "its own"
        );
        assert_eq!(end(2_500).await, 1);
        let ended = gone.sessions().get(gone_session()).await.unwrap().ended;
        assert_eq!(ended, Some((last, EndReason::Inactivity)));
        assert!(gone.sessions().load_active().await.unwrap().is_empty());
        let nodes = store.nodes().list().await.unwrap();
        assert_eq!((nodes.len(), nodes[0].version.as_str()), (1, "0.1.0"));
    })
    .await;
}

fn gone_session() -> crate::model::SessionId {
    "01900000-0000-7000-8000-0000000000e1".parse().unwrap()
}
