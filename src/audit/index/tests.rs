use super::*;
use crate::audit::testing::Scene;
use crate::audit::testing::{RESULT, bundle, call, caller, config, decision, node, open, record};
use crate::audit::{Durability, tail};
use crate::model::{MemberId, OutcomeKind, PolicyKey, ServiceKey, Timestamp};
use crate::store::AuditFilter;

async fn store(data: &Path) -> Store {
    Store::open(&format!("sqlite://{}?mode=rwc", data.join("index.sqlite").display())).await.unwrap()
}

async fn all(store: &Store) -> Vec<crate::store::AuditRow> {
    let found = store.audit().query(&AuditFilter::default()).await.unwrap();
    found.rows.into_iter().map(|(_, row)| row).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_index_follows_resumes_and_is_rebuilt_the_same() {
    let data = tempfile::tempdir().unwrap();
    let mut journal_config = config(data.path(), Durability::Process);
    journal_config.segment_bytes_max = 8 << 10;
    let (journal, _) = open(journal_config.clone());
    let store = store(data.path()).await;
    let dir = journal_config.dir;
    for n in 0..20 {
        record(&journal, n).await.unwrap().complete(RESULT);
    }
    catch_up(&dir, node(), &store).await.unwrap();
    assert_eq!(all(&store).await.len(), 20);
    for n in 20..40 {
        record(&journal, n).await.unwrap().complete(RESULT);
    }
    let scene = Scene::new();
    let denied = call(40);
    journal.record_denial(&decision(false), bundle(), &scene.facts(denied)).await.unwrap();
    journal.close();
    catch_up(&dir, node(), &store).await.unwrap();
    let rows = all(&store).await;
    assert_eq!(rows.len(), 41);
    let done = rows.iter().filter(|row| row.outcome.is_some_and(|o| o.kind == OutcomeKind::Result)).count();
    assert_eq!(done, 40);
    let row = rows.iter().find(|row| row.call == denied).unwrap();
    assert_eq!((row.allowed, row.said(), row.outcome), (false, "Ask a maintainer.", None));
    assert_eq!(row.policies[0].key.as_str(), "block-deletes");
    assert!(row.arguments.contains("[redacted]") && !row.arguments.contains("hunter2"));
    assert_eq!(catch_up(&dir, node(), &store).await.unwrap(), 0);
    assert!(rebuild(&dir, node(), &store).await.unwrap() > 81);
    assert_eq!(all(&store).await, rows);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_index_sees_new_entries_and_ends_when_asked() {
    let data = tempfile::tempdir().unwrap();
    let journal_config = config(data.path(), Durability::Process);
    let (journal, _) = open(journal_config.clone());
    let store = store(data.path()).await;
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let task = tokio::spawn(follow_in_task(journal_config.dir.clone(), store.clone(), stopped));
    record(&journal, 1).await.unwrap().complete(RESULT);
    let mut completed = false;
    for _ in 0..1_000 {
        completed = all(&store).await.first().is_some_and(|row| row.outcome.is_some());
        if completed {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert!(completed);
    record(&journal, 2).await.unwrap().complete(RESULT);
    journal.close();
    stop.send(true).unwrap();
    task.await.unwrap();
    assert_eq!(all(&store).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_filter_lets_through_what_the_stores_query_finds() {
    let data = tempfile::tempdir().unwrap();
    let journal_config = config(data.path(), Durability::Process);
    let (journal, _) = open(journal_config.clone());
    record(&journal, 1).await.unwrap().complete(RESULT);
    journal.close();
    let store = store(data.path()).await;
    catch_up(&journal_config.dir, node(), &store).await.unwrap();
    let at = crate::audit::testing::NOW;
    let base = AuditFilter::default;
    let table = [
        (base(), true),
        (AuditFilter { from: Some(at), to: Some(at), ..base() }, true),
        (AuditFilter { from: Some(at.plus_millis(1)), ..base() }, false),
        (AuditFilter { to: Some(Timestamp::from_millis(0)), ..base() }, false),
        (AuditFilter { agent: Some("FIRST".into()), ..base() }, true),
        (AuditFilter { agent: Some("second".into()), ..base() }, false),
        (AuditFilter { service: Some(ServiceKey::parse("github").unwrap()), ..base() }, true),
        (AuditFilter { service: Some(ServiceKey::parse("git").unwrap()), ..base() }, false),
        (AuditFilter { tool: Some("Delete".into()), ..base() }, true),
        (AuditFilter { allowed: Some(true), ..base() }, true),
        (AuditFilter { allowed: Some(false), ..base() }, false),
        (AuditFilter { member: Some(caller().member.id), ..base() }, true),
        (AuditFilter { member: Some(MemberId::mint(at, [9; 10])), ..base() }, false),
        (AuditFilter { policy: Some(PolicyKey::parse("read-baseline").unwrap()), ..base() }, true),
        (AuditFilter { policy: Some(PolicyKey::parse("read").unwrap()), ..base() }, false),
    ];
    for (filter, expected) in table {
        let found = store.audit().query(&filter).await.unwrap().total.count == 1;
        let is_call = |e: &crate::audit::Entry| e.kind == crate::audit::EntryKind::Intent;
        let mut passed = tail(&journal_config.dir, 100, &|e| is_call(e) && matches(&filter, e)).unwrap();
        assert_eq!((found, passed.next_now().unwrap().is_some()), (expected, expected), "{filter:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_over_rows_without_outcome_fills_it_and_changes_nothing_else() {
    let data = tempfile::tempdir().unwrap();
    let journal_config = config(data.path(), Durability::Process);
    let (journal, _) = open(journal_config.clone());
    let store = store(data.path()).await;
    let receipt = record(&journal, 1).await.unwrap();
    catch_up(&journal_config.dir, node(), &store).await.unwrap();
    let before = all(&store).await;
    assert_eq!(before[0].outcome, None);
    receipt.complete(RESULT);
    journal.close();
    // As after a lost position: the intent and its completion come again, in one batch.
    let batch = read_batch(&journal_config.dir, Place::default()).unwrap();
    assert_eq!(batch.writes.len(), 1, "a completion is written with its intent");
    let position = AuditPosition { segment: String::new(), offset: 0 };
    for _ in 0..2 {
        store.audit().append(node(), &batch.writes, &position).await.unwrap();
        let after = all(&store).await;
        assert_eq!(after[0].outcome.map(|o| o.kind), Some(OutcomeKind::Result));
        assert_eq!(after, [crate::store::AuditRow { outcome: after[0].outcome, ..before[0].clone() }]);
    }
}

async fn follow_in_task(dir: PathBuf, store: Store, stop: tokio::sync::watch::Receiver<bool>) {
    let indexed = Indexed::default();
    assert_eq!(indexed.seq(), None);
    run(dir, node(), store, &indexed, stop).await;
}

#[tokio::test]
async fn how_far_the_index_has_come_is_known() {
    let data = tempfile::tempdir().unwrap();
    let journal_config = config(data.path(), Durability::Process);
    let (journal, _) = open(journal_config.clone());
    let store = store(data.path()).await;
    let indexed = Indexed::default();
    record(&journal, 1).await.unwrap().complete(RESULT);
    journal.close();
    follow(&journal_config.dir, node(), &store, &indexed).await.unwrap();
    assert_eq!(indexed.seq(), Some(journal.status().last_seq));
}
