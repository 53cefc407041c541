//! Every key that is not revoked, with its member and agent: what identity asks.
//!
//! Invariants: a key whose member or agent is missing opens nothing; a directory that was patched with
//! what changed equals one that is read anew (a property test compares them).

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::keys::KeyTag;
use crate::model::{Agent, AgentId, KeyId, Member, MemberId, RateLimit, StoredPolicy};
use crate::store::{DirectoryPart, KeyRow};

/// A key that may be presented.
#[derive(Debug, Clone)]
pub struct KeyEntry {
    pub id: KeyId,
    pub tag: KeyTag,
    pub member: Arc<Member>,
    pub agent: Arc<Agent>,
    /// The key's own limit, else the agent's, else the configured one.
    pub rate: RateLimit,
    own_rate: Option<RateLimit>,
}

/// The stored policies of one agent, by their ids.
pub type Shard = Arc<[Arc<StoredPolicy>]>;

/// Every key that is not revoked, with its member and agent; and what each agent stores.
#[derive(Debug, Clone, Default)]
pub struct Directory {
    pub generation: u64,
    keys: HashMap<[u8; 16], KeyEntry>,
    by_id: HashMap<KeyId, [u8; 16]>,
    agents: HashMap<AgentId, Arc<Agent>>,
    members: HashMap<MemberId, Arc<Member>>,
    /// Of the agents that store any. A shard in which nothing changed stays the very one.
    shards: HashMap<AgentId, Shard>,
}

impl Directory {
    /// Joins the rows of the store.
    pub fn new(rows: crate::store::Directory, default_rate: RateLimit) -> Self {
        let agents = rows.agents.into_iter().map(|agent| (agent.id, Arc::new(agent))).collect();
        let members = rows.members.into_iter().map(|member| (member.id, Arc::new(member))).collect();
        let mut directory = Self { generation: rows.generation.get(), agents, members, ..Self::default() };
        directory.keys.reserve(rows.keys.len());
        directory.by_id.reserve(rows.keys.len());
        for key in rows.keys.iter().filter(|key| key.revoked_at.is_none()) {
            let tag = KeyTag::from_bytes(key.tag);
            directory.put(key.id, tag, key.member_id, key.rate, default_rate);
        }
        let mut policies: HashMap<AgentId, Vec<StoredPolicy>> = HashMap::new();
        for policy in rows.policies {
            policies.entry(policy.agent).or_default().push(policy);
        }
        for (agent, policies) in policies {
            directory.put_shard(agent, policies);
        }
        directory
    }

    /// The same, with what an earlier directory knows of policies that did not change since.
    #[must_use]
    pub fn sharing(mut self, before: &Self) -> Self {
        for (agent, shard) in &mut self.shards {
            if let Some(known) = before.shards.get(agent) {
                *shard = shared(shard.iter().map(Arc::clone), Some(known));
            }
        }
        self
    }

    /// The directory that this one becomes by what changed since; `None` where the change is one from
    /// another generation.
    #[must_use]
    pub fn patched(&self, part: DirectoryPart, default_rate: RateLimit) -> Option<Self> {
        if part.since.get() != self.generation {
            return None;
        }
        let mut next = self.clone();
        next.generation = part.generation.get();
        let lost_agents =
            part.agents.iter().filter(|(_, agent)| agent.is_none()).map(|(id, _)| *id).collect();
        let lost_members =
            part.members.iter().filter(|(_, member)| member.is_none()).map(|(id, _)| *id).collect();
        // Whatever shows a row that changed is taken away first; what is still there is put back.
        let agents: HashSet<AgentId> = part.agents.keys().copied().collect();
        let gone = |member: &Member| {
            part.members.contains_key(&member.id)
                || part.agents.get(&member.agent_id).is_some_and(Option::is_none)
        };
        next.members.retain(|_, member| !gone(member));
        let (mut kept, mut lost): (Vec<KeyEntry>, Vec<[u8; 16]>) = (Vec::new(), Vec::new());
        for (index, entry) in &next.keys {
            if gone(&entry.member) {
                lost.push(*index);
            } else if agents.contains(&entry.agent.id) {
                kept.push(entry.clone());
                lost.push(*index);
            }
        }
        for index in lost {
            if let Some(entry) = next.keys.remove(&index) {
                next.by_id.remove(&entry.id);
            }
        }
        for (id, agent) in part.agents {
            match agent {
                Some(agent) => drop(next.agents.insert(id, Arc::new(agent))),
                None => drop(next.agents.remove(&id)),
            }
        }
        let mut keys: Vec<KeyRow> = Vec::new();
        for (member, mut found) in part.members.into_values().flatten() {
            next.members.insert(member.id, Arc::new(member));
            keys.append(&mut found);
        }
        for entry in kept {
            next.put(entry.id, entry.tag, entry.member.id, entry.own_rate, default_rate);
        }
        for key in keys.iter().filter(|key| key.revoked_at.is_none()) {
            next.put(key.id, KeyTag::from_bytes(key.tag), key.member_id, key.rate, default_rate);
        }
        next.forget_policies(&lost_agents, &lost_members);
        for (agent, policies) in part.policies {
            next.put_shard(agent, policies);
        }
        Some(next)
    }

