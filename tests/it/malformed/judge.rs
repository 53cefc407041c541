//! Judges again what arrived: other parsers, plain Cedar, and the journal's word for what was decided.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use cedar_policy::{Authorizer, Context, Decision, Entities, EntityUid, PolicySet, Request};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Value, json};

use super::python::PythonReceived;
use crate::harness::Journal;
use crate::recorder::Received;

/// What is forbidden beside the read baseline: a text that is secret, or that is not known to be none.
pub const FORBID: &str = "@id(\"no-secrets-recorder\")\n\
    forbid (principal, action == Recorder::Action::\"echo\", resource)\n\
    when { if context.args has text then context.args.text like \"*secret*\" else true };\n\
    @id(\"no-secrets-python\")\n\
    forbid (principal, action == Python::Action::\"echo\", resource)\n\
    when { if context.args has text then context.args.text like \"*secret*\" else true };\n";

/// Tools of both upstreams and their tiers, as their annotations say.
const TIERS: &[(&str, &str)] =
    &[("echo", "read"), ("count", "read"), ("write_note", "write"), ("delete_thing", "destructive")];

pub struct Judge {
    policies: PolicySet,
    entities: Entities,
    intents: BTreeMap<String, Value>,
}

impl Judge {
    pub fn new(baseline: &str, journal: &Journal) -> Self {
        let policies = format!("{baseline}{FORBID}").parse().unwrap();
        let mut entities =
            vec![json!({ "uid": { "type": "Wicket::Member", "id": "alice" }, "attrs": {}, "parents": [] })];
        for namespace in ["Recorder", "Python"] {
            for tier in ["read", "write", "destructive"] {
                let above = json!([{ "type": "Wicket::Action", "id": tier }]);
                entities.push(json!({ "uid": { "type": format!("{namespace}::Action"), "id": tier }, "attrs": {}, "parents": above }));
            }
            for (tool, tier) in TIERS {
                let above = json!([{ "type": format!("{namespace}::Action"), "id": tier }]);
                entities.push(json!({ "uid": { "type": format!("{namespace}::Action"), "id": tool }, "attrs": {}, "parents": above }));
            }
        }
        let entities = Entities::from_json_value(Value::Array(entities), None).unwrap();
        let intents = journal.intents().into_iter().map(|(id, entry)| (id, entry.clone())).collect();
        Self { policies, entities, intents }
    }

    /// A call that the Rust recorder received.
    pub fn rust(&self, call: &Received) {
        let whole: Result<Strict, _> = serde_json::from_str(&call.body);
        assert!(
            whole.is_ok(),
            "forwarded, but another parser refuses it: {:?} of {}",
            whole.err(),
            call.body
        );
        let arguments = call.arguments_value();
        self.judge("recorder", &call.tool, &arguments, call.header("x-request-id"), &call.body);
    }

    /// A request that the Python recorder received; whether it was a call.
    pub fn python(&self, call: &PythonReceived) -> bool {
        assert_eq!(call.fault, None, "forwarded, but Python's parser refuses it: {call:?}");
        if call.method != "tools/call" {
            return false;
        }
        let id =
            call.headers.iter().find(|(name, _)| name == "x-request-id").map(|(_, value)| value.as_str());
        let tool = call.tool.as_str().unwrap();
        self.judge("python", tool, &call.arguments, id, &format!("{call:?}"));
        true
    }

    /// Everything that a child process received, a line each; how many were calls. Over stdio no request
    /// id travels, so each call must be one that the journal has an intent for, and no more of them.
    pub fn lines(&self, text: &str) -> usize {
        let mut intended = BTreeMap::<String, i64>::new();
        for intent in self.intents.values() {
            let nonce = intent["toolArgs"]["nonce"].clone();
            *intended.entry(shape(&intent["tool"], &nonce)).or_default() += 1;
        }
        let mut calls = 0;
        for line in text.split_terminator('\n') {
            let whole: Result<Strict, _> = serde_json::from_str(line);
            assert!(whole.is_ok(), "a line that is not one message: {:?} of {line}", whole.err());
            let message: Value = serde_json::from_str(line).unwrap();
            if message["method"] != "tools/call" {
                continue;
            }
            calls += 1;
            let tool = message["params"]["name"].as_str().unwrap();
            let arguments = message["params"].get("arguments").cloned().unwrap_or_default();
            assert!(
                self.cedar_allows("Recorder", tool, &arguments),
                "plain Cedar denies what arrived: {line}"
            );
            let nonce =
                arguments["nonce"].as_str().map_or(arguments["nonce"].clone(), |n| json!(printable(n)));
            let left = intended.entry(shape(&json!(tool), &nonce)).or_default();
            *left -= 1;
            assert!(*left >= 0, "arrived without an intent: {line}");
        }
        calls
    }

