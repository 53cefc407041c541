//! Memory of sessions, counted by the allocator: sessions of many members, each with one allowed call
//! that counts in all that a call counts in.

use std::collections::BTreeSet;
use std::sync::Arc;

use wicket::model::{
    Agent, AgentId, AgentStatus, Caller, ConversationId, KeyId, Member, MemberId, MemberStatus, PolicyKey,
    PolicyRef, Role, ServiceKey, SessionId, Tier, Timestamp, ToolName, TrustMode,
};
use wicket::session::{CallCounts, SessionLimits, Sessions};

use super::measure::{Counted, target};

/// Sessions of one member.
const OF_ONE_MEMBER: usize = 100;

fn caller(number: usize, now: Timestamp, agent: &Arc<Agent>) -> Caller {
    let mut random = [0; 10];
    // The first bits of the random part are the version's.
    random[2..].copy_from_slice(&number.to_be_bytes());
    let member = Member {
        id: MemberId::mint(now, random),
        agent_id: agent.id,
        name: format!("member-{number}@example.com"),
        role: Role::Member,
        status: MemberStatus::Approved,
        groups: BTreeSet::new(),
        account: None,
        created_at: now,
    };
    Caller {
        agent: Arc::clone(agent),
        member: Arc::new(member),
        key: KeyId::mint(now, random),
        ip: std::net::Ipv4Addr::LOCALHOST.into(),
        session: None::<SessionId>,
    }
}

/// Opens so many sessions and prints the bytes that each holds; members and their 24 hours are in.
pub fn measure(count: usize) {
    let now = Timestamp::from_millis(1_795_310_401_020);
    let service = ServiceKey::parse("bench").unwrap();
    let tool = ToolName::parse("echo").unwrap();
    let agent = Arc::new(Agent {
        id: AgentId::mint(now, [1; 10]),
        name: "bench".to_owned(),
        trust: TrustMode::Trusted,
        status: AgentStatus::Active,
        services: BTreeSet::from([service.clone()]),
        rate: None,
        owner: None,
        tags: Vec::new(),
        created_at: now,
    });
    let key = PolicyKey::parse("reads").unwrap();
    let permits = [PolicyRef { key, name: Arc::from("reads"), version: 0, id: None }];
    let sessions = Sessions::new(SessionLimits {
        sessions_max: u32::try_from(count).unwrap(),
        new_per_member_per_hour_max: u32::MAX,
        ..SessionLimits::default()
    });
    // The directory's, not the sessions': made before counting begins.
    let callers: Vec<Caller> = (0..count / OF_ONE_MEMBER).map(|number| caller(number, now, &agent)).collect();
    let counted = Counted::begin();
    for number in 0..count {
        let mut conversation = [0; 16];
        conversation[..8].copy_from_slice(&number.to_le_bytes());
        let caller = &callers[number / OF_ONE_MEMBER];
        let session = sessions.enter(caller, ConversationId::from_bytes(conversation), None, now).unwrap();
        let (_, version) = session.read(&[], &[], now);
        let call = CallCounts { service: &service, tool: &tool, tier: Tier::Read, permits: &permits };
        session.reserve(&version, &call, now).unwrap().reached();
    }
    let held = counted.held_bytes() as f64 / count as f64;
    assert_eq!(sessions.size().0 as usize, count);
    target(&format!("{count} sessions with a call each, memory of one"), held / 1_024.0, 2.0, "KiB");
}
