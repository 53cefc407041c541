//! An explanation for a terminal, and for a tired reader: the answer first, then why, then what to do.

use std::fmt;

use super::{CandidatePolicy, Clause, ClauseResult, Explanation, InShadow};
use crate::model::{PolicyRef, Reason};

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", verdict(self.allowed), why(self.reason, &self.determining))?;
        if let Some(message) = &self.deny_message {
            writeln!(f, "  the caller is told: {message}")?;
        }
        writeln!(f)?;
        let groups = if self.groups.is_empty() { "none".to_owned() } else { self.groups.join(", ") };
        writeln!(f, "  who       {} of agent {} (groups: {groups})", self.member, self.agent)?;
        writeln!(f, "            {}", self.principal)?;
        writeln!(f, "  does      {}", self.action)?;
        writeln!(f, "  on        {}", self.resource)?;
        writeln!(f, "  at        {}", self.at)?;
        writeln!(f)?;
        if self.candidates.is_empty() {
            writeln!(f, "No policy speaks of this call.")?;
        } else {
            writeln!(f, "Policies that speak of this call:")?;
        }
        for candidate in &self.candidates {
            write!(f, "{candidate}")?;
        }
        if !self.advice.is_empty() {
            writeln!(f, "\nFor the opposite:")?;
            self.advice.iter().try_for_each(|advice| writeln!(f, "  - {advice}"))?;
        }
        if !self.nearest.is_empty() {
            writeln!(f, "\nThe nearest change of the call:")?;
            self.nearest.iter().try_for_each(|turn| writeln!(f, "  - {}", turn.says))?;
        }
        self.shadow.iter().try_for_each(|shadow| write!(f, "\n{shadow}"))
    }
}

const fn verdict(allowed: bool) -> &'static str {
    if allowed { "ALLOWED" } else { "DENIED" }
}

fn why(reason: Reason, determining: &[PolicyRef]) -> String {
    let names: Vec<String> = determining.iter().map(|policy| format!("`{}`", policy.key)).collect();
    let names = names.join(", ");
    match reason {
        Reason::Permitted => format!("permitted by {names}, and nothing forbids it"),
        Reason::Forbidden => format!("forbidden by {names}"),
        Reason::NoPermit => "no policy permits it".to_owned(),
        Reason::EvaluationError => "a policy that speaks of it could not be judged".to_owned(),
        Reason::ServiceNotEnabled => "the agent has not enabled the connector".to_owned(),
        Reason::NoPoliciesForMember => "the agent is untrusted, and the member has no policy".to_owned(),
        Reason::Quarantined => "the tool is not what was accepted".to_owned(),
        Reason::UnknownTool => "no such tool was accepted".to_owned(),
        Reason::Unaccountable => "it could not be counted".to_owned(),
        Reason::Unverified => "its server cannot tell what the tool is now".to_owned(),
    }
}

impl fmt::Display for InShadow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Policies in shadow, which decide nothing:")?;
        self.candidates.iter().try_for_each(|candidate| write!(f, "{candidate}"))?;
        for error in &self.errors {
            writeln!(f, "    {}: {}", error.policy, error.message)?;
        }
        let verdict = verdict(self.allowed);
        match (self.differs, self.determining.is_empty()) {
            (false, _) => writeln!(f, "If they were enforced, it would be decided as it is: {verdict}"),
            // What the others say of it, or an error.
            (true, true) => writeln!(f, "If they were enforced: {verdict}"),
            (true, false) => {
                writeln!(f, "If they were enforced: {verdict}, {}", why(self.reason, &self.determining))
            }
        }
    }
}

impl fmt::Display for CandidatePolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let result = match self.result {
            ClauseResult::Held => "matches",
            ClauseResult::Error => "FAILED",
            ClauseResult::Failed | ClauseResult::NotReached => "does not match",
        };
        writeln!(f, "  {} {}  {result}  ({}:{})", self.effect, self.policy.key, self.file, self.line)?;
        self.clauses.iter().try_for_each(|clause| write!(f, "{clause}"))
    }
}

impl fmt::Display for Clause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = match self.result {
            ClauseResult::Held => "yes",
            ClauseResult::Failed => "no ",
            ClauseResult::Error => "ERR",
            ClauseResult::NotReached => " - ",
        };
        writeln!(f, "    {mark} {}", self.text)?;
        for read in &self.reads {
            writeln!(f, "          {} = {}", read.path, read.value)?;
        }
        match &self.error {
            Some(error) => writeln!(f, "          {error}"),
            None => Ok(()),
        }
    }
}
