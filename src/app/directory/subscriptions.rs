//! Subscriptions.

use std::sync::Arc;

use futures::FutureExt as _;
use serde::{Deserialize, Serialize};

use crate::app::Core;
use crate::app::auth::Caller;
use crate::app::error::Error;
use crate::app::keys::{self, NewKey, Source, check_etag};
use crate::app::mutate::{Answer, Call, Done};
use crate::app::page;
use crate::app::ports::Resource;
use crate::domain::id::{SubscriptionId, WorkspaceId};
use crate::domain::key::{Key, KeySettings};
use crate::domain::revision;
use crate::domain::route::SubscriptionSource;
use crate::domain::scope::AdminScope;
use crate::domain::workspace::{Subscription, Workspace};

use super::{in_use, no_catalogue_in_system, refuse_used_by_route};

/// A change of a subscription, to its new value.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "each is the field of the same name")]
pub enum SubscriptionEdit {
    DisplayName(String),
    Enabled(bool),
}

/// A subscription to make.
#[derive(Debug, Clone)]
pub struct NewSubscription {
    /// Itself.
    pub subscription: Subscription,
    /// The key to make with it; none: what the workspace says. A name, scopes and the second secret are filled in where
    /// they are missing.
    pub key: Option<NewKey>,
}

/// What was made. Written so that answers from before there were keys in them can be read.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Provisioned {
    /// The subscription.
    #[serde(flatten)]
    pub subscription: Subscription,
    /// The key that was made with it.
    #[serde(default)]
    pub key: Option<Key>,
}

impl Core {
    /// Makes a subscription, and where it is asked for or the workspace says so, its key.
    pub async fn create_subscription(
        self: &Arc<Self>,
        call: Call,
        new: NewSubscription,
    ) -> Result<Answer<Provisioned>, Error> {
        self.mutate(
            call,
            Box::new(move |scene, caller| {
                async move {
                    let NewSubscription {
                        mut subscription,
                        key,
                    } = new;
                    caller.require_unbound()?;
                    no_catalogue_in_system(&subscription.workspace, "subscriptions")?;
                    let workspace = scene.workspace(&subscription.workspace).await?;
                    if scene
                        .tx
                        .subscription(&subscription.workspace, &subscription.id)
                        .await?
                        .is_some()
                    {
                        return Err(Error::already_exists("subscription", "name"));
                    }
                    subscription.create_time = scene.now;
                    subscription.update_time = scene.now;
                    subscription.revision = scene.tx.revision();
                    scene.tx.put_subscription(&subscription).await?;
                    let resource = Resource::Subscription(
                        subscription.workspace.clone(),
                        subscription.id.clone(),
                    );
                    scene
                        .record("CREATE", resource, (None, Some(&subscription)), false)
                        .await?;
                    let mut value = Provisioned {
                        subscription,
                        key: None,
                    };
                    let mut tokens = Vec::new();
                    if let Some(new) = key_of(&value.subscription, &workspace, key) {
                        caller.require(AdminScope::KeysWrite)?;
                        let made = keys::make(scene, caller, &workspace, new).await;
                        let (key, issued) = made.map_err(|e| e.inside("provision_key"))?;
                        (value.key, tokens) = (Some(key), issued);
                    }
                    Ok(Done {
                        value,
                        tokens,
                        unchanged: false,
                    })
                }
                .boxed()
            }),
        )
        .await
    }

    /// Reads a subscription.
    pub async fn get_subscription(
        &self,
        caller: &Caller,
        workspace: &WorkspaceId,
        id: &SubscriptionId,
    ) -> Result<Subscription, Error> {
        let visible = caller.may_bind(std::slice::from_ref(id));
        let found = if visible {
            self.store.subscription(workspace, id).await?
        } else {
            None
        };
        found.ok_or_else(|| Error::not_found("subscription"))
    }

    /// Lists subscriptions of a workspace, for bound callers only their own.
    pub async fn list_subscriptions(
        &self,
        caller: &Caller,
        workspace: &WorkspaceId,
        size: u32,
        token: &str,
    ) -> Result<(Vec<Subscription>, String), Error> {
        let arguments = format!("subscriptions {workspace}");
        let after: Option<SubscriptionId> = page::cursor(token, &arguments)?;
        self.require_workspace(workspace).await?;
        let only = (!caller.subscriptions.is_empty()).then_some(&*caller.subscriptions);
        let found = self
            .store
            .list_subscriptions(workspace, only, after.as_ref(), size + 1)
            .await?;
        page::cut(found, size, &arguments, |s| s.id.clone())
    }

