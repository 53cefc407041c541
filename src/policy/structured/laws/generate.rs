//! Random structured policies and calls over the laboratory, with every kind of condition, from small pools
//! so that conditions are met as often as not.

use serde_json::{Map, Value as Json, json};

use super::lab::{Kind, Lab, TOOLS, TYPES};
use crate::connector::{AttributeValue, Resource};
use crate::policy::oracle::Dice;

pub(super) const MEMBERS: [&str; 3] = [
    "00000000-0000-0000-0000-000000000001",
    "00000000-0000-0000-0000-000000000002",
    "00000000-0000-0000-0000-000000000003",
];
pub(super) const GROUPS: [&str; 3] = ["ops", "team", "night"];
pub(super) const ADDRESSES: [&str; 5] =
    ["10.1.2.3", "10.66.0.9", "192.0.2.7", "2001:db8::5", "::ffff:10.1.2.3"];
const ZONES: [&str; 5] = ["UTC", "Asia/Tokyo", "Asia/Kolkata", "America/Phoenix", "Europe/Berlin"];
const TEXTS: [&str; 9] = ["acme", "site", "main", "a.env", "docs/a", "docs/b", "docs/*", "x", "ß\\é"];

/// Some of these, one at least.
fn some<T: Clone>(dice: &mut Dice<'_>, from: &[T]) -> Vec<T> {
    let mut found: Vec<T> = from.iter().filter(|_| dice.one_in(3)).cloned().collect();
    if found.is_empty() {
        found.push(dice.pick(from).clone());
    }
    found
}

/// A policy that compiles more often than not.
pub(super) fn policy(dice: &mut Dice<'_>, number: usize, policies: usize) -> Json {
    let service = if dice.one_in(6) { "mail" } else { "lab" };
    let mut form = Map::new();
    let mut put = |name: &str, value: Json| drop(form.insert(name.to_owned(), value));
    put("name", json!(format!("p{number}")));
    put("service", json!(service));
    put("effect", json!(if dice.one_in(4) { "forbid" } else { "permit" }));
    let tools: Vec<&Lab> = TOOLS.iter().filter(|tool| tool.service == service).collect();
    let by_tier = dice.one_in(3);
    let tiers = some(dice, &["read", "write", "destructive"]);
    let names = some(dice, &tools);
    if by_tier {
        put("tiers", json!(tiers));
    }
    if !by_tier || dice.one_in(4) {
        put("tools", json!(names.iter().map(|tool| tool.name).collect::<Vec<_>>()));
    }
    match dice.below(6) {
        0 => put("principal", json!({"type": "specific_members", "userIds": some(dice, &MEMBERS)})),
        1 | 2 => put("principal", json!({"type": "groups", "groups": some(dice, &GROUPS)})),
        _ => {}
    }
    if dice.one_in(3) {
        put("timeConstraints", time(dice));
    }
    if dice.one_in(4) {
        let list = (0..1 + dice.below(2)).map(|_| counter(dice, policies)).collect::<Vec<_>>();
        put("sessionConditions", json!(list));
    }
    if dice.one_in(5) {
        let networks = ["10.0.0.0/8", "10.66.0.0/16", "192.0.2.7/32", "2001:db8::/32", "0.0.0.0/0"];
        put("networkConditions", json!([{"cidrs": some(dice, &networks), "not": dice.one_in(2)}]));
    }
    if dice.one_in(2) {
        let spoken_of: Vec<&Lab> = tools
            .iter()
            .copied()
            .filter(|tool| {
                if by_tier { tiers.contains(&tool.tier) } else { names.iter().any(|n| n.name == tool.name) }
            })
            .collect();
        let list = (0..1 + dice.below(2)).filter_map(|_| argument(dice, &spoken_of)).collect::<Vec<_>>();
        put("argumentConditions", json!(list));
    }
    if service == "lab" {
        resource(dice, &mut put);
    }
    Json::Object(form)
}

