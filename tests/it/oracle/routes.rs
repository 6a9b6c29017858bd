//! Routes, read naively: every route is tried, what is most specific is compared, what is demanded is looked up in plain.

use claviger::domain::decision::Reason;
use claviger::domain::route::pattern::Segment;
use claviger::domain::route::{Factor, HeaderDemand, Route, SubscriptionSource};
use claviger::domain::workspace::{UnmatchedRequests, WorkspaceSettings};

use super::{Presented, Question, World, alive, find, holds, network, percent_decoded};

/// The one value that a header with a set of values may have; its tag is made from it.
pub(crate) const TRACKING_VALUE: &str = "track-1";

/// Check 1: the route, or why there is none; and what its path says the subscription is.
pub(super) fn take<'w>(
    world: &'w World,
    settings: &WorkspaceSettings,
    question: &Question,
) -> Result<Option<&'w Route>, Reason> {
    let own = || {
        let of = world.routes.iter();
        of.filter(|r| r.workspace.as_str() == question.workspace)
    };
    if !question.route.is_empty() {
        let named = own().find(|r| r.id.as_str() == question.route);
        let named = named.ok_or(Reason::RouteUnknown)?;
        if let SubscriptionSource::Capture(_) = named.settings.subscription {
            let fits = segments(path(question)).is_some_and(|s| fits(named, &s).is_some());
            if !fits {
                return Err(Reason::RouteUnknown);
            }
        }
        return Ok(Some(named));
    }
    let mut found = None;
    if own().next().is_some() && !path(question).is_empty() {
        let segments = segments(path(question)).ok_or(Reason::RouteUnknown)?;
        let methods = |r: &Route| {
            let methods = &r.settings.methods;
            methods.is_empty() || methods.contains(&question.method)
        };
        found = own()
            .filter(|r| methods(r))
            .filter_map(|r| fits(r, &segments).map(|specific| (specific, r)))
            .max_by_key(|(specific, r)| (specific.clone(), r.settings.methods.len()))
            .map(|(_, r)| r);
    }
    if found.is_none() && settings.unmatched_requests == UnmatchedRequests::Deny {
        return Err(Reason::RouteUnknown);
    }
    Ok(found)
}

fn path(question: &Question) -> &[u8] {
    match &question.credential {
        Presented::Token(..) => &[],
        Presented::Http { path, .. } => path.split(|b| *b == b'?').next().unwrap_or(&[]),
    }
}

/// None: it can be read in more than one way.
fn segments(path: &[u8]) -> Option<Vec<Vec<u8>>> {
    let text = path.strip_prefix(b"/")?;
    let mut parts: Vec<&[u8]> = text.split(|b| *b == b'/').collect();
    if parts.last().is_some_and(|last| last.is_empty()) {
        parts.pop();
    }
    let decode = |part: &&[u8]| {
        let raw = part.contains(&b'%') && {
            let bad = ["%2f", "%2F", "%5c", "%5C", "%25", "%00"];
            let text = String::from_utf8_lossy(part);
            bad.iter().any(|b| text.contains(b))
        };
        percent_decoded(part).filter(|p| !raw && !p.is_empty() && p != b"." && p != b"..")
    };
    parts.iter().map(decode).collect()
}

/// How specific a route is for a path; none: it does not take it.
fn fits(route: &Route, segments: &[Vec<u8>]) -> Option<Vec<u8>> {
    let mut specific = Vec::new();
    let mut left = segments.iter();
    for segment in route.settings.path.as_ref()?.segments() {
        match segment {
            Segment::Rest(_) => {
                specific.push(0);
                return Some(specific);
            }
            Segment::Capture(_) => {
                left.next()?;
                specific.push(2);
            }
            Segment::Literal(text) => {
                (left.next()? == text.as_bytes()).then_some(())?;
                specific.push(3);
            }
        }
    }
    specific.push(1);
    left.next().is_none().then_some(specific)
}