    /// Changes a subscription.
    pub async fn update_subscription(
        self: &Arc<Self>,
        call: Call,
        (workspace, id): (WorkspaceId, SubscriptionId),
        etag: String,
        edits: Vec<SubscriptionEdit>,
    ) -> Result<Answer<Subscription>, Error> {
        self.mutate(
            call,
            Box::new(move |scene, caller| {
                async move {
                    let found = scene
                        .tx
                        .subscription(&workspace, &id)
                        .await?
                        .filter(|s| caller.may_bind(std::slice::from_ref(&s.id)));
                    let before = found.ok_or_else(|| Error::not_found("subscription"))?;
                    caller.require_unbound()?;
                    check_etag(&etag, &revision::etag(before.revision))?;
                    let mut subscription = before.clone();
                    for edit in edits {
                        match edit {
                            SubscriptionEdit::DisplayName(v) => subscription.display_name = v,
                            SubscriptionEdit::Enabled(v) => subscription.enabled = v,
                        }
                    }
                    subscription.update_time = scene.now;
                    subscription.revision = scene.tx.revision();
                    scene.tx.put_subscription(&subscription).await?;
                    let resource = Resource::Subscription(workspace, id);
                    scene
                        .record(
                            "UPDATE",
                            resource,
                            (Some(&before), Some(&subscription)),
                            before.enabled != subscription.enabled,
                        )
                        .await?;
                    Ok(Done::new(subscription))
                }
                .boxed()
            }),
        )
        .await
    }

    /// Deletes a subscription that no key is bound to.
    pub async fn delete_subscription(
        self: &Arc<Self>,
        call: Call,
        (workspace, id): (WorkspaceId, SubscriptionId),
        etag: String,
    ) -> Result<Answer<()>, Error> {
        self.mutate(
            call,
            Box::new(move |scene, caller| {
                async move {
                    let found = scene
                        .tx
                        .subscription(&workspace, &id)
                        .await?
                        .filter(|s| caller.may_bind(std::slice::from_ref(&s.id)));
                    let before = found.ok_or_else(|| Error::not_found("subscription"))?;
                    caller.require_unbound()?;
                    check_etag(&etag, &revision::etag(before.revision))?;
                    if let Some(key) = scene.tx.key_with_subscription(&workspace, &id).await? {
                        return Err(in_use("subscription", "is bound to it", key));
                    }
                    refuse_used_by_route(scene, &workspace, "subscription", |route| {
                        route.subscription == SubscriptionSource::Fixed(id.clone())
                    })
                    .await?;
                    scene.tx.delete_subscription(&workspace, &id).await?;
                    scene
                        .record(
                            "DELETE",
                            Resource::Subscription(workspace, id),
                            (Some(&before), None),
                            true,
                        )
                        .await?;
                    Ok(Done::new(()))
                }
                .boxed()
            }),
        )
        .await
    }
}

/// The key that comes with a subscription: always two secrets, so that it can be rotated without an outage.
fn key_of(
    subscription: &Subscription,
    workspace: &Workspace,
    asked: Option<NewKey>,
) -> Option<NewKey> {
    let usual = workspace.settings.provisioning.as_ref();
    let mut new = match (asked, usual) {
        (Some(asked), _) => asked,
        (None, Some(_)) => NewKey {
            workspace: workspace.id.clone(),
            settings: KeySettings::default(),
            primary: Source::Generate(None),
            secondary: None,
        },
        (None, None) => return None,
    };
    let settings = &mut new.settings;
    if settings.display_name.is_empty() {
        settings.display_name = if subscription.display_name.is_empty() {
            subscription.id.to_string()
        } else {
            subscription.display_name.clone()
        };
    }
    if settings.scopes.is_empty() {
        settings.scopes = usual.map(|usual| usual.scopes.clone()).unwrap_or_default();
    }
    settings.subscriptions = vec![subscription.id.clone()];
    new.secondary = new.secondary.or(Some(Source::Generate(None)));
    Some(new)
}
