//! A client that hangs up in the middle of a mutation: it is done or not done, never half.
//!
//! Each mutation is begun on a connection of its own, which is torn down after a few, some or many steps of it. Then the
//! same call is made again with the same `request_id`: it must succeed, and both calls together must have taken exactly one
//! revision. If the first had been done in part, the second would find it in its way; if both had been done, two revisions
//! were gone.

use std::future::Future;
use std::pin::pin;
use std::task::Poll;

use claviger::grpc::proto::v1::{self, Reason, Slot};

use super::stage::{
    Made, Stage, creating, declaring, external, foreign_token, generated, mask, named, ok,
    request_id, routing, selling,
};
use crate::harness::server::{BOOTSTRAP_TOKEN, Client};

/// How far a call gets before its client hangs up, in steps of the client.
const STEPS: [usize; 9] = [1, 3, 8, 20, 50, 120, 300, 1_000, 4_000];

pub(super) async fn hang_up_after<T>(steps: usize, call: impl Future<Output = T>) {
    let mut call = pin!(call);
    for _ in 0..steps {
        let done = std::future::poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx).is_ready())).await;
        if done {
            return;
        }
        tokio::task::yield_now().await;
    }
}

/// The number of the revision.
async fn revision(stage: &Stage) -> u64 {
    stage
        .revision()
        .await
        .split_once('.')
        .unwrap()
        .1
        .parse()
        .unwrap()
}

fn caller(stage: &Stage) -> Client {
    stage.server.client_with(BOOTSTRAP_TOKEN)
}

/// Begins a call, hangs up, makes it again, and counts revisions.
macro_rules! torn {
    ($stage:expr, $steps:expr, $service:ident . $rpc:ident ( $request:expr )) => {{
        let before = revision($stage).await;
        hang_up_after($steps, caller($stage).$service().$rpc($request)).await;
        let answer = ok(caller($stage).$service().$rpc($request).await);
        assert_eq!(
            revision($stage).await,
            before + 1,
            "{} {}",
            stringify!($rpc),
            $steps
        );
        answer
    }};
}

