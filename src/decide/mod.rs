//! The decision: a pure function of a request, the index, and the time.
//!
//! Invariants: nothing in here awaits, locks, does I/O, or can fail. Checks run in one order, and the first that fails
//! decides. Each check is one step of the trace that [`explain`] answers with.

mod admit;
mod detail;
mod extract;
mod identify;
mod question;
mod routes;
mod trace;
mod veil;
mod verdict;

use std::net::IpAddr;

use crate::domain::decision::Reason;
use crate::domain::id::SubscriptionId;
use crate::domain::network;
use crate::domain::principal::Granted;
use crate::domain::route::Access;
use crate::domain::scope;
use crate::domain::time::Time;
use crate::domain::workspace::{Presentation, PresentationSet, UndemandedScopes};
use crate::index::{KeyRecord, PrincipalRecord, SecretRecord, View, WorkspaceRecord};

pub use admit::{Admitted, admit, readmit};
pub use extract::{Carried, Headers};
use identify::{Identified, find_credential, identify, locations};
use question::demand_nothing;
pub use question::{Demand, Demands, Presented, Question};
pub use routes::{Attributes, Claims, Taken};
pub use trace::{Check, Outcome, Step};
use trace::{Steps, Trace, Untraced};
pub use veil::is_off_the_record;
pub use verdict::{Shadowed, Verdict};

/// Decides about a request.
pub fn decide<'v>(question: &Question<'v>, view: &'v View<'_>, now: Time) -> Verdict<'v> {
    traced(question, view, now, &mut Untraced)
}

/// Decides about a request, and says what became of each check, in order. By the very code that decides.
pub fn explain<'v>(
    question: &Question<'v>,
    view: &'v View<'_>,
    now: Time,
) -> (Verdict<'v>, Vec<Step>) {
    let mut steps = Steps::default();
    let verdict = traced(question, view, now, &mut steps);
    (verdict, steps.whole())
}

fn traced<'v>(
    question: &Question<'v>,
    view: &'v View<'_>,
    now: Time,
    trace: &mut impl Trace,
) -> Verdict<'v> {
    let workspace = view.workspace(question.workspace).map(|w| &**w);
    let mut verdict = Verdict {
        reason: Reason::Ok,
        workspace,
        key: None,
        presentation: None,
        principal: None,
        subscription: "",
        shadowed: Shadowed::default(),
        carried: Carried::default(),
        taken: None,
        grandfathered: None,
        factor_key: None,
    };
    if let Err(reason) = check(question, view, now, &mut verdict, trace) {
        verdict.reason = reason;
    }
    verdict
}

fn check<'v>(
    question: &Question<'v>,
    view: &'v View<'_>,
    now: Time,
    verdict: &mut Verdict<'v>,
    trace: &mut impl Trace,
) -> Result<(), Reason> {
    let workspace = verdict.workspace;
    let taken = routes::take(question, workspace, view);
    verdict.taken = taken.unwrap_or_default();
    let access = verdict.route().map(|route| route.access());
    let demanded = taken.and_then(|_| match access {
        Some(Access::Public) => routes::open(workspace),
        Some(Access::KeyRequired | Access::Grandfathered) => Ok(()),
        None => check_demand(question, workspace),
    });
    trace.step(Check::Demand, demanded, |_| {
        detail::demand(question, taken, workspace)
    })?;
    match access {
        Some(Access::Public) => return Ok(()),
        Some(Access::Grandfathered) if routes::open(workspace).is_ok() => {
            if let Err(reason) = check_key(question, view, now, verdict, &mut trace.excusing()) {
                verdict.pass_without_key(reason)?;
            }
        }
        _ => check_key(question, view, now, verdict, trace)?,
    }
    if verdict
        .route()
        .is_none_or(|r| r.settings.factors.is_empty())
    {
        return Ok(());
    }
    let there = verdict.check_factors(question, view, now);
    trace.step(Check::Factors, there, |there| match there {
        Ok(()) => "all that the route demands beside the key came".to_owned(),
        Err(missing) => missing.to_string(),
    })
}

