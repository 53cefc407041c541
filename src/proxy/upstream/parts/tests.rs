//! The parts against upstreams that refuse one resource, large requests, or too many of them.

use super::*;

fn uris(names: impl IntoIterator<Item = usize>) -> Uris {
    names.into_iter().map(|n| Arc::from(format!("x://{n:04}"))).collect()
}

/// An upstream that takes a request or refuses it.
struct Upstream<F> {
    parts: Parts,
    takes: F,
    requests: usize,
    next: u64,
    open: BTreeMap<u64, Uris>,
    refused: Uris,
}

impl<F: Fn(&Uris) -> bool> Upstream<F> {
    fn new(takes: F) -> Self {
        let (open, refused) = (BTreeMap::new(), Uris::new());
        Self { parts: Parts::new(), takes, requests: 0, next: 1, open, refused }
    }

    /// Wants these, and runs until nothing is due.
    fn want(&mut self, wanted: &Uris, now: Instant) {
        let wanted: Uris = wanted.difference(&self.refused).cloned().collect();
        for id in self.parts.settle(&wanted, false, now) {
            self.open.remove(&id);
        }
        while let Some(asked) = self.parts.next(self.next, now) {
            let (id, asked) = (self.next, asked.into_iter().collect::<Uris>());
            self.next += 1;
            self.requests += 1;
            assert!(self.requests < 5_000, "a storm");
            if (self.takes)(&asked) {
                self.open.insert(id, asked);
                let (opened, left_out) = self.parts.opened(id, None);
                assert!(opened.missed.is_empty() && left_out.is_empty());
                for id in opened.close {
                    self.open.remove(&id);
                }
            } else {
                self.refused.extend(self.parts.refused(id, now));
            }
        }
        self.refused.extend(self.parts.left_out());
        assert!(self.open.len() <= PARTS_MAX);
    }

    fn heard(&self) -> Uris {
        self.open.values().flatten().cloned().collect()
    }
}

#[test]
fn one_that_is_refused_takes_no_other_with_it() {
    let (now, bad) = (Instant::now(), uris([7, 400]));
    let mut upstream = Upstream::new(|asked| asked.is_disjoint(&bad));
    let wanted = uris(0..1_000);
    upstream.want(&wanted, now);
    assert_eq!(upstream.refused, bad);
    assert_eq!(upstream.heard(), wanted.difference(&bad).cloned().collect());
    assert!(upstream.requests < 50, "{} requests", upstream.requests);
    // Nothing new is wanted: the many streams become few, and nothing is asked twice after.
    upstream.want(&wanted, now);
    assert!(upstream.open.len() <= PARTS_FEW, "{} streams", upstream.open.len());
    assert_eq!(upstream.heard().len(), 998);
    let requests = upstream.requests;
    upstream.want(&wanted, now);
    assert_eq!(upstream.requests, requests);
}

#[test]
fn new_ones_leave_open_streams_as_they_are() {
    let now = Instant::now();
    let bad = uris([50]);
    let mut upstream = Upstream::new(|asked| asked.is_disjoint(&bad));
    upstream.want(&uris(0..10), now);
    upstream.want(&uris((0..10).chain([50])), now);
    upstream.want(&uris((0..10).chain([50, 51])), now);
    assert_eq!(upstream.open.values().map(BTreeSet::len).collect::<Vec<_>>(), [10, 1]);
    assert_eq!((upstream.requests, upstream.refused.clone()), (3, bad.clone()));
    upstream.want(&uris([51]), now);
    assert_eq!(upstream.heard(), uris([51]));
    upstream.want(&Uris::new(), now);
    assert!(upstream.open.is_empty());
}

#[test]
fn an_upstream_that_takes_few_at_a_time_is_asked_in_portions() {
    let now = Instant::now();
    for (most, wanted, heard) in [(100, 1_000, 1_000), (40, 1_000, 1_000), (1, 30, 30)] {
        let mut upstream = Upstream::new(|asked| asked.len() <= most);
        for _ in 0..8 {
            upstream.want(&uris(0..wanted), now);
        }
        assert_eq!(upstream.heard().len(), heard, "{most} at a time");
        assert!(upstream.requests < 200, "{} requests", upstream.requests);
    }
    let mut upstream = Upstream::new(|asked| asked.len() == 1);
    upstream.want(&uris(0..100), now);
    assert_eq!(upstream.open.len(), PARTS_MAX);
    assert_eq!(upstream.heard().len() + upstream.refused.len(), 100, "none is lost sight of");
}

#[test]
fn one_that_refuses_all_is_not_asked_for_ever() {
    let mut upstream = Upstream::new(|_| false);
    upstream.want(&uris(0..200), Instant::now());
    assert_eq!((upstream.refused.len(), upstream.open.len()), (200, 0));
    assert!(upstream.requests <= 400);
}

#[test]
fn a_stream_that_breaks_is_asked_for_again_later_and_tells_what_was_missed() {
    let now = Instant::now();
    let mut parts = Parts::new();
    parts.settle(&uris([1, 2]), false, now);
    parts.next(1, now).unwrap();
    assert_eq!(parts.opened(1, None).0.missed, []);
    assert_eq!(parts.broken(1, true, now), None);
    assert_eq!(parts.next(2, now), None);
    assert_eq!(parts.wakes(), Some(now + PAUSE_MIN));
    let later = now + PAUSE_MIN;
    assert_eq!(parts.next(2, later).unwrap().len(), 2);
    assert_eq!(parts.opened(2, None).0.missed.len(), 2);
    assert_eq!(parts.opened(2, None).0.missed, [], "once");

    // One that is cut again and again before it is acknowledged is as good as refused.
    assert_eq!(parts.broken(2, true, later), None);
    let (mut now, mut refused, mut id) = (later, Vec::new(), 3);
    for _ in 0..20 {
        now += PAUSE_MAX;
        while parts.next(id, now).is_some() {
            refused.extend(parts.broken(id, true, now));
            id += 1;
        }
    }
    assert_eq!((refused.len(), id < 30), (2, true), "each by itself, and not for ever: {refused:?}");
    // What cannot be reached at all is no refusal.
    parts.settle(&uris([9]), false, now);
    let mut pauses = Vec::new();
    for _ in 0..20 {
        parts.next(id, now).unwrap();
        assert_eq!(parts.broken(id, false, now), None);
        id += 1;
        let due = parts.wakes().unwrap();
        pauses.push((due - now).as_secs());
        now = due;
    }
    assert_eq!((pauses[..7].to_vec(), pauses[19]), (vec![1, 2, 4, 8, 16, 32, 60], 60));
}

#[test]
fn what_an_acknowledgement_leaves_out_goes_without() {
    let now = Instant::now();
    let mut parts = Parts::new();
    parts.settle(&uris([1, 2]), false, now);
    parts.next(1, now).unwrap();
    let (opened, left_out) = parts.opened(1, Some(&["x://0002".to_owned()]));
    assert_eq!((left_out.len(), opened.heard.len()), (1, 1));
    parts.settle(&uris([3]), false, now);
    parts.next(2, now).unwrap();
    assert!(parts.taken(now).is_empty());
    assert_eq!(parts.taken(now + TAKEN_AFTER), [2]);
    assert_eq!(parts.opened(7, None), Default::default(), "another's");
}
