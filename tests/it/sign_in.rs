//! Signing in by a one-time link, the session that it opens, and what nobody else can do with either.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper::Method;
use serde_json::json;

use crate::harness::{Api, Gate, GateOptions, pause, until};

const SOON: Duration = Duration::from_secs(10);

async fn gate() -> Gate {
    gate_with("").await
}

async fn gate_with(config: &str) -> Gate {
    Gate::start(GateOptions::new(Vec::new()).with_config(config)).await
}

fn outbox(gate: &Gate) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(gate.data_dir().join("outbox")) else { return Vec::new() };
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "txt"));
    files.sort();
    files
}

fn link_in(file: &Path) -> String {
    let text = std::fs::read_to_string(file).unwrap();
    text.lines().find(|line| line.contains("/sign-in#")).unwrap().to_owned()
}

/// Asks for a link as anybody may, and waits for the file that it comes in.
async fn delivered(gate: &Gate, email: &str) -> String {
    let before = outbox(gate).len();
    let answer = gate.nobody().post("/api/auth/link", json!({ "email": email })).await;
    assert_eq!((answer.status.as_u16(), answer.body.len()), (202, 0));
    let newest = async || outbox(gate).get(before).cloned();
    link_in(&until("a delivered link", SOON, newest).await)
}

async fn bring(gate: &Gate, link: &str) -> crate::harness::Answer {
    let secret = link.split_once('#').map_or(link, |(_, secret)| secret);
    gate.nobody().post("/api/auth/sign-in", json!({ "secret": secret })).await
}

#[tokio::test]
async fn a_link_signs_in_once_and_logging_out_ends_it() {
    let gate = gate().await;
    gate.admin(json!({ "do": "account_create", "email": "ann@example.com" })).await;
    let nobody = json!({ "authenticated": false });
    assert_eq!(gate.nobody().get("/api/auth/status").await.expect(200), nobody);
    let link = delivered(&gate, "Ann@Example.com").await;
    assert!(link.starts_with(&format!("http://{}/sign-in#", gate.control())), "{link}");
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&outbox(&gate)[0]), 0o600);
    assert_eq!(mode(&gate.data_dir().join("outbox")), 0o700);
    // What scans mail opens links: nothing is used up by that.
    for method in [Method::GET, Method::HEAD] {
        gate.nobody().send(method, "/sign-in", None, &[]).await.expect(200);
    }
    let ann = Api::by_link(gate.control(), &link).await;
    let status = ann.get("/api/auth/status").await.expect(200);
    assert_eq!((&status["authenticated"], &status["via"]), (&json!(true), &json!("session")));
    assert_eq!(status["account"]["email"], "ann@example.com");
    assert_eq!(status["csrfToken"], ann.session().word.as_str());
    assert_eq!(bring(&gate, &link).await.expect(401)["code"], "unauthenticated");

    let out = ann.post("/api/auth/logout", json!({})).await;
    out.expect(204);
    assert!(out.header("set-cookie").unwrap().starts_with("wicket_session=; Path=/; Max-Age=0;"));
    assert_eq!(ann.get("/api/users/me/sessions").await.expect(401)["code"], "unauthenticated");
    let stale = ann.get("/api/auth/status").await;
    assert_eq!(stale.expect(200), nobody);
    assert!(stale.header("set-cookie").unwrap().contains("Max-Age=0"), "the browser forgets it");
    let made: Vec<_> = gate.journal().administrative().into_iter().map(|(what, _)| what).collect();
    assert_eq!(
        made,
        ["agent.create", "member.add", "key.create", "account.create", "account.sign_in", "account.sign_out"]
    );
}

#[tokio::test]
async fn a_link_that_two_bring_at_once_opens_one_session() {
    let gate = gate().await;
    gate.admin(json!({ "do": "account_create", "email": "ann@example.com" })).await;
    for _ in 0..5 {
        let link = gate.admin(json!({ "do": "account_link", "email": "ann@example.com" })).await;
        let link = link["url"].as_str().unwrap();
        let asked = futures_util::future::join_all((0..8).map(|_| bring(&gate, link))).await;
        let opened = asked.iter().filter(|answer| answer.status == 200).count();
        let refused = asked.iter().filter(|answer| answer.status == 401).count();
        assert_eq!((opened, refused), (1, 7));
    }
    let ann = gate.browser("ann@example.com").await;
    assert_eq!(ann.get("/api/users/me/sessions").await.expect(200)["total"], 6);
}

