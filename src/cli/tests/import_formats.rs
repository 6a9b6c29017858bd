//! `claviger import`: the formats, as files come.

use super::super::Exit;
use super::super::io::testing::Captured;
use super::fake::{Fake, run};
use crate::grpc::proto::v1;
use v1::secret_source::Source;

async fn import(args: &[&str], file: &str) -> (Exit, Vec<v1::ImportItem>, Captured) {
    let fake = Fake::default();
    let args: Vec<_> = ["import", "-"].iter().chain(args).copied().collect();
    let (exit, io) = run(&fake, &args, file.as_bytes()).await;
    let items = fake.imported.lock().unwrap().clone();
    assert!(!io.err().contains("s3cret"), "{}", io.err());
    (exit, items, io)
}

fn token(item: &v1::ImportItem) -> &str {
    match item.primary.as_ref().and_then(|p| p.source.as_ref()) {
        Some(Source::ExternalToken(token)) => &token.token,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_table_names_its_columns() {
    let file = "\u{feff}import_id, display_name ,token,labels,enabled,expire_time,shadow,secondary_sha256_hex,secondary_asserted_bits\r\n\
                1,\"Shop, \"\"big\"\"\nand wide\",s3cret-1,team=a; x=b,no,2027-01-01T00:00:00Z,network;scopes,00,128\r\n\
                2,鍵,s3cret-2,\"{\"\"a\"\": \"\"x;y\"\"}\",,never,,,\r\n";
    let (exit, items, io) = import(&[], file).await;
    assert_eq!(exit, Exit::Ok, "{}", io.err());
    let key = items[0].key.as_ref().unwrap();
    assert_eq!(key.display_name, "Shop, \"big\"\nand wide");
    assert_eq!(
        (key.labels["team"].as_str(), key.labels["x"].as_str()),
        ("a", "b")
    );
    assert_eq!(key.enabled, Some(false));
    assert_eq!(key.expire_time.unwrap().seconds, 1_798_761_600);
    let modes = key.enforcement.unwrap();
    assert_eq!(
        (
            modes.network,
            modes.presentation,
            modes.subscription,
            modes.scopes
        ),
        (2, 0, 0, 2)
    );
    assert!(matches!(
        items[0].secondary.as_ref().unwrap().source,
        Some(Source::ExternalDigest(_))
    ));
    assert_eq!(
        (token(&items[0]), token(&items[1])),
        ("s3cret-1", "s3cret-2")
    );
    assert_eq!(items[1].key.as_ref().unwrap().labels["a"], "x;y");
}

#[tokio::test]
async fn columns_and_rows_that_are_wrong_are_named() {
    for (file, said) in [
        (
            "import_id,tokn,Scopes\n",
            "error: unknown columns `tokn`, `Scopes`\n  there are: import_id, display_name,",
        ),
        (
            "display_name,token\na,s3cret\n",
            "error: there is no column `import_id`",
        ),
        (
            "import_id,token,token\n",
            "error: two columns are named `token`",
        ),
    ] {
        let (exit, items, io) = import(&["--format=csv"], file).await;
        assert_eq!((exit, items.len()), (Exit::Usage, 0), "{file}");
        assert!(io.err().starts_with(said), "{}", io.err());
    }
    let file = "import_id,token,enabled,expire_time,labels\n\
                1,s3cret,maybe,,\n2,s3cret\n3,s3cret,,soon,\n4,s3cret,,,s3cret\n,s3cret,,,\n6,,,,\n7,s3cret,,,\n";
    let (exit, items, io) = import(&[], file).await;
    assert_eq!((exit, items.len()), (Exit::Failed, 1));
    for said in [
        "line 2 (1): `enabled` must be `true` or `false`",
        "line 3 (no import_id): the row has 2 fields, and the first line names 5",
        "line 4 (3): `expire_time` must be a moment",
        "line 5 (4): `labels` must be `NAME=VALUE`",
        "line 6 (no import_id): `import_id` is missing",
        "line 7 (6): `primary` is missing",
    ] {
        assert!(io.err().contains(said), "{said}\n{}", io.err());
    }
}

#[tokio::test]
async fn keys_of_unkey_come_as_a_request_an_answer_or_lines() {
    let hash = "c4fbfe7c69a067cb0841dea343346a750a69908a08ea9656d2a8c19fb0823c64";
    let request = format!(
        r#"{{"migrationId": "m", "apiId": "api_1", "keys": [
            {{"hash": "{hash}", "name": "one", "permissions": ["a:read"]}},
            {{"hash": "bcrypt-s3cret", "name": "two"}},
            {{"hash": "{hash}", "name": "three", "credits": {{"remaining": 3}}}}
        ]}}"#
    );
    let (exit, items, io) = import(&["--asserted-bits=128"], &request).await;
    assert_eq!(exit, Exit::Failed);
    assert_eq!(items.len(), 1);
    assert_eq!(items[0].key.as_ref().unwrap().scopes, ["a:read"]);
    assert!(
        io.err()
            .contains("line 3 (no import_id): `hash` is no SHA-256"),
        "{}",
        io.err()
    );
    assert!(
        io.err()
            .contains("`credits` Claviger does not count or limit use (UNSUPPORTED)"),
        "{}",
        io.err()
    );
    let answer = r#"{"meta": {"requestId": "r"}, "data": [{"keyId": "key_a", "start": "s", "plaintext": "s3cret-a", "enabled": true,
        "credits": {"remaining": 3}}], "pagination": {"hasMore": false}}"#;
    let (exit, items, io) = import(&["--ignore-unsupported"], answer).await;
    assert_eq!(exit, Exit::Ok, "{}", io.err());
    assert_eq!(
        (items[0].import_id.as_str(), token(&items[0])),
        ("key_a", "s3cret-a")
    );
    assert!(io.out().contains("dropped         1\n"), "{}", io.out());
    let lines =
        format!("{{\"hash\": \"{hash}\"}}\n{{\"keyId\": \"b\", \"plaintext\": \"s3cret\"}}\n");
    assert_eq!(import(&[], &lines).await.1.len(), 2);
}

