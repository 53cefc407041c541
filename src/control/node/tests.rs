//! A data directory is one node, whatever database it uses.

use super::*;
use crate::store::tests::database::{TestDatabase, on_each_database};

fn pepper(n: u8) -> Pepper {
    Pepper::from_bytes([n; 32])
}

fn opening(url: &str) -> Opening {
    Opening { url: url.to_owned(), ..Opening::default() }
}

#[tokio::test]
async fn a_directory_is_one_node_on_each_database() {
    on_each_database(async |database| {
        let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let first = open_store(dirs[0].path(), opening(&database.url), &pepper(1)).await.unwrap().node_id();
        let again = open_store(dirs[0].path(), opening(&database.url), &pepper(1)).await.unwrap().node_id();
        assert_eq!(first, again);
        let file = std::fs::read_to_string(dirs[0].path().join(NODE_FILE)).unwrap();
        assert_eq!(file.trim(), first.to_string());
        let other = open_store(dirs[1].path(), opening(&database.url), &pepper(1)).await.unwrap().node_id();
        // A SQLite file that was moved takes its node along; gates of one PostgreSQL are several.
        assert_eq!(other == first, database.kind == "sqlite");
    })
    .await;
}

#[tokio::test]
async fn a_gate_that_moves_to_postgresql_stays_the_node_it_was() {
    let Some(database) = TestDatabase::postgresql() else { return };
    let dir = tempfile::tempdir().unwrap();
    let sqlite = format!("sqlite://{}?mode=rwc", dir.path().join(SQLITE_FILE).display());
    // As an earlier release left it: the database names the node, no file does.
    let before = Store::open(&sqlite).await.unwrap();
    let node = before.node_id();
    before.close().await;
    let moved = open_store(dir.path(), opening(&database.url), &pepper(1)).await.unwrap();
    assert_eq!(moved.node_id(), node);
}

#[tokio::test]
async fn another_pepper_is_refused_with_what_to_do() {
    on_each_database(async |database| {
        let dir = tempfile::tempdir().unwrap();
        open_store(dir.path(), opening(&database.url), &pepper(1)).await.unwrap();
        let other = open_store(dir.path(), opening(&database.url), &pepper(2)).await;
        let fault = other.unwrap_err().to_string();
        assert!(fault.contains("WICKET_PEPPER"), "{fault}");
        open_store(dir.path(), opening(&database.url), &pepper(1)).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_damaged_id_is_refused_and_not_replaced() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join(NODE_FILE), "x\n").unwrap();
    let fault = open_store(dir.path(), opening("sqlite::memory:"), &pepper(1)).await.unwrap_err();
    assert!(fault.to_string().contains("restore it from a backup"), "{fault}");
    assert_eq!(std::fs::read_to_string(dir.path().join(NODE_FILE)).unwrap(), "x\n");
}