fn time(dice: &mut Dice<'_>) -> Json {
    let mut time = Map::new();
    if dice.one_in(2) {
        time.insert("daysOfWeek".into(), json!(some(dice, &[0, 1, 2, 3, 4, 5, 6])));
    }
    if dice.one_in(2) {
        time.insert("hoursFrom".into(), json!(dice.pick(&[0, 1, 8, 12, 22, 23])));
    }
    if dice.one_in(2) {
        time.insert("hoursTo".into(), json!(dice.pick(&[0, 5, 7, 11, 17, 22, 23])));
    }
    if dice.one_in(4) {
        time.insert("activeFrom".into(), json!(dice.pick(&["2026-11-20", "2026-11-24", "2027-02-28"])));
    }
    if dice.one_in(4) {
        time.insert("activeTo".into(), json!(dice.pick(&["2027-02-28", "2027-03-28", "2028-02-29"])));
    }
    if dice.one_in(2) {
        time.insert("timeZone".into(), json!(dice.pick(&ZONES)));
    }
    if time.is_empty() {
        time.insert("hoursTo".into(), json!(11));
    }
    Json::Object(time)
}

fn counter(dice: &mut Dice<'_>, policies: usize) -> Json {
    let over = *dice.pick(&["session", "member"]);
    let tool = *dice.pick(&["lab:get_file", "mail:send", "lab:pay"]);
    if dice.one_in(8) {
        return json!({"kind": "toolUsed", "tool": tool, "over": over});
    }
    let op = *dice.pick(&[">=", ">", "==", "!=", "<", "<="]);
    let key = format!("p{}", dice.below(policies));
    let mut condition = match dice.below(7) {
        0 => json!({"kind": "toolCount", "tool": tool}),
        1 => json!({"kind": "serviceCount", "service": dice.pick(&["lab", "mail"])}),
        2 => json!({"kind": "tierCount", "tier": dice.pick(&["read", "write", "destructive"])}),
        3 => json!({"kind": "totalCallCount"}),
        4 => json!({"kind": "totalDenyCount"}),
        5 => json!({"kind": "policyAllowCount", "policyKey": key}),
        _ => json!({"kind": "policyDenyCount", "policyKey": key}),
    };
    condition["over"] = json!(over);
    condition["op"] = json!(op);
    condition["value"] = json!(dice.below(4));
    condition
}

fn argument(dice: &mut Dice<'_>, tools: &[&Lab]) -> Option<Json> {
    let declared: Vec<(String, Kind)> = tools.iter().flat_map(|tool| paths(tool.arguments)).collect();
    if declared.is_empty() {
        return None;
    }
    let (name, kind) = dice.pick(&declared).clone();
    let mut condition = json!({"argument": name});
    let mut put = |name: &str, value: Json| condition[name] = value;
    let scalar = |dice: &mut Dice<'_>, kind: Kind| value(dice, kind);
    let ops: &[&str] = match kind {
        Kind::Text => {
            &["equals", "notEquals", "in", "notIn", "like", "like", "notLike", "notLike", "given", "length"]
        }
        Kind::Long | Kind::Decimal => &["equals", "notEquals", "in", "notIn", "range", "range", "notGiven"],
        Kind::Bool => &["equals", "notEquals", "in", "given"],
        Kind::Texts | Kind::Longs => &["contains", "containsAny", "containsNone", "given", "length"],
        Kind::Record(_) => &["given", "notGiven"],
    };
    let op = *dice.pick(ops);
    put("op", json!(op));
    match op {
        "equals" | "notEquals" => put("value", scalar(dice, kind)),
        "like" | "notLike" => {
            put(
                "pattern",
                json!(
                    dice.pick(&["*", "docs/*", "*.env", "a*e", "docs/\\*", "docs/\\*", "x", "*\\\\*", "m*"])
                ),
            );
        }
        "length" => {
            let bounds = dice.below(3);
            if bounds < 2 {
                put("min", json!(dice.below(5)));
            }
            if bounds > 0 {
                put("max", json!(dice.below(7)));
            }
        }
        "range" => {
            let bounds = dice.below(3);
            if bounds < 2 {
                put("min", scalar(dice, kind));
            }
            if bounds > 0 {
                put("max", scalar(dice, kind));
            }
        }
        "given" | "notGiven" => return Some(condition),
        _ => {
            let item = match kind {
                Kind::Texts => Kind::Text,
                Kind::Longs => Kind::Long,
                other => other,
            };
            let values: Vec<Json> = (0..1 + dice.below(3)).map(|_| value(dice, item)).collect();
            put("values", json!(values));
        }
    }
    if dice.one_in(4) {
        put("ifUnknown", json!(dice.pick(&["met", "not_met"])));
    }
    Some(condition)
}

