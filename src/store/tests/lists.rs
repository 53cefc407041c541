//! What the control API reads and writes: agents as an account sees them, edits that are judged, pages of
//! members, invites, groups and sessions.

use std::collections::BTreeSet;

use super::*;
use crate::model::{
    Account, AccountId, AccountStatus, ConversationId, EmailAddress, GroupName, InviteId, ServiceKey,
    SessionId,
};

pub(super) async fn suite(store: &Store) {
    let (ann, ben) =
        (account(store, 201, "ann@lists.example").await, account(store, 202, "ben@lists.example").await);
    seen(store, &ann, &ben).await;
    edits(store).await;
    pages(store).await;
    invites(store, &ann).await;
    sessions(store).await;
    let census = store.census().await.unwrap();
    let directory = store.directory().await.unwrap();
    assert_eq!(census.generation, directory.generation);
    let sizes = (directory.agents.len(), directory.members.len(), directory.keys.len());
    assert_eq!(
        (census.agents, census.members, census.keys),
        (sizes.0 as u64, sizes.1 as u64, sizes.2 as u64)
    );
}

async fn account(store: &Store, n: u8, email: &str) -> Account {
    let account = Account {
        id: AccountId::mint(at(0), seed(n)),
        email: EmailAddress::parse(email).unwrap(),
        status: AccountStatus::Active,
        created_at: at(0),
    };
    store.accounts().create(&account).await.unwrap();
    account
}

fn owned(n: u8, name: &str, owner: &Account, tags: &[&str]) -> Agent {
    let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
    Agent { owner: Some(owner.id), tags, created_at: at(i64::from(n)), ..agent(n, name) }
}

fn part(n: u8, agent: &Agent, of: &Account) -> Member {
    Member { account: Some(of.id), ..member(n, agent.id, of.email.as_str()) }
}

fn question(account: &Account) -> AgentQuery {
    AgentQuery {
        account: account.id,
        search: None,
        status: None,
        role: None,
        sort: AgentSort::Name,
        descending: false,
        limit: 50,
        offset: 0,
    }
}

