//! What the document of a system with API keys for integrations says of its users, sentence by sentence, as its
//! administrator would try it here.

use claviger::grpc::proto::v1::{self, KeyCreation, Reason, SyncMode};
use tonic::Code;

use super::principals_sync::{message, sync};
use super::stage::{
    Made, Stage, asking, bound_to, creating, details, external, foreign_token, invalid, mask,
    named, ok, refused, somebody,
};

async fn synchronise(stage: &Stage, users: Vec<v1::Principal>) {
    let commit = Some(v1::SyncCommit {
        expected_count: users.len() as u64,
    });
    let all = v1::SyncPrincipalsRequest {
        commit,
        ..message(SyncMode::Upsert, users)
    };
    let result = sync(&stage.acme, vec![all]).await.unwrap();
    assert_eq!(result.refused, 0, "{:?}", result.faults);
}

async fn property(stage: &Stage, key_creation: KeyCreation) {
    let workspace = v1::Workspace {
        id: "acme".to_owned(),
        settings: Some(v1::WorkspaceSettings {
            key_creation: key_creation.into(),
            ..Default::default()
        }),
        ..Default::default()
    };
    let request = v1::UpdateWorkspaceRequest {
        workspace: Some(workspace),
        update_mask: mask(&["settings.key_creation"]),
        ..Default::default()
    };
    ok(stage.acme.directory().update_workspace(request).await);
}

/// "As the system administrator, you must synchronize Manage users for the external clients before API keys are created for
/// those clients."
#[tokio::test(flavor = "multi_thread")]
async fn users_are_synchronised_before_api_keys_are_created_for_them() {
    let stage = Stage::set().await;
    let request = || creating("acme", bound_to("MAXADMIN", &[]));
    let status = invalid(
        stage.acme.keys().create_key(request()).await,
        "key.principal",
    );
    assert!(
        status.message().contains("synchronise"),
        "{}",
        status.message()
    );
    synchronise(&stage, vec![somebody("MAXADMIN", &["orders:read"])]).await;
    stage.make(request()).await;
}

/// "The permissions that are associated with the API key are determined by the permissions for the associated user."
#[tokio::test(flavor = "multi_thread")]
async fn the_permissions_of_a_key_are_those_of_its_user() {
    let stage = Stage::set().await;
    synchronise(&stage, vec![somebody("WILSON", &["orders:read"])]).await;
    let made = stage.make(creating("acme", bound_to("WILSON", &[]))).await;
    for (scopes, read, write) in [
        (&["orders:read"][..], Reason::Ok, Reason::InsufficientScope),
        (&["orders:*"], Reason::Ok, Reason::Ok),
        (&[], Reason::InsufficientScope, Reason::InsufficientScope),
    ] {
        synchronise(&stage, vec![somebody("WILSON", scopes)]).await;
        for (scope, expected) in [("orders:read", read), ("orders:write", write)] {
            let answer = stage.check(asking("acme", &made.primary, &[scope])).await;
            assert_eq!(answer.reason(), expected, "{scopes:?} {scope}");
        }
    }
}

/// "You also can specify security that enables only the logged-in user to create an API key. […] In the Global Value field,
/// specify 1 and save the record. Select Live Refresh to apply the value immediately."
#[tokio::test(flavor = "multi_thread")]
async fn only_the_user_who_is_logged_in_creates_a_key_where_the_property_says_so_and_at_once() {
    let stage = Stage::set().await;
    let users = ["WILSON", "SMITH"].map(|id| somebody(id, &["orders:read", "claviger:keys:self"]));
    synchronise(&stage, users.into()).await;
    let portal = stage.caller("acme", &["claviger:on-behalf"]).await;
    let wilson = portal.saying("x-claviger-principal", "WILSON");
    stage.make(creating("acme", bound_to("WILSON", &[]))).await;
    property(&stage, KeyCreation::SelfOnly).await;
    for client in [&stage.acme, &stage.system] {
        let request = creating("acme", bound_to("WILSON", &["orders:read"]));
        let answer = client.keys().create_key(request).await;
        refused(answer, Code::PermissionDenied, "SELF_ONLY");
    }
    let for_smith = wilson
        .keys()
        .create_key(creating("acme", bound_to("SMITH", &[])))
        .await;
    assert_eq!(details(&for_smith.unwrap_err()).0, "ESCALATION");
    let own = Made::from(ok(wilson
        .keys()
        .create_key(creating("acme", named("my key")))
        .await));
    stage.server.remember(&own.primary);
    assert_eq!(own.key.principal, "WILSON");
    property(&stage, KeyCreation::KeysWrite).await;
    stage.make(creating("acme", bound_to("SMITH", &[]))).await;
}

/// "You can use an external system to create the API key and provide the API key value to the integration framework."
#[tokio::test(flavor = "multi_thread")]
async fn a_key_made_outside_is_a_users_key_too() {
    let stage = Stage::set().await;
    synchronise(&stage, vec![somebody("WILSON", &["orders:read"])]).await;
    let request = v1::CreateKeyRequest {
        primary: external(&foreign_token(1)),
        ..creating("acme", bound_to("WILSON", &[]))
    };
    stage.make(request).await;
    let answer = stage
        .check(asking("acme", &foreign_token(1), &["orders:read"]))
        .await;
    assert_eq!(
        (answer.reason(), &*answer.principal),
        (Reason::Ok, "WILSON")
    );
}

/// "To disable access to the Manage system for an external client, you can delete the associated API key […]. If an API key
/// is compromised, delete the key and create another key for that user."
#[tokio::test(flavor = "multi_thread")]
async fn a_compromised_key_is_deleted_and_the_user_gets_another() {
    let stage = Stage::set().await;
    synchronise(&stage, vec![somebody("WILSON", &["orders:read"])]).await;
    let lost = stage.make(creating("acme", bound_to("WILSON", &[]))).await;
    let delete = v1::DeleteKeyRequest {
        id: lost.id(),
        ..Default::default()
    };
    ok(stage.acme.keys().delete_key(delete).await);
    let another = stage.make(creating("acme", bound_to("WILSON", &[]))).await;
    assert_eq!(stage.reason(&lost.primary).await, Reason::KeyDeleted);
    let answer = stage
        .check(asking("acme", &another.primary, &["orders:read"]))
        .await;
    assert_eq!(answer.reason(), Reason::Ok);
}
