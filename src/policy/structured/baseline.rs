//! The baseline that comes with a connector (decision 6): an ordinary structured policy that permits its read
//! tier to whoever has the agent's connector.
//!
//! Invariant: it permits what only reads; a tool without a tier counts as one that destroys.

use std::sync::Arc;

use crate::model::{
    AgentId, MemberId, NameError, PolicyEffect, PolicyId, PolicyKey, PolicyMode, PolicyText, ServiceKey,
    StoredPolicy, StructuredPolicy, Tier,
};
use crate::policy::{AgentSet, Bundle};

/// The baseline of this connector and its key; of one member's own, where the agent is an untrusted one.
///
/// # Errors
/// Where no key can be made of the connector's.
pub fn of(
    service: &ServiceKey,
    member: Option<MemberId>,
) -> Result<(PolicyKey, StructuredPolicy), NameError> {
    let key = match member {
        None => format!("baseline-{service}-read-tools"),
        // The last part of an id differs where the first, its time, may not.
        Some(member) => {
            let id = member.as_uuid().simple().to_string();
            format!("baseline-{service}-read-tools-{}", id.get(20..).unwrap_or(&id))
        }
    };
    Ok((PolicyKey::parse(&key)?, form(service)))
}

/// The set of a new agent that has all connectors enabled: these files, and the baselines that it is given.
/// A connector without a tool that reads has none.
pub fn with_all(files: &Bundle) -> AgentSet {
    let services = files.connectors().iter().map(|connector| &connector.service);
    let stored = services.zip(1_u128..).filter_map(|(service, number)| {
        let (key, form) = of(service, None).ok()?;
        Some(Arc::new(StoredPolicy {
            id: PolicyId::from_uuid(uuid::Uuid::from_u128(number)),
            agent: AgentId::from_uuid(uuid::Uuid::nil()),
            member: None,
            key,
            version: 1,
            mode: PolicyMode::Enforced,
            text: PolicyText::Structured(Box::new(form)),
        }))
    });
    Bundle::for_agent(files, &stored.collect::<Vec<_>>(), None)
}

fn form(service: &ServiceKey) -> StructuredPolicy {
    let name = format!("Baseline: {service} read tools");
    let form = StructuredPolicy::new(name, service.clone(), PolicyEffect::Permit);
    StructuredPolicy { tiers: [Tier::Read].into(), ..form }
}