/// Every argument by its whole name.
fn paths(members: &'static [(&'static str, Kind)]) -> Vec<(String, Kind)> {
    let mut found = Vec::new();
    for (name, kind) in members {
        found.push(((*name).to_owned(), *kind));
        if let Kind::Record(members) = kind {
            found.extend(paths(members).into_iter().map(|(inner, kind)| (format!("{name}.{inner}"), kind)));
        }
    }
    found
}

fn resource(dice: &mut Dice<'_>, put: &mut impl FnMut(&str, Json)) {
    let repositories = [
        json!({"owner": "acme"}),
        json!({"owner": "Acme", "repo": "site"}),
        json!({"owner": "other", "repo": "SITE"}),
        json!({"owner": "acme", "repo": "x"}),
    ];
    for (name, pool) in [
        ("repoRestrictions", &repositories[..]),
        ("repoExceptions", &repositories[..]),
        ("channelRestrictions", &["C1", "C2"].map(|id| json!(id))[..]),
        ("channelExceptions", &["C1", "C2"].map(|id| json!(id))[..]),
        ("pageRestrictions", &["g1", "g2"].map(|id| json!(id))[..]),
        ("pageExceptions", &["g1", "g2"].map(|id| json!(id))[..]),
    ] {
        if dice.one_in(if name.starts_with("repo") { 6 } else { 14 }) {
            put(name, json!(some(dice, pool)));
        }
    }
    if !dice.one_in(4) {
        return;
    }
    let mut conditions = Vec::new();
    for _ in 0..dice.below(4) {
        let (kind, values): (&str, &[Json]) = match dice.below(9) {
            0 => ("visibility", &[json!("public"), json!("private")]),
            1 => ("isProtected", &[json!(true), json!(false)]),
            2 => ("isDraft", &[json!(true), json!(false)]),
            3 => ("priority", &[json!(1), json!(2)]),
            4 => ("labels", &[json!("bug"), json!("wip")]),
            5 => ("branch", &[json!("main"), json!("x")]),
            6 => ("itemRef", &[json!("Acme/site#7"), json!("acme/x#7")]),
            7 => ("repository", &[json!("Acme/Site"), json!("other/site")]),
            _ => ("owner", &[json!("ACME"), json!("other")]),
        };
        conditions.push(json!({"type": kind, "value": dice.pick(values)}));
    }
    if dice.one_in(4) {
        let chosen = *dice.pick(&["met", "not_met"]);
        conditions.iter_mut().for_each(|condition| condition["ifUnknown"] = json!(chosen));
    }
    let mut asked = json!({"match": dice.pick(&["all", "any"]), "conditions": conditions});
    if conditions.is_empty() || dice.one_in(3) {
        asked["scope"] = json!(dice.pick(&["branch", "item", "repository", "channel"]));
    }
    put("resourceConditions", asked);
}

