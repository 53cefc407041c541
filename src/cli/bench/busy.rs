//! What the generator knows of itself: the CPU time of its threads, and timers that are punctual.

use std::time::Duration;

/// CPU time of the calling thread so far; zero where the system does not say.
///
/// Source: proc(5), `/proc/thread-self/schedstat`, first field, in nanoseconds.
pub fn of_this_thread() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let spent = text.split_whitespace().next().and_then(|field| field.parse().ok());
    Duration::from_nanos(spent.unwrap_or(0))
}

/// Asks the system to wake the calling thread when it is due, not up to 50 microseconds later. Where
/// that is not granted the generator is a little later, and says by how much.
///
/// Source: proc(5), `timerslack_ns`.
pub fn wake_punctually() {
    if let Ok(own) = std::fs::read_link("/proc/thread-self")
        && let Some(thread) = own.file_name()
    {
        drop(std::fs::write(std::path::Path::new("/proc").join(thread).join("timerslack_ns"), "1"));
    }
}