async fn two_slots(stage: &Stage) -> Made {
    let request = v1::CreateKeyRequest {
        secondary: generated(),
        ..creating("acme", named("two slots"))
    };
    stage.make(request).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_mutation_of_a_key_is_done_once_or_not_at_all() {
    let stage = Stage::set().await;
    for (n, steps) in (0..).map(|n: u32| n * 100).zip(STEPS) {
        let (first, second) = (foreign_token(n), foreign_token(n + 1));
        let create = || v1::CreateKeyRequest {
            primary: external(&first),
            secondary: external(&second),
            request_id: request_id(n),
            ..creating("acme", named("torn"))
        };
        let made: Made = torn!(&stage, steps, keys.create_key(create())).into();
        assert_eq!(made.key.secrets.len(), 2);
        let id = made.id();
        let update = || v1::UpdateKeyRequest {
            key: Some(v1::Key {
                id: id.clone(),
                enabled: Some(true),
                description: "torn".to_owned(),
                ..named("renamed")
            }),
            request_id: request_id(n + 1),
            ..Default::default()
        };
        torn!(&stage, steps, keys.update_key(update()));
        let fresh = foreign_token(n + 2);
        let regenerate = || v1::RegenerateSecretRequest {
            key_id: id.clone(),
            slot: Slot::Primary.into(),
            source: external(&fresh),
            request_id: request_id(n + 2),
            ..Default::default()
        };
        torn!(&stage, steps, keys.regenerate_secret(regenerate()));
        assert_eq!(stage.reason(&first).await, Reason::SecretRevoked);
        assert_eq!(stage.reason(&fresh).await, Reason::Ok);
        let revoke = || v1::RevokeSecretRequest {
            key_id: id.clone(),
            secret_id: made.secret(Slot::Secondary),
            request_id: request_id(n + 3),
            ..Default::default()
        };
        torn!(&stage, steps, keys.revoke_secret(revoke()));
        assert_eq!(stage.reason(&second).await, Reason::SecretRevoked);
        let delete = |purge, n| v1::DeleteKeyRequest {
            id: id.clone(),
            purge,
            request_id: request_id(n),
            ..Default::default()
        };
        torn!(&stage, steps, keys.delete_key(delete(false, n + 4)));
        assert_eq!(stage.reason(&fresh).await, Reason::KeyDeleted);
        let undelete = || v1::UndeleteKeyRequest {
            id: id.clone(),
            request_id: request_id(n + 5),
            ..Default::default()
        };
        torn!(&stage, steps, keys.undelete_key(undelete()));
        assert_eq!(stage.reason(&fresh).await, Reason::Ok);
        torn!(&stage, steps, keys.delete_key(delete(true, n + 6)));
        for token in [&first, &second, &fresh] {
            assert_eq!(stage.reason(token).await, Reason::UnknownKey);
        }
        // Acknowledging takes no id: repeating it changes nothing.
        let made = two_slots(&stage).await;
        torn!(
            &stage,
            steps,
            keys.acknowledge_secret(v1::AcknowledgeSecretRequest {
                key_id: made.id(),
                ..Default::default()
            })
        );
        let key = stage.get(&made.id()).await;
        assert!(key.secrets.iter().all(|s| s.acknowledge_time.is_some()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_mutation_of_the_directory_is_done_once_or_not_at_all() {
    let stage = Stage::set().await;
    for (n, steps) in (0..).map(|n: u32| n * 100).zip(STEPS) {
        let id = format!("torn-{n}");
        let workspace = |display_name: &str| v1::Workspace {
            id: id.clone(),
            display_name: display_name.to_owned(),
            ..Default::default()
        };
        let create = || v1::CreateWorkspaceRequest {
            workspace: Some(workspace("")),
            request_id: request_id(n),
        };
        torn!(&stage, steps, directory.create_workspace(create()));
        let update = || v1::UpdateWorkspaceRequest {
            workspace: Some(workspace("renamed")),
            update_mask: mask(&["display_name"]),
            request_id: request_id(n + 1),
            ..Default::default()
        };
        torn!(&stage, steps, directory.update_workspace(update()));
        let scope = || v1::CreateScopeRequest {
            request_id: request_id(n + 2),
            ..declaring(&id, "torn")
        };
        torn!(&stage, steps, directory.create_scope(scope()));
        let update = || v1::UpdateScopeRequest {
            scope: Some(v1::Scope {
                description: "torn".to_owned(),
                ..declaring(&id, "torn").scope.unwrap()
            }),
            request_id: request_id(n + 3),
            ..Default::default()
        };
        torn!(&stage, steps, directory.update_scope(update()));
        let delete = || v1::DeleteScopeRequest {
            workspace: id.clone(),
            name: "torn".to_owned(),
            request_id: request_id(n + 4),
            ..Default::default()
        };
        torn!(&stage, steps, directory.delete_scope(delete()));
        let subscription = || v1::CreateSubscriptionRequest {
            request_id: request_id(n + 5),
            ..selling(&id, "torn")
        };
        torn!(&stage, steps, directory.create_subscription(subscription()));
        let update = || v1::UpdateSubscriptionRequest {
            subscription: Some(v1::Subscription {
                enabled: Some(false),
                ..selling(&id, "torn").subscription.unwrap()
            }),
            request_id: request_id(n + 6),
            ..Default::default()
        };
        torn!(&stage, steps, directory.update_subscription(update()));
        let delete = || v1::DeleteSubscriptionRequest {
            workspace: id.clone(),
            id: "torn".to_owned(),
            request_id: request_id(n + 7),
            ..Default::default()
        };
        torn!(&stage, steps, directory.delete_subscription(delete()));
        let route = |display_name: &str| v1::Route {
            display_name: display_name.to_owned(),
            required_scopes: Vec::new(),
            ..routing(&id, "torn", "/torn").route.unwrap()
        };
        let create = || v1::CreateRouteRequest {
            route: Some(route("")),
            request_id: request_id(n + 9),
            ..Default::default()
        };
        torn!(&stage, steps, routes.create_route(create()));
        let update = || v1::UpdateRouteRequest {
            route: Some(route("renamed")),
            update_mask: mask(&["display_name"]),
            request_id: request_id(n + 10),
            ..Default::default()
        };
        torn!(&stage, steps, routes.update_route(update()));
        let delete = || v1::DeleteRouteRequest {
            workspace: id.clone(),
            id: "torn".to_owned(),
            request_id: request_id(n + 11),
            ..Default::default()
        };
        torn!(&stage, steps, routes.delete_route(delete()));
        let delete = || v1::DeleteWorkspaceRequest {
            id: id.clone(),
            request_id: request_id(n + 8),
            ..Default::default()
        };
        torn!(&stage, steps, directory.delete_workspace(delete()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_torn_rotation_never_leaves_both_values_open() {
    let stage = Stage::set().await;
    for (n, steps) in (0..).zip(STEPS) {
        let (old, new) = (foreign_token(2 * n), foreign_token(2 * n + 1));
        let made = stage
            .make(v1::CreateKeyRequest {
                primary: external(&old),
                ..creating("acme", named("torn"))
            })
            .await;
        let request = v1::RegenerateSecretRequest {
            key_id: made.id(),
            source: external(&new),
            request_id: request_id(n),
            ..Default::default()
        };
        hang_up_after(
            steps,
            caller(&stage).keys().regenerate_secret(request.clone()),
        )
        .await;
        for _ in 0..20 {
            // In this order: once the new value opens, the old one must not.
            let (after, before) = (stage.reason(&new).await, stage.reason(&old).await);
            assert!(
                after == Reason::UnknownKey
                    || (after, before) == (Reason::Ok, Reason::SecretRevoked),
                "{after:?} {before:?}"
            );
        }
        ok(caller(&stage).keys().regenerate_secret(request).await);
        assert_eq!(
            (stage.reason(&old).await, stage.reason(&new).await),
            (Reason::SecretRevoked, Reason::Ok)
        );
    }
}