#[tokio::test]
async fn credentials_of_kong_come_as_an_answer_a_configuration_or_lines() {
    let answer = r#"{"data": [{"id": "c1", "key": "s3cret-1", "consumer": {"id": "u1"}, "created_at": 1700000000, "ttl": null, "tags": null}], "next": null}"#;
    let (exit, items, io) = import(&[], answer).await;
    assert_eq!(exit, Exit::Ok, "{}", io.err());
    assert_eq!(
        (items[0].import_id.as_str(), token(&items[0])),
        ("c1", "s3cret-1")
    );
    let configuration = r#"{"_format_version": "3.0", "services": [{"name": "x"}],
        "consumers": [
            {"username": "shop", "custom_id": "42", "keyauth_credentials": [{"key": "s3cret-1"}, {"key": "s3cret-2", "ttl": 60}]},
            {"username": "none"}
        ],
        "keyauth_credentials": [{"id": "c3", "key": "s3cret-3", "consumer": "u3"}]}"#;
    let (exit, items, io) = import(&["--exported-at=2026-01-01T00:00:00Z"], configuration).await;
    assert_eq!(exit, Exit::Ok, "{}", io.err());
    assert_eq!(
        items.iter().map(token).collect::<Vec<_>>(),
        ["s3cret-1", "s3cret-2", "s3cret-3"]
    );
    let names: Vec<_> = items
        .iter()
        .map(|i| i.key.as_ref().unwrap().display_name.as_str())
        .collect();
    assert_eq!(names, ["shop", "shop", "u3"]);
    assert_eq!(
        items[1].key.as_ref().unwrap().expire_time.unwrap().seconds,
        1_767_225_660
    );
    assert!(items[0].import_id.starts_with("sha256-"));
    let (_, again, _) = import(&["--exported-at=2026-01-01T00:00:00Z"], configuration).await;
    assert_eq!(items, again);
    let lines = "{\"key\": \"s3cret-1\", \"consumer\": null}\n{\"key\": \"s3cret-2\"}\n";
    assert_eq!(import(&["--format=kong"], lines).await.1.len(), 2);
}

