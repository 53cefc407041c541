//! Who may what: every operation of the document, asked by everybody, against the real gate.
//!
//! The result is `docs/authority.txt`, a table to read: a change of who may what shows in its diff
//! (`make authority` writes it). What must hold of any such table is asserted beside it, so that an
//! accepted table cannot hide it.
//!
//! Invariant: complete. An operation without a request, or in no table of authority, is red.

#[path = "api_authority/table.rs"]
mod table;

use std::path::Path;

use crate::api_contract::document::{Document, Operation};
use crate::api_contract::reference::{Authority, Route, routes};
use crate::api_contract::requests::{self, Asked};
use crate::api_contract::world::{Credential, Kind, PEOPLE, World};
use crate::harness::{Answer, SCOPES, setting};
use table::{Cell, Row};

/// Asks one operation as one credential; makes the world anew where that changed it.
async fn asked(
    world: &mut World,
    operation: Operation<'_>,
    asked: &Asked,
    credential: &Credential,
) -> Answer {
    let (path, body) = (asked.path(world, operation), asked.body(world));
    let answer = world.send(credential, operation.method, &path, body, &[]).await;
    if operation.changes() && answer.status.is_success() {
        world.renew().await;
    }
    answer
}

/// One row: everybody, then the credentials of whoever may.
async fn row(world: &mut World, document: &Document, operation: Operation<'_>, request: &Asked) -> Row {
    let mut faults = Vec::new();
    let mut cells = Vec::new();
    let mut look = |answer: &Answer, who: &str| {
        let found = document.faults(operation, answer).into_iter();
        faults.extend(found.map(|fault| format!("{} as {who}: {fault}", operation.id())));
        Cell::of(answer)
    };
    for person in ["nobody"].iter().chain(PEOPLE) {
        let credential = world.credential(person, Kind::Full).await;
        let answer = asked(world, operation, request, &credential).await;
        cells.push(look(&answer, person));
    }
    // Where nobody needs to be anybody, the owner's credentials are looked at.
    let who = if request.who == "nobody" { "owner" } else { &request.who };
    for kind in [Kind::Revoked, Kind::Expired, Kind::SessionWithoutWord, Kind::Session] {
        let credential = world.credential(who, kind).await;
        let answer = asked(world, operation, request, &credential).await;
        cells.push(look(&answer, &format!("{who}, {kind:?}")));
    }
    let mut scopes = Vec::new();
    for scope in SCOPES {
        let credential = world.credential(who, Kind::Scope(scope)).await;
        let answer = asked(world, operation, request, &credential).await;
        if carried_out(look(&answer, &format!("{who}, {scope}")), request) {
            scopes.push((*scope).to_owned());
        }
    }
    Row {
        operation: format!("{} {}", operation.method.to_uppercase(), operation.path),
        who: request.who.clone(),
        cells,
        scopes,
        faults,
    }
}

fn carried_out(cell: Cell, request: &Asked) -> bool {
    cell.status == request.status
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_may_what_the_table_says() {
    let document = Document::kept();
    let requests = requests::all();
    let (reference, beyond) = routes();
    let mut world = World::start().await;
    let mut rows = Vec::new();
    let mut faults = Vec::new();
    for operation in document.operations() {
        let request = requests::of(&requests, operation);
        let made = row(&mut world, &document, operation, request).await;
        let route = reference.iter().chain(&beyond).find(|route| route.is(operation));
        let route = route.unwrap_or_else(|| panic!("{} is in no table of reference.toml", operation.path));
        faults.extend(made.faults.iter().cloned());
        faults.extend(against_the_rules(operation, route, request, &made));
        rows.push(made);
    }
    for name in requests.keys() {
        if !document.operations().iter().any(|operation| operation.id() == name) {
            faults.push(format!("requests.toml names `{name}`, which is no operation"));
        }
    }
    let text = table::written(&rows);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/authority.txt");
    if setting("WICKET_TEST_ACCEPT").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    println!("{text}");
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    let differs: Vec<&str> = text.lines().filter(|line| !kept.lines().any(|other| other == *line)).collect();
    assert!(
        kept == text,
        "docs/authority.txt is not what the gate does (make authority writes it):\n{}",
        differs.join("\n")
    );
}

/// What holds of every row, whatever table was accepted.
fn against_the_rules(operation: Operation<'_>, route: &Route, request: &Asked, row: &Row) -> Vec<String> {
    let mut faults = Vec::new();
    let mut want = |holds: bool, what: &str| {
        if !holds {
            faults.push(format!("{}: {what}: {}", operation.id(), row.line()));
        }
    };
    let ok = |who: &str| carried_out(row.cell(who), request);
    let anybody = route.authority == Authority::Anybody;
    if anybody {
        want(ok("nobody"), "anybody may");
    } else {
        for who in ["nobody", "disabled", "revoked", "expired"] {
            want(row.cell(who).status == 401, &format!("{who} opens nothing"));
        }
        want(ok("session"), "a browser may what its account may");
        if operation.changes() {
            want(row.cell("no word").code == "cross_site", "a change by cookie takes the session's word");
        }
    }
    let documented: Vec<&str> = (operation.body["security"].as_array().unwrap().iter())
        .filter_map(|way| way["token"].as_array())
        .flatten()
        .filter_map(|scope| scope.as_str())
        .collect();
    if !operation.open() && !anybody {
        want(
            row.scopes.iter().map(String::as_str).eq(documented.iter().copied()),
            &format!("the document names {documented:?}"),
        );
    }
    faults.extend(against_the_authority(operation, route.authority, request, row));
    faults
}

/// Whether the people may what the reference says that they may.
fn against_the_authority(
    operation: Operation<'_>,
    authority: Authority,
    request: &Asked,
    row: &Row,
) -> Vec<String> {
    let (may, may_not): (&[&str], &[&str]) = match authority {
        Authority::Anybody => (&["nobody", "stranger"], &[]),
        Authority::Account => {
            (&["stranger", "pending", "rejected", "member", "other", "owner", "foreign"], &[])
        }
        // A token opens none of it, and every person above asks by a token.
        Authority::Person => {
            (&["session"], &["stranger", "pending", "rejected", "member", "other", "owner", "foreign"])
        }
        Authority::Part => (&["pending", "member", "other", "owner"], &["stranger", "rejected", "foreign"]),
        Authority::Owner => (&["owner"], &["stranger", "pending", "rejected", "member", "other", "foreign"]),
        Authority::Own => (&["member"], &["stranger", "pending", "rejected", "owner", "other", "foreign"]),
        Authority::OwnerOrMember => {
            (&["member", "owner"], &["stranger", "pending", "rejected", "other", "foreign"])
        }
        Authority::Invited => {
            (&["stranger"], &["pending", "rejected", "member", "other", "owner", "foreign"])
        }
    };
    let mut faults = Vec::new();
    let mut want = |holds: bool, what: String| {
        if !holds {
            faults.push(format!("{}: {what}: {}", operation.id(), row.line()));
        }
    };
    for who in may {
        want(carried_out(row.cell(who), request), format!("{who} may"));
    }
    let hidden = operation.path.contains("{id}");
    for who in may_not {
        let cell = row.cell(who);
        let outside = hidden && ["stranger", "rejected", "foreign"].contains(who);
        let refused =
            if outside { cell.status == 404 } else { cell.status == 403 || (hidden && cell.status == 404) };
        want(refused, format!("{who} may not"));
    }
    faults
}
