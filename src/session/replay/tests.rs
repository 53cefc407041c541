//! Lanes, standings, checkpoints: what a replay may take for known.

use super::*;
use crate::model::{AgentId, ConversationId, WindowCheckpoint};

const START: Timestamp = Timestamp::from_millis(1_795_310_400_000);
const DRAFT: usize = 0;
const BASELINE: usize = 1;

fn key(text: &str) -> CounterKey {
    text.parse().unwrap()
}

fn policy(text: &str) -> PolicyKey {
    PolicyKey::parse(text).unwrap()
}

fn session(opened: Timestamp) -> SessionId {
    SessionId::mint(opened, [9; 10])
}

fn member() -> MemberId {
    MemberId::mint(START, [2; 10])
}

/// One tool and the counters that are followed.
struct Scene {
    replay: Replay,
    service: ServiceKey,
    tool: ToolName,
    nothing: History,
    session: SessionId,
    calls: u8,
}

impl Scene {
    fn new(since: Since, session: SessionId) -> Self {
        let wanted = ["calls", "denials", "tier/write", "allow/all", "deny/no"].map(key);
        Self {
            replay: Replay::new(wanted, since),
            service: ServiceKey::parse("depot").unwrap(),
            tool: ToolName::parse("put_file").unwrap(),
            nothing: History::default(),
            session,
            calls: 0,
        }
    }

    fn count(
        &mut self,
        at: Timestamp,
        recorded: Option<&History>,
        truth: Came<'_>,
        draft: Came<'_>,
    ) -> CallId {
        self.calls += 1;
        let call = CallId::mint(at, [self.calls; 10]);
        let step = Step {
            call,
            session: self.session,
            member: member(),
            at,
            tool: Some((&self.service, &self.tool, Tier::Write)),
            recorded: recorded.unwrap_or(&self.nothing),
        };
        self.replay.count(&step, truth, [draft, truth]);
        call
    }

    fn read(&mut self, lane: usize, at: Timestamp, keys: (&[&str], &[&str])) -> Option<(Vec<i64>, bool)> {
        let all = |keys: &[&str]| keys.iter().map(|text| key(text)).collect::<Vec<_>>();
        let needs = Needs { session: all(keys.0), member: all(keys.1) };
        let step = Step {
            call: CallId::mint(at, [0; 10]),
            session: self.session,
            member: member(),
            at,
            tool: None,
            recorded: &self.nothing,
        };
        let seen = self.replay.read(lane, &step, &needs)?;
        let session = needs.session.iter().map(|key| seen.history.session[key]);
        let member = needs.member.iter().map(|key| seen.history.member[key]);
        Some((session.chain(member).collect(), seen.exact))
    }
}

#[test]
fn a_lane_counts_what_it_would_have_and_the_other_what_was() {
    let (all, no) = ([policy("all")], [policy("no")]);
    let mut scene = Scene::new(Since::Always, session(START));
    let keys: (&[&str], &[&str]) = (&["calls", "denials", "deny/no"], &["tier/write", "denials"]);
    scene.count(START, None, Came::Allowed(&all), Came::Allowed(&all));
    scene.count(START, None, Came::Allowed(&all), Came::Denied(&no));
    let unsent = scene.count(START, None, Came::Allowed(&all), Came::Denied(&no));
    assert_eq!(scene.read(DRAFT, START, keys), Some((vec![1, 2, 2, 1, 2], true)));
    assert_eq!(scene.read(BASELINE, START, keys), Some((vec![3, 0, 0, 3, 0], true)));
    // It was never sent: where it was denied, that stays.
    scene.replay.ended(unsent, false);
    assert_eq!(scene.read(DRAFT, START, keys), Some((vec![1, 2, 2, 1, 2], true)));
    assert_eq!(scene.read(BASELINE, START, keys), Some((vec![2, 0, 0, 2, 0], true)));
    // A day later the window has forgotten, the session has not.
    let later = START.plus_millis(WINDOW_MS + BUCKET_MS);
    assert_eq!(scene.read(DRAFT, later, keys), Some((vec![1, 2, 2, 0, 0], true)));
}

#[test]
fn what_a_record_says_goes_before_what_was_followed() {
    let all = [policy("all")];
    let mut scene = Scene::new(Since::Always, session(START));
    scene.count(START, None, Came::Allowed(&all), Came::Denied(&[]));
    let recorded = History { session: [(key("calls"), 7)].into(), member: [(key("calls"), 9)].into() };
    let step = Step {
        call: CallId::mint(START, [0; 10]),
        session: scene.session,
        member: member(),
        at: START,
        tool: None,
        recorded: &recorded,
    };
    let needs = Needs { session: vec![key("calls")], member: vec![key("calls")] };
    let seen = scene.replay.read(DRAFT, &step, &needs).unwrap();
    assert_eq!((seen.history.session[&key("calls")], seen.history.member[&key("calls")]), (6, 8));
}

