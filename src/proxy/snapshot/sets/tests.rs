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
