//! Backups: what goes in comes out, in one snapshot, and what is damaged changes nothing.

use sea_orm::{ConnectionTrait as _, DbBackend, Statement};
use tokio::io::{AsyncReadExt as _, BufReader};

use super::*;
use crate::app::ports::{ImportRecord, KeylessUse};
use crate::domain::decision::Reason;
use crate::store::backup::{BackupError, Header, LEFT_OUT, NewHistory, Trailer};

const NEW: NewHistory = NewHistory {
    epoch: 8,
    now: Time::from_micros(9),
};

/// A database with a row in every table.
async fn full() -> (Home, SqlStore) {
    let (dir, store) = open().await;
    let mut tx = store.begin().await.unwrap();
    let acme = workspace("acme");
    tx.put_workspace(&acme).await.unwrap();
    tx.put_subscription(&subscription(&acme.id, "gold"))
        .await
        .unwrap();
    tx.put_scope(&scope(&acme.id, "orders:read")).await.unwrap();
    tx.put_principals(&[principal("joe@example.com", &["orders:read"])])
        .await
        .unwrap();
    tx.append(&change(Resource::Workspace(acme.id)))
        .await
        .unwrap();
    tx.put_route(&super::route("orders", "/orders"))
        .await
        .unwrap();
    let import = ImportRecord {
        import_id: "row 1".to_owned(),
        key: KeyId::from_u128(1),
        fingerprint: [4; 32],
    };
    tx.remember_imports(&super::acme(), &[import], at(3))
        .await
        .unwrap();
    tx.put_signing_secret(&signing_secret(1)).await.unwrap();
    tx.put_events(&[event(1, KeyId::from_u128(1))])
        .await
        .unwrap();
    commit(tx).await;
    let keys: Vec<_> = (1..=3).map(full_key).chain([key(9, "plain")]).collect();
    put(&store, &keys).await;
    store
        .flush_last_used(&[(keys[0].secrets[0].id, at(77))])
        .await
        .unwrap();
    let used = KeylessUse {
        workspace: super::acme(),
        route: "orders".parse().unwrap(),
        reason: Reason::NoCredential,
        count: 3,
        last: at(8),
    };
    store.add_keyless_uses(&[used]).await.unwrap();
    (dir, store)
}

async fn empty() -> (Home, SqlStore) {
    let home = Home::make().await;
    let store = home.open().await.unwrap();
    (home, store)
}

async fn backup(store: &SqlStore) -> Vec<u8> {
    let mut file = Vec::new();
    store.backup(&mut file, at(5)).await.unwrap();
    file
}

async fn restore(store: &SqlStore, file: &[u8]) -> Result<(Header, Trailer), BackupError> {
    store.restore(&mut &*file, &|_| true, NEW).await
}

/// The lines of a backup without header and trailer, by table.
fn by_table(file: &[u8]) -> BTreeMap<String, Vec<String>> {
    let text = std::str::from_utf8(file).unwrap();
    let mut tables = BTreeMap::new();
    let mut current: Option<&mut Vec<String>> = None;
    for line in text.lines() {
        let object: serde_json::Value = serde_json::from_str(line).unwrap();
        if let Some(name) = object.get("table") {
            let name = name.as_str().unwrap().to_owned();
            current = Some(tables.entry(name).or_default());
        } else if object.is_array() {
            current.as_mut().unwrap().push(line.to_owned());
        }
    }
    tables
}

#[tokio::test]
async fn what_a_backup_holds_comes_out_of_it_in_a_new_history() {
    let (_dir, store) = full().await;
    let file = backup(&store).await;
    let before = by_table(&file);
    assert!(before.values().all(|rows| !rows.is_empty()), "{before:?}");
    let (_dir, copy) = empty().await;
    let (header, _) = restore(&copy, &file).await.unwrap();
    assert_eq!(
        (header.epoch.as_str(), header.revision),
        ("00000007", 2),
        "{header:?}"
    );
    let mut after = by_table(&backup(&copy).await);
    // Another epoch, one revision more, and the change that says so; else every row is the same.
    let restored = after.get_mut("changes").unwrap().pop().unwrap();
    assert!(restored.contains("RESTORE"), "{restored}");
    assert!(restored.contains("00000007"), "{restored}");
    assert_eq!(after["counter"], ["[1,3]"]);
    let meta = copy.meta().await.unwrap().unwrap();
    let old = store.meta().await.unwrap().unwrap();
    assert_eq!(meta, Meta { epoch: 8, ..old });
    for (table, rows) in &before {
        if !["counter", "meta"].contains(&table.as_str()) {
            assert_eq!(&after[table], rows, "{table}");
        }
    }
    assert_eq!(
        copy.key(full_key(1).id).await.unwrap().unwrap().settings,
        full_key(1).settings
    );
    // It goes on from there.
    assert_eq!(put(&copy, &[key(50, "new")]).await, 4);
}

