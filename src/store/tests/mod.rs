//! The port's promises, on a database of its own for each test: the same tests on SQLite and on PostgreSQL.

mod audit;
mod backup;
mod bulk;
mod feed;
mod home;
mod list;
mod open;
mod outbox;
mod principals;
mod recorded;
mod records;
mod replicas;
mod routes;
mod shared;
mod sqlite_only;

use std::collections::BTreeMap;

use home::Home;

use super::SqlStore;
use crate::app::ports::outbox::{NewEvent, SigningSecret};
use crate::app::ports::{Actor, Change, Meta, Resource, Store, Tx};
use crate::domain::id::{EventId, KeyId, SecretId, SigningSecretId, SubscriptionId, WorkspaceId};
use crate::domain::key::{Enforcement, Key, KeySettings};
use crate::domain::network;
use crate::domain::principal::{Principal, ScopeSource};
use crate::domain::route::{Route, RouteSettings};
use crate::domain::scope::Grant;
use crate::domain::secret::{Origin, RevocationReason, Secret, Slot};
use crate::domain::time::Time;
use crate::domain::token::Tag;
use crate::domain::workspace::{Presentation, Scope, Subscription, Workspace, WorkspaceSettings};

/// An event of a key of `acme`, made at 20.
fn event(n: u128, key: KeyId) -> NewEvent {
    NewEvent {
        id: EventId::from_u128(n),
        workspace: acme(),
        key,
        kind: "message.delivered".to_owned(),
        once: Some(format!("event:{n}")),
        data: "{\"n\": 1}".to_owned(),
        url: "https://example.com/hook".to_owned(),
        time: at(20),
    }
}

fn signing_secret(n: u128) -> SigningSecret {
    SigningSecret {
        id: SigningSecretId::from_u128(n),
        workspace: acme(),
        sealed: vec![5; 60],
        create_time: at(3),
        expire_time: None,
    }
}

async fn open() -> (Home, SqlStore) {
    let home = Home::make().await;
    let store = home.open().await.unwrap();
    initialise(&store).await;
    (home, store)
}

/// The same on SQLite, wherever the other tests run.
async fn open_sqlite() -> (Home, SqlStore) {
    let home = Home::Folder(tempfile::tempdir().unwrap());
    let store = home.open().await.unwrap();
    initialise(&store).await;
    (home, store)
}

async fn initialise(store: &SqlStore) {
    let meta = Meta {
        epoch: 7,
        wrapped_keys: vec![1, 2, 3],
        bootstrapped: false,
    };
    store.initialise(&meta).await.unwrap();
}

fn at(micros: i64) -> Time {
    Time::from_micros(micros)
}

fn acme() -> WorkspaceId {
    "acme".parse().unwrap()
}

fn sub(id: &str) -> SubscriptionId {
    id.parse().unwrap()
}

fn tag(n: u128) -> Tag {
    let mut bytes = [0; 32];
    bytes[..16].copy_from_slice(&n.to_be_bytes());
    Tag::from_bytes(bytes)
}

fn secret(n: u128, slot: Slot) -> Secret {
    Secret {
        prefix: "clv".to_owned(),
        hint: "clv_…abcd".to_owned(),
        ..Secret::new(
            SecretId::from_u128(n),
            slot,
            tag(n),
            Origin::Generated,
            at(10),
        )
    }
}

/// A plain key with one secret, `n * 100`.
fn key(n: u128, name: &str) -> Key {
    Key {
        id: KeyId::from_u128(n),
        workspace: acme(),
        settings: KeySettings {
            display_name: name.to_owned(),
            ..KeySettings::default()
        },
        secrets: vec![secret(n * 100, Slot::Primary)],
        create_time: at(10),
        update_time: at(10),
        delete_time: None,
        purge_time: None,
        revision: 1,
    }
}

