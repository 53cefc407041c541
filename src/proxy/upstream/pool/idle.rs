//! Connections that nobody uses at the moment, and the one over HTTP/2, which many use at once.
//!
//! Invariants: at most so many are kept; one that its server closed, or that says something unasked, is not
//! given out; one that was not used for [`IDLE_MAX`] is closed, whether another is asked for or not.

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http2::SendRequest;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::http1::Connection;

/// A connection that carried nothing for so long is closed.
const IDLE_MAX: Duration = Duration::from_secs(60);
/// How often it is looked which are to be closed.
const SWEEP: Duration = Duration::from_secs(5);

/// The connections.
pub struct Idle {
    kept: Mutex<Kept>,
    max: usize,
}

/// Requests over HTTP/2.
pub type Http2 = SendRequest<Full<Bytes>>;

#[derive(Default)]
struct Kept {
    /// The last used are the last, and the first to be used again.
    connections: Vec<(Instant, Box<Connection>)>,
    /// When it was last asked for. Streams over it go on when it is not kept any more.
    http2: Option<(Instant, Http2)>,
    /// Somebody looks after them.
    swept: bool,
}

impl fmt::Debug for Idle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kept = self.kept.lock();
        let http2 = if kept.http2.is_some() { " and HTTP/2" } else { "" };
        write!(f, "Idle({} of {}{http2})", kept.connections.len(), self.max)
    }
}

impl Idle {
    pub fn new(max: usize) -> Self {
        Self { kept: Mutex::default(), max }
    }

    /// A connection to use.
    pub fn take(&self) -> Option<Box<Connection>> {
        loop {
            let (_, mut connection) = self.kept.lock().connections.pop()?;
            if connection.is_idle() {
                return Some(connection);
            }
        }
    }

    /// Keeps a connection whose answer was read to the end. Outside of a runtime it is closed.
    pub fn put(self: &Arc<Self>, mut connection: Box<Connection>) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        connection.rest();
        let mut kept = self.kept.lock();
        if kept.connections.len() >= self.max {
            return;
        }
        kept.connections.push((Instant::now(), connection));
        let begins = !std::mem::replace(&mut kept.swept, true);
        drop(kept);
        self.look_after(begins, &runtime);
    }

    /// The connection over HTTP/2, if there is one.
    pub fn http2(&self) -> Option<Http2> {
        let mut kept = self.kept.lock();
        kept.http2.take_if(|(since, http2)| http2.is_closed() || since.elapsed() >= IDLE_MAX);
        let (since, http2) = kept.http2.as_mut()?;
        *since = Instant::now();
        Some(http2.clone())
    }

    /// Keeps a connection over HTTP/2, unless another one is kept.
    pub fn keep_http2(self: &Arc<Self>, http2: Http2) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let mut kept = self.kept.lock();
        if kept.http2.as_ref().is_none_or(|(_, kept)| kept.is_closed()) {
            kept.http2 = Some((Instant::now(), http2));
            let begins = !std::mem::replace(&mut kept.swept, true);
            drop(kept);
            self.look_after(begins, &runtime);
        }
    }

    /// Gives the connection over HTTP/2 to nobody any more.
    pub fn forget_http2(&self) {
        let forgotten = self.kept.lock().http2.take();
        drop(forgotten);
    }

    /// Without the lock: a runtime that ends drops what it is given at once, which takes the lock.
    fn look_after(self: &Arc<Self>, begins: bool, runtime: &tokio::runtime::Handle) {
        if begins {
            drop(runtime.spawn(sweep(Sweeping { idle: Arc::downgrade(self), over: false })));
        }
    }

    /// Closes what is too old or was closed; says whether any is left.
    fn clear(&self) -> bool {
        // Sockets are asked without the lock, which every call takes.
        let taken = std::mem::take(&mut self.kept.lock().connections);
        let now = Instant::now();
        let is_young = |since: Instant| now.duration_since(since) < IDLE_MAX;
        let (mut stay, mut gone) = (Vec::with_capacity(taken.len()), Vec::new());
        for (since, mut connection) in taken {
            let stays = is_young(since) && connection.is_idle();
            if stays { stay.push((since, connection)) } else { gone.push(connection) }
        }
        let mut kept = self.kept.lock();
        stay.append(&mut kept.connections);
        stay.truncate(self.max);
        kept.connections = stay;
        let old = kept.http2.take_if(|(since, http2)| http2.is_closed() || !is_young(*since));
        kept.swept = !kept.connections.is_empty() || kept.http2.is_some();
        let any = kept.swept;
        drop(kept);
        drop((gone, old));
        any
    }
}

/// Whoever looks after the connections. When its runtime ends, another may.
struct Sweeping {
    idle: Weak<Idle>,
    /// There is nothing to look after any more, which was said under the lock: another may have begun.
    over: bool,
}

impl Drop for Sweeping {
    fn drop(&mut self) {
        if let Some(idle) = self.idle.upgrade().filter(|_| !self.over) {
            idle.kept.lock().swept = false;
        }
    }
}

/// Looks after the connections until there are none.
async fn sweep(mut sweeping: Sweeping) {
    while !sweeping.over {
        tokio::time::sleep(SWEEP).await;
        sweeping.over = !sweeping.idle.upgrade().is_some_and(|idle| idle.clear());
    }
}
