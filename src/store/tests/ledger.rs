//! The audit's index by every way that a question can be walked, whose calls are seen, statistics.

pub(super) mod changes;
mod many;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::*;
use crate::model::{
    Account, AccountId, AccountStatus, CallId, Digest, EmailAddress, Outcome, OutcomeKind, PolicyKey,
    PolicyRef, ServiceKey, SessionId,
};

/// A small generator of pseudo-random numbers (xorshift), the same at each run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

fn seed_of(n: u64) -> [u8; 10] {
    let [a, b, c, d, e, f, g, h] = n.to_be_bytes();
    [a, b, c, d, e, f, g, h, 7, 7]
}

fn agent_id(n: u64) -> AgentId {
    AgentId::mint(at(0), seed_of(n))
}

const AGENTS: u64 = 10;
const MEMBERS: u64 = 30;
/// Calls of one segment of the journal.
const SEGMENT: u64 = 800;

/// Member `n` of agent `n % AGENTS`.
fn member_id(n: u64) -> MemberId {
    MemberId::mint(at(0), seed_of(1_000 + n))
}

fn policy(key: &str) -> PolicyRef {
    PolicyRef {
        key: PolicyKey::parse(key).unwrap(),
        name: Arc::from(format!("The {key}")),
        version: 1,
        id: None,
    }
}

/// Rows over a day with 400 tools, so that sets are small, large, larger than can be merged, and too many to be
/// counted.
fn rows(node: Uuid, count: u64, dice: &mut Dice) -> Vec<AuditRow> {
    let mut millis = 0;
    (0..count)
        .map(|n| {
            // Some in the same millisecond.
            millis += if dice.one_in(4) { 0 } else { i64::try_from(dice.below(120_000)).unwrap() };
            let member = dice.below(MEMBERS);
            let tool = dice.below(400);
            let allowed = !dice.one_in(3);
            AuditRow {
                node,
                boot: 1 + n / SEGMENT,
                seq: n,
                call: CallId::mint(at(millis), seed_of(n)),
                at: at(millis),
                agent_id: agent_id(member % AGENTS),
                agent_name: format!("Agent {}", member % AGENTS),
                member_id: member_id(member),
                member_name: format!("m{member}@example.com"),
                key_id: KeyId::mint(at(0), seed_of(member)),
                session: dice.one_in(2).then(|| SessionId::mint(at(0), seed_of(member * 10 + dice.below(3)))),
                service: ["github", "slack"][usize::try_from(tool % 2).unwrap()].into(),
                tool: format!("Tool_{tool}"),
                action: "A::Action::\"x\"".into(),
                resource: "A::Service::\"x\"".into(),
                principal: "Wicket::Member::\"x\"".into(),
                caller_ip: "10.0.0.1".parse().unwrap(),
                arguments: "{}".into(),
                allowed,
                reason: if allowed { "permitted".into() } else { "forbidden".into() },
                deny_message: None,
                policies: vec![policy(if allowed {
                    "base"
                } else {
                    ["stop", "rare"][usize::from(tool == 7)]
                })],
                shadow: None,
                bundle: Digest::of(b"bundle"),
                outcome: (allowed && dice.one_in(2)).then_some(Outcome {
                    kind: OutcomeKind::Result,
                    status: 200,
                    bytes: 1,
                    duration_ms: 5 + tool,
                }),
            }
        })
        .collect()
}

fn written(rows: &[AuditRow]) -> Vec<AuditWrite> {
    rows.iter().cloned().map(|row| AuditWrite::Entry(Box::new(row))).collect()
}

fn place(offset: u64) -> AuditPosition {
    AuditPosition { segment: "1".into(), offset }
}

