//! Segments by time, lines by kind, checkpoints in parts.

use super::*;
use crate::audit::Durability;
use crate::audit::testing::{NOW, RESULT, Scene, call, config, open};
use crate::model::{
    AgentId, CheckpointCause, ConversationId, CounterKey, MemberId, PolicyKey, SessionCheckpoint, SessionId,
    WindowCheckpoint,
};
use crate::policy::fixtures;

const ALL: Span =
    Span { from: Timestamp::from_millis(0), to: Timestamp::from_millis(i64::MAX / 2), counters: true };

fn lines(dir: &Path, span: &Span) -> Vec<String> {
    let found = find(dir, span).unwrap();
    let mut told = Vec::new();
    read(&found, span, &mut |line, progress| {
        assert!(progress.read <= progress.of);
        told.push(match line {
            Line::Call(call) => format!("{} {} {:?}", call.decision, call.tool, call.member_role),
            Line::End(end) => format!("end {} {}", end.sent, end.goes_on),
            Line::Checkpoint(checkpoint) => format!("checkpoint of {}", checkpoint.counters.len()),
            Line::Unreadable => "unreadable".to_owned(),
        });
        ControlFlow::Continue(())
    })
    .unwrap();
    told
}

#[tokio::test]
async fn calls_ends_and_checkpoints_are_told_and_nothing_else() {
    let data = tempfile::tempdir().unwrap();
    let (journal, _) = open(config(data.path(), Durability::Process));
    let scene = Scene::new();
    let receipt = journal.intent(&fixtures::permit(call(1)), &scene.facts(call(1))).await.unwrap();
    receipt.complete(RESULT);
    journal.denial(&fixtures::denial(call(2)), &scene.facts(call(2))).await.unwrap();
    let key = |n: usize| CounterKey::PolicyDeny(PolicyKey::parse(&format!("{n:0>90}")).unwrap());
    let counters: std::collections::BTreeMap<CounterKey, i64> = (0..512).map(|n| (key(n), 1)).collect();
    let checkpoint = SessionCheckpoint {
        at: NOW,
        session: SessionId::mint(NOW, [4; 10]),
        agent: AgentId::mint(NOW, [1; 10]),
        member: MemberId::mint(NOW, [2; 10]),
        conversation: ConversationId::from_bytes([5; 16]),
        cause: CheckpointCause::Calls,
        settled: true,
        created_at: NOW,
        last_activity_at: NOW,
        ended: None,
        window: Some(WindowCheckpoint {
            bucket_ms: 300_000,
            whole: true,
            settled: true,
            buckets: (0..4).map(|n| (5_984_000 + n, counters.clone())).collect(),
        }),
        counters,
    };
    assert!(journal.session(&checkpoint));
    journal.close();
    let dir = data.path().join("journal");
    let mut told = lines(&dir, &ALL);
    told.sort();
    let expected = [
        "ALLOW delete_file Some(\"member\")",
        "DENY delete_file Some(\"member\")",
        "checkpoint of 512",
        "end true false",
    ];
    assert_eq!(told, expected);
    assert_eq!(lines(&dir, &Span { counters: false, ..ALL }).len(), 2);

    // What was written in parts is what was handed over.
    let mut found = None;
    read(&find(&dir, &ALL).unwrap(), &ALL, &mut |line, _| {
        if let Line::Checkpoint(checkpoint) = line {
            found = Some(*checkpoint);
        }
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(found, Some(checkpoint));
}

#[test]
fn only_segments_of_the_span_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let line = |at: i64| {
        format!(
            "{{\"seq\":1,\"type\":\"open\",\"timestamp\":\"{}\",\"format\":1,\"node\":\"{node}\",\"boot\":\"{node}\",\
             \"segment\":\"x\",\"mode\":\"process\",\"verifyingKey\":\"k\"}}\nno entry\n",
            Timestamp::from_millis(at),
            node = uuid::Uuid::nil()
        )
    };
    for (number, at) in [(3, 1_000_000), (4, 2_000_000), (5, 3_000_000), (6, 9_000_000)] {
        std::fs::write(dir.path().join(SegmentNumber(number).file_name()), line(at)).unwrap();
    }
    let span = |from, to| Span {
        from: Timestamp::from_millis(from),
        to: Timestamp::from_millis(to),
        counters: true,
    };
    for (asked, segments, since) in [
        (span(2_500_000, 2_600_000), 2, Some(2_500_000)),
        (span(2_000_000, 9_000_000), 3, Some(2_000_000)),
        // Retention has dropped what came before.
        (span(0, 1_500_000), 2, Some(1_000_000)),
    ] {
        let found = find(dir.path(), &asked).unwrap();
        assert_eq!(
            (found.segments.len(), found.since.map(Timestamp::as_millis)),
            (segments, since),
            "{asked:?}"
        );
        assert_eq!(lines(dir.path(), &asked), vec!["unreadable"; segments]);
    }
    std::fs::write(dir.path().join(SegmentNumber(1).file_name()), line(500_000)).unwrap();
    assert_eq!(find(dir.path(), &span(0, 1)).unwrap().since, None, "nothing came before the first");
}
