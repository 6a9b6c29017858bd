//! Subscriptions.

use std::sync::Arc;

use futures::FutureExt as _;

use crate::app::Core;
use crate::app::auth::Caller;
use crate::app::error::Error;
use crate::app::keys::check_etag;
use crate::app::mutate::{Answer, Call, Done};
use crate::app::page;
use crate::app::ports::Resource;
use crate::domain::id::{SubscriptionId, WorkspaceId};
use crate::domain::revision;
use crate::domain::route::SubscriptionSource;
use crate::domain::workspace::Subscription;

use super::{exists, in_use, no_catalogue_in_system, refuse_used_by_route};

/// A change of a subscription, to its new value.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "each is the field of the same name")]
pub enum SubscriptionEdit {
    DisplayName(String),
    Enabled(bool),
}

impl Core {
    /// Makes a subscription.
    pub async fn create_subscription(
        self: &Arc<Self>,
        call: Call,
        mut subscription: Subscription,
    ) -> Result<Answer<Subscription>, Error> {
        self.mutate(
            call,
            Box::new(move |scene, caller| {
                async move {
                    caller.require_unbound()?;
                    no_catalogue_in_system(&subscription.workspace, "subscriptions")?;
                    scene.workspace(&subscription.workspace).await?;
                    if scene
                        .tx
                        .subscription(&subscription.workspace, &subscription.id)
                        .await?
                        .is_some()
                    {
                        return Err(exists("subscription"));
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
                    Ok(Done::new(subscription))
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
