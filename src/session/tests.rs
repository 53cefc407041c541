//! Sessions from outside: entering, limits, ends, `Mcp-Session-Id`s.

mod checkpoint;
mod counters;
mod parallel;
mod restart;

use std::net::IpAddr;
use std::sync::Arc;

use super::*;
use crate::model::{
    Agent, AgentId, AgentStatus, CounterKey, KeyId, Member, MemberStatus, PolicyKey, PolicyRef, Role,
    ServiceKey, Tier, ToolName, TrustMode,
};

const MINUTE_MS: i64 = 60_000;

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(1_800_000_000_000 + millis)
}

fn caller(n: u8) -> Caller {
    let agent = Agent {
        id: AgentId::mint(at(0), [1; 10]),
        name: "agent".into(),
        trust: TrustMode::Trusted,
        status: AgentStatus::Active,
        services: Default::default(),
        rate: None,
        owner: None,
        tags: Vec::new(),
        created_at: at(0),
    };
    let member = Member {
        id: MemberId::mint(at(0), [n; 10]),
        agent_id: agent.id,
        name: format!("member {n}"),
        role: Role::Member,
        status: MemberStatus::Approved,
        groups: Default::default(),
        account: None,
        created_at: at(0),
    };
    Caller {
        agent: Arc::new(agent),
        member: Arc::new(member),
        key: KeyId::mint(at(0), [n; 10]),
        ip: IpAddr::from([127, 0, 0, 1]),
        session: None,
    }
}

fn talk(n: u32) -> ConversationId {
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&n.to_be_bytes());
    ConversationId::from_bytes(bytes)
}

fn policy(key: &str) -> PolicyRef {
    PolicyRef { key: PolicyKey::parse(key).unwrap(), name: Arc::from(key), version: 0, id: None }
}

/// The facts of a call, owned.
struct Call {
    service: ServiceKey,
    tool: ToolName,
    tier: Tier,
    permits: Vec<PolicyRef>,
}

impl Call {
    fn new(service: &str, tool: &str, tier: Tier, permits: &[&str]) -> Self {
        Self {
            service: ServiceKey::parse(service).unwrap(),
            tool: ToolName::parse(tool).unwrap(),
            tier,
            permits: permits.iter().map(|key| policy(key)).collect(),
        }
    }

    fn counts(&self) -> CallCounts<'_> {
        CallCounts { service: &self.service, tool: &self.tool, tier: self.tier, permits: &self.permits }
    }
}

fn read_call() -> Call {
    Call::new("github", "read", Tier::Read, &["p1"])
}

/// Counts a call whose decision reads nothing.
fn count(session: &Session, call: &Call, now: Timestamp) -> Result<Reservation, ReserveFault> {
    let (_, version) = session.read(&[], &[], now);
    session.reserve(&version, &call.counts(), now)
}

fn calls(session: &Session, now: Timestamp) -> (i64, i64) {
    let (history, _) = session.read(&[CounterKey::Calls], &[CounterKey::Calls], now);
    (history.session[&CounterKey::Calls], history.member[&CounterKey::Calls])
}

#[test]
fn a_conversation_is_one_session_and_belongs_to_its_member() {
    let sessions = Sessions::new(SessionLimits::default());
    let one = sessions.enter(&caller(1), talk(1), None, at(0)).unwrap();
    let client = ClientInfo { name: "claude-code".into(), version: "1".into() };
    let again = sessions.enter(&caller(1), talk(1), Some(&client), at(1)).unwrap();
    assert_eq!(one.id(), again.id());
    assert_ne!(one.id(), sessions.enter(&caller(1), talk(2), None, at(1)).unwrap().id());
    assert_ne!(one.id(), sessions.enter(&caller(2), talk(1), None, at(1)).unwrap().id());
    assert_eq!(one.view().client, Some(client));
    assert_eq!(sessions.size().0, 3);
    let own = SessionFilter { member: Some(caller(1).member.id), ..Default::default() };
    assert_eq!(sessions.list(own, 10).len(), 2);
    assert_eq!(sessions.list(SessionFilter::default(), 2).len(), 2);
}

