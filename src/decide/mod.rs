//! The decision: a pure function of a request, the index, and the time.
//!
//! Invariants: nothing in here awaits, locks, does I/O, or can fail. Checks run in one order, and the first that fails
//! decides.

mod admit;
mod extract;
mod routes;

use std::net::IpAddr;

use crate::domain::decision::Reason;
use crate::domain::id::{SubscriptionId, WorkspaceId};
use crate::domain::network;
use crate::domain::route::Access;
use crate::domain::scope::{self, Grant};
use crate::domain::time::Time;
use crate::domain::token::{self, TokenDigest};
use crate::domain::workspace::{Location, Presentation, PresentationSet, UndemandedScopes};
use crate::index::{KeyRecord, SecretRecord, View, WorkspaceRecord};

pub use admit::{Admitted, admit, readmit};
pub use extract::{Carried, Headers};
use extract::{Credential, Extracted};
pub use routes::{Attributes, Claims, Taken};

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
}

// By hand: what is presented is a secret.
impl std::fmt::Debug for Presented<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Token(..) => "Token(redacted)",
            Self::Http { .. } => "Http(redacted)",
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

/// What was decided, and about whom.
#[derive(Debug)]
pub struct Verdict<'v> {
    /// Why; `Ok` allows.
    pub reason: Reason,
    /// The workspace, if there is one of that name.
    pub workspace: Option<&'v WorkspaceRecord>,
    /// The key and the secret of it that was presented, wherever they were recognised.
    pub key: Option<(&'v KeyRecord, &'v SecretRecord)>,
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
    pub factor_key: Option<(&'v KeyRecord, &'v SecretRecord)>,
}

impl Verdict<'_> {
    /// Whether the request may pass.
    pub fn is_allow(&self) -> bool {
        self.reason == Reason::Ok
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

    fn note(&mut self, restriction: usize, reason: Reason) {
        if let Some(place) = self.0.get_mut(restriction) {
            *place = Some(reason);
        }
    }
}

/// Decides about a request.
pub fn decide<'v>(question: &Question<'v>, view: &'v View<'_>, now: Time) -> Verdict<'v> {
    let workspace = view.workspace(question.workspace).map(|w| &**w);
    let mut verdict = Verdict {
        reason: Reason::Ok,
        workspace,
        key: None,
        subscription: "",
        shadowed: Shadowed::default(),
        carried: Carried::default(),
        taken: None,
        grandfathered: None,
        factor_key: None,
    };
    if let Err(reason) = check(question, view, now, &mut verdict) {
        verdict.reason = reason;
    }
    verdict
}

fn check<'v>(
    question: &Question<'v>,
    view: &'v View<'_>,
    now: Time,
    verdict: &mut Verdict<'v>,
) -> Result<(), Reason> {
    verdict.taken = routes::take(question, verdict.workspace, view)?;
    match verdict.route().map(|route| route.access()) {
        Some(Access::Public) => return routes::open(verdict.workspace),
        Some(_) => {}
        None => check_demand(question, verdict.workspace)?,
    }
    if let Err(reason) = check_key(question, view, now, verdict) {
        verdict.pass_without_key(reason)?;
    }
    verdict.check_factors(question, view, now)
}

/// Checks 2 to 8: what is asked of the key.
fn check_key<'v>(
    question: &Question<'v>,
    view: &'v View<'_>,
    now: Time,
    verdict: &mut Verdict<'v>,
) -> Result<(), Reason> {
    let workspace = verdict.workspace;
    let credential = find_credential(question, verdict)?;

    let (key, secret) = identify(credential.bytes(), question.workspace, view)?;
    verdict.key = Some((key, secret));
    let workspace = workspace.ok_or(Reason::WorkspaceDisabled)?;
    check_alive(key, secret, workspace, now)?;

    let shadow = key.enforcement;
    if let Err(reason) = check_network(key, question.source_ip) {
        if !shadow.shadow_network || key.is_fenced(now) {
            return Err(reason);
        }
        verdict.shadowed.note(0, reason);
    }
    let demands = question.demands(verdict.taken);
    if !presentation_accepted(credential.presentation, &demands, key, workspace) {
        if !shadow.shadow_presentation {
            return Err(Reason::PresentationNotAllowed);
        }
        verdict.shadowed.note(1, Reason::PresentationNotAllowed);
    }
    let asked = question.asked_subscription(verdict.taken);
    match asked.and_then(|asked| acting_subscription(asked, key, workspace, view)) {
        Ok(subscription) => verdict.subscription = subscription,
        Err(reason) if !shadow.shadow_subscription => return Err(reason),
        Err(reason) => verdict.shadowed.note(2, reason),
    }
    if !scopes_suffice(&demands, &key.scopes) {
        if !shadow.shadow_scopes {
            return Err(Reason::InsufficientScope);
        }
        verdict.shadowed.note(3, Reason::InsufficientScope);
    }
    Ok(())
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

fn find_credential<'q>(
    question: &Question<'q>,
    verdict: &mut Verdict<'q>,
) -> Result<Credential<'q>, Reason> {
    match question.presented {
        Presented::Token([], _) => Err(Reason::NoCredential),
        Presented::Token(bytes, presentation) => Ok(Credential::plain(bytes, presentation)),
        Presented::Http { headers, path } => {
            let defaults;
            let locations = match verdict.locations() {
                // An unknown workspace is a fault of configuration: that this allocates does not matter.
                [] => {
                    defaults = Location::defaults();
                    &defaults[..]
                }
                locations => locations,
            };
            let authorization = verdict.authorization();
            match extract::extract(
                headers,
                path,
                (locations, authorization),
                &mut verdict.carried,
            ) {
                Extracted::None => Err(Reason::NoCredential),
                Extracted::Ambiguous => Err(Reason::AmbiguousCredential),
                Extracted::Malformed => Err(Reason::MalformedCredential),
                Extracted::One(credential) => Ok(credential),
            }
        }
    }
}

