//! A call in plain Cedar with everything at hand: the whole schema, every entity, every counter and every
//! field of the context, made by this test's own hands.

use std::collections::BTreeSet;
use std::str::FromStr;

use serde_json::{Map, Value as Json, json};

use crate::connector::{AttributeValue, Resource};
use crate::model::{CounterScope, PolicyKey, Role, TrustMode};
use crate::policy::reads::{COUNTER_RECORDS, place_of};
use crate::policy::{Bundle, Question, Scenario};

/// A bundle's policies and schema in plain Cedar.
pub(in crate::policy) struct Plain<'a> {
    bundle: &'a Bundle,
    policies: cedar_policy::PolicySet,
    schema: cedar_policy::Schema,
}

impl<'a> Plain<'a> {
    pub(in crate::policy) fn of(bundle: &'a Bundle) -> Self {
        let text: String = bundle.policies().iter().map(|info| format!("{}\n", info.text)).collect();
        Self::with(bundle, &text)
    }

    /// The schema of this bundle, and these policies, which are its own.
    pub(in crate::policy) fn with(bundle: &'a Bundle, text: &str) -> Self {
        let (schema, _) = cedar_policy::Schema::from_cedarschema_str(bundle.schema_text()).unwrap();
        Self { bundle, policies: cedar_policy::PolicySet::from_str(text).unwrap(), schema }
    }

    /// What plain Cedar says, with the arguments as Cedar's JSON.
    pub(in crate::policy) fn response(
        &self,
        question: &Question<'_>,
        scenario: &Scenario,
        held: &Json,
    ) -> cedar_policy::Response {
        let uid = |text: String| cedar_policy::EntityUid::from_str(&text).unwrap();
        let action = uid(format!("{}::Action::\"{}\"", question.connector.namespace, question.tool.name));
        let whole = context(scenario, held, self.bundle);
        let context = cedar_policy::Context::from_json_value(whole, Some((&self.schema, &action))).unwrap();
        let principal = uid(format!("Wicket::Member::\"{}\"", scenario.member));
        let resource = uid(question.resource.uid());
        let request =
            cedar_policy::Request::new(principal, action, resource, context, Some(&self.schema)).unwrap();
        let entities = entities(self.bundle, question, scenario, &self.schema);
        cedar_policy::Authorizer::new().is_authorized(&request, &self.policies, &entities)
    }

    /// Whether the call is allowed, and the keys of the determining policies.
    pub(in crate::policy) fn decide(
        &self,
        question: &Question<'_>,
        scenario: &Scenario,
        held: &Json,
    ) -> (bool, BTreeSet<PolicyKey>) {
        let response = self.response(question, scenario, held);
        assert_eq!(response.diagnostics().errors().count(), 0, "{response:?}");
        let key = |id: &cedar_policy::PolicyId| {
            let policy = self.policies.policy(id).unwrap();
            policy.annotation("id").unwrap().parse().unwrap()
        };
        let allowed = response.decision() == cedar_policy::Decision::Allow;
        (allowed, response.diagnostics().reason().map(key).collect())
    }
}

