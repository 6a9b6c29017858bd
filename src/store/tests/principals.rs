//! Principals: as they were written, found again by whatever they are looked for.

use sea_orm::ConnectionTrait as _;

use super::*;
use crate::app::ports::{Loaded, PrincipalQuery};

fn query() -> PrincipalQuery {
    PrincipalQuery {
        workspace: acme(),
        name_contains: None,
        enabled: None,
        after: None,
        limit: 1_000,
    }
}

/// Writes principals in one mutation, with their changes.
async fn write(store: &SqlStore, all: &[Principal]) -> u64 {
    let mut tx = store.begin().await.unwrap();
    tx.put_principals(all).await.unwrap();
    let of = |p: &Principal| change(Resource::Principal(p.workspace.clone(), p.id.clone()));
    let changes: Vec<_> = all.iter().map(of).collect();
    tx.append_many(&changes).await.unwrap();
    commit(tx).await
}

#[tokio::test]
async fn principals_are_written_in_numbers_and_read_back_as_they_were() {
    let (_home, store) = open().await;
    let mut all: Vec<_> = (0..250)
        .map(|n| principal(&format!("user-{n:03}"), &["a:b", "claviger:keys:self"]))
        .collect();
    write(&store, &all).await;
    all[7].enabled = false;
    all[8].scopes.clear();
    write(&store, &all[7..9]).await;
    assert_eq!(store.list_principals(&query()).await.unwrap(), all);
    let mut tx = store.begin().await.unwrap();
    let ids: Vec<_> = all.iter().map(|p| p.id.clone()).collect();
    let mut found = tx.principals(&acme(), &ids).await.unwrap();
    found.sort_by(|a, b| a.id.cmp(&b.id));
    assert_eq!(found, all);
    let missing = "nobody".parse().unwrap();
    assert_eq!(tx.principal(&acme(), &missing).await.unwrap(), None);
    assert_eq!(
        tx.principal(&acme(), &all[7].id).await.unwrap(),
        Some(all[7].clone())
    );
}

#[tokio::test]
async fn feed_and_load_bring_principals_and_those_that_are_gone() {
    let (_home, store) = open().await;
    let (joe, ann) = (principal("joe", &["a"]), principal("ann", &[]));
    write(&store, &[joe.clone(), ann.clone()]).await;
    let mut loaded = Vec::new();
    store.load(&mut |piece| loaded.push(piece)).await.unwrap();
    let principals = loaded.into_iter().filter_map(|piece| match piece {
        Loaded::Principal(principal) => Some(principal),
        _ => None,
    });
    assert_eq!(principals.collect::<Vec<_>>(), [ann.clone(), joe.clone()]);
    let mut tx = store.begin().await.unwrap();
    tx.delete_principal(&acme(), &joe.id).await.unwrap();
    let gone = change(Resource::Principal(acme(), joe.id.clone()));
    tx.append(&gone).await.unwrap();
    commit(tx).await;
    let batch = store.feed(0, 100).await.unwrap();
    let place = |p: &Principal| (acme(), p.id.clone());
    assert_eq!(
        batch.principals,
        [(place(&ann), Some(ann.clone())), (place(&joe), None)]
    );
}

#[tokio::test]
async fn a_principal_is_found_by_exactly_the_grants_it_lists() {
    let (_home, store) = open().await;
    let many: Vec<_> = (0..1_200)
        .map(|n| principal(&format!("odd-{n:04}"), &["Pick_1", "pickX1", "a:b:*"]))
        .collect();
    write(&store, &many).await;
    let mut tx = store.begin().await.unwrap();
    let mut found = async |grants: &[&str]| {
        let grants: Vec<_> = grants.iter().map(|g| (*g).to_owned()).collect();
        tx.principal_with_grant(&acme(), &grants).await.unwrap()
    };
    for missing in [&["pick_1"][..], &["a:b"], &["a:*"], &["pick%"], &[]] {
        assert_eq!(found(missing).await, None, "{missing:?}");
    }
    assert_eq!(found(&["nothing", "a:b:*"]).await, Some(many[0].id.clone()));
    drop(tx);
    let last = principal("zoe", &["pick_1"]);
    write(&store, std::slice::from_ref(&last)).await;
    let mut tx = store.begin().await.unwrap();
    let found = tx
        .principal_with_grant(&acme(), &["pick_1".to_owned()])
        .await;
    assert_eq!(found.unwrap(), Some(last.id));
}

#[tokio::test]
async fn a_change_keeps_on_whose_behalf_it_was_made() {
    let (_home, store) = open().await;
    let mut tx = store.begin().await.unwrap();
    let key = KeyId::from_u128(5);
    for actor in [
        Actor::Key(key),
        Actor::OnBehalf(key, "joe".parse().unwrap()),
    ] {
        let change = Change {
            actor,
            ..key_change(1)
        };
        tx.append(&change).await.unwrap();
    }
    commit(tx).await;
    let select = "SELECT actor, on_behalf_of FROM changes ORDER BY ordinal";
    let backend = store.reader.get_database_backend();
    let rows = store
        .reader
        .query_all_raw(sea_orm::Statement::from_string(backend, select))
        .await
        .unwrap();
    let read = |row: &sea_orm::QueryResult| -> (String, Option<String>) {
        (
            row.try_get_by_index(0).unwrap(),
            row.try_get_by_index(1).unwrap(),
        )
    };
    let key = key.to_string();
    let expected = [(key.clone(), None), (key, Some("joe".to_owned()))];
    assert_eq!(rows.iter().map(read).collect::<Vec<_>>(), expected);
}