/// Finds whose secret a credential is. Look-up comes before the verdict on its shape: a foreign token that happens to look
/// like ours works once it is imported, and every credential up to the longest costs the same.
fn identify<'v>(
    credential: &[u8],
    workspace: &str,
    view: &'v View<'_>,
) -> Result<(&'v KeyRecord, &'v SecretRecord), Reason> {
    if credential.len() > token::MAX_LEN {
        return Err(Reason::MalformedCredential);
    }
    let tag = view.lookup_key().tag(&TokenDigest::of(credential));
    let found = view.holders(&tag).find(|(key, _)| {
        key.workspace.as_str() == workspace && !key.admin_only && workspace != WorkspaceId::SYSTEM
    });
    match found {
        Some(found) => Ok(found),
        None if !credential.iter().copied().all(token::is_token_byte) => {
            Err(Reason::MalformedCredential)
        }
        None if is_forged(credential, workspace, view) => Err(Reason::MalformedCredential),
        None if view.workspace(workspace).is_none() => Err(Reason::WorkspaceDisabled),
        None => Err(Reason::UnknownKey),
    }
}

/// Whether a credential claims a prefix that this workspace issued, and has a wrong checksum. A prefix has at most one
/// underscore, and the longer reading comes first.
fn is_forged(credential: &[u8], workspace: &str, view: &View<'_>) -> bool {
    let Ok(text) = std::str::from_utf8(credential) else {
        return false;
    };
    let issued = text
        .match_indices('_')
        .take(2)
        .filter_map(|(at, _)| text.get(..at))
        .filter(|prefix| view.has_issued(workspace, prefix))
        .last();
    issued.is_some_and(|prefix| token::is_forged(credential, prefix))
}

fn check_alive(
    key: &KeyRecord,
    secret: &SecretRecord,
    workspace: &WorkspaceRecord,
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
fn presentation_accepted(
    presentation: Presentation,
    demands: &[(Demand<'_>, Demand<'_>)],
    key: &KeyRecord,
    workspace: &WorkspaceRecord,
) -> bool {
    if workspace.presentations.contains(presentation) {
        return true;
    }
    let consents = |name: &str| {
        let own = workspace
            .scopes
            .get(name)
            .map_or(PresentationSet::default(), |s| s.presentations);
        own.contains(presentation)
    };
    let demanded =
        |(all_of, any_of): &(Demand<'_>, Demand<'_>)| !all_of.is_empty() || !any_of.is_empty();
    let consented = |(all_of, any_of): &(Demand<'_>, Demand<'_>)| {
        all_of.iter().all(consents)
            && (any_of.is_empty()
                || any_of
                    .iter()
                    .any(|name| consents(name) && holds(&key.scopes, name)))
    };
    demands.iter().any(demanded) && demands.iter().all(consented)
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

fn scopes_suffice(demands: &[(Demand<'_>, Demand<'_>)], scopes: &[Grant]) -> bool {
    let held = |name: &str| holds(scopes, name);
    demands.iter().all(|(all_of, any_of)| {
        all_of.iter().all(held) && (any_of.is_empty() || any_of.iter().any(held))
    })
}

/// Whether a key holds a scope that a data request demands. Rights over Claviger never count there.
fn holds(scopes: &[Grant], demanded: &str) -> bool {
    !scope::is_admin(demanded) && scopes.iter().any(|grant| grant.covers(demanded))
}