/// Year, month and day of a day since 1970-01-01, by counting.
fn civil(mut day: i64) -> (i64, i64, i64) {
    let mut year = 1970;
    loop {
        let leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
        let length = if leap { 366 } else { 365 };
        if day < length {
            let months = [31, if leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
            for (month, days) in (1..).zip(months) {
                if day < days {
                    return (year, month, day + 1);
                }
                day -= days;
            }
        }
        day -= length;
        year += 1;
    }
}

fn clock(millis: i64) -> Map<String, Json> {
    let (day, rest) = (millis.div_euclid(86_400_000), millis.rem_euclid(86_400_000) / 1000);
    let (year, month, date) = civil(day);
    let fields = json!({"year": year, "month": month, "day": date, "hour": rest / 3600,
        "minute": rest / 60 % 60, "second": rest % 60, "minuteOfDay": rest / 60,
        "dayOfWeek": (day + 4).rem_euclid(7), "epochDay": day});
    fields.as_object().unwrap().clone()
}

/// How far ahead of UTC a zone is, in minutes.
fn ahead(zone: &str, millis: i64) -> i64 {
    match zone {
        "Asia/Tokyo" => 540,
        "Asia/Kolkata" => 330,
        "America/Phoenix" => -420,
        // Summer time of the years that the tests look at.
        "Europe/Berlin" => 60 + i64::from((1_806_195_600_000..1_824_944_400_000).contains(&millis)) * 60,
        other => panic!("{other}"),
    }
}

fn context(scenario: &Scenario, held: &Json, bundle: &Bundle) -> Json {
    let millis = scenario.at.as_millis();
    let mut time = clock(millis);
    time.insert("epochMillis".into(), json!(millis));
    time.insert("now".into(), json!({"__extn": {"fn": "datetime", "arg": scenario.at.to_string()}}));
    let zone = |zone: &String| (zone.clone(), json!(clock(millis + ahead(zone, millis) * 60_000)));
    let zones: Map<String, Json> = bundle.world.zones.keys().map(zone).collect();
    time.insert("zones".into(), json!(zones));
    let counters = |scope: CounterScope| {
        let mut all = Map::new();
        COUNTER_RECORDS.iter().for_each(|name| drop(all.insert((*name).to_owned(), json!({}))));
        for key in bundle.world.counters.iter() {
            let count = json!(scenario.history.get(scope, key));
            match place_of(key) {
                (None, name) => drop(all.insert(name, count)),
                (Some(record), name) => drop(all[record].as_object_mut().unwrap().insert(name, count)),
            }
        }
        json!(all)
    };
    // Plain Cedar knows no address of the fourth version within the sixth.
    let ip = scenario.ip.to_canonical();
    json!({
        "args": held, "time": time,
        "session": counters(CounterScope::Session), "member": counters(CounterScope::Member),
        "caller": {"ip": {"__extn": {"fn": "ip", "arg": ip.to_string()}}, "keyId": scenario.key.to_string()},
    })
}

fn reference(kind: &str, id: &str) -> Json {
    json!({"type": kind, "id": id})
}

fn attribute(value: &AttributeValue) -> Json {
    match value {
        AttributeValue::String(text) => json!(text),
        AttributeValue::Long(number) => json!(number),
        AttributeValue::Bool(truth) => json!(truth),
        AttributeValue::StringSet(texts) => json!(texts),
        AttributeValue::Decimal(text) => json!({"__extn": {"fn": "decimal", "arg": text}}),
    }
}

fn resources(resource: &Resource, service: &str, out: &mut Vec<Json>) {
    let parents: Vec<Json> =
        resource.parents.iter().map(|parent| reference(&parent.type_name, &parent.id)).collect();
    let parents = if parents.is_empty() { vec![reference("Wicket::Service", service)] } else { parents };
    let attributes: Map<String, Json> =
        resource.attributes.iter().map(|(name, value)| (name.clone(), attribute(value))).collect();
    out.push(
        json!({"uid": reference(&resource.type_name, &resource.id), "attrs": attributes, "parents": parents}),
    );
    resource.parents.iter().for_each(|parent| resources(parent, service, out));
}

fn entities(
    bundle: &Bundle,
    question: &Question<'_>,
    scenario: &Scenario,
    schema: &cedar_policy::Schema,
) -> cedar_policy::Entities {
    let agent = reference("Wicket::Agent", &scenario.agent.to_string());
    let mut parents: Vec<Json> =
        scenario.groups.iter().map(|group| reference("Wicket::Group", group.as_str())).collect();
    let mut all: Vec<Json> =
        parents.iter().map(|uid| json!({"uid": uid, "attrs": {}, "parents": []})).collect();
    parents.push(agent.clone());
    let trust = if scenario.trust == TrustMode::Trusted { "trusted" } else { "untrusted" };
    let role = if scenario.role == Role::Owner { "owner" } else { "member" };
    all.push(json!({"uid": agent, "attrs": {"name": scenario.agent_name, "trust": trust}, "parents": []}));
    all.push(json!({"uid": reference("Wicket::Member", &scenario.member.to_string()), "parents": parents,
        "attrs": {"name": scenario.member_name, "role": role, "agent": {"__entity": agent}}}));
    resources(question.resource, question.connector.service.as_str(), &mut all);
    for connector in bundle.connectors().iter() {
        let (service, namespace) = (connector.service.as_str(), &connector.namespace);
        let outer = reference("Wicket::Service", service);
        all.push(json!({"uid": outer, "attrs": {}, "parents": []}));
        let inner = reference(&format!("{namespace}::Service"), service);
        if !all.iter().any(|entity| entity["uid"] == inner) {
            all.push(json!({"uid": inner, "attrs": {}, "parents": [outer]}));
        }
    }
    // Given the schema, Cedar adds every action and checks that the entities conform.
    cedar_policy::Entities::from_json_value(json!(all), Some(schema)).unwrap()
}