/// A value that the kind can hold.
fn value(dice: &mut Dice<'_>, kind: Kind) -> Json {
    match kind {
        Kind::Text => json!(dice.pick(&TEXTS)),
        Kind::Long => json!(*dice.pick(&[0_i64, 1, 7, -3, 100])),
        Kind::Bool => json!(dice.one_in(2)),
        Kind::Decimal => {
            serde_json::from_str(dice.pick::<&str>(&["1.5", "10", "9.9901", "-0.5", "10.0"])).unwrap()
        }
        Kind::Texts => json!((0..dice.below(3)).map(|_| *dice.pick(&TEXTS)).collect::<Vec<_>>()),
        Kind::Longs => json!((0..dice.below(3)).map(|_| *dice.pick(&[0, 1, 7])).collect::<Vec<_>>()),
        Kind::Record(members) => Json::Object(arguments(dice, members, usize::MAX)),
    }
}

/// A value that the kind cannot hold.
fn unreadable(dice: &mut Dice<'_>, kind: Kind) -> Json {
    match kind {
        Kind::Text | Kind::Bool => dice.pick(&[json!(5), Json::Null, json!(["a"])]).clone(),
        Kind::Long => dice.pick(&[json!(1.5), Json::Null, json!("7")]).clone(),
        Kind::Decimal => dice.pick(&[json!(0.000_01), Json::Null, json!("1.5")]).clone(),
        Kind::Texts | Kind::Longs => dice.pick(&[json!([true]), json!("a"), Json::Null]).clone(),
        Kind::Record(_) => dice.pick(&[json!("a"), Json::Null]).clone(),
    }
}

/// Arguments as a call gives them; every so manyth cannot be read.
pub(super) fn arguments(
    dice: &mut Dice<'_>,
    members: &[(&str, Kind)],
    unreadable_in: usize,
) -> Map<String, Json> {
    let mut given = Map::new();
    for (name, kind) in members {
        if dice.one_in(4) {
            continue;
        }
        let pool: Option<&[&str]> = match *name {
            "owner" => Some(&["acme", "Acme", "other"]),
            "repo" => Some(&["site", "Site", "x"]),
            "branch" => Some(&["main", "x", "Main"]),
            "channel_id" => Some(&["C1", "C3"]),
            "page_id" => Some(&["g1", "g3"]),
            _ => None,
        };
        let chosen = match pool {
            _ if unreadable_in != usize::MAX && dice.one_in(unreadable_in) => unreadable(dice, *kind),
            Some(pool) => json!(dice.pick(pool)),
            None if *name == "number" => json!(dice.pick(&[7, 8])),
            None => value(dice, *kind),
        };
        given.insert((*name).to_owned(), chosen);
    }
    if dice.one_in(9) {
        given.insert("undeclared".to_owned(), json!({"deep": [null]}));
    }
    given
}

/// What a harvest will know, here and there.
pub(super) fn harvest(dice: &mut Dice<'_>, resource: &mut Resource) {
    let bare = resource.type_name.rsplit("::").next().unwrap_or_default();
    if !TYPES.iter().any(|(name, ..)| *name == bare) {
        return;
    }
    let mut put = |name: &str, value| drop(resource.attributes.insert(name.to_owned(), value));
    let some_labels = || ["bug", "other"].map(str::to_owned).into();
    match bare {
        "Branch" if dice.one_in(2) => put("isProtected", AttributeValue::Bool(dice.one_in(2))),
        "Item" => {
            if dice.one_in(2) {
                put("isDraft", AttributeValue::Bool(dice.one_in(2)));
                put("priority", AttributeValue::Long(1 + i64::from(dice.one_in(2))));
            }
            if dice.one_in(2) {
                put("labels", AttributeValue::StringSet(some_labels()));
            }
        }
        "Channel" if dice.one_in(2) => put("isPrivate", AttributeValue::Bool(dice.one_in(2))),
        _ => {}
    }
    if matches!(bare, "Branch" | "Repository") && dice.one_in(2) {
        let visibility = *dice.pick(&["public", "private"]);
        put("visibility", AttributeValue::String(visibility.to_owned()));
    }
}
