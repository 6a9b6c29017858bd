//! Commands that administer and ask.

use serde_json::Value;

use super::super::io::testing::Captured;
use super::super::{Command, Exit, healthcheck, run_client};
use super::command;
use super::fake::{Fake, TOKEN, run};

#[tokio::test]
async fn a_new_token_goes_to_standard_output_alone_and_is_acknowledged_when_asked() {
    let fake = Fake::default();
    let (exit, io) = run(&fake, &["keys", "create", "shop", "--scope=a,b"], b"").await;
    assert_eq!(exit, Exit::Ok, "{}", io.err());
    assert_eq!(io.out(), format!("{TOKEN}\n"));
    assert_eq!(
        io.err(),
        "created `key_1` (shop)\nwarning: it has two scopes (SEVERAL_SCOPES)\nsave it now; it is not shown again\n"
    );
    let (exit, io) = run(
        &fake,
        &["keys", "create", "shop", "--acknowledge", "-o=json"],
        b"",
    )
    .await;
    assert_eq!(exit, Exit::Ok);
    let value: Value = serde_json::from_str(&io.out()).unwrap();
    assert_eq!(value["tokens"][0]["token"], TOKEN);
    assert!(
        !io.err().contains(TOKEN) && !io.err().contains("save it"),
        "{}",
        io.err()
    );
    let calls = fake.calls.lock().unwrap();
    assert_eq!(calls.len(), 3, "{calls:?}");
    assert!(
        calls[0].starts_with("Bearer admin-token: ") && calls[0].contains(r#"scopes: ["a", "b"]"#)
    );
    assert!(
        calls[2].contains("AcknowledgeSecretRequest") && calls[2].contains("sec_1"),
        "{}",
        calls[2]
    );
}

#[tokio::test]
async fn an_external_token_comes_from_standard_input() {
    let fake = Fake::default();
    let args = [
        "keys",
        "create",
        "old",
        "--external-token-file=-",
        "--allow-weak",
    ];
    let (exit, _) = run(&fake, &args, b"a-token-of-another-system\n").await;
    assert_eq!(exit, Exit::Ok);
    let calls = fake.calls.lock().unwrap();
    assert!(
        calls[0].contains("ExternalToken { token: (redacted), allow_weak: true }"),
        "{}",
        calls[0]
    );
}

#[tokio::test]
async fn an_update_names_just_what_was_given() {
    let fake = Fake::default();
    let args = [
        "keys",
        "update",
        "key_1",
        "--expires=never",
        "--clear=labels",
        "--network-mode=shadow",
    ];
    let (exit, io) = run(&fake, &args, b"").await;
    assert_eq!(exit, Exit::Ok, "{}", io.err());
    let heard = fake.calls.lock().unwrap().remove(0);
    assert!(
        heard.contains(r#"paths: ["expire_time", "enforcement.network", "labels"]"#),
        "{heard}"
    );
    let (exit, io) = run(&fake, &["keys", "update", "key_1"], b"").await;
    assert_eq!(exit, Exit::Usage);
    assert!(io.err().starts_with("error: there is nothing to change\n"));
    let both = ["keys", "update", "key_1", "--scope=a", "--clear=scopes"];
    assert_eq!(run(&fake, &both, b"").await.0, Exit::Usage);
    let (exit, _) = run(&fake, &["keys", "disable", "key_1"], b"").await;
    assert_eq!(exit, Exit::Ok);
    assert!(fake.calls.lock().unwrap()[0].contains("enabled: Some(false)"));
}

#[tokio::test]
async fn check_exits_with_the_decision_and_sends_no_administrator_token() {
    let mut fake = Fake::default();
    let args = ["check", "--credential-file=-", "--scope=a", "-o=json"];
    let (exit, io) = run(&fake, &args, b"the-credential\n").await;
    assert_eq!(exit, Exit::Ok);
    assert!(io.out().contains(r#""decision": "ALLOW""#), "{}", io.out());
    assert!(fake.calls.lock().unwrap()[0].starts_with("nobody: "));
    fake.deny = true;
    let (exit, io) = run(&fake, &["check"], b"").await;
    assert_eq!(exit, Exit::Failed);
    assert!(
        io.out().starts_with("decision        DENY (OK)\n"),
        "{}",
        io.out()
    );
}

#[tokio::test]
async fn faults_have_their_exit_codes() {
    let fake = Fake::default();
    let (exit, io) = run(&fake, &["keys", "get", "key_1"], b"").await;
    assert_eq!(
        (exit, io.err().as_str()),
        (Exit::NotFound, "error: there is no such key\n")
    );
    let (exit, _) = run(&fake, &["keys", "delete", "key_1"], b"").await;
    assert_eq!(exit, Exit::Failed);
    let dir = tempfile::tempdir().unwrap();
    let endpoint = format!("--endpoint=unix:{}", dir.path().join("none").display());
    let Command::Client(client) = command(&["check", &endpoint]) else {
        panic!("not a client")
    };
    let mut captured = Captured::default();
    assert_eq!(
        run_client(client, &mut captured.io()).await,
        Exit::Unreachable
    );
    assert!(
        captured.err().contains("can't be reached: No such file"),
        "{}",
        captured.err()
    );
    let Command::Healthcheck(health) = command(&["healthcheck", &endpoint]) else {
        panic!("not healthcheck")
    };
    assert_eq!(healthcheck(health, &mut captured.io()).await, Exit::Failed);
}

#[tokio::test]
async fn a_server_that_hangs_up_or_never_answers_is_said_to() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("s");
    let listener = tokio::net::UnixListener::bind(&socket).unwrap();
    let endpoint = format!("--endpoint=unix:{}", socket.display());
    for (hangs_up, said) in [
        (false, "error: the server did not answer in time\n"),
        (true, "error: "),
    ] {
        let Command::Client(client) = command(&["check", &endpoint, "--timeout=1s"]) else {
            panic!("not a client")
        };
        let mut captured = Captured::default();
        let exit = {
            let mut io = captured.io();
            let mut client = std::pin::pin!(run_client(client, &mut io));
            let peer = tokio::select! {
                exit = &mut client => panic!("{exit:?}"),
                peer = listener.accept() => peer.unwrap(),
            };
            let held = (!hangs_up).then_some(peer);
            let exit = client.await;
            drop(held);
            exit
        };
        assert_eq!(exit, Exit::Unreachable, "{}", captured.err());
        assert!(captured.err().starts_with(said), "{}", captured.err());
    }
}

#[tokio::test]
async fn a_key_is_bound_to_a_principal_and_unbound_with_what_follows_from_it() {
    let fake = Fake::default();
    let create = [
        "keys",
        "create",
        "joes",
        "--principal=joe@example.com",
        "--scope-source=principal",
    ];
    assert_eq!(run(&fake, &create, b"").await.0, Exit::Ok);
    let heard = fake.calls.lock().unwrap().remove(0);
    assert!(
        heard.contains(r#"principal: "joe@example.com""#)
            && heard.contains("scope_source: Principal"),
        "{heard}"
    );
    let clear = ["keys", "update", "key_1", "--clear=principal"];
    assert_eq!(run(&fake, &clear, b"").await.0, Exit::Ok);
    let heard = fake.calls.lock().unwrap().remove(0);
    let paths = r#"paths: ["principal", "scope_source"]"#;
    assert!(heard.contains(paths), "{heard}");
    run(&fake, &["keys", "list", "--principal=joe"], b"").await;
    assert!(fake.calls.lock().unwrap()[0].contains(r#"principal: "joe""#));
}