/// The subscription that the request and its route ask for.
pub(super) fn asked(
    world: &World,
    question: &Question,
    route: Option<&Route>,
) -> Result<Option<String>, Reason> {
    let known = |text: Vec<u8>| {
        let text = String::from_utf8(text).unwrap_or_default();
        let mut of = world.subscriptions.iter();
        let there = of.any(|s| s.workspace.as_str() == question.workspace && s.id.as_str() == text);
        if there {
            Ok(Some(text))
        } else {
            Err(Reason::SubscriptionNotAllowed)
        }
    };
    let of_route = match route.map(|r| (&r.settings.subscription, r)) {
        None | Some((SubscriptionSource::None, _)) => None,
        Some((SubscriptionSource::Fixed(id), _)) => Some(id.as_str().to_owned()),
        Some((SubscriptionSource::Capture(name), route)) => {
            let at = route.settings.path.as_ref().and_then(|p| p.capture(name));
            let segments = segments(path(question)).unwrap_or_default();
            known(
                at.and_then(|at| segments.get(at).cloned())
                    .unwrap_or_default(),
            )?
        }
        Some((SubscriptionSource::Header(name), _)) => match &headers(question, name)[..] {
            [] => None,
            [one] => known(one.clone())?,
            _ => return Err(Reason::SubscriptionNotAllowed),
        },
    };
    match (&question.subscription, of_route) {
        (own, None) => Ok(own.clone()),
        (None, found) => Ok(found),
        (Some(own), Some(found)) if *own == found => Ok(Some(found)),
        _ => Err(Reason::SubscriptionNotAllowed),
    }
}

/// The values of a header; an empty first one is none.
fn headers(question: &Question, name: &str) -> Vec<Vec<u8>> {
    let Presented::Http { headers, .. } = &question.credential else {
        return Vec::new();
    };
    let same = headers
        .iter()
        .filter(|(n, _)| n.eq_ignore_ascii_case(name.as_bytes()));
    let values = same.map(|(_, value)| value.trim_ascii().to_vec());
    values.skip_while(Vec::is_empty).collect()
}

/// Check 9.
pub(super) fn factors(
    world: &World,
    question: &Question,
    route: &Route,
    own: Option<claviger::domain::id::KeyId>,
    acting: Option<&str>,
) -> Result<(), Reason> {
    let there = |factor: &Factor| match factor {
        Factor::Jwt { claim, values, .. } => question.claims.iter().any(|(name, value)| {
            let words: Vec<&str> = value.split(' ').collect();
            name == claim
                && (values.is_empty()
                    || values
                        .iter()
                        .any(|v| v == value || words.contains(&v.as_str())))
        }),
        Factor::Header { name, demand, .. } => {
            let found = headers(question, name);
            let [value] = &found[..] else { return false };
            match demand {
                HeaderDemand::Present => true,
                HeaderDemand::OneOf(_) => value == TRACKING_VALUE.as_bytes(),
                HeaderDemand::Key(scope) => {
                    find(world, question, value).is_some_and(|(key, secret)| {
                        let workspace = world.workspaces.iter().find(|w| w.id == key.workspace);
                        let fenced = key
                            .secrets
                            .iter()
                            .any(|s| s.weak && s.is_live(question.now));
                        let near = network(key, question.source_ip).is_ok()
                            || key.settings.enforcement.shadow_network && !fenced;
                        let bound = &key.settings.subscriptions;
                        let sold = acting.is_none_or(|acting| {
                            bound.is_empty() || bound.iter().any(|s| s.as_str() == acting)
                        });
                        alive(world, workspace, key, secret, question.now).is_ok()
                            && near
                            && sold
                            && own != Some(key.id)
                            && holds(world, key, scope)
                    })
                }
            }
        }
    };
    if route.settings.factors.iter().all(there) {
        Ok(())
    } else {
        Err(Reason::FactorMissing)
    }
}
