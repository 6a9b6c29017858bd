//! Tokens made by external systems: handed in as they are, or as a digest; weak ones; known ones.

use claviger::grpc::proto::v1::{self, Reason, Slot, secret};
use tonic::Code;

use super::stage::{
    Stage, asking, creating, details, digest, duration, external, external_weak, foreign_token,
    invalid, mask, named, ok, refused,
};

/// As long as a token must be, and guessable.
const WEAK: &str = "Summer2024!Winter2025";

fn import(source: Option<v1::SecretSource>, cidrs: &[&str]) -> v1::CreateKeyRequest {
    let key = v1::Key {
        allowed_cidrs: cidrs.iter().map(|c| (*c).to_owned()).collect(),
        ..named("imported")
    };
    v1::CreateKeyRequest {
        primary: source,
        ..creating("acme", key)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_token_works_imported_as_plaintext_and_as_digest() {
    let stage = Stage::set().await;
    let shapes = [
        foreign_token(1),
        "f47ac10b-58cc-4372-a567-0e02b2c3d479".to_owned(),
        "mF+7s/LxPq02VbYtKzWj4g==".to_owned(),
        "Kp#9v!Lz@4Qx$7Wm%2Rt^8&Bn".to_owned(),
        (2..14)
            .map(foreign_token)
            .collect::<String>()
            .chars()
            .take(512)
            .collect(),
    ];
    for token in &shapes {
        // One more of the same shape, for the digest: a token is one secret's only.
        let other: String = token.chars().rev().collect();
        for (source, presented, origin) in [
            (external(token), token, secret::Origin::ExternalToken),
            (
                digest(&other, 128, false),
                &other,
                secret::Origin::ExternalDigest,
            ),
        ] {
            assert_eq!(stage.reason(presented).await, Reason::UnknownKey);
            let request = import(source, &[]);
            let made = stage.make(request).await;
            assert_eq!(made.key.secrets[0].origin(), origin);
            assert_eq!(made.primary, "");
            assert_eq!(stage.reason(presented).await, Reason::Ok);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_token_that_looks_like_ours_works_too() {
    let stage = Stage::set().await;
    let own = stage.key(&[]).await.primary;
    let mut forged = own.clone();
    forged.replace_range(
        10..11,
        if forged.get(10..11) == Some("A") {
            "B"
        } else {
            "A"
        },
    );
    let short = format!("clv_{}", foreign_token(3));
    for (token, source) in [
        (&forged, external(&forged)),
        (&short, digest(&short, 192, false)),
    ] {
        assert_eq!(stage.reason(token).await, Reason::MalformedCredential);
        stage.make(import(source, &[])).await;
        assert_eq!(stage.reason(token).await, Reason::Ok);
    }
    // A token of ours from another workspace is a token like any other.
    let elsewhere = v1::CreateKeyRequest {
        primary: external(&own),
        ..creating("other", named("imported"))
    };
    stage.make(elsewhere).await;
    assert_eq!(
        stage.check(asking("other", &own, &[])).await.reason(),
        Reason::Ok
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_external_token_leaves_no_trace_of_more_than_its_end() {
    let stage = Stage::set().await;
    let token = foreign_token(4);
    let made = stage.make(import(external(&token), &[])).await;
    assert_eq!(
        made.key.secrets[0].hint,
        format!("…{}", token.get(44..).unwrap())
    );
    let made = stage
        .make(import(digest(&foreign_token(5), 256, false), &[]))
        .await;
    assert_eq!(made.key.secrets[0].hint, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_weak_token_is_refused() {
    let stage = Stage::set().await;
    let before = stage.revision().await;
    let keys = || stage.acme.keys();
    for (source, field) in [
        (external(WEAK), "primary.external_token.token"),
        (external("0123456789abcdef"), "primary.external_token.token"),
        (
            digest("anything", 111, false),
            "primary.external_digest.asserted_entropy_bits",
        ),
        (
            digest("anything", 0, false),
            "primary.external_digest.asserted_entropy_bits",
        ),
    ] {
        let status = invalid(
            keys().create_key(import(source, &["192.0.2.0/24"])).await,
            field,
        );
        assert_eq!(details(&status).0, "WEAK_TOKEN");
        assert!(
            status.message().contains("allow_weak"),
            "{}",
            status.message()
        );
        assert!(!status.message().contains(WEAK));
    }
    assert_eq!(stage.revision().await, before);
    stage
        .make(import(digest("anything", 112, false), &[]))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_accepted_weak_secret_is_fenced_by_narrow_networks() {
    let stage = Stage::set().await;
    let before = stage.revision().await;
    for cidrs in [
        &[][..],
        &["10.0.0.0/15"],
        &["2001:db8::/47"],
        &["0.0.0.0/0"],
        &["192.0.2.0/24", "::/0"],
    ] {
        for source in [external_weak(WEAK), digest(WEAK, 0, true)] {
            invalid(
                stage.acme.keys().create_key(import(source, cidrs)).await,
                "key.allowed_cidrs",
            );
        }
    }
    assert_eq!(stage.revision().await, before);
    let made = stage
        .make(import(
            external_weak(WEAK),
            &["10.1.0.0/16", "2001:db8::/48"],
        ))
        .await;
    assert!(made.key.secrets[0].weak);
    let from = |ip: &str| v1::CheckRequest {
        source_ip: ip.to_owned(),
        ..asking("acme", WEAK, &[])
    };
    for (ip, reason) in [
        ("10.1.2.3", Reason::Ok),
        ("::ffff:10.1.2.3", Reason::Ok),
        ("2001:db8::1", Reason::Ok),
        ("10.2.2.3", Reason::IpNotAllowed),
        ("", Reason::IpUnknown),
    ] {
        assert_eq!(stage.check(from(ip)).await.reason(), reason, "{ip}");
    }
    // `allow_weak` says nothing against a strong token, which needs no fence.
    let strong = stage
        .make(import(external_weak(&foreign_token(6)), &[]))
        .await;
    assert!(!strong.key.secrets[0].weak);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fence_stands_while_a_weak_secret_lives() {
    let stage = Stage::set().await;
    let made = stage
        .make(import(external_weak(WEAK), &["10.1.0.0/16"]))
        .await;
    let set = |key: v1::Key, path: &str| v1::UpdateKeyRequest {
        key: Some(v1::Key {
            id: made.id(),
            ..key
        }),
        update_mask: mask(&[path]),
        ..Default::default()
    };
    let cidrs = |list: &[&str]| v1::Key {
        allowed_cidrs: list.iter().map(|c| (*c).to_owned()).collect(),
        ..Default::default()
    };
    let before = stage.revision().await;
    for wide in [&[][..], &["10.0.0.0/8"], &["10.1.0.0/16", "0.0.0.0/0"]] {
        invalid(
            stage
                .acme
                .keys()
                .update_key(set(cidrs(wide), "allowed_cidrs"))
                .await,
            "key.allowed_cidrs",
        );
    }
    assert_eq!(stage.revision().await, before);
    // In shadow it still denies: a fence is no experiment.
    let shadow = v1::Enforcement {
        network: v1::EnforcementMode::Shadow.into(),
        ..Default::default()
    };
    let shadow = v1::Key {
        enforcement: Some(shadow),
        ..Default::default()
    };
    match stage
        .acme
        .keys()
        .update_key(set(shadow, "enforcement.network"))
        .await
    {
        Ok(_) => {}
        Err(status) => assert_eq!(status.code(), Code::InvalidArgument, "{status:?}"),
    }
    assert_eq!(stage.reason(WEAK).await, Reason::IpUnknown);
    // Retiring it still lives, and so does the fence.
    let replace = |grace| v1::RegenerateSecretRequest {
        key_id: made.id(),
        slot: Slot::Primary.into(),
        grace,
        ..Default::default()
    };
    ok(stage
        .acme
        .keys()
        .regenerate_secret(replace(duration(60)))
        .await);
    invalid(
        stage
            .acme
            .keys()
            .update_key(set(cidrs(&[]), "allowed_cidrs"))
            .await,
        "key.allowed_cidrs",
    );
    stage.advance(std::time::Duration::from_secs(60));
    ok(stage
        .acme
        .keys()
        .update_key(set(cidrs(&[]), "allowed_cidrs"))
        .await);
    // A weak one does not come in behind the fence's back either.
    let weak = v1::RegenerateSecretRequest {
        source: external_weak("Autumn2024!Spring2025"),
        force: true,
        ..replace(None)
    };
    invalid(
        stage.acme.keys().regenerate_secret(weak).await,
        "key.allowed_cidrs",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_in_use_is_refused_within_the_workspace_and_unseen_across() {
    let stage = Stage::set().await;
    let token = foreign_token(7);
    let holder = stage.make(import(external(&token), &[])).await;
    let before = stage.revision().await;
    for source in [external(&token), digest(&token, 256, false)] {
        let status = refused(
            stage
                .acme
                .keys()
                .create_key(import(source.clone(), &[]))
                .await,
            Code::AlreadyExists,
            "TOKEN_IN_USE",
        );
        assert!(
            status.message().contains(&holder.id()),
            "it names the key: {}",
            status.message()
        );
        assert!(!status.message().contains(&token));
        let other = stage.key(&[]).await;
        let request = v1::RegenerateSecretRequest {
            key_id: other.id(),
            source,
            ..Default::default()
        };
        refused(
            stage.acme.keys().regenerate_secret(request).await,
            Code::AlreadyExists,
            "TOKEN_IN_USE",
        );
        assert_eq!(
            stage.reason(&other.primary).await,
            Reason::Ok,
            "nothing was replaced"
        );
    }
    assert_ne!(stage.revision().await, before);
    // Not even a generated token of one's own can be handed in twice.
    let own = stage.key(&[]).await;
    refused(
        stage
            .acme
            .keys()
            .create_key(import(external(&own.primary), &[]))
            .await,
        Code::AlreadyExists,
        "TOKEN_IN_USE",
    );
    // Another tenant neither learns of it nor is kept from it, and each key goes on by itself.
    let request = v1::CreateKeyRequest {
        workspace: String::new(),
        ..import(external(&token), &[])
    };
    let theirs = ok(stage.other.keys().create_key(request).await)
        .key
        .unwrap();
    let asked = |workspace| stage.check(asking(workspace, &token, &[]));
    assert_eq!(asked("acme").await.key_id, holder.id());
    assert_eq!(asked("other").await.key_id, theirs.id);
    let delete = v1::DeleteKeyRequest {
        id: holder.id(),
        purge: true,
        ..Default::default()
    };
    ok(stage.acme.keys().delete_key(delete).await);
    assert_eq!(
        (asked("acme").await.reason(), asked("other").await.reason()),
        (Reason::UnknownKey, Reason::Ok)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_token_is_not_taken_back_and_its_key_is_named() {
    let stage = Stage::set().await;
    let (revoked, deleted, supplanted) = (foreign_token(8), foreign_token(9), foreign_token(10));
    let keys = || stage.acme.keys();
    let mut holders = Vec::new();
    for token in [&revoked, &deleted, &supplanted] {
        holders.push(stage.make(import(external(token), &[])).await);
    }
    let revoke = v1::RevokeSecretRequest {
        key_id: holders[0].id(),
        secret_id: holders[0].secret(Slot::Primary),
        ..Default::default()
    };
    ok(keys().revoke_secret(revoke).await);
    ok(keys()
        .delete_key(v1::DeleteKeyRequest {
            id: holders[1].id(),
            ..Default::default()
        })
        .await);
    ok(keys()
        .regenerate_secret(v1::RegenerateSecretRequest {
            key_id: holders[2].id(),
            ..Default::default()
        })
        .await);
    for (token, holder) in [&revoked, &deleted, &supplanted].into_iter().zip(&holders) {
        for source in [external(token), digest(token, 256, false)] {
            let status = refused(
                keys().create_key(import(source, &[])).await,
                Code::FailedPrecondition,
                "TOKEN_KNOWN_DEAD",
            );
            assert!(
                status.message().contains(&holder.id()),
                "{}",
                status.message()
            );
        }
    }
    // Not to its own key either.
    let back = v1::RegenerateSecretRequest {
        key_id: holders[0].id(),
        source: external(&revoked),
        ..Default::default()
    };
    let status = keys().regenerate_secret(back).await.unwrap_err();
    assert!(
        matches!(
            status.code(),
            Code::FailedPrecondition | Code::InvalidArgument
        ),
        "{status:?}"
    );
    assert_eq!(stage.reason(&revoked).await, Reason::SecretRevoked);
}
