//! Stored policies: made, changed by who saw the newest version, paged, counted, kept with their versions.

use std::collections::BTreeMap;

use super::*;
use crate::model::{
    GroupName, PolicyEffect, PolicyId, PolicyKey, PolicyMode, PolicyPrincipal, PolicyText, ServiceKey,
    StructuredPolicy,
};
use crate::store::policies::row_of;
use sea_orm::EntityTrait as _;

pub(super) async fn suite(store: &Store) {
    let owner = agent(101, "shelf");
    let other = agent(102, "shelf two");
    for agent in [&owner, &other] {
        store.agents().create(agent).await.unwrap();
    }
    changes(store, &owner, &other).await;
    pages(store, &owner).await;
    uses(store, &owner).await;
    people(store, &other).await;
    ends(store, &owner, &other).await;
}

fn service(name: &str) -> ServiceKey {
    ServiceKey::parse(name).unwrap()
}

fn policy(n: u8, agent: &Agent, name: &str) -> PolicyRow {
    let form = StructuredPolicy {
        tools: [crate::model::ToolName::parse("delete_file").unwrap()].into(),
        deny_message: Some("no".into()),
        ..StructuredPolicy::new(name.to_owned(), service("github"), PolicyEffect::Forbid)
    };
    PolicyRow {
        id: PolicyId::mint(at(i64::from(n)), seed(n)),
        agent: agent.id,
        member: None,
        key: PolicyKey::parse(&name.to_lowercase().replace(' ', "-")).unwrap(),
        name: name.to_owned(),
        service: Some(service("github")),
        effect: PolicyEffect::Forbid,
        enabled: true,
        mode: PolicyMode::Enforced,
        version: 1,
        text: PolicyText::Structured(Box::new(form)),
        cedar: format!("// {name}\n"),
        created_at: at(i64::from(n)),
        updated_at: at(i64::from(n)),
        updated_by: "uid:1".into(),
    }
}

async fn changes(store: &Store, owner: &Agent, other: &Agent) {
    let policies = store.policies();
    let first = policy(1, owner, "No deletes");
    let before = store.generation().await.unwrap();
    assert!(policies.create(&first, None).await.unwrap() > before);
    assert_eq!(policies.get(owner.id, first.id).await.unwrap(), first);
    assert_eq!(policies.get_by_key(owner.id, "no-deletes").await.unwrap(), first);
    // Another agent's policy is not there, whoever knows its id.
    assert!(matches!(policies.get(other.id, first.id).await, Err(StoreError::NotFound { .. })));
    assert!(matches!(policies.delete(other.id, first.id, 1).await, Err(StoreError::NotFound { .. })));
    // A key is the agent's only one, and another agent may have it as well.
    let twin = PolicyRow { id: PolicyId::mint(at(9), seed(9)), ..first.clone() };
    assert!(matches!(policies.create(&twin, None).await, Err(StoreError::Conflict { .. })));
    policies.create(&PolicyRow { agent: other.id, ..twin }, None).await.unwrap();
    let nowhere = PolicyRow { id: PolicyId::mint(at(8), seed(8)), ..policy(8, &agent(99, "gone"), "x") };
    assert!(matches!(policies.create(&nowhere, None).await, Err(StoreError::NotFound { noun: "agent", .. })));

    let text = PolicyText::Cedar("forbid (principal, action, resource);".into());
    let second = PolicyRow { version: 2, text, name: "Other".into(), enabled: false, ..first.clone() };
    policies.update(&second, Some("because")).await.unwrap();
    assert_eq!(policies.get(owner.id, first.id).await.unwrap(), second);
    assert_eq!(second.stored().mode, PolicyMode::Off);
    // Whoever saw the version before does not undo it; nothing of the attempt remains.
    let generation = store.generation().await.unwrap();
    let late = PolicyRow { version: 2, name: "Late".into(), ..first.clone() };
    assert!(matches!(policies.update(&late, None).await, Err(StoreError::Outdated { noun: "policy" })));
    assert!(matches!(policies.delete(owner.id, first.id, 1).await, Err(StoreError::Outdated { .. })));
    assert_eq!(store.generation().await.unwrap(), generation);
    assert_eq!(policies.get(owner.id, first.id).await.unwrap(), second);

    let (versions, total) = policies.versions(first.id, (10, 0)).await.unwrap();
    assert_eq!((versions.len(), total), (2, 2));
    let (newest, oldest) = (&versions[0], &versions[1]);
    assert_eq!((newest.version, newest.comment.as_deref(), newest.enabled), (2, Some("because"), false));
    assert_eq!((oldest.version, &oldest.text, &oldest.name), (1, &first.text, &first.name));
    assert_eq!(policies.versions(first.id, (1, 1)).await.unwrap(), (vec![oldest.clone()], 2));
    assert_eq!(policies.version(first.id, 1).await.unwrap(), *oldest);
    assert!(matches!(policies.version(first.id, 3).await, Err(StoreError::NotFound { .. })));
    policies.update(&PolicyRow { version: 3, ..first.clone() }, None).await.unwrap();
}

