//! The rules that every change of a key obeys.

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::app::auth::{Caller, rights_to_open, rights_to_open_now};
use crate::app::error::{Code, Error};
use crate::app::ports::StoreError;
use crate::app::scene::Scene;
use crate::domain::id::{KeyId, PrincipalId, SubscriptionId, WorkspaceId};
use crate::domain::key::{Key, KeySettings, KeyState};
use crate::domain::network;
use crate::domain::postback::Destination;
use crate::domain::principal::ScopeSource;
use crate::domain::scope::{ADMIN_ALL, Grant};
use crate::domain::secret::SecretState;
use crate::domain::time::Time;
use crate::domain::token::Tag;
use crate::domain::workspace::{
    KeyCreation, Scope, UndemandedScopes, Workspace, WorkspaceSettings,
};

/// The key that a caller wants to change: one it may see, and still as it was read where an etag says so.
pub(super) async fn key_to_change(
    scene: &mut Scene,
    caller: &Caller,
    id: KeyId,
    etag: &str,
) -> Result<Key, Error> {
    let key = scene
        .tx
        .key(id)
        .await?
        .filter(|key| caller.may_see(key))
        .ok_or_else(|| Error::not_found("key"))?;
    check_etag(etag, &key.etag())?;
    Ok(key)
}

/// Refuses a change of what has changed since it was read.
pub(crate) fn check_etag(given: &str, current: &str) -> Result<(), Error> {
    if given.is_empty() || given == current {
        Ok(())
    } else {
        Err(Error::new(
            Code::Aborted,
            "ETAG_MISMATCH",
            "it has changed since it was read; read it again, and repeat the change if it is still right",
        ))
    }
}

/// No escalation: whoever opens a key, or changes it so that it opens more, holds every right over Claviger that it has.
pub(super) async fn require_rights_of(
    scene: &mut Scene,
    caller: &Caller,
    key: &Key,
    what: &str,
) -> Result<(), Error> {
    let rights = rights_to_open_now(&mut *scene.tx, key).await?;
    caller.require_all(&rights, what)?;
    check_maker(caller, &scene.workspace(&key.workspace).await?, key)
}

/// Whether the workspace lets this caller make this key, or open it wider: where everybody has only their own keys, who acts
/// as its principal. What administrates Claviger alone, and is bound to nobody, is no user's.
pub(super) fn check_maker(caller: &Caller, workspace: &Workspace, key: &Key) -> Result<(), Error> {
    let settings = &key.settings;
    let of_nobody = settings.principal.is_none() && settings.lists_only_rights();
    let only_own = workspace.settings.key_creation == KeyCreation::SelfOnly;
    if !only_own || of_nobody || caller.is(settings.principal.as_ref()) {
        return Ok(());
    }
    Err(Error::denied(
        "SELF_ONLY",
        "in this workspace keys are made and managed only by the principal they are bound to; act as that one, or change `key_creation`",
    ))
}

/// Whether the workspace lets this caller make a key at all.
pub(super) fn check_creation(
    caller: &Caller,
    workspace: &Workspace,
    key: &Key,
) -> Result<(), Error> {
    if workspace.settings.key_creation == KeyCreation::Administrators && !caller.holds_all() {
        return Err(Error::denied(
            "ADMINISTRATORS_ONLY",
            "in this workspace keys are made only by who holds `claviger:*`; call with such a key, or change `key_creation`",
        ));
    }
    check_maker(caller, workspace, key)?;
    check_scoped(workspace, key)
}

/// Where every request must demand a scope, a key that grants none would open nothing: who makes it has forgotten something.
fn check_scoped(workspace: &Workspace, key: &Key) -> Result<(), Error> {
    let settings = &key.settings;
    let grants_none = settings.scopes.is_empty() && settings.scope_source == ScopeSource::Explicit;
    if !grants_none || workspace.settings.undemanded_scopes != UndemandedScopes::Deny {
        return Ok(());
    }
    let mut error = Error::invalid(
        "key.scopes",
        "is empty, and in this workspace every request demands a scope (`undemanded_scopes` is DENY): name one, or bind the key to a principal",
    );
    error.reason = "SCOPE_REQUIRED";
    Err(error)
}