#[test]
fn a_session_ends_when_idle_swept_or_not() {
    let sessions = Sessions::new(SessionLimits::default());
    let first = sessions.enter(&caller(1), talk(1), None, at(0)).unwrap();
    let other = sessions.enter(&caller(1), talk(2), None, at(0)).unwrap();
    let kept = sessions.enter(&caller(1), talk(1), None, at(30 * MINUTE_MS)).unwrap();
    assert_eq!(first.id(), kept.id(), "30 minutes are not yet too long");
    assert_eq!(sessions.sweep(at(30 * MINUTE_MS + 1)), 1);
    assert_eq!(other.view().terminated_reason, Some(EndReason::Inactivity));
    let next = sessions.enter(&caller(1), talk(1), None, at(60 * MINUTE_MS + 1)).unwrap();
    assert_ne!(first.id(), next.id());
    assert_eq!(first.view().terminated_reason, Some(EndReason::Inactivity));
    assert_eq!(sessions.size().0, 1);
}

#[test]
fn a_reset_session_starts_at_zero_but_the_member_does_not() {
    let sessions = Sessions::new(SessionLimits::default());
    let session = sessions.enter(&caller(1), talk(1), None, at(0)).unwrap();
    let _ = count(&session, &read_call(), at(0)).unwrap();
    session.count_denial(&[policy("stop")], at(0));
    let (_, version) = session.read(&[], &[], at(0));
    assert!(sessions.reset(session.id(), at(1)));
    assert!(!sessions.reset(session.id(), at(1)));
    assert!(sessions.get(session.id()).is_none());
    let call = read_call();
    assert_eq!(session.reserve(&version, &call.counts(), at(1)).unwrap_err(), ReserveFault::Ended);
    assert_eq!(session.with_locked(at(1), |_| ()).unwrap_err(), ReserveFault::Ended);
    assert_eq!(session.view().terminated_reason, Some(EndReason::ManualReset));
    let next = sessions.enter(&caller(1), talk(1), None, at(2)).unwrap();
    assert_ne!(next.id(), session.id());
    assert_eq!(calls(&next, at(2)), (0, 1));
}

#[test]
fn each_limit_refuses_and_names_itself() {
    let base = SessionLimits {
        sessions_max: 4,
        sessions_per_member_max: 2,
        new_per_member_per_hour_max: 3,
        ..SessionLimits::default()
    };
    let sessions = Sessions::new(base);
    let enter = |member, n, now| sessions.enter(&caller(member), talk(n), None, now);
    let first = enter(1, 1, at(0)).unwrap();
    enter(1, 2, at(0)).unwrap();
    assert_eq!(enter(1, 3, at(0)).unwrap_err(), SessionRefusal::TooManyOfMember);
    assert!(enter(1, 1, at(0)).is_ok(), "a known conversation goes on");
    assert!(sessions.reset(first.id(), at(0)));
    enter(1, 3, at(0)).unwrap();
    assert!(sessions.reset(sessions.list(SessionFilter::default(), 1)[0].id, at(0)));
    let Err(SessionRefusal::TooManyNew { retry_after_s }) = enter(1, 4, at(0)) else { panic!() };
    assert!((3_600..=3_901).contains(&retry_after_s), "{retry_after_s}");
    // Two ended sessions that the store does not have yet are held, and one lives.
    enter(2, 1, at(0)).unwrap();
    assert_eq!(enter(3, 1, at(0)).unwrap_err(), SessionRefusal::TooMany);
    sessions.take_dirty(100).saved();
    enter(3, 1, at(0)).unwrap();
    let later = at(i64::from(retry_after_s) * 1_000);
    enter(1, 4, later).unwrap();

    let tight = Sessions::new(SessionLimits { bytes_max: 4_000, ..SessionLimits::default() });
    let entered = (0..100).take_while(|n| tight.enter(&caller(1), talk(*n), None, at(0)).is_ok()).count();
    assert!((1..20).contains(&entered), "{entered}");
}

#[test]
fn an_mcp_session_id_is_its_members_alone_until_it_ends() {
    let sessions = Sessions::new(SessionLimits { mcp_ids_per_session_max: 2, ..SessionLimits::default() });
    let (me, other) = (caller(1).member.id, caller(2).member.id);
    let session = sessions.enter(&caller(1), talk(1), None, at(0)).unwrap();
    let digests: Vec<_> = (0..3).map(|n| mcp_session_id([n; 16]).1).collect();
    sessions.bind_mcp(&session, digests[0]);
    assert_eq!(sessions.find_mcp(me, &digests[0], at(1)).unwrap().id(), session.id());
    for (member, digest) in [(other, &digests[0]), (me, &digests[1])] {
        assert!(sessions.find_mcp(member, digest, at(1)).is_none());
        assert!(!sessions.end_mcp(member, digest));
    }
    sessions.bind_mcp(&session, digests[1]);
    sessions.bind_mcp(&session, digests[2]);
    assert!(sessions.find_mcp(me, &digests[0], at(1)).is_none(), "the oldest gave way");
    assert!(sessions.end_mcp(me, &digests[1]));
    assert!(!sessions.end_mcp(me, &digests[1]));
    assert!(sessions.find_mcp(me, &digests[1], at(1)).is_none());
    assert!(session.view().is_active, "the tool session goes on");
    assert!(sessions.find_mcp(me, &digests[2], at(31 * MINUTE_MS)).is_none(), "idle");
    assert!(!session.view().is_active);
    sessions.bind_mcp(&session, digests[0]);
    assert!(sessions.find_mcp(me, &digests[0], at(31 * MINUTE_MS)).is_none(), "no id of an ended session");
}