async fn pages(store: &Store, owner: &Agent) {
    let policies = store.policies();
    let mona = member(110, owner.id, "mona");
    store.members().create(&mona).await.unwrap();
    for row in [
        PolicyRow {
            service: Some(service("slack")),
            effect: PolicyEffect::Permit,
            ..policy(12, owner, "Alpha")
        },
        PolicyRow { enabled: false, mode: PolicyMode::Shadow, ..policy(13, owner, "beta 100") },
        PolicyRow { mode: PolicyMode::Shadow, service: None, ..policy(14, owner, "Gamma") },
        PolicyRow { member: Some(mona.id), ..policy(15, owner, "delta") },
    ] {
        policies.create(&row, None).await.unwrap();
    }
    let ask = async |bend: &dyn Fn(&mut PolicyQuery)| {
        let mut query = PolicyQuery::of(owner.id);
        bend(&mut query);
        let (rows, total) = policies.page(&query).await.unwrap();
        (rows.into_iter().map(|row| row.name).collect::<Vec<_>>(), total)
    };
    type Bend<'a> = &'a dyn Fn(&mut PolicyQuery);
    let all = ["Alpha", "beta 100", "delta", "Gamma", "No deletes"];
    let table: [(Bend<'_>, &[&str]); 17] = [
        (&|_| {}, &all),
        (&|q| q.descending = true, &["No deletes", "Gamma", "delta", "beta 100", "Alpha"]),
        (&|q| q.search = Some("ELT".into()), &["delta"]),
        (&|q| q.search = Some("no-del".into()), &["No deletes"]),
        (&|q| q.search = Some("0".into()), &["beta 100"]),
        (&|q| q.search = Some("_".into()), &[]),
        (&|q| q.service = Some(service("slack")), &["Alpha"]),
        (&|q| q.effect = Some(PolicyEffect::Permit), &["Alpha"]),
        (&|q| q.enabled = Some(false), &["beta 100"]),
        (&|q| q.mode = Some(PolicyMode::Off), &["beta 100"]),
        (&|q| q.mode = Some(PolicyMode::Shadow), &["Gamma"]),
        (&|q| q.mode = Some(PolicyMode::Enforced), &["Alpha", "delta", "No deletes"]),
        (&|q| q.member = Some(mona.id), &["delta"]),
        (&|q| q.sort = PolicySort::CreatedAt, &["No deletes", "Alpha", "beta 100", "Gamma", "delta"]),
        (&|q| q.sort = PolicySort::Service, &["Gamma", "No deletes", "beta 100", "delta", "Alpha"]),
        (
            &|q| (q.sort, q.descending) = (PolicySort::Effect, true),
            &["Alpha", "No deletes", "beta 100", "Gamma", "delta"],
        ),
        (&|q| q.limit = 0, &[]),
    ];
    for (number, (bend, expected)) in table.into_iter().enumerate() {
        assert_eq!(ask(bend).await.0, expected, "row {number}");
    }
    assert_eq!(ask(&|q| (q.limit, q.offset) = (2, 1)).await, (vec!["beta 100".into(), "delta".into()], 5));
    let missing = AgentId::mint(at(0), seed(250));
    let counts = policies.counts(&[owner.id, missing]).await.unwrap();
    assert_eq!(counts, BTreeMap::from([(owner.id, 5)]));
    assert_eq!(policies.keys(owner.id, 2).await.unwrap(), (vec!["alpha".into(), "beta-100".into()], 5));
}

/// What is counted is calls that this very policy determined, by its id.
async fn uses(store: &Store, owner: &Agent) {
    let node = Uuid::new_v7(uuid::Timestamp::now(uuid::NoContext));
    let rows = store.policies().of_agent(owner.id).await.unwrap();
    let named = |key: &str| rows.iter().find(|row| row.key.as_str() == key).unwrap().id;
    assert!(store.policies().uses(&rows).await.unwrap().is_empty());
    let call = |n: u8, key: &str, id: Option<PolicyId>, service: &str, millis: i64| AuditRow {
        service: service.into(),
        at: at(millis),
        policies: vec![crate::model::PolicyRef {
            key: PolicyKey::parse(key).unwrap(),
            name: std::sync::Arc::from(key),
            version: u32::from(n),
            id,
        }],
        ..audit::row(node, n)
    };
    let another = PolicyId::mint(at(0), seed(241));
    let calls = [
        call(1, "no-deletes", Some(named("no-deletes")), "github", 100),
        call(2, "no-deletes", Some(named("no-deletes")), "github", 5_000_300),
        call(3, "no-deletes", Some(named("no-deletes")), "slack", 5_000_100),
        // Of a file, of another agent, or of one that there was before.
        call(4, "no-deletes", None, "github", 9_000_000),
        call(5, "no-deletes", Some(another), "github", 9_000_000),
        call(6, "gamma", Some(named("gamma")), "slack", -86_400_000),
    ];
    let entries: Vec<AuditWrite> =
        calls.iter().cloned().map(|row| AuditWrite::Entry(Box::new(row))).collect();
    let position = AuditPosition { segment: "1".into(), offset: 1 };
    store.audit().append(node, &entries, &position).await.unwrap();
    let uses = store.policies().uses(&rows).await.unwrap();
    let of = |key: &str| uses.get(&named(key)).map(|uses| (uses.calls, uses.last.unwrap()));
    assert_eq!(of("no-deletes"), Some((3, at(5_000_300))));
    assert_eq!(of("gamma"), Some((1, at(-86_400_000))));
    assert_eq!((of("alpha"), of("delta")), (None, None));
    store.audit().clear(node).await.unwrap();
    assert!(store.policies().uses(&rows).await.unwrap().is_empty());
}

async fn people(store: &Store, agent: &Agent) {
    let reviewers = GroupName::parse("reviewers").unwrap();
    store.groups().create(agent.id, &reviewers, at(0)).await.unwrap();
    let people = [member(121, agent.id, "Ann"), member(122, agent.id, "ben"), member(123, agent.id, "Cid")];
    for one in &people {
        store.members().create(one).await.unwrap();
    }
    let waits = Member { status: MemberStatus::Pending, ..member(124, agent.id, "dan") };
    store.members().create(&waits).await.unwrap();
    for one in [&people[1], &waits] {
        store.groups().add_member(agent.id, &reviewers, one.id).await.unwrap();
    }
    let ask = async |principal: PolicyPrincipal, own, limit| {
        let (found, total) = store.members().spoken_of(agent.id, &principal, own, limit).await.unwrap();
        (found.into_iter().map(|(_, name)| name).collect::<Vec<_>>(), total)
    };
    let some =
        |ids: &[MemberId]| PolicyPrincipal::SpecificMembers { user_ids: ids.iter().copied().collect() };
    let group = || PolicyPrincipal::Groups { groups: [reviewers.clone()].into() };
    assert_eq!(ask(PolicyPrincipal::AllMembers, None, 2).await, (vec!["Ann".into(), "ben".into()], 3));
    assert_eq!(ask(PolicyPrincipal::AllMembers, Some(people[2].id), 2).await, (vec!["Cid".into()], 1));
    assert_eq!(ask(some(&[people[0].id, waits.id]), None, 9).await, (vec!["Ann".into()], 1));
    assert_eq!(ask(group(), None, 9).await, (vec!["ben".into()], 1));
    assert_eq!(ask(group(), Some(people[0].id), 9).await, (vec![], 0));
}

/// A member's policies go with the member, an agent's with the agent, versions with their policy.
async fn ends(store: &Store, owner: &Agent, other: &Agent) {
    let policies = store.policies();
    let own = policies.get_by_key(owner.id, "delta").await.unwrap();
    store.members().remove(own.member.unwrap()).await.unwrap();
    assert!(matches!(policies.get(owner.id, own.id).await, Err(StoreError::NotFound { .. })));
    assert_eq!(policies.versions(own.id, (9, 0)).await.unwrap().1, 0);
    let gone = policies.get_by_key(owner.id, "no-deletes").await.unwrap();
    policies.delete(owner.id, gone.id, gone.version).await.unwrap();
    assert_eq!(policies.versions(gone.id, (9, 0)).await.unwrap().1, 0);
    for agent in [owner, other] {
        store.agents().delete(agent.id).await.unwrap();
        assert!(policies.of_agent(agent.id).await.unwrap().is_empty());
    }
}

/// An agent has a bounded number, and a page of one agent among many is read by its index.
#[tokio::test]
async fn a_shelf_is_bounded_and_its_page_costs_what_it_shows() {
    use sea_orm::ConnectionTrait as _;
    let store = Store::open("sqlite::memory:").await.unwrap();
    let agents = [agent(1, "full"), agent(2, "small")];
    for agent in &agents {
        store.agents().create(agent).await.unwrap();
    }
    let many: Vec<_> = (0..POLICIES_PER_AGENT_MAX)
        .map(|n| {
            let id = PolicyId::mint(at(0), [1, 2, 3, 4, 5, 6, 7, 8, (n >> 8) as u8, n as u8]);
            let key = PolicyKey::parse(&format!("p{n}")).unwrap();
            row_of(&PolicyRow { id, key, ..policy(1, &agents[0], "Many") }).unwrap()
        })
        .collect();
    for some in many.chunks(500) {
        let insert = crate::store::policies::row::Entity::insert_many(some.to_vec());
        insert.exec_without_returning(&store.connection).await.unwrap();
    }
    let refused = store.policies().create(&policy(200, &agents[0], "One more"), None).await.unwrap_err();
    assert!(matches!(refused, StoreError::Conflict { noun: "policy", .. }), "{refused}");
    store.policies().create(&policy(201, &agents[1], "Lone"), None).await.unwrap();
    let statement = sea_orm::Statement::from_string(
        sea_orm::DbBackend::Sqlite,
        "EXPLAIN QUERY PLAN SELECT * FROM policy WHERE agent_id = 'x' ORDER BY folded, id LIMIT 50",
    );
    let plan = store.connection.query_all_raw(statement).await.unwrap();
    let plan: Vec<String> = plan.iter().map(|row| row.try_get("", "detail").unwrap()).collect();
    assert!(plan.iter().any(|step| step.contains("policy_by_folded")), "{plan:?}");
    assert!(!plan.iter().any(|step| step.contains("SCAN policy")), "{plan:?}");
}
