use futures_util::FutureExt as _;

use super::super::testing::{
    NOW, RESULT, Scene, bundle, call, config, decision, node, open, record, segments, signing, snapshot,
    turned, until,
};
use super::super::{AdministrativePhase, Entry, Place, Reader, Recovery, verify};
use super::*;
use crate::model::{Outcome, OutcomeKind};

mod bound;
mod crash;
mod failure;
mod golden;
mod hang;
mod session;
mod turn;
mod witnessed;

fn entries(dir: &std::path::Path) -> Vec<Entry> {
    let mut reader = Reader::at(dir, Place::default());
    std::iter::from_fn(|| reader.read().unwrap()).collect()
}

fn of_kind(dir: &std::path::Path, kind: EntryKind) -> Vec<serde_json::Value> {
    entries(dir).iter().filter(|e| e.kind == kind).map(|e| e.json().unwrap()).collect()
}

fn assert_intact(data: &std::path::Path) -> super::super::VerifyReport {
    let witness = data.join("checkpoints.jsonl");
    let report = verify(&data.join("journal"), &signing().verifying_key(), Some(&witness)).unwrap();
    assert!(report.is_intact(), "{report}");
    report
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn parallel_calls_are_recorded_completed_and_attested_in_both_modes() {
    for mode in [Durability::Process, Durability::Durable] {
        let data = tempfile::tempdir().unwrap();
        let mut config = config(data.path(), mode);
        config.segment_bytes_max = 64 << 10;
        config.checkpoint_entries_max = 100;
        let dir = config.dir.clone();
        let (journal, recovery) = open(config);
        assert_eq!(recovery, Recovery::default());
        let journal = Arc::new(journal);
        let tasks: Vec<_> = (0..8)
            .map(|task| {
                let journal = Arc::clone(&journal);
                tokio::spawn(async move {
                    for n in 0..50 {
                        let receipt = record(&journal, task * 1_000 + n).await.unwrap();
                        if mode == Durability::Durable {
                            let synced = journal.shared.writer.lock().synced.seq;
                            assert!(synced >= receipt.intent_seq(), "acknowledged before it was synced");
                        }
                        receipt.complete(RESULT);
                        turned(&journal).await;
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        journal.close();
        let seqs: Vec<u64> = entries(&dir).iter().map(|e| e.seq).collect();
        assert_eq!(seqs, (1..=seqs.len() as u64).collect::<Vec<_>>());
        assert_eq!(of_kind(&dir, EntryKind::Intent).len(), 400);
        assert_eq!(of_kind(&dir, EntryKind::Completion).len(), 400);
        let report = assert_intact(data.path());
        assert!(report.closed && report.unattested_entries == 0 && report.checkpoints >= 6, "{report}");
        assert!(segments(data.path()).len() > 4, "{report}");
        assert!(
            matches!(report.witness, super::super::WitnessState::Agrees { checkpoints } if checkpoints == report.checkpoints)
        );
    }
}

#[tokio::test]
async fn a_receipt_ends_in_exactly_one_completion_however_it_ends() {
    let data = tempfile::tempdir().unwrap();
    let mut config = config(data.path(), Durability::Process);
    // All that may be open are: whoever comes next writes the ends of those before.
    config.open_intents_max = 3;
    config.commit_ms_max = 100;
    let dir = config.dir.clone();
    let (journal, _) = open(config);
    let receipts = [
        record(&journal, 1).await.unwrap(),
        record(&journal, 2).await.unwrap(),
        record(&journal, 3).await.unwrap(),
    ];
    assert_eq!(journal.status().open_intents, 3);
    let [one, two, three] = receipts;
    one.complete(RESULT);
    drop(two);
    three.complete(Outcome { kind: OutcomeKind::Timeout, ..RESULT });
    assert_eq!(journal.status().open_intents, 0);
    journal.close();
    let ends: std::collections::BTreeMap<String, String> = of_kind(&dir, EntryKind::Completion)
        .iter()
        .map(|e| (e["call"].as_str().unwrap().to_owned(), e["outcome"].as_str().unwrap().to_owned()))
        .collect();
    let expected =
        [(1, "result"), (2, "unknown"), (3, "timeout")].map(|(n, o)| (call(n).to_string(), o.to_owned()));
    assert_eq!(ends, expected.into());
    assert_intact(data.path());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_intent_given_up_while_it_waits_says_that_nothing_was_sent() {
    let data = tempfile::tempdir().unwrap();
    let config = config(data.path(), Durability::Durable);
    let dir = config.dir.clone();
    let (journal, _) = open(config);
    let mut given_up = 0;
    for n in 0..200 {
        match record(&journal, n).now_or_never() {
            None => given_up += 1,
            Some(recorded) => recorded.unwrap().complete(RESULT),
        }
    }
    assert!(given_up > 0);
    journal.close();
    let ends = of_kind(&dir, EntryKind::Completion);
    // One that was given up before it was written leaves nothing.
    assert_eq!(ends.len(), of_kind(&dir, EntryKind::Intent).len());
    assert_eq!(
        ends.iter().filter(|e| e["notForwarded"] == true && e["outcome"] == "unreachable").count(),
        ends.len() - (200 - given_up)
    );
    assert_intact(data.path());
}

#[tokio::test]
async fn open_intents_of_a_dead_boot_are_completed_as_unknown_once() {
    for mode in [Durability::Process, Durability::Durable] {
        let data = tempfile::tempdir().unwrap();
        let (journal, _) = open(config(data.path(), mode));
        let receipts: Vec<_> =
            [record(&journal, 1).await.unwrap(), record(&journal, 2).await.unwrap()].into();
        record(&journal, 3).await.unwrap().complete(RESULT);
        let dir = data.path().join("journal");
        until("the completion is written", || of_kind(&dir, EntryKind::Completion).len() == 1).await;
        let crashed = snapshot(data.path());
        drop(receipts);

        let (after, recovery) = open(config(crashed.path(), mode));
        assert_eq!((recovery.open_intents, recovery.torn_bytes, recovery.damaged), (2, 0, None));
        after.close();
        let dir = crashed.path().join("journal");
        let recovered: Vec<_> =
            of_kind(&dir, EntryKind::Completion).into_iter().filter(|e| e["recovered"] == true).collect();
        assert_eq!(
            recovered.iter().map(|e| e["outcome"].as_str().unwrap()).collect::<Vec<_>>(),
            ["unknown"; 2]
        );
        assert_eq!(recovered[0]["call"], call(1).to_string());
        assert_eq!(open(config(crashed.path(), mode)).1.open_intents, 0);
        assert_intact(crashed.path());
    }
}

#[tokio::test]
async fn a_long_boot_is_read_from_its_oldest_open_intent_on() {
    for mode in [Durability::Process, Durability::Durable] {
        let data = tempfile::tempdir().unwrap();
        let mut small = config(data.path(), mode);
        small.segment_bytes_max = 4 << 10;
        let (journal, _) = open(small);
        let count = || segments(data.path()).len();
        let fill = async |from: u32, until_segments: usize| {
            let mut n = from;
            while count() < until_segments {
                record(&journal, n).await.unwrap().complete(RESULT);
                n += 1;
                turned(&journal).await;
            }
        };
        fill(1_000, 4).await;
        let old = record(&journal, 1).await.unwrap();
        fill(2_000, 8).await;
        let young = record(&journal, 2).await.unwrap();
        let dir = data.path().join("journal");
        until("completions are written", || {
            of_kind(&dir, EntryKind::Completion).len() + 2 == of_kind(&dir, EntryKind::Intent).len()
        })
        .await;
        let crashed = snapshot(data.path());
        // What lies before the oldest open intent is not read: here, it could not be.
        for early in &segments(crashed.path())[1..3] {
            std::fs::write(early, "unread\n").unwrap();
        }
        let (after, recovery) = open(config(crashed.path(), mode));
        assert_eq!(recovery.open_intents, 2);
        after.close();
        let last = std::fs::read_to_string(segments(crashed.path()).last().unwrap()).unwrap();
        let recovered: Vec<u64> = last
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
            .filter(|entry| entry["recovered"] == true)
            .map(|entry| entry["intent"].as_u64().unwrap())
            .collect();
        assert_eq!(recovered, [old.intent_seq(), young.intent_seq()]);
        drop((old, young));
    }
}

#[tokio::test]
async fn a_recovery_that_was_cut_short_is_taken_up_by_the_next() {
    let data = tempfile::tempdir().unwrap();
    let (journal, _) = open(config(data.path(), Durability::Process));
    let mut receipts = Vec::new();
    for n in 0..4 {
        receipts.push(record(&journal, n).await.unwrap());
    }
    let crashed = snapshot(data.path());
    drop(open(config(crashed.path(), Durability::Process)));
    // The second boot died after one of its four completions, and within the next.
    let segment = segments(crashed.path())[1].clone();
    let text = std::fs::read_to_string(&segment).unwrap();
    let kept: usize = text.lines().take(2).map(|l| l.len() + 1).sum();
    std::fs::write(&segment, &text.as_bytes()[..kept + 40]).unwrap();
    std::fs::remove_file(crashed.path().join("checkpoints.jsonl")).unwrap();

    let (after, recovery) = open(config(crashed.path(), Durability::Process));
    assert_eq!((recovery.open_intents, recovery.torn_bytes, recovery.segments), (3, 40, 2));
    after.close();
    let dir = crashed.path().join("journal");
    let calls: std::collections::BTreeSet<String> =
        of_kind(&dir, EntryKind::Completion).iter().map(|e| e["call"].to_string()).collect();
    assert_eq!((calls.len(), of_kind(&dir, EntryKind::Completion).len()), (4, 4));
    let report = assert_intact(crashed.path());
    assert!(report.notes.iter().any(|n| n.contains("a crash tore 40 bytes")), "{report}");
}

#[tokio::test]
async fn two_gates_never_share_a_journal_and_a_closed_one_takes_nothing() {
    let data = tempfile::tempdir().unwrap();
    let (journal, _) = open(config(data.path(), Durability::Process));
    let second = Journal::open(config(data.path(), Durability::Process), node(), signing(), NOW).unwrap_err();
    assert!(second.to_string().contains("another gate"), "{second}");
    journal.close();
    journal.close();
    assert!(record(&journal, 1).await.is_err());
    let facts = AdministrativeFacts {
        change: call(1),
        at: NOW,
        phase: AdministrativePhase::Intent,
        who: "operator",
        what: "key.revoke",
        target: "key/1",
        agent: None,
        before: None,
        after: None,
    };
    assert!(journal.administrative(&facts).await.is_err());
    drop(journal);
    open(config(data.path(), Durability::Process));
}

#[tokio::test]
async fn a_permit_records_its_own_call_and_no_other() {
    let sources = crate::policy::Sources {
        show: Default::default(),
        policies: vec![crate::model::SourceFile::new(
            "a.cedar",
            "@id(\"all\") permit(principal, action, resource);",
        )],
        cases: None,
        connectors: Arc::new(crate::connector::Connectors::read(&[]).unwrap()),
    };
    let bundle = crate::policy::Bundle::build(&sources).unwrap();
    let scene = Scene::new();
    let mut caller = scene.caller.clone();
    let mut agent = (*caller.agent).clone();
    agent.services = [crate::model::ServiceKey::parse("wicket").unwrap()].into();
    caller.agent = Arc::new(agent);
    let connector = bundle.connectors().get("wicket").unwrap();
    let (arguments, tool) =
        (serde_json::json!({}), &connector.tools[&crate::model::ToolName::parse("whoami").unwrap()]);
    let question = crate::policy::Question {
        call: call(1),
        caller: &caller,
        connector,
        tool,
        arguments: &arguments,
        resource: &crate::connector::resource_of(connector, tool, &arguments),
        history: &scene.history,
        now: NOW,
    };
    let crate::policy::Verdict::Allow(permit) = bundle.authorise(&question) else { panic!("denied") };
    let denial = Denial::of(call(1), crate::model::Reason::Quarantined, bundle.digest());

    let data = tempfile::tempdir().unwrap();
    let (journal, _) = open(config(data.path(), Durability::Durable));
    assert!(journal.intent(&permit, &scene.facts(call(2))).await.is_err());
    assert!(journal.denial(&denial, &scene.facts(call(2))).await.is_err());
    let receipt = journal.intent(&permit, &scene.facts(call(1))).await.unwrap();
    assert_eq!(receipt.call(), call(1));
    receipt.complete(RESULT);
    journal.denial(&denial, &scene.facts(call(1))).await.unwrap();
    journal.close();
    let dir = data.path().join("journal");
    assert_eq!(of_kind(&dir, EntryKind::Intent)[0]["bundle"], bundle.digest().to_string());
    assert_eq!(of_kind(&dir, EntryKind::Denial)[0]["reason"], "quarantined");
}

#[test]
fn no_call_however_large_exceeds_a_line() {
    let mut scene = Scene::new();
    scene.arguments = format!("{{\"content\":\"{}\"}}", "\\u0001".repeat(1 << 20));
    scene.client.name = "\u{1}".repeat(100_000);
    for n in 0..10_000u32 {
        let key = crate::model::PolicyKey::parse(&format!("{n:0>100}")).unwrap();
        scene.history.session.insert(crate::model::CounterKey::PolicyDeny(key.clone()), i64::MIN);
        scene.history.member.insert(crate::model::CounterKey::PolicyDeny(key), i64::MIN);
    }
    let policy = crate::model::PolicyRef {
        key: crate::model::PolicyKey::parse(&"k".repeat(100)).unwrap(),
        name: Arc::from("\u{1}".repeat(100_000)),
        version: u32::MAX,
        id: Some(crate::model::PolicyId::from_uuid(uuid::Uuid::max())),
    };
    let error =
        crate::model::EvaluationError { policy: policy.key.clone(), message: "\u{1}".repeat(100_000) };
    let long = "\u{1}".repeat(100_000);
    let facts = CallFacts { tier: None, tool: &long, resource: &long, action: &long, ..scene.facts(call(1)) };
    let big = Decision { determining: vec![policy; 500], errors: vec![error; 500], ..decision(false) };
    let body = call_body(&facts, &big, bundle(), node(), &[0; 32]);
    let mut line = Vec::new();
    crate::audit::chain::seal(&crate::audit::ChainHash::GENESIS, u64::MAX, &body, &mut line);
    assert!(line.len() <= crate::audit::chain::LINE_BYTES_MAX, "{}", line.len());
    let value: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(value["matchedPoliciesOmitted"], 500 - 48);
    assert_eq!(value["history"]["omitted"], 2 * (10_000 - 32) + 2);
}