/// A member's counters must never be two: then a limit would hold for each of them.
#[test]
fn a_member_is_forgotten_only_when_nobody_can_count_for_it_any_more() {
    let sessions = Sessions::new(SessionLimits::default());
    let session = sessions.enter(&caller(1), talk(1), None, at(0)).unwrap();
    assert!(sessions.reset(session.id(), at(0)));
    sessions.take_dirty(10).saved();
    let later = at(120 * MINUTE_MS);
    sessions.sweep(later);
    session.count_denial(&[], later);
    let next = sessions.enter(&caller(1), talk(2), None, later).unwrap();
    assert_eq!(next.member_counters(later).get(&CounterKey::Denials), Some(&1));
    // Found just before it was retired: not used.
    let other = sessions.0.member(caller(2).member.id);
    other.state.lock().retired = true;
    assert_eq!(sessions.enter(&caller(2), talk(1), None, later).unwrap_err(), SessionRefusal::TooMany);
    sessions.0.members.remove(&caller(2).member.id);
    assert!(sessions.enter(&caller(2), talk(1), None, later).is_ok());
}

#[test]
fn a_client_cannot_fill_the_memory_with_its_name() {
    let sessions = Sessions::new(SessionLimits::default());
    let client = ClientInfo { name: "é".repeat(100_000), version: "v".repeat(100_000) };
    let session = sessions.enter(&caller(1), talk(1), Some(&client), at(0)).unwrap();
    assert_eq!(session.view().client.unwrap().name.chars().count(), 128);
}

/// Reliability G13: 2 KiB for a session, and what ended gives its memory back.
#[test]
fn a_typical_session_stays_under_two_kibibytes() {
    let sessions = Sessions::new(SessionLimits { sessions_per_member_max: 100, ..SessionLimits::default() });
    let tools: Vec<_> =
        (0..8).map(|n| Call::new("github", &format!("tool_{n}"), Tier::Read, &["p1", "p2"])).collect();
    let client = ClientInfo { name: "claude-code".into(), version: "2.0.1".into() };
    let before = resident_bytes();
    for n in 0..20_000_u32 {
        let mut caller = caller(1);
        let member = Arc::make_mut(&mut caller.member);
        member.id = MemberId::mint(at(0), [(n / 100 % 251) as u8; 10]);
        let session = sessions.enter(&caller, talk(n), Some(&client), at(0)).unwrap();
        sessions.bind_mcp(&session, Digest::of(&n.to_be_bytes()));
        for call in &tools {
            count(&session, call, at(0)).unwrap().reached();
        }
    }
    let (live, estimated) = sessions.size();
    assert_eq!(live, 20_000);
    let resident = resident_bytes().saturating_sub(before) / 20_000;
    let estimated = estimated / 20_000;
    println!("bytes a session: {resident} resident, {estimated} estimated");
    assert!(resident <= 2_048, "{resident} bytes a session");
    assert!(estimated <= 2_048 && estimated * 2 >= resident, "{estimated} estimated, {resident} resident");
    assert_eq!(sessions.sweep(at(31 * MINUTE_MS)), 20_000);
    while {
        let dirty = sessions.take_dirty(1_000);
        let more = !dirty.is_empty();
        dirty.saved();
        more
    } {}
    // The audit's worker looks twice; until then their last counters are kept for it.
    for look in 0..2 {
        sessions.take_checkpoints(usize::MAX, at((32 + look) * MINUTE_MS));
    }
    sessions.sweep(at(25 * 60 * MINUTE_MS));
    assert_eq!(sessions.size(), (0, 0), "everything was given back");
}

/// The process's resident memory; each test is a process of its own.
fn resident_bytes() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4_096
}
