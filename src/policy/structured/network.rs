//! Where a call comes from (specification 4.6). The caller's address is always known (decision 21).

use super::expression::{Clause, Expression, listed, quoted};
use super::{CONDITIONS_MAX, Draft, VALUES_MAX};

impl Draft<'_> {
    pub(super) fn network(&mut self) -> Vec<Clause> {
        let conditions = &self.policy.network_conditions;
        if !self.bounded("networkConditions", conditions.len(), CONDITIONS_MAX) {
            return Vec::new();
        }
        let mut clauses = Vec::new();
        for (at, condition) in conditions.iter().enumerate() {
            let field = format!("networkConditions[{at}].cidrs");
            self.bounded(&field, condition.cidrs.len(), VALUES_MAX);
            let within = |network: &ipnet::IpNet| {
                let network = quoted(&network.trunc().to_string());
                Expression::atom(format!("context.caller.ip.isInRange(ip({network}))"))
            };
            let Some(any) = Expression::any(condition.cidrs.iter().map(within).collect()) else {
                self.fault(field, "no address and no network is named", "name one at least, as 10.0.0.0/8");
                continue;
            };
            let named = listed(condition.cidrs.iter().map(ToString::to_string), "or");
            clauses.push(if condition.not {
                Clause::new(format!("Not from {named}."), any.negated())
            } else {
                Clause::new(format!("From {named}."), any)
            });
        }
        clauses
    }
}