#[tokio::test]
async fn a_document_that_breaks_off_says_where_and_keeps_what_came_before() {
    let file = "{\"keys\": [\n{\"keyId\": \"a\", \"plaintext\": \"s3cret\"},\n{\"keyId\": \"b\", \"plaintext\": \"s3cr";
    let (exit, items, io) = import(&["--format=unkey"], file).await;
    assert_eq!((exit, items.len()), (Exit::Usage, 1));
    assert!(
        io.err()
            .contains("error: line 3 ends in the middle of a value"),
        "{}",
        io.err()
    );
    let (exit, _, io) = import(&[], "key: value").await;
    assert_eq!(exit, Exit::Usage, "{}", io.err());
    let (exit, _, io) = import(&[], "").await;
    assert_eq!(exit, Exit::Usage);
    assert!(io.err().contains("`--format csv`"), "{}", io.err());
}

#[tokio::test]
async fn a_consumer_of_kong_keeps_its_keys_in_any_order_of_members() {
    for (file, owner) in [
        (
            r#"{"custom_id": "42", "id": "u1", "keyauth_credentials": [{"key": "s3cret-1"}], "username": "shop"}"#,
            "shop",
        ),
        (
            r#"{"keyauth_credentials": [{"key": "s3cret-1"}], "username": "shop"}"#,
            "shop",
        ),
        (
            r#"{"consumers": [], "keyauth_credentials": [{"key": "s3cret-1", "consumer": "u3"}]}"#,
            "u3",
        ),
        (
            r#"{"keyauth_credentials": [{"key": "s3cret-1", "consumer": "u3"}], "consumers": [], "services": []}"#,
            "u3",
        ),
        (
            r#"{"keyauth_credentials": [{"key": "s3cret-1", "consumer": "u3"}], "services": [{"id": "x"}]}"#,
            "u3",
        ),
    ] {
        let (exit, items, io) = import(&["--format=kong"], file).await;
        assert_eq!(exit, Exit::Ok, "{file} {}", io.err());
        assert_eq!(items.len(), 1, "{file}");
        assert_eq!(token(&items[0]), "s3cret-1");
        assert_eq!(items[0].key.as_ref().unwrap().display_name, owner, "{file}");
    }
}

#[tokio::test]
async fn what_a_configuration_of_kong_has_beside_keys_is_not_lost_silently() {
    let keys = r#""keyauth_credentials": [{"key": "s3cret-1"}]"#;
    for (beside, name) in [
        (r#""acls": [{"group": "g", "consumer": "u"}]"#, "acls"),
        (r#""jwt_secrets": [{"consumer": "u"}]"#, "jwt_secrets"),
        (
            r#""plugins": [{"name": "rate-limiting", "consumer": "u"}]"#,
            "plugins",
        ),
    ] {
        for file in [
            format!(r#"{{"_format_version": "3.0", {beside}, {keys}}}"#),
            format!(r#"{{"_format_version": "3.0", {keys}, {beside}}}"#),
            format!("{{{keys}, {beside}}}"),
        ] {
            let (exit, _, io) = import(&["--format=kong"], &file).await;
            assert_eq!(exit, Exit::Usage, "{file} {}", io.err());
            let said = format!("error: `{name}` of the configuration is not taken over");
            assert!(io.err().contains(&said), "{}", io.err());
            let (exit, items, io) = import(&["--format=kong", "--ignore-unsupported"], &file).await;
            assert_eq!((exit, items.len()), (Exit::Ok, 1), "{}", io.err());
            let said = format!("warning: `{name}` of the file was dropped\n");
            assert_eq!(io.err().matches(&said).count(), 1, "{}", io.err());
            assert!(io.out().contains("dropped         1\n"), "{}", io.out());
        }
    }
    // What demands keys at all, and lists of nothing, say nothing about a consumer.
    let plain = format!(
        r#"{{"_format_version": "3.0", "acls": [], {keys}, "plugins": [{{"name": "key-auth", "consumer": null}}]}}"#
    );
    assert_eq!(import(&[], &plain).await.0, Exit::Ok);
}