/// Checks 2 to 8: what is asked of the key.
fn check_key<'v>(
    question: &Question<'v>,
    view: &'v View<'_>,
    now: Time,
    verdict: &mut Verdict<'v>,
    trace: &mut impl Trace,
) -> Result<(), Reason> {
    let workspace = verdict.workspace;
    let found = find_credential(question, verdict);
    let credential = trace.step(Check::Credential, found, |found| {
        detail::credential(found, question, &locations(verdict.locations()))
    })?;
    verdict.presentation = Some(credential.presentation);

    let identified = identify(&credential, question, view, now);
    let (key, secret) = trace.step(Check::Identity, identified, |identified| {
        detail::identity(identified, &credential, question, view)
    })?;
    verdict.key = Some((key, secret));
    let principal = view.principal_of(key);
    verdict.principal = principal;
    let alive = workspace
        .ok_or(Reason::WorkspaceDisabled)
        .and_then(|workspace| {
            check_alive(key, secret, workspace, principal, now).map(|()| workspace)
        });
    let workspace = trace.step(Check::Life, alive, |_| {
        detail::life(key, secret, workspace, principal, now)
    })?;
    let granted = key.granted(principal);

    let shadow = key.enforcement.or(workspace.enforcement);
    let network = check_network(key, question.source_ip);
    let in_shadow = shadow.shadow_network && !key.is_fenced(now);
    restrict(Check::Network, network, in_shadow, verdict, trace, || {
        detail::network(key, question.source_ip)
    })?;
    let demands = question.demands(verdict.taken);
    let presented = check_presentation(credential.presentation, &demands, granted, workspace);
    let in_shadow = shadow.shadow_presentation;
    restrict(
        Check::Presentation,
        presented,
        in_shadow,
        verdict,
        trace,
        || detail::presentation(credential.presentation, &demands, granted, workspace),
    )?;
    let asked = question.asked_subscription(verdict.taken);
    let acting = asked.and_then(|asked| acting_subscription(asked, key, workspace, view));
    let in_shadow = shadow.shadow_subscription;
    let subscription = restrict(
        Check::Subscription,
        acting,
        in_shadow,
        verdict,
        trace,
        || detail::subscription(acting, asked, key),
    )?;
    verdict.subscription = subscription.unwrap_or_default();
    let suffice = check_scopes(&demands, granted);
    let in_shadow = shadow.shadow_scopes;
    restrict(Check::Scopes, suffice, in_shadow, verdict, trace, || {
        detail::scopes(&demands, granted)
    })?;
    Ok(())
}

/// Notes a check that may be in shadow: then its failure is only reported.
fn restrict<T>(
    check: Check,
    result: Result<T, Reason>,
    in_shadow: bool,
    verdict: &mut Verdict<'_>,
    trace: &mut impl Trace,
    detail: impl FnOnce() -> String,
) -> Result<Option<T>, Reason> {
    match result {
        Err(reason) if in_shadow => {
            trace.note(check, Outcome::Shadowed(reason), detail);
            verdict.shadowed.note(check, reason);
            Ok(None)
        }
        result => trace.step(check, result, |_| detail()).map(Some),
    }
}

fn check_demand(
    question: &Question<'_>,
    workspace: Option<&WorkspaceRecord>,
) -> Result<(), Reason> {
    if !question.all_of.is_empty() || !question.any_of.is_empty() {
        return Ok(());
    }
    let denied = match workspace.map_or(UndemandedScopes::Default, |w| w.undemanded_scopes) {
        UndemandedScopes::Default => question.must_demand,
        UndemandedScopes::Allow => false,
        UndemandedScopes::Deny => true,
    };
    if denied {
        Err(Reason::NothingDemanded)
    } else {
        Ok(())
    }
}

