//! The digest of the index beside that of the database: equal while changes are made, and different where one record is.

use std::sync::atomic::{AtomicBool, Ordering};

use claviger::app::ports::{Actor, Change, Feed as _, Loaded, Resource, Store as _, Verified};
use claviger::domain::id::{KeyId, SecretId};
use claviger::domain::key::Key;
use claviger::domain::principal::Principal;
use claviger::domain::route::{Route, RouteSettings};
use claviger::domain::scope::Grant;
use claviger::domain::secret::{Origin, Secret, Slot};
use claviger::domain::token::Tag;
use claviger::domain::workspace::{PresentationSet, Scope, Subscription};
use claviger::index::digest::Kind;

use super::stage::{Stage, settings, stage, subscription, workspace};

const KEYS: u128 = 1_000;

fn key(n: u128, revision: u64, stage: &Stage) -> Key {
    let now = stage.core.clock.now();
    let mut tag = [7; 32];
    tag[..16].copy_from_slice(
        &n.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_0c21)
            .to_be_bytes(),
    );
    let id = SecretId::from_u128(1 << 80 | n);
    let secret = Secret::new(
        id,
        Slot::Primary,
        Tag::from_bytes(tag),
        Origin::Generated,
        now,
    );
    Key {
        id: KeyId::from_u128(1 << 80 | n),
        workspace: workspace(),
        settings: settings(),
        secrets: vec![secret],
        create_time: now,
        update_time: now,
        delete_time: None,
        purge_time: None,
        revision,
    }
}

/// Makes at least one of each kind, as another process would, and applies it.
async fn fill(stage: &Stage) {
    let now = stage.core.clock.now();
    let mut tx = stage.store.begin().await.unwrap();
    let revision = tx.revision();
    let scope = Scope {
        workspace: workspace(),
        name: "orders:read".to_owned(),
        display_name: String::new(),
        description: String::new(),
        presentations: PresentationSet::default(),
        implies: Vec::new(),
        create_time: now,
        update_time: now,
        revision,
    };
    let gold = Subscription {
        workspace: workspace(),
        id: subscription(),
        display_name: "Gold".to_owned(),
        enabled: true,
        create_time: now,
        update_time: now,
        revision,
    };
    let principal = Principal {
        workspace: workspace(),
        id: "alice".parse().unwrap(),
        display_name: "Alice".to_owned(),
        enabled: true,
        scopes: vec![Grant::parse("orders:read").unwrap()],
        create_time: now,
        update_time: now,
        revision,
    };
    let route = Route {
        workspace: workspace(),
        id: "orders".parse().unwrap(),
        settings: RouteSettings {
            hosts: vec!["orders.example.com".parse().unwrap()],
            claims_hosts: true,
            path: Some("/orders/{id}".parse().unwrap()),
            ..RouteSettings::default()
        },
        keyless: false,
        create_time: now,
        update_time: now,
        revision,
    };
    let keys: Vec<_> = (0..KEYS).map(|n| key(n, revision, stage)).collect();
    tx.put_scope(&scope).await.unwrap();
    tx.put_subscription(&gold).await.unwrap();
    tx.put_principals(std::slice::from_ref(&principal))
        .await
        .unwrap();
    tx.put_route(&route).await.unwrap();
    tx.put_new_keys(&keys).await.unwrap();
    let resources = [
        Resource::Scope(workspace(), scope.name),
        Resource::Subscription(workspace(), gold.id),
        Resource::Principal(workspace(), principal.id),
        Resource::Route(workspace(), route.id),
    ];
    let keys = keys.iter().map(|key| Resource::Key(workspace(), key.id));
    for resource in resources.into_iter().chain(keys) {
        tx.append(&change(stage, resource)).await.unwrap();
    }
    tx.commit().await.unwrap();
    stage.follower.catch_up(stage.at(revision)).await.unwrap();
}

fn change(stage: &Stage, resource: Resource) -> Change {
    Change {
        actor: Actor::Service,
        action: "UPDATE",
        resource,
        before: None,
        after: None,
        time: stage.core.clock.now(),
    }
}

/// The kinds that differ.
fn differing(found: &Verified) -> Vec<&'static str> {
    let differ = |kind: &Kind| found.index.of(*kind) != found.database.of(*kind);
    let kinds = Kind::ALL.into_iter().filter(differ);
    kinds.map(Kind::as_str).collect()
}

async fn verify(stage: &Stage) -> Verified {
    let found = stage.follower.verify().await.unwrap();
    assert_eq!(found.revision, stage.core.index.applied());
    found
}

async fn pieces(stage: &Stage) -> Vec<Loaded> {
    let mut pieces = Vec::new();
    let mut take = |piece| pieces.push(piece);
    stage.store.load(&mut take).await.unwrap();
    pieces
}

