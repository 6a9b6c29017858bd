//! A second, naive decision function, written from the documents alone: no index, no tags, no interning, just the checks
//! in their order over plain lists. What the fast one says is compared with it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use base64::Engine as _;
use claviger::domain::decision::Reason;
use claviger::domain::id::{KeyId, SecretId};
use claviger::domain::key::Key;
use claviger::domain::principal::{Principal, ScopeSource};
use claviger::domain::route::Route;
use claviger::domain::scope::Grant;
use claviger::domain::secret::{Origin, Secret};
use claviger::domain::time::Time;
use claviger::domain::workspace::{
    Presentation, PresentationSet, Scope, Subscription, UndemandedScopes, Workspace,
    WorkspaceSettings,
};
use sha2::Digest as _;

use self::extract::{extract, percent_decoded};

mod extract;
pub(crate) mod questions;
pub(crate) mod routes;
pub(crate) mod worlds;

/// Everything there is.
#[derive(Debug, Clone, Default)]
pub(crate) struct World {
    pub(crate) workspaces: Vec<Workspace>,
    pub(crate) scopes: Vec<Scope>,
    pub(crate) subscriptions: Vec<Subscription>,
    pub(crate) principals: Vec<Principal>,
    pub(crate) keys: Vec<Key>,
    pub(crate) routes: Vec<Route>,
    /// The plaintext of each secret.
    pub(crate) tokens: BTreeMap<SecretId, Vec<u8>>,
}

/// What is asked.
#[derive(Debug, Clone)]
pub(crate) struct Question {
    pub(crate) workspace: String,
    pub(crate) credential: Presented,
    pub(crate) source_ip: Option<IpAddr>,
    pub(crate) all_of: Vec<String>,
    pub(crate) any_of: Vec<String>,
    pub(crate) subscription: Option<String>,
    pub(crate) via_envoy: bool,
    pub(crate) now: Time,
    /// The route that is named; empty: none.
    pub(crate) route: String,
    pub(crate) method: String,
    pub(crate) claims: Vec<(String, String)>,
}

/// The credential, or the request that carries it.
#[derive(Debug, Clone)]
pub(crate) enum Presented {
    Token(Vec<u8>, Presentation),
    Http {
        headers: Vec<(Vec<u8>, Vec<u8>)>,
        path: Vec<u8>,
    },
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) allow: bool,
    pub(crate) reason: Reason,
    pub(crate) key: Option<KeyId>,
    pub(crate) secret: Option<SecretId>,
    /// Only told on ALLOW.
    pub(crate) subscription: Option<String>,
    pub(crate) shadowed: Vec<Reason>,
    pub(crate) route: Option<String>,
    /// What would have denied, were the route not grandfathered.
    pub(crate) grandfathered: Option<Reason>,
}

/// Checks 1 to 9, in their order.
pub(crate) fn decide(world: &World, question: &Question) -> Answer {
    let mut answer = Answer {
        allow: false,
        reason: Reason::Ok,
        key: None,
        secret: None,
        subscription: None,
        shadowed: Vec::new(),
        route: None,
        grandfathered: None,
    };
    match run(world, question, &mut answer) {
        Ok(subscription) => {
            answer.allow = true;
            answer.subscription = subscription;
        }
        Err(reason) => answer.reason = reason,
    }
    answer
}

