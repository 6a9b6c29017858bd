//! The decision: a pure function of a request, the index, and the time.
//!
//! Invariants: nothing in here awaits, locks, does I/O, or can fail. Checks run in one order, and the first that fails
//! decides. Each check is one step of the trace that [`explain`] answers with.

mod admit;
mod detail;
mod extract;
mod identify;
mod routes;
mod trace;

use std::net::IpAddr;

use crate::domain::decision::Reason;
use crate::domain::id::{KeyId, SecretId, SubscriptionId};
use crate::domain::network;
use crate::domain::principal::Granted;
use crate::domain::route::Access;
use crate::domain::scope::{self, Grant};
use crate::domain::time::Time;
use crate::domain::workspace::{Presentation, PresentationSet, UndemandedScopes};
use crate::index::{KeyRecord, PrincipalRecord, SecretRecord, View, WorkspaceRecord};

pub use admit::{Admitted, admit, readmit};
pub use extract::{Carried, Headers};
use identify::{Identified, find_credential, identify, locations};
pub use routes::{Attributes, Claims, Taken};
pub use trace::{Check, Outcome, Step};
use trace::{Steps, Trace, Untraced};

/// A request to decide about.
#[derive(Debug, Clone, Copy)]
pub struct Question<'q> {
    /// The workspace whose keys open it.
    pub workspace: &'q str,
    /// What it presents.
    pub presented: Presented<'q>,
    /// The client's address, canonical; none: not known.
    pub source_ip: Option<IpAddr>,
    /// Scopes demanded, all of them.
    pub all_of: Demand<'q>,
    /// Scopes demanded, one of them.
    pub any_of: Demand<'q>,
    /// The subscription asked for; empty: none.
    pub subscription: &'q str,
    /// Whether a check that demands nothing is denied where the workspace does not say.
    pub must_demand: bool,
    /// What it is matched with routes by.
    pub attributes: Attributes<'q>,
}

/// What a request presents.
#[derive(Clone, Copy)]
pub enum Presented<'q> {
    /// A credential that the caller took from the request.
    Token(&'q [u8], Presentation),
    /// The request, to take the credential from.
    Http {
        /// Its headers.
        headers: &'q dyn Headers,
        /// Its path with the query, as received.
        path: &'q [u8],
    },
    /// No credential, but the key whose it would be: only to explain a supposed request.
    Supposed {
        /// The key.
        key: KeyId,
        /// The secret of it; none: one that is live, if there is any.
        secret: Option<SecretId>,
        /// How it would be presented.
        presentation: Presentation,
    },
}

// By hand: what is presented is a secret.
impl std::fmt::Debug for Presented<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Token(..) => "Token(redacted)",
            Self::Http { .. } => "Http(redacted)",
            Self::Supposed { .. } => "Supposed",
        })
    }
}

/// Scopes demanded.
#[derive(Debug, Clone, Copy)]
pub enum Demand<'q> {
    /// As a list.
    List(&'q [String]),
    /// Separated by spaces.
    Words(&'q str),
}

impl<'q> Demand<'q> {
    /// None.
    pub const NONE: Self = Self::List(&[]);

    /// The scopes.
    pub fn iter(self) -> impl Iterator<Item = &'q str> + Clone {
        let (list, words) = match self {
            Self::List(list) => (list, ""),
            Self::Words(words) => (&[][..], words),
        };
        list.iter()
            .map(String::as_str)
            .chain(words.split_ascii_whitespace())
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.iter().next().is_none()
    }
}

/// What is demanded of scopes, all-of and any-of: by the request, and by the route it takes.
pub type Demands<'q> = [(Demand<'q>, Demand<'q>); 2];

fn demand_nothing(demands: &Demands<'_>) -> bool {
    demands
        .iter()
        .all(|(all_of, any_of)| all_of.is_empty() && any_of.is_empty())
}

/// What was decided, and about whom.
#[derive(Debug)]
pub struct Verdict<'v> {
    /// Why; `Ok` allows.
    pub reason: Reason,
    /// The workspace, if there is one of that name.
    pub workspace: Option<&'v WorkspaceRecord>,
    /// The key and the secret of it that was presented, wherever they were recognised.
    pub key: Option<(&'v KeyRecord, &'v SecretRecord)>,
    /// The principal that the key is bound to, if it is there.
    pub principal: Option<&'v PrincipalRecord>,
    /// The subscription the request is accounted to; empty: none.
    pub subscription: &'v str,
    /// What would have denied, were it not in shadow.
    pub shadowed: Shadowed,
    /// What carried the credential.
    pub carried: Carried,
    /// The route that takes the request.
    pub taken: Option<Taken<'v>>,
    /// What would have denied, were its route not grandfathered: it is let through without an identity.
    pub grandfathered: Option<Reason>,
    /// A further key that the route demands, where it came.
    pub factor_key: Option<Identified<'v>>,
}

impl Verdict<'_> {
    /// Whether the request may pass.
    pub fn is_allow(&self) -> bool {
        self.reason == Reason::Ok
    }

    /// The key where one was recognised; none where the request is let through without one.
    fn known(&self) -> Option<Identified<'_>> {
        self.key.filter(|_| self.grandfathered.is_none())
    }

    /// What the key may do with data, where one was recognised: within what its principal may. May hold wildcards.
    pub fn scopes(&self) -> impl Iterator<Item = &Grant> {
        let granted = self.known().map(|(key, _)| key.granted(self.principal));
        let grants = granted.map(Granted::grants).unwrap_or_default();
        grants.into_iter().filter(|grant| !grant.is_admin())
    }

    /// The id of the principal that the key is bound to; empty: none.
    pub fn principal_id(&self) -> &str {
        let id = self.known().and_then(|(key, _)| key.principal.as_ref());
        id.map_or("", |id| id.as_str())
    }
}

/// Reasons that were only reported, at most one for each restriction.
#[derive(Debug, Clone, Copy, Default)]
pub struct Shadowed([Option<Reason>; 4]);

impl Shadowed {
    /// The reasons, in the order of the checks.
    pub fn iter(&self) -> impl Iterator<Item = Reason> + '_ {
        self.0.iter().copied().flatten()
    }

    fn note(&mut self, check: Check, reason: Reason) {
        let restriction = match check {
            Check::Network => 0,
            Check::Presentation => 1,
            Check::Subscription => 2,
            Check::Scopes => 3,
            // Nothing else can be in shadow.
            _ => return,
        };
        if let Some(place) = self.0.get_mut(restriction) {
            *place = Some(reason);
        }
    }
}

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

    let shadow = key.enforcement;
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