async fn seen(store: &Store, ann: &Account, ben: &Account) {
    let agents = [
        owned(210, "zulu", ann, &["Größe"]),
        owned(211, "Alpha", ann, &["eng"]),
        owned(212, "mike", ben, &["ENG"]),
        owned(213, "kilo", ben, &[]),
    ];
    for (n, agent) in (220..).zip(&agents) {
        let owner = if agent.owner == Some(ann.id) { ann } else { ben };
        store.agents().create_with(agent, Some(&part(n, agent, owner))).await.unwrap();
    }
    store.agents().create(&agent(214, "nobody's")).await.unwrap();
    let guest = part(230, &agents[2], ann);
    store.members().create(&guest).await.unwrap();
    let refused = Member { status: MemberStatus::Rejected, ..part(231, &agents[3], ann) };
    store.members().create(&refused).await.unwrap();
    store.keys().insert(&key(240, guest.id)).await.unwrap();

    let names = async |query: AgentQuery| {
        let (seen, total) = store.agents().seen_by(&query).await.unwrap();
        (seen.into_iter().map(|seen| seen.agent.name).collect::<Vec<_>>(), total)
    };
    let of = |query: &dyn Fn(&mut AgentQuery)| {
        let mut asked = question(ann);
        query(&mut asked);
        asked
    };
    type Bend<'a> = &'a dyn Fn(&mut AgentQuery);
    let table: [(Bend<'_>, &[&str]); 12] = [
        (&|_| {}, &["Alpha", "mike", "zulu"]),
        (&|q| q.descending = true, &["zulu", "mike", "Alpha"]),
        (&|q| q.role = Some(Role::Owner), &["Alpha", "zulu"]),
        (&|q| q.role = Some(Role::Member), &["mike"]),
        (&|q| q.search = Some("ENG".into()), &["Alpha", "mike"]),
        (&|q| q.search = Some("grÖ".into()), &["zulu"]),
        (&|q| q.search = Some("%".into()), &[]),
        (&|q| q.status = Some(AgentStatus::Disabled), &[]),
        (&|q| q.sort = AgentSort::CreatedAt, &["zulu", "Alpha", "mike"]),
        (&|q| (q.sort, q.descending) = (AgentSort::MemberCount, true), &["mike", "zulu", "Alpha"]),
        (&|q| q.sort = AgentSort::Status, &["zulu", "Alpha", "mike"]),
        (&|q| q.limit = 0, &[]),
    ];
    for (number, (bend, expected)) in table.into_iter().enumerate() {
        assert_eq!(names(of(bend)).await.0, expected, "row {number}");
    }
    assert_eq!(names(of(&|q| (q.limit, q.offset) = (1, 1))).await, (vec!["mike".to_owned()], 3));

    let (all, _) = store.agents().seen_by(&question(ann)).await.unwrap();
    let mike = all.iter().find(|seen| seen.agent.name == "mike").unwrap();
    assert_eq!((mike.member.as_ref(), mike.member_count), (Some(&guest), 2));
    assert_eq!(mike.key.as_ref().unwrap().display_suffix, "k240");
    let alone = store.agents().as_seen_by(agents[2].clone(), ann.id).await.unwrap();
    assert_eq!(&alone, mike);
    let stranger = store.agents().as_seen_by(agents[0].clone(), ben.id).await.unwrap();
    assert_eq!((stranger.member, stranger.key, stranger.member_count), (None, None, 1));
    assert_eq!(store.agents().count_owned(ann.id).await.unwrap(), 2);
    let (some, total) = store.agents().names(2).await.unwrap();
    assert!(some.len() == 2 && total >= 5, "{some:?} of {total}");
}

async fn edits(store: &Store) {
    let before = Agent { tags: vec!["one".into()], ..agent(215, "edited") };
    store.agents().create(&before).await.unwrap();
    let services: BTreeSet<_> = [ServiceKey::parse("github").unwrap()].into();
    let edit = AgentEdit { services: Some(services), tags: Some(vec!["two".into()]), ..AgentEdit::default() };
    let generation = store.generation().await.unwrap();
    let error = store.agents().edit(before.id, &edit, &|_| false).await.unwrap_err();
    assert!(matches!(error, StoreError::Outdated { noun: "agent" }), "{error}");
    let error = store.agents().delete_if(before.id, &|_| false).await.unwrap_err();
    assert!(matches!(error, StoreError::Outdated { .. }), "{error}");
    assert_eq!(store.generation().await.unwrap(), generation, "nothing of a refused change remains");
    let (after, edited) = store.agents().edit(before.id, &edit, &|now| *now == before).await.unwrap();
    assert_eq!(after.get(), generation.get() + 1);
    assert_eq!(edited, edit.applied(&before));
    assert_eq!(store.agents().get(before.id).await.unwrap(), edited);
    let taken = AgentEdit { name: Some("Alpha".into()), ..AgentEdit::default() };
    let error = store.agents().edit(before.id, &taken, &|_| true).await.unwrap_err();
    assert!(matches!(error, StoreError::Conflict { noun: "agent", .. }), "{error}");
}

async fn pages(store: &Store) {
    let agent = agent(216, "pages");
    store.agents().create(&agent).await.unwrap();
    let people =
        [("Zoe", 1), ("adam", 2), ("Bob_1", 3), ("carl", 4)].map(|(name, n)| member(100 + n, agent.id, name));
    for member in &people {
        store.members().create(member).await.unwrap();
    }
    let leads = GroupName::parse("leads").unwrap();
    store.groups().create(agent.id, &leads, at(0)).await.unwrap();
    store.groups().create(agent.id, &GroupName::parse("empty").unwrap(), at(0)).await.unwrap();
    store.groups().add_member(agent.id, &leads, people[1].id).await.unwrap();
    store.groups().add_member(agent.id, &leads, people[2].id).await.unwrap();
    store.members().set_status(people[3].id, MemberStatus::Pending).await.unwrap();
    store.keys().insert(&key(241, people[1].id)).await.unwrap();
    let all = MemberQuery {
        agent: agent.id,
        member: None,
        search: None,
        status: None,
        group: None,
        sort: MemberSort::Name,
        descending: false,
        limit: 50,
        offset: 0,
    };
    let names = async |query: MemberQuery| {
        let (rows, total) = store.members().page(&query).await.unwrap();
        (rows.into_iter().map(|row| row.member.name).collect::<Vec<_>>(), total)
    };
    for (query, expected) in [
        (all.clone(), &["adam", "Bob_1", "carl", "Zoe"][..]),
        (MemberQuery { descending: true, ..all.clone() }, &["Zoe", "carl", "Bob_1", "adam"]),
        (MemberQuery { sort: MemberSort::CreatedAt, ..all.clone() }, &["Zoe", "adam", "Bob_1", "carl"]),
        (
            MemberQuery { sort: MemberSort::Status, descending: true, ..all.clone() },
            &["carl", "Zoe", "adam", "Bob_1"],
        ),
        (MemberQuery { search: Some("B_".into()), ..all.clone() }, &["Bob_1"]),
        (MemberQuery { status: Some(MemberStatus::Pending), ..all.clone() }, &["carl"]),
        (MemberQuery { group: Some(leads.clone()), ..all.clone() }, &["adam", "Bob_1"]),
        (MemberQuery { group: Some(GroupName::parse("empty").unwrap()), ..all.clone() }, &[]),
        (MemberQuery { member: Some(people[0].id), ..all.clone() }, &["Zoe"]),
        (MemberQuery { offset: 2, limit: 1, ..all.clone() }, &["carl"]),
    ] {
        assert_eq!(names(query.clone()).await.0, expected, "{query:?}");
    }
    let (rows, total) = store.members().page(&all).await.unwrap();
    assert_eq!((total, rows[0].key.as_ref().unwrap().display_suffix.as_str()), (4, "k241"));
    assert_eq!(rows[0].member.groups, [leads.clone()].into());
    assert_eq!((rows[1].key.clone(), rows[1].email.clone()), (None, None));
    let (summaries, total) = store.groups().summaries(agent.id, (50, 0)).await.unwrap();
    let counted: Vec<_> = summaries.iter().map(|group| (group.name.as_str(), group.member_count)).collect();
    assert_eq!((counted, total), (vec![("empty", 0), ("leads", 2)], 2));
    assert!(store.groups().holds(agent.id, &leads, people[1].id).await.unwrap());
    assert!(!store.groups().holds(agent.id, &leads, people[0].id).await.unwrap());
    let moved =
        store.members().move_status(people[3].id, MemberStatus::Pending, MemberStatus::Approved, &[]).await;
    moved.unwrap();
    let twice =
        store.members().move_status(people[3].id, MemberStatus::Pending, MemberStatus::Rejected, &[]).await;
    assert!(matches!(twice.unwrap_err(), StoreError::Conflict { .. }));
    assert_eq!(store.members().get(people[3].id).await.unwrap().status, MemberStatus::Approved);
}

async fn invites(store: &Store, ann: &Account) {
    let agent = agent(217, "invites");
    store.agents().create(&agent).await.unwrap();
    let day = 86_400_000;
    let invite = |n: u8, email: &str| InviteRow {
        id: InviteId::mint(at(i64::from(n)), seed(n)),
        agent_id: agent.id,
        email: EmailAddress::parse(email).unwrap(),
        invited_by: Some(ann.id),
        created_at: at(i64::from(n)),
        expires_at: at(7 * day),
        revoked_at: None,
        used_at: None,
        member_id: None,
    };
    let rows = store.invites();
    let generation = store.generation().await.unwrap();
    let (first, second, other) =
        (invite(1, "x@example.com"), invite(2, "x@example.com"), invite(3, "y@example.com"));
    for row in [&first, &second, &other] {
        rows.create(row, at(-90 * day)).await.unwrap();
    }
    assert_eq!(store.generation().await.unwrap(), generation, "the data plane knows no invites");
    let replaced = InviteRow { revoked_at: Some(second.created_at), ..first.clone() };
    assert_eq!(rows.get(first.id).await.unwrap(), replaced);
    let (all, total) = rows.list(agent.id, None, (50, 0)).await.unwrap();
    assert_eq!((all, total), (vec![other.clone(), second.clone(), replaced], 3));
    let (open, total) = rows.list(agent.id, Some(at(0)), (1, 1)).await.unwrap();
    assert_eq!((open, total), (vec![second.clone()], 2));
    assert_eq!(rows.list(agent.id, Some(at(7 * day)), (50, 0)).await.unwrap().1, 0);

    let fresh = Member { status: MemberStatus::Pending, ..part(250, &agent, ann) };
    let join = |invite: &InviteRow, now| InviteJoin { invite: invite.id, member: fresh.clone(), now };
    let refused = async |join: InviteJoin| {
        let error = rows.join(&join).await.unwrap_err();
        assert!(matches!(error, StoreError::Conflict { .. }), "{error}");
    };
    refused(join(&first, at(10))).await;
    refused(join(&second, at(7 * day))).await;
    let (after, joined) = rows.join(&join(&second, at(10))).await.unwrap();
    assert_eq!((after.get(), &joined), (generation.get() + 1, &fresh));
    assert_eq!(store.members().of_account(agent.id, ann.id).await.unwrap(), Some(fresh.clone()));
    let used = rows.get(second.id).await.unwrap();
    assert_eq!((used.used_at, used.member_id), (Some(at(10)), Some(fresh.id)));
    refused(join(&second, at(10))).await;
    // A member joins no second time; one that was rejected waits anew, as the member that it was.
    refused(join(&other, at(10))).await;
    store.members().set_status(fresh.id, MemberStatus::Rejected).await.unwrap();
    let again = InviteJoin {
        member: Member { id: MemberId::mint(at(0), seed(251)), ..fresh.clone() },
        ..join(&other, at(11))
    };
    assert_eq!(rows.join(&again).await.unwrap().1, fresh);
    assert!(matches!(rows.revoke(other.id, at(12)).await.unwrap_err(), StoreError::Conflict { .. }));
    let late = invite(4, "z@example.com");
    // What ended long ago is forgotten when the next one is made.
    rows.create(&late, at(8 * day)).await.unwrap();
    assert_eq!(rows.list(agent.id, None, (50, 0)).await.unwrap(), (vec![late.clone()], 1));
    rows.revoke(late.id, at(13)).await.unwrap();
    assert_eq!(rows.get(late.id).await.unwrap().revoked_at, Some(at(13)));
    store.agents().delete(agent.id).await.unwrap();
    assert!(matches!(rows.get(late.id).await.unwrap_err(), StoreError::NotFound { .. }));
}

async fn sessions(store: &Store) {
    let agent = AgentId::mint(at(0), seed(218));
    let (one, two) = (MemberId::mint(at(0), seed(1)), MemberId::mint(at(0), seed(2)));
    let row = |n: u8, member, last: i64, ended: bool| SessionRow {
        id: SessionId::mint(at(i64::from(n)), seed(n.wrapping_add(100))),
        agent_id: agent,
        member_id: member,
        conversation: ConversationId::from_bytes([n; 16]),
        client: None,
        created_at: at(i64::from(n)),
        last_activity_at: at(last),
        ended: ended.then_some((at(last), EndReason::ManualReset)),
        counters: Default::default(),
        mcp_sessions: Vec::new(),
    };
    let rows =
        [row(150, one, 9, true), row(151, two, 8, true), row(152, one, 7, true), row(153, one, 6, false)];
    store.sessions().save(&rows, &[]).await.unwrap();
    let ended = SessionQuery {
        agent,
        member: None,
        ended: true,
        sort: SessionSort::LastActivityAt,
        descending: true,
        limit: 50,
        offset: 0,
    };
    for (query, expected, total) in [
        (ended, &[0, 1, 2][..], 3),
        (SessionQuery { sort: SessionSort::CreatedAt, ..ended }, &[2, 1, 0], 3),
        (SessionQuery { descending: false, limit: 1, offset: 1, ..ended }, &[1], 3),
        (SessionQuery { member: Some(one), ..ended }, &[0, 2], 2),
        (SessionQuery { ended: false, ..ended }, &[3], 1),
        (SessionQuery { agent: AgentId::mint(at(0), seed(219)), ..ended }, &[], 0),
    ] {
        let expected: Vec<_> = expected.iter().map(|at: &usize| rows[*at].clone()).collect();
        assert_eq!(store.sessions().page(&query).await.unwrap(), (expected, total), "{query:?}");
    }
}