    fn judge(&self, service: &str, tool: &str, arguments: &Value, id: Option<&str>, shown: &str) {
        let id = id.unwrap_or_else(|| panic!("no request id: {shown}"));
        let intent = self.intents.get(id).unwrap_or_else(|| panic!("arrived without an intent: {shown}"));
        assert_eq!(
            (&intent["service"], &intent["tool"]),
            (&json!(service), &json!(tool)),
            "decided otherwise: {shown}"
        );
        self.same_arguments(&intent["toolArgs"], arguments, shown);
        let namespace = if service == "python" { "Python" } else { "Recorder" };
        assert!(self.cedar_allows(namespace, tool, arguments), "plain Cedar denies what arrived: {shown}");
    }

    /// The journal shortens and redacts; what it does show must be what arrived.
    fn same_arguments(&self, recorded: &Value, arrived: &Value, shown: &str) {
        let names = |value: &Value| -> BTreeSet<String> {
            value
                .as_object()
                .map(|object| object.keys().map(|key| printable(key)).collect())
                .unwrap_or_default()
        };
        if let (Some(recorded_nonce), Some(nonce)) = (recorded["nonce"].as_str(), arrived["nonce"].as_str()) {
            assert!(
                recorded_nonce == printable(nonce) || nonce.len() > 64,
                "decided on other arguments: {recorded} for {shown}"
            );
        }
        if names(arrived).len() < 16 && names(arrived).iter().all(|name| name.len() < 32) {
            assert_eq!(names(recorded), names(arrived), "decided on other arguments: {recorded} for {shown}");
        }
    }

    fn cedar_allows(&self, namespace: &str, tool: &str, arguments: &Value) -> bool {
        let uid = |text: String| -> EntityUid { text.parse().unwrap() };
        let Some((tool, _)) = TIERS.iter().find(|(name, _)| *name == tool) else { return false };
        let mut context = json!({ "args": {} });
        if let Some(text) = arguments.get("text").and_then(Value::as_str) {
            context["args"]["text"] = json!(text);
        }
        let request = Request::new(
            uid("Wicket::Member::\"alice\"".to_owned()),
            uid(format!("{namespace}::Action::\"{tool}\"")),
            uid(format!("{namespace}::Service::\"any\"")),
            Context::from_json_value(context, None).unwrap(),
            None,
        )
        .unwrap();
        let answer = Authorizer::new().is_authorized(&request, &self.policies, &self.entities);
        answer.decision() == Decision::Allow && answer.diagnostics().errors().next().is_none()
    }
}

/// What a call is recognised by: its tool, and its nonce as far as the journal shows it whole.
fn shape(tool: &Value, nonce: &Value) -> String {
    let short = nonce.as_str().filter(|nonce| nonce.len() <= 64);
    format!("{tool} {}", short.unwrap_or("no short nonce"))
}

/// The journal shows control characters, but for line ends and tabs, as replacement characters.
fn printable(text: &str) -> String {
    let shown =
        |c: char| if c.is_control() && !"\n\r\t".contains(c) { char::REPLACEMENT_CHARACTER } else { c };
    text.chars().map(shown).collect()
}

/// Any JSON without duplicate keys at any level.
struct Strict;

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Strict;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON without duplicate keys")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Strict, E> {
        Ok(Strict)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Strict, E> {
        Ok(Strict)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Strict, E> {
        Ok(Strict)
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Strict, E> {
        if number.is_finite() { Ok(Strict) } else { Err(E::custom("a number that is not finite")) }
    }

    fn visit_str<E>(self, _: &str) -> Result<Strict, E> {
        Ok(Strict)
    }

    fn visit_unit<E>(self) -> Result<Strict, E> {
        Ok(Strict)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Strict, A::Error> {
        while items.next_element::<Strict>()?.is_some() {}
        Ok(Strict)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Strict, A::Error> {
        let mut seen = BTreeSet::new();
        while let Some(key) = members.next_key::<String>()? {
            if seen.contains(&key) {
                return Err(A::Error::custom(format!("`{key}` twice")));
            }
            seen.insert(key);
            members.next_value::<Strict>()?;
        }
        Ok(Strict)
    }
}

#[test]
fn the_judge_itself_can_tell() {
    for good in [r#"{"a":{"b":1,"c":[{"b":2}]}}"#, "[1,2.5,null,true,\"x\"]"] {
        assert!(serde_json::from_str::<Strict>(good).is_ok(), "{good}");
    }
    for bad in [r#"{"a":1,"a":2}"#, r#"{"x":[{"a":1,"\u0061":2}]}"#, "{", "1 2"] {
        assert!(serde_json::from_str::<Strict>(bad).is_err(), "{bad}");
    }
    let judge = Judge::new(crate::harness::READ_BASELINE, &Journal::default());
    let table = [
        ("echo", json!({ "text": "hello" }), true),
        ("echo", json!({ "text": "a secret" }), false),
        ("echo", json!({}), false),
        ("echo", json!({ "text": 5 }), false),
        ("count", json!({}), true),
        ("write_note", json!({ "text": "x" }), false),
        ("delete_thing", json!({ "text": "x" }), false),
        ("no_such", json!({ "text": "x" }), false),
    ];
    for (tool, arguments, allowed) in table {
        assert_eq!(judge.cedar_allows("Recorder", tool, &arguments), allowed, "{tool} {arguments}");
    }
}
