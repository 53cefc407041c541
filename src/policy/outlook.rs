//! Which tools a caller could be permitted to call now, with some arguments: what lists of tools are
//! filtered by.
//!
//! A [`Survey`] holds what does not change from one moment to the next; [`Bundle::settle`] fills in
//! counters and clock. Invariants: a tool is hidden only if every call of it would be denied at that
//! moment; where that cannot be told (a residual) it stays visible; looking ahead decides nothing.

mod edge;
mod possible;
mod shape;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use cedar_policy_core::ast::SlotEnv;
use cedar_policy_core::evaluator::Evaluator;
use cedar_policy_core::extensions::Extensions;
use serde_json::Value as Json;

pub use self::edge::Edge;
use self::possible::{Foresight, Possible};
use self::shape::Shape;
use super::bundle::Bundle;
use super::engine::rule;
use super::needs::Needs;
use super::question::Effect;
use super::reads::{Reach, Reads};
use super::slice::Plan;
use super::world::{Action, Moment, Named, Principal, Service};
use crate::connector::{Connector, Tool};
use crate::model::{CallId, Caller, History, ServiceKey, Timestamp, ToolName};

/// What can be said of a caller's tools before counters and clock are known.
#[derive(Debug)]
pub struct Survey {
    of: Arc<Principal>,
    /// For each tool, the case that it is.
    tools: Vec<Option<u32>>,
    cases: Vec<Case>,
    needs: Needs,
    time: Reach,
    reads_principal: bool,
    reads_caller: bool,
}

/// Tools of one connector that look the same to the policies.
#[derive(Debug)]
enum Case {
    Constant(bool),
    Open {
        service: ServiceKey,
        /// One of the tools.
        tool: ToolName,
        plan: Box<Plan>,
        /// Arguments that conditions read and the tool does not declare.
        absent: BTreeSet<String>,
        outlines: Vec<Outline>,
    },
}

/// The policies that a call on one shape of resource could meet, each with whether it meets them in any
/// case.
#[derive(Debug)]
struct Outline {
    shape: Shape,
    policies: Vec<(u32, bool)>,
}

/// What tells cases apart: the connector, how scopes see the action, and the shapes of the resource.
type CaseKey<'a> = (&'a ServiceKey, Vec<u32>, Vec<Vec<&'a str>>);

/// The cases of one key.
#[derive(Default)]
struct Alike {
    /// Arguments that their conditions read.
    read: BTreeSet<String>,
    /// Each by those of them that its tools do not declare.
    cases: Vec<(BTreeSet<String>, u32)>,
}

impl Alike {
    fn absent(&self, action: &Action) -> BTreeSet<String> {
        self.read.iter().filter(|name| !action.declares(name)).cloned().collect()
    }
}

impl Survey {
    /// The counters that have to be at hand to settle it.
    pub fn needs(&self) -> &Needs {
        &self.needs
    }

    /// The next moment at which the clock alone may change what is visible.
    pub fn edge(&self, bundle: &Bundle, now: Timestamp) -> Edge {
        edge::next(&self.time, &bundle.world.zones, now)
    }

    /// Whether it depends on the address or on the key of the caller.
    pub fn reads_caller(&self) -> bool {
        self.reads_caller
    }

    /// Whether this bundle would find the same for this caller and the same tools.
    pub fn holds_for(&self, bundle: &Bundle, caller: &Caller) -> bool {
        if self.of.is(caller) {
            return true;
        }
        let (own, theirs) = (&self.of, bundle.principal(caller));
        !self.reads_principal && own.class == theirs.class && own.trust() == theirs.trust()
    }
}

