//! How a key comes to be, alone or as one of a set: first what can be told without the database, then the rules.

use crate::app::Core;
use crate::app::auth::Caller;
use crate::app::error::Error;
use crate::app::mutate::Issued;
use crate::app::scene::Scene;
use crate::domain::entropy;
use crate::domain::id::{KeyId, SecretId, WorkspaceId};
use crate::domain::key::{Key, KeySettings};
use crate::domain::principal::ScopeSource;
use crate::domain::secret::{Origin, Secret, Slot};
use crate::domain::time::Time;
use crate::domain::token::{STRONG_BITS, Tag, Token, TokenDigest};
use crate::domain::workspace::Workspace;

use super::rules::{self, Bindings, Facts};
use super::{NewKey, Source};

impl Core {
    /// A new key id of this moment.
    fn new_key_id(&self, at: Time) -> Result<KeyId, Error> {
        let mut random = [0; 10];
        self.entropy.fill(&mut random)?;
        Ok(KeyId::new(at, random))
    }

    fn new_secret_id(&self, at: Time) -> Result<SecretId, Error> {
        let mut random = [0; 10];
        self.entropy.fill(&mut random)?;
        Ok(SecretId::new(at, random))
    }
}

/// Makes a key within a change.
pub(in crate::app) async fn make(
    scene: &mut Scene,
    caller: &Caller,
    workspace: &Workspace,
    new: NewKey,
) -> Result<(Key, Vec<Issued>), Error> {
    let core = scene.core.clone();
    let two_slots = workspace.settings.two_slots;
    let secondary = new
        .secondary
        .or_else(|| two_slots.then_some(Source::Generate(None)));
    let mut draft = Draft::new(caller, new.settings, None);
    let sources = [
        ((Slot::Primary, "primary"), Some(new.primary)),
        ((Slot::Secondary, "secondary"), secondary),
    ];
    let prefix = workspace.settings.prefix();
    for (place, source) in sources {
        let Some(source) = source else { continue };
        draft.add(Value::of(&core, &workspace.id, prefix, place, source));
    }
    let tags: Vec<_> = draft.tags().collect();
    let facts = Facts::gather(scene, caller, &workspace.id, draft.bindings(), &tags).await?;
    let (mut key, tokens) = draft.finish(&core, scene.now, caller, workspace, &facts)?;
    scene.put_key("CREATE", None, &mut key).await?;
    Ok((key, tokens))
}

/// A key to be.
pub(super) struct Draft {
    settings: KeySettings,
    /// When it was made, where that was elsewhere and before.
    create_time: Option<Time>,
    values: Vec<Value>,
}

/// The value of a secret to be. What is wrong with it is said when its turn comes, after the settings.
pub(super) struct Value {
    slot: Slot,
    field: &'static str,
    made: Result<Made, Error>,
}

/// A value, and what is known of it.
struct Made {
    origin: Origin,
    token: Option<Token>,
    digest: TokenDigest,
    tag: Tag,
    prefix: String,
    weak: bool,
}

impl Draft {
    /// A key of these settings, without secrets yet. A bound administrator makes keys of its own kind without having to
    /// say so, and who manages only their own keys makes those.
    pub(super) fn new(
        caller: &Caller,
        mut settings: KeySettings,
        create_time: Option<Time>,
    ) -> Self {
        if let ([only], []) = (&*caller.subscriptions, &*settings.subscriptions) {
            settings.subscriptions = vec![only.clone()];
        }
        if settings.subscriptions.is_empty() {
            settings
                .subscriptions
                .extend(caller.default_subscription.clone());
        }
        if caller.only_own && settings.principal.is_none() {
            settings.principal.clone_from(&caller.principal);
            if settings.scopes.is_empty() {
                settings.scope_source = ScopeSource::Principal;
            }
        }
        Self {
            settings,
            create_time,
            values: Vec::new(),
        }
    }

    /// Adds a secret.
    pub(super) fn add(&mut self, value: Value) {
        self.values.push(value);
    }