/// What the rules ask of the database. It is read before they are applied, so that one key and a thousand of an import obey
/// the same ones, and the thousand cost no more statements than the one.
#[derive(Debug)]
pub(super) struct Facts {
    catalogue: Vec<Scope>,
    /// Those there are of the subscriptions that were asked for.
    subscriptions: HashSet<SubscriptionId>,
    /// Whether POSTbacks go to loopback without TLS.
    plain_postbacks: bool,
    /// What those may do that there are of the principals that were asked for.
    principals: HashMap<PrincipalId, Vec<Grant>>,
    /// Who holds tags that were asked for.
    holders: HashMap<[u8; 32], Holder>,
}

/// What a key is to be bound to.
#[derive(Debug, Default)]
pub(super) struct Bindings<'a> {
    pub(super) subscriptions: &'a [SubscriptionId],
    pub(super) principals: &'a [PrincipalId],
}

/// Whose token it is already.
#[derive(Debug, Clone, Copy)]
struct Holder {
    key: KeyId,
    live: bool,
    /// Whether the caller may see that key.
    visible: bool,
}

/// What a key of these settings is to be bound to.
pub(super) fn bindings(settings: &KeySettings) -> Bindings<'_> {
    Bindings {
        subscriptions: &settings.subscriptions,
        principals: settings.principal.as_slice(),
    }
}

impl Facts {
    /// Reads what concerns these bindings and tags.
    pub(super) async fn gather(
        scene: &mut Scene,
        caller: &Caller,
        workspace: &WorkspaceId,
        bindings: Bindings<'_>,
        tags: &[Tag],
    ) -> Result<Self, Error> {
        let catalogue = scene.tx.scopes(workspace).await?;
        let tx = &mut scene.tx;
        let existing = tx.subscriptions(workspace, bindings.subscriptions).await?;
        let principals = tx.principals(workspace, bindings.principals).await?;
        Ok(Self {
            catalogue,
            subscriptions: existing.into_iter().collect(),
            plain_postbacks: scene.core.postbacks.plain,
            principals: principals.into_iter().map(|p| (p.id, p.scopes)).collect(),
            holders: holders(scene, caller, workspace, tags).await?,
        })
    }

    /// From now on this key holds its tokens; one that is not to be made after all is not named.
    pub(super) fn claim(&mut self, key: &Key, visible: bool) {
        let holder = Holder {
            key: key.id,
            live: true,
            visible,
        };
        let tags = key.secrets.iter().map(|s| *s.tag.as_bytes());
        self.holders.extend(tags.map(|tag| (tag, holder)));
    }
}

async fn holders(
    scene: &mut Scene,
    caller: &Caller,
    workspace: &WorkspaceId,
    tags: &[Tag],
) -> Result<HashMap<[u8; 32], Holder>, Error> {
    let found = scene.tx.holders(workspace, tags).await?;
    let ids: BTreeSet<KeyId> = found.iter().map(|(_, key, _)| *key).collect();
    let keys = scene.tx.keys(&ids.into_iter().collect::<Vec<_>>()).await?;
    let keys: HashMap<KeyId, Key> = keys.into_iter().map(|key| (key.id, key)).collect();
    let mut holders = HashMap::new();
    for (tag, key, secret) in found {
        let key = keys
            .get(&key)
            .ok_or_else(|| StoreError::Corrupt("a secret without its key".to_owned()))?;
        let live = key.delete_time.is_none()
            && key
                .secrets
                .iter()
                .any(|s| s.id == secret && s.is_live(scene.now));
        let holder = Holder {
            key: key.id,
            live,
            visible: caller.may_see(key),
        };
        holders.insert(*tag.as_bytes(), holder);
    }
    Ok(holders)
}

