//! Accounts, what they sign in with, and what they own.

use uuid::Uuid;

use super::*;
use crate::model::{Account, AccountId, AccountStatus, EmailAddress, Scope, TokenId, WebSessionId};

pub(super) async fn suite(store: &Store) {
    sessions(store).await;
    tokens(store).await;
    links(store).await;
    shut_out(store).await;
    adopted(store).await;
}

fn email(text: &str) -> EmailAddress {
    EmailAddress::parse(text).unwrap()
}

async fn account(store: &Store, n: u8, text: &str) -> Account {
    let (id, status) = (AccountId::mint(at(0), seed(n)), AccountStatus::Active);
    let account = Account { id, email: email(text), status, created_at: at(0) };
    store.accounts().create(&account).await.unwrap();
    account
}

fn session(n: u8, account: &Account, seen: i64) -> WebSessionRow {
    WebSessionRow {
        id: WebSessionId::mint(at(0), seed(n)),
        account: account.id,
        digest: [n; 32],
        user_agent: "a browser".into(),
        caller_ip: "2001:db8::7".parse().unwrap(),
        created_at: at(seen),
        last_seen_at: at(seen),
        expires_at: at(100_000),
        ended_at: None,
    }
}

fn token(n: u8, account: &Account) -> TokenRow {
    TokenRow {
        id: TokenId::mint(at(0), seed(n)),
        account: account.id,
        name: "nightly".into(),
        scopes: vec![Scope::AuditRead],
        digest: [n; 32],
        display_suffix: "abcd".into(),
        created_at: at(i64::from(n)),
        expires_at: at(100_000),
        last_used_at: None,
        revoked_at: None,
    }
}

fn link(n: u8, text: &str, created: i64) -> SignInLinkRow {
    SignInLinkRow {
        id: Uuid::from_bytes([n; 16]),
        email: email(text),
        digest: [n; 32],
        created_at: at(created),
        expires_at: at(created + 600_000),
    }
}

async fn sessions(store: &Store) {
    let (ann, bob) = (account(store, 1, "sessions@a.com").await, account(store, 2, "sessions@b.com").await);
    let rows = store.web_sessions();
    let live = async |now: i64, seen_after: i64| -> Vec<u8> {
        let found = rows.live(ann.id, at(now), at(seen_after)).await.unwrap();
        found.into_iter().map(|session| session.digest[0]).collect()
    };
    for (n, seen) in [(1, 10), (2, 20), (3, 30)] {
        rows.open(&session(n, &ann, seen), 3).await.unwrap();
    }
    rows.open(&session(9, &bob, 5), 3).await.unwrap();
    let first = session(1, &ann, 10);
    assert_eq!(rows.by_digest(&[1; 32]).await.unwrap(), Some((first.clone(), ann.clone())));
    assert_eq!(rows.by_digest(&[77; 32]).await.unwrap(), None);
    assert!(first.is_live(at(10 + 49), 50) && !first.is_live(at(10 + 50), 50), "idle");
    assert!(!first.is_live(at(100_000), i64::MAX / 2), "old");

    rows.touch(first.id, at(40)).await.unwrap();
    rows.touch(first.id, at(15)).await.unwrap();
    assert_eq!(live(50, 0).await, [1, 3, 2]);
    assert_eq!(live(50, 20).await, [1, 3]);
    assert!(live(100_000, 0).await.is_empty());
    rows.open(&session(4, &ann, 50), 3).await.unwrap();
    assert_eq!(live(50, 0).await, [4, 1, 3], "the one seen longest ago is ended");
    rows.open(&session(10, &bob, 50), 3).await.unwrap();

    assert!(matches!(rows.end(bob.id, first.id, at(60)).await, Err(StoreError::NotFound { .. })));
    rows.end(ann.id, first.id, at(60)).await.unwrap();
    assert!(matches!(rows.end(ann.id, first.id, at(61)).await, Err(StoreError::NotFound { .. })));
    assert_eq!(rows.by_digest(&[1; 32]).await.unwrap().unwrap().0.ended_at, Some(at(60)));
    assert_eq!(rows.end_others(ann.id, session(4, &ann, 0).id, at(61)).await.unwrap(), 1);
    assert_eq!(live(62, 0).await, [4]);
    assert_eq!(rows.live(bob.id, at(62), at(0)).await.unwrap().len(), 2);
    rows.purge(at(61)).await.unwrap();
    assert_eq!(rows.by_digest(&[1; 32]).await.unwrap(), None);
    assert!(rows.by_digest(&[3; 32]).await.unwrap().is_some(), "ended at 61, and kept");
    let nobody = Account { id: AccountId::mint(at(0), seed(99)), ..ann };
    assert!(matches!(rows.open(&session(5, &nobody, 1), 3).await, Err(StoreError::NotFound { .. })));
}