    /// Takes away what went with agents and members.
    fn forget_policies(&mut self, agents: &HashSet<AgentId>, members: &HashSet<MemberId>) {
        self.shards.retain(|agent, _| !agents.contains(agent));
        let gone = |policy: &StoredPolicy| policy.member.is_some_and(|member| members.contains(&member));
        for shard in self.shards.values_mut().filter(|shard| shard.iter().any(|policy| gone(policy))) {
            *shard = shard.iter().filter(|policy| !gone(policy)).map(Arc::clone).collect();
        }
        self.shards.retain(|_, shard| !shard.is_empty());
    }

    /// Puts all the policies that an agent stores; those that are as they were stay the very ones.
    fn put_shard(&mut self, agent: AgentId, policies: Vec<StoredPolicy>) {
        if policies.is_empty() {
            self.shards.remove(&agent);
            return;
        }
        let shard = shared(policies.into_iter().map(Arc::new), self.shards.get(&agent));
        self.shards.insert(agent, shard);
    }

    fn put(
        &mut self,
        id: KeyId,
        tag: KeyTag,
        member: MemberId,
        own_rate: Option<RateLimit>,
        default_rate: RateLimit,
    ) {
        let Some(member) = self.members.get(&member) else { return };
        let Some(agent) = self.agents.get(&member.agent_id) else { return };
        let (member, agent) = (Arc::clone(member), Arc::clone(agent));
        let rate = own_rate.or(agent.rate).unwrap_or(default_rate);
        let index = tag.index();
        self.by_id.insert(id, index);
        self.keys.insert(index, KeyEntry { id, tag, member, agent, rate, own_rate });
    }

    /// The key whose tag has this index.
    pub fn key(&self, index: &[u8; 16]) -> Option<&KeyEntry> {
        self.keys.get(index)
    }

    /// The key of this id, if it is not revoked.
    pub fn key_of(&self, id: &KeyId) -> Option<&KeyEntry> {
        self.keys.get(self.by_id.get(id)?)
    }

    /// All keys that are not revoked.
    pub fn keys(&self) -> impl Iterator<Item = &KeyEntry> {
        self.keys.values()
    }

    /// The member of this id.
    pub fn member(&self, id: &MemberId) -> Option<&Arc<Member>> {
        self.members.get(id)
    }

    /// What each agent stores, of those that store anything.
    pub fn shards(&self) -> impl ExactSizeIterator<Item = (&AgentId, &Shard)> {
        self.shards.iter()
    }

    /// What this agent stores; nothing where it stores nothing.
    pub fn shard(&self, agent: &AgentId) -> Option<&Shard> {
        self.shards.get(agent)
    }

    /// The agent of this id.
    pub fn agent(&self, id: &AgentId) -> Option<&Arc<Agent>> {
        self.agents.get(id)
    }
}

/// These policies, each the known one where it is as it was; the known shard where all are.
fn shared(policies: impl Iterator<Item = Arc<StoredPolicy>>, known: Option<&Shard>) -> Shard {
    let Some(known) = known else { return policies.collect() };
    let by_id: HashMap<_, _> = known.iter().map(|policy| (policy.id, policy)).collect();
    let new: Shard = policies
        .map(|policy| match by_id.get(&policy.id) {
            Some(known) if ***known == *policy => Arc::clone(known),
            _ => policy,
        })
        .collect();
    let same =
        new.len() == known.len() && new.iter().zip(known.iter()).all(|(new, old)| Arc::ptr_eq(new, old));
    if same { Arc::clone(known) } else { new }
}

#[cfg(test)]
mod tests;