/// What a key's settings must be, whoever sets them.
pub(super) fn check_settings(caller: &Caller, key: &Key, facts: &Facts) -> Result<(), Error> {
    let settings = &key.settings;
    for (i, grant) in settings.scopes.iter().enumerate() {
        if !grant.is_admin() && !is_declared(grant, &facts.catalogue) {
            return Err(Error::invalid(
                format!("key.scopes[{i}]"),
                format!(
                    "`{}` is not declared in the workspace's catalogue; declare it with `Directory.CreateScope` first",
                    grant.as_str()
                ),
            ));
        }
    }
    let plain = Destination::parse(&settings.postback_url).is_ok_and(|to| !to.tls);
    if plain && !facts.plain_postbacks {
        return Err(Error::invalid(
            "key.postback_url",
            "is not an `https` URL; this process does not carry POSTbacks to loopback (`--postback-allow`)",
        ));
    }
    // Before anything is said of what exists: others' subscriptions are none of a bound caller's business.
    if !caller.may_bind(&settings.subscriptions) {
        return Err(Error::denied(
            "ESCALATION",
            "the key of this call is bound to subscriptions; bind the key to some of those, and to no others",
        ));
    }
    for (i, id) in settings.subscriptions.iter().enumerate() {
        if !facts.subscriptions.contains(id) {
            return Err(Error::invalid(
                format!("key.subscriptions[{i}]"),
                format!(
                    "there is no subscription `{id}` in this workspace; make it with `Directory.CreateSubscription` first"
                ),
            ));
        }
    }
    check_principal(caller, key, facts)?;
    let principal = settings.principal.as_ref();
    let may = principal.and_then(|id| facts.principals.get(id));
    let rights = rights_to_open(key, may.map(|scopes| &**scopes), &facts.catalogue);
    caller.require_all(&rights, "the key would have")
}

fn check_principal(caller: &Caller, key: &Key, facts: &Facts) -> Result<(), Error> {
    let settings = &key.settings;
    // Before anything is said of who exists.
    if caller.only_own && !caller.is(settings.principal.as_ref()) {
        return Err(Error::denied(
            "ESCALATION",
            "the key of this call manages only the keys of the principal that it acts as; bind the key to that one",
        ));
    }
    let invalid = |what: String| Err(Error::invalid("key.principal", what));
    match &settings.principal {
        None if settings.scope_source == ScopeSource::Principal => Err(Error::invalid(
            "key.scope_source",
            "is PRINCIPAL, and the key is bound to none; name one in `principal`, or use EXPLICIT",
        )),
        Some(_) if key.workspace.is_system() => invalid(
            "names a principal; rights over all workspaces never come from one, so leave it out"
                .to_owned(),
        ),
        Some(id) if !facts.principals.contains_key(id) => invalid(format!(
            "names `{id}`, and there is no such principal in this workspace; synchronise it with `Directory.SyncPrincipals` first"
        )),
        _ => Ok(()),
    }
}

/// No key lives longer than its workspace allows. `made`: from when on its life is counted.
pub(super) fn check_lifetime(
    settings: &WorkspaceSettings,
    made: Time,
    end: Option<Time>,
) -> Result<(), Error> {
    let Some(latest) = settings.latest_end(made) else {
        return Ok(());
    };
    if end.is_some_and(|end| end <= latest) {
        return Ok(());
    }
    let days = settings.longest_lifetime.unwrap_or_default().as_secs() / 86_400;
    let mut error = Error::invalid(
        "key.expire_time",
        format!(
            "is beyond the workspace's `longest_lifetime` (about {days} days after the key was made); set an earlier end, or make a new key"
        ),
    );
    error.reason = "LIFETIME_TOO_LONG";
    Err(error)
}

/// The same for a change: only a longer life is judged, so that keys from before the rule can be changed otherwise.
pub(super) async fn check_longer_life(
    scene: &mut Scene,
    before: &Key,
    after: &Key,
) -> Result<(), Error> {
    // Absent is the latest of all.
    let end = |key: &Key| (key.settings.expire_time.is_none(), key.settings.expire_time);
    if end(after) <= end(before) {
        return Ok(());
    }
    let workspace = scene.workspace(&after.workspace).await?;
    check_lifetime(
        &workspace.settings,
        after.create_time,
        after.settings.expire_time,
    )
}

