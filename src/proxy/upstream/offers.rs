//! The prompts, resources and templates of one upstream, read whole and kept.
//!
//! Invariants: a list is asked for only where the upstream declares it, by one task at a time, and read
//! whole, within caps on pages, entries and bytes, or not at all; an upstream that cannot be asked keeps
//! its old list, marked; nothing here waits for another upstream.

mod pages;

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use serde_json::json;
use tokio::sync::OwnedMutexGuard;
use tokio_util::sync::CancellationToken;

use self::pages::EntryPages;
use super::UpstreamFailure;
use super::link::Link;
use super::patience::Patience;
use crate::connector::Limits;
use crate::mcp::catalog::{Entry, RefusedDefinition};
use crate::mcp::envelope::Offers;
use crate::mcp::{Primitive, UriTemplate};

/// The longest time for reading a whole list, in milliseconds.
const LIST_MS_MAX: u32 = 60_000;
/// How long a caller waits for a list to be read again before it is shown the old one.
const REFRESH_WAIT: Duration = Duration::from_secs(2);
/// A list that could not be read is not asked for again sooner.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// A whole list, as the upstream gave it.
#[derive(Debug)]
pub struct Offered {
    pub of: Primitive,
    pub entries: Vec<Entry>,
    /// Entries that cannot be offered, and why.
    pub refused: Vec<RefusedDefinition>,
    /// The shortest time for which the upstream lets a page be kept, in milliseconds.
    pub ttl_ms: Option<u64>,
    names: HashSet<Arc<str>>,
    templates: Vec<UriTemplate>,
    /// What stands before the paths: `scheme://authority`.
    roots: BTreeSet<String>,
    read: Instant,
    changes: u64,
}

/// How an upstream comes to own a URI, strongest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Claim {
    /// It lists the very resource, or the very template.
    Exact,
    /// One of its templates matches, with so many bytes that are no variable: the fewer bytes are left
    /// (of `usize::MAX`), the more the template says.
    Template(usize),
}

impl Offered {
    fn new(of: Primitive, pages: EntryPages, changes: u64) -> Self {
        let (entries, refused, ttl_ms) = pages.finish();
        let names = entries.iter().map(|entry| Arc::clone(&entry.name)).collect();
        let templates = match of {
            Primitive::Templates => entries.iter().filter_map(|e| UriTemplate::parse(&e.name)).collect(),
            _ => Vec::new(),
        };
        let roots = match of {
            Primitive::Resources | Primitive::Templates => {
                entries.iter().filter_map(|entry| root(&entry.name).map(str::to_owned)).collect()
            }
            Primitive::Tools | Primitive::Prompts => BTreeSet::new(),
        };
        Self { of, entries, refused, ttl_ms, names, templates, roots, read: Instant::now(), changes }
    }

    /// Whether, and how, a URI or the text of a template belongs here.
    pub fn claim(&self, uri: &str) -> Option<Claim> {
        if self.names.contains(uri) {
            return Some(Claim::Exact);
        }
        let matching = self.templates.iter().filter(|template| template.matches(uri));
        matching.map(|template| Claim::Template(usize::MAX - template.literal_bytes())).min()
    }

    /// Whether something here begins with this scheme and authority.
    pub fn has_root(&self, root: &str) -> bool {
        self.roots.contains(root)
    }

    /// Whether something here has this scheme.
    pub fn has_scheme(&self, scheme: &str) -> bool {
        let of_scheme = |root: &String| root.strip_prefix(scheme).is_some_and(|rest| rest.starts_with(':'));
        self.roots.iter().any(of_scheme)
    }
}

/// `scheme://authority` of a URI, without its path; the scheme alone where it has no authority.
/// Nothing where a variable stands in it.
pub fn root(uri: &str) -> Option<&str> {
    let (scheme, rest) = uri.split_once(':')?;
    let length = match rest.strip_prefix("//") {
        Some(after) => scheme.len() + 3 + after.find(['/', '?', '#']).unwrap_or(after.len()),
        None => scheme.len() + 1,
    };
    uri.get(..length).filter(|root| !root.contains(['{', '}']))
}

/// One list of one upstream.
#[derive(Debug, Default)]
pub(super) struct Offer {
    listed: ArcSwapOption<Offered>,
    reading: Arc<tokio::sync::Mutex<()>>,
    failed: Mutex<Option<(Instant, UpstreamFailure)>>,
}

impl Offer {
    /// The list as it was last read.
    pub fn known(&self) -> Option<Arc<Offered>> {
        self.listed.load_full()
    }
}

const fn declares(offers: Offers, of: Primitive) -> bool {
    match of {
        Primitive::Tools => offers.tools,
        Primitive::Prompts => offers.prompts,
        Primitive::Resources | Primitive::Templates => offers.resources,
    }
}

