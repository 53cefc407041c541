//! A question in two halves: who asks for what, of what, which finds the slice; and the rest, which is
//! known only when the slice has said what it needs.
//!
//! Invariant: both halves are about one call. The first is borrowed for as long as the question lives,
//! so that nothing can be decided with the slice of another caller, tool or resource.

use std::sync::Arc;

use cedar_policy_core::ast::Request;

use super::{Bundle, Refused};
use crate::connector::{Connector, Resource, Tool};
use crate::model::{Caller, Decision, History};
use crate::policy::argument::Unreadable;
use crate::policy::engine::{self, Found, rule};
use crate::policy::index::{Class, Classes};
use crate::policy::needs::Needs;
use crate::policy::permit::Verdict;
use crate::policy::reads::Reach;
use crate::policy::slice::{Key, Plan, Prospect, Slice};
use crate::policy::world::{Action, Moment, Named, Principal, Service, Store};

/// Who asks for what, of what.
#[derive(Debug)]
pub struct Asked<'a> {
    pub(super) bundle: &'a Bundle,
    pub(super) caller: &'a Caller,
    pub(super) connector: &'a Connector,
    pub(super) tool: &'a Tool,
    pub(super) resource: &'a Resource,
    scope: Result<Scope<'a>, Refused>,
}

/// Where the call stands.
#[derive(Debug)]
pub(in crate::policy) struct Scope<'a> {
    principal: Arc<Principal>,
    service: &'a Service,
    action: &'a Action,
    resource: Class,
    slice: Arc<Slice>,
}

impl Scope<'_> {
    pub(in crate::policy) fn classes(&self) -> Classes<'_> {
        let (principal, action) = (&self.principal.class, &self.action.class);
        Classes { principal, action, resource: &self.resource }
    }
}

/// Everything that Cedar is asked with.
pub(in crate::policy) struct Prepared {
    pub(in crate::policy) request: Request,
    pub(in crate::policy) store: Store,
    /// Policies that look at something which cannot be read, each with why.
    pub(in crate::policy) blind: Vec<(u32, String)>,
}

impl<'a> Asked<'a> {
    pub(super) fn new(
        bundle: &'a Bundle,
        caller: &'a Caller,
        connector: &'a Connector,
        tool: &'a Tool,
        resource: &'a Resource,
    ) -> Self {
        let scope = scope(bundle, caller, connector, tool, resource);
        Self { bundle, caller, connector, tool, resource, scope }
    }

    /// What else has to be at hand for a decision; nothing for a call that is denied before Cedar is
    /// asked.
    pub fn needs(&self) -> &Needs {
        static NOTHING: Needs = Needs { session: Vec::new(), member: Vec::new() };
        self.scope.as_ref().map_or(&NOTHING, |scope| &scope.slice.needs)
    }

    pub(super) fn shared_needs(&self) -> Arc<Needs> {
        self.scope.as_ref().map_or_else(|_| Arc::default(), |scope| Arc::clone(&scope.slice.needs))
    }

    /// What can be said before arguments, counters and clock are known. It holds for this resource
    /// alone: other arguments may name another.
    pub fn prospect(&self) -> Prospect {
        self.scope.as_ref().map_or(Prospect::Never, |scope| scope.slice.prospect)
    }

    /// The decision as data. It opens nothing.
    pub fn decide(&self, moment: &Moment<'_>) -> Decision {
        let scope = match &self.scope {
            Err(refused) => return Decision::denied(refused.reason()),
            Ok(scope) => scope,
        };
        if let Some(constant) = &scope.slice.constant {
            return constant.clone();
        }
        match self.prepare(scope, moment) {
            Err(refused) => Decision::denied(refused.reason()),
            Ok(prepared) => engine::conclude(&self.bundle.rules, &self.found(scope, prepared)),
        }
    }

    /// The decision as a door. `counters` reads counters for policies in shadow mode, which read others than
    /// the decision does; it is asked only where there are any.
    pub fn authorise(&self, moment: &Moment<'_>, counters: impl FnOnce(&Needs) -> History) -> Verdict {
        let decided = self.shadowed(self.decide(moment), moment, counters);
        Verdict::of(moment.call, decided, self.bundle.digest)
    }