/// A key with every field set.
fn full_key(n: u128) -> Key {
    // The younger id comes first: order is the list's, not the ids'.
    let mut old = secret(n * 100 + 1, Slot::Primary);
    old.retire_time = Some(at(40));
    old.revoke_time = Some(at(30));
    old.revocation_reason = RevocationReason::KeyCompromise;
    old.origin = Origin::ExternalDigest;
    old.weak = true;
    old.prefix = String::new();
    let mut new = secret(n * 100, Slot::Secondary);
    new.sealed = Some(vec![9; 70]);
    new.regenerated = true;
    new.acknowledge_time = Some(at(35));
    let mut key = key(n, "Größe & 100%");
    key.secrets = vec![old, new];
    key.settings = KeySettings {
        display_name: "Größe & 100%".to_owned(),
        description: "two\nlines".to_owned(),
        scopes: vec![
            Grant::parse("messages:*").unwrap(),
            Grant::parse("orders:read").unwrap(),
        ],
        scope_source: ScopeSource::Principal,
        principal: Some("joe@example.com".parse().unwrap()),
        subscriptions: vec![sub("gold"), sub("silver")],
        allowed_cidrs: vec![
            network::parse("192.0.2.0/24").unwrap(),
            network::parse("2001:db8::/48").unwrap(),
        ],
        postback_url: "https://example.com/hook".to_owned(),
        off_the_record: true,
        enabled: false,
        expire_time: Some(at(99)),
        labels: BTreeMap::from([("team".to_owned(), "a=b".to_owned())]),
        enforcement: Enforcement {
            shadow_network: true,
            shadow_presentation: false,
            shadow_subscription: true,
            shadow_scopes: false,
        },
    };
    key.delete_time = Some(at(50));
    key.purge_time = Some(at(60));
    key.revision = 12;
    key
}

fn workspace(id: &str) -> Workspace {
    Workspace {
        id: id.parse().unwrap(),
        display_name: format!("The {id}"),
        enabled: true,
        settings: WorkspaceSettings {
            recoverable: true,
            ..WorkspaceSettings::default()
        },
        create_time: at(1),
        update_time: at(2),
        revision: 3,
    }
}

fn subscription(workspace: &WorkspaceId, id: &str) -> Subscription {
    Subscription {
        workspace: workspace.clone(),
        id: sub(id),
        display_name: String::new(),
        enabled: false,
        create_time: at(1),
        update_time: at(2),
        revision: 3,
    }
}

fn scope(workspace: &WorkspaceId, name: &str) -> Scope {
    Scope {
        workspace: workspace.clone(),
        name: name.to_owned(),
        display_name: "n".to_owned(),
        description: "d".to_owned(),
        presentations: [Presentation::Query, Presentation::Basic]
            .into_iter()
            .collect(),
        implies: vec![Grant::parse("claviger:keys:read").unwrap()],
        create_time: at(1),
        update_time: at(2),
        revision: 3,
    }
}

fn route(id: &str, path: &str) -> Route {
    Route {
        workspace: acme(),
        id: id.parse().unwrap(),
        settings: RouteSettings {
            path: Some(path.parse().unwrap()),
            hosts: vec!["*.example.com".parse().unwrap()],
            claims_hosts: true,
            ..RouteSettings::default()
        },
        keyless: true,
        create_time: at(1),
        update_time: at(2),
        revision: 3,
    }
}

fn principal(id: &str, scopes: &[&str]) -> Principal {
    Principal {
        workspace: acme(),
        id: id.parse().unwrap(),
        display_name: format!("The {id}"),
        enabled: true,
        scopes: scopes.iter().map(|s| Grant::parse(s).unwrap()).collect(),
        create_time: at(1),
        update_time: at(2),
        revision: 3,
    }
}

fn change(resource: Resource) -> Change {
    Change {
        actor: Actor::Bootstrap,
        action: "CREATE",
        resource,
        before: None,
        after: Some(serde_json::json!({"a": 1})),
        time: at(5),
    }
}

fn key_change(id: u128) -> Change {
    change(Resource::Key(acme(), KeyId::from_u128(id)))
}

/// Writes keys in one mutation, with their changes; returns its revision.
async fn put(store: &SqlStore, keys: &[Key]) -> u64 {
    let mut tx = store.begin().await.unwrap();
    for key in keys {
        tx.put_key(key).await.unwrap();
        let resource = Resource::Key(key.workspace.clone(), key.id);
        tx.append(&change(resource)).await.unwrap();
    }
    commit(tx).await
}

async fn commit(tx: Box<dyn Tx>) -> u64 {
    let revision = tx.revision();
    tx.commit().await.unwrap();
    revision
}
