//! Sessions' checkpoints in the chain: handed over, not waited for, proved like everything else.

use super::*;
use crate::model::{
    AgentId, CheckpointCause, ConversationId, CounterKey, MemberId, SessionCheckpoint, SessionId,
};

pub(super) fn checkpoint(calls: i64) -> SessionCheckpoint {
    SessionCheckpoint {
        at: NOW,
        session: SessionId::mint(NOW, [4; 10]),
        agent: AgentId::mint(NOW, [1; 10]),
        member: MemberId::mint(NOW, [2; 10]),
        conversation: ConversationId::from_bytes([5; 16]),
        cause: CheckpointCause::Calls,
        settled: true,
        created_at: NOW,
        last_activity_at: NOW,
        ended: None,
        counters: [(CounterKey::Calls, calls)].into(),
        window: None,
    }
}

#[tokio::test]
async fn a_sessions_checkpoint_is_recorded_beside_the_calls_and_recovered_over() {
    for mode in [Durability::Process, Durability::Durable] {
        let data = tempfile::tempdir().unwrap();
        let (journal, _) = open(config(data.path(), mode));
        let open_call = record(&journal, 1).await.unwrap();
        assert!(journal.takes_checkpoints());
        assert!(journal.session(&checkpoint(41)));
        let dir = data.path().join("journal");
        until("it is written", || of_kind(&dir, EntryKind::Session).len() == 1).await;
        let entry = &of_kind(&dir, EntryKind::Session)[0];
        let intent = &of_kind(&dir, EntryKind::Intent)[0];
        assert_eq!(entry["sessionId"], intent["sessionId"], "one form of ids");
        assert_eq!(entry["counters"]["calls"], 41);
        // A recovery over it finds the open call, and the chain holds.
        let crashed = snapshot(data.path());
        assert_eq!(open(config(crashed.path(), mode)).1.open_intents, 1);
        assert_intact(crashed.path());
        open_call.complete(RESULT);
        journal.close();
        assert_intact(data.path());
    }
}

#[tokio::test]
async fn what_nobody_waits_for_is_bounded() {
    let data = tempfile::tempdir().unwrap();
    let (journal, _) = open(config(data.path(), Durability::Process));
    let hung = journal.shared.writer.lock();
    let handed = (0..4_000).take_while(|n| journal.session(&checkpoint(*n))).count();
    assert!((1_000..4_000).contains(&handed), "{handed}");
    assert!(!journal.takes_checkpoints());
    drop(hung);
    until("they are taken", || journal.takes_checkpoints()).await;
    journal.close();
    assert!(of_kind(&data.path().join("journal"), EntryKind::Session).len() >= handed);
    assert_intact(data.path());
}
