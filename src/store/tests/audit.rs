//! The audit's index.

use std::sync::Arc;

use super::*;
use crate::model::{CallId, Digest, Outcome, OutcomeKind, PolicyKey, PolicyRef, ServiceKey, SessionId};

fn policy(key: &str) -> PolicyRef {
    PolicyRef { key: PolicyKey::parse(key).unwrap(), name: Arc::from(key), version: 3, id: None }
}

/// Entry `n` of the chain: every third is denied; two agents, three services.
pub(super) fn row(node: Uuid, n: u8) -> AuditRow {
    let allowed = !n.is_multiple_of(3);
    AuditRow {
        node,
        boot: 1,
        seq: u64::from(n),
        call: CallId::mint(at(0), seed(n)),
        at: at(i64::from(n / 4)),
        agent_id: AgentId::mint(at(0), seed(n % 2)),
        agent_name: if n.is_multiple_of(2) { "Büro_100%".into() } else { "ops".into() },
        member_id: MemberId::mint(at(0), seed(n % 5)),
        member_name: "ann".into(),
        key_id: KeyId::mint(at(0), seed(1)),
        session: (n.is_multiple_of(2)).then(|| SessionId::mint(at(0), seed(n))),
        service: ["github", "slack", "linear"][usize::from(n % 3)].into(),
        tool: if n.is_multiple_of(7) { "Delete_File".into() } else { "read".into() },
        action: "GitHubMCP::Action::\"read\"".into(),
        resource: "GitHubMCP::Service::\"github\"".into(),
        principal: "Wicket::Member::\"x\"".into(),
        caller_ip: "10.0.0.1".parse().unwrap(),
        arguments: "{\"a\":1}".into(),
        allowed,
        reason: if allowed { "permitted".into() } else { "forbidden".into() },
        deny_message: (n.is_multiple_of(6)).then(|| "no".into()),
        policies: if allowed { vec![policy("read-tier"), policy("p2")] } else { vec![policy("stop")] },
        shadow: None,
        bundle: Digest::of(b"bundle"),
        outcome: None,
    }
}

fn position(offset: u64) -> AuditPosition {
    AuditPosition { segment: "1-1.journal".into(), offset }
}

fn entries(rows: &[AuditRow]) -> Vec<AuditWrite> {
    rows.iter().cloned().map(|row| AuditWrite::Entry(Box::new(row))).collect()
}

pub(super) async fn suite(store: &Store) {
    let audit = store.audit();
    let node = store.node_id();
    assert_eq!(audit.position(node).await.unwrap(), None);
    let rows: Vec<_> = (0..250).map(|n| row(node, n)).collect();
    audit.append(node, &entries(&rows), &position(9_000)).await.unwrap();
    audit.append(node, &entries(&rows[100..]), &position(9_001)).await.unwrap();
    assert_eq!(audit.position(node).await.unwrap(), Some(position(9_001)));
    filters(store, &rows).await;
    paging(store, &rows).await;
    completions(store, &rows).await;
    audit.clear(Uuid::nil()).await.unwrap();
    assert_eq!(audit.query(&AuditFilter::default()).await.unwrap().total.count, 250);
    audit.clear(node).await.unwrap();
    assert_eq!(audit.position(node).await.unwrap(), None);
    let none = audit.query(&AuditFilter::default()).await.unwrap();
    assert_eq!((none.rows, none.total.count, none.next), (vec![], 0, None));
    let by_policy = AuditFilter { policy: Some(PolicyKey::parse("p2").unwrap()), ..Default::default() };
    audit.append(node, &entries(&rows[..2]), &position(1)).await.unwrap();
    assert_eq!(audit.query(&by_policy).await.unwrap().total.count, 1);
    audit.clear(node).await.unwrap();
}

type Case = (AuditFilter, Box<dyn Fn(&AuditRow) -> bool>);

