//! Tokens that were found in public: whose they are, and what their workspaces want done about it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures::FutureExt as _;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::app::Core;
use crate::app::auth::Caller;
use crate::app::error::Error;
use crate::app::mutate::{Call, Done, Issued};
use crate::app::ports::Resource;
use crate::app::scene::Scene;
use crate::domain::id::{KeyId, SecretId, WorkspaceId};
use crate::domain::key::Key;
use crate::domain::leak::Place;
use crate::domain::revision::Revision;
use crate::domain::secret::RevocationReason;
use crate::domain::token::TokenDigest;
use crate::domain::workspace::{LeakPolicy, Workspace};

use super::making::Value;
use super::rules::{Bindings, Facts};
use super::{Source, rules, secrets};

/// A token that was found in public.
#[derive(Debug, Clone)]
pub struct Leak {
    /// The token's digest.
    pub digest: TokenDigest,
    /// Where it was found; the token is not in it.
    pub place: Place,
}

/// What was found in public.
#[derive(Debug, Clone)]
pub struct LeakReport {
    /// In which workspace to look; none: in all that the caller administers.
    pub workspace: Option<WorkspaceId>,
    /// The tokens.
    pub leaks: Vec<Leak>,
}

/// What was done about a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum LeakAction {
    /// Nothing: it was reported before, or opens nothing.
    Nothing,
    /// It was noted.
    Notified,
    /// Its key was switched off.
    Disabled,
    /// It was replaced, or ended where it was being replaced already.
    Regenerated,
}

/// A secret whose token was found in public.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LeakedSecret {
    /// The workspace of its key.
    pub workspace: WorkspaceId,
    /// Its key.
    pub key: KeyId,
    /// Itself.
    pub secret: SecretId,
    /// What was done.
    pub action: LeakAction,
    /// It was reported before.
    pub already_reported: bool,
    /// Why less was done than the policy says.
    pub held_back: Option<String>,
    /// The new token, where there is one.
    #[serde(skip)]
    pub tokens: Vec<Issued>,
}

impl Core {
    /// Acts on tokens that were found in public, one after the other: each in a change of its own, so that a long report holds
    /// nobody up. Returns for each whose it is, and the last revision where anything changed. A secret is acted on once.
    pub async fn report_leaks(
        self: &Arc<Self>,
        call: Call,
        report: LeakReport,
    ) -> Result<(Vec<Vec<LeakedSecret>>, Option<Revision>), Error> {
        if let Some(workspace) = &report.workspace {
            self.require_workspace(workspace).await?;
        }
        let mut found = Vec::with_capacity(report.leaks.len());
        let mut last = None;
        for leak in report.leaks {
            let mut of_leak = Vec::new();
            for workspace in self.where_to_look(&call.caller, report.workspace.as_ref(), &leak) {
                let holder = self.holder(&call.caller, &workspace, &leak.digest).await?;
                let Some(holder) = holder else { continue };
                let (call, place) = (call.clone(), leak.place.clone());
                let answer = self
                    .mutate(
                        call,
                        Box::new(move |scene, caller| act(scene, caller, holder, place).boxed()),
                    )
                    .await?;
                let mut leaked: LeakedSecret = answer.value;
                leaked.tokens = answer.tokens;
                if !leaked.already_reported {
                    self.leaked.fetch_add(1, Ordering::Relaxed);
                    last = answer.revision;
                }
                of_leak.push(leaked);
            }
            found.push(of_leak);
        }
        Ok((found, last))
    }

    /// The workspaces that can hold a token. Where all are to be looked at, the index knows which.
    fn where_to_look(
        &self,
        caller: &Caller,
        named: Option<&WorkspaceId>,
        leak: &Leak,
    ) -> Vec<WorkspaceId> {
        match named {
            Some(workspace) => vec![workspace.clone()],
            None if caller.is_system() => {
                let tag = self.envelope.lookup().tag(&leak.digest);
                let index = self.index.now();
                let view = index.view();
                let holders: BTreeSet<_> = view
                    .holders(&tag)
                    .map(|(key, _)| key.workspace.clone())
                    .collect();
                holders.into_iter().collect()
            }
            None => vec![caller.workspace.clone()],
        }
    }

    async fn holder(
        &self,
        caller: &Caller,
        workspace: &WorkspaceId,
        digest: &TokenDigest,
    ) -> Result<Option<(KeyId, SecretId)>, Error> {
        let tag = self.envelope.lookup().tag(digest);
        let Some((key, secret)) = self.store.secret_holder(workspace, &tag).await? else {
            return Ok(None);
        };
        let key = self.store.key(key).await?;
        Ok(key
            .filter(|key| caller.may_see(key))
            .map(|key| (key.id, secret)))
    }
}

