//! Administrative changes: one row each, by every filter, in pages.

use super::*;

pub(in crate::store::tests) async fn suite(store: &Store) {
    let node = store.node_id();
    let email = |text: &str| EmailAddress::parse(text).unwrap();
    let row = |n: u64, phase, agent: Option<u64>| ChangeRow {
        node,
        boot: 1,
        seq: n * 2 + u64::from(phase != ChangePhase::Intent),
        change: CallId::mint(at(0), seed_of(n)),
        at: at(i64::try_from(n / 2).unwrap()),
        phase,
        ended_at: None,
        who: "account:ann@example.com".into(),
        account: Some(email(if n.is_multiple_of(3) { "ann@example.com" } else { "bob@example.com" })),
        what: if n.is_multiple_of(2) { "agent.create".into() } else { "agents.odd".into() },
        target: format!("Target {n}"),
        agent: agent.map(agent_id),
        before: None,
        after: (phase != ChangePhase::Intent).then(|| "{\"a\":1}".into()),
    };
    let mut writes = Vec::new();
    for n in 0..20 {
        writes.push(AuditWrite::Change(Box::new(row(n, ChangePhase::Intent, None))));
        // A failure that is told of a change that was made changes nothing.
        for phase in [ChangePhase::Completed, ChangePhase::Failed] {
            writes.push(AuditWrite::Change(Box::new(row(n, phase, Some(n % 2)))));
        }
    }
    writes.push(AuditWrite::Change(Box::new(row(50, ChangePhase::Intent, None))));
    for _ in 0..2 {
        store.audit().append(node, &writes, &place(1)).await.unwrap();
    }
    let ask = async |filter: ChangeFilter| store.changes().query(&filter).await.unwrap();
    let all = || ChangeFilter { limit: 100, ..Default::default() };
    let found = ask(all()).await;
    assert_eq!((found.total.count, found.rows.len(), found.next), (21, 21, None));
    assert_eq!(found.rows[0].1.phase, ChangePhase::Intent);
    assert!(found.rows[1..].iter().all(|(_, row)| {
        row.phase == ChangePhase::Completed
            && row.ended_at.is_some()
            && row.after.is_some()
            && row.agent.is_some()
    }));
    for (filter, expected) in [
        (ChangeFilter { what: Some("agent.".into()), ..all() }, 11),
        (ChangeFilter { what: Some("agents.odd".into()), ..all() }, 10),
        (ChangeFilter { target: Some("tARGET 1".into()), ..all() }, 11),
        (ChangeFilter { agent: Some(agent_id(1)), ..all() }, 10),
        (ChangeFilter { account: Some(email("ann@example.com")), ..all() }, 7),
        (ChangeFilter { sight: Some((vec![], email("ann@example.com"))), ..all() }, 7),
        (ChangeFilter { sight: Some((vec![agent_id(1)], email("ann@example.com"))), ..all() }, 14),
        (ChangeFilter { sight: Some((vec![], email("eve@example.com"))), ..all() }, 0),
        (ChangeFilter { from: Some(at(5)), to: Some(at(6)), ..all() }, 4),
    ] {
        assert_eq!(ask(filter.clone()).await.total.count, expected, "{filter:?}");
    }
    let (mut seen, mut place) = (Vec::new(), None);
    loop {
        let page = ask(ChangeFilter { limit: 4, place, ..Default::default() }).await;
        place = page.next.map(AuditPlace::Before);
        seen.extend(page.rows);
        if place.is_none() {
            break;
        }
    }
    assert_eq!(seen, found.rows);
    store.audit().clear(node).await.unwrap();
    assert_eq!(ask(all()).await.total.count, 0);
}
