use super::*;
use http_body_util::BodyExt;

fn health(parts: Vec<Part>, rule: HostRule) -> Health {
    Health::new(Arc::new(move || Readiness::of(parts.clone())), Arc::new(|| "wicket_up 1\n".to_owned()), rule)
}

async fn ask(health: &Health, method: &str, path: &str, headers: &[(&str, &str)]) -> (u16, String) {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = health.handle(&request.body(()).unwrap());
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

const LOCAL: (&str, &str) = ("host", "127.0.0.1:7401");

#[tokio::test]
async fn ready_only_when_every_part_is() {
    let good = Part::new("bundle", true, "sha256:00");
    let bad = Part::new("journal", false, "no space left");
    for (parts, status, says) in [
        (vec![good.clone()], 200, r#""ready":true"#),
        (vec![good, bad], 503, "no space left"),
        (vec![], 503, r#""ready":false"#),
    ] {
        let (got, body) = ask(&health(parts, HostRule::Loopback), "GET", "/readyz", &[LOCAL]).await;
        assert_eq!(got, status, "{body}");
        assert!(body.contains(says), "{body}");
    }
}

#[tokio::test]
async fn alive_and_metrics_answer_even_when_not_ready() {
    let health = health(vec![], HostRule::Loopback);
    assert_eq!(ask(&health, "GET", "/healthz", &[LOCAL]).await.0, 200);
    assert_eq!(ask(&health, "GET", "/metrics", &[LOCAL]).await, (200, "wicket_up 1\n".into()));
    assert_eq!(ask(&health, "POST", "/metrics", &[LOCAL]).await.0, 405);
    let (status, body) = ask(&health, "GET", "/api/agents", &[LOCAL]).await;
    assert_eq!(status, 404);
    assert!(body.starts_with("{\"error\":"), "{body}");
}

#[tokio::test]
async fn a_foreign_host_or_origin_is_refused_on_loopback() {
    let health = health(vec![], HostRule::Loopback);
    for (headers, status) in [
        (vec![("host", "localhost")], 200),
        (vec![("host", "[::1]:7401")], 200),
        (vec![("host", "127.9.9.9")], 200),
        (vec![LOCAL, ("origin", "http://localhost:5173")], 200),
        (vec![], 403),
        (vec![("host", "evil.example:7401")], 403),
        (vec![("host", "localhost.evil.example")], 403),
        (vec![("host", "127.0.0.1.evil.example")], 403),
        (vec![("host", "user@localhost")], 403),
        (vec![LOCAL, ("host", "localhost")], 403),
        (vec![LOCAL, ("origin", "https://evil.example")], 403),
        (vec![LOCAL, ("origin", "null")], 403),
    ] {
        assert_eq!(ask(&health, "GET", "/healthz", &headers).await.0, status, "{headers:?}");
    }
}

#[tokio::test]
async fn beyond_loopback_any_host_but_no_origin() {
    let rule = HostRule::for_listener("10.0.0.1".parse().unwrap());
    let health = health(vec![], rule);
    assert_eq!(ask(&health, "GET", "/healthz", &[("host", "gate.internal")]).await.0, 200);
    let browser = [("host", "gate.internal"), ("origin", "https://evil.example")];
    assert_eq!(ask(&health, "GET", "/healthz", &browser).await.0, 403);
}