fn filter(dice: &mut Dice, rows: &[AuditRow]) -> AuditFilter {
    let row = &rows[usize::try_from(dice.below(rows.len() as u64)).unwrap()];
    let own = |member: u64, trust| OwnMembership {
        member: member_id(member),
        agent: agent_id(member % AGENTS),
        trust,
    };
    let sight = match dice.below(4) {
        0 => Sight::Everything,
        1 => Sight::Account { owned: vec![agent_id(1)], own: Vec::new() },
        2 => Sight::Account {
            owned: (0..6).map(agent_id).collect(),
            own: vec![own(7, TrustMode::Trusted), own(8, TrustMode::Untrusted)],
        },
        _ => Sight::Account { owned: Vec::new(), own: vec![own(6, TrustMode::Trusted)] },
    };
    let tool = ["tool_7", "TOOL_", "tool_1", "nothing"][usize::try_from(dice.below(4)).unwrap()];
    let key = ["base", "stop", "rare", "none"][usize::try_from(dice.below(4)).unwrap()];
    AuditFilter {
        sight,
        from: dice.one_in(4).then_some(row.at),
        to: dice.one_in(4).then(|| row.at.plus_millis(3_000_000)),
        agent: dice.one_in(5).then(|| "agent 1".to_owned()),
        service: dice.one_in(5).then(|| ServiceKey::parse("slack").unwrap()),
        tool: dice.one_in(3).then(|| tool.to_owned()),
        allowed: dice.one_in(4).then(|| dice.one_in(2)),
        member: dice.one_in(5).then_some(row.member_id),
        policy: dice.one_in(4).then(|| PolicyKey::parse(key).unwrap()),
        session: row.session.filter(|_| dice.one_in(10)),
        limit: 1 + u32::try_from(dice.below(60)).unwrap(),
        offset: if dice.one_in(2) { 0 } else { dice.below(40) },
        place: None,
    }
}

/// 600 questions of every mixture, against the same rows filtered here.
async fn every_way(store: &Store, rows: &[AuditRow], dice: &mut Dice) {
    for _ in 0..600 {
        let filter = filter(dice, rows);
        let mut expected: Vec<&AuditRow> = rows.iter().filter(|row| filter.lets_through(row)).collect();
        expected.sort_by_key(|row| std::cmp::Reverse((row.at, row.seq)));
        let found = store.audit().query(&filter).await.unwrap();
        assert_eq!((found.total.count, found.total.estimated), (expected.len() as u64, false), "{filter:?}");
        let (skip, take) = (usize::try_from(filter.offset).unwrap(), usize::try_from(filter.limit).unwrap());
        let page: Vec<&AuditRow> = expected.iter().skip(skip).take(take).copied().collect();
        assert_eq!(found.rows.iter().map(|(_, row)| row).collect::<Vec<_>>(), page, "{filter:?}");
        assert_eq!(found.next.is_some(), expected.len() > skip + take, "{filter:?}");
        let Some((last, _)) = found.rows.last() else { continue };
        let next = AuditFilter { place: Some(AuditPlace::Before(*last)), offset: 0, ..filter.clone() };
        let next = store.audit().page(&next).await.unwrap();
        let page: Vec<&AuditRow> = expected.iter().skip(skip + page.len()).take(take).copied().collect();
        assert_eq!(next.rows.iter().map(|(_, row)| row).collect::<Vec<_>>(), page, "{filter:?} goes on");
    }
}

/// What statistics must say, counted here.
fn counted<'a>(rows: impl Iterator<Item = &'a AuditRow>) -> Counted {
    let mut counted = Counted::default();
    for row in rows {
        counted.calls += 1;
        counted.denied += u64::from(!row.allowed);
        if let Some(outcome) = row.outcome {
            counted.ended += 1;
            counted.duration_ms += outcome.duration_ms;
            counted.duration_ms_max = counted.duration_ms_max.max(outcome.duration_ms);
        }
    }
    counted
}

