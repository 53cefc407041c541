//! Stored policies of every agent, of the kinds that people write.

use wicket::model::{
    AgentId, MemberId, PolicyEffect, PolicyId, PolicyKey, PolicyMode, PolicyText, Timestamp,
};
use wicket::store::{PolicyRow, Store};

use super::made::seed;

/// An agent that policies are made for.
pub struct Shelf<'a> {
    pub agent: AgentId,
    /// Its number.
    pub number: u64,
    /// Of an untrusted agent, whose policies are its members' own; else nobody.
    pub members: &'a [MemberId],
}

/// Stores so many policies of this agent.
pub async fn write(store: &Store, shelf: &Shelf<'_>, count: u64, at: Timestamp) {
    for n in 0..count {
        let member = shelf.members.get((n as usize) % shelf.members.len().max(1)).copied();
        store.policies().create(&policy(shelf, n, member, at), Some("made")).await.unwrap();
    }
}

/// The `n`-th policy of the agent with this number.
pub fn id(number: u64, n: u64) -> PolicyId {
    PolicyId::mint(Timestamp::from_millis(1_700_000_000_000), seed(number * 1_000_000 + n))
}

fn policy(shelf: &Shelf<'_>, n: u64, member: Option<MemberId>, at: Timestamp) -> PolicyRow {
    let (effect, head, conditions) = match n % 4 {
        0 => (PolicyEffect::Permit, "action in Wicket::Action::\"read\"", String::new()),
        1 => (PolicyEffect::Forbid, "action", format!(" when {{ context.session.calls > {n} }}")),
        2 => (
            PolicyEffect::Forbid,
            "action in Wicket::Action::\"write\"",
            format!(" when {{ context.time.zones[\"Europe/Berlin\"].hour >= {} }}", 20 + n % 4),
        ),
        _ => (
            PolicyEffect::Forbid,
            "action in Wicket::Action::\"destructive\"",
            format!(" when {{ context.session.denials >= {} }}", 1 + n % 50),
        ),
    };
    let verb = if effect == PolicyEffect::Permit { "permit" } else { "forbid" };
    let principal = match member {
        Some(member) => format!("principal == Wicket::Member::\"{member}\""),
        None if n.is_multiple_of(3) => format!("principal in Wicket::Group::\"group-{}\"", n % 40),
        None => "principal".to_owned(),
    };
    let text = format!("{verb} ({principal}, {head}, resource){conditions};");
    PolicyRow {
        id: id(shelf.number, n),
        agent: shelf.agent,
        member,
        key: PolicyKey::parse(&format!("policy-{n}")).unwrap(),
        name: format!("Policy {n} of agent {}", shelf.number),
        service: None,
        effect,
        enabled: n % 10 != 9,
        mode: if n % 10 == 8 { PolicyMode::Shadow } else { PolicyMode::Enforced },
        version: 1,
        cedar: format!("@id(\"policy-{n}\") {text}"),
        text: PolicyText::Cedar(text),
        created_at: at.plus_millis(n as i64),
        updated_at: at.plus_millis(n as i64),
        updated_by: "unix:scale".to_owned(),
    }
}
