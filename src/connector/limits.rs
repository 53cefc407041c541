//! The bounds within which one upstream is used (decision 14), with their units.

/// Limits of one connector; the defaults are those of decision 14.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Milliseconds without a byte (headers or progress count) before a call is given up with 504.
    pub silence_ms_max: u32,
    /// Milliseconds of a call's whole life.
    pub call_ms_max: u32,
    /// Calls in flight at once; one more is refused.
    pub in_flight_max: u32,
    /// Bytes of a whole reply.
    pub reply_bytes_max: u32,
    /// Bytes of one event of a streamed reply.
    pub event_bytes_max: u32,
    /// Milliseconds for a connection, TLS included, or for a child process to answer `initialize`.
    pub dial_ms_max: u32,
    /// Milliseconds for which an upstream's tool list is believed.
    pub catalogue_ttl_ms: u32,
    /// Milliseconds for which callers wait for the first list, from when it was asked for.
    pub catalogue_wait_ms_max: u32,
    /// Callers that may wait for a list at once; one more is refused.
    pub catalogue_waiters_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            silence_ms_max: 30_000,
            call_ms_max: 600_000,
            in_flight_max: 64,
            reply_bytes_max: 16 * 1024 * 1024,
            event_bytes_max: 4 * 1024 * 1024,
            dial_ms_max: 5_000,
            catalogue_ttl_ms: 300_000,
            catalogue_wait_ms_max: 5_000,
            catalogue_waiters_max: 32,
        }
    }
}
