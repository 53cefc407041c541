//! Invites: one address, one use, seven days; and who hears what of a link.

use hyper::Method;
use serde_json::{Value, json};

use crate::harness::{Gate, GateOptions, People, each, invite};

async fn setup() -> (Gate, People) {
    let gate = Gate::start(GateOptions::new(Vec::new())).await;
    let people = People::of(&gate, &["wicket"]).await;
    (gate, people)
}

fn token(token: &str) -> Value {
    json!({ "token": token })
}

#[tokio::test]
async fn an_invite_is_used_once_by_the_invited_address_alone() {
    let (gate, people) = setup().await;
    let made = people.owner.post(&people.path("/invite"), json!({ "email": "Nina@Example.com" })).await;
    let made = made.expect(201);
    let link = made["token"].as_str().unwrap();
    assert_eq!(made["email"], "nina@example.com");
    assert_eq!(made["url"], format!("http://{}/join/{link}", gate.control()));
    let nina = gate.account("nina@example.com").await;
    let join = people.path("/join");
    people.nobody.post(&join, token(link)).await.expect(401);
    for person in [&people.stranger, &people.owner, &people.member] {
        assert_eq!(person.post(&join, token(link)).await.expect(404)["code"], "not_found");
    }
    // Not by another agent's path, and not by a link that was touched.
    let other = people.owner.post("/api/agents", json!({ "name": "other" })).await.expect(201);
    nina.post(&format!("/api/agents/{}/join", other["id"].as_str().unwrap()), token(link)).await.expect(404);
    let turned = if link.ends_with('A') { "B" } else { "A" };
    let touched = format!("{}{turned}", &link[..link.len() - 1]);
    for wrong in [&*touched, "wki_", "x", &link[4..], &format!("{link}AAAA")] {
        nina.post(&join, token(wrong)).await.expect(404);
    }
    for no_token in ["", &"x".repeat(201)] {
        nina.post(&join, token(no_token)).await.expect(400);
    }
    nina.get(&people.path("")).await.expect(404);

    let joined = nina.post(&join, token(link)).await.expect(201);
    assert_eq!(joined["agent"], json!({ "id": people.agent, "name": "people" }));
    assert_eq!(joined["membership"]["status"], "pending");
    assert_eq!(nina.post(&join, token(link)).await.expect(410)["code"], "invite_used");
    people.stranger.post(&join, token(link)).await.expect(404);
    let steps = nina.get(&people.path("/onboarding")).await.expect(200);
    assert_eq!((&steps["next"], &steps["complete"]), (&json!("approved"), &json!(false)));

    let listed = people.owner.get(&people.path("/invites")).await.expect(200);
    assert_eq!(each(&listed["invites"], "status"), ["used"; 3]);
    assert_eq!(listed["invites"][0]["memberId"], joined["membership"]["id"]);
    let entry = gate.journal().entries.iter().rfind(|entry| entry["what"] == "member.join").cloned().unwrap();
    assert!(entry["who"].as_str().unwrap().starts_with("account:nina@example.com"), "{entry}");
    let text = serde_json::to_string(&gate.journal().entries).unwrap();
    assert!(!text.contains(link), "the link is in the journal");
}

#[tokio::test]
async fn a_revoked_replaced_or_expired_invite_says_so_to_the_invited_alone() {
    let (mut gate, people) = setup().await;
    let (join, nina) = (people.path("/join"), gate.account("nina@example.com").await);
    let first = invite(&people.agent, &people.owner, "nina@example.com").await;
    let second = invite(&people.agent, &people.owner, "nina@example.com").await;
    assert_eq!(nina.post(&join, token(&first)).await.expect(410)["code"], "invite_revoked");
    people.stranger.post(&join, token(&first)).await.expect(404);
    let open = people.owner.get(&people.path("/invites?open=true")).await.expect(200);
    assert_eq!((open["total"].as_u64(), open["invites"].as_array().unwrap().len()), (Some(1), 1));
    let members = people.owner.get(&people.path("/members")).await.expect(200);
    assert_eq!(each(&members["invites"], "email"), ["nina@example.com"]);
    let id = open["invites"][0]["id"].as_str().unwrap().to_owned();
    let place = people.path(&format!("/invites/{id}"));
    people.member.delete(&place).await.expect(403);
    people.stranger.delete(&place).await.expect(404);
    people.owner.delete(&people.path("/invites/0190b5a0-0000-7000-8000-00000000ffff")).await.expect(404);
    people.owner.delete(&place).await.expect(204);
    people.owner.delete(&place).await.expect(409);
    assert_eq!(nina.post(&join, token(&second)).await.expect(410)["code"], "invite_revoked");

    // Seven days later. The end stands in the link too: a later one in the database opens nothing.
    let third = invite(&people.agent, &people.owner, "nina@example.com").await;
    gate.stop().await;
    let late =
        "UPDATE invite SET expires_at = expires_at - 700000000 WHERE revoked_at IS NULL AND used_at IS NULL";
    sql(&gate, late).await;
    gate.launch().await;
    let (people, nina) = (again(&gate, people).await, gate.account("nina@example.com").await);
    nina.post(&join, token(&third)).await.expect(404);
    let fourth = invite(&people.agent, &people.owner, "nina@example.com").await;
    let (expired, fourth) = (expired_token(&gate, &fourth).await, fourth);
    assert_eq!(nina.post(&join, token(&expired)).await.expect(410)["code"], "invite_expired");
    nina.post(&join, token(&fourth)).await.expect(404);
    people.stranger.post(&join, token(&expired)).await.expect(404);
    let listed = people.owner.get(&people.path("/invites?limit=1")).await.expect(200);
    assert_eq!(each(&listed["invites"], "status"), ["expired"]);
}