    /// Where the call stands, or why it is denied before Cedar is asked.
    pub(in crate::policy) fn scope(&self) -> Result<&Scope<'a>, &Refused> {
        self.scope.as_ref()
    }

    /// The numbers of the policies whose scope matches, ascending.
    pub(in crate::policy) fn candidates<'s>(&self, scope: &'s Scope<'_>) -> &'s [u32] {
        &scope.slice.candidates
    }

    /// What has to be made of the call for its candidates.
    pub(in crate::policy) fn plan<'s>(&self, scope: &'s Scope<'_>) -> &'s Plan {
        &scope.slice.plan
    }

    /// What the candidates read of the clock.
    pub(in crate::policy) fn time_read<'s>(&self, scope: &'s Scope<'_>) -> &'s Reach {
        &scope.slice.plan.time
    }

    /// Everything that Cedar is asked with.
    pub(in crate::policy) fn prepare(
        &self,
        scope: &Scope<'_>,
        moment: &Moment<'_>,
    ) -> Result<Prepared, Refused> {
        let Scope { principal, service, action, slice, .. } = scope;
        let (caller, resource, world) = (self.caller, self.resource, &self.bundle.world);
        let store =
            world.store(&slice.plan, principal, (service, action), resource).map_err(Refused::Unaskable)?;
        let named = Named { caller, principal, service, action, resource };
        let (request, unreadable) = world.request(&slice.plan, named, moment).map_err(Refused::Unaskable)?;
        let mut blind = self.blind_to_arguments(&slice.candidates, &unreadable);
        blind.extend(self.blind_to_resource(&slice.blind));
        Ok(Prepared { request, store, blind })
    }

    /// What became of the candidates, with those that look at something unreadable among the errors.
    pub(in crate::policy) fn found(&self, scope: &Scope<'_>, prepared: Prepared) -> Found {
        let Prepared { request, store, blind } = prepared;
        let candidates = &scope.slice.candidates;
        let mut found = engine::evaluate(&self.bundle.rules, candidates, request, store.entities());
        found.errors.extend(blind);
        found
    }

    /// Candidates that read an argument which was given but cannot be held: they would take it for
    /// absent, and a forbid would let it pass (decision 8).
    fn blind_to_arguments(&self, candidates: &[u32], unreadable: &[Unreadable]) -> Vec<(u32, String)> {
        let mut blind = Vec::new();
        if unreadable.is_empty() {
            return blind;
        }
        for number in candidates {
            let Some(rule) = rule(&self.bundle.rules, *number) else { continue };
            let read = rule.body.reads().context.beneath("args");
            for fault in unreadable.iter().filter(|fault| read.touches(&fault.path)) {
                let path = fault.path.join(".").escape_default().to_string();
                blind.push((*number, format!("the argument `{path}` cannot be judged: {}", fault.why)));
            }
        }
        blind
    }

    /// The policies that look at a resource which claims less than the call does, each with why.
    fn blind_to_resource<'b>(&self, blind: &'b [u32]) -> impl Iterator<Item = (u32, String)> + use<'b> {
        let why = (!blind.is_empty()).then(|| {
            let names: Vec<String> =
                self.resource.unreadable.iter().map(|path| format!("`{path}`")).collect();
            format!("the resource cannot be told from the arguments: {}", names.join(", "))
        });
        blind.iter().map(move |number| (*number, why.clone().unwrap_or_default()))
    }
}

fn scope<'a>(
    bundle: &'a Bundle,
    caller: &Caller,
    connector: &Connector,
    tool: &Tool,
    resource: &Resource,
) -> Result<Scope<'a>, Refused> {
    if bundle.lacks_policies(caller) {
        return Err(Refused::NoPoliciesForMember);
    }
    let known = bundle.world.action(&connector.service, &tool.name);
    let (service, action) = known.ok_or(Refused::UnknownTool)?;
    let class = service.class(resource).map_err(Refused::Unaskable)?;
    let principal = bundle.principal(caller);
    let classes = Classes { principal: &principal.class, action: &action.class, resource: &class };
    let key = Key { classes, half_read: !resource.unreadable.is_empty() };
    let slice = bundle.slices.get(key, (&bundle.rules, &bundle.index), &bundle.world.counters);
    Ok(Scope { principal, service, action, resource: class, slice })
}

impl Bundle {
    /// The caller as a principal: a kept one, if it still looks like that.
    pub(in crate::policy) fn principal(&self, caller: &Caller) -> Arc<Principal> {
        let id = caller.member.id;
        // The last bytes of an id are random.
        let spread = u32::try_from(id.as_uuid().as_u128() & 0xffff).unwrap_or_default();
        if let Some(kept) = self.principals.get(spread, &id).filter(|kept| kept.is(caller)) {
            return kept;
        }
        let made = Arc::new(self.world.principal(caller, self.index.names()));
        self.principals.put(spread, id, Arc::clone(&made), made.bytes());
        made
    }
}
