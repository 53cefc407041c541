//! Random hierarchies, contexts and policies for the oracle, from small pools so that scopes collide.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt::Write as _;
use std::sync::Arc;

use cedar_policy_core::ast::{Entity, EntityUID, PartialValue, Value};
use cedar_policy_core::entities::{Entities, NoEntitiesSchema, TCComputation};
use cedar_policy_core::extensions::Extensions;
use serde_json::{Value as Json, json};

/// An entity and everything that it stands in.
pub(super) struct Place {
    pub(super) uid: EntityUID,
    pub(super) ancestors: HashSet<EntityUID>,
}

/// Where choices come from: a seed (SplitMix64), so that a number names a case, or a fuzzer's bytes.
pub enum Dice<'a> {
    Seed(u64),
    Bytes(&'a [u8]),
}

impl Dice<'_> {
    /// Choices that follow from a number.
    pub fn new(seed: u64) -> Self {
        Self::Seed(seed)
    }

    pub(in crate::policy) fn below(&mut self, bound: usize) -> usize {
        match self {
            Self::Seed(state) => {
                *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
                let mut z = *state;
                z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
                usize::try_from((z ^ (z >> 31)) % bound as u64).unwrap()
            }
            Self::Bytes(bytes) => {
                let (first, rest) = bytes.split_first().map_or((0, &[][..]), |(first, rest)| (*first, rest));
                *bytes = rest;
                usize::from(first) % bound
            }
        }
    }

    pub(in crate::policy) fn one_in(&mut self, n: usize) -> bool {
        // The last of n, so that a fuzzer's bytes that have run out choose the plainest.
        self.below(n) == n - 1
    }

    pub(in crate::policy) fn pick<'b, T>(&mut self, from: &'b [T]) -> &'b T {
        &from[self.below(from.len())]
    }
}

pub(super) const PRINCIPALS: [&str; 6] =
    ["U::\"a\"", "U::\"b\"", "U::\"c\"", "V::\"a\"", "G::\"x\"", "U::\"ghost\""];
const GROUPS: [&str; 5] = ["G::\"x\"", "G::\"y\"", "G::\"z\"", "O::\"o\"", "G::\"nobody\""];
pub(super) const RESOURCES: [&str; 5] = ["R::\"1\"", "R::\"2\"", "S::\"1\"", "F::\"top\"", "R::\"ghost\""];
const FOLDERS: [&str; 4] = ["F::\"top\"", "F::\"sub\"", "S::\"1\"", "F::\"none\""];
pub(super) const ACTIONS: [&str; 5] =
    ["Action::\"get\"", "Action::\"put\"", "N::Action::\"get\"", "Action::\"solo\"", "Action::\"list\""];
const ACTION_GROUPS: [&str; 5] =
    ["Action::\"read\"", "Action::\"write\"", "Action::\"all\"", "N::Action::\"read\"", "Action::\"get\""];

/// A hierarchy: direct parents of each entity that exists, with its attributes.
#[derive(Debug, Clone, Default)]
pub(super) struct Graph {
    pub(super) parents: BTreeMap<String, BTreeSet<String>>,
    attributes: BTreeMap<String, BTreeMap<String, Json>>,
}

impl Graph {
    pub(super) fn random(dice: &mut Dice<'_>) -> Self {
        let mut graph = Self::default();
        // Edges go from earlier layers to later ones only, so there is no circle.
        let layers: [&[&str]; 3] = [
            &[
                "U::\"a\"",
                "U::\"b\"",
                "U::\"c\"",
                "V::\"a\"",
                "R::\"1\"",
                "R::\"2\"",
                "Action::\"get\"",
                "Action::\"put\"",
                "N::Action::\"get\"",
                "Action::\"solo\"",
                "Action::\"list\"",
            ],
            &[
                "G::\"x\"",
                "G::\"y\"",
                "F::\"sub\"",
                "S::\"1\"",
                "Action::\"read\"",
                "Action::\"write\"",
                "N::Action::\"read\"",
            ],
            &["G::\"z\"", "O::\"o\"", "F::\"top\"", "Action::\"all\""],
        ];
        for (depth, layer) in layers.iter().enumerate() {
            for uid in *layer {
                let mut parents = BTreeSet::new();
                for above in layers.iter().skip(depth + 1).flat_map(|l| l.iter()) {
                    let same_kind = above.contains("Action") == uid.contains("Action");
                    if same_kind && dice.one_in(3) {
                        parents.insert((*above).to_owned());
                    }
                }
                let exists = uid.contains("Action") || !dice.one_in(12);
                if exists {
                    graph.parents.insert((*uid).to_owned(), parents);
                    graph.attributes.insert((*uid).to_owned(), attributes(dice));
                }
            }
        }
        graph
    }

