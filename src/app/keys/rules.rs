//! The rules that every change of a key obeys.

use crate::app::auth::{Caller, admin_rights};
use crate::app::error::{Code, Error};
use crate::app::mutate::{Issued, Scene};
use crate::app::ports::StoreError;
use crate::domain::entropy;
use crate::domain::id::{KeyId, SecretId, WorkspaceId};
use crate::domain::key::{Key, KeyState};
use crate::domain::network;
use crate::domain::scope::{ADMIN_ALL, Grant};
use crate::domain::secret::{Origin, RevocationReason, Secret, Slot};
use crate::domain::time::Time;
use crate::domain::token::{STRONG_BITS, Tag, Token};
use crate::domain::workspace::{Scope, Workspace};

use super::Source;

impl Scene {
    /// A new key id.
    pub(super) fn new_key_id(&self) -> Result<KeyId, Error> {
        let mut random = [0; 10];
        self.core.entropy.fill(&mut random)?;
        Ok(KeyId::new(self.now, random))
    }

    fn new_secret_id(&self) -> Result<SecretId, Error> {
        let mut random = [0; 10];
        self.core.entropy.fill(&mut random)?;
        Ok(SecretId::new(self.now, random))
    }
}

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
    let catalogue = scene.tx.scopes(&key.workspace).await?;
    caller.require_all(&admin_rights(&key.settings.scopes, &catalogue), what)
}

/// What a key's settings must be, whoever sets them.
pub(super) async fn check_settings(
    scene: &mut Scene,
    caller: &Caller,
    key: &Key,
) -> Result<(), Error> {
    let catalogue = scene.tx.scopes(&key.workspace).await?;
    let settings = &key.settings;
    for (i, grant) in settings.scopes.iter().enumerate() {
        if !grant.is_admin() && !is_declared(grant, &catalogue) {
            return Err(Error::invalid(
                format!("key.scopes[{i}]"),
                format!(
                    "`{}` is not declared in the workspace's catalogue; declare it with `Directory.CreateScope` first",
                    grant.as_str()
                ),
            ));
        }
    }
    for (i, id) in settings.subscriptions.iter().enumerate() {
        if scene.tx.subscription(&key.workspace, id).await?.is_none() {
            return Err(Error::invalid(
                format!("key.subscriptions[{i}]"),
                format!(
                    "there is no subscription `{id}` in this workspace; make it with `Directory.CreateSubscription` first"
                ),
            ));
        }
    }
    if !caller.may_bind(&settings.subscriptions) {
        return Err(Error::denied(
            "ESCALATION",
            "the key of this call is bound to subscriptions; bind the key to some of those, and to no others",
        ));
    }
    caller.require_all(
        &admin_rights(&settings.scopes, &catalogue),
        "the key would have",
    )
}

fn is_declared(grant: &Grant, catalogue: &[Scope]) -> bool {
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
        "this is the last usable key of `system` with `claviger:*` that does not expire; make another one first",
    ))
}

/// Whether a key can administer everything, and goes on to: one that expires, or whose last secret is in its grace, would
/// leave nobody behind one day.
fn is_administrator(key: &Key, now: Time) -> bool {
    key.state(now) == KeyState::Active
        && key.settings.expire_time.is_none()
        && (key.active(Slot::Primary).is_some() || key.active(Slot::Secondary).is_some())
        && key
            .settings
            .scopes
            .iter()
            .any(|grant| grant.as_str() == ADMIN_ALL)
}

/// Makes a secret for a slot, and its token where it is generated here.
pub(super) async fn make_secret(
    scene: &mut Scene,
    caller: &Caller,
    workspace: &Workspace,
    key: &Key,
    slot: Slot,
    source: Source,
    field: &str,
) -> Result<(Secret, Option<Issued>), Error> {
    let id = scene.new_secret_id()?;
    let made = evaluate(scene, workspace, source, field)?;
    let lookup = scene.core.envelope.lookup().clone();
    let tag = made.tag(&lookup);
    if made.origin != Origin::Generated {
        refuse_known(scene, caller, key, &tag, field).await?;
    }
    let sealed = match &made.token {
        Some(token) if workspace.settings.recoverable => Some(scene.core.envelope.seal_token(
            key.id,
            id,
            token,
            &*scene.core.entropy,
        )?),
        _ => None,
    };
    let secret = Secret {
        id,
        slot,
        tag,
        origin: made.origin,
        weak: made.weak,
        hint: made
            .token
            .as_ref()
            .map(|t| t.hint(&made.prefix))
            .unwrap_or_default(),
        prefix: made.prefix,
        sealed,
        create_time: scene.now,
        regenerated: false,
        retire_time: None,
        revoke_time: None,
        revocation_reason: RevocationReason::Unspecified,
        acknowledge_time: None,
        last_used_time: None,
    };
    let issued = made
        .token
        .filter(|_| secret.origin == Origin::Generated)
        .map(|token| Issued {
            key: key.id,
            secret: id,
            slot,
            token,
        });
    Ok((secret, issued))
}