async fn tokens(store: &Store) {
    let ann = account(store, 3, "tokens@a.com").await;
    let rows = store.tokens();
    rows.create(&token(21, &ann), 2).await.unwrap();
    rows.create(&token(22, &ann), 2).await.unwrap();
    let full = rows.create(&token(23, &ann), 2).await.unwrap_err();
    assert!(matches!(full, StoreError::Conflict { noun: "token", .. }), "{full}");
    let first = token(21, &ann);
    rows.revoke(first.id, at(200)).await.unwrap();
    rows.revoke(first.id, at(300)).await.unwrap();
    assert_eq!(rows.get(first.id).await.unwrap().revoked_at, Some(at(200)));
    rows.create(&token(23, &ann), 2).await.unwrap();
    rows.touch(token(22, &ann).id, at(500)).await.unwrap();
    rows.touch(token(22, &ann).id, at(400)).await.unwrap();
    let (found, whose) = rows.by_digest(&[22; 32]).await.unwrap().unwrap();
    assert_eq!((found.last_used_at, whose), (Some(at(500)), ann.clone()));
    let listed = async |limit, offset| {
        let (rows, total) = rows.list(ann.id, limit, offset).await.unwrap();
        (rows.iter().map(|row| row.digest[0]).collect::<Vec<_>>(), total)
    };
    assert_eq!(listed(10, 0).await, (vec![23, 22, 21], 3));
    assert_eq!(listed(1, 1).await, (vec![22], 3));
    assert_eq!(listed(10, 3).await, (vec![], 3));
    let open = rows.open(ann.id, at(600)).await.unwrap();
    assert_eq!(open.iter().map(|row| row.digest[0]).collect::<Vec<_>>(), [23, 22]);
    rows.purge(at(201)).await.unwrap();
    assert!(matches!(rows.get(first.id).await, Err(StoreError::NotFound { .. })));
    assert_eq!(listed(10, 0).await.1, 2);
}

async fn links(store: &Store) {
    let ann = account(store, 4, "links@a.com").await;
    let rows = store.sign_in_links();
    assert_eq!(rows.may(&ann.email, at(0)).await.unwrap(), MaySignIn::Account);
    assert_eq!(rows.may(&email("nobody@a.com"), at(0)).await.unwrap(), MaySignIn::No);
    for n in 1..=3 {
        assert!(rows.create(&link(n, "links@a.com", i64::from(n)), 3).await.unwrap());
    }
    assert!(!rows.create(&link(4, "links@a.com", 10), 3).await.unwrap(), "the fourth of the hour");
    assert!(rows.create(&link(5, "other@a.com", 10), 3).await.unwrap(), "another's");
    assert!(rows.create(&link(6, "links@a.com", 3_600_001), 3).await.unwrap(), "the first is an hour old");
    assert_eq!(rows.look(&[1; 32], at(50)).await.unwrap(), Some(ann.email.clone()));
    assert_eq!(rows.look(&[1; 32], at(600_001)).await.unwrap(), None, "over");
    assert!(!rows.take(&[1; 32], at(600_001)).await.unwrap(), "over");
    assert!(!rows.take(&[77; 32], at(50)).await.unwrap());
    let mut at_once = Vec::new();
    for _ in 0..8 {
        let store = store.clone();
        at_once
            .push(tokio::spawn(async move { store.sign_in_links().take(&[2; 32], at(50)).await.unwrap() }));
    }
    let mut taken = 0;
    for one in at_once {
        taken += u32::from(one.await.unwrap());
    }
    assert_eq!(taken, 1, "used once, whoever comes at the same time");
    assert_eq!(rows.look(&[2; 32], at(50)).await.unwrap(), None);
    rows.purge(at(3_600_003)).await.unwrap();
    assert!(rows.create(&link(7, "links@a.com", 3_600_004), 3).await.unwrap());

    // An invite lets in whoever it is for, as long as it is open.
    let owner = agent(60, "inviting");
    store.agents().create(&owner).await.unwrap();
    for (n, (revoked, used, expires), expect) in [
        (1, ("NULL", "NULL", 100), MaySignIn::Invited),
        (2, ("NULL", "NULL", 50), MaySignIn::No),
        (3, ("1", "NULL", 100), MaySignIn::No),
        (4, ("NULL", "1", 100), MaySignIn::No),
    ] {
        use sea_orm::ConnectionTrait as _;
        let text = format!(
            "INSERT INTO invite (id, agent_id, email, created_at, expires_at, revoked_at, used_at) VALUES \
             ('{}', '{}', 'invited{n}@a.com', 0, {}, {revoked}, {used})",
            Uuid::from_bytes([n; 16]),
            owner.id.as_uuid(),
            at(expires).as_millis(),
        );
        store.connection.execute_unprepared(&text).await.unwrap();
        assert_eq!(rows.may(&email(&format!("invited{n}@a.com")), at(50)).await.unwrap(), expect, "{n}");
    }
    store.agents().delete(owner.id).await.unwrap();
}

