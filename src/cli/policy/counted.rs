//! Cases that are sequences, counted by the very counters that count real calls.
//!
//! Invariant: an allowed call counts as one that reached its upstream, a denied one as a denial with the
//! forbids that denied it, as the gate counts them.

use crate::model::{Caller, Decision, History, Timestamp};
use crate::policy::cases::Counters;
use crate::policy::{Needs, Question};
use crate::session::{CallCounts, Session, SessionLimits, Sessions, conversation};

/// Where a conversation's name comes from, in place of a header's name.
const SOURCE_NAME: &str = "case";

/// Sessions of one case.
pub struct Counted {
    sessions: Sessions,
}

impl Counted {
    /// Nothing counted.
    pub fn new() -> Self {
        Self { sessions: Sessions::new(SessionLimits::default()) }
    }

    fn session(&self, name: &str, caller: &Caller, now: Timestamp) -> Result<Session, String> {
        let name = if name.is_empty() { "first" } else { name };
        let conversation = conversation(caller.member.id, SOURCE_NAME, name)
            .ok_or_else(|| format!("`{}` cannot name a conversation", name.escape_default()))?;
        self.sessions.enter(caller, conversation, None, now).map_err(|refusal| refusal.to_string())
    }
}

impl Counters for Counted {
    fn reset(&mut self) {
        *self = Self::new();
    }

    fn read(
        &mut self,
        conversation: &str,
        caller: &Caller,
        needs: &Needs,
        now: Timestamp,
    ) -> Result<History, String> {
        let session = self.session(conversation, caller, now)?;
        Ok(session.read(&needs.session, &needs.member, now).0)
    }

    fn count(
        &mut self,
        conversation: &str,
        question: &Question<'_>,
        decision: &Decision,
    ) -> Result<(), String> {
        let session = self.session(conversation, question.caller, question.now)?;
        if !decision.allowed {
            session.count_denial(&decision.determining, question.now);
            return Ok(());
        }
        let (_, version) = session.read(&[], &[], question.now);
        let counts = CallCounts {
            service: &question.connector.service,
            tool: &question.tool.name,
            tier: question.tool.tier,
            permits: &decision.determining,
        };
        let reserved = session.reserve(&version, &counts, question.now);
        reserved.map_err(|fault| fault.to_string())?.reached();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::SourceFile;
    use crate::policy::cases::{self, Running};
    use crate::policy::fixtures::bundle;

    /// Real counters: a conversation, the member's day and its end, and policies' own hits.
    #[test]
    fn sequences_are_counted_as_real_calls_are() {
        const POLICIES: &str = r#"
            @id("reads") permit(principal, action in Wicket::Action::"read", resource);
            @id("writes") permit(principal, action in Wicket::Action::"write", resource);
            @id("breaker") forbid(principal, action, resource) when { context.session.denials >= 3 };
            @id("day") forbid(principal, action in Wicket::Action::"write", resource)
            when { context.member.tiersUsed.write >= 2 };
            @id("after-secrets") forbid(principal, action == NotesMCP::Action::"add", resource)
            when { context.session.servicesUsed.depot > 0 };
            @id("twice") forbid(principal, action == DepotMCP::Action::"search", resource)
            when { context.session.policiesAllowCounts["reads"] >= 2 };
        "#;
        const CASES: &str = r#"
            [[case]]
            name = "three denials stop the conversation, and not the next"
            step = [
              { call = "depot__delete_file", expect = "deny", reason = "no_permit", times = 3 },
              { call = "depot__get_file", expect = "deny", by = "breaker" },
              { call = "depot__get_file", conversation = "next", expect = "allow" },
            ]
            [[case]]
            name = "two writes a day, whatever conversation, and again on the next day"
            step = [
              { call = "depot__put_file", expect = "allow" },
              { call = "depot__pay", conversation = "b", expect = "allow" },
              { call = "depot__put_file", conversation = "c", after = "23h", expect = "deny", by = "day" },
              { call = "depot__put_file", conversation = "d", after = "2h", expect = "allow" },
            ]
            [[case]]
            name = "what was read of one service closes another"
            step = [
              { call = "notes__add", expect = "allow", by = "writes" },
              { call = "depot__get_file", expect = "allow" },
              { call = "notes__add", expect = "deny", by = "after-secrets" },
            ]
            [[case]]
            name = "hits of a policy"
            session = { "allow/reads" = 1 }
            step = [
              { call = "depot__search", expect = "allow" },
              { call = "depot__search", expect = "deny", by = "twice" },
            ]
        "#;
        let mut counters = Counted::new();
        let mut running =
            Running { filters: &[], counters: &mut counters, elapsed: &|| Duration::from_millis(1) };
        let source = SourceFile::new("policies/cases.toml", CASES);
        let report = cases::run(&bundle(POLICIES), &source, &mut running).unwrap();
        assert_eq!((report.passed, report.failed), (4, 0), "{report}");
    }
}
