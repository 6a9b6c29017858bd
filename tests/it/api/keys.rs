//! Making, reading, deleting and looking up keys.

use claviger::grpc::proto::v1::{self, Reason, key, secret};
use tonic::Code;

use super::stage::{
    Made, Stage, bound_to, creating, details, digest, external, foreign_token, generated, holding,
    invalid, knowing, mask, named, ok, prefixed, refused,
};

fn codes(key: &v1::Key) -> Vec<&str> {
    key.warnings.iter().map(|w| w.code.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_generated_token_opens_its_key_and_is_shown_once() {
    let stage = Stage::set().await;
    let made = stage.key(&["orders:read"]).await;
    let body = made.primary.strip_prefix("clv_").unwrap();
    assert_eq!(body.len(), 48);
    assert!(
        body.bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    );
    let secret = &made.key.secrets[0];
    assert_eq!(
        (secret.origin(), secret.state(), secret.slot()),
        (
            secret::Origin::Generated,
            secret::State::Active,
            v1::Slot::Primary
        )
    );
    assert!(!secret.weak && !secret.recoverable);
    assert_eq!(secret.hint, format!("clv_…{}", body.get(44..).unwrap()));
    assert!(secret.id.starts_with("sec_") && made.key.id.starts_with("key_"));
    assert_eq!(stage.reason(&made.primary).await, Reason::Ok);
    // What is read later holds no token anywhere.
    let read = format!("{:?}", stage.get(&made.id()).await);
    assert!(!read.contains(body.get(..40).unwrap()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_has_the_prefix_asked_for_the_workspaces_or_none() {
    let stage = Stage::set().await;
    let with = |source| v1::CreateKeyRequest {
        primary: source,
        ..creating("acme", named("a key"))
    };
    assert!(
        stage
            .make(with(prefixed("acme_live")))
            .await
            .primary
            .starts_with("acme_live_")
    );
    let bare = stage.make(with(prefixed(""))).await;
    assert_eq!(bare.primary.len(), 48);
    assert_eq!(stage.reason(&bare.primary).await, Reason::Ok);
    let settings = v1::WorkspaceSettings {
        token_prefix: Some("ours".to_owned()),
        ..Default::default()
    };
    stage.configure("acme", settings).await;
    assert!(stage.make(with(None)).await.primary.starts_with("ours_"));
    assert!(
        stage
            .make(with(generated()))
            .await
            .primary
            .starts_with("ours_")
    );
    let settings = v1::WorkspaceSettings {
        token_prefix: Some(String::new()),
        ..Default::default()
    };
    stage.configure("acme", settings).await;
    assert_eq!(stage.make(with(None)).await.primary.len(), 48);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_slots_are_filled_from_sources_of_their_own() {
    let stage = Stage::set().await;
    let token = foreign_token(1);
    let request = v1::CreateKeyRequest {
        secondary: external(&token),
        ..creating("acme", named("two"))
    };
    let made = stage.make(request).await;
    assert_eq!(made.key.secrets.len(), 2);
    assert_eq!(
        made.secondary, "",
        "a token that was handed in is not handed back"
    );
    assert_eq!(stage.reason(&made.primary).await, Reason::Ok);
    assert_eq!(stage.reason(&token).await, Reason::Ok);
    // A workspace that demands two slots gets the second one without asking.
    let settings = v1::WorkspaceSettings {
        slots: v1::SlotPolicy::Two.into(),
        ..Default::default()
    };
    stage.configure("acme", settings).await;
    let made = stage.key(&[]).await;
    assert!(!made.secondary.is_empty());
    assert_eq!(stage.reason(&made.secondary).await, Reason::Ok);
    // One value for both slots would be one secret.
    let token = foreign_token(2);
    let request = v1::CreateKeyRequest {
        primary: external(&token),
        secondary: external(&token),
        ..creating("acme", named("twice"))
    };
    let status = stage.system.keys().create_key(request).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    assert_eq!(stage.reason(&token).await, Reason::UnknownKey);
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_are_read_back_as_they_were_given_in_canonical_form() {
    let stage = Stage::set().await;
    let key = v1::Key {
        description: "line\nbreak".to_owned(),
        scopes: ["orders:write", "orders:read", "orders:read"]
            .map(str::to_owned)
            .to_vec(),
        subscriptions: ["pro", "basic"].map(str::to_owned).to_vec(),
        allowed_cidrs: ["192.0.2.77/24", "2001:db8::1", "::ffff:10.1.2.3"]
            .map(str::to_owned)
            .to_vec(),
        postback_url: "https://example.com/hook".to_owned(),
        off_the_record: true,
        expire_time: Some(prost_types::Timestamp {
            seconds: 1_900_000_000,
            nanos: 0,
        }),
        labels: [("team/a".to_owned(), "Ü".to_owned())].into(),
        enforcement: Some(v1::Enforcement {
            scopes: v1::EnforcementMode::Shadow.into(),
            ..Default::default()
        }),
        // Output only: ignored.
        id: "key_chosen".to_owned(),
        secrets: vec![v1::Secret::default()],
        etag: "chosen".to_owned(),
        ..named("Müller & Co")
    };
    let made = stage.make(creating("acme", key.clone())).await;
    let read = stage.get(&made.id()).await;
    assert_eq!(read.etag, made.key.etag);
    assert_ne!(read.id, "key_chosen");
    assert_eq!(read.display_name, "Müller & Co");
    assert_eq!(read.description, key.description);
    assert_eq!(read.scopes, ["orders:read", "orders:write"]);
    assert_eq!(read.subscriptions, ["basic", "pro"]);
    let mut cidrs = read.allowed_cidrs.clone();
    cidrs.sort();
    assert_eq!(cidrs, ["10.1.2.3/32", "192.0.2.0/24", "2001:db8::1/128"]);
    assert_eq!(
        (read.postback_url, read.off_the_record, read.labels),
        (key.postback_url, true, key.labels)
    );
    assert_eq!(read.expire_time, key.expire_time);
    assert_eq!(read.enabled, Some(true), "absent means true");
    assert_eq!(read.state, i32::from(key::State::Active));
    assert_eq!(read.secrets.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn warnings_tell_what_an_administrator_should_know() {
    let stage = Stage::set().await;
    assert!(codes(&stage.key(&["orders:read"]).await.key).is_empty());
    let key = v1::Key {
        subscriptions: ["basic", "pro"].map(str::to_owned).to_vec(),
        allowed_cidrs: vec!["192.0.2.0/24".to_owned()],
        enforcement: Some(v1::Enforcement {
            scopes: v1::EnforcementMode::Shadow.into(),
            ..Default::default()
        }),
        ..holding(&["orders:read", "orders:write", "claviger:keys:read"])
    };
    let request = v1::CreateKeyRequest {
        primary: digest(&foreign_token(3), 0, true),
        ..creating("acme", key)
    };
    let made = stage.make(request).await;
    let mut found = codes(&made.key);
    found.sort_unstable();
    assert_eq!(
        found,
        [
            "ADMINISTRATOR",
            "SEVERAL_SCOPES",
            "SEVERAL_SUBSCRIPTIONS",
            "SHADOWED",
            "WEAK_SECRET"
        ]
    );
    assert!(made.key.warnings.iter().all(|w| w.message.len() > 10));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_checks_everything_and_changes_nothing() {
    let stage = Stage::set().await;
    let before = stage.revision().await;
    let request = v1::CreateKeyRequest {
        validate_only: true,
        ..creating("acme", holding(&["orders:read"]))
    };
    let answer = ok(stage.system.keys().create_key(request.clone()).await);
    assert!(answer.tokens.is_empty() && !answer.token_withheld);
    assert_eq!(answer.key.unwrap().scopes, ["orders:read"]);
    let bad = v1::CreateKeyRequest {
        key: Some(holding(&["undeclared"])),
        ..request
    };
    invalid(stage.system.keys().create_key(bad).await, "key.scopes[0]");
    let made = stage.key(&[]).await;
    let after = stage.revision().await;
    assert_ne!(before, after);
    let request = v1::UpdateKeyRequest {
        key: Some(v1::Key {
            id: made.id(),
            ..named("renamed")
        }),
        validate_only: true,
        ..Default::default()
    };
    let answer = ok(stage.system.keys().update_key(request).await);
    assert_eq!(answer.key.unwrap().display_name, "renamed");
    assert_eq!(stage.get(&made.id()).await.display_name, "a key");
    assert_eq!(stage.revision().await, after);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_key_is_refused_at_once_and_can_be_brought_back() {
    let stage = Stage::set().await;
    let made = stage.key(&["orders:read"]).await;
    let delete = v1::DeleteKeyRequest {
        id: made.id(),
        ..Default::default()
    };
    let gone = ok(stage.system.keys().delete_key(delete.clone()).await)
        .key
        .unwrap();
    assert_eq!(gone.state, i32::from(key::State::Deleted));
    let seconds = |t: &Option<prost_types::Timestamp>| t.as_ref().unwrap().seconds;
    assert_eq!(
        seconds(&gone.purge_time) - seconds(&gone.delete_time),
        30 * 86_400
    );
    assert_eq!(stage.reason(&made.primary).await, Reason::KeyDeleted);
    assert_eq!(
        stage.get(&made.id()).await.state,
        i32::from(key::State::Deleted)
    );
    let status = stage.system.keys().delete_key(delete).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    let undelete = v1::UndeleteKeyRequest {
        id: made.id(),
        ..Default::default()
    };
    let back = ok(stage.system.keys().undelete_key(undelete.clone()).await)
        .key
        .unwrap();
    assert_eq!(
        (back.state, back.delete_time, back.purge_time),
        (key::State::Active.into(), None, None)
    );
    assert_eq!(stage.reason(&made.primary).await, Reason::Ok);
    let status = stage
        .system
        .keys()
        .undelete_key(undelete)
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purged_key_is_gone_and_its_token_free_again() {
    let stage = Stage::set().await;
    let token = foreign_token(4);
    let import = || v1::CreateKeyRequest {
        primary: external(&token),
        ..creating("acme", named("imported"))
    };
    let made = stage.make(import()).await;
    let delete = |purge| v1::DeleteKeyRequest {
        id: made.id(),
        purge,
        ..Default::default()
    };
    ok(stage.system.keys().delete_key(delete(false)).await);
    refused(
        stage.system.keys().create_key(import()).await,
        Code::FailedPrecondition,
        "TOKEN_KNOWN_DEAD",
    );
    ok(stage.system.keys().delete_key(delete(true)).await);
    assert_eq!(stage.reason(&token).await, Reason::UnknownKey);
    let get = v1::GetKeyRequest { id: made.id() };
    refused(
        stage.system.keys().get_key(get).await,
        Code::NotFound,
        "NOT_FOUND",
    );
    let undelete = v1::UndeleteKeyRequest {
        id: made.id(),
        ..Default::default()
    };
    refused(
        stage.system.keys().undelete_key(undelete).await,
        Code::NotFound,
        "NOT_FOUND",
    );
    let again: Made = stage.make(import()).await;
    assert_eq!(stage.reason(&token).await, Reason::Ok);
    // A live key can be purged in one step.
    let delete = v1::DeleteKeyRequest {
        id: again.id(),
        purge: true,
        ..Default::default()
    };
    ok(stage.system.keys().delete_key(delete).await);
    assert_eq!(stage.reason(&token).await, Reason::UnknownKey);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_every_request_demands_a_scope_no_key_is_made_that_would_have_none() {
    let stage = Stage::set().await;
    let before = stage.key(&[]).await;
    let settings = v1::WorkspaceSettings {
        undemanded_scopes: v1::UndemandedScopes::Deny.into(),
        ..Default::default()
    };
    stage.configure("acme", settings).await;
    let joe = knowing("acme", "joe", &["orders:read"]);
    ok(stage.acme.directory().upsert_principal(joe).await);
    let cut_down_to_nothing = v1::Key {
        scope_source: v1::ScopeSource::Explicit.into(),
        ..bound_to("joe", &[])
    };
    for key in [named("a key"), cut_down_to_nothing] {
        let answer = stage.acme.keys().create_key(creating("acme", key)).await;
        assert_eq!(details(&invalid(answer, "key.scopes")).0, "SCOPE_REQUIRED");
    }
    for key in [holding(&["orders:read"]), bound_to("joe", &[])] {
        stage.make(creating("acme", key)).await;
    }
    // Keys from before stay as they are, and can be changed.
    let renamed = v1::UpdateKeyRequest {
        key: Some(v1::Key {
            id: before.id(),
            ..named("renamed")
        }),
        update_mask: mask(&["display_name"]),
        ..Default::default()
    };
    ok(stage.acme.keys().update_key(renamed).await);
}
