//! The caller as a principal, made once for many calls.
//!
//! Invariant: a kept principal stands for a caller only as long as member and agent are the very ones,
//! or equal to the ones, that it was made of.

use std::collections::HashSet;
use std::sync::{Arc, OnceLock};

use cedar_policy_core::ast::{Entity, EntityUID, Value};
use cedar_policy_core::entities::Entities;

use super::{World, entity, uid};
use crate::model::{Agent, Caller, Member, Role, TrustMode};
use crate::policy::cache::Caps;
use crate::policy::index::{Class, Names};

/// Principals that a bundle keeps.
pub(in crate::policy) const CAPS: Caps = Caps { entries_max: 65_536, bytes_max: 32 << 20 };
/// About what a principal takes up, but for its groups: two entities of three attributes at most.
const BYTES: usize = 5_000;
/// About what each group adds.
const GROUP_BYTES: usize = 300;

/// One caller, in Cedar's terms.
#[derive(Debug)]
pub(in crate::policy) struct Principal {
    agent: Arc<Agent>,
    member: Arc<Member>,
    pub(super) uid: Arc<EntityUID>,
    pub(in crate::policy) class: Class,
    ancestors: HashSet<EntityUID>,
    agent_uid: EntityUID,
    /// Member and agent, made when a condition looks at the principal for the first time.
    made: OnceLock<Made>,
}

#[derive(Debug)]
struct Made {
    each: [Arc<Entity>; 2],
    together: Entities,
}

impl Principal {
    /// Whether this is still how this caller looks.
    pub(in crate::policy) fn is(&self, caller: &Caller) -> bool {
        (Arc::ptr_eq(&self.member, &caller.member) || self.member == caller.member)
            && (Arc::ptr_eq(&self.agent, &caller.agent) || self.agent == caller.agent)
    }

    /// Whether stored policies of the member's own are asked for.
    pub(in crate::policy) fn trust(&self) -> TrustMode {
        self.agent.trust
    }

    /// About how many bytes it takes up.
    pub(in crate::policy) fn bytes(&self) -> usize {
        BYTES + self.class.bytes() + self.ancestors.len() * GROUP_BYTES
    }

    /// The member and its agent. Groups have neither attributes nor ancestors: without an entity they
    /// evaluate as with one.
    pub(super) fn entities(&self) -> &Entities {
        &self.made().together
    }

    /// The same, one by one.
    pub(super) fn each(&self) -> &[Arc<Entity>] {
        &self.made().each
    }

    fn made(&self) -> &Made {
        self.made.get_or_init(|| {
            let each = self.make();
            // Two different entities never clash; without them a condition that looks at them fails.
            let together = super::store::entities(each.clone()).unwrap_or_default();
            Made { each, together }
        })
    }

    fn make(&self) -> [Arc<Entity>; 2] {
        let trust = match self.agent.trust {
            TrustMode::Trusted => "trusted",
            TrustMode::Untrusted => "untrusted",
        };
        let role = match self.member.role {
            Role::Owner => "owner",
            Role::Member => "member",
        };
        let attributes = [
            ("agent", Value::from(self.agent_uid.clone())),
            ("name", Value::from(self.member.name.as_str())),
            ("role", Value::from(role)),
        ];
        let agent = [("name", Value::from(self.agent.name.as_str())), ("trust", Value::from(trust))];
        [
            entity(self.agent_uid.clone(), agent, HashSet::new()),
            entity(self.uid.as_ref().clone(), attributes, self.ancestors.clone()),
        ]
    }
}

impl World {
    /// The caller as a principal.
    pub(in crate::policy) fn principal(&self, caller: &Caller, names: &Names) -> Principal {
        let agent_uid = uid(&self.agent, &caller.agent.id.to_string());
        let mut ancestors = HashSet::from([agent_uid.clone()]);
        ancestors.extend(caller.member.groups.iter().map(|group| uid(&self.group, group.as_str())));
        let uid = uid(&self.member, &caller.member.id.to_string());
        Principal {
            agent: Arc::clone(&caller.agent),
            member: Arc::clone(&caller.member),
            class: names.class(&uid, &ancestors),
            uid: Arc::new(uid),
            ancestors,
            agent_uid,
            made: OnceLock::new(),
        }
    }
}
