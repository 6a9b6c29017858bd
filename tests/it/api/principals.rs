//! Principals, and keys that are bound to them.

use claviger::grpc::proto::v1::{self, Reason, ScopeSource};
use tonic::Code;

use super::escalation::{escalation, set};
use super::stage::{
    Made, Stage, asking, bound_to, creating, declaring, holding, invalid, knowing, mask, ok,
    refused, request_id,
};
use crate::harness::server::Client;

/// Tells `acme` what a principal may.
async fn grant(stage: &Stage, id: &str, scopes: &[&str]) {
    ok(stage
        .system
        .directory()
        .upsert_principal(knowing("acme", id, scopes))
        .await);
}

async fn switch(stage: &Stage, id: &str, enabled: bool) {
    let mut request = knowing("acme", id, &[]);
    request.principal.as_mut().unwrap().enabled = Some(enabled);
    request.update_mask = mask(&["enabled"]);
    ok(stage.system.directory().upsert_principal(request).await);
}

/// What a token of `acme` may do, as decisions say it.
async fn may(stage: &Stage, made: &Made) -> Vec<String> {
    let answer = stage.check(asking("acme", &made.primary, &[])).await;
    assert_eq!(answer.reason(), Reason::Ok);
    answer.scopes
}

async fn asked(stage: &Stage, made: &Made, scope: &str) -> Reason {
    stage
        .check(asking("acme", &made.primary, &[scope]))
        .await
        .reason()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_inherits_what_its_principal_may_now_and_whenever_that_changes() {
    let stage = Stage::set().await;
    grant(&stage, "joe@example.com", &["orders:read"]).await;
    let made = stage
        .make(creating("acme", bound_to("joe@example.com", &[])))
        .await;
    assert_eq!(made.key.scope_source(), ScopeSource::Principal);
    let answer = stage
        .check(asking("acme", &made.primary, &["orders:read"]))
        .await;
    assert_eq!(
        (answer.reason(), &*answer.principal),
        (Reason::Ok, "joe@example.com")
    );
    assert_eq!(answer.scopes, ["orders:read"]);
    assert_eq!(
        asked(&stage, &made, "orders:write").await,
        Reason::InsufficientScope
    );

    grant(&stage, "joe@example.com", &["orders:*"]).await;
    assert_eq!(asked(&stage, &made, "orders:write").await, Reason::Ok);
    assert_eq!(may(&stage, &made).await, ["orders:*"]);
    grant(&stage, "joe@example.com", &[]).await;
    assert_eq!(
        asked(&stage, &made, "orders:read").await,
        Reason::InsufficientScope
    );
    assert_eq!(may(&stage, &made).await, Vec::<String>::new());
    // The key itself has not changed.
    assert_eq!(stage.get(&made.id()).await.etag, made.key.etag);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_scopes_that_a_bound_key_lists_are_cut_to_what_its_principal_may() {
    let stage = Stage::set().await;
    grant(&stage, "joe", &["orders:read"]).await;
    let key = |source: ScopeSource, scopes: &[&str]| {
        let key = v1::Key {
            scope_source: source.into(),
            ..bound_to("joe", scopes)
        };
        creating("acme", key)
    };
    let both = &["orders:read", "orders:write"];
    for (source, scopes, effective) in [
        (ScopeSource::Explicit, &both[..], &["orders:read"][..]),
        (ScopeSource::Principal, &both[..], &["orders:read"]),
        (ScopeSource::Explicit, &["orders:*"], &["orders:read"]),
        (ScopeSource::Explicit, &["orders:write"], &[]),
        (ScopeSource::Explicit, &[], &[]),
        (ScopeSource::Unspecified, &both[..1], &["orders:read"]),
        (ScopeSource::Principal, &[], &["orders:read"]),
    ] {
        let made = stage.make(key(source, scopes)).await;
        assert_eq!(may(&stage, &made).await, effective, "{source:?} {scopes:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn disabling_a_principal_stops_its_keys_at_once_and_enabling_it_brings_them_back() {
    let stage = Stage::set().await;
    grant(&stage, "joe", &["orders:read", "claviger:keys:read"]).await;
    let made = stage.make(creating("acme", bound_to("joe", &[]))).await;
    let other = stage.key(&["orders:read"]).await;
    let administrator = stage.server.client_with(&made.primary);
    let list = || v1::ListKeysRequest::default();
    ok(administrator.keys().list_keys(list()).await);
    switch(&stage, "joe", false).await;
    let answer = stage
        .check(asking("acme", &made.primary, &["orders:read"]))
        .await;
    let found = (answer.reason(), answer.http_status, &*answer.principal);
    assert_eq!(found, (Reason::PrincipalDisabled, 401, "joe"));
    assert!(
        answer.challenge.contains("invalid_token"),
        "{}",
        answer.challenge
    );
    assert_eq!(asked(&stage, &other, "orders:read").await, Reason::Ok);
    // Its rights over Claviger end with it.
    let status = administrator.keys().list_keys(list()).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
    switch(&stage, "joe", true).await;
    assert_eq!(asked(&stage, &made, "orders:read").await, Reason::Ok);
    ok(administrator.keys().list_keys(list()).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_principal_must_exist_before_its_key_and_stays_while_one_is_bound() {
    let stage = Stage::set().await;
    let keys = || stage.system.keys();
    let missing = creating("acme", bound_to("joe", &[]));
    invalid(keys().create_key(missing.clone()).await, "key.principal");
    // Another workspace's is none.
    ok(stage
        .system
        .directory()
        .upsert_principal(knowing("other", "joe", &[]))
        .await);
    invalid(keys().create_key(missing.clone()).await, "key.principal");
    grant(&stage, "joe", &["orders:read"]).await;
    let made = stage.make(missing).await;
    let delete = || v1::DeletePrincipalRequest {
        workspace: "acme".to_owned(),
        id: "joe".to_owned(),
        ..Default::default()
    };
    let directory = || stage.system.directory();
    let in_use = (Code::FailedPrecondition, "IN_USE");
    let status = refused(
        directory().delete_principal(delete()).await,
        in_use.0,
        in_use.1,
    );
    assert!(
        status.message().contains(&made.id()),
        "{}",
        status.message()
    );
    // A deleted key may come back.
    let gone = |purge| v1::DeleteKeyRequest {
        id: made.id(),
        purge,
        ..Default::default()
    };
    ok(keys().delete_key(gone(false)).await);
    refused(
        directory().delete_principal(delete()).await,
        in_use.0,
        in_use.1,
    );
    ok(keys().delete_key(gone(true)).await);
    ok(directory().delete_principal(delete()).await);
    refused(
        directory().delete_principal(delete()).await,
        Code::NotFound,
        "NOT_FOUND",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_can_be_bound_later_bound_elsewhere_and_unbound() {
    let stage = Stage::set().await;
    grant(&stage, "joe", &["orders:read"]).await;
    grant(&stage, "ann", &["orders:write"]).await;
    let made = stage.key(&["orders:read", "orders:write"]).await;
    let keys = || stage.system.keys();
    let bind = |principal: &str| set(&made.id(), bound_to(principal, &[]), "principal");
    ok(keys().update_key(bind("joe")).await);
    assert_eq!(may(&stage, &made).await, ["orders:read"]);
    ok(keys().update_key(bind("ann")).await);
    assert_eq!(may(&stage, &made).await, ["orders:write"]);
    invalid(keys().update_key(bind("nobody")).await, "key.principal");
    let inherit = v1::Key {
        scope_source: ScopeSource::Principal.into(),
        ..Default::default()
    };
    ok(keys()
        .update_key(set(&made.id(), inherit, "scope_source"))
        .await);
    invalid(keys().update_key(bind("")).await, "key.scope_source");
    let unbind = v1::UpdateKeyRequest {
        update_mask: mask(&["principal", "scope_source"]),
        ..bind("")
    };
    let unbound = ok(keys().update_key(unbind).await).key.unwrap();
    assert_eq!(unbound.scope_source(), ScopeSource::Explicit);
    assert_eq!(may(&stage, &made).await, ["orders:read", "orders:write"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_find_keys_by_principal_and_principals_by_name_and_state() {
    let stage = Stage::set().await;
    let names = [
        ("ann", "Ann Aaker"),
        ("bob", "Bob Small"),
        ("joe@example.com", "Joe"),
        ("JO-7", "Crane seven"),
    ];
    for (id, name) in names {
        let mut request = knowing("acme", id, &["orders:read"]);
        request.principal.as_mut().unwrap().display_name = name.to_owned();
        request.update_mask = mask(&["*"]);
        ok(stage.system.directory().upsert_principal(request).await);
    }
    switch(&stage, "bob", false).await;
    let mut of_joe = Vec::new();
    for n in 0..3 {
        let principal = if n == 1 { "ann" } else { "joe@example.com" };
        let made = stage.make(creating("acme", bound_to(principal, &[]))).await;
        if n != 1 {
            of_joe.push(made.id());
        }
    }
    let list = v1::ListKeysRequest {
        filter: Some(v1::KeyFilter {
            principal: "joe@example.com".to_owned(),
            ..Default::default()
        }),
        ..Default::default()
    };
    let found = ok(stage.acme.keys().list_keys(list).await).keys;
    let mut found: Vec<_> = found.into_iter().map(|k| k.id).collect();
    // All of one moment: their ids are in no order.
    found.sort();
    of_joe.sort();
    assert_eq!(found, of_joe);

    type Case = (&'static str, Option<bool>, &'static [&'static str]);
    let cases: [Case; 5] = [
        ("", None, &["JO-7", "ann", "bob", "joe@example.com"]),
        ("jO", None, &["JO-7", "joe@example.com"]),
        ("AAK", None, &["ann"]),
        ("", Some(false), &["bob"]),
        ("%", None, &[]),
    ];
    for (part, enabled, expected) in cases {
        let mut found = Vec::new();
        let mut page_token = String::new();
        loop {
            let request = v1::ListPrincipalsRequest {
                page_size: 1,
                page_token,
                workspace: "acme".to_owned(),
                filter: Some(v1::PrincipalFilter {
                    name_contains: part.to_owned(),
                    enabled,
                }),
            };
            let page = ok(stage.system.directory().list_principals(request).await);
            found.extend(page.principals.into_iter().map(|p| p.id));
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        assert_eq!(found, expected, "{part:?} {enabled:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upsert_of_what_is_so_changes_nothing_and_a_stale_one_is_refused() {
    let stage = Stage::set().await;
    let directory = || stage.system.directory();
    let request = v1::UpsertPrincipalRequest {
        request_id: request_id(1),
        ..knowing("acme", "joe", &["orders:read"])
    };
    let made = ok(directory().upsert_principal(request.clone()).await);
    assert!(made.created);
    let again = ok(directory().upsert_principal(request).await);
    assert_eq!(
        (again.created, &again.revision),
        (true, &made.revision),
        "the same call"
    );
    let before = stage.revision().await;
    let same = ok(directory()
        .upsert_principal(knowing("acme", "joe", &["orders:read"]))
        .await);
    assert!(!same.created);
    assert_eq!(same.principal, made.principal);
    assert_eq!(stage.revision().await, before);
    let etag = made.principal.unwrap().etag;
    let guarded = |scopes: &[&str], id: &str| {
        let mut request = knowing("acme", id, scopes);
        request.principal.as_mut().unwrap().etag.clone_from(&etag);
        request
    };
    let changed = ok(directory()
        .upsert_principal(guarded(&["orders:write"], "joe"))
        .await);
    assert_eq!(changed.principal.unwrap().scopes, ["orders:write"]);
    let aborted = (Code::Aborted, "ETAG_MISMATCH");
    for id in ["joe", "nobody"] {
        let stale = directory().upsert_principal(guarded(&[], id)).await;
        refused(stale, aborted.0, aborted.1);
    }
    let read = v1::GetPrincipalRequest {
        workspace: "acme".to_owned(),
        id: "joe".to_owned(),
    };
    let read = ok(directory().get_principal(read).await).principal.unwrap();
    assert_eq!((read.scopes.len(), read.enabled), (1, Some(true)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scope_that_a_principal_lists_stays_in_the_catalogue() {
    let stage = Stage::set().await;
    let directory = || stage.system.directory();
    for name in ["Pick_1", "pick_1", "pickX1", "hooks:in"] {
        ok(directory().create_scope(declaring("acme", name)).await);
    }
    grant(&stage, "joe", &["pick_1", "hooks:*"]).await;
    let delete = |name: &str| v1::DeleteScopeRequest {
        workspace: "acme".to_owned(),
        name: name.to_owned(),
        ..Default::default()
    };
    for name in ["Pick_1", "pickX1"] {
        ok(directory().delete_scope(delete(name)).await);
    }
    for name in ["pick_1", "hooks:in"] {
        let answer = directory().delete_scope(delete(name)).await;
        refused(answer, Code::FailedPrecondition, "IN_USE");
    }
    grant(&stage, "joe", &[]).await;
    for name in ["pick_1", "hooks:in"] {
        ok(directory().delete_scope(delete(name)).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workspace_takes_its_principals_with_it_and_a_restart_brings_the_others() {
    let stage = Stage::set().await;
    grant(&stage, "joe", &["orders:read"]).await;
    let made = stage.make(creating("acme", bound_to("joe", &[]))).await;
    ok(stage
        .system
        .directory()
        .upsert_principal(knowing("default", "joe", &[]))
        .await);
    let workspace = v1::Workspace {
        id: "brief".to_owned(),
        ..Default::default()
    };
    let create = v1::CreateWorkspaceRequest {
        workspace: Some(workspace),
        ..Default::default()
    };
    let get = |workspace: &str| v1::GetPrincipalRequest {
        workspace: workspace.to_owned(),
        id: "joe".to_owned(),
    };
    ok(stage
        .system
        .directory()
        .create_workspace(create.clone())
        .await);
    ok(stage
        .system
        .directory()
        .upsert_principal(knowing("brief", "joe", &[]))
        .await);
    let delete = v1::DeleteWorkspaceRequest {
        id: "brief".to_owned(),
        ..Default::default()
    };
    ok(stage.system.directory().delete_workspace(delete).await);
    ok(stage.system.directory().create_workspace(create).await);
    refused(
        stage.system.directory().get_principal(get("brief")).await,
        Code::NotFound,
        "NOT_FOUND",
    );
    let stage = stage.restart().await;
    ok(stage.system.directory().get_principal(get("default")).await);
    assert_eq!(may(&stage, &made).await, ["orders:read"]);
    switch(&stage, "joe", false).await;
    let stage = stage.restart().await;
    assert_eq!(stage.reason(&made.primary).await, Reason::PrincipalDisabled);
}

#[tokio::test(flavor = "multi_thread")]
async fn system_has_no_principals_and_its_keys_are_bound_to_none() {
    let stage = Stage::set().await;
    grant(&stage, "joe", &["claviger:*"]).await;
    let directory = || stage.system.directory();
    let reserved = (Code::FailedPrecondition, "RESERVED_WORKSPACE");
    let answer = directory()
        .upsert_principal(knowing("system", "joe", &[]))
        .await;
    refused(answer, reserved.0, reserved.1);
    let answer = stage
        .system
        .keys()
        .create_key(creating("system", bound_to("joe", &[])))
        .await;
    invalid(answer, "key.principal");
    // A workspace's principal with every right administers that workspace alone.
    let made = stage.make(creating("acme", bound_to("joe", &[]))).await;
    let joe = stage.server.client_with(&made.primary);
    ok(joe
        .keys()
        .create_key(creating("acme", holding(&["claviger:*"])))
        .await);
    let elsewhere = joe.keys().create_key(creating("other", holding(&[]))).await;
    refused(elsewhere, Code::NotFound, "NOT_FOUND");
    // And opens no data.
    assert_eq!(stage.reason(&made.primary).await, Reason::UnknownKey);
}

/// `boss` is a principal with a right that the deputy lacks, directly or through the catalogue.
async fn with_boss(implied: bool) -> (Stage, Client, Made) {
    let stage = Stage::set().await;
    let right = if implied {
        let mut scope = declaring("acme", "management");
        scope.scope.as_mut().unwrap().implies = vec!["claviger:settings:write".to_owned()];
        ok(stage.system.directory().create_scope(scope).await);
        "management"
    } else {
        "claviger:settings:write"
    };
    let settings = v1::WorkspaceSettings {
        secret_storage: v1::SecretStorage::Recoverable.into(),
        ..Default::default()
    };
    stage.configure("acme", settings).await;
    grant(&stage, "boss", &[right]).await;
    grant(&stage, "joe", &["orders:read"]).await;
    let made = stage.make(creating("acme", bound_to("boss", &[]))).await;
    let rights = [
        "claviger:keys:read",
        "claviger:keys:write",
        "claviger:keys:reveal",
        "claviger:directory:write",
    ];
    let deputy = stage.caller("acme", &rights).await;
    (stage, deputy, made)
}

#[tokio::test(flavor = "multi_thread")]
async fn rights_that_come_from_a_principal_count_whenever_a_key_is_opened() {
    for implied in [false, true] {
        let (stage, deputy, boss) = with_boss(implied).await;
        let keys = || deputy.keys();
        let id = boss.id();
        // Make one that inherits, or bind one's own.
        escalation(
            keys()
                .create_key(creating("acme", bound_to("boss", &[])))
                .await,
        );
        let own = stage.key(&[]).await;
        let inheriting = v1::UpdateKeyRequest {
            key: Some(v1::Key {
                id: own.id(),
                scope_source: ScopeSource::Principal.into(),
                ..bound_to("boss", &[])
            }),
            update_mask: mask(&["principal", "scope_source"]),
            ..Default::default()
        };
        escalation(keys().update_key(inheriting).await);
        // One that grants nothing but what the deputy may hand out is none of this.
        let harmless = creating("acme", bound_to("boss", &["orders:read"]));
        ok(keys().create_key(harmless).await);
        // Take its value; read it.
        let regenerate = v1::RegenerateSecretRequest {
            key_id: id.clone(),
            ..Default::default()
        };
        escalation(keys().regenerate_secret(regenerate).await);
        let reveal = v1::RevealSecretRequest {
            key_id: id.clone(),
            ..Default::default()
        };
        escalation(keys().reveal_secret(reveal).await);
        let list = v1::ListKeysRequest {
            view: v1::KeyView::WithTokens.into(),
            ..Default::default()
        };
        let listed = ok(keys().list_keys(list).await);
        assert!(listed.tokens.iter().all(|t| t.token != boss.primary));
        // Switch it on, bring it back.
        let enabled = |on| {
            let key = v1::Key {
                enabled: Some(on),
                ..Default::default()
            };
            set(&id, key, "enabled")
        };
        ok(keys().update_key(enabled(false)).await);
        escalation(keys().update_key(enabled(true)).await);
        let delete = v1::DeleteKeyRequest {
            id: id.clone(),
            ..Default::default()
        };
        ok(keys().delete_key(delete).await);
        let undelete = v1::UndeleteKeyRequest {
            id: id.clone(),
            ..Default::default()
        };
        escalation(keys().undelete_key(undelete.clone()).await);
        ok(stage.acme.keys().undelete_key(undelete).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn principals_get_rights_only_from_who_holds_them() {
    for implied in [false, true] {
        let (stage, deputy, boss) = with_boss(implied).await;
        let directory = || deputy.directory();
        let mighty = stage.get(&boss.id()).await.principal;
        let right = ok(directory()
            .get_principal(v1::GetPrincipalRequest {
                id: mighty,
                ..Default::default()
            })
            .await)
        .principal
        .unwrap()
        .scopes;
        let right: Vec<&str> = right.iter().map(String::as_str).collect();
        for id in ["joe", "somebody-new"] {
            escalation(
                directory()
                    .upsert_principal(knowing("acme", id, &right))
                    .await,
            );
            escalation(
                directory()
                    .upsert_principal(knowing("acme", id, &["claviger:*"]))
                    .await,
            );
        }
        // What one holds oneself is no climbing, nor is to take away, or to leave as it is.
        let held = ["claviger:keys:write", "orders:read"];
        ok(directory()
            .upsert_principal(knowing("acme", "joe", &held))
            .await);
        let mut renamed = knowing("acme", "boss", &[]);
        renamed.principal.as_mut().unwrap().display_name = "The boss".to_owned();
        renamed.update_mask = mask(&["display_name"]);
        ok(directory().upsert_principal(renamed).await);
        let enabled = |on| {
            let mut request = knowing("acme", "boss", &[]);
            request.principal.as_mut().unwrap().enabled = Some(on);
            request.update_mask = mask(&["enabled"]);
            request
        };
        ok(directory().upsert_principal(enabled(false)).await);
        escalation(directory().upsert_principal(enabled(true)).await);
        ok(stage.acme.directory().upsert_principal(enabled(true)).await);
        ok(directory()
            .upsert_principal(knowing("acme", "boss", &[]))
            .await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_bound_to_subscriptions_reads_principals_and_changes_none() {
    let stage = Stage::set().await;
    grant(&stage, "joe", &["orders:read"]).await;
    let bound = stage.bound(&["claviger:*"], &["basic"]).await;
    let denied = (Code::PermissionDenied, "BOUND_TO_SUBSCRIPTIONS");
    let answer = bound
        .directory()
        .upsert_principal(knowing("acme", "ann", &[]))
        .await;
    refused(answer, denied.0, denied.1);
    let delete = v1::DeletePrincipalRequest {
        id: "joe".to_owned(),
        ..Default::default()
    };
    refused(
        bound.directory().delete_principal(delete).await,
        denied.0,
        denied.1,
    );
    let list = v1::ListPrincipalsRequest::default();
    let seen = ok(bound.directory().list_principals(list).await).principals;
    assert_eq!(seen.len(), 1);
}