#[tokio::test]
async fn every_table_is_part_of_a_backup_or_left_out_for_a_reason() {
    let (_dir, store) = full().await;
    let tables = by_table(&backup(&store).await);
    let backend = store.reader.get_database_backend();
    let all = match backend {
        DbBackend::Postgres => {
            "SELECT table_name::text AS name FROM information_schema.tables WHERE table_schema = 'public'"
        }
        _ => "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'",
    };
    let all = Statement::from_string(backend, all);
    for row in store.reader.query_all_raw(all).await.unwrap() {
        let name: String = row.try_get("", "name").unwrap();
        let known = tables.contains_key(&name)
            || LEFT_OUT.contains(&name.as_str())
            || name == crate::store::migration::TABLE;
        assert!(known, "`{name}` is neither backed up nor left out");
    }
}

#[tokio::test]
async fn what_is_cut_off_or_changed_changes_nothing() {
    let (_dir, store) = full().await;
    let file = backup(&store).await;
    let (_dir, copy) = empty().await;
    for cut in (0..file.len()).step_by(97).chain([file.len() - 1]) {
        let error = restore(&copy, &file[..cut]).await.unwrap_err();
        let known = match cut {
            0 => matches!(error, BackupError::NotABackup),
            _ => matches!(error, BackupError::Cut),
        };
        assert!(known, "{cut}: {error:?}");
    }
    for at in (0..file.len()).step_by(61) {
        let mut changed = file.clone();
        changed[at] ^= 1;
        restore(&copy, &changed).await.unwrap_err();
    }
    let mut longer = file.clone();
    longer.extend_from_slice(b"[]\n");
    restore(&copy, &longer).await.unwrap_err();
    let lines: Vec<_> = file.split_inclusive(|byte| *byte == b'\n').collect();
    for gone in 1..lines.len() - 1 {
        let without: Vec<_> = [&lines[..gone], &lines[gone + 1..]].concat();
        restore(&copy, &without.concat()).await.unwrap_err();
    }
    assert_eq!(copy.meta().await.unwrap(), None);
    restore(&copy, &file).await.unwrap();
}

#[tokio::test]
async fn a_database_in_use_another_root_key_and_a_newer_format_are_refused() {
    let (_dir, store) = full().await;
    let file = backup(&store).await;
    let before = by_table(&file);
    let error = restore(&store, &file).await.unwrap_err();
    assert!(matches!(error, BackupError::NotEmpty), "{error:?}");
    assert_eq!(by_table(&backup(&store).await), before);

    let (_dir, copy) = empty().await;
    let refuses = |meta: &Meta| meta.wrapped_keys != [1, 2, 3];
    let error = copy.restore(&mut &*file, &refuses, NEW).await.unwrap_err();
    assert!(matches!(error, BackupError::WrongRootKey), "{error:?}");

    let text = String::from_utf8(file.clone()).unwrap();
    let newer = text.replacen("\"claviger_backup\":1", "\"claviger_backup\":2", 1);
    let error = restore(&copy, newer.as_bytes()).await.unwrap_err();
    assert!(matches!(error, BackupError::Newer(_)), "{error:?}");
    let newer = text.replacen("\"m0001_initial\"", "\"m0001_initial\",\"m9999_later\"", 1);
    let error = restore(&copy, newer.as_bytes()).await.unwrap_err();
    assert!(matches!(error, BackupError::Newer(_)), "{error:?}");
    for other in ["", "{}\n", "id,name\n1,2\n", "\0\0\n"] {
        let error = restore(&copy, other.as_bytes()).await.unwrap_err();
        assert!(matches!(error, BackupError::NotABackup), "{error:?}");
    }
    restore(&copy, &file).await.unwrap();
}

#[tokio::test]
async fn a_backup_is_one_snapshot_whatever_is_written_meanwhile() {
    let (_dir, store) = full().await;
    let many: Vec<_> = (1_000..1_400).map(|n| key(n, &"n".repeat(400))).collect();
    put(&store, &many).await;
    let before = by_table(&backup(&store).await);
    // The pipe holds less than is collected before a write: the backup stands still at its first, until somebody reads.
    let (mut out, from) = tokio::io::duplex(64);
    let writing = store.clone();
    let written = async move { writing.backup(&mut out, at(6)).await.unwrap() };
    let meanwhile = async {
        let mut from = BufReader::new(from);
        let mut file = vec![0; 64];
        from.read_exact(&mut file).await.unwrap();
        put(&store, &[key(1_000, "renamed"), key(5_000, "new")]).await;
        let mut tx = store.begin().await.unwrap();
        tx.purge_key(KeyId::from_u128(1_399)).await.unwrap();
        commit(tx).await;
        from.read_to_end(&mut file).await.unwrap();
        file
    };
    let (_, file) = tokio::join!(written, meanwhile);
    assert_eq!(by_table(&file), before);
    assert_ne!(by_table(&backup(&store).await), before);
}
