//! Nobody climbs: what a key may do over Claviger, its holder can't widen, borrow or bring back.

use claviger::grpc::proto::v1::{self, KeyView, Reason, Slot};
use tonic::{Code, Response, Status};

use super::stage::{
    Made, Stage, asking, creating, declaring, digest, foreign_token, generated, holding, mask,
    named, ok, refused,
};
use crate::harness::server::Client;

/// What a deputy of `acme` may do; the administrator's rights it lacks.
const DEPUTY: [&str; 3] = [
    "claviger:keys:read",
    "claviger:keys:write",
    "claviger:keys:reveal",
];

#[track_caller]
pub(crate) fn escalation<T: std::fmt::Debug>(result: Result<Response<T>, Status>) {
    refused(result, Code::PermissionDenied, "ESCALATION");
}

pub(crate) fn set(id: &str, key: v1::Key, path: &str) -> v1::UpdateKeyRequest {
    v1::UpdateKeyRequest {
        key: Some(v1::Key {
            id: id.to_owned(),
            ..key
        }),
        update_mask: mask(&[path]),
        ..Default::default()
    }
}

/// `acme` keeps tokens; `boss` has a right that the deputy lacks, directly or through the catalogue.
async fn with_boss(implied: bool) -> (Stage, Client, Made) {
    let stage = Stage::set().await;
    let settings = v1::WorkspaceSettings {
        secret_storage: v1::SecretStorage::Recoverable.into(),
        ..Default::default()
    };
    stage.configure("acme", settings).await;
    let right = if implied {
        let mut scope = declaring("acme", "management");
        scope.scope.as_mut().unwrap().implies = vec!["claviger:directory:write".to_owned()];
        ok(stage.system.directory().create_scope(scope).await);
        "management"
    } else {
        "claviger:directory:write"
    };
    let request = v1::CreateKeyRequest {
        secondary: generated(),
        ..creating("acme", holding(&[right]))
    };
    let boss = stage.make(request).await;
    let deputy = stage.caller("acme", &DEPUTY).await;
    (stage, deputy, boss)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ways_to_a_mightier_key_are_refused() {
    for implied in [false, true] {
        let (stage, deputy, boss) = with_boss(implied).await;
        let id = boss.id();
        let keys = || deputy.keys();
        let scopes: Vec<&str> = boss.key.scopes.iter().map(String::as_str).collect();
        // Make one like it; take its value; read its value.
        escalation(keys().create_key(creating("acme", holding(&scopes))).await);
        for (slot, force) in [(Slot::Primary, false), (Slot::Secondary, true)] {
            let regenerate = v1::RegenerateSecretRequest {
                key_id: id.clone(),
                slot: slot.into(),
                force,
                ..Default::default()
            };
            escalation(keys().regenerate_secret(regenerate).await);
        }
        escalation(
            keys()
                .reveal_secret(v1::RevealSecretRequest {
                    key_id: id.clone(),
                    secret_id: String::new(),
                })
                .await,
        );
        let list = v1::ListKeysRequest {
            view: KeyView::WithTokens.into(),
            ..Default::default()
        };
        let listed = keys().list_keys(list).await;
        let tokens = listed
            .map(|page| page.into_inner().tokens)
            .unwrap_or_default();
        assert!(
            tokens
                .iter()
                .all(|t| t.token != boss.primary && t.token != boss.secondary),
            "a list reveals it"
        );
        // Bind it elsewhere.
        let bound = v1::Key {
            subscriptions: vec!["basic".to_owned()],
            ..Default::default()
        };
        escalation(keys().update_key(set(&id, bound, "subscriptions")).await);
        // Widen one's own.
        let own = stage.key(&["orders:read"]).await;
        escalation(
            keys()
                .update_key(set(&own.id(), holding(&scopes), "scopes"))
                .await,
        );
        assert_eq!(stage.get(&own.id()).await.scopes, ["orders:read"]);
        assert_eq!(stage.get(&id).await.etag, boss.key.etag);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mightier_key_is_not_switched_on_or_brought_back() {
    for implied in [false, true] {
        let (stage, deputy, boss) = with_boss(implied).await;
        let (id, keys) = (boss.id(), || deputy.keys());
        let enabled = |on| {
            set(
                &id,
                v1::Key {
                    enabled: Some(on),
                    ..Default::default()
                },
                "enabled",
            )
        };
        // To take away is no climbing: whoever writes keys may disable and delete.
        ok(keys().update_key(enabled(false)).await);
        escalation(keys().update_key(enabled(true)).await);
        ok(keys()
            .delete_key(v1::DeleteKeyRequest {
                id: id.clone(),
                ..Default::default()
            })
            .await);
        escalation(
            keys()
                .undelete_key(v1::UndeleteKeyRequest {
                    id: id.clone(),
                    ..Default::default()
                })
                .await,
        );
        // Who holds the right may.
        ok(stage
            .acme
            .keys()
            .undelete_key(v1::UndeleteKeyRequest {
                id: id.clone(),
                ..Default::default()
            })
            .await);
        ok(stage.acme.keys().update_key(enabled(true)).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_or_fenced_mightier_key_is_not_opened_wider() {
    let stage = Stage::set().await;
    let past = prost_types::Timestamp {
        seconds: 1_800_000_001,
        nanos: 0,
    };
    let key = v1::Key {
        expire_time: Some(past),
        allowed_cidrs: vec!["192.0.2.0/24".to_owned()],
        subscriptions: vec!["basic".to_owned()],
        ..holding(&["claviger:directory:write"])
    };
    let boss = stage.make(creating("acme", key)).await;
    stage.advance(std::time::Duration::from_secs(60));
    let deputy = stage.caller("acme", &DEPUTY).await;
    for path in ["expire_time", "allowed_cidrs", "subscriptions"] {
        escalation(
            deputy
                .keys()
                .update_key(set(&boss.id(), v1::Key::default(), path))
                .await,
        );
    }
    assert_eq!(stage.get(&boss.id()).await.etag, boss.key.etag);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_catalogue_entry_implies_only_what_its_maker_holds() {
    let stage = Stage::set().await;
    let librarian = stage
        .caller("acme", &["claviger:directory:write", "claviger:keys:read"])
        .await;
    let entry = |name: &str, implies: &[&str]| {
        let mut request = declaring("acme", name);
        request.scope.as_mut().unwrap().implies = implies.iter().map(|i| (*i).to_owned()).collect();
        request
    };
    let directory = || librarian.directory();
    for implied in ["claviger:keys:write", "claviger:keys:*", "claviger:*"] {
        escalation(
            directory()
                .create_scope(entry("management", &[implied]))
                .await,
        );
    }
    ok(directory()
        .create_scope(entry("reading", &["claviger:keys:read"]))
        .await);
    let widen = |name: &str, implies: &str| v1::UpdateScopeRequest {
        scope: Some(v1::Scope {
            workspace: "acme".to_owned(),
            name: name.to_owned(),
            implies: vec![implies.to_owned()],
            ..Default::default()
        }),
        update_mask: mask(&["implies"]),
        ..Default::default()
    };
    // Neither by making an entry that one's own key lists mean more.
    escalation(
        directory()
            .update_scope(widen("orders:read", "claviger:keys:write"))
            .await,
    );
    escalation(
        directory()
            .update_scope(widen("reading", "claviger:settings:write"))
            .await,
    );
    ok(stage
        .acme
        .directory()
        .update_scope(widen("orders:read", "claviger:keys:write"))
        .await);
    // An implied right is a right: for its holder, and for the rule.
    let implied = stage.caller("acme", &["orders:read"]).await;
    ok(implied
        .keys()
        .create_key(creating("acme", named("by an implied right")))
        .await);
    escalation(
        implied
            .keys()
            .create_key(creating("acme", holding(&["reading"])))
            .await,
    );
    escalation(
        implied
            .keys()
            .create_key(creating("acme", holding(&["claviger:keys:reveal"])))
            .await,
    );
    let through_wildcard = holding(&["orders:*"]);
    ok(implied
        .keys()
        .create_key(creating("acme", through_wildcard))
        .await);
}

#[tokio::test(flavor = "multi_thread")]
async fn rights_over_all_workspaces_never_come_from_a_digest_and_never_weak() {
    let stage = Stage::set().await;
    let before = stage.revision().await;
    let keys = || stage.system.keys();
    for scopes in [&["claviger:*"][..], &["claviger:keys:read"], &[]] {
        let request = v1::CreateKeyRequest {
            primary: digest(&foreign_token(1), 256, false),
            ..creating("system", holding(scopes))
        };
        refused(
            keys().create_key(request).await,
            Code::PermissionDenied,
            "DIGEST_IN_SYSTEM",
        );
    }
    let fenced = v1::Key {
        allowed_cidrs: vec!["127.0.0.1".to_owned()],
        ..holding(&["claviger:*"])
    };
    let weak = super::stage::external_weak("Summer2024!Winter2025");
    let weak = v1::CreateKeyRequest {
        primary: weak,
        ..creating("system", fenced)
    };
    super::stage::invalid(
        keys().create_key(weak).await,
        "primary.external_token.token",
    );
    assert_eq!(stage.revision().await, before);
    let made = stage
        .make(creating("system", holding(&["claviger:keys:read"])))
        .await;
    let regenerate = v1::RegenerateSecretRequest {
        key_id: made.id(),
        source: digest(&foreign_token(2), 256, false),
        ..Default::default()
    };
    refused(
        keys().regenerate_secret(regenerate).await,
        Code::PermissionDenied,
        "DIGEST_IN_SYSTEM",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_administer_open_no_data() {
    let stage = Stage::set().await;
    let of_system = stage
        .make(creating("system", holding(&["claviger:*"])))
        .await;
    let admin = stage.key(&["claviger:*"]).await;
    let bootstrap = crate::harness::server::BOOTSTRAP_TOKEN;
    for (workspace, token) in [
        ("system", of_system.primary.as_str()),
        ("system", bootstrap),
        ("default", bootstrap),
        ("acme", bootstrap),
        ("acme", &of_system.primary),
        ("acme", &admin.primary),
        ("other", &admin.primary),
    ] {
        for scopes in [&[][..], &["orders:read"]] {
            let decision = stage.check(asking(workspace, token, scopes)).await;
            assert_eq!(
                (decision.reason(), decision.key_id.as_str()),
                (Reason::UnknownKey, ""),
                "{workspace}"
            );
        }
    }
    // One that holds data scopes too opens those.
    let both = stage.key(&["claviger:keys:read", "orders:read"]).await;
    let decision = stage
        .check(asking("acme", &both.primary, &["orders:read"]))
        .await;
    assert_eq!(decision.reason(), Reason::Ok);
}