fn run(world: &World, question: &Question, answer: &mut Answer) -> Result<Option<String>, Reason> {
    let workspace = world
        .workspaces
        .iter()
        .find(|w| w.id.as_str() == question.workspace);
    let settings = workspace.map_or_else(WorkspaceSettings::default, |w| w.settings.clone());

    // 1: the route, which may be open; without one, something is demanded, or need not be.
    let route = routes::take(world, &settings, question)?;
    answer.route = route.map(|r| r.id.as_str().to_owned());
    let switched_on = || match workspace {
        Some(w) if w.enabled => Ok(()),
        _ => Err(Reason::WorkspaceDisabled),
    };
    if route.is_some_and(|r| r.settings.public) {
        switched_on()?;
        return Ok(None);
    }
    let demanded = !question.all_of.is_empty() || !question.any_of.is_empty();
    let undemanded_passes = match settings.undemanded_scopes {
        UndemandedScopes::Default => !question.via_envoy,
        UndemandedScopes::Allow => true,
        UndemandedScopes::Deny => false,
    };
    if route.is_none() && !demanded && !undemanded_passes {
        return Err(Reason::NothingDemanded);
    }
    let acting = match run_key(world, question, answer, (workspace, &settings, route)) {
        Ok(acting) => acting,
        Err(reason) => {
            let dead = matches!(
                reason,
                Reason::SecretRevoked
                    | Reason::KeyDeleted
                    | Reason::KeyDisabled
                    | Reason::KeyExpired
                    | Reason::WorkspaceDisabled
                    | Reason::PrincipalDisabled
            );
            let keyless = route.is_some_and(|r| r.keyless) && switched_on().is_ok();
            if dead || !keyless {
                return Err(reason);
            }
            answer.grandfathered = Some(reason);
            None
        }
    };

    // 9: what is demanded beside the key.
    if let Some(route) = route {
        routes::factors(world, question, route, answer.key, acting.as_deref())?;
    }
    Ok(acting)
}

/// Checks 2 to 8.
fn run_key(
    world: &World,
    question: &Question,
    answer: &mut Answer,
    (workspace, settings, route): (Option<&Workspace>, &WorkspaceSettings, Option<&Route>),
) -> Result<Option<String>, Reason> {
    // 2: exactly one credential.
    let (token, presentation) = match &question.credential {
        Presented::Token(token, presentation) => (token.clone(), *presentation),
        Presented::Http { headers, path } => extract(settings, route, headers, path)?,
    };
    if token.is_empty() {
        return Err(Reason::NoCredential);
    }

    // 3: a secret of this workspace.
    let Some((key, secret)) = find(world, question, &token) else {
        return Err(not_found(world, workspace, &token));
    };
    answer.key = Some(key.id);
    answer.secret = Some(secret.id);

    // 4: alive.
    let now = question.now;
    alive(world, workspace, key, secret, now)?;

    // 5 to 8: restrictions, each of which may be in shadow.
    let enforcement = key.settings.enforcement;
    let fenced = key
        .secrets
        .iter()
        .any(|s| s.weak && s.revoke_time.is_none() && s.retire_time.is_none_or(|t| t > now));
    let mut restrict = |result: Result<(), Reason>, shadow: bool| match result {
        Err(reason) if shadow => {
            answer.shadowed.push(reason);
            Ok(false)
        }
        Err(reason) => Err(reason),
        Ok(()) => Ok(true),
    };
    restrict(
        network(key, question.source_ip),
        enforcement.shadow_network && !fenced,
    )?;
    let demands = demands(question, route);
    restrict(
        presented_well(world, &demands, settings, key, presentation),
        enforcement.shadow_presentation,
    )?;
    let asked = routes::asked(world, question, route);
    let acting = asked
        .clone()
        .ok()
        .and_then(|asked| acting_subscription(key, asked));
    let billed = restrict(
        asked.and_then(|_| subscribed(world, key, acting.as_deref())),
        enforcement.shadow_subscription,
    )?;
    restrict(scopes(world, key, &demands), enforcement.shadow_scopes)?;
    Ok(acting.filter(|_| billed))
}

/// All-of and any-of, of the request and of its route.
type Demands = [(Vec<String>, Vec<String>); 2];

fn demands(question: &Question, route: Option<&Route>) -> Demands {
    let of_route = route.map(|r| (r.settings.all_of.clone(), r.settings.any_of.clone()));
    [
        (question.all_of.clone(), question.any_of.clone()),
        of_route.unwrap_or_default(),
    ]
}