    /// What it is to be bound to.
    pub(super) fn bindings(&self) -> Bindings<'_> {
        rules::bindings(&self.settings)
    }

    /// The tags that somebody may hold already.
    pub(super) fn tags(&self) -> impl Iterator<Item = Tag> {
        self.values.iter().filter_map(Value::tag)
    }

    /// The key, if all rules allow it, and the tokens that were generated for it.
    pub(super) fn finish(
        self,
        core: &Core,
        now: Time,
        caller: &Caller,
        workspace: &Workspace,
        facts: &Facts,
    ) -> Result<(Key, Vec<Issued>), Error> {
        let create_time = self.create_time.map_or(now, |then| then.min(now));
        let mut key = Key {
            // Keys are listed in the order of their ids as that of their creation.
            id: core.new_key_id(create_time)?,
            workspace: workspace.id.clone(),
            settings: self.settings,
            secrets: Vec::new(),
            create_time,
            update_time: now,
            delete_time: None,
            purge_time: None,
            revision: 0,
        };
        rules::check_settings(caller, &key, facts)?;
        rules::check_creation(caller, workspace, &key)?;
        let settings = &workspace.settings;
        // Also of a key that is moved in: how long it lives here is counted from now.
        key.settings.expire_time = key.settings.expire_time.or(settings.default_end(now));
        rules::check_lifetime(settings, now, key.settings.expire_time)?;
        let mut tokens = Vec::new();
        for value in self.values {
            let (secret, issued) = value.into_secret(core, now, workspace, &key, facts)?;
            key.secrets.push(secret);
            tokens.extend(issued);
        }
        rules::check_fence(&key, now)?;
        Ok((key, tokens))
    }
}

impl Value {
    /// What a source of this workspace yields; `prefix` is of generated tokens that ask for none of their own.
    pub(super) fn of(
        core: &Core,
        workspace: &WorkspaceId,
        prefix: &str,
        (slot, field): (Slot, &'static str),
        source: Source,
    ) -> Self {
        let made = evaluate(core, workspace, prefix, source, field);
        Self { slot, field, made }
    }

    /// None: it can't be made at all.
    pub(super) fn refused(slot: Slot, field: &'static str, error: Error) -> Self {
        let made = Err(error);
        Self { slot, field, made }
    }

    /// The tag that somebody may hold already.
    pub(super) fn tag(&self) -> Option<Tag> {
        let made = self.made.as_ref().ok()?;
        (made.origin != Origin::Generated).then_some(made.tag)
    }

    /// The secret of a key, and its token where it is generated here.
    pub(super) fn into_secret(
        self,
        core: &Core,
        now: Time,
        workspace: &Workspace,
        key: &Key,
        facts: &Facts,
    ) -> Result<(Secret, Option<Issued>), Error> {
        let (slot, field) = (self.slot, self.field);
        let made = self.made?;
        if made.origin != Origin::Generated {
            rules::refuse_known(key, &made.tag, field, facts)?;
        }
        let id = core.new_secret_id(now)?;
        let envelope = &core.envelope;
        let sealed = match &made.token {
            Some(token) if workspace.settings.recoverable => {
                Some(envelope.seal_token(key.id, id, token, &*core.entropy)?)
            }
            _ => None,
        };
        let sealed_digest = envelope.seal_digest(key.id, id, &made.digest, &*core.entropy)?;
        let hint = made.token.as_ref().map(|t| t.hint(&made.prefix));
        let secret = Secret {
            weak: made.weak,
            hint: hint.unwrap_or_default(),
            prefix: made.prefix,
            sealed,
            sealed_digest: Some(sealed_digest),
            ..Secret::new(id, slot, made.tag, made.origin, now)
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
}

fn evaluate(
    core: &Core,
    workspace: &WorkspaceId,
    prefix: &str,
    source: Source,
    field: &str,
) -> Result<Made, Error> {
    let system = workspace.is_system();
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
    let lookup = core.envelope.lookup();
    let made = |origin, token: Option<Token>, digest: TokenDigest, prefix, weak| Made {
        origin,
        token,
        tag: lookup.tag(&digest),
        digest,
        prefix,
        weak,
    };
    match source {
        Source::Generate(own) => {
            let prefix = own.unwrap_or_else(|| prefix.to_owned());
            let mut random = zeroize::Zeroizing::new([0; 32]);
            core.entropy.fill(random.as_mut_slice())?;
            let token = Token::generate(&prefix, &random);
            let digest = token.digest();
            Ok(made(Origin::Generated, Some(token), digest, prefix, false))
        }
        Source::Token { token, allow_weak } => {
            let bits = entropy::estimate_bits(token.reveal().as_bytes());
            let weak = bits < STRONG_BITS;
            let why =
                format!("seems to have about {bits} bits of entropy, and {STRONG_BITS} are needed");
            refuse_weak(weak, allow_weak, "external_token.token", &why)?;
            let digest = token.digest();
            let origin = Origin::ExternalToken;
            Ok(made(origin, Some(token), digest, String::new(), weak))
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
            let origin = Origin::ExternalDigest;
            Ok(made(origin, None, digest, String::new(), weak))
        }
    }
}