/// Puts a record into the index, as it is or as nobody made it. Returns the kinds that then differ.
fn put(stage: &Stage, piece: &Loaded, wrong: bool) -> &'static [&'static str] {
    let index = stage.core.index.whole();
    let n = index.applied().n;
    match piece.clone() {
        Loaded::Workspace(mut found, scopes) if scopes.is_empty() => {
            found.enabled ^= wrong;
            index.put_workspace(&found, &scopes, n);
            &["workspaces"]
        }
        Loaded::Workspace(found, mut scopes) => {
            if wrong {
                scopes[0].presentations = PresentationSet::defaults();
            }
            index.put_workspace(&found, &scopes, n);
            &["scopes"]
        }
        Loaded::Subscription(mut found) => {
            found.enabled ^= wrong;
            index.put_subscription(&found);
            &["subscriptions"]
        }
        Loaded::Principal(mut found) => {
            found.enabled ^= wrong;
            index.put_principal(&found);
            &["principals"]
        }
        Loaded::Route(mut found) => {
            // Whose the host is goes with it.
            found.settings.claims_hosts ^= wrong;
            index.put_routes([(found.workspace.clone(), found.id.clone(), Some(*found))]);
            &["routes", "hosts"]
        }
        Loaded::Key(mut found) if found.id.as_u128() % 2 == 0 => {
            found.settings.off_the_record ^= wrong;
            index.put_key(&found);
            &["keys", "secrets"]
        }
        Loaded::Key(mut found) => {
            found.secrets[0].weak ^= wrong;
            index.put_key(&found);
            &["secrets"]
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_of_whatever_kind_that_is_not_as_in_the_database_is_found_and_named() {
    let stage = stage().await;
    fill(&stage).await;
    let found = verify(&stage).await;
    assert_eq!(differing(&found), [""; 0]);
    for kind in Kind::ALL {
        assert!(found.index.of(kind).count > 0, "{}", kind.as_str());
    }
    // One administrator, too.
    assert_eq!(u128::from(found.index.of(Kind::Keys).count), KEYS + 1);

    let mut named = std::collections::BTreeSet::<&str>::new();
    let pieces = pieces(&stage).await;
    let (keys, others): (Vec<_>, Vec<_>) = pieces
        .iter()
        .partition(|piece| matches!(piece, Loaded::Key(_)));
    for piece in others.into_iter().chain(keys.into_iter().rev().take(4)) {
        let expected = put(&stage, piece, true);
        assert_eq!(differing(&verify(&stage).await), expected, "{piece:?}");
        named.extend(expected);
        put(&stage, piece, false);
        assert_eq!(differing(&verify(&stage).await), [""; 0], "{piece:?}");
    }
    assert_eq!(named.len(), Kind::ALL.len(), "{named:?}");

    // One that is missing.
    stage
        .core
        .index
        .whole()
        .remove_key(KeyId::from_u128(1 << 80 | 5));
    let found = verify(&stage).await;
    assert_eq!(differing(&found), ["keys", "secrets"]);
    let (here, there) = (found.index.of(Kind::Keys), found.database.of(Kind::Keys));
    assert_eq!(here.count + 1, there.count);
}

#[tokio::test(flavor = "multi_thread")]
async fn digests_are_equal_while_changes_go_on() {
    let stage = stage().await;
    fill(&stage).await;
    let done = AtomicBool::new(false);
    let change = async {
        let mut n = 0;
        while !done.load(Ordering::SeqCst) {
            let mut tx = stage.store.begin().await.unwrap();
            let revision = tx.revision();
            // Some that the walk has passed, some that it has not; some go, and some come.
            for step in 0..4 {
                n = (n + 397) % KEYS;
                let id = KeyId::from_u128(1 << 80 | n);
                let found = tx.key(id).await.unwrap();
                match found {
                    Some(_) if step == 3 => tx.purge_key(id).await.unwrap(),
                    Some(mut found) => {
                        (found.settings.enabled, found.revision) =
                            (!found.settings.enabled, revision);
                        tx.put_key(&found).await.unwrap();
                    }
                    None => tx.put_key(&key(n, revision, &stage)).await.unwrap(),
                }
                let resource = Resource::Key(workspace(), id);
                tx.append(&self::change(&stage, resource)).await.unwrap();
            }
            tx.commit().await.unwrap();
            stage.follower.catch_up(stage.at(revision)).await.unwrap();
        }
    };
    let verify = async {
        let begun = stage.applied();
        for _ in 0..10 {
            let before = stage.applied();
            let found = stage.follower.verify().await.unwrap();
            assert_eq!(differing(&found), [""; 0], "{found:?}");
            assert!((before..=stage.applied()).contains(&found.revision.n));
        }
        done.store(true, Ordering::SeqCst);
        assert!(stage.applied() > begun);
    };
    futures::future::join(change, verify).await;
    let found = stage.follower.verify().await.unwrap();
    assert_eq!(differing(&found), [""; 0]);
}