async fn act(
    scene: &mut Scene,
    caller: &Caller,
    (key, secret): (KeyId, SecretId),
    place: Place,
) -> Result<Done<LeakedSecret>, Error> {
    let before = rules::key_to_change(scene, caller, key, "").await?;
    let mut after = before.clone();
    let now = scene.now;
    let own = secrets::find(&mut after, secret)?;
    let mut leaked = LeakedSecret {
        workspace: before.workspace.clone(),
        key,
        secret,
        action: LeakAction::Nothing,
        already_reported: own.leak_time.is_some(),
        held_back: None,
        tokens: Vec::new(),
    };
    if leaked.already_reported {
        return Ok(Done {
            value: leaked,
            tokens: Vec::new(),
            unchanged: true,
        });
    }
    own.leak_time = Some(now);
    let live = before.delete_time.is_none() && own.is_live(now);
    let noted = after.clone();
    let mut tokens = Vec::new();
    if live {
        let workspace = scene.workspace(&before.workspace).await?;
        tokens = apply(scene, caller, &workspace, &mut after, &mut leaked).await?;
        if let Err(error) = rules::keep_an_administrator(scene, &before, Some(&after)).await {
            if error.reason != LAST_ADMINISTRATOR {
                return Err(error);
            }
            leaked.action = LeakAction::Notified;
            leaked.held_back = Some(error.reason.to_owned());
            (after, tokens) = (noted, Vec::new());
        }
    }
    scene.put_key("LEAK", Some(&before), &mut after).await?;
    let what = json!({ "secret": secret, "place": place, "action": leaked.action });
    let resource = Resource::Key(before.workspace.clone(), key);
    scene.audit("REPORT_LEAK", resource, what).await?;
    Ok(Done {
        value: leaked,
        tokens,
        unchanged: false,
    })
}

const LAST_ADMINISTRATOR: &str = "LAST_ADMINISTRATOR";
const ESCALATION: &str = "ESCALATION";

/// Does to a key what its workspace's policy says; returns the new token where there is one.
async fn apply(
    scene: &mut Scene,
    caller: &Caller,
    workspace: &Workspace,
    key: &mut Key,
    leaked: &mut LeakedSecret,
) -> Result<Vec<Issued>, Error> {
    let mut policy = workspace.settings.leak_policy;
    if policy == LeakPolicy::Regenerate {
        // The caller would get the token of a key that has more rights than itself. Taking rights away is free.
        match rules::require_rights_of(scene, caller, key, "the key has").await {
            Err(error) if error.reason == ESCALATION => {
                leaked.held_back = Some(error.reason.to_owned());
                policy = LeakPolicy::Disable;
            }
            other => other?,
        }
    }
    match policy {
        LeakPolicy::Notify => {
            leaked.action = LeakAction::Notified;
            Ok(Vec::new())
        }
        LeakPolicy::Disable => {
            key.settings.enabled = false;
            leaked.action = LeakAction::Disabled;
            Ok(Vec::new())
        }
        LeakPolicy::Regenerate => {
            leaked.action = LeakAction::Regenerated;
            replace(scene, caller, workspace, key, leaked.secret).await
        }
    }
}

/// Ends a secret, at once or after the workspace's grace, and puts a new one into its slot. One that was retiring already has
/// its successor: it ends at once.
async fn replace(
    scene: &mut Scene,
    caller: &Caller,
    workspace: &Workspace,
    key: &mut Key,
    secret: SecretId,
) -> Result<Vec<Issued>, Error> {
    let now = scene.now;
    let before = key.clone();
    let (slot, retiring) = {
        let own = secrets::find(key, secret)?;
        (own.slot, own.retire_time.is_some())
    };
    let grace = workspace.settings.leak_grace.unwrap_or_default();
    let at_once = retiring || grace.is_zero();
    // Too many in their grace already: then this one has none.
    if at_once || secrets::retire(scene, key, slot, grace).is_err() {
        let own = secrets::find(key, secret)?;
        secrets::end(own, now, RevocationReason::KeyCompromise);
    } else {
        secrets::find(key, secret)?.revocation_reason = RevocationReason::KeyCompromise;
    }
    if retiring {
        return Ok(Vec::new());
    }
    let core = scene.core.clone();
    let prefix = workspace.settings.prefix();
    let source = Source::Generate(None);
    let value = Value::of(&core, &workspace.id, prefix, (slot, "source"), source);
    let facts = Facts::gather(scene, caller, &workspace.id, Bindings::default(), &[]).await?;
    let (mut new, issued) = value.into_secret(&core, now, workspace, &before, &facts)?;
    new.regenerated = true;
    key.secrets.push(new);
    secrets::forget_oldest_dead(key, now);
    Ok(issued.into_iter().collect())
}
