//! Routes in a decision: which one takes the request, where it lets a key be, who passes without one, and what else it
//! demands.

use std::fmt;
use std::net::IpAddr;

use crate::domain::decision::Reason;
use crate::domain::route::{Factor, HeaderDemand, SubscriptionSource, ValueTag};
use crate::domain::time::Time;
use crate::domain::workspace::{Location, UnmatchedRequests};
use crate::index::{KeyRecord, Matched, RouteRecord, View, WorkspaceRecord};

use super::identify::look_up;
use super::{
    Demand, Demands, Headers, Identified, Presented, Question, Verdict, check_alive, check_network,
    holds,
};

/// What a request is matched with routes by, and what was verified of it.
#[derive(Clone, Copy, Default)]
pub struct Attributes<'q> {
    /// The route it takes, where the caller knows; empty: found by what follows.
    pub route: &'q str,
    /// Its method; empty: not known.
    pub method: &'q [u8],
    /// Its host; empty: not known.
    pub host: &'q [u8],
    /// Its path with the query, as received; empty: not known.
    pub path: &'q [u8],
    /// Claims that somebody trusted has verified.
    pub claims: Option<&'q dyn Claims>,
}

// By hand: claims are about people.
impl fmt::Debug for Attributes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attributes")
            .field("route", &self.route)
            .field("method", &self.method)
            .field("host", &self.host)
            .finish_non_exhaustive()
    }
}

/// Claims of a JWT that somebody verified.
pub trait Claims {
    /// Calls `each` with every value of a claim: one, or those of a list. `payload` is the name under which Envoy has it; who
    /// knows one set of claims only does not ask for it.
    fn for_each<'c>(&'c self, payload: &str, claim: &str, each: &mut dyn FnMut(&'c [u8]));
}

/// The route that a decision is about.
#[derive(Debug, Clone, Copy)]
pub struct Taken<'v> {
    /// The route.
    pub route: &'v RouteRecord,
    /// The subscription that it finds in the request.
    subscription: Asked<'v>,
}

#[derive(Debug, Clone, Copy)]
enum Asked<'v> {
    Nothing,
    Named(&'v str),
    /// One that is none of the workspace's, or named twice.
    Unknown,
}

/// Check 1: the route that takes the request; none where there is none and none is demanded.
pub(super) fn take<'v>(
    question: &Question<'v>,
    workspace: Option<&'v WorkspaceRecord>,
    view: &'v View<'_>,
) -> Result<Option<Taken<'v>>, Reason> {
    let table = view.routes(question.workspace);
    let attributes = &question.attributes;
    let path = attributes.path;
    let taken = if !attributes.route.is_empty() {
        // A route that is misspelt must not become no route.
        let route = table.and_then(|table| table.get(attributes.route));
        let route = route.ok_or(Reason::RouteUnknown)?;
        let matched = named(route, path)?;
        Some((&**route, matched))
    } else if let Some(table) = table {
        let found = table.find(attributes.host, attributes.method, path);
        // What can be read as another path might get around the route that it is for.
        let found = found.map_err(|_| Reason::RouteUnknown)?;
        found.map(|matched| (&**matched.route, Some(matched)))
    } else {
        None
    };
    match taken {
        Some((route, matched)) => Ok(Some(Taken {
            route,
            subscription: subscription(question, route, matched.as_ref(), view),
        })),
        None if workspace.is_some_and(|w| w.unmatched_requests == UnmatchedRequests::Deny) => {
            Err(Reason::RouteUnknown)
        }
        None => Ok(None),
    }
}

/// A route that the caller named: its path counts only where the subscription stands in it.
fn named<'v>(
    route: &'v std::sync::Arc<RouteRecord>,
    path: &'v [u8],
) -> Result<Option<Matched<'v, 'v>>, Reason> {
    if route.subscription_at().is_none() {
        return Ok(None);
    }
    let matched = route.match_path(path).map_err(|_| Reason::RouteUnknown)?;
    matched.map(Some).ok_or(Reason::RouteUnknown)
}

fn subscription<'v>(
    question: &Question<'v>,
    route: &'v RouteRecord,
    matched: Option<&Matched<'_, '_>>,
    view: &'v View<'_>,
) -> Asked<'v> {
    let known = |text: &[u8]| {
        let text = std::str::from_utf8(text).ok();
        text.and_then(|text| view.subscription_id(question.workspace, text))
            .map_or(Asked::Unknown, Asked::Named)
    };
    match route.subscription() {
        SubscriptionSource::None => Asked::Nothing,
        SubscriptionSource::Fixed(id) => Asked::Named(id.as_str()),
        SubscriptionSource::Capture(_) => route
            .subscription_at()
            .and_then(|at| matched?.path.segment(at))
            .map_or(Asked::Unknown, known),
        SubscriptionSource::Header(name) => match header(question, name) {
            Header::Absent => Asked::Nothing,
            Header::One(value) => known(value),
            Header::Several => Asked::Unknown,
        },
    }
}