impl Bundle {
    /// Looks at these tools for this caller. Those that this bundle does not know are not visible.
    pub fn survey<'n>(
        &self,
        caller: &Caller,
        tools: impl Iterator<Item = (&'n ServiceKey, &'n ToolName)>,
    ) -> Survey {
        let mut survey = Survey {
            of: self.principal(caller),
            tools: Vec::new(),
            cases: Vec::new(),
            needs: Needs::default(),
            time: Reach::default(),
            reads_principal: false,
            reads_caller: false,
        };
        if self.lacks_policies(caller) {
            survey.tools = tools.map(|_| None).collect();
            return survey;
        }
        let addressed = self.index.of_principal(&survey.of.class);
        let mut known: HashMap<CaseKey<'_>, Alike> = HashMap::new();
        let mut reads = Reads::default();
        for (service, name) in tools {
            let place = self.connectors.get(service.as_str()).and_then(|connector| {
                let tool = connector.tools.get(name)?;
                let (service, action) = self.world.action(&connector.service, &tool.name)?;
                let key = (&connector.service, action.class.words().collect(), shape::names(tool));
                if let Some(alike) = known.get(&key) {
                    let absent = alike.absent(action);
                    if let Some((_, case)) = alike.cases.iter().find(|(lacked, _)| *lacked == absent) {
                        return Some(*case);
                    }
                }
                let addressed = addressed.of(&action.class);
                let (mut case, read) = self.case((service, connector, tool), &addressed);
                let number = u32::try_from(survey.cases.len()).ok()?;
                let mut alike = Alike { read: arguments(&read), cases: Vec::new() };
                let lacked = alike.absent(action);
                if let Case::Open { absent, .. } = &mut case {
                    absent.clone_from(&lacked);
                }
                survey.cases.push(case);
                // A condition that looks at the action itself tells tools of one class apart.
                if !read.action {
                    alike.cases.extend(known.remove(&key).unwrap_or_default().cases);
                    alike.cases.push((lacked, number));
                    known.insert(key, alike);
                }
                reads.join(read);
                Some(number)
            });
            survey.tools.push(place);
        }
        let (plan, needs) = Plan::with_needs(reads, &self.world.counters);
        survey.reads_principal = plan.principal;
        survey.reads_caller = !plan.caller.is_nothing();
        (survey.needs, survey.time) = (needs, plan.time);
        survey
    }

    /// The case that a tool is, and what its conditions read.
    fn case(
        &self,
        (service, connector, tool): (&Service, &Connector, &Tool),
        addressed: &[u32],
    ) -> (Case, Reads) {
        let shapes = shape::shapes(service, connector, tool);
        let outlines: Vec<Outline> = shapes.into_iter().map(|shape| self.outline(shape, addressed)).collect();
        let mut reads = Reads::default();
        let mut conditions = false;
        for (number, _) in outlines.iter().flat_map(|outline| &outline.policies) {
            if let Some(rule) = rule(&self.rules, *number) {
                reads.join(rule.body.reads());
                conditions |= rule.body.condition.is_some();
            }
        }
        if !conditions {
            let visible = outlines.iter().any(|outline| self.is_open(outline, |_| Possible::TRUE));
            return (Case::Constant(visible), reads);
        }
        let (plan, _) = Plan::with_needs(reads.clone(), &self.world.counters);
        let (service, tool) = (connector.service.clone(), tool.name.clone());
        let absent = BTreeSet::new();
        (Case::Open { service, tool, plan: Box::new(plan), absent, outlines }, reads)
    }

    fn outline(&self, shape: Shape, addressed: &[u32]) -> Outline {
        let within = |number: &u32| {
            let scope = shape.scope(&rule(&self.rules, *number)?.body.scope.resource);
            scope.may(Possible::TRUE).then(|| (*number, !scope.may(Possible::FALSE)))
        };
        let policies = addressed.iter().filter_map(within).collect();
        Outline { shape, policies }
    }

    /// Whether some call that this outline is of could be permitted, if `outcome` says what the condition
    /// of each policy may come to.
    fn is_open(&self, outline: &Outline, outcome: impl Fn(u32) -> Possible) -> bool {
        let mut permitted = false;
        for (number, certain) in &outline.policies {
            // A policy that is not there would be an error in the decision.
            let Some(rule) = rule(&self.rules, *number) else { return false };
            let outcome = outcome(*number);
            let blocks = match rule.body.effect {
                Effect::Forbid => !outcome.may(Possible::FALSE),
                Effect::Permit => !outcome.may(Possible::MAYBE),
            };
            if *certain && blocks {
                return false;
            }
            permitted |= rule.body.effect == Effect::Permit && outcome.may(Possible::TRUE);
        }
        permitted
    }

    /// Which of the surveyed tools could be permitted with these counters at this time: for each, in the
    /// order of the survey, true where some call could be.
    pub fn settle(&self, survey: &Survey, caller: &Caller, history: &History, now: Timestamp) -> Vec<bool> {
        let nothing = Json::Null;
        let call = CallId::from_uuid(uuid::Uuid::nil());
        let moment = Moment { call, arguments: &nothing, history, now };
        let principal = self.principal(caller);
        let cases: Vec<bool> =
            survey.cases.iter().map(|case| self.settle_case(case, caller, &principal, &moment)).collect();
        let visible = |case: &Option<u32>| {
            let case = case.and_then(|case| usize::try_from(case).ok());
            case.is_some_and(|case| cases.get(case).copied().unwrap_or(true))
        };
        survey.tools.iter().map(visible).collect()
    }

    fn settle_case(
        &self,
        case: &Case,
        caller: &Caller,
        principal: &Arc<Principal>,
        moment: &Moment<'_>,
    ) -> bool {
        let (service, tool, plan, absent, outlines) = match case {
            Case::Constant(visible) => return *visible,
            Case::Open { service, tool, plan, absent, outlines } => (service, tool, plan, absent, outlines),
        };
        let found = self.connectors.get(service.as_str()).zip(self.world.action(service, tool));
        let Some((connector, (service, action))) = found else { return true };
        let resource = connector.service_resource();
        let named = Named { caller, principal, service, action, resource: &resource };
        let store = self.world.store(plan, principal, (service, action), &resource);
        let request = self.world.request(plan, named, moment);
        // What cannot be asked cannot be known: whoever calls is told why.
        let (Ok(store), Ok((request, _))) = (store, request) else { return true };
        outlines.iter().any(|outline| {
            let evaluator = Evaluator::new(request.clone(), store.entities(), Extensions::all_available());
            let foresight = Foresight { evaluator, slots: SlotEnv::new(), shape: &outline.shape, absent };
            self.is_open(outline, |number| match rule(&self.rules, number) {
                Some(rule) => {
                    rule.body.condition.as_ref().map_or(Possible::TRUE, |condition| foresight.of(condition))
                }
                None => Possible::ERROR,
            })
        })
    }
}

/// The arguments that conditions read by name.
fn arguments(reads: &Reads) -> BTreeSet<String> {
    reads.context.beneath("args").names().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests;
