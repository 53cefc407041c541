//! Agents, members, groups and keys.

use super::*;
use crate::model::{GroupName, RateLimit, ServiceKey};

pub(super) async fn suite(store: &Store) {
    agents(store).await;
    members_and_groups(store).await;
    keys(store).await;
    one_live_key(store).await;
}

/// Runs a change and checks that it raised the generation by one.
macro_rules! changes {
    ($store:expr, $change:expr) => {{
        let before = $store.generation().await.unwrap().get();
        let after = $change.await.unwrap().get();
        assert_eq!(after, before + 1);
        assert_eq!($store.generation().await.unwrap().get(), after);
    }};
}

/// Runs a change that must fail, and checks that nothing moved.
macro_rules! refused {
    ($store:expr, $change:expr, $kind:pat) => {{
        let before = $store.directory().await.unwrap();
        let error = $change.await.unwrap_err();
        assert!(matches!(error, $kind), "{error:?}");
        assert_eq!($store.directory().await.unwrap(), before);
    }};
}

async fn agents(store: &Store) {
    let mut first = agent(1, "support");
    first.trust = TrustMode::Untrusted;
    first.services = [ServiceKey::parse("github").unwrap()].into();
    first.rate = Some(RateLimit { burst: 5, per_second: 0.25 });
    changes!(store, store.agents().create(&first));
    changes!(store, store.agents().create(&agent(2, "billing")));
    assert_eq!(store.agents().get(first.id).await.unwrap(), first);
    refused!(store, store.agents().create(&agent(3, "billing")), StoreError::Conflict { noun: "agent", .. });
    refused!(store, store.agents().rename(first.id, "billing"), StoreError::Conflict { .. });
    let missing = AgentId::mint(at(0), seed(99));
    refused!(store, store.agents().rename(missing, "x"), StoreError::NotFound { .. });
    refused!(store, store.agents().delete(missing), StoreError::NotFound { .. });
    assert!(matches!(store.agents().get_by_name("Support").await, Err(StoreError::NotFound { .. })));

    changes!(store, store.agents().set_status(first.id, AgentStatus::Disabled));
    changes!(store, store.agents().rename(first.id, "support 2"));
    changes!(store, store.agents().set_rate(first.id, None));
    let two: std::collections::BTreeSet<_> =
        ["linear", "slack"].iter().map(|s| ServiceKey::parse(s).unwrap()).collect();
    changes!(store, store.agents().set_services(first.id, &two));
    let expected = Agent {
        status: AgentStatus::Disabled,
        name: "support 2".to_owned(),
        rate: None,
        services: two,
        ..first.clone()
    };
    assert_eq!(store.agents().get_by_name("support 2").await.unwrap(), expected);
    let names: Vec<_> = store.agents().list().await.unwrap().into_iter().map(|a| a.name).collect();
    assert_eq!(names, ["billing", "support 2"]);
}

async fn members_and_groups(store: &Store) {
    let (one, other) = (agent(10, "one"), agent(11, "other"));
    store.agents().create(&one).await.unwrap();
    store.agents().create(&other).await.unwrap();
    let (ann, ben) = (member(20, one.id, "ann"), member(21, one.id, "ben"));
    changes!(store, store.members().create(&ann));
    changes!(store, store.members().create(&ben));
    changes!(store, store.members().create(&member(22, other.id, "ann")));
    refused!(store, store.members().create(&member(23, one.id, "ann")), StoreError::Conflict { .. });
    let orphan = member(24, AgentId::mint(at(0), seed(77)), "zoe");
    refused!(store, store.members().create(&orphan), StoreError::NotFound { .. });
    assert_eq!(store.members().find(one.id, "ann").await.unwrap(), ann);

    let (ops, dev) = (GroupName::parse("ops").unwrap(), GroupName::parse("dev").unwrap());
    changes!(store, store.groups().create(one.id, &ops, at(1)));
    changes!(store, store.groups().create(one.id, &dev, at(2)));
    changes!(store, store.groups().create(other.id, &ops, at(3)));
    refused!(store, store.groups().create(one.id, &ops, at(4)), StoreError::Conflict { noun: "group", .. });
    changes!(store, store.groups().add_member(one.id, &ops, ann.id));
    changes!(store, store.groups().add_member(one.id, &ops, ann.id));
    changes!(store, store.groups().add_member(one.id, &dev, ann.id));
    changes!(store, store.groups().add_member(one.id, &ops, ben.id));
    let foreign = MemberId::mint(at(0), seed(22));
    refused!(store, store.groups().add_member(one.id, &ops, foreign), StoreError::NotFound { .. });
    refused!(store, store.groups().remove_member(one.id, &dev, ben.id), StoreError::NotFound { .. });
    let both = [dev.clone(), ops.clone()].into();
    assert_eq!(store.members().get(ann.id).await.unwrap().groups, both);
    let eve = Member { groups: both, ..member(25, one.id, "eve") };
    changes!(store, store.members().create(&eve));
    let groups = store.groups().list(one.id).await.unwrap();
    assert_eq!(
        groups.iter().map(|g| (g.name.as_str(), g.members.len())).collect::<Vec<_>>(),
        [("dev", 2), ("ops", 3)]
    );
    changes!(store, store.groups().remove_member(one.id, &ops, ben.id));
    changes!(store, store.groups().delete(one.id, &dev));
    let listed = store.members().list(one.id).await.unwrap();
    let shown: Vec<_> = listed.iter().map(|m| (m.name.as_str(), m.groups.len())).collect();
    assert_eq!(shown, [("ann", 1), ("ben", 0), ("eve", 1)]);
    changes!(store, store.members().set_status(ben.id, MemberStatus::Rejected));
    assert_eq!(store.members().get(ben.id).await.unwrap().status, MemberStatus::Rejected);

    let directory = store.directory().await.unwrap();
    assert_eq!(
        directory.members.iter().filter(|m| m.agent_id == one.id).cloned().collect::<Vec<_>>(),
        store.members().list(one.id).await.unwrap()
    );
    changes!(store, store.agents().delete(one.id));
    assert!(matches!(store.members().get(ann.id).await, Err(StoreError::NotFound { .. })));
    assert!(store.groups().list(one.id).await.unwrap().is_empty());
    assert_eq!(store.members().list(other.id).await.unwrap().len(), 1);
}