async fn statistics(store: &Store, rows: &[AuditRow]) {
    let last = rows.iter().map(|row| row.at).max().unwrap();
    let own = OwnMembership { member: member_id(2), agent: agent_id(2), trust: TrustMode::Trusted };
    let account = Sight::Account { owned: vec![agent_id(0), agent_id(1)], own: vec![own] };
    for (sight, from, to) in [
        (Sight::Everything, at(0), last),
        (account.clone(), at(0), last),
        (account, at(50_000_000), at(150_000_000)),
    ] {
        let (first, end) =
            (StatisticSpan::Hour.floor(from), StatisticSpan::Hour.floor(to).plus_millis(3_600_000));
        let of: Vec<&AuditRow> = rows
            .iter()
            .filter(|row| sight.sees(row.agent_id, row.member_id) && row.at >= first && row.at < end)
            .collect();
        let question = StatisticsQuestion { sight: sight.clone(), from, to };
        let series = store.statistics().series(&question, StatisticSpan::Hour).await.unwrap();
        for busy in &series {
            let hour = of.iter().filter(|row| StatisticSpan::Hour.floor(row.at) == busy.from).copied();
            assert_eq!(busy.counted, counted(hour));
        }
        assert_eq!(series.iter().map(|busy| busy.counted.calls).sum::<u64>(), of.len() as u64);
        let tools = store.statistics().tools(&question).await.unwrap();
        assert!(tools.is_sorted_by_key(|tool| std::cmp::Reverse(tool.counted.calls)));
        for tool in tools {
            let same = of.iter().filter(|row| row.tool == tool.tool && row.service == tool.service);
            let expected = counted(same.copied());
            assert_eq!((tool.counted.calls, tool.counted.denied), (expected.calls, expected.denied));
        }
        let (members, total) = store.statistics().members(&question, 5, 0).await.unwrap();
        let mut expected: BTreeMap<MemberId, u64> = BTreeMap::new();
        of.iter().for_each(|row| *expected.entry(row.member_id).or_default() += 1);
        assert_eq!(total, expected.len() as u64);
        let busiest = members[0].counted.calls;
        assert_eq!(busiest, *expected.values().max().unwrap());
        for member in members {
            let of_member = counted(of.iter().filter(|row| row.member_id == member.member).copied());
            assert_eq!(member.counted, of_member, "{}", member.name);
        }
        let denying = store.statistics().denying(&question).await.unwrap();
        let stop = denying.iter().find(|one| one.key == "stop" && one.service == "slack").unwrap();
        let owned = |row: &&&AuditRow| sight.owns(row.agent_id) && row.service == "slack" && !row.allowed;
        assert_eq!(stop.counted.denied, of.iter().filter(owned).count() as u64 - rare(&of, &sight));
    }
}

fn rare(of: &[&AuditRow], sight: &Sight) -> u64 {
    let rare = |row: &&&AuditRow| sight.owns(row.agent_id) && row.policies[0].key.as_str() == "rare";
    of.iter().filter(rare).count() as u64
}

/// What everything counts, for comparing before and after.
async fn said(store: &Store) -> Vec<(u64, u64, u64, u64)> {
    let question = StatisticsQuestion { sight: Sight::Everything, from: at(0), to: at(1_000_000_000) };
    let mut said = Vec::new();
    for span in [StatisticSpan::Hour, StatisticSpan::Day] {
        let series = store.statistics().series(&question, span).await.unwrap();
        let sum = |of: fn(&Counted) -> u64| series.iter().map(|busy| of(&busy.counted)).sum::<u64>();
        said.push((sum(|c| c.calls), sum(|c| c.denied), sum(|c| c.ended), sum(|c| c.duration_ms)));
    }
    said
}

pub(super) async fn suite(store: &Store) {
    let (audit, node) = (store.audit(), store.node_id());
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let rows = rows(node, 3 * SEGMENT, &mut dice);
    for (n, batch) in (0..).zip(rows.chunks(400)) {
        audit.append(node, &written(batch), &place(n)).await.unwrap();
    }
    let before = said(store).await;
    audit.append(node, &written(&rows[200..900]), &place(9)).await.unwrap();
    assert_eq!(said(store).await, before, "a replay counts nothing twice");
    every_way(store, &rows, &mut dice).await;
    statistics(store, &rows).await;
    let open = rows.iter().find(|row| row.allowed && row.outcome.is_none()).unwrap();
    let outcome = Outcome { kind: OutcomeKind::Timeout, status: 0, bytes: 0, duration_ms: 7_000 };
    for _ in 0..2 {
        let end = [AuditWrite::Completion { call: open.call, outcome }];
        audit.append(node, &end, &place(10)).await.unwrap();
        let after: Vec<_> = before.iter().map(|s| (s.0, s.1, s.2 + 1, s.3 + 7_000)).collect();
        assert_eq!(said(store).await, after, "an end is counted once, in the hour of its call");
    }
    let question = PeopleQuestion { limit: 5, ..Default::default() };
    let (people, total) = audit.people(&question).await.unwrap();
    assert_eq!((people.len(), total), (5, MEMBERS));
    forgotten(store, &rows).await;
    many::suite(store, &rows[0], &mut dice).await;
    audit.clear(node).await.unwrap();
    assert_eq!(said(store).await, [(0, 0, 0, 0); 2]);
    assert_eq!(audit.people(&question).await.unwrap().1, 0);
}