#[tokio::test]
async fn who_has_an_account_is_not_told_and_an_address_gets_fifteen_links_an_hour() {
    let gate = gate().await;
    for email in ["ann@example.com", "shut@example.com"] {
        gate.admin(json!({ "do": "account_create", "email": email })).await;
    }
    gate.admin(json!({ "do": "account_status", "email": "shut@example.com", "status": "disabled" })).await;
    let mut told = Vec::new();
    for email in ["ann@example.com", "shut@example.com", "nobody@example.com"] {
        let answer = gate.nobody().post("/api/auth/link", json!({ "email": email })).await;
        let headers =
            answer.headers.iter().filter(|(name, _)| !matches!(name.as_str(), "x-request-id" | "date"));
        let headers: Vec<String> = headers.map(|(name, value)| format!("{name}: {value:?}")).collect();
        told.push((answer.status, headers, answer.body));
    }
    assert!(told.windows(2).all(|two| two[0] == two[1]), "{told:#?}");
    for _ in 0..20 {
        gate.nobody().post("/api/auth/link", json!({ "email": "ann@example.com" })).await.expect(202);
    }
    until("fifteen links", SOON, async || (outbox(&gate).len() == 15).then_some(())).await;
    pause(300).await;
    let files = outbox(&gate);
    assert_eq!(files.len(), 15, "and no more");
    assert!(
        files.iter().all(|file| std::fs::read_to_string(file).unwrap().starts_with("To: ann@example.com\n"))
    );
    // Operators hand on links of their own, whatever was asked for.
    gate.admin(json!({ "do": "account_link", "email": "ann@example.com" })).await;
    for bad in
        [json!({ "email": "ann" }), json!({}), json!({ "email": "ann@example.com", "to": "eve@example.com" })]
    {
        gate.nobody().post("/api/auth/link", bad).await.expect(400);
    }
}

#[tokio::test]
async fn whoever_is_invited_signs_in_and_has_an_account_by_that() {
    let gate = gate().await;
    let ann = gate.browser("ann@example.com").await;
    let agent = ann.post("/api/agents", json!({ "name": "shared" })).await.expect(201);
    let invites = format!("/api/agents/{}/invite", agent["id"].as_str().unwrap());
    let gone = ann.post(&invites, json!({ "email": "eve@example.com" })).await.expect(201);
    let revoked = ann.delete(&format!("{invites}s/{}", gone["id"].as_str().unwrap())).await;
    assert!(revoked.status.is_success(), "{}", revoked.json());
    let invite = ann.post(&invites, json!({ "email": "bob@example.com" })).await.expect(201);
    gate.nobody().post("/api/auth/link", json!({ "email": "eve@example.com" })).await.expect(202);
    let link = delivered(&gate, "bob@example.com").await;
    assert_eq!(gate.admin(json!({ "do": "account_list" })).await.as_array().unwrap().len(), 1, "not yet");
    let bob = Api::by_link(gate.control(), &link).await;
    assert_eq!(gate.admin(json!({ "do": "account_list" })).await.as_array().unwrap().len(), 2);
    let join = format!("/api/agents/{}/join", agent["id"].as_str().unwrap());
    let joined = bob.post(&join, json!({ "token": invite["token"] })).await;
    assert!(joined.status.is_success(), "{}", joined.json());
    pause(300).await;
    assert_eq!(outbox(&gate).len(), 1, "whose invite was revoked gets nothing");
}