fn alive(
    world: &World,
    workspace: Option<&Workspace>,
    key: &Key,
    secret: &Secret,
    now: Time,
) -> Result<(), Reason> {
    if secret.revoke_time.is_some() || secret.retire_time.is_some_and(|t| t <= now) {
        return Err(Reason::SecretRevoked);
    }
    if key.delete_time.is_some() {
        return Err(Reason::KeyDeleted);
    }
    if !key.settings.enabled {
        return Err(Reason::KeyDisabled);
    }
    if key.settings.expire_time.is_some_and(|t| t <= now) {
        return Err(Reason::KeyExpired);
    }
    if !workspace.is_some_and(|w| w.enabled) {
        return Err(Reason::WorkspaceDisabled);
    }
    let principal = principal_of(world, key);
    if key.settings.principal.is_some() && !principal.is_some_and(|p| p.enabled) {
        return Err(Reason::PrincipalDisabled);
    }
    Ok(())
}

fn find<'a>(world: &'a World, question: &Question, token: &[u8]) -> Option<(&'a Key, &'a Secret)> {
    let of_workspace = world
        .keys
        .iter()
        .filter(|k| k.workspace.as_str() == question.workspace);
    let data = of_workspace.filter(|k| {
        let only_admin = |scopes: &[Grant]| {
            !scopes.is_empty() && scopes.iter().all(|s| s.as_str().starts_with("claviger:"))
        };
        let by_principal = principal_of(world, k).is_some_and(|p| only_admin(&p.scopes));
        k.workspace.as_str() != "system" && !only_admin(&k.settings.scopes) && !by_principal
    });
    data.flat_map(|k| k.secrets.iter().map(move |s| (k, s)))
        .find(|(_, s)| world.tokens.get(&s.id).is_some_and(|t| t == token))
}

fn principal_of<'a>(world: &'a World, key: &Key) -> Option<&'a Principal> {
    let mut of_workspace = world
        .principals
        .iter()
        .filter(|p| p.workspace == key.workspace);
    of_workspace.find(|p| Some(&p.id) == key.settings.principal.as_ref())
}

fn not_found(world: &World, workspace: Option<&Workspace>, token: &[u8]) -> Reason {
    let strange = token.len() > 512 || token.iter().any(|b| !(0x21..=0x7e).contains(b));
    if strange {
        return Reason::MalformedCredential;
    }
    let Some(workspace) = workspace else {
        return Reason::WorkspaceDisabled;
    };
    // What administers is looked up like everything else, and then it is as if it were not there.
    let own = world.keys.iter().filter(|k| k.workspace == workspace.id);
    let generated = own
        .flat_map(|k| &k.secrets)
        .filter(|s| s.origin == Origin::Generated);
    let prefixes: BTreeSet<&str> = generated.map(|s| s.prefix.as_str()).collect();
    // Of `acme` and `acme_live` the longer one is what the token claims.
    let body = |prefix: &str| token.strip_prefix(format!("{prefix}_").as_bytes());
    let claimed = prefixes
        .into_iter()
        .filter(|prefix| !prefix.is_empty() && body(prefix).is_some())
        .max_by_key(|prefix| prefix.len());
    let forged =
        claimed.is_some_and(|prefix| body(prefix).is_some_and(|body| !checksum_fits(prefix, body)));
    if forged {
        Reason::MalformedCredential
    } else {
        Reason::UnknownKey
    }
}

/// 48 characters of URL-safe base64: 32 random bytes and the first 4 of SHA-256 over prefix and those.
fn checksum_fits(prefix: &str, body: &[u8]) -> bool {
    let decoded = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(body);
    decoded.is_ok_and(|bytes| {
        bytes.len() == 36 && {
            let (random, check) = bytes.split_at(32);
            sha2::Sha256::digest([prefix.as_bytes(), random].concat()).starts_with(check)
        }
    })
}

