//! Follows the directory in the store: what another gate changed, or what was stored here and could not
//! be put in force, holds soon (decision 16).
//!
//! Invariants: the store is asked every second, whatever is heard; so a notification that is lost costs
//! a second, and a session that breaks is opened anew beside the asking. What was asked in vain confirms
//! nothing: the snapshot's bound runs on, and calls are refused when it is reached.

use std::cmp::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::control::live::Live as _;
use crate::model::Timestamp;
use crate::store::Store;

use super::workers::Charge;

/// The store is asked so often.
const ASKED: Duration = Duration::from_secs(1);
/// A session that broke is opened again after this.
const AGAIN: Duration = Duration::from_millis(100);
/// Other gates are told so often that this one lives.
const SEEN: Duration = Duration::from_secs(5);

/// Follows until `stop` turns true.
pub async fn run(charge: Charge, mut stop: watch::Receiver<bool>) {
    let (tell, mut told) = watch::channel(());
    let hearing = charge.store.is_shared().then(|| tokio::spawn(hear(charge.store.clone(), tell)));
    let mut last_seen = None::<Instant>;
    let mut failing = None::<String>;
    loop {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => break,
            Ok(()) = told.changed() => {}
            () = tokio::time::sleep(ASKED) => {}
        }
        let caught_up = catch_up(&charge).await;
        if let Err(error) = &caught_up
            && failing.as_ref() != Some(error)
        {
            // Once for each reason: the rounds go on.
            tracing::warn!(error, "changes of agents, members and keys may not hold yet");
        }
        failing = caught_up.err();
        let due = last_seen.is_none_or(|last| last.elapsed() >= SEEN);
        if due && failing.is_none() && charge.store.is_shared() {
            last_seen = Some(Instant::now());
            seen(&charge).await;
        }
    }
    if let Some(hearing) = hearing {
        hearing.abort();
    }
}

/// Puts in force what the store holds, where that is newer; confirms the directory where it is not.
async fn catch_up(charge: &Charge) -> Result<(), String> {
    let asked = Instant::now();
    let stored = charge.store.generation().await.map_err(|error| error.to_string())?;
    let in_force = charge.running.live.load().directory.generation;
    match stored.get().cmp(&in_force) {
        Ordering::Equal => {
            // A set that could not be built denies its agent everything: perhaps it builds now.
            charge.running.live.mend();
            charge.running.live.confirm(asked);
        }
        Ordering::Greater => drop(charge.running.refresh().await?),
        Ordering::Less => {
            return Err(format!(
                "the database went back from generation {in_force} to {stored}: it was restored, or another \
                 server took over that lacks the last changes; restart this gate to take what it holds now"
            ));
        }
    }
    Ok(())
}

/// Tells other gates that this one lives.
async fn seen(charge: &Charge) {
    let generation = charge.running.live.load().directory.generation;
    if let Err(error) = charge.store.nodes().seen(generation, Timestamp::now()).await {
        tracing::debug!(%error, "other gates are not told that this one lives");
    }
}

/// Tells of each change that another gate (or this one) made, as soon as it is committed.
async fn hear(store: Store, tell: watch::Sender<()>) {
    let mut deaf = false;
    loop {
        match store.listen().await {
            Ok(None) => return,
            Ok(Some(mut listener)) => {
                if std::mem::take(&mut deaf) {
                    tracing::info!("changes of other gates are heard at once again");
                }
                // What was said before nobody heard.
                tell.send_replace(());
                let error = loop {
                    match listener.heard().await {
                        Ok(_) => tell.send_replace(()),
                        Err(error) => break error,
                    };
                };
                tracing::debug!(%error, "listens anew");
                tokio::time::sleep(AGAIN).await;
            }
            Err(error) => {
                if !std::mem::replace(&mut deaf, true) {
                    tracing::warn!(%error, "the store is asked every second until they are heard again");
                }
                tokio::time::sleep(ASKED).await;
            }
        }
    }
}
