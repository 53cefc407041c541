//! What a request is asked of: the connector, and the tool or the operation.
//!
//! Invariant: what cannot be told for certain, or is not as it was accepted, is not decided.

use std::sync::Arc;

use crate::connector::{Connector, Tool};
use crate::mcp::{CallRequest, Era, Refusal, Target};
use crate::model::{Reason, ToolName};

use super::exchange::Arrival;
use super::gate::Gate;
use super::refusal;
use super::upstream::{Standing as ToolStanding, UnknownOwner};

/// How often a call is resolved anew because what is in force changed meanwhile.
const RESOLUTIONS_MAX: u32 = 3;

/// Why a call is not even decided, and what the client sees of it where that is not the denial.
pub(super) struct Hindrance {
    pub reason: Reason,
    pub seen: Option<Refusal>,
}

impl From<Reason> for Hindrance {
    fn from(reason: Reason) -> Self {
        Self { reason, seen: None }
    }
}

type Resolved = (Arc<Connector>, Arc<Tool>);

impl Gate {
    /// What is asked, under what is in force when it is known: a tool's list may have to be waited for,
    /// and meanwhile the key may be revoked or a policy changed.
    pub(super) async fn resolve_now(
        &self,
        arrival: &mut Arrival,
        call: &CallRequest,
    ) -> Result<Resolved, Hindrance> {
        for _ in 0..RESOLUTIONS_MAX {
            let resolved = match call.target() {
                None => self.resolve(arrival, call).await?,
                Some(target) => self.resolve_operation(arrival, call, target).await?,
            };
            let seen = |refusal| Hindrance { reason: Reason::Unaccountable, seen: Some(refusal) };
            if !arrival.renew(&self.live).map_err(seen)? {
                return Ok(resolved);
            }
        }
        let seen = Some(Refusal::Overloaded { retry_after_s: 1 });
        Err(Hindrance { reason: Reason::Unaccountable, seen })
    }

    /// The connector and the tool that a name means, if the agent has the connector enabled and the
    /// tool's definition is the accepted one.
    async fn resolve(&self, arrival: &Arrival, call: &CallRequest) -> Result<Resolved, Hindrance> {
        let name = call.name();
        let resolved = arrival.bundle().connectors().resolve(name);
        let (connector, tool) = resolved.map_err(|fault| Hindrance {
            reason: Reason::UnknownTool,
            seen: Some(refusal::of_resolution(fault, name, era(call))),
        })?;
        if !arrival.caller.agent.services.contains(&connector.service) {
            return Err(Reason::ServiceNotEnabled.into());
        }
        let tool = ToolName::parse(tool).ok().and_then(|tool| connector.tools.get(&tool));
        let tool = tool.ok_or(Reason::UnknownTool)?;
        match self.upstreams.standing(&connector.service, &tool.name).await {
            Ok(ToolStanding::Served) => Ok((Arc::clone(connector), Arc::clone(tool))),
            Ok(ToolStanding::Quarantined(_)) => Err(Reason::Quarantined.into()),
            Ok(ToolStanding::NotOffered) => Err(Reason::UnknownTool.into()),
            // Nobody can say whether the tool is still the one that was accepted.
            Err(failure) => Err(Hindrance {
                reason: Reason::Unverified,
                seen: Some(refusal::of_upstream(connector.service.as_str(), &failure)),
            }),
        }
    }

    /// The connector that an operation is asked of.
    async fn resolve_operation(
        &self,
        arrival: &Arrival,
        call: &CallRequest,
        target: &Target,
    ) -> Result<Resolved, Hindrance> {
        let connectors = arrival.bundle().connectors();
        let services = &arrival.caller.agent.services;
        let connector = match target {
            Target::Named { .. } => {
                let resolved = connectors.resolve(call.name());
                let (connector, _) = resolved.map_err(|fault| Hindrance {
                    reason: Reason::UnknownTool,
                    seen: Some(refusal::of_resolution(fault, call.name(), era(call))),
                })?;
                connector
            }
            Target::Uri(uri) => {
                let owner = self.upstreams.owner_of(uri, services).await;
                // It may be that one's, and under its policies.
                let owner = owner.map_err(|UnknownOwner { service, failure }| Hindrance {
                    reason: Reason::Unverified,
                    seen: Some(refusal::of_upstream(service.as_str(), &failure)),
                })?;
                let connector = owner.and_then(|service| connectors.get(service.as_str()));
                connector.ok_or_else(|| Hindrance {
                    reason: Reason::UnknownTool,
                    seen: Some(Refusal::UnknownResource { uri: uri.clone() }),
                })?
            }
            // Asked of each connector in turn: the gate names it (`clear_at`).
            Target::All => return Err(Reason::UnknownTool.into()),
        };
        if !services.contains(&connector.service) {
            return Err(Reason::ServiceNotEnabled.into());
        }
        let operation = call.method().operation().and_then(|name| connector.operations.get(name));
        let operation = operation.ok_or(Reason::UnknownTool)?;
        Ok((Arc::clone(connector), Arc::clone(operation)))
    }
}

fn era(call: &CallRequest) -> Era {
    call.face().map_or(Era::Session, |face| face.era())
}