#[tokio::test]
async fn every_link_that_does_not_open_is_answered_alike() {
    let gate = gate().await;
    let used = {
        gate.browser("ann@example.com").await;
        outbox(&gate)
    };
    assert!(used.is_empty(), "what the operator hands on is in no outbox");
    gate.admin(json!({ "do": "account_create", "email": "shut@example.com" })).await;
    let link = gate.admin(json!({ "do": "account_link", "email": "shut@example.com" })).await;
    gate.admin(json!({ "do": "account_status", "email": "shut@example.com", "status": "disabled" })).await;
    let of_disabled = link["url"].as_str().unwrap().to_owned();
    let link = gate.admin(json!({ "do": "account_link", "email": "ann@example.com" })).await;
    let used = link["url"].as_str().unwrap().to_owned();
    bring(&gate, &used).await.expect(200);
    let never = "A".repeat(43);
    let long = "A".repeat(65);
    let mut told = Vec::new();
    for secret in [used.as_str(), &of_disabled, &never, "x", "", &long] {
        let mut problem = bring(&gate, secret).await.expect(401);
        problem.as_object_mut().unwrap().remove("requestId");
        told.push(problem);
    }
    assert!(told.windows(2).all(|two| two[0] == two[1]), "{told:#?}");
    let refused = gate.ask(json!({ "do": "account_link", "email": "shut@example.com" })).await.unwrap_err();
    assert!(refused["message"].as_str().unwrap().contains("disabled"), "{refused}");
}

#[tokio::test]
async fn a_session_changes_nothing_for_another_page() {
    let gate = gate().await;
    let ann = gate.browser("ann@example.com").await;
    let session = ann.session().clone();
    let own = ann.origin();
    let referer = format!("{own}/agents");
    let cookie = ("cookie", session.cookie.as_str());
    let word = ("x-csrf-token", session.word.as_str());
    let site = |site| ("sec-fetch-site", site);
    let path = "/api/users/me/sessions";
    let send = async |headers: &[(&str, &str)]| gate.nobody().send(Method::DELETE, path, None, headers).await;
    let another = gate.browser("ann@example.com").await.session().word.clone();
    for headers in [
        vec![cookie],
        vec![cookie, word],
        vec![cookie, ("origin", &own)],
        vec![cookie, ("origin", &own), ("x-csrf-token", "")],
        vec![cookie, ("origin", &own), ("x-csrf-token", &another)],
        vec![cookie, ("origin", &own), word, word],
        vec![cookie, ("origin", "http://evil.example"), word],
        vec![cookie, ("origin", "null"), word],
        vec![cookie, ("origin", "http://evil.example"), ("referer", &referer), word],
        vec![cookie, ("referer", "http://evil.example/"), word],
        vec![cookie, ("origin", &own), word, site("cross-site")],
        vec![cookie, ("origin", &own), word, site("same-site")],
    ] {
        let problem = send(&headers).await.expect(403);
        assert_eq!(problem["code"], "cross_site", "{headers:?}");
    }
    assert_eq!(ann.get(path).await.expect(200)["total"], 2, "nothing was ended");
    send(&[cookie, ("referer", &referer), word]).await.expect(200);
    send(&[cookie, ("origin", &own), word, site("same-origin")]).await.expect(200);
    assert_eq!(ann.get(path).await.expect(200)["total"], 1);
    // Nor does another page sign a browser in as somebody of its choice.
    let body = json!({ "secret": "A".repeat(43) });
    let forged = [("origin", "http://evil.example")];
    let answer = gate.nobody().send(Method::POST, "/api/auth/sign-in", Some(body), &forged).await;
    assert_eq!(answer.expect(403)["code"], "cross_site");
}