async fn keys(store: &Store) {
    let owner = agent(30, "keyed");
    let ann = member(31, owner.id, "ann");
    store.agents().create(&owner).await.unwrap();
    store.members().create(&ann).await.unwrap();
    let first = KeyRow { rate: Some(RateLimit::default()), ..key(40, ann.id) };
    changes!(store, store.keys().insert(&first));
    assert_eq!(store.keys().get(first.id).await.unwrap(), first);
    refused!(store, store.keys().insert(&key(41, ann.id)), StoreError::Conflict { noun: "key", .. });
    changes!(store, store.keys().rotate(&key(42, ann.id)));
    assert_eq!(store.keys().get(first.id).await.unwrap().revoked_at, Some(at(42)));
    let live: Vec<_> =
        store.directory().await.unwrap().keys.into_iter().filter(|k| k.member_id == ann.id).collect();
    assert_eq!(live, [key(42, ann.id)]);
    let twin = KeyRow { index: [42; 16], ..key(43, ann.id) };
    refused!(store, store.keys().rotate(&twin), StoreError::Conflict { .. });
    changes!(store, store.keys().revoke(key(42, ann.id).id, at(100)));
    changes!(store, store.keys().revoke(key(42, ann.id).id, at(200)));
    assert_eq!(store.keys().get(key(42, ann.id).id).await.unwrap().revoked_at, Some(at(100)));
    changes!(store, store.keys().insert(&key(44, ann.id)));
    changes!(store, store.keys().set_rate(key(44, ann.id).id, Some(RateLimit { burst: 1, per_second: 1.0 })));

    let generation = store.generation().await.unwrap();
    let gone = KeyId::mint(at(0), seed(98));
    store.keys().touch_last_used(&[(key(44, ann.id).id, at(500)), (gone, at(1))]).await.unwrap();
    store.keys().touch_last_used(&[(key(44, ann.id).id, at(400))]).await.unwrap();
    assert_eq!(store.keys().get(key(44, ann.id).id).await.unwrap().last_used_at, Some(at(500)));
    assert_eq!(store.generation().await.unwrap(), generation);
    let order: Vec<_> = store.keys().list(ann.id).await.unwrap().into_iter().map(|k| k.index[0]).collect();
    assert_eq!(order, [44, 42, 40]);
    changes!(store, store.members().remove(ann.id));
    assert!(store.keys().list(ann.id).await.unwrap().is_empty());
}

/// However many rotate and insert at once, one key is live in the end.
async fn one_live_key(store: &Store) {
    let owner = agent(50, "contended");
    let ann = member(51, owner.id, "ann");
    store.agents().create(&owner).await.unwrap();
    store.members().create(&ann).await.unwrap();
    let mut tasks = Vec::new();
    for n in 100..116_u8 {
        let (store, row) = (store.clone(), key(n, ann.id));
        tasks.push(tokio::spawn(async move {
            if n % 2 == 0 { store.keys().rotate(&row).await } else { store.keys().insert(&row).await }
        }));
    }
    for task in tasks {
        let done = task.await.unwrap();
        assert!(matches!(done, Ok(_) | Err(StoreError::Conflict { .. })), "{done:?}");
    }
    let live = store.keys().list(ann.id).await.unwrap().into_iter().filter(|k| k.revoked_at.is_none());
    assert_eq!(live.count(), 1);
}
