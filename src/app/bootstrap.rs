//! What whoever holds database and root key may do: the first administrator, a new one where all were lost, another
//! history for a restored database.

use std::sync::Arc;

use futures::FutureExt as _;

use crate::app::Core;
use crate::app::error::Error;
use crate::app::ports::{Actor, Entropy, EntropyError, Resource};
use crate::app::scene::Scene;
use crate::domain::id::{KeyId, SecretId, WorkspaceId};
use crate::domain::key::{Key, KeySettings};
use crate::domain::revision::Revision;
use crate::domain::scope::{ADMIN_ALL, Grant};
use crate::domain::secret::{Origin, Secret, Slot};
use crate::domain::token::Token;
use crate::domain::workspace::{Workspace, WorkspaceSettings};

/// Draws the number of a history.
pub fn new_epoch(entropy: &dyn Entropy) -> Result<u32, EntropyError> {
    let mut random = [0; 4];
    entropy.fill(&mut random)?;
    Ok(u32::from_be_bytes(random))
}

impl Core {
    /// Makes the workspaces `system` and the default one, and the first administrator with this token: all in one change,
    /// once in a database's life. None where another process was first: then this token opens nothing.
    pub async fn bootstrap(
        self: &Arc<Self>,
        token: Token,
        generated_prefix: Option<String>,
    ) -> Result<Option<KeyId>, Error> {
        self.mutate_as(
            Actor::Bootstrap,
            Box::new(move |scene| {
                async move {
                    if !scene.tx.set_bootstrapped().await? {
                        return Ok(None);
                    }
                    let default = scene.core.default_workspace.clone();
                    for (id, name) in [(WorkspaceId::system(), "System"), (default, "Default")] {
                        make_workspace(scene, id, name).await?;
                    }
                    let id = make_administrator(
                        scene,
                        token,
                        generated_prefix,
                        "Bootstrap administrator",
                    )
                    .await?;
                    Ok(Some(id))
                }
                .boxed()
            }),
        )
        .await
    }

    /// Makes the default workspace where there is none: a process may be started with another default than before.
    pub async fn ensure_default_workspace(self: &Arc<Self>) -> Result<(), Error> {
        if self
            .store
            .workspace(&self.default_workspace)
            .await?
            .is_some()
        {
            return Ok(());
        }
        let id = self.default_workspace.clone();
        self.mutate_as(
            Actor::Service,
            Box::new(move |scene| {
                async move { make_workspace(scene, id, "Default").await }.boxed()
            }),
        )
        .await
    }

    /// Makes a new administrator of everything, for whoever holds database and root key.
    pub async fn recover(
        self: &Arc<Self>,
        token: Token,
        generated_prefix: Option<String>,
    ) -> Result<KeyId, Error> {
        self.mutate_as(
            Actor::Recovery,
            Box::new(move |scene| {
                async move {
                    make_administrator(scene, token, generated_prefix, "Recovered administrator")
                        .await
                }
                .boxed()
            }),
        )
        .await
    }

    /// Gives a restored database another history: revisions that were told before it are told apart from
    /// those that come, also by processes that still run on the history before. Returns the first revision of it.
    pub async fn adopt_restore(self: &Arc<Self>) -> Result<Revision, Error> {
        let old = self.index.epoch();
        let drawn = new_epoch(&*self.entropy)?;
        let epoch = if drawn == old {
            old.wrapping_add(1)
        } else {
            drawn
        };
        let n = self
            .mutate_as(
                Actor::Recovery,
                Box::new(move |scene| {
                    async move {
                        scene.tx.set_epoch(epoch).await?;
                        let what = serde_json::json!({
                            "epoch_before": format!("{old:08x}"),
                            "epoch": format!("{epoch:08x}"),
                        });
                        let whole = Resource::Workspace(WorkspaceId::system());
                        scene.audit("ADOPT_RESTORE", whole, what).await?;
                        Ok(scene.tx.revision())
                    }
                    .boxed()
                }),
            )
            .await?;
        Ok(Revision { epoch, n })
    }

    /// A token for an administrator.
    pub fn administrator_token(&self) -> Result<(Token, String), Error> {
        let mut random = zeroize::Zeroizing::new([0; 32]);
        self.entropy.fill(random.as_mut_slice())?;
        let prefix = WorkspaceSettings::DEFAULT_TOKEN_PREFIX.to_owned();
        Ok((Token::generate(&prefix, &random), prefix))
    }
}

async fn make_workspace(scene: &mut Scene, id: WorkspaceId, name: &str) -> Result<(), Error> {
    if scene.tx.workspace(&id).await?.is_some() {
        return Ok(());
    }
    let workspace = Workspace {
        id: id.clone(),
        display_name: name.to_owned(),
        enabled: true,
        settings: WorkspaceSettings::default(),
        create_time: scene.now,
        update_time: scene.now,
        revision: scene.tx.revision(),
    };
    scene.tx.put_workspace(&workspace).await?;
    scene
        .record(
            "CREATE",
            Resource::Workspace(id),
            (None, Some(&workspace)),
            false,
        )
        .await
}

async fn make_administrator(
    scene: &mut Scene,
    token: Token,
    prefix: Option<String>,
    name: &str,
) -> Result<KeyId, Error> {
    let mut random = [[0; 10]; 2];
    for id in &mut random {
        scene.core.entropy.fill(id)?;
    }
    let [of_key, of_secret] = random;
    let id = KeyId::new(scene.now, of_key);
    let tag = scene.core.envelope.lookup().tag(&token.digest());
    if scene
        .tx
        .secret_holder(&WorkspaceId::system(), &tag)
        .await?
        .is_some()
    {
        return Err(Error::precondition(
            "TOKEN_IN_USE",
            "this token is, or was, a key of `system` already; use another one",
        ));
    }
    let origin = match prefix {
        Some(_) => Origin::Generated,
        None => Origin::ExternalToken,
    };
    let secret_id = SecretId::new(scene.now, of_secret);
    let secret = Secret {
        hint: token.hint(prefix.as_deref().unwrap_or_default()),
        prefix: prefix.unwrap_or_default(),
        ..Secret::new(secret_id, Slot::Primary, tag, origin, scene.now)
    };
    let all = Grant::parse(ADMIN_ALL).map_err(Error::internal)?;
    let mut key = Key {
        id,
        workspace: WorkspaceId::system(),
        settings: KeySettings {
            display_name: name.to_owned(),
            scopes: vec![all],
            ..KeySettings::default()
        },
        secrets: vec![secret],
        create_time: scene.now,
        update_time: scene.now,
        delete_time: None,
        purge_time: None,
        revision: 0,
    };
    scene.put_key("CREATE", None, &mut key).await?;
    Ok(id)
}
