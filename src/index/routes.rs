//! The routes of a workspace, ready to be matched: one immutable table, swapped whole.

use std::collections::{HashMap, HashSet};
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering};

use crate::domain::decision::Reason;
use crate::domain::id::RouteId;
use crate::domain::route::path::{BadPath, CheckedPath, cut};
use crate::domain::route::pattern::{PathTemplate, Segment};
use crate::domain::route::{Access, Factor, HeaderDemand, Route, SubscriptionSource};
use crate::domain::time::Time;
use crate::domain::workspace::Location;

use super::intern::Sets;

mod edges;
mod matcher;
mod tables;

pub use matcher::Matched;
use matcher::Matcher;

/// A route, with what its decisions leave behind. What each decision asks of it is in one line of memory, and the scopes it
/// demands are those of all routes that demand the same: with thousands of routes a decision waits for little more than that.
#[derive(Debug)]
#[repr(align(64))]
pub struct RouteRecord {
    route: Box<Route>,
    /// Scopes that a key must hold, all of them.
    pub all_of: Arc<[String]>,
    /// Scopes of which a key must hold one.
    pub any_of: Arc<[String]>,
    /// Who passed without a key; outlives the record.
    pub uses: Arc<KeylessUses>,
    /// Tells it from every other route that this process knows, whatever becomes of it.
    pub number: u32,
    /// The place in its path of the segment that names the subscription, for each of its templates' only one.
    subscription_at: Option<u16>,
    /// Who may pass.
    pub access: Access,
    /// Whether it demands a claim of a JWT.
    pub demands_jwt: bool,
    /// It has nothing of what most routes do without: factors, locations of its own, a subscription.
    plain: bool,
}

impl Deref for RouteRecord {
    type Target = Route;

    fn deref(&self) -> &Route {
        &self.route
    }
}

impl RouteRecord {
    fn new(route: Route, old: Option<&Self>, demands: &mut Sets<String>) -> Self {
        static NUMBERS: AtomicU32 = AtomicU32::new(0);
        let settings = &route.settings;
        let subscription_at = match (&settings.subscription, &settings.path) {
            (SubscriptionSource::Capture(name), Some(path)) => path.capture(name),
            _ => None,
        };
        let plain = settings.factors.is_empty()
            && settings.locations.is_empty()
            && settings.subscription == SubscriptionSource::None;
        let (uses, number) = match old {
            Some(old) => (old.uses.clone(), old.number),
            None => (Arc::default(), NUMBERS.fetch_add(1, Ordering::Relaxed)),
        };
        Self {
            all_of: demands.get(&settings.all_of),
            any_of: demands.get(&settings.any_of),
            uses,
            number,
            subscription_at: subscription_at.and_then(|at| u16::try_from(at).ok()),
            access: route.access(),
            demands_jwt: settings.demands_jwt(),
            plain,
            route: Box::new(route),
        }
    }

    /// What it demands beside the key.
    pub fn factors(&self) -> &[Factor] {
        match self.plain {
            true => &[],
            false => &self.settings.factors,
        }
    }

    /// Where a credential may be; empty: where the workspace says.
    pub fn locations(&self) -> &[Location] {
        match self.plain {
            true => &[],
            false => &self.settings.locations,
        }
    }

    /// What says which subscription a request is for.
    pub fn subscription(&self) -> &SubscriptionSource {
        match self.plain {
            true => &SubscriptionSource::None,
            false => &self.settings.subscription,
        }
    }

    /// The place in its path of the segment that names the subscription.
    pub fn subscription_at(&self) -> Option<usize> {
        self.subscription_at.map(usize::from)
    }

    /// Whether its own path takes this one; for who knows the route already.
    pub fn match_path<'t, 'p>(
        self: &'t Arc<Self>,
        path: &'p [u8],
    ) -> Result<Option<Matched<'t, 'p>>, BadPath> {
        let path = CheckedPath::check(path)?;
        let fits = self
            .settings
            .templates()
            .iter()
            .any(|own| takes(own, path.rest()));
        Ok(fits.then_some(Matched { route: self, path }))
    }

    /// Headers that may hold a key, in lower case: the request's own, or a further one.
    fn key_headers(&self) -> impl Iterator<Item = &str> {
        let own = self.locations().iter().filter_map(|l| match l {
            Location::Header(name) => Some(name.as_str()),
            _ => None,
        });
        own.chain(self.factors().iter().filter_map(Factor::key_header))
    }

    /// Headers that hold something secret beside the key, and that the service is not to see.
    pub fn hidden_headers(&self) -> impl Iterator<Item = &str> {
        self.factors().iter().filter_map(|factor| match factor {
            Factor::Header {
                demand: HeaderDemand::Present,
                ..
            }
            | Factor::Header { forward: true, .. }
            | Factor::Jwt { .. } => None,
            Factor::Header { name, .. } => Some(name.as_str()),
        })
    }
}

/// Whether a template takes the segments of a path.
fn takes(template: &PathTemplate, mut rest: Option<&[u8]>) -> bool {
    for segment in template.segments() {
        if let Segment::Rest(_) = segment {
            return true;
        }
        let Some((found, after)) = rest.map(cut) else {
            return false;
        };
        match segment {
            Segment::Literal(text) if text.as_bytes() != found => return false,
            _ => rest = after,
        }
    }
    rest.is_none()
}

