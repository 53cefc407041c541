//! A change that was acknowledged is there after `kill -9`: of the program that writes, on each
//! database, and of PostgreSQL itself.
//!
//! Short form five kills of a writer and three of PostgreSQL; `make kill-long` sets `WICKET_TEST_STORE_KILLS`.

use std::collections::HashSet;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use super::database::postgresql::Server;
use super::database::skip::{setting, setting_or, skip};
use super::*;

/// Where the child writes. Without it the child does nothing, so that running ignored tests by hand is
/// harmless.
const URL_VARIABLE: &str = "WICKET_TEST_KILLED_URL";

fn rounds(short: u64) -> u64 {
    setting_or("WICKET_TEST_STORE_KILLS", short)
}

/// Creates an agent of a new name; the generation and the name, once it is acknowledged.
async fn create_one(store: &Store) -> Result<(u64, String), StoreError> {
    let mut agent = agent(1, "");
    agent.id = AgentId::from_uuid(Uuid::new_v7(uuid::Timestamp::now(uuid::NoContext)));
    agent.name = agent.id.to_string();
    Ok((store.agents().create(&agent).await?.get(), agent.name))
}

/// Whether every acknowledged change is there, and nothing besides but what was under way at a kill.
async fn assert_kept(store: &Store, acknowledged: &[(u64, String)], under_way_max: u64, when: &str) {
    let directory = store.directory().await.unwrap();
    let names: HashSet<_> = directory.agents.iter().map(|agent| agent.name.as_str()).collect();
    for (generation, name) in acknowledged {
        assert!(names.contains(name.as_str()), "{when}: {name} of {generation} is gone");
    }
    let newest = acknowledged.iter().map(|(generation, _)| *generation).max().unwrap();
    assert!(directory.generation.get() >= newest, "{when}");
    assert_eq!(directory.generation.get(), directory.agents.len() as u64, "{when}");
    let besides = directory.agents.len() as u64 - acknowledged.len() as u64;
    assert!(besides <= under_way_max, "{when}: {besides} changes that nobody was told of");
}

/// The child: changes the store without end, and prints each acknowledged change.
#[tokio::test]
#[ignore = "the child of `acknowledged_changes_survive_a_kill_of_who_made_them`"]
async fn child() {
    let Some(url) = setting(URL_VARIABLE) else { return };
    let store = Store::open(&url).await.unwrap();
    for _ in 0..100_000 {
        let (generation, name) = create_one(&store).await.unwrap();
        println!("acknowledged {generation} {name}");
    }
}

#[tokio::test]
async fn acknowledged_changes_survive_a_kill_of_who_made_them() {
    on_each_database(async |database| {
        let mut acknowledged: Vec<(u64, String)> = Vec::new();
        for round in 0..rounds(5) {
            let mut child = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "store::tests::killed::child", "--ignored", "--nocapture"])
                .env(URL_VARIABLE, &database.url)
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
                if seen == 20 * (round % 5) + 5 {
                    child.kill().unwrap();
                }
            }
            child.wait().unwrap();
            let store = database.open().await;
            // The server may still be busy with what the killed one asked for: ask behind it.
            drop(store.change().await.unwrap());
            assert_kept(&store, &acknowledged, round + 1, &format!("{}, kill {round}", database.kind)).await;
            store.close().await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_changes_survive_a_kill_of_postgresql() {
    // With fsync, as an operator's has it.
    let server = match Server::start(&[], &[]) {
        Ok(server) => server,
        Err(why) => return skip("postgresql", &why),
    };
    let url = server.url(&server.create_database());
    let stores: Vec<Store> =
        futures_util::future::join_all((0..3).map(|_| async { Store::open(&url).await.unwrap() })).await;
    let (rounds, mut acknowledged) = (rounds(3), Vec::new());
    for round in 0..rounds {
        let writers: Vec<_> = stores
            .iter()
            .cloned()
            .map(|store| {
                tokio::spawn(async move {
                    let mut acknowledged = Vec::new();
                    while let Ok(one) = create_one(&store).await {
                        acknowledged.push(one);
                    }
                    acknowledged
                })
            })
            .collect();
        tokio::time::sleep(std::time::Duration::from_millis(100 + 70 * (round % 5))).await;
        tokio::task::block_in_place(|| server.kill());
        for writer in writers {
            acknowledged.append(&mut writer.await.unwrap());
        }
        tokio::task::block_in_place(|| server.launch());
        let under_way_max = (round + 1) * stores.len() as u64;
        assert_kept(&stores[0], &acknowledged, under_way_max, &format!("kill {round}")).await;
    }
    assert!(acknowledged.len() as u64 > rounds, "nothing was written");
    println!("{rounds} kills of PostgreSQL, {} acknowledged changes kept", acknowledged.len());
}
