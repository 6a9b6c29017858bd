//! Workspaces, subscriptions and the catalogue.

use claviger::grpc::proto::v1::{self};
use tonic::Code;

use super::stage::{
    Stage, creating, declaring, details, holding, invalid, mask, ok, refused, selling,
};

pub(crate) fn workspace(id: &str) -> v1::CreateWorkspaceRequest {
    v1::CreateWorkspaceRequest {
        workspace: Some(v1::Workspace {
            id: id.to_owned(),
            ..Default::default()
        }),
        ..Default::default()
    }
}

pub(crate) fn changing(workspace: v1::Workspace, paths: &[&str]) -> v1::UpdateWorkspaceRequest {
    v1::UpdateWorkspaceRequest {
        workspace: Some(workspace),
        update_mask: mask(paths),
        ..Default::default()
    }
}

pub(crate) fn acme() -> v1::Workspace {
    v1::Workspace {
        id: "acme".to_owned(),
        ..Default::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn there_is_one_of_each_name() {
    let stage = Stage::set().await;
    let before = stage.revision().await;
    let directory = || stage.system.directory();
    for id in ["acme", "system", "default"] {
        let status = directory()
            .create_workspace(workspace(id))
            .await
            .unwrap_err();
        assert!(
            matches!(status.code(), Code::AlreadyExists | Code::InvalidArgument),
            "{id}: {status:?}"
        );
    }
    let twice = directory()
        .create_subscription(selling("acme", "basic"))
        .await;
    assert_eq!(twice.unwrap_err().code(), Code::AlreadyExists);
    let twice = directory()
        .create_scope(declaring("acme", "orders:read"))
        .await;
    assert_eq!(twice.unwrap_err().code(), Code::AlreadyExists);
    assert_eq!(stage.revision().await, before);
    // The same name in another workspace is another thing; case tells one from another.
    ok(directory()
        .create_subscription(selling("default", "basic"))
        .await);
    ok(directory()
        .create_subscription(selling("acme", "Basic"))
        .await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_each_is_ordered_and_paged() {
    let stage = Stage::set().await;
    let directory = || stage.system.directory();
    let mut names = Vec::new();
    let mut token = String::new();
    loop {
        let request = v1::ListWorkspacesRequest {
            page_size: 2,
            page_token: token,
        };
        let page = ok(directory().list_workspaces(request).await);
        names.extend(page.workspaces.into_iter().map(|w| w.id));
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(names, ["acme", "default", "other", "system"]);
    let request = v1::ListScopesRequest {
        workspace: "acme".to_owned(),
        page_size: 1,
        ..Default::default()
    };
    let first = ok(stage.acme.directory().list_scopes(request.clone()).await);
    let next = v1::ListScopesRequest {
        page_token: first.next_page_token,
        ..request
    };
    let second = ok(stage.acme.directory().list_scopes(next.clone()).await);
    let name = |page: &v1::ListScopesResponse| {
        page.scopes
            .iter()
            .map(|s| s.name.clone())
            .collect::<String>()
    };
    assert_eq!(
        name(
            &first
                .scopes
                .into_iter()
                .fold(v1::ListScopesResponse::default(), |mut page, s| {
                    page.scopes.push(s);
                    page
                })
        ),
        "orders:read"
    );
    assert_eq!(
        (name(&second), second.next_page_token.as_str()),
        ("orders:write".to_owned(), "")
    );
    // A token of one list is no token of another.
    let foreign = v1::ListSubscriptionsRequest {
        workspace: "acme".to_owned(),
        page_token: next.page_token,
        ..Default::default()
    };
    invalid(
        stage.acme.directory().list_subscriptions(foreign).await,
        "page_token",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_is_in_use_is_deleted() {
    let stage = Stage::set().await;
    let key = v1::Key {
        subscriptions: vec!["basic".to_owned()],
        ..holding(&["orders:read"])
    };
    let made = stage.make(creating("acme", key)).await;
    let directory = || stage.system.directory();
    let subscription = || v1::DeleteSubscriptionRequest {
        workspace: "acme".to_owned(),
        id: "basic".to_owned(),
        ..Default::default()
    };
    let scope = |name: &str| v1::DeleteScopeRequest {
        workspace: "acme".to_owned(),
        name: name.to_owned(),
        ..Default::default()
    };
    let workspace = |id: &str| v1::DeleteWorkspaceRequest {
        id: id.to_owned(),
        ..Default::default()
    };
    let in_use = (Code::FailedPrecondition, "IN_USE");
    for deleted_too in [false, true] {
        if deleted_too {
            ok(stage
                .acme
                .keys()
                .delete_key(v1::DeleteKeyRequest {
                    id: made.id(),
                    ..Default::default()
                })
                .await);
        }
        refused(
            directory().delete_subscription(subscription()).await,
            in_use.0,
            in_use.1,
        );
        refused(
            directory().delete_scope(scope("orders:read")).await,
            in_use.0,
            in_use.1,
        );
        refused(
            directory().delete_workspace(workspace("acme")).await,
            Code::FailedPrecondition,
            "WORKSPACE_NOT_EMPTY",
        );
    }
    ok(stage
        .acme
        .keys()
        .delete_key(v1::DeleteKeyRequest {
            id: made.id(),
            purge: true,
            ..Default::default()
        })
        .await);
    ok(directory().delete_subscription(subscription()).await);
    ok(directory().delete_scope(scope("orders:read")).await);
    for id in ["system", "default"] {
        let status = directory()
            .delete_workspace(workspace(id))
            .await
            .unwrap_err();
        assert_eq!(status.code(), Code::FailedPrecondition, "{id}: {status:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scope_that_alone_carries_a_wildcard_stays() {
    let stage = Stage::set().await;
    stage.key(&["orders:*"]).await;
    let delete = |name: &str| v1::DeleteScopeRequest {
        workspace: "acme".to_owned(),
        name: name.to_owned(),
        ..Default::default()
    };
    ok(stage
        .acme
        .directory()
        .delete_scope(delete("orders:read"))
        .await);
    refused(
        stage
            .acme
            .directory()
            .delete_scope(delete("orders:write"))
            .await,
        Code::FailedPrecondition,
        "IN_USE",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn etags_and_masks_guard_the_directory_too() {
    let stage = Stage::set().await;
    let directory = || stage.acme.directory();
    let aborted = (Code::Aborted, "ETAG_MISMATCH");
    let scope = |etag: &str, text: &str| v1::UpdateScopeRequest {
        scope: Some(v1::Scope {
            workspace: "acme".to_owned(),
            name: "orders:read".to_owned(),
            description: text.to_owned(),
            etag: etag.to_owned(),
            ..Default::default()
        }),
        ..Default::default()
    };
    let first = ok(directory().update_scope(scope("", "one")).await)
        .scope
        .unwrap();
    let second = ok(directory().update_scope(scope(&first.etag, "two")).await)
        .scope
        .unwrap();
    assert_ne!(first.etag, second.etag);
    let before = stage.revision().await;
    refused(
        directory().update_scope(scope(&first.etag, "three")).await,
        aborted.0,
        aborted.1,
    );
    let name = v1::Workspace {
        etag: "stale".to_owned(),
        display_name: "x".to_owned(),
        ..acme()
    };
    refused(
        directory()
            .update_workspace(changing(name, &["display_name"]))
            .await,
        aborted.0,
        aborted.1,
    );
    let delete = v1::DeleteSubscriptionRequest {
        workspace: "acme".to_owned(),
        id: "pro".to_owned(),
        etag: "stale".to_owned(),
        ..Default::default()
    };
    refused(
        directory().delete_subscription(delete).await,
        aborted.0,
        aborted.1,
    );
    let empty = v1::UpdateScopeRequest {
        update_mask: mask(&[]),
        ..scope("", "x")
    };
    refused(
        directory().update_scope(empty).await,
        Code::InvalidArgument,
        "NOTHING_TO_CHANGE",
    );
    let empty = changing(
        v1::Workspace {
            display_name: "x".to_owned(),
            ..acme()
        },
        &[],
    );
    refused(
        directory().update_workspace(empty).await,
        Code::InvalidArgument,
        "NOTHING_TO_CHANGE",
    );
    assert_eq!(stage.revision().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_mutation_of_the_directory_with_an_id_is_made_once() {
    let stage = Stage::set().await;
    let directory = || stage.system.directory();
    let id = super::stage::request_id;
    let mut last = String::new();
    for round in 0..2 {
        let create = v1::CreateWorkspaceRequest {
            request_id: id(1),
            ..workspace("brief")
        };
        let first = ok(directory().create_workspace(create.clone()).await);
        let subscription = v1::CreateSubscriptionRequest {
            request_id: id(2),
            ..selling("brief", "s")
        };
        ok(directory().create_subscription(subscription).await);
        let scope = v1::CreateScopeRequest {
            request_id: id(3),
            ..declaring("brief", "x")
        };
        ok(directory().create_scope(scope).await);
        let delete = v1::DeleteWorkspaceRequest {
            id: "brief".to_owned(),
            request_id: id(4),
            ..Default::default()
        };
        let gone = ok(directory().delete_workspace(delete).await).revision;
        assert!(
            round == 0 || gone == last,
            "the second round changed something"
        );
        last = gone;
        let other = v1::CreateWorkspaceRequest {
            request_id: id(1),
            ..workspace("another")
        };
        let status = refused(
            directory().create_workspace(other).await,
            Code::InvalidArgument,
            "REQUEST_ID_REUSED",
        );
        assert_eq!(details(&status).1, ["request_id"]);
        assert_eq!(first.workspace.unwrap().id, "brief");
    }
    assert_eq!(stage.revision().await, last);
}
