//! What a session and a member have done so far, as far as a decision asks.

use std::collections::BTreeMap;
use std::fmt;

use super::{PolicyKey, ServiceKey, Tier, ToolName};

/// Whose counters (decision 9).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CounterScope {
    /// This conversation: `context.session`.
    Session,
    /// The member over a sliding 24 hours, whatever sessions or keys it opens: `context.member`.
    Member,
}

/// One counter. Allowed calls count in `Calls`, `Tool`, `Tier`, `Service` and `PolicyAllow`;
/// denied ones in `Denials` and `PolicyDeny` alone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CounterKey {
    /// `calls`: tool calls that were allowed and reached their upstream, or are on their way.
    Calls,
    /// `denials`: tool calls that were denied.
    Denials,
    /// `toolsUsed["service:tool"]`.
    Tool(ServiceKey, ToolName),
    /// `tiersUsed.read` and so on.
    Tier(Tier),
    /// `servicesUsed["service"]`.
    Service(ServiceKey),
    /// `policiesAllowCounts["key"]`: allowed calls that this permit determined.
    PolicyAllow(PolicyKey),
    /// `policiesDenyCounts["key"]`: denied calls that this forbid determined.
    PolicyDeny(PolicyKey),
}

impl fmt::Display for CounterKey {
    /// The stable written form, used in the store and in the audit: `calls`, `denials`,
    /// `tool/github:create_issue`, `tier/write`, `service/github`, `allow/key`, `deny/key`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Calls => f.write_str("calls"),
            Self::Denials => f.write_str("denials"),
            Self::Tool(service, tool) => write!(f, "tool/{service}:{tool}"),
            Self::Tier(tier) => write!(f, "tier/{tier}"),
            Self::Service(service) => write!(f, "service/{service}"),
            Self::PolicyAllow(key) => write!(f, "allow/{key}"),
            Self::PolicyDeny(key) => write!(f, "deny/{key}"),
        }
    }
}

impl std::str::FromStr for CounterKey {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fault = || format!("`{}` is not a counter", text.escape_default());
        match text.split_once('/') {
            None if text == "calls" => Ok(Self::Calls),
            None if text == "denials" => Ok(Self::Denials),
            Some(("tool", rest)) => {
                let (service, tool) = rest.split_once(':').ok_or_else(fault)?;
                Ok(Self::Tool(
                    ServiceKey::parse(service).map_err(|e| e.to_string())?,
                    ToolName::parse(tool).map_err(|e| e.to_string())?,
                ))
            }
            Some(("tier", rest)) => Ok(Self::Tier(rest.parse()?)),
            Some(("service", rest)) => ServiceKey::parse(rest).map(Self::Service).map_err(|e| e.to_string()),
            Some(("allow", rest)) => PolicyKey::parse(rest).map(Self::PolicyAllow).map_err(|e| e.to_string()),
            Some(("deny", rest)) => PolicyKey::parse(rest).map(Self::PolicyDeny).map_err(|e| e.to_string()),
            _ => Err(fault()),
        }
    }
}

/// The counters that a decision saw. A key that is absent stands at 0; which keys must be filled is
/// what the candidate policies read (`policy::Needs`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    pub session: BTreeMap<CounterKey, i64>,
    pub member: BTreeMap<CounterKey, i64>,
}

impl History {
    /// The counter's value, 0 where it was never counted.
    pub fn get(&self, scope: CounterScope, key: &CounterKey) -> i64 {
        let map = match scope {
            CounterScope::Session => &self.session,
            CounterScope::Member => &self.member,
        };
        map.get(key).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_counter_reads_back_from_its_written_form() {
        let service = ServiceKey::parse("github").unwrap();
        let keys = [
            CounterKey::Calls,
            CounterKey::Denials,
            CounterKey::Tool(service.clone(), ToolName::parse("a/b.c").unwrap()),
            CounterKey::Tier(Tier::Write),
            CounterKey::Service(service),
            CounterKey::PolicyAllow(PolicyKey::parse("p.1").unwrap()),
            CounterKey::PolicyDeny(PolicyKey::parse("p-2").unwrap()),
        ];
        for key in keys {
            assert_eq!(key.to_string().parse::<CounterKey>(), Ok(key));
        }
        assert!("tool/github".parse::<CounterKey>().is_err());
        assert!("callsx".parse::<CounterKey>().is_err());
    }
}