fn check_alive(
    key: &KeyRecord,
    secret: &SecretRecord,
    workspace: &WorkspaceRecord,
    principal: Option<&PrincipalRecord>,
    now: Time,
) -> Result<(), Reason> {
    if !secret.is_live(now) {
        Err(Reason::SecretRevoked)
    } else if key.deleted {
        Err(Reason::KeyDeleted)
    } else if !key.enabled || key.is_closed() {
        Err(Reason::KeyDisabled)
    } else if key.expire_time().is_some_and(|end| end <= now) {
        Err(Reason::KeyExpired)
    } else if !workspace.enabled || workspace.is_closed() {
        Err(Reason::WorkspaceDisabled)
    } else if key.principal.is_some() && !principal.is_some_and(|p| p.enabled) {
        Err(Reason::PrincipalDisabled)
    } else {
        Ok(())
    }
}

fn check_network(key: &KeyRecord, source_ip: Option<IpAddr>) -> Result<(), Reason> {
    match source_ip {
        _ if key.allowed_cidrs.is_empty() => Ok(()),
        None => Err(Reason::IpUnknown),
        Some(ip) if network::any_contains(&key.allowed_cidrs, ip) => Ok(()),
        Some(_) => Err(Reason::IpNotAllowed),
    }
}

/// The workspace accepts the way, or for an all-of demand every scope of it does, and for an any-of demand one that is held.
fn check_presentation(
    presentation: Presentation,
    demands: &Demands<'_>,
    granted: Granted<'_>,
    workspace: &WorkspaceRecord,
) -> Result<(), Reason> {
    if workspace.presentations.contains(presentation) {
        return Ok(());
    }
    let consents = |name: &str| {
        let own = workspace
            .scopes
            .get(name)
            .map_or(PresentationSet::default(), |s| s.presentations);
        own.contains(presentation)
    };
    let consented = |(all_of, any_of): &(Demand<'_>, Demand<'_>)| {
        let held = |name: &str| consents(name) && holds(granted, name);
        all_of.iter().all(consents) && (any_of.is_empty() || any_of.iter().any(held))
    };
    if !demand_nothing(demands) && demands.iter().all(consented) {
        Ok(())
    } else {
        Err(Reason::PresentationNotAllowed)
    }
}

/// The subscription a request is accounted to: the one asked for, else the key's only one. A key that is bound to several
/// and asks for none is accounted to none, and passes while one of them is enabled.
fn acting_subscription<'v>(
    asked: &'v str,
    key: &'v KeyRecord,
    workspace: &WorkspaceRecord,
    view: &View<'_>,
) -> Result<&'v str, Reason> {
    let acting = match (asked, &*key.subscriptions) {
        ("", [only]) => only.as_str(),
        ("", []) => return Ok(""),
        ("", several) => {
            let enabled =
                |s: &SubscriptionId| view.subscription_enabled(workspace.id.as_str(), s.as_str());
            return if several.iter().any(enabled) {
                Ok("")
            } else {
                Err(Reason::SubscriptionNotAllowed)
            };
        }
        (asked, []) => asked,
        (asked, bound) if bound.iter().any(|s| s.as_str() == asked) => asked,
        _ => return Err(Reason::SubscriptionNotAllowed),
    };
    if view.subscription_enabled(workspace.id.as_str(), acting) {
        Ok(acting)
    } else {
        Err(Reason::SubscriptionNotAllowed)
    }
}

fn check_scopes(demands: &Demands<'_>, granted: Granted<'_>) -> Result<(), Reason> {
    let held = |demanded: &str| holds(granted, demanded);
    let suffice = |(all_of, any_of): &(Demand<'_>, Demand<'_>)| {
        all_of.iter().all(held) && (any_of.is_empty() || any_of.iter().any(held))
    };
    if demands.iter().all(suffice) {
        Ok(())
    } else {
        Err(Reason::InsufficientScope)
    }
}

/// Whether a key holds a scope that a data request demands. Rights over Claviger never count there.
fn holds(granted: Granted<'_>, demanded: &str) -> bool {
    !scope::is_admin(demanded) && granted.covers(demanded)
}
