//! The secrets that a workspace's POSTbacks are signed with: one, and beside it those that it replaced, for a while.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use serde::{Deserialize, Serialize};
use serde_json::json;
use zeroize::Zeroizing;

use crate::app::Core;
use crate::app::auth::Caller;
use crate::app::error::Error;
use crate::app::mutate::{Answer, Call, Done};
use crate::app::ports::Resource;
use crate::app::ports::outbox::SigningSecret;
use crate::app::scene::Scene;
use crate::domain::id::{SigningSecretId, WorkspaceId};
use crate::domain::time::Time;

use super::message::{SigningKey, text_of};

/// How many secrets of a workspace sign at once.
const MOST: usize = 4;
/// How long a replaced secret signs, where nothing else is said, and at most.
pub const DEFAULT_OVERLAP: Duration = Duration::from_secs(24 * 3_600);
/// The longest overlap.
pub const MAX_OVERLAP: Duration = Duration::from_secs(7 * 24 * 3_600);

/// A signing secret that was just made.
#[derive(Clone, Serialize, Deserialize)]
pub struct NewSecret {
    /// Its id.
    pub id: SigningSecretId,
    /// The workspace.
    pub workspace: WorkspaceId,
    /// When it was made.
    pub create_time: Time,
    /// Its text. It is in no stored answer: a repeated call does not have it.
    #[serde(skip)]
    pub text: Option<Zeroizing<String>>,
}

impl fmt::Debug for NewSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewSecret")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl Core {
    /// Makes the first signing secret of a workspace.
    pub async fn create_signing_secret(
        self: &Arc<Self>,
        call: Call,
        workspace: WorkspaceId,
    ) -> Result<Answer<NewSecret>, Error> {
        let answer = self
            .mutate(
                call,
                Box::new(move |scene, caller| {
                    async move {
                        caller.require_unbound()?;
                        scene.workspace(&workspace).await?;
                        let secrets = scene.tx.signing_secrets(&workspace).await?;
                        if secrets.iter().any(|s| s.expire_time.is_none()) {
                            return Err(Error::precondition(
                                "SIGNING_SECRET_EXISTS",
                                "the workspace has a signing secret; replace it with `RotateSigningSecret`",
                            ));
                        }
                        let made = make(scene, &workspace).await?;
                        scene.tx.hasten_unsigned(&workspace, scene.now).await?;
                        record(scene, "CREATE_SIGNING_SECRET", &made).await?;
                        Ok(Done::new(made))
                    }
                    .boxed()
                }),
            )
            .await?;
        self.postbacks.wake();
        Ok(answer)
    }

    /// Replaces the signing secret of a workspace; the old one signs too, for as long as `overlap`.
    pub async fn rotate_signing_secret(
        self: &Arc<Self>,
        call: Call,
        workspace: WorkspaceId,
        overlap: Duration,
    ) -> Result<Answer<NewSecret>, Error> {
        self.mutate(
            call,
            Box::new(move |scene, caller| {
                async move {
                    caller.require_unbound()?;
                    scene.workspace(&workspace).await?;
                    let now = scene.now;
                    let mut signing = scene.tx.signing_secrets(&workspace).await?;
                    signing.retain(|s| s.signs(now));
                    if signing.is_empty() {
                        return Err(Error::precondition(
                            "NO_SIGNING_SECRET",
                            "the workspace has no signing secret; make one with `CreateSigningSecret`",
                        ));
                    }
                    // The new one is among them.
                    let mut room = MOST - 1;
                    for mut old in signing {
                        let until = old.expire_time.unwrap_or(now.plus(overlap));
                        old.expire_time = Some(if room > 0 { until } else { now });
                        room -= usize::from(room > 0 && until > now);
                        scene.tx.put_signing_secret(&old).await?;
                    }
                    let made = make(scene, &workspace).await?;
                    record(scene, "ROTATE_SIGNING_SECRET", &made).await?;
                    Ok(Done::new(made))
                }
                .boxed()
            }),
        )
        .await
    }

    /// The signing secrets of a workspace that sign now, newest first.
    pub async fn list_signing_secrets(
        &self,
        caller: &Caller,
        workspace: &WorkspaceId,
    ) -> Result<Vec<SigningSecret>, Error> {
        self.require_workspace(workspace).await?;
        caller.require_unbound()?;
        let now = self.clock.now();
        let mut found = self.postbacks.outbox.signing_secrets(workspace).await?;
        found.retain(|secret| secret.signs(now));
        Ok(found)
    }

    /// What POSTbacks of a workspace are signed with now, the current secret first; empty: nothing can be sent.
    pub async fn signing_keys(
        &self,
        workspace: &WorkspaceId,
        now: Time,
    ) -> Result<Vec<SigningKey>, Error> {
        let found = self.postbacks.outbox.signing_secrets(workspace).await?;
        found
            .iter()
            .filter(|secret| secret.signs(now))
            .map(|secret| {
                let opened = self
                    .envelope
                    .open_signing_key(workspace, secret.id, &secret.sealed);
                opened.ok_or_else(|| Error::internal("a signing secret does not open"))
            })
            .collect()
    }
}

async fn make(scene: &mut Scene, workspace: &WorkspaceId) -> Result<NewSecret, Error> {
    let core = scene.core.clone();
    let mut random = [0; 10];
    core.entropy.fill(&mut random)?;
    let id = SigningSecretId::new(scene.now, random);
    let mut key: SigningKey = Zeroizing::new([0; 32]);
    core.entropy.fill(key.as_mut_slice())?;
    let secret = SigningSecret {
        id,
        workspace: workspace.clone(),
        sealed: core
            .envelope
            .seal_signing_key(workspace, id, &key, &*core.entropy)?,
        create_time: scene.now,
        expire_time: None,
    };
    scene.tx.put_signing_secret(&secret).await?;
    Ok(NewSecret {
        id,
        workspace: workspace.clone(),
        create_time: scene.now,
        text: Some(text_of(&key)),
    })
}

async fn record(scene: &mut Scene, action: &'static str, made: &NewSecret) -> Result<(), Error> {
    let resource = Resource::Workspace(made.workspace.clone());
    scene
        .audit(action, resource, json!({ "signing_secret": made.id }))
        .await
}