/// Each filter against the same rows, filtered here.
async fn filters(store: &Store, rows: &[AuditRow]) {
    let all = AuditFilter::default();
    let member = MemberId::mint(at(0), seed(3));
    let cases: Vec<Case> = vec![
        (all.clone(), Box::new(|_| true)),
        (
            AuditFilter { from: Some(at(10)), to: Some(at(20)), ..all.clone() },
            Box::new(|r| r.at >= at(10) && r.at <= at(20)),
        ),
        (
            AuditFilter { agent: Some("bÜRO".into()), ..all.clone() },
            Box::new(|r| r.agent_name.starts_with('B')),
        ),
        (
            AuditFilter { agent: Some("O_100%".into()), ..all.clone() },
            Box::new(|r| r.agent_name.starts_with('B')),
        ),
        (AuditFilter { agent: Some("o%".into()), ..all.clone() }, Box::new(|_| false)),
        (AuditFilter { agent: Some("o_s".into()), ..all.clone() }, Box::new(|_| false)),
        (
            AuditFilter { service: Some(ServiceKey::parse("slack").unwrap()), ..all.clone() },
            Box::new(|r| r.service == "slack"),
        ),
        (AuditFilter { tool: Some("DELETE".into()), ..all.clone() }, Box::new(|r| r.tool == "Delete_File")),
        (AuditFilter { allowed: Some(false), ..all.clone() }, Box::new(|r| !r.allowed)),
        (AuditFilter { member: Some(member), ..all.clone() }, Box::new(move |r| r.member_id == member)),
        (
            AuditFilter { policy: Some(PolicyKey::parse("stop").unwrap()), ..all.clone() },
            Box::new(|r| !r.allowed),
        ),
        (AuditFilter { policy: Some(PolicyKey::parse("none").unwrap()), ..all.clone() }, Box::new(|_| false)),
        (
            AuditFilter { allowed: Some(true), agent: Some("ops".into()), tool: Some("read".into()), ..all },
            Box::new(|r| r.allowed && r.agent_name == "ops" && r.tool == "read"),
        ),
    ];
    for (filter, expected) in cases {
        let mut expected: Vec<_> = rows.iter().filter(|row| expected(row)).cloned().collect();
        expected.reverse();
        let found = store.audit().query(&filter).await.unwrap();
        assert_eq!(found.total.count, expected.len() as u64, "{filter:?}");
        assert_eq!(rows_of(found), expected, "{filter:?}");
    }
}

/// Pages neither repeat nor skip, though four rows share each millisecond.
async fn paging(store: &Store, rows: &[AuditRow]) {
    let mut seen = Vec::new();
    while seen.len() < rows.len() {
        let filter = AuditFilter { limit: 7, offset: seen.len() as u64, ..Default::default() };
        let page = store.audit().query(&filter).await.unwrap();
        assert_eq!(page.total.count, rows.len() as u64);
        assert!(!page.rows.is_empty() && page.rows.len() <= 7);
        seen.extend(rows_of(page).into_iter().map(|row| row.seq));
    }
    assert_eq!(seen, (0..250).rev().collect::<Vec<u64>>());
    let too_many = AuditFilter { limit: 10_000, ..Default::default() };
    assert_eq!(store.audit().query(&too_many).await.unwrap().rows.len(), 250);
    cursors(store).await;
}

/// The same by cursors: down to the oldest, and up again to the newest.
async fn cursors(store: &Store) {
    let (mut down, mut place) = (Vec::new(), None);
    loop {
        let filter = AuditFilter { limit: 7, place, ..Default::default() };
        let page = store.audit().page(&filter).await.unwrap();
        place = page.next.map(AuditPlace::Before);
        down.extend(page.rows);
        if place.is_none() {
            break;
        }
    }
    assert_eq!(down.iter().map(|(_, row)| row.seq).collect::<Vec<_>>(), (0..250).rev().collect::<Vec<_>>());
    let (mut up, mut cursor) = (Vec::new(), down.last().unwrap().0);
    loop {
        let filter = AuditFilter { limit: 9, place: Some(AuditPlace::After(cursor)), ..Default::default() };
        let page = store.audit().page(&filter).await.unwrap();
        let Some(next) = page.next else { break };
        assert_eq!(next, page.rows[0].0, "newest first, and on from the newest");
        assert_eq!(next.to_string().parse(), Ok(next));
        cursor = next;
        up.extend(page.rows.into_iter().rev().map(|(_, row)| row.seq));
    }
    assert_eq!(up, (1..250).collect::<Vec<u64>>());
}

fn rows_of(found: AuditFound) -> Vec<AuditRow> {
    found.rows.into_iter().map(|(_, row)| row).collect()
}

async fn completions(store: &Store, rows: &[AuditRow]) {
    let (allowed, denied) = (&rows[1], &rows[0]);
    let outcome = Outcome { kind: OutcomeKind::ToolError, status: 200, bytes: 12, duration_ms: 34 };
    let later = Outcome { kind: OutcomeKind::Unknown, status: 0, bytes: 0, duration_ms: 0 };
    let unknown = CallId::mint(at(9), seed(200));
    let writes = [
        AuditWrite::Completion { call: allowed.call, outcome },
        AuditWrite::Completion { call: denied.call, outcome },
        AuditWrite::Completion { call: unknown, outcome },
        AuditWrite::Completion { call: allowed.call, outcome: later },
    ];
    store.audit().append(store.node_id(), &writes, &position(10_000)).await.unwrap();
    let found = store.audit().query(&AuditFilter { to: Some(at(0)), ..Default::default() }).await.unwrap();
    let outcomes: Vec<_> = rows_of(found).iter().map(|row| row.outcome).collect();
    assert_eq!(outcomes, [None, None, Some(outcome), None]);
}
