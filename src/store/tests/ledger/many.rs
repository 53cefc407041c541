//! More subjects in one bucket than one row of the statistics takes.

use super::*;

/// Calls of one agent in one hour, by one member, of this tool.
fn call(like: &AuditRow, n: u64, tool: u64) -> AuditRow {
    AuditRow {
        boot: 9,
        seq: n,
        call: CallId::mint(at(0), seed_of(1_000_000 + n)),
        at: at(i64::try_from(n).unwrap()),
        agent_name: "Agent of many".into(),
        agent_id: agent_id(77),
        member_id: member_id(777),
        service: "many".into(),
        tool: format!("many_{tool}"),
        ..like.clone()
    }
}

/// One row takes 4,096 subjects; here are 10,000, some of them called again in another batch.
pub(super) async fn suite(store: &Store, like: &AuditRow, dice: &mut Dice) {
    let node = store.node_id();
    let rows: Vec<AuditRow> =
        (0..14_000).map(|n| call(like, n, if n < 10_000 { n } else { dice.below(10_000) })).collect();
    for batch in rows.chunks(2_000) {
        store.audit().append(node, &written(batch), &place(20)).await.unwrap();
    }
    let sight = Sight::Account { owned: vec![agent_id(77)], own: Vec::new() };
    let question = StatisticsQuestion { sight: sight.clone(), from: at(0), to: at(20_000) };
    let tools = store.statistics().tools(&question).await.unwrap();
    let mut expected: BTreeMap<&str, Vec<&AuditRow>> = BTreeMap::new();
    rows.iter().for_each(|row| expected.entry(&row.tool).or_default().push(row));
    assert_eq!(tools.len(), expected.len());
    for tool in &tools {
        assert_eq!(tool.counted, counted(expected[tool.tool.as_str()].iter().copied()), "{}", tool.tool);
    }
    let all = store.statistics().series(&question, StatisticSpan::Hour).await.unwrap();
    assert_eq!(all[0].counted, counted(rows.iter()));
    for (tool, least) in [("MANY_999", 11), ("many", 14_000), ("many_12345", 0)] {
        let filter = AuditFilter { sight: sight.clone(), tool: Some(tool.into()), ..Default::default() };
        let total = store.audit().query(&filter).await.unwrap().total;
        let found = rows.iter().filter(|row| filter.lets_through(row)).count() as u64;
        assert!(found >= least && total.count == found && !total.estimated, "{tool}: {total:?}, {found}");
    }
    assert_eq!(store.audit().forget(node, 9).await.unwrap(), 14_000 + SEGMENT);
    assert!(store.statistics().tools(&question).await.unwrap().is_empty());
}