#[test]
fn what_began_before_the_replay_is_not_known() {
    let all = [policy("all")];
    let mut scene = Scene::new(Since::Time(START), session(START.plus_millis(-1)));
    scene.count(START, None, Came::Allowed(&all), Came::Allowed(&all));
    assert_eq!(scene.read(DRAFT, START, (&["calls"], &[])), None);
    assert_eq!(scene.read(DRAFT, START, (&[], &["calls"])), None);
    assert_eq!(scene.read(DRAFT, START, (&[], &[])), Some((vec![], true)));
    // A record tells one counter of the session; from then on it is an estimate.
    let recorded = History { session: [(key("calls"), 5)].into(), member: Default::default() };
    scene.count(START, Some(&recorded), Came::Allowed(&all), Came::Allowed(&all));
    assert_eq!(scene.read(DRAFT, START, (&["calls"], &[])), Some((vec![6], false)));
    assert_eq!(scene.read(DRAFT, START, (&["denials"], &[])), None);
    // After a day every count of the member's window was read.
    let later = START.plus_millis(WINDOW_MS);
    assert_eq!(scene.read(DRAFT, later, (&[], &["calls"])), Some((vec![0], true)));
}

#[test]
fn what_cannot_be_decided_makes_the_rest_an_estimate() {
    let all = [policy("all")];
    let mut scene = Scene::new(Since::Always, session(START));
    scene.count(START, None, Came::Allowed(&all), Came::Unknown);
    assert_eq!(scene.read(DRAFT, START, (&["calls"], &["calls"])), Some((vec![1, 1], false)));
    assert_eq!(scene.read(BASELINE, START, (&["calls"], &["calls"])), Some((vec![1, 1], true)));
    let later = START.plus_millis(WINDOW_MS);
    assert_eq!(scene.read(DRAFT, later, (&[], &["calls"])), Some((vec![0], true)), "a window forgets doubt");
    // A round that another one takes the place of: nobody recorded which.
    let mut scene = Scene::new(Since::Always, session(START));
    let call = scene.count(START, None, Came::Allowed(&all), Came::Allowed(&all));
    scene.replay.goes_on(call, START);
    assert_eq!(scene.read(BASELINE, START, (&["calls"], &["calls"])), Some((vec![1, 1], false)));
}

#[test]
fn a_checkpoint_settles_what_was_not_known() {
    let all = [policy("all")];
    let checkpoint = |scene: &Scene, cause, settled| SessionCheckpoint {
        at: START.plus_millis(1_000),
        session: scene.session,
        agent: AgentId::mint(START, [1; 10]),
        member: member(),
        conversation: ConversationId::from_bytes([5; 16]),
        cause,
        settled,
        created_at: START,
        last_activity_at: START,
        ended: None,
        counters: [(key("calls"), 20), (key("tool/depot:search"), 3)].into(),
        window: Some(WindowCheckpoint {
            bucket_ms: BUCKET_MS,
            whole: true,
            settled,
            buckets: vec![(START.as_millis() / BUCKET_MS, [(key("calls"), 30)].into())],
        }),
    };
    let keys: (&[&str], &[&str]) = (&["calls", "denials"], &["calls"]);
    let (before, after) = (START, START.plus_millis(2_000));
    for (counted_at, cause, settled, expected) in [
        (before, CheckpointCause::Calls, true, Some((vec![20, 0, 30], true))),
        // Calls that are not in it were read already.
        (after, CheckpointCause::Calls, true, None),
        (before, CheckpointCause::Calls, false, None),
        (before, CheckpointCause::Restored, true, Some((vec![20, 0, 30], true))),
    ] {
        let mut scene = Scene::new(Since::Time(START), session(START.plus_millis(-1)));
        scene.count(counted_at, None, Came::Allowed(&all), Came::Allowed(&all));
        let checkpoint = checkpoint(&scene, cause, settled);
        scene.replay.checkpoint(&checkpoint);
        assert_eq!(scene.read(DRAFT, after, keys), expected, "{cause:?}, settled {settled}");
    }
    // What is known exactly stays, but for a start that took up less than was counted.
    for (cause, expected) in
        [(CheckpointCause::Time, vec![1, 0, 1]), (CheckpointCause::Restored, vec![20, 0, 30])]
    {
        let mut scene = Scene::new(Since::Always, session(START));
        scene.count(before, None, Came::Allowed(&all), Came::Allowed(&all));
        let checkpoint = checkpoint(&scene, cause, true);
        scene.replay.checkpoint(&checkpoint);
        assert_eq!(scene.read(DRAFT, after, keys), Some((expected, true)), "{cause:?}");
    }
}