    /// All that an entity stands in, by this test's own closure.
    fn ancestors(&self, uid: &str) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        let mut open: Vec<&str> = vec![uid];
        while let Some(next) = open.pop() {
            for parent in self.parents.get(next).into_iter().flatten() {
                if found.insert(parent.clone()) {
                    open.push(parent);
                }
            }
        }
        found
    }

    pub(super) fn place(&self, uid: &str) -> Place {
        Place { uid: parse(uid), ancestors: self.ancestors(uid).iter().map(|a| parse(a)).collect() }
    }

    pub(super) fn core(&self) -> Entities {
        let made = self.parents.keys().map(|uid| {
            let attributes = self.attributes[uid].iter().filter(|_| !uid.contains("Action"));
            let attributes = attributes.map(|(k, v)| (k.as_str().into(), PartialValue::Value(value(v))));
            let place = self.place(uid);
            Arc::new(Entity::new_with_attr_partial_value(
                place.uid,
                attributes,
                HashSet::new(),
                place.ancestors,
                [],
            ))
        });
        Entities::new()
            .add_entities(
                made,
                None::<&NoEntitiesSchema>,
                TCComputation::AssumeAlreadyComputed,
                Extensions::all_available(),
            )
            .unwrap()
    }

    pub(super) fn plain(&self) -> cedar_policy::Entities {
        let reference = |uid: &str| {
            let (kind, id) = uid.rsplit_once("::").unwrap();
            json!({"type": kind, "id": id.trim_matches('"')})
        };
        let entity = |(uid, parents): (&String, &BTreeSet<String>)| {
            let attributes = if uid.contains("Action") { json!({}) } else { json!(self.attributes[uid]) };
            let parents: Vec<Json> = parents.iter().map(|p| reference(p)).collect();
            json!({"uid": reference(uid), "attrs": attributes, "parents": parents})
        };
        let all: Vec<Json> = self.parents.iter().map(entity).collect();
        cedar_policy::Entities::from_json_value(json!(all), None).unwrap()
    }
}

pub(super) fn parse(uid: &str) -> EntityUID {
    uid.parse().unwrap()
}

fn attributes(dice: &mut Dice<'_>) -> BTreeMap<String, Json> {
    let mut attributes = BTreeMap::new();
    if !dice.one_in(4) {
        attributes.insert("level".to_owned(), json!(dice.below(6)));
    }
    if !dice.one_in(4) {
        attributes.insert("name".to_owned(), json!(dice.pick(&["a", "ab", "b", "1.5"])));
    }
    if dice.one_in(8) {
        attributes.insert("level".to_owned(), json!("five"));
    }
    attributes
}

pub(super) fn context(dice: &mut Dice<'_>) -> Json {
    let mut context = attributes(dice);
    if !dice.one_in(3) {
        context.insert("deep".to_owned(), json!(attributes(dice)));
    }
    if !dice.one_in(3) {
        context.insert("tags".to_owned(), json!(["a", "b"][..dice.below(3)].to_vec()));
    }
    json!(context)
}

/// A Cedar value out of plain JSON, by this test's own reading.
pub(super) fn value(json: &Json) -> Value {
    match json {
        Json::Bool(truth) => Value::from(*truth),
        Json::Number(number) => Value::from(number.as_i64().unwrap()),
        Json::String(text) => Value::from(text.as_str()),
        Json::Array(items) => Value::set(items.iter().map(value), None),
        Json::Object(members) => Value::record(members.iter().map(|(k, v)| (k.as_str(), value(v))), None),
        Json::Null => panic!("no null in Cedar"),
    }
}