enum Header<'q> {
    Absent,
    One(&'q [u8]),
    Several,
}

/// The one value of a header; an empty one is none.
fn header<'q>(question: &Question<'q>, name: &str) -> Header<'q> {
    let Presented::Http { headers, .. } = question.presented else {
        return Header::Absent;
    };
    let headers: &'q dyn Headers = headers;
    let mut found = Header::Absent;
    headers.for_each(&mut |own, value| {
        if own.eq_ignore_ascii_case(name.as_bytes()) {
            found = match (&found, value.trim_ascii()) {
                (Header::Absent, []) => Header::Absent,
                (Header::Absent, value) => Header::One(value),
                _ => Header::Several,
            };
        }
    });
    found
}

impl<'q> Question<'q> {
    /// The demands on scopes, all-of and any-of, of the request and of the route it takes.
    pub fn demands(&self, taken: Option<Taken<'q>>) -> Demands<'q> {
        let of_route = taken.map_or((Demand::NONE, Demand::NONE), |taken| {
            let route = taken.route;
            (Demand::List(&route.all_of), Demand::List(&route.any_of))
        });
        [(self.all_of, self.any_of), of_route]
    }

    /// The subscription asked for, by the request or by its route; they must agree.
    pub(super) fn asked_subscription(&self, taken: Option<Taken<'q>>) -> Result<&'q str, Reason> {
        match (self.subscription, taken.map(|t| t.subscription)) {
            (_, Some(Asked::Unknown)) => Err(Reason::SubscriptionNotAllowed),
            (own, None | Some(Asked::Nothing)) => Ok(own),
            ("", Some(Asked::Named(found))) => Ok(found),
            (own, Some(Asked::Named(found))) if own == found => Ok(found),
            _ => Err(Reason::SubscriptionNotAllowed),
        }
    }
}

impl<'v> Verdict<'v> {
    /// The route that was taken.
    pub fn route(&self) -> Option<&'v RouteRecord> {
        self.taken.map(|taken| taken.route)
    }

    /// Where a credential may be: where the route says, else the workspace.
    pub fn locations(&self) -> &'v [Location] {
        let of_route = self.route().map(RouteRecord::locations);
        let of_workspace = || self.workspace.map(|w| &*w.locations);
        of_route
            .filter(|own| !own.is_empty())
            .or_else(of_workspace)
            .unwrap_or_default()
    }

    /// The key that the request is let through with; none where it is refused, or let through without one.
    pub fn identity(&self) -> Option<Identified<'v>> {
        self.key
            .filter(|_| self.is_allow() && self.grandfathered.is_none())
    }

    /// How far `Authorization` is a place for a key.
    pub(super) fn authorization(&self) -> Authorization {
        match self.route() {
            Some(route) if route.demands_jwt => Authorization::Never,
            Some(route) if route.locations().contains(&Location::Bearer) => Authorization::AnyShape,
            _ => Authorization::NoJwt,
        }
    }

    /// Lets a request pass that came without a good key, where its route is grandfathered: everything but a dead key is
    /// recorded only. It has no identity then, and what it sent to somebody else stays on it.
    pub(super) fn pass_without_key(&mut self, reason: Reason) -> Result<(), Reason> {
        if reason.is_dead_key() {
            return Err(reason);
        }
        if self.key.is_none() {
            self.carried = super::Carried::default();
        }
        self.subscription = "";
        self.grandfathered = Some(reason);
        Ok(())
    }

    /// Check 9: what the route demands beside the key.
    pub(super) fn check_factors(
        &mut self,
        question: &Question<'v>,
        view: &'v View<'_>,
        now: Time,
    ) -> Result<(), Missing<'v>> {
        let Some(route) = self.route() else {
            return Ok(());
        };
        for factor in route.factors() {
            let there = match factor {
                Factor::Jwt {
                    payload,
                    claim,
                    values,
                } => claimed(question, payload, claim, values),
                Factor::Header { name, demand, .. } => match header(question, name) {
                    Header::One(value) => self.has_factor(demand, value, question, view, now),
                    Header::Absent | Header::Several => false,
                },
            };
            if !there {
                return Err(Missing(factor));
            }
        }
        Ok(())
    }

    fn has_factor(
        &mut self,
        demand: &HeaderDemand,
        value: &[u8],
        question: &Question<'v>,
        view: &'v View<'_>,
        now: Time,
    ) -> bool {
        match demand {
            HeaderDemand::Present => true,
            HeaderDemand::OneOf(tags) => {
                let tag = ValueTag::of(view.lookup_key(), question.workspace, value);
                // All of them, so that the time tells nothing of which.
                tags.iter().filter(|known| **known == tag).count() > 0
            }
            HeaderDemand::Key(scope) => {
                let found = self.further_key(scope, value, question, view, now);
                self.factor_key = found.or(self.factor_key);
                found.is_some()
            }
        }
    }

    /// Another key than the request's own, alive, usable from here and for this subscription, that holds a scope.
    fn further_key(
        &self,
        scope: &str,
        value: &[u8],
        question: &Question<'v>,
        view: &'v View<'_>,
        now: Time,
    ) -> Option<Identified<'v>> {
        let (key, secret) = look_up(value, question.workspace, view).ok()?;
        let principal = view.principal_of(key);
        let workspace = self.workspace?;
        check_alive(key, secret, workspace, principal, now).ok()?;
        usable_from(key, workspace, question.source_ip, now).ok()?;
        let own = self.key.is_some_and(|(own, _)| own.id() == key.id());
        let acting = self.subscription;
        let sold = acting.is_empty()
            || key.subscriptions.is_empty()
            || key.subscriptions.iter().any(|s| s.as_str() == acting);
        (!own && sold && holds(key.granted(principal), scope)).then_some((key, secret))
    }
}

