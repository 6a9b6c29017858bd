//! Tests of where the command goes, and as whom.

use super::super::io::testing::Captured;
use super::*;

fn at(endpoint: &str) -> Target {
    Target {
        endpoint: endpoint.to_owned(),
        token: None,
        kept_back: None,
    }
}

fn found(options: &TokenOptions, target: &Target, captured: &mut Captured) -> String {
    let token = options.find(target, &captured.io());
    token.map_err(|f| f.exit).unwrap().trim().to_owned()
}

#[test]
fn the_token_comes_from_the_file_the_variable_the_profile_or_the_first_start() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("mine");
    std::fs::write(&file, "from-file\n").unwrap();
    std::fs::write(dir.path().join("bootstrap-token"), "from-start\n").unwrap();
    let mut captured = Captured::default();
    let data_dir = dir.path().to_str().unwrap().to_owned();
    captured.environment.push(("CLAVIGER_DATA_DIR", data_dir));
    let none = TokenOptions { token_file: None };
    let mut target = at("http://example.com:1");
    assert_eq!(found(&none, &target, &mut captured), "from-start");
    target.token = Some(StoredToken::new("from-profile".to_owned()));
    assert_eq!(found(&none, &target, &mut captured), "from-profile");
    captured
        .environment
        .push(("CLAVIGER_TOKEN", "from-variable".to_owned()));
    assert_eq!(found(&none, &target, &mut captured), "from-variable");
    let named = TokenOptions {
        token_file: Some(file),
    };
    assert_eq!(found(&named, &target, &mut captured), "from-file");
}

#[test]
fn without_a_token_the_user_is_told_where_one_is_sought() {
    let mut captured = Captured::default();
    captured
        .environment
        .push(("CLAVIGER_DATA_DIR", "/nowhere".to_owned()));
    let failure = TokenOptions { token_file: None }.find(&at(DEFAULT_ENDPOINT), &captured.io());
    let exit = failure.err().unwrap().report(&mut captured.io());
    assert_eq!(exit, Exit::Denied);
    assert!(
        captured
            .err()
            .contains("`/nowhere/bootstrap-token` does not exist")
    );
}

#[test]
fn a_token_that_lies_about_goes_to_no_other_machine() {
    for (endpoint, local) in [
        ("unix:/run/c", true),
        ("http://127.0.0.1:1", true),
        ("http://[::1]:1/", true),
        ("localhost:50051", true),
        ("http://localhost:50051", true),
        ("http://localhost:1@example.com:2", false),
        ("http://10.0.0.1:1", false),
        ("http://example.com:1", false),
    ] {
        assert_eq!(is_local(endpoint), local, "{endpoint}");
    }
    assert!(is_local(DEFAULT_ENDPOINT));
    let mut captured = Captured::default();
    let none = TokenOptions { token_file: None };
    let failure = none.find(&at("http://example.com:1"), &captured.io());
    assert_eq!(
        failure.err().unwrap().report(&mut captured.io()),
        Exit::Denied
    );
    assert!(captured.err().contains("only for a server on this machine"));
}

#[test]
fn endpoints_are_plain_http() {
    for good in ["http://127.0.0.1:1", "127.0.0.1:50051", "http://[::1]:2"] {
        assert!(parse(good).is_ok(), "{good}");
    }
    for bad in ["https://x", "ftp://x", "http://", "a b"] {
        assert!(parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_server_on_all_addresses_is_asked_on_the_loopback() {
    for (listen, endpoint) in [
        ("0.0.0.0:1", "http://127.0.0.1:1"),
        ("[::]:1", "http://[::1]:1"),
        ("10.0.0.1:1", "http://10.0.0.1:1"),
        ("unix:/run/c", "unix:/run/c"),
    ] {
        assert_eq!(endpoint_of(&listen.parse().unwrap()), endpoint);
    }
}