/// The value of a secret to be, and what is known of it.
struct Made {
    origin: Origin,
    token: Option<Token>,
    digest: crate::domain::token::TokenDigest,
    prefix: String,
    weak: bool,
}

impl Made {
    fn tag(&self, lookup: &crate::domain::token::LookupKey) -> Tag {
        lookup.tag(&self.digest)
    }
}

fn evaluate(
    scene: &Scene,
    workspace: &Workspace,
    source: Source,
    field: &str,
) -> Result<Made, Error> {
    let system = workspace.id.is_system();
    let refuse_weak = |weak: bool, allowed: bool, place: &str, why: &str| {
        if weak && (system || !allowed) {
            let remedy = if system {
                "keys of `system` are never weak"
            } else {
                "use a stronger token, or set `allow_weak` and fence the key with `allowed_cidrs`"
            };
            let mut error = Error::invalid(format!("{field}.{place}"), format!("{why}; {remedy}"));
            error.reason = "WEAK_TOKEN";
            return Err(error);
        }
        Ok(())
    };
    match source {
        Source::Generate(prefix) => {
            let prefix = prefix.unwrap_or_else(|| workspace.settings.prefix().to_owned());
            let mut random = zeroize::Zeroizing::new([0; 32]);
            scene.core.entropy.fill(random.as_mut_slice())?;
            let token = Token::generate(&prefix, &random);
            Ok(Made {
                origin: Origin::Generated,
                digest: token.digest(),
                token: Some(token),
                prefix,
                weak: false,
            })
        }
        Source::Token { token, allow_weak } => {
            let bits = entropy::estimate_bits(token.reveal().as_bytes());
            let weak = bits < STRONG_BITS;
            let why =
                format!("seems to have about {bits} bits of entropy, and {STRONG_BITS} are needed");
            refuse_weak(weak, allow_weak, "external_token.token", &why)?;
            Ok(Made {
                origin: Origin::ExternalToken,
                digest: token.digest(),
                token: Some(token),
                prefix: String::new(),
                weak,
            })
        }
        Source::Digest {
            digest,
            asserted_bits,
            allow_weak,
        } => {
            if system {
                return Err(Error::denied(
                    "DIGEST_IN_SYSTEM",
                    "rights over all workspaces never come from a digest; hand in the token, or let one be generated",
                ));
            }
            let weak = asserted_bits < STRONG_BITS;
            let why = format!(
                "asserts fewer than {STRONG_BITS} bits of entropy, and a digest does not show them"
            );
            refuse_weak(
                weak,
                allow_weak,
                "external_digest.asserted_entropy_bits",
                &why,
            )?;
            Ok(Made {
                origin: Origin::ExternalDigest,
                digest,
                token: None,
                prefix: String::new(),
                weak,
            })
        }
    }
}

/// A token is unique within a workspace. Of other workspaces' nothing is said: one tenant can't learn or block another's.
async fn refuse_known(
    scene: &mut Scene,
    caller: &Caller,
    key: &Key,
    tag: &Tag,
    field: &str,
) -> Result<(), Error> {
    if key.secrets.iter().any(|s| s.tag == *tag) {
        return Err(Error::invalid(
            field,
            "is the token of another secret of this key; each secret needs its own",
        ));
    }
    let Some((holder, secret)) = scene.tx.secret_holder(&key.workspace, tag).await? else {
        return Ok(());
    };
    let holder = scene
        .tx
        .key(holder)
        .await?
        .ok_or_else(|| StoreError::Corrupt("a secret without its key".to_owned()))?;
    let live = holder.delete_time.is_none()
        && holder
            .secrets
            .iter()
            .any(|s| s.id == secret && s.is_live(scene.now));
    let whose = if caller.may_see(&holder) {
        format!("key `{}`", holder.id)
    } else {
        "another key".to_owned()
    };
    let error = if live {
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
    Err(if caller.may_see(&holder) {
        error.with("key_id", holder.id)
    } else {
        error
    })
}