/// A token is unique within a workspace. Of other workspaces' nothing is said: one tenant can't learn or block another's.
pub(super) fn refuse_known(key: &Key, tag: &Tag, field: &str, facts: &Facts) -> Result<(), Error> {
    if key.secrets.iter().any(|s| s.tag == *tag) {
        return Err(Error::invalid(
            field,
            "is the token of another secret of this key; each secret needs its own",
        ));
    }
    let Some(holder) = facts.holders.get(tag.as_bytes()) else {
        return Ok(());
    };
    let whose = if holder.visible {
        format!("key `{}`", holder.key)
    } else {
        "another key".to_owned()
    };
    let error = if holder.live {
        Error::new(
            Code::AlreadyExists,
            "TOKEN_IN_USE",
            format!("the token is in use by {whose} of this workspace; use another token"),
        )
    } else {
        Error::precondition(
            "TOKEN_KNOWN_DEAD",
            format!(
                "the token was revoked, or its key deleted ({whose}); undelete that key, purge it, or use another token"
            ),
        )
    };
    Err(if holder.visible {
        error.with("key_id", holder.key)
    } else {
        error
    })
}

/// Whether a catalogue has what a grant is about.
pub(crate) fn is_declared(grant: &Grant, catalogue: &[Scope]) -> bool {
    catalogue.iter().any(|scope| grant.covers(&scope.name))
}

/// While a weak secret lives, its key is fenced: guessing the token is then of no use from elsewhere.
pub(super) fn check_fence(key: &Key, now: Time) -> Result<(), Error> {
    if !key.secrets.iter().any(|s| s.weak && s.is_live(now)) {
        return Ok(());
    }
    let cidrs = &key.settings.allowed_cidrs;
    if cidrs.is_empty() {
        return Err(Error::invalid(
            "key.allowed_cidrs",
            "must name the networks of a key with a weak secret; name some, none wider than /16 (IPv4) or /48 (IPv6)",
        ));
    }
    match cidrs.iter().find(|net| !network::is_narrow(net)) {
        None => Ok(()),
        Some(wide) => Err(Error::invalid(
            "key.allowed_cidrs",
            format!(
                "holds `{wide}`, which is too wide for a key with a weak secret; none may be wider than /16 (IPv4) or /48 (IPv6)"
            ),
        )),
    }
}

/// The last key that can administer everything can't be taken away. `after` is none where the key goes altogether.
pub(super) async fn keep_an_administrator(
    scene: &mut Scene,
    before: &Key,
    after: Option<&Key>,
) -> Result<(), Error> {
    let now = scene.now;
    if !before.workspace.is_system()
        || !is_administrator(before, now)
        || after.is_some_and(|after| is_administrator(after, now))
    {
        return Ok(());
    }
    let keys = scene.tx.keys_of(&WorkspaceId::system()).await?;
    if keys
        .iter()
        .any(|key| key.id != before.id && is_administrator(key, now))
    {
        return Ok(());
    }
    Err(Error::precondition(
        "LAST_ADMINISTRATOR",
        "this is the last key of `system` with `claviger:*` that has no expiry and no `allowed_cidrs`; make another one first",
    ))
}

/// Only what will still be one tomorrow counts, and from wherever it is called: no expiry, no networks, a secret that is
/// not retiring.
fn is_administrator(key: &Key, now: Time) -> bool {
    key.state(now) == KeyState::Active
        && key.settings.expire_time.is_none()
        && key.settings.allowed_cidrs.is_empty()
        && key
            .secrets
            .iter()
            .any(|s| s.state(now) == SecretState::Active)
        && key
            .settings
            .scopes
            .iter()
            .any(|grant| grant.as_str() == ADMIN_ALL)
}