/// Segments go, and with them their rows, names and statistics.
async fn forgotten(store: &Store, rows: &[AuditRow]) {
    assert_eq!(store.audit().forget(store.node_id(), 2).await.unwrap(), 2 * SEGMENT);
    let left: Vec<&AuditRow> = rows.iter().filter(|row| row.boot > 2).collect();
    let found = store.audit().query(&AuditFilter::default()).await.unwrap();
    assert_eq!(found.total.count, left.len() as u64);
    let denied = AuditFilter { allowed: Some(false), ..Default::default() };
    let denied = store.audit().query(&denied).await.unwrap().total.count;
    assert_eq!(denied, left.iter().filter(|row| !row.allowed).count() as u64);
    let (people, _) =
        store.audit().people(&PeopleQuestion { limit: 50, ..Default::default() }).await.unwrap();
    assert_eq!(people.iter().map(|person| person.calls).sum::<u64>(), left.len() as u64);
    let first = left.iter().map(|row| row.at).min().unwrap();
    let question = StatisticsQuestion { sight: Sight::Everything, from: at(0), to: at(1_000_000_000) };
    let series = store.statistics().series(&question, StatisticSpan::Hour).await.unwrap();
    assert_eq!(series.first().unwrap().from, StatisticSpan::Hour.floor(first));
    let hour = |busy: &Busy| rows.iter().filter(|row| StatisticSpan::Hour.floor(row.at) == busy.from).count();
    assert!(series.iter().all(|busy| busy.counted.calls == hour(busy) as u64));
}

pub(super) async fn sights(store: &Store) {
    let account = |n: u64, email: &str| Account {
        id: AccountId::mint(at(0), seed_of(n)),
        email: EmailAddress::parse(email).unwrap(),
        status: AccountStatus::Active,
        created_at: at(0),
    };
    let (ann, bob) = (account(901, "ann@example.com"), account(902, "bob@example.com"));
    for one in [&ann, &bob] {
        store.accounts().create(one).await.unwrap();
    }
    let mut owned = agent(91, "owned");
    owned.owner = Some(ann.id);
    let mut other = agent(92, "another");
    other.trust = TrustMode::Untrusted;
    for one in [&owned, &other] {
        store.agents().create(one).await.unwrap();
    }
    for (n, of, who, status) in [
        (93, &owned, &ann, MemberStatus::Approved),
        (94, &other, &ann, MemberStatus::Approved),
        (95, &owned, &bob, MemberStatus::Pending),
        (96, &other, &bob, MemberStatus::Rejected),
    ] {
        let mut row = member(n, of.id, &format!("{n}"));
        (row.account, row.status) = (Some(who.id), status);
        store.members().create(&row).await.unwrap();
    }
    let own =
        |n: u8, of: &Agent| OwnMembership { member: member(n, of.id, "").id, agent: of.id, trust: of.trust };
    let ann_sees = Sight::Account { owned: vec![owned.id], own: vec![own(94, &other)] };
    assert_eq!(store.audit().sight(ann.id).await.unwrap(), ann_sees);
    let bob_sees = Sight::Account { owned: vec![], own: vec![own(95, &owned)] };
    assert_eq!(store.audit().sight(bob.id).await.unwrap(), bob_sees);
    for one in [owned, other] {
        store.agents().delete(one.id).await.unwrap();
    }
    let nothing = Sight::Account { owned: vec![], own: vec![] };
    assert_eq!(store.audit().sight(ann.id).await.unwrap(), nothing);
    let found = store.audit().query(&AuditFilter { sight: nothing, ..Default::default() }).await.unwrap();
    assert_eq!((found.rows.len(), found.total.count), (0, 0));
}