/// Moves the newest invite's end into the past, and signs it as the gate would have, seven days ago.
async fn expired_token(gate: &Gate, token: &str) -> String {
    use wicket::keys::{InviteFacts, InviteSigner, InviteToken, Pepper};
    let id = InviteToken::parse(token).unwrap().id;
    sql(gate, &format!("UPDATE invite SET expires_at = created_at - 1 WHERE id = '{}'", id.as_uuid())).await;
    let url = format!("sqlite://{}?mode=rw", gate.data_dir().join("wicket.db").display());
    let store = wicket::store::Store::open(&url).await.unwrap();
    let row = store.invites().get(id).await.unwrap();
    store.close().await;
    let pepper = std::fs::read(gate.data_dir().join("pepper")).unwrap();
    let signer = InviteSigner::new(&Pepper::from_bytes(pepper_bytes(&pepper)));
    signer.token(&InviteFacts { id, agent: row.agent_id, email: &row.email, expires_at: row.expires_at })
}

fn pepper_bytes(file: &[u8]) -> [u8; 32] {
    if let Ok(bytes) = file.try_into() {
        return bytes;
    }
    let text = std::str::from_utf8(file).unwrap().trim();
    std::array::from_fn(|at| u8::from_str_radix(&text[at * 2..at * 2 + 2], 16).unwrap())
}

async fn sql(gate: &Gate, statement: &str) {
    let done = tokio::process::Command::new("python3")
        .args(["-c", "import sqlite3,sys; c=sqlite3.connect(sys.argv[1],timeout=10); c.execute(sys.argv[2]); c.commit()"])
        .arg(gate.data_dir().join("wicket.db"))
        .arg(statement)
        .status()
        .await
        .unwrap();
    assert!(done.success());
}

/// The same people after a restart: the control port is another one.
async fn again(gate: &Gate, people: People) -> People {
    People {
        owner: gate.account("olga@example.com").await,
        member: gate.account("mona@example.com").await,
        pending: gate.account("paul@example.com").await,
        stranger: gate.account("stan@example.com").await,
        nobody: gate.nobody(),
        ..people
    }
}

#[tokio::test]
async fn whoever_is_a_member_needs_no_invite_and_whoever_was_rejected_needs_a_new_one() {
    let (gate, people) = setup().await;
    let invited = people.path("/invite");
    for email in ["olga@example.com", "mona@example.com", "MONA@example.com", "paul@example.com"] {
        let problem = people.owner.post(&invited, json!({ "email": email })).await.expect(409);
        assert!(problem["help"].as_str().is_some(), "{problem}");
    }
    for email in ["", "mona", "Mona <mona@example.com>", "a@b"] {
        let problem = people.owner.post(&invited, json!({ "email": email })).await.expect(400);
        assert_eq!(problem["errors"][0]["field"], "body.email");
    }
    people.member.post(&invited, json!({ "email": "x@example.com" })).await.expect(403);
    people.pending.post(&invited, json!({ "email": "x@example.com" })).await.expect(403);
    people.stranger.post(&invited, json!({ "email": "x@example.com" })).await.expect(404);

    let unused = invite(&people.agent, &people.owner, "zoe@example.com").await;
    let rejected = people.path(&format!("/members/{}/reject", people.pending_id));
    people.owner.send(Method::POST, &rejected, None, &[]).await.expect(200);
    people.pending.get(&people.path("")).await.expect(404);
    people.pending.post(&people.path("/join"), token(&unused)).await.expect(404);
    let anew = invite(&people.agent, &people.owner, "paul@example.com").await;
    let joined = people.pending.post(&people.path("/join"), token(&anew)).await.expect(201);
    assert_eq!(
        joined["membership"],
        json!({ "id": people.pending_id, "role": "member", "status": "pending" })
    );

    // A member that the operator made under that name has no account: the link must not hand it over.
    gate.admin(json!({ "do": "member_add", "agent": "people", "name": "una@example.com", "role": "member",
        "status": "approved" }))
        .await;
    people.owner.post(&invited, json!({ "email": "una@example.com" })).await.expect(409);
}
