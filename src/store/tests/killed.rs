//! A change that was acknowledged is there after `kill -9`.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use super::*;

/// Without this file in its directory the child does nothing, so that running ignored tests by hand
/// is harmless.
const MARKER: &str = "killed.marker";
const ROUNDS: u8 = 5;

/// The child: changes the store without end, and prints each acknowledged change.
#[tokio::test]
#[ignore = "the child of `acknowledged_changes_survive_kill_9`"]
async fn child() {
    if !Path::new(MARKER).exists() {
        return;
    }
    let store = Store::open("sqlite:wicket.db").await.unwrap();
    for _ in 0..100_000 {
        let mut agent = agent(1, "");
        agent.id = AgentId::from_uuid(Uuid::new_v7(uuid::Timestamp::now(uuid::NoContext)));
        agent.name = agent.id.to_string();
        let generation = store.agents().create(&agent).await.unwrap();
        println!("acknowledged {generation} {}", agent.name);
    }
}

#[tokio::test]
async fn acknowledged_changes_survive_kill_9() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join(MARKER), "").unwrap();
    let mut acknowledged: Vec<(u64, String)> = Vec::new();
    for round in 0..ROUNDS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "store::tests::killed::child", "--ignored", "--nocapture"])
            .current_dir(dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut seen = 0;
        // What was in the pipe when it died was acknowledged too: read to the end.
        for line in lines.map_while(Result::ok) {
            let Some((_, fact)) = line.split_once("acknowledged ") else { continue };
            let (generation, name) = fact.split_once(' ').unwrap();
            acknowledged.push((generation.parse().unwrap(), name.to_owned()));
            seen += 1;
            if seen == 20 * u32::from(round) + 5 {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        let store = Store::open(&url(&dir.path().join("wicket.db"))).await.unwrap();
        let directory = store.directory().await.unwrap();
        let names: std::collections::HashSet<_> = directory.agents.iter().map(|a| a.name.as_str()).collect();
        for (generation, name) in &acknowledged {
            assert!(names.contains(name.as_str()), "round {round}: {name} of {generation} is gone");
        }
        let newest = acknowledged.iter().map(|(generation, _)| *generation).max().unwrap();
        assert!(directory.generation.get() >= newest);
        // At most the change that was under way when it died is there without an acknowledgement.
        assert_eq!(directory.generation.get(), directory.agents.len() as u64);
        assert!(directory.agents.len() <= acknowledged.len() + usize::from(round) + 1);
        store.close().await;
    }
}