#[tokio::test]
async fn a_person_sees_their_browsers_and_signs_them_out() {
    let gate = gate().await;
    let (desk, phone) = (gate.browser("ann@example.com").await, gate.browser("ann@example.com").await);
    let bob = gate.browser("bob@example.com").await;
    let listed = desk.get("/api/users/me/sessions").await.expect(200);
    assert_eq!(listed["total"], 2);
    let of = |current: bool| {
        let sessions = listed["sessions"].as_array().unwrap();
        let found = sessions.iter().find(|session| session["current"] == current).unwrap();
        format!("/api/users/me/sessions/{}", found["id"].as_str().unwrap())
    };
    bob.delete(&of(false)).await.expect(404);
    bob.delete("/api/users/me/sessions/nonsense").await.expect(404);
    desk.delete(&of(false)).await.expect(204);
    phone.get("/api/users/me/sessions").await.expect(401);
    desk.delete(&of(false)).await.expect(404);
    for _ in 0..25 {
        gate.browser("ann@example.com").await;
    }
    desk.get("/api/users/me/sessions").await.expect(401);
    let last = gate.browser("ann@example.com").await;
    assert_eq!(last.get("/api/users/me/sessions").await.expect(200)["total"], 20, "the oldest end");
    assert_eq!(last.delete("/api/users/me/sessions").await.expect(200)["ended"], 19);
    assert_eq!(bob.get("/api/users/me/sessions").await.expect(200)["total"], 1);
    let own = last.get("/api/users/me/sessions").await.expect(200)["sessions"][0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let out = last.delete(&format!("/api/users/me/sessions/{own}")).await;
    out.expect(204);
    assert!(out.header("set-cookie").unwrap().contains("Max-Age=0"));
}

#[tokio::test]
async fn a_browser_that_stands_idle_or_grows_old_is_signed_out() {
    let gate = gate_with("[control]\nsession_idle_ms_max = 1_200\nsession_ms_max = 4_000\n").await;
    let (used, idle) = (gate.browser("ann@example.com").await, gate.browser("bob@example.com").await);
    let began = std::time::Instant::now();
    while began.elapsed() < Duration::from_millis(2_400) {
        used.get("/api/users/me/sessions").await.expect(200);
        pause(100).await;
    }
    idle.get("/api/users/me/sessions").await.expect(401);
    let over = async || (used.get("/api/users/me/sessions").await.status == 401).then_some(());
    until("the end of a session that is used", Duration::from_secs(10), over).await;
    assert!(began.elapsed() > Duration::from_millis(3_500), "{:?}", began.elapsed());
}

#[tokio::test]
async fn over_https_the_cookie_is_the_hosts_own_and_other_hosts_are_not_answered() {
    let gate = gate_with("[control]\npublic_url = \"https://wicket.example.com\"\n").await;
    gate.admin(json!({ "do": "account_create", "email": "ann@example.com" })).await;
    let link = gate.admin(json!({ "do": "account_link", "email": "ann@example.com" })).await;
    let secret =
        link["url"].as_str().unwrap().strip_prefix("https://wicket.example.com/sign-in#").unwrap().to_owned();
    let post = async |host: &str, origin: &str| {
        let body = Some(json!({ "secret": secret }));
        let headers = [("host", host), ("origin", origin)];
        gate.nobody().send(Method::POST, "/api/auth/sign-in", body, &headers).await
    };
    assert_eq!(post("evil.example", "https://wicket.example.com").await.expect(403)["code"], "forbidden");
    let loopback = gate.nobody().origin();
    let answer = post("wicket.example.com", &loopback).await;
    assert_eq!(answer.expect(403)["code"], "cross_site");
    let signed = post("wicket.example.com", "https://wicket.example.com").await;
    signed.expect(200);
    let cookie = signed.header("set-cookie").unwrap();
    assert!(cookie.starts_with("__Host-wicket_session="), "{cookie}");
    assert!(cookie.ends_with("; Path=/; Max-Age=604800; HttpOnly; SameSite=Strict; Secure"), "{cookie}");
    let rebound = gate.nobody().send(Method::GET, "/sign-in", None, &[("host", "evil.example")]).await;
    rebound.expect(403);
}

#[tokio::test]
async fn who_asks_too_often_waits_and_takes_nobody_along() {
    let gate = gate_with(
        "[control]\nrate_burst = 5\nrate_per_second = 0.5\naddress_rate_burst = 20\naddress_rate_per_second = 0.1\n",
    )
    .await;
    let (ann, bob) = (gate.account("ann@example.com").await, gate.account("bob@example.com").await);
    for _ in 0..5 {
        ann.get("/api/auth/status").await.expect(200);
    }
    let limited = ann.get("/api/auth/status").await;
    assert_eq!(limited.expect(429)["code"], "rate_limited");
    let wait: u64 = limited.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=3).contains(&wait), "{wait}");
    bob.get("/api/auth/status").await.expect(200);

    let wrong = Api::new(gate.control(), Some("wkt_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"));
    for _ in 0..2 {
        wrong.get("/api/users/me/sessions").await.expect(401);
    }
    let slowed = wrong.get("/api/users/me/sessions").await;
    assert_eq!(slowed.expect(429)["code"], "rate_limited");
    assert!(slowed.header("retry-after").unwrap().parse::<u64>().unwrap() > 5);
    gate.nobody().get("/api/tokens/scopes").await.expect(429);
    gate.nobody().post("/api/auth/link", json!({ "email": "ann@example.com" })).await.expect(429);
    bob.get("/api/auth/status").await.expect(200);
}