/// How often requests passed that a key would have been demanded of, by what was wrong with them. Written by decisions,
/// taken by whoever writes it down.
#[derive(Debug, Default)]
pub struct KeylessUses {
    by_reason: [AtomicU64; Reason::ALL.len()],
    last: AtomicI64,
}

impl KeylessUses {
    /// Notes one.
    pub fn note(&self, reason: Reason, now: Time) {
        if let Some(count) = self.by_reason.get(reason.index()) {
            count.fetch_add(1, Ordering::Relaxed);
            self.last.fetch_max(now.micros(), Ordering::Relaxed);
        }
    }

    /// What is noted, and when the last one was.
    pub fn read(&self) -> Vec<(Reason, u64, Time)> {
        self.list(|count| count.load(Ordering::Relaxed))
    }

    /// The same, taken away.
    pub fn take(&self) -> Vec<(Reason, u64, Time)> {
        self.list(|count| match count.load(Ordering::Relaxed) {
            0 => 0,
            _ => count.swap(0, Ordering::Relaxed),
        })
    }

    /// Puts back what was taken.
    pub fn put_back(&self, reason: Reason, count: u64) {
        if let Some(noted) = self.by_reason.get(reason.index()) {
            noted.fetch_add(count, Ordering::Relaxed);
        }
    }

    fn list(&self, read: impl Fn(&AtomicU64) -> u64) -> Vec<(Reason, u64, Time)> {
        let last = Time::from_micros(self.last.load(Ordering::Relaxed));
        let all = Reason::ALL.into_iter().zip(&self.by_reason);
        all.map(|(reason, count)| (reason, read(count), last))
            .filter(|(_, count, _)| *count > 0)
            .collect()
    }
}

/// All routes of a workspace.
#[derive(Debug, Default)]
pub struct RouteTable {
    by_id: HashMap<RouteId, Arc<RouteRecord>>,
    matcher: Matcher,
    key_headers: HashSet<Box<[u8]>>,
}

impl RouteTable {
    /// The table after changes: each a route in its new state, or the id of one that is gone. An older state never replaces
    /// a newer one. `before` is the table that this one is to take the place of, in another index; `demands` has the lists of
    /// scopes of all routes. None: there is no route left.
    pub(super) fn changed(
        old: Option<&Self>,
        before: Option<&Self>,
        changes: impl IntoIterator<Item = (RouteId, Option<Route>)>,
        demands: &mut Sets<String>,
    ) -> Option<Self> {
        let mut by_id = old.map(|old| old.by_id.clone()).unwrap_or_default();
        for (id, route) in changes {
            let known = by_id.get(&id);
            match route {
                None => {
                    by_id.remove(&id);
                }
                Some(route) if known.is_some_and(|known| known.revision > route.revision) => {}
                Some(route) => {
                    let heir_of = known.or_else(|| before?.by_id.get(&id));
                    let record = RouteRecord::new(route, heir_of.map(|known| &**known), demands);
                    by_id.insert(id, Arc::new(record));
                }
            }
        }
        if by_id.is_empty() {
            return None;
        }
        let matcher = Matcher::new(by_id.values());
        let headers = by_id.values().flat_map(|route| route.key_headers());
        let key_headers = headers.map(|name| name.as_bytes().into()).collect();
        Some(Self {
            by_id,
            matcher,
            key_headers,
        })
    }

    /// A route, by id.
    pub fn get(&self, id: &str) -> Option<&Arc<RouteRecord>> {
        self.by_id.get(id)
    }

    /// All routes, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<RouteRecord>> {
        self.by_id.values()
    }

    /// The most specific route that takes a request; fails where its path can be read in more than one way. `host` is as the
    /// request says it, `path` may have a query. Where host or method are not known they are empty, and only routes that ask
    /// for none match.
    pub fn find<'t, 'p>(
        &'t self,
        host: &[u8],
        method: &[u8],
        path: &'p [u8],
    ) -> Result<Option<Matched<'t, 'p>>, BadPath> {
        self.matcher.find(host, method, path)
    }

    /// Whether one of its routes takes keys from this header.
    pub fn takes_keys_from(&self, header: &[u8]) -> bool {
        !self.key_headers.is_empty() && self.key_headers.contains(&*header.to_ascii_lowercase())
    }

    /// The hosts that its routes claim, each as [`claimants`] looks for it.
    pub(super) fn claimed_hosts(&self) -> impl Iterator<Item = &[u8]> {
        self.iter().flat_map(|route| claimed_by(route))
    }
}

/// The same of one route.
pub(super) fn claimed_by(route: &Route) -> impl Iterator<Item = &[u8]> {
    let hosts = route.settings.hosts.iter();
    hosts
        .filter(|_| route.settings.claims_hosts)
        .map(|host| host.suffix().unwrap_or(host.as_str()).as_bytes())
}

/// Under which names a host in its normal form may be claimed: its own, and the suffixes above it, the longest first. A
/// suffix begins with a dot, as no host does.
fn claimants(host: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::once(host).chain(matcher::suffixes(host))
}