fn scope(dice: &mut Dice<'_>, name: &str, leaves: &[&str], above: &[&str], kinds: &[&str]) -> String {
    match dice.below(8) {
        0..=2 => name.to_owned(),
        3 => format!("{name} == {}", dice.pick(leaves)),
        4 => format!("{name} in {}", dice.pick(leaves)),
        5 => format!("{name} in {}", dice.pick(above)),
        6 => format!("{name} is {}", dice.pick(kinds)),
        _ => format!("{name} is {} in {}", dice.pick(kinds), dice.pick(above)),
    }
}

pub(super) fn policy(dice: &mut Dice<'_>, number: usize) -> String {
    let effect = if dice.below(5) < 3 { "permit" } else { "forbid" };
    let principal = scope(dice, "principal", &PRINCIPALS, &GROUPS, &["U", "V", "G"]);
    let action = match dice.below(6) {
        0 => "action".to_owned(),
        1 | 2 => format!("action == {}", dice.pick(&ACTIONS)),
        3 => format!("action in {}", dice.pick(&ACTION_GROUPS)),
        4 => format!("action in [{}, {}]", dice.pick(&ACTIONS), dice.pick(&ACTION_GROUPS)),
        _ => format!(
            "action in [{}, {}, {}]",
            dice.pick(&ACTIONS),
            dice.pick(&ACTIONS),
            dice.pick(&ACTION_GROUPS)
        ),
    };
    let resource = scope(dice, "resource", &RESOURCES, &FOLDERS, &["R", "S", "F"]);
    let mut text = format!("@id(\"p{number}\") {effect}({principal}, {action}, {resource})");
    for _ in 0..dice.below(3) {
        let word = if dice.one_in(3) { "unless" } else { "when" };
        let _ = write!(text, " {word} {{ {} }}", truth_text(dice, 3));
    }
    text + ";\n"
}

fn truth_text(dice: &mut Dice<'_>, depth: usize) -> String {
    if depth > 0 && dice.one_in(3) {
        let (a, b) = (truth_text(dice, depth - 1), truth_text(dice, depth - 1));
        return match dice.below(5) {
            0 => format!("({a}) && ({b})"),
            1 => format!("({a}) || ({b})"),
            2 => format!("!({a})"),
            3 => format!("if {a} then {b} else {}", truth_text(dice, depth - 1)),
            _ => format!("({a}) == ({b})"),
        };
    }
    let holder = *dice.pick(&["context", "principal", "resource", "context.deep"]);
    let k = dice.below(6);
    match dice.below(18) {
        0 => format!("{holder} has level"),
        1 => format!("{holder} has level && {holder}.level > {k}"),
        2 => format!("{holder}.level <= {k}"),
        3 => format!("{holder} has name && {holder}.name like \"a*\""),
        4 => format!("{holder}.name == \"ab\""),
        5 => format!("principal in {}", dice.pick(&GROUPS)),
        6 => format!("resource in [{}, {}]", dice.pick(&FOLDERS), dice.pick(&RESOURCES)),
        7 => format!("action in {}", dice.pick(&ACTION_GROUPS)),
        8 => format!("{} in {}", dice.pick(&PRINCIPALS), dice.pick(&GROUPS)),
        9 => format!("principal is {}", dice.pick(&["U", "V", "G"])),
        10 => "context has tags && context.tags.contains(\"a\")".to_owned(),
        11 => "context.tags.containsAny([\"a\", \"c\"])".to_owned(),
        12 => format!("context has deep.level && context.deep.level + {k} > 6"),
        13 => format!("context.level + {} > 0", i64::MAX - 2),
        14 => format!("{}.level > {k}", dice.pick(&PRINCIPALS)),
        15 => "decimal(context.name).lessThan(decimal(\"2.0\"))".to_owned(),
        16 => format!("{holder}.level"),
        _ => dice.pick(&["true", "false", "context == {}", "principal == resource"]).to_string(),
    }
}