impl Link {
    /// The list, read again if it is time; then an old one is shown to whoever waited two seconds.
    ///
    /// # Errors
    /// There is no list and none can be had within `catalogue_wait_ms_max`.
    pub async fn offered(self: &Arc<Self>, of: Primitive) -> Result<Arc<Offered>, UpstreamFailure> {
        let offer = self.offer(of);
        let known = offer.known();
        if let Some(listed) = &known
            && self.is_current(listed)
        {
            return Ok(Arc::clone(listed));
        }
        let wait = match known {
            Some(_) => REFRESH_WAIT,
            None => Duration::from_millis(self.limits.catalogue_wait_ms_max.into()),
        };
        let limit = self.limits.catalogue_waiters_max;
        let Ok(_place) = self.waiters.try_acquire() else {
            return known.ok_or(UpstreamFailure::Busy { limit });
        };
        match (tokio::time::timeout(wait, self.read_offer(of)).await, known) {
            (Ok(Ok(fresh)), _) => Ok(fresh),
            (_, Some(old)) => Ok(old),
            (Ok(Err(failure)), None) => Err(failure),
            (Err(_), None) => {
                let why = format!("it has not answered `{}` within {} ms", of.method(), wait.as_millis());
                Err(UpstreamFailure::unreachable(why))
            }
        }
    }

    fn is_current(&self, listed: &Offered) -> bool {
        let ttl = Duration::from_millis(self.limits.catalogue_ttl_ms.into());
        listed.changes == self.changed.count_of(listed.of) && listed.read.elapsed() < ttl
    }

    async fn read_offer(self: &Arc<Self>, of: Primitive) -> Result<Arc<Offered>, UpstreamFailure> {
        let turn = Arc::clone(&self.offer(of).reading).lock_owned().await;
        // A caller that goes away leaves the reading to end by itself.
        let read = self.background.spawn(Arc::clone(self).read_offer_now(of, turn)).await;
        read.unwrap_or_else(|_| Err(UpstreamFailure::unreachable("the gate is stopping")))
    }

    async fn read_offer_now(
        self: Arc<Self>,
        of: Primitive,
        turn: OwnedMutexGuard<()>,
    ) -> Result<Arc<Offered>, UpstreamFailure> {
        let offer = self.offer(of);
        if let Some(listed) = offer.known().filter(|listed| self.is_current(listed)) {
            return Ok(listed);
        }
        if let Some((at, failure)) = &*offer.failed.lock()
            && at.elapsed() < RETRY_AFTER
        {
            return Err(failure.clone());
        }
        let mut slot = self.gate.look(Instant::now())?;
        let read = self.read_entry_pages(of).await;
        match &read {
            Ok(listed) => {
                slot.succeeded();
                offer.listed.store(Some(Arc::clone(listed)));
                *offer.failed.lock() = None;
                for entry in &listed.refused {
                    tracing::warn!(service = %self.service, list = of.method(), name = entry.name, why = entry.why,
                        "left out of the list");
                }
            }
            Err(failure) => {
                slot.failed(failure, Instant::now());
                *offer.failed.lock() = Some((Instant::now(), failure.clone()));
                tracing::warn!(service = %self.service, list = of.method(), %failure, "the list cannot be read");
            }
        }
        drop(turn);
        read
    }

    async fn read_entry_pages(&self, of: Primitive) -> Result<Arc<Offered>, UpstreamFailure> {
        let call_ms_max = self.limits.call_ms_max.min(LIST_MS_MAX);
        let limits = Limits { call_ms_max, ..self.limits };
        let patience = Patience::begin(&limits, CancellationToken::new());
        let changes = self.changed.count_of(of);
        let mut pages = EntryPages::new(of);
        let mut next = declares(self.offers(&patience).await?, of);
        let mut cursor: Option<String> = None;
        while next {
            let params = cursor.as_ref().map(|cursor| json!({ "cursor": cursor }).to_string());
            let body = self.ask(of.method(), params.as_deref(), &patience).await?;
            cursor = pages.take(&body)?;
            next = cursor.is_some();
        }
        Ok(Arc::new(Offered::new(of, pages, changes)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_of_a_uri_is_what_stands_before_its_path() {
        for (uri, expect) in [
            ("file:///a/b", Some("file://")),
            ("db://host:1/x", Some("db://host:1")),
            ("db://host?x", Some("db://host")),
            ("urn:a:b", Some("urn:")),
            ("x://{host}/a", None),
            ("x://h/{a}", Some("x://h")),
            ("nothing", None),
        ] {
            assert_eq!(root(uri), expect, "{uri}");
        }
    }
}