#[tokio::test]
async fn a_link_may_come_on_standard_output() {
    let gate = gate_with("[control]\ndelivery = \"stdout\"\n").await;
    gate.admin(json!({ "do": "account_create", "email": "ann@example.com" })).await;
    gate.nobody().post("/api/auth/link", json!({ "email": "ann@example.com" })).await.expect(202);
    let printed = async || gate.log().lines().find(|line| line.contains("/sign-in#")).map(str::to_owned);
    let link = until("a printed link", SOON, printed).await;
    Api::by_link(gate.control(), &link).await;
    assert!(outbox(&gate).is_empty());
}

#[tokio::test]
async fn the_page_runs_what_is_written_in_it_and_nothing_else() {
    let gate = gate().await;
    let page = gate.nobody().get("/sign-in").await;
    assert_eq!(page.status, 200);
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    let policy = page.header("content-security-policy").unwrap();
    for part in ["default-src 'none'", "script-src 'sha256-", "style-src 'sha256-", "frame-ancestors 'none'"]
    {
        assert!(policy.contains(part), "{policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    assert_eq!(page.header("x-frame-options"), Some("DENY"));
    assert_eq!(page.header("referrer-policy"), Some("no-referrer"));
    assert_eq!(page.header("cache-control"), Some("no-store"));
}

/// Every file of the gate's folder that holds this text.
fn files_with(dir: &Path, text: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut look = vec![dir.to_owned()];
    while let Some(path) = look.pop() {
        if path.is_dir() {
            look.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if let Ok(bytes) = std::fs::read(&path)
            && bytes.windows(text.len()).any(|window| window == text.as_bytes())
        {
            found.push(path);
        }
    }
    found
}

#[tokio::test]
async fn secrets_stand_nowhere_but_where_they_are_handed_over() {
    let mut gate = gate_with("[log]\nfilter = \"trace\"\n").await;
    gate.admin(json!({ "do": "account_create", "email": "ann@example.com" })).await;
    let delivered = delivered(&gate, "ann@example.com").await;
    let handed = gate.admin(json!({ "do": "account_link", "email": "ann@example.com" })).await;
    let handed = handed["url"].as_str().unwrap().to_owned();
    let ann = Api::by_link(gate.control(), &delivered).await;
    let other = Api::by_link(gate.control(), &handed).await;
    let made =
        ann.post("/api/tokens", json!({ "name": "t", "scopes": ["account:read"], "expiresInDays": 1 })).await;
    let token = made.expect(201)["token"].as_str().unwrap().to_owned();
    let minted = gate.account("ann@example.com").await;
    minted.get("/api/auth/status").await.expect(200);
    // Used and misused, so that everything that could be written about them is.
    Api::new(gate.control(), Some(&token)).get("/api/tokens").await.expect(403);
    bring(&gate, &delivered).await.expect(401);
    ann.get("/api/auth/status").await.expect(200);
    other.post("/api/auth/logout", json!({})).await.expect(204);
    gate.nobody()
        .send(Method::POST, "/api/auth/logout", None, &[("cookie", &ann.session().cookie)])
        .await
        .expect(403);
    gate.admin(json!({ "do": "account_status", "email": "ann@example.com", "status": "disabled" })).await;
    ann.get("/api/users/me/sessions").await.expect(401);
    gate.stop().await;

    let secret_of = |link: &str| link.split_once('#').unwrap().1.to_owned();
    let cookie_of = |api: &Api| api.session().cookie.split_once('=').unwrap().1.to_owned();
    let in_outbox = files_with(gate.dir(), &secret_of(&delivered));
    assert_eq!(in_outbox.len(), 1, "{in_outbox:?}");
    assert!(in_outbox[0].starts_with(gate.data_dir().join("outbox")));
    let secrets = [
        secret_of(&handed),
        cookie_of(&ann),
        cookie_of(&other),
        ann.session().word.clone(),
        token.strip_prefix("wkt_").unwrap().to_owned(),
    ];
    for secret in secrets {
        assert_eq!(secret.len(), 43);
        assert_eq!(files_with(gate.dir(), &secret), Vec::<PathBuf>::new());
    }
    // What is looked through is what there is: the journal names the session that was opened.
    assert!(!files_with(gate.dir(), "account.sign_in").is_empty());
    assert!(gate.log().contains("a sign-in link was delivered"));
}
