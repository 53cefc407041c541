use hyper_util::rt::TokioIo;
use tokio::net::UnixListener;

use super::client::{AdminClient, Unreachable};
use super::*;
use crate::control::admin::tests::{Bench, bench};
use crate::model::TrustMode;

/// The service on a socket of the file system, as the running gate has it.
fn serve(bench: &Bench) -> std::path::PathBuf {
    let path = bench.dir.path().join("data/admin.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let service = AdminSocket::new(Arc::clone(&bench.admin));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = service.clone();
            let answer = hyper::service::service_fn(move |request| {
                let service = service.clone();
                async move { Ok::<_, std::convert::Infallible>(service.handle(request).await) }
            });
            tokio::spawn(
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer),
            );
        }
    });
    path
}

#[tokio::test]
async fn a_request_goes_over_the_socket_and_its_fault_comes_back_whole() {
    let bench = bench().await;
    let mut client = AdminClient::connect(&serve(&bench)).await.unwrap();
    let (trust, services) = (TrustMode::Trusted, [].into());
    let create = AdminRequest::AgentCreate { name: "a".into(), trust, services, rate: None };
    let operator = Operator::Local { uid: 4711 };
    let AdminReply::Agent(view) = client.ask(operator.clone(), &create).await.unwrap() else { panic!() };
    assert_eq!(view.agent.name, "a");
    let fault = client.ask(operator, &create).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Conflict);
    assert!(fault.help.is_some(), "{fault}");
    let mut tail = crate::audit::tail(&bench.dir.path().join("data/journal"), 1, &|entry| {
        entry.text.contains("agent.create")
    })
    .unwrap();
    assert_eq!(tail.next_now().unwrap().unwrap().json().unwrap()["who"], "uid:4711");
}

#[tokio::test]
async fn no_gate_and_a_silent_gate_are_told_apart() {
    let bench = bench().await;
    let path = bench.dir.path().join("data/admin.sock");
    let absent = AdminClient::connect(&path).await.unwrap_err();
    assert!(matches!(absent, Unreachable::NotRunning { .. }), "{absent}");
    // What a killed gate leaves behind: the file, and nobody behind it.
    drop(UnixListener::bind(&path).unwrap());
    let dead = AdminClient::connect(&path).await.unwrap_err();
    assert!(matches!(dead, Unreachable::NotRunning { .. }), "{dead}");
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    // Something is there that is no gate: nobody may take the store for free.
    let odd = bench.dir.path().join("data/wicket.lock/admin.sock");
    std::fs::write(bench.dir.path().join("data/wicket.lock"), "").unwrap();
    let odd = AdminClient::connect(&odd).await.unwrap_err();
    assert!(matches!(odd, Unreachable::Silent { .. }), "{odd}");
}

#[tokio::test]
async fn what_is_no_request_is_refused_and_changes_nothing() {
    let bench = bench().await;
    let service = AdminSocket::new(Arc::clone(&bench.admin));
    let post = |body: Vec<u8>| Request::post(ADMIN_PATH).body(Full::new(Bytes::from(body))).unwrap();
    let huge = vec![b' '; REQUEST_BYTES_MAX + 1];
    for (request, status) in [
        (post(b"{}".to_vec()), 400),
        (post(br#"{"do":"agent_delete"}"#.to_vec()), 400),
        (post(huge), 400),
        (Request::post("/v2/admin").body(Full::default()).unwrap(), 404),
        (Request::get(ADMIN_PATH).body(Full::default()).unwrap(), 400),
        (Request::get(STATUS_PATH).header("origin", "null").body(Full::default()).unwrap(), 400),
        (Request::get(STATUS_PATH).header("wicket-operator", "root").body(Full::default()).unwrap(), 400),
        (Request::get(STATUS_PATH).body(Full::default()).unwrap(), 200),
    ] {
        let shown = format!("{} {}", request.method(), request.uri());
        assert_eq!(service.handle(request).await.status().as_u16(), status, "{shown}");
    }
    assert!(!bench.dir.path().join("data/journal").exists());
}
