//! Workspaces: parts of their settings, switching them off, deleting them.

use claviger::grpc::proto::v1::{self, Reason};
use tonic::Code;

use super::directory::{acme, changing, workspace};
use super::stage::{Stage, asking, creating, declaring, duration, named, ok, refused};

#[tokio::test(flavor = "multi_thread")]
async fn parts_of_the_settings_change_by_their_path() {
    let stage = Stage::set().await;
    let settings = v1::WorkspaceSettings {
        rotation_guard: duration(60),
        token_prefix: Some("ours".to_owned()),
        presentations: vec![v1::Presentation::Query.into()],
        undemanded_scopes: v1::UndemandedScopes::Deny.into(),
        ..Default::default()
    };
    stage.configure("acme", settings).await;
    let part = v1::Workspace {
        settings: Some(v1::WorkspaceSettings::default()),
        ..acme()
    };
    let request = changing(part, &["settings.presentations", "settings.rotation_guard"]);
    let after = ok(stage.system.directory().update_workspace(request).await)
        .workspace
        .unwrap();
    let settings = after.settings.unwrap();
    assert!(settings.presentations.is_empty());
    assert!(
        settings
            .rotation_guard
            .is_none_or(|guard| guard.seconds == 24 * 3_600)
    );
    assert_eq!(settings.token_prefix.as_deref(), Some("ours"));
    assert_eq!(settings.undemanded_scopes(), v1::UndemandedScopes::Deny);
    let read = ok(stage
        .acme
        .directory()
        .get_workspace(v1::GetWorkspaceRequest {
            id: "acme".to_owned(),
        })
        .await);
    assert_eq!(
        read.workspace
            .unwrap()
            .settings
            .unwrap()
            .token_prefix
            .as_deref(),
        Some("ours")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn each_part_of_a_workspace_needs_its_own_right() {
    let stage = Stage::set().await;
    let directory = stage.caller("acme", &["claviger:directory:write"]).await;
    let settings = stage.caller("acme", &["claviger:settings:write"]).await;
    let name = |name: &str| {
        changing(
            v1::Workspace {
                display_name: name.to_owned(),
                ..acme()
            },
            &["display_name"],
        )
    };
    let guard = v1::WorkspaceSettings {
        rotation_guard: duration(60),
        ..Default::default()
    };
    let guard = || {
        changing(
            v1::Workspace {
                settings: Some(guard.clone()),
                ..acme()
            },
            &["settings.rotation_guard"],
        )
    };
    let off = || {
        changing(
            v1::Workspace {
                enabled: Some(false),
                ..acme()
            },
            &["enabled"],
        )
    };
    ok(directory.directory().update_workspace(name("Acme")).await);
    refused(
        directory.directory().update_workspace(guard()).await,
        Code::PermissionDenied,
        "MISSING_SCOPE",
    );
    ok(settings.directory().update_workspace(guard()).await);
    refused(
        settings.directory().update_workspace(name("Other")).await,
        Code::PermissionDenied,
        "MISSING_SCOPE",
    );
    // A tenant neither switches itself off nor back on.
    let status = stage
        .acme
        .directory()
        .update_workspace(off())
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied, "{status:?}");
    ok(stage.system.directory().update_workspace(off()).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disabled_workspace_refuses_all_its_keys_at_once_and_its_administrators() {
    let stage = Stage::set().await;
    let made = stage.key(&["orders:read"]).await;
    let switch = |on| {
        changing(
            v1::Workspace {
                enabled: Some(on),
                ..acme()
            },
            &["enabled"],
        )
    };
    ok(stage
        .system
        .directory()
        .update_workspace(switch(false))
        .await);
    assert_eq!(stage.reason(&made.primary).await, Reason::WorkspaceDisabled);
    let status = stage
        .acme
        .keys()
        .get_key(v1::GetKeyRequest { id: made.id() })
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated, "{status:?}");
    ok(stage
        .system
        .directory()
        .update_workspace(switch(true))
        .await);
    assert_eq!(stage.reason(&made.primary).await, Reason::Ok);
    // `system` itself is never switched off.
    let system = v1::Workspace {
        id: "system".to_owned(),
        enabled: Some(false),
        ..Default::default()
    };
    let status = stage
        .system
        .directory()
        .update_workspace(changing(system, &["enabled"]))
        .await
        .unwrap_err();
    assert!(
        matches!(
            status.code(),
            Code::FailedPrecondition | Code::InvalidArgument
        ),
        "{status:?}"
    );
    assert!(
        stage
            .system
            .keys()
            .get_key(v1::GetKeyRequest { id: made.id() })
            .await
            .is_ok()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workspace_without_keys_goes_with_all_it_holds() {
    let stage = Stage::set().await;
    let directory = || stage.system.directory();
    ok(directory().create_workspace(workspace("brief")).await);
    ok(directory().create_scope(declaring("brief", "x")).await);
    let delete = v1::DeleteWorkspaceRequest {
        id: "brief".to_owned(),
        ..Default::default()
    };
    ok(directory().delete_workspace(delete.clone()).await);
    assert_eq!(
        directory()
            .delete_workspace(delete)
            .await
            .unwrap_err()
            .code(),
        Code::NotFound
    );
    assert_eq!(
        stage
            .check(asking("brief", "nobody-made-this", &[]))
            .await
            .reason(),
        Reason::WorkspaceDisabled
    );
    let create = stage
        .system
        .keys()
        .create_key(creating("brief", named("x")))
        .await;
    assert_eq!(create.unwrap_err().code(), Code::NotFound);
    // Made anew it is empty.
    ok(directory().create_workspace(workspace("brief")).await);
    let list = v1::ListScopesRequest {
        workspace: "brief".to_owned(),
        ..Default::default()
    };
    assert!(ok(directory().list_scopes(list).await).scopes.is_empty());
}
