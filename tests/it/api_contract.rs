//! The API is what it says of itself (`docs/openapi.json`), and what the reference says of it
//! (`api_contract/reference.toml`): each operation is carried out once and refused in every way that the
//! document gives rise to, and each answer is held against the document.

#[path = "api_contract/document.rs"]
pub mod document;
#[path = "api_contract/lint.rs"]
mod lint;
#[path = "api_contract/reference.rs"]
pub mod reference;
#[path = "api_contract/refusals.rs"]
mod refusals;
#[path = "api_contract/requests.rs"]
pub mod requests;
#[path = "api_contract/schema.rs"]
pub mod schema;
#[path = "api_contract/world.rs"]
pub mod world;

use document::{Document, Operation};
use requests::Asked;
use world::{Kind, World};

/// By which credential an operation is carried out.
fn kind(operation: Operation<'_>) -> Kind {
    let ways = operation.body["security"].as_array().unwrap();
    let by_token = operation.open() || ways.iter().any(|way| way.get("token").is_some());
    if by_token { Kind::Full } else { Kind::Session }
}

async fn carried_out(
    world: &World,
    document: &Document,
    operation: Operation<'_>,
    asked: &Asked,
) -> Vec<String> {
    let credential = world.credential(&asked.who, kind(operation)).await;
    let (path, body) = (asked.path(world, operation), asked.body(world));
    let answer = world.send(&credential, operation.method, &path, body, &[]).await;
    let mut faults = document.faults(operation, &answer);
    if answer.status != asked.status {
        faults.push(format!("{} instead of {}: {}", answer.status, asked.status, answer.json()));
    }
    if operation.method == "get" {
        let head = world.send(&credential, "head", &path, None, &[]).await;
        if head.status != answer.status || !head.body.is_empty() {
            faults.push(format!("HEAD answers {} with {} bytes", head.status, head.body.len()));
        }
    }
    faults.into_iter().map(|fault| format!("{}: {fault}", operation.id())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_operation_answers_as_documented() {
    let (document, requests) = (Document::kept(), requests::all());
    let mut world = World::start().await;
    let served =
        world.send(&world::Credential::Nobody, "get", "/api/openapi.json", None, &[]).await.expect(200);
    assert_eq!(served, document.0, "the gate serves another document than docs/openapi.json");
    let mut faults = Vec::new();
    for operation in document.operations() {
        let asked = requests::of(&requests, operation);
        faults.extend(carried_out(&world, &document, operation, asked).await);
        if operation.changes() {
            world.renew().await;
        }
    }
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_wrong_request_is_refused_as_documented() {
    let (document, requests) = (Document::kept(), requests::all());
    let world = World::start().await;
    let (mut faults, mut count) = (Vec::new(), 0);
    for operation in document.operations() {
        let asked = requests::of(&requests, operation);
        let credential = world.credential(&asked.who, kind(operation)).await;
        for wrong in refusals::all(&world, &document, operation, asked) {
            count += 1;
            faults.extend(wrong.faults(&world, &document, operation, &credential).await);
        }
    }
    println!("{count} wrong requests");
    assert!(faults.is_empty(), "{} faults of {count}:\n{}", faults.len(), faults.join("\n"));
}

/// Where there is nothing, and what problems point to.
#[tokio::test]
async fn the_pages_are_there_and_the_rest_is_not() {
    let world = World::start().await;
    let nobody = world::Credential::Nobody;
    for (path, kind) in [
        ("/api/docs", "text/html; charset=utf-8"),
        ("/api/docs/errors", "text/html; charset=utf-8"),
        ("/api/openapi.json", "application/json"),
    ] {
        let answer = world.send(&nobody, "get", path, None, &[]).await;
        assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, Some(kind)), "{path}");
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{path}: {policy}");
    }
    for path in [
        "/api",
        "/api/",
        "/api/agent",
        "/api/agents/",
        "/api//agents",
        "/api/agents/x/y/z",
        "/api/%2e%2e/metrics",
    ] {
        let answer = world.send(&nobody, "get", path, None, &[]).await;
        assert_eq!(answer.expect(404)["code"], "not_found", "{path}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{path}");
    }
}
