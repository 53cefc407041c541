//! Statistics over the REST API: the same calls that the audit shows, counted.

use serde_json::{Value, json};

use crate::audited::World;
use crate::harness::databases;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_is_told_the_calls_that_the_audit_shows_them() {
    for database in databases() {
        let world = World::on(&database).await;
        world.some_calls().await;
        for (who, api, calls, denied) in [
            ("ann", &world.ann, 6, 2),
            ("ben", &world.ben, 1, 1),
            ("bob", &world.bob, 6, 3),
            ("carol", &world.carol, 0, 0),
            ("eve", &world.eve, 0, 0),
        ] {
            for bucket in ["", "?bucket=hour", "?bucket=day"] {
                let stats = api.get(&format!("/api/dashboard/stats{bucket}")).await.expect(200);
                let told = (&stats["calls"], &stats["denied"], &stats["allowed"]);
                assert_eq!(told, (&json!(calls), &json!(denied), &json!(calls - denied)), "{who} {bucket}");
                let sum = |of: &str| -> u64 {
                    stats[of].as_array().unwrap().iter().map(|one| one["calls"].as_u64().unwrap()).sum()
                };
                assert_eq!((sum("series"), sum("services")), (calls, calls), "{who} {bucket}");
            }
        }
        let stats = world.ann.get("/api/dashboard/stats").await.expect(200);
        assert_eq!((&stats["agents"], &stats["members"]), (&json!(1), &json!(3)));
        assert!(stats["policies"].as_u64().unwrap() >= 3);
        assert_eq!(stats["durations"]["calls"], 4);
        assert!((stats["allowRatio"].as_f64().unwrap() - 4.0 / 6.0).abs() < 1e-9);
        let service = &stats["services"][0];
        assert_eq!(service["service"], "recorder");
        assert_eq!(service["tools"][0], json!({"tool": "echo", "calls": 5, "denied": 1}));
        let denying: Vec<&Value> = service["denyingPolicies"].as_array().unwrap().iter().collect();
        assert_eq!(denying.len(), 2);
        assert!(
            denying.iter().any(|policy| policy["id"] == "block-bad" && policy["name"] == "Block bad nonces")
        );
        let of_bob = world.bob.get("/api/dashboard/stats").await;
        assert!(!String::from_utf8_lossy(&of_bob.body).contains("block-bad"), "a member is told no policies");
        by_member(&world).await;
    }
}

async fn by_member(world: &World) {
    let of_ann = world.ann.get("/api/dashboard/member-stats").await.expect(200);
    let members = of_ann["members"].as_array().unwrap();
    assert_eq!((of_ann["total"].as_u64(), members.len()), (Some(2), 2));
    let told =
        |member: &Value| (member["memberName"].clone(), member["calls"].clone(), member["denied"].clone());
    assert_eq!(told(&members[0]), (json!("bob@example.com"), json!(5), json!(2)));
    assert_eq!(told(&members[1]), (json!("ann@example.com"), json!(1), json!(0)));
    let of_bob = world.bob.get("/api/dashboard/member-stats").await.expect(200);
    let names: Vec<_> = of_bob["members"].as_array().unwrap().iter().map(|m| &m["memberName"]).collect();
    assert_eq!(names, ["bob@example.com", "bob@example.com"], "his two memberships, and nobody else");
    let alone =
        world.bob.get(&format!("/api/dashboard/member-stats?agent={}", world.alpha)).await.expect(200);
    assert_eq!((&alone["total"], &alone["members"][0]["calls"]), (&json!(1), &json!(5)));
    world.eve.get(&format!("/api/dashboard/member-stats?agent={}", world.alpha)).await.expect(400);
    world.eve.get(&format!("/api/dashboard/stats?agent={}", world.alpha)).await.expect(400);
    let page = world.ann.get("/api/dashboard/member-stats?limit=1&offset=1").await.expect(200);
    assert_eq!((&page["total"], &page["members"][0]["memberName"]), (&json!(2), &json!("ann@example.com")));
    for bad in [
        "stats?bucket=week",
        "stats?from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z",
        "stats?from=2000-01-01T00:00:00Z&bucket=hour",
        "member-stats?limit=0",
        "member-stats?bucket=hour",
    ] {
        world.ann.get(&format!("/api/dashboard/{bad}")).await.expect(400);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rebuilt_index_says_the_same() {
    let mut world = World::begin().await;
    world.some_calls().await;
    let (stats, audit) = (
        world.ann.get("/api/dashboard/stats?bucket=hour").await.expect(200),
        world.ann.get("/api/audit").await.expect(200),
    );
    world.gate.stop().await;
    let node = std::fs::read_to_string(world.gate.data_dir().join("node")).unwrap();
    world.store.audit().clear(node.trim().parse().unwrap()).await.unwrap();
    world.gate.launch().await;
    let ann = world.gate.account("ann@example.com").await;
    crate::harness::until("the index to be made anew", std::time::Duration::from_secs(30), async || {
        let page = ann.get("/api/audit").await.expect(200);
        (page["total"] == audit["total"]).then_some(())
    })
    .await;
    let ids = |page: &Value| -> Vec<Value> {
        page["entries"].as_array().unwrap().iter().map(|entry| entry["id"].clone()).collect()
    };
    assert_eq!(ids(&ann.get("/api/audit").await.expect(200)), ids(&audit));
    let again = ann.get("/api/dashboard/stats?bucket=hour").await.expect(200);
    for figure in ["calls", "denied", "durations", "services"] {
        assert_eq!(again[figure], stats[figure], "{figure}");
    }
}
