//! Sets beside the directory: built when they have to be, and strict where they cannot be.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use super::*;
use crate::model::{Agent, PolicyId, PolicyMode, PolicyText, RateLimit};
use crate::policy::Scenario;
use crate::policy::fixtures::{bundle, sunday};
use crate::proxy::snapshot::Live;
use crate::store;

const ALL: &str = "@id(\"all\") permit(principal, action, resource);";

fn agent(n: u8) -> Agent {
    crate::store::tests::agent(n, &format!("agent {n}"))
}

fn policy(of: u8, key: &str, version: u32, text: &str) -> StoredPolicy {
    StoredPolicy {
        id: PolicyId::from_uuid(uuid::Uuid::from_u128(key.bytes().map(u128::from).sum())),
        agent: agent(of).id,
        member: None,
        key: key.parse().unwrap(),
        version,
        mode: PolicyMode::Enforced,
        text: PolicyText::Cedar(text.to_owned()),
    }
}

fn forbid(of: u8, version: u32, tool: &str) -> StoredPolicy {
    let text = format!("forbid(principal, action == NotesMCP::Action::\"{tool}\", resource);");
    policy(of, "no", version, &text)
}

fn directory(generation: u64, policies: Vec<StoredPolicy>) -> Directory {
    let agents = vec![agent(1), agent(2), agent(3)];
    let rows = store::Directory {
        generation: store::Generation::of(generation),
        agents,
        members: Vec::new(),
        keys: Vec::new(),
        policies,
    };
    Directory::new(rows, RateLimit::default())
}

fn allows(live: &Live, of: u8, tool: &str) -> bool {
    let snapshot = live.load();
    let bundle = snapshot.bundle_for(&agent(of).id);
    Scenario::new(tool, sunday()).ask(bundle, |question| bundle.decide(question).allowed).unwrap()
}

static BUILT: AtomicU32 = AtomicU32::new(0);
static FAILS: AtomicBool = AtomicBool::new(false);

/// Builds as always and counts; panics where it is told to.
fn counting(base: &Bundle, stored: &[Arc<StoredPolicy>], previous: Option<&Bundle>) -> AgentSet {
    BUILT.fetch_add(1, Ordering::SeqCst);
    assert!(!FAILS.load(Ordering::SeqCst), "planted");
    Bundle::for_agent(base, stored, previous)
}

fn built() -> u32 {
    BUILT.swap(0, Ordering::SeqCst)
}

/// One test, for it counts in one place.
#[test]
fn sets_are_built_when_they_change_and_deny_while_they_cannot_be() {
    let mut live = Live::new(directory(1, vec![forbid(1, 1, "add"), forbid(2, 1, "list")]), bundle(ALL));
    live.build = counting;
    let mut changes = live.agents();
    let mut heard = move || {
        let mut heard = Vec::new();
        while let Ok(agent) = changes.try_recv() {
            heard.push(agent);
        }
        heard
    };
    let table =
        |live: &Live| [1, 2, 3].map(|of| (allows(live, of, "notes__add"), allows(live, of, "notes__list")));
    assert_eq!(table(&live), [(false, true), (true, false), (true, true)]);
    // Nothing of an agent's changed: nothing is built, though the directory was read anew.
    live.put_directory(directory(2, vec![forbid(1, 1, "add"), forbid(2, 1, "list")]));
    assert_eq!((built(), heard()), (0, vec![]));
    // The policies of one changed, of another went, of a third came.
    live.put_directory(directory(3, vec![forbid(1, 2, "list"), forbid(3, 1, "add")]));
    assert_eq!(table(&live), [(true, false), (true, true), (false, true)]);
    assert_eq!(built(), 2);
    let mut changed = heard();
    changed.sort();
    let mut expected = [1, 2, 3].map(|of| agent(of).id).to_vec();
    expected.sort();
    assert_eq!(changed, expected);
    // An older directory changes nothing.
    live.put_directory(directory(2, vec![forbid(1, 1, "add")]));
    assert_eq!(table(&live), [(true, false), (true, true), (false, true)]);
    // Another bundle is the base of all.
    built();
    live.put_bundle(bundle(
        "@id(\"none\") permit(principal, action == NotesMCP::Action::\"list\", resource);",
    ));
    assert_eq!(table(&live), [(false, false), (false, true), (false, true)]);
    assert_eq!(built(), 2);
    live.put_bundle(bundle(ALL));
    built();
    // A set that cannot be built denies everything, however open the one before was; others go on.
    FAILS.store(true, Ordering::SeqCst);
    live.put_directory(directory(4, vec![forbid(1, 3, "add"), forbid(3, 1, "add")]));
    assert_eq!(table(&live), [(false, false), (true, true), (false, true)]);
    let failed = live.load().sets.get(&agent(1).id).unwrap().failed.clone().unwrap();
    assert!(failed.contains("planted"), "{failed}");
    live.mend();
    assert_eq!(table(&live)[0], (false, false), "still");
    // A bundle that comes meanwhile finds no set either.
    live.put_bundle(bundle(ALL));
    assert_eq!(table(&live), [(false, false), (true, true), (false, false)]);
    FAILS.store(false, Ordering::SeqCst);
    live.mend();
    assert_eq!(table(&live), [(false, true), (true, true), (false, true)]);
    built();
    live.mend();
    assert_eq!(built(), 0, "nothing to mend");
}