/// A factor that did not come.
#[derive(Debug, Clone, Copy)]
pub(super) struct Missing<'v>(&'v Factor);

impl From<Missing<'_>> for Reason {
    fn from(_: Missing<'_>) -> Self {
        Self::FactorMissing
    }
}

impl fmt::Display for Missing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Factor::Jwt { claim, values, .. } if values.is_empty() => {
                write!(f, "no verified JWT has the claim `{claim}`")
            }
            Factor::Jwt { claim, .. } => {
                write!(
                    f,
                    "no verified JWT has the claim `{claim}` with a value that will do"
                )
            }
            Factor::Header { name, demand, .. } => match demand {
                HeaderDemand::Present => write!(f, "header `{name}` is not there, or not once"),
                HeaderDemand::OneOf(_) => write!(f, "header `{name}` is none of the values"),
                HeaderDemand::Key(scope) => write!(
                    f,
                    "header `{name}` is no other live key that holds `{scope}`, may be used from here and for this subscription"
                ),
            },
        }
    }
}

/// The networks of a key, as far as they are enforced.
fn usable_from(
    key: &KeyRecord,
    workspace: &WorkspaceRecord,
    source_ip: Option<IpAddr>,
    now: Time,
) -> Result<(), Reason> {
    let enforcement = key.enforcement.or(workspace.enforcement);
    let shadow = enforcement.shadow_network && !key.is_fenced(now);
    check_network(key, source_ip).or_else(|reason| if shadow { Ok(()) } else { Err(reason) })
}

/// A workspace that is switched off, or whose state is in doubt, lets nobody through without a key either.
pub(super) fn open(workspace: Option<&WorkspaceRecord>) -> Result<(), Reason> {
    match workspace {
        Some(workspace) if workspace.enabled && !workspace.is_closed() => Ok(()),
        _ => Err(Reason::WorkspaceDisabled),
    }
}

/// Whether `Authorization` may carry a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Authorization {
    /// It carries a JWT.
    Never,
    /// It may, but what has the shape of a JWT is somebody else's credential: a request may carry OAuth there and the key in
    /// its own header.
    NoJwt,
    /// It may, whatever it looks like: the route names it.
    AnyShape,
}

/// Whether a claim was verified, and is (as text, as one of its words, or as one of a list) what it must be.
fn claimed(question: &Question<'_>, payload: &str, claim: &str, values: &[String]) -> bool {
    let Some(claims) = question.attributes.claims else {
        return false;
    };
    let wanted = |found: &[u8]| values.iter().any(|value| value.as_bytes() == found);
    let mut there = false;
    claims.for_each(payload, claim, &mut |found| {
        // `scope` is words in one text (RFC 8693, section 4.2).
        there |= values.is_empty() || wanted(found) || found.split(|b| *b == b' ').any(wanted);
    });
    there
}
