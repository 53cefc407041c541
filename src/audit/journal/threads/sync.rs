//! The sync thread of mode `durable`: one group after the other.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Shared, publish};
use crate::model::Timestamp;

/// How often it looks without being asked.
const LOOK: Duration = Duration::from_millis(500);

pub(super) fn run(shared: &Shared) {
    loop {
        let mut writer = shared.writer.lock();
        let sync = loop {
            if writer.sync_wanted && (writer.has_unsynced() || writer.can_turn()) {
                break true;
            }
            if writer.write_wanted && writer.has_pending() {
                break false;
            }
            if writer.sync_stop {
                return;
            }
            shared.sync_signal.wait_for(&mut writer, LOOK);
        };
        writer.write_wanted = false;
        if sync {
            writer.sync_wanted = false;
        }
        let Some(group) = writer.take_group(sync, Timestamp::now()) else { continue };
        writer.sync_started = Some(Instant::now());
        let disk = Arc::clone(&writer.disk);
        drop(writer);

        let reached = group.put(&*disk);

        let mut writer = shared.writer.lock();
        writer.sync_started = None;
        if let Err(reason) = writer.group_ended(group, reached) {
            shared.refuse(&reason);
        }
        publish(&writer, shared);
    }
}