fn network(key: &Key, source_ip: Option<IpAddr>) -> Result<(), Reason> {
    let cidrs = &key.settings.allowed_cidrs;
    if cidrs.is_empty() {
        return Ok(());
    }
    let ip = source_ip.ok_or(Reason::IpUnknown)?.to_canonical();
    if cidrs.iter().any(|net| net.contains(&ip)) {
        Ok(())
    } else {
        Err(Reason::IpNotAllowed)
    }
}

fn presented_well(
    world: &World,
    demands: &Demands,
    settings: &WorkspaceSettings,
    key: &Key,
    presentation: Presentation,
) -> Result<(), Reason> {
    let of_workspace = if settings.presentations.is_empty() {
        PresentationSet::defaults()
    } else {
        settings.presentations
    };
    let consents = |name: &String| {
        let entry = world
            .scopes
            .iter()
            .find(|s| s.workspace == key.workspace && s.name == *name);
        of_workspace.contains(presentation)
            || entry.is_some_and(|s| s.presentations.contains(presentation))
    };
    let nothing = demands
        .iter()
        .all(|(all, any)| all.is_empty() && any.is_empty());
    let good = if nothing {
        of_workspace.contains(presentation)
    } else {
        demands.iter().all(|(all, any)| {
            all.iter().all(consents)
                && (any.is_empty()
                    || of_workspace.contains(presentation)
                    || any.iter().any(|s| holds(world, key, s) && consents(s)))
        })
    };
    if good {
        Ok(())
    } else {
        Err(Reason::PresentationNotAllowed)
    }
}

/// The one asked for, else the key's only one.
fn acting_subscription(key: &Key, asked: Option<String>) -> Option<String> {
    match (asked, &key.settings.subscriptions[..]) {
        (Some(asked), _) => Some(asked),
        (None, [only]) => Some(only.as_str().to_owned()),
        (None, _) => None,
    }
}

fn subscribed(world: &World, key: &Key, acting: Option<&str>) -> Result<(), Reason> {
    let bound = &key.settings.subscriptions;
    let is_enabled = |id: &str| {
        let mut of_key = world
            .subscriptions
            .iter()
            .filter(|s| s.workspace == key.workspace);
        of_key.any(|s| s.id.as_str() == id && s.enabled)
    };
    let good = match acting {
        // Bound to several, and none asked for: one that is enabled is enough.
        None => bound.is_empty() || bound.iter().any(|s| is_enabled(s.as_str())),
        Some(acting) => {
            let own = bound.is_empty() || bound.iter().any(|s| s.as_str() == acting);
            own && is_enabled(acting)
        }
    };
    if good {
        Ok(())
    } else {
        Err(Reason::SubscriptionNotAllowed)
    }
}

fn scopes(world: &World, key: &Key, demands: &Demands) -> Result<(), Reason> {
    let holds = |s: &String| holds(world, key, s);
    let good = |(all, any): &(Vec<String>, Vec<String>)| {
        all.iter().all(holds) && (any.is_empty() || any.iter().any(holds))
    };
    if demands.iter().all(good) {
        Ok(())
    } else {
        Err(Reason::InsufficientScope)
    }
}

/// A key holds what it lists; one that is bound to a principal, only what that one may, too; one whose scopes come from its
/// principal and that lists none, all of that.
fn holds(world: &World, key: &Key, scope: &str) -> bool {
    let settings = &key.settings;
    let own = listed(&settings.scopes, scope);
    if settings.principal.is_none() {
        return own;
    }
    let principal = principal_of(world, key).is_some_and(|p| listed(&p.scopes, scope));
    match settings.scope_source {
        ScopeSource::Principal if settings.scopes.is_empty() => principal,
        ScopeSource::Principal | ScopeSource::Explicit => own && principal,
    }
}

/// `a:*` holds whatever begins with `a:`; any other grant holds itself.
fn listed(grants: &[Grant], scope: &str) -> bool {
    grants
        .iter()
        .any(|grant| match grant.as_str().strip_suffix(":*") {
            Some(family) => scope
                .strip_prefix(family)
                .is_some_and(|rest| rest.starts_with(':')),
            None => grant.as_str() == scope,
        })
}
