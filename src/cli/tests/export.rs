//! `claviger export`, and that an import takes what it writes.

use std::os::unix::fs::PermissionsExt as _;

use super::super::Exit;
use super::fake::{Fake, run};
use crate::grpc::proto::v1;
use v1::secret_source::Source;

fn secret(slot: i32, origin: i32, weak: bool, state: i32, digest: &str) -> v1::Secret {
    v1::Secret {
        id: format!("sec_{slot}"),
        slot,
        state,
        origin,
        weak,
        sha256_hex: digest.to_owned(),
        ..Default::default()
    }
}

/// Keys with everything that a key can say.
fn keys() -> Vec<v1::Key> {
    let full = v1::Key {
        id: "key_full".to_owned(),
        workspace: "acme".to_owned(),
        display_name: "Shop, \"鍵\"".to_owned(),
        description: "two\nlines".to_owned(),
        scopes: vec!["a".to_owned(), "b:*".to_owned()],
        subscriptions: vec!["gold".to_owned()],
        allowed_cidrs: vec!["10.0.0.0/8".to_owned(), "2001:db8::/48".to_owned()],
        postback_url: "https://example.com/x".to_owned(),
        off_the_record: true,
        enabled: Some(false),
        expire_time: Some(prost_types::Timestamp {
            seconds: 1_798_761_600,
            nanos: 5,
        }),
        create_time: Some(prost_types::Timestamp {
            seconds: 1_700_000_000,
            nanos: 0,
        }),
        labels: [("team", "a;b"), ("x", "y=z")]
            .map(|(n, v)| (n.to_owned(), v.to_owned()))
            .into(),
        enforcement: Some(v1::Enforcement {
            network: 2,
            presentation: 1,
            subscription: 1,
            scopes: 2,
        }),
        secrets: vec![
            secret(1, 1, false, 1, "aa"),
            secret(2, 3, true, 1, "bb"),
            secret(1, 1, false, 2, "cc"),
        ],
        ..Default::default()
    };
    let second_only = v1::Key {
        id: "key_second".to_owned(),
        display_name: "second".to_owned(),
        enabled: Some(true),
        secrets: vec![secret(2, 2, false, 1, "dd")],
        ..Default::default()
    };
    vec![full, second_only]
}

async fn exported(args: &[&str]) -> String {
    let [first, second] = keys().try_into().unwrap();
    let fake = Fake::with_pages(vec![vec![first], vec![second]]);
    let (exit, io) = run(&fake, args, b"").await;
    assert_eq!(exit, Exit::Ok, "{}", io.err());
    assert!(io.err().starts_with("exported 2 keys\n"), "{}", io.err());
    assert!(fake.calls.lock().unwrap()[0].contains("page_size: 1000"));
    io.out()
}

#[tokio::test]
async fn an_import_takes_what_an_export_writes() {
    let mut read = Vec::new();
    for format in ["jsonl", "csv"] {
        let file = exported(&["export", "--with-digests", "--format", format]).await;
        let fake = Fake::default();
        let (exit, io) = run(&fake, &["import", "-"], file.as_bytes()).await;
        assert_eq!(exit, Exit::Ok, "{}", io.err());
        let items = fake.imported.lock().unwrap().clone();
        for (item, key) in items.iter().zip(keys()) {
            assert_eq!(item.import_id, key.id);
            let made = item.key.clone().unwrap();
            let expected = v1::Key {
                id: String::new(),
                workspace: String::new(),
                secrets: Vec::new(),
                // A table says only what is in shadow.
                enforcement: key.enforcement.map(|e| {
                    if format == "csv" {
                        v1::Enforcement {
                            presentation: 0,
                            subscription: 0,
                            ..e
                        }
                    } else {
                        e
                    }
                }),
                ..key
            };
            assert_eq!(made, expected, "{format}");
        }
        let digest = |source: &Option<v1::SecretSource>| match source
            .as_ref()
            .and_then(|s| s.source.clone())
        {
            Some(Source::ExternalDigest(d)) => {
                (d.sha256_hex, d.asserted_entropy_bits, d.allow_weak)
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(digest(&items[0].primary), ("aa".to_owned(), 256, false));
        assert_eq!(digest(&items[0].secondary), ("bb".to_owned(), 0, true));
        assert_eq!(digest(&items[1].primary), ("dd".to_owned(), 112, false));
        assert_eq!(items[1].secondary, None);
        read.push(items.len());
    }
    assert_eq!(read, [2, 2]);
}

#[tokio::test]
async fn without_digests_it_is_an_inventory() {
    let [first, second] = keys().try_into().unwrap();
    let bare = |key: v1::Key| v1::Key {
        secrets: Vec::new(),
        ..key
    };
    let fake = Fake::with_pages(vec![vec![bare(first), bare(second)]]);
    let (exit, io) = run(&fake, &["export"], b"").await;
    assert_eq!(exit, Exit::Ok);
    assert!(
        io.err().contains("without digests they can't be imported"),
        "{}",
        io.err()
    );
    assert!(
        !io.out().contains("primary") && io.out().contains("\"state\""),
        "{}",
        io.out()
    );
    assert!(fake.calls.lock().unwrap()[0].contains("view: Unspecified"));
}

#[tokio::test]
async fn a_file_is_written_whole_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys.jsonl");
    let flag = format!("--output-file={}", path.display());
    assert_eq!(exported(&["export", "--with-digests", &flag]).await, "");
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!(text.lines().count(), 2);
    assert_eq!(
        std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    // The second page is refused.
    let mut pages = Fake::with_pages(vec![vec![], vec![]])
        .pages
        .lock()
        .unwrap()
        .clone();
    pages.truncate(1);
    let fake = Fake::default();
    *fake.pages.lock().unwrap() = pages;
    let (exit, io) = run(&fake, &["export", &flag], b"").await;
    assert_eq!(exit, Exit::Denied);
    assert!(io.err().contains("was not written"), "{}", io.err());
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}