#[expect(clippy::disallowed_methods, reason = "the long form of a test is asked for by the environment")]
fn agents_asked_for() -> u8 {
    std::env::var("WICKET_TEST_SETS").map_or(3, |count| count.parse().unwrap())
}

fn resident_kib() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// How long a start with so many agents of 1,000 policies each takes, what they hold, and how long one save is
/// on its way to the data plane. Figures are printed; the bounds are those of a build that is not optimised.
#[test]
fn agents_with_a_thousand_policies_each_start_and_live() {
    let agents = agents_asked_for();
    let text = |n: usize| match n % 4 {
        0 => "permit(principal, action == NotesMCP::Action::\"add\", resource);".to_owned(),
        1 => format!(
            "forbid(principal, action == NotesMCP::Action::\"add\", resource) when {{ context.session.calls > {n} }};"
        ),
        2 => format!(
            "forbid(principal in Wicket::Group::\"g{n}\", action in DepotMCP::Action::\"files\", resource) when {{ context.time.zones[\"Europe/Berlin\"].hour > 20 }};"
        ),
        _ => format!(
            "permit(principal, action in DepotMCP::Action::\"read\", resource in DepotMCP::Owner::\"o{n}\") when {{ context.args has path && context.args.path like \"docs/*\" }};"
        ),
    };
    let stored = |of: u8, n: usize, version: u32| StoredPolicy {
        id: PolicyId::from_uuid(uuid::Uuid::from_u128((u128::from(of) << 64) + n as u128)),
        key: format!("p{n}").parse().unwrap(),
        ..policy(of, "x", version, &text(n))
    };
    let all = |version: u32| {
        let of = |of: u8| (0..1_000).map(move |n| stored(of, n, if (of, n) == (1, 7) { version } else { 1 }));
        (1..=agents).flat_map(of).collect::<Vec<_>>()
    };
    let bundle = bundle(ALL);
    let first = directory(1, all(1));
    let (before, began) = (resident_kib(), std::time::Instant::now());
    let live = Live::new(first, bundle);
    let (start, held) = (began.elapsed(), resident_kib() - before);
    let mut times = Vec::new();
    for version in 2..9 {
        let next = directory(version.into(), all(version));
        let began = std::time::Instant::now();
        live.put_directory(next);
        times.push(began.elapsed());
    }
    times.sort();
    let began = std::time::Instant::now();
    live.put_bundle(crate::policy::fixtures::bundle("@id(\"other\") permit(principal, action, resource);"));
    let reload = began.elapsed();
    let count = usize::from(agents) * 1_000;
    println!(
        "{agents} agents of 1,000 policies: start {start:?}, {} bytes a policy; a save {:?}; a reload {reload:?}",
        held * 1024 / count,
        times[3]
    );
    assert!(live.load().sets.iter().all(|(_, set)| set.broken.is_empty() && set.failed.is_none()));
    assert_eq!(live.load().sets.iter().count(), usize::from(agents));
    assert!(times[3] * 3 < start && reload < start, "{times:?} {reload:?} {start:?}");
}
