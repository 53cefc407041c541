//! Who made a recorded call, as policies saw it then.
//!
//! Invariant: role and groups are those of the record; today's stand in only where an entry was written
//! before they were recorded, and never for a member that is gone.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Ground;
use crate::audit::replay::CallLine;
use crate::model::{
    Agent, AgentId, AgentStatus, Caller, GroupName, Member, MemberId, MemberStatus, Role, Timestamp,
};

/// Members that are kept ready; beyond, all are forgotten and made again.
const KEPT_MAX: usize = 50_000;

/// A member's place in its agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    pub role: Role,
    pub groups: BTreeSet<GroupName>,
}

/// A caller, and whether its address is known.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) caller: Caller,
    pub(super) ip_known: bool,
}

/// Members and agents that were met.
#[derive(Debug, Default)]
pub(super) struct Callers {
    agents: HashMap<AgentId, Arc<Agent>>,
    members: HashMap<MemberId, Arc<Member>>,
}

impl Callers {
    /// The caller; `None` where nobody knows the member's role and groups.
    pub(super) fn of(&mut self, ground: &Ground, call: &CallLine<'_>) -> Option<Known> {
        if self.members.len() >= KEPT_MAX {
            self.members.clear();
        }
        let agent = self.agent(ground, call);
        let member = self.member(ground, call)?;
        let ip: Option<IpAddr> = call.caller_ip.parse().ok();
        let caller = Caller {
            agent,
            member,
            key: call.member_key_id,
            ip: ip.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
            session: call.session_id,
        };
        Some(Known { caller, ip_known: ip.is_some() })
    }

    fn agent(&mut self, ground: &Ground, call: &CallLine<'_>) -> Arc<Agent> {
        if let Some(known) = self.agents.get(&call.agent_id).filter(|known| known.name == call.agent_name) {
            return Arc::clone(known);
        }
        let agent = Arc::new(Agent {
            id: call.agent_id,
            name: call.agent_name.to_string(),
            trust: ground.trust,
            status: AgentStatus::Active,
            services: BTreeSet::new(),
            rate: None,
            owner: None,
            tags: Vec::new(),
            created_at: Timestamp::default(),
        });
        self.agents.insert(call.agent_id, Arc::clone(&agent));
        agent
    }

    fn member(&mut self, ground: &Ground, call: &CallLine<'_>) -> Option<Arc<Member>> {
        let now;
        let recorded = recorded(call);
        let standing = match &recorded {
            Some(recorded) => recorded,
            None => {
                now = ground.members.get(&call.member_id)?;
                now
            }
        };
        if let Some(known) = self.members.get(&call.member_id) {
            let same = known.name == call.member_name
                && known.role == standing.role
                && known.groups == standing.groups;
            if same {
                return Some(Arc::clone(known));
            }
        }
        let member = Arc::new(Member {
            id: call.member_id,
            agent_id: call.agent_id,
            name: call.member_name.to_string(),
            role: standing.role,
            status: MemberStatus::Approved,
            groups: standing.groups.clone(),
            account: None,
            created_at: Timestamp::default(),
        });
        self.members.insert(call.member_id, Arc::clone(&member));
        Some(member)
    }
}

/// What the entry says of the member, if it says all of it.
fn recorded(call: &CallLine<'_>) -> Option<Standing> {
    let role = match call.member_role.as_deref()? {
        "owner" => Role::Owner,
        "member" => Role::Member,
        _ => return None,
    };
    if call.member_groups_omitted > 0 {
        return None;
    }
    let groups = call.member_groups.iter().map(|group| GroupName::parse(group).ok());
    Some(Standing { role, groups: groups.collect::<Option<_>>()? })
}
