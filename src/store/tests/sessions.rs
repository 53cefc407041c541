//! Sessions and member counters.

use std::collections::BTreeMap;

use super::*;
use crate::model::{ClientInfo, ConversationId, CounterKey, Digest, SessionId};

fn session(n: u8) -> SessionRow {
    SessionRow {
        id: SessionId::mint(at(i64::from(n)), seed(n)),
        agent_id: AgentId::mint(at(0), seed(1)),
        member_id: MemberId::mint(at(0), seed(2)),
        conversation: ConversationId::from_bytes([n; 16]),
        client: Some(ClientInfo { name: "claude-code".into(), version: "2.0".into() }),
        created_at: at(i64::from(n)),
        last_activity_at: at(1_000),
        ended: None,
        counters: [(CounterKey::Calls, i64::from(n)), ("tool/github:a/b".parse().unwrap(), 2)].into(),
        mcp_sessions: vec![Digest::of(&[n])],
    }
}

fn counter(n: u8, bucket: i64, calls: i64) -> MemberCounterRow {
    let member_id = MemberId::mint(at(0), seed(n));
    MemberCounterRow { member_id, bucket, counters: BTreeMap::from([(CounterKey::Calls, calls)]) }
}

pub(super) async fn suite(store: &Store) {
    let generation = store.generation().await.unwrap();
    let rows = store.sessions();
    let many: Vec<_> = (0..=250).map(session).collect();
    rows.save(&many, &[counter(1, 10, 1), counter(1, 11, 2), counter(2, 11, 3)]).await.unwrap();
    assert_eq!(rows.load_active().await.unwrap(), many);

    let mut ended = session(3);
    ended.ended = Some((at(5_000), EndReason::ManualReset));
    ended.counters.insert(CounterKey::Denials, 7);
    ended.last_activity_at = at(4_000);
    rows.save(&[ended.clone()], &[counter(1, 11, 9)]).await.unwrap();
    assert_eq!(rows.get(ended.id).await.unwrap(), ended);
    assert_eq!(rows.load_active().await.unwrap().len(), 250);
    assert_eq!(rows.load_counters(11).await.unwrap(), [counter(1, 11, 9), counter(2, 11, 3)]);
    let newest = rows.list(ended.agent_id, 2).await.unwrap();
    assert_eq!(newest, [session(250), session(249)]);

    assert_eq!(rows.purge(at(5_000), 11).await.unwrap(), 1, "one old bucket, no session yet");
    assert_eq!(rows.purge(at(5_001), 11).await.unwrap(), 1);
    assert!(matches!(rows.get(ended.id).await, Err(StoreError::NotFound { .. })));
    assert_eq!(store.generation().await.unwrap(), generation, "sessions do not rebuild the directory");
}