async fn shut_out(store: &Store) {
    let (ann, bob) = (account(store, 5, "shut@a.com").await, account(store, 6, "shut@b.com").await);
    for (n, whose) in [(41, &ann), (42, &bob)] {
        store.web_sessions().open(&session(n, whose, 1), 3).await.unwrap();
        store.tokens().create(&token(n, whose), 3).await.unwrap();
        assert!(store.sign_in_links().create(&link(n, whose.email.as_str(), 1), 3).await.unwrap());
    }
    let generation = store.generation().await.unwrap();
    assert_eq!(store.accounts().disable(ann.id, at(100)).await.unwrap(), (1, 1));
    assert_eq!(store.accounts().get(ann.id).await.unwrap().status, AccountStatus::Disabled);
    assert_eq!(store.web_sessions().by_digest(&[41; 32]).await.unwrap().unwrap().0.ended_at, Some(at(100)));
    assert_eq!(store.tokens().get(token(41, &ann).id).await.unwrap().revoked_at, Some(at(100)));
    assert_eq!(store.sign_in_links().look(&[41; 32], at(100)).await.unwrap(), None);
    assert_eq!(store.sign_in_links().may(&ann.email, at(100)).await.unwrap(), MaySignIn::No);
    let opened = store.web_sessions().open(&session(43, &ann, 1), 3).await.unwrap_err();
    assert!(matches!(opened, StoreError::Conflict { noun: "account", .. }), "{opened}");
    let made = store.tokens().create(&token(43, &ann), 3).await.unwrap_err();
    assert!(matches!(made, StoreError::Conflict { noun: "account", .. }), "{made}");
    store.accounts().enable(ann.id).await.unwrap();
    assert_eq!(store.accounts().get(ann.id).await.unwrap(), ann);
    assert!(store.tokens().get(token(41, &ann).id).await.unwrap().revoked_at.is_some(), "for good");
    assert!(store.web_sessions().by_digest(&[42; 32]).await.unwrap().unwrap().0.ended_at.is_none());
    assert!(store.sign_in_links().look(&[42; 32], at(100)).await.unwrap().is_some());
    assert_eq!(store.generation().await.unwrap(), generation, "the data plane knows no accounts");
    let nobody = AccountId::mint(at(0), seed(98));
    assert!(matches!(store.accounts().disable(nobody, at(1)).await, Err(StoreError::NotFound { .. })));
    assert!(matches!(store.accounts().enable(nobody).await, Err(StoreError::NotFound { .. })));
}

async fn adopted(store: &Store) {
    let (ann, bob) = (account(store, 7, "owner@a.com").await, account(store, 8, "owner@b.com").await);
    let one = agent(61, "adopted");
    store.agents().create(&one).await.unwrap();
    let operators = Member { status: MemberStatus::Pending, ..member(62, one.id, "owner@a.com") };
    store.members().create(&operators).await.unwrap();
    let fresh = |n, account: &Account| Member {
        role: Role::Owner,
        account: Some(account.id),
        ..member(n, one.id, account.email.as_str())
    };
    let generation = store.generation().await.unwrap();
    let raised = store.accounts().adopt(one.id, &ann, &fresh(63, &ann)).await.unwrap();
    assert_eq!(raised.get(), generation.get() + 1);
    assert_eq!(store.agents().get(one.id).await.unwrap().owner, Some(ann.id));
    let own = store.members().get(operators.id).await.unwrap();
    assert_eq!((own.role, own.status, own.account), (Role::Owner, MemberStatus::Approved, Some(ann.id)));
    assert_eq!(store.accounts().owned(ann.id).await.unwrap(), ["adopted"]);

    store.accounts().adopt(one.id, &bob, &fresh(64, &bob)).await.unwrap();
    assert_eq!(store.agents().get(one.id).await.unwrap().owner, Some(bob.id));
    assert_eq!(store.members().get(operators.id).await.unwrap().role, Role::Member, "and stays a member");
    assert_eq!(store.members().of_account(one.id, bob.id).await.unwrap().unwrap(), fresh(64, &bob));
    assert!(store.accounts().owned(ann.id).await.unwrap().is_empty());
    let gone = AgentId::mint(at(0), seed(97));
    assert!(matches!(
        store.accounts().adopt(gone, &ann, &fresh(65, &ann)).await,
        Err(StoreError::NotFound { .. })
    ));
    store.agents().delete(one.id).await.unwrap();
}
