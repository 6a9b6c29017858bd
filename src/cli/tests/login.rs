//! Profiles: logging in, being somebody, logging out.

use serde_json::Value;

use super::super::io::testing::Captured;
use super::super::{Command, Exit, run_client};
use super::command;
use super::fake::{Fake, run_with};

fn at_home(dir: &tempfile::TempDir) -> Captured {
    Captured {
        environment: vec![("XDG_CONFIG_HOME", dir.path().to_str().unwrap().to_owned())],
        ..Captured::default()
    }
}

fn stored(dir: &tempfile::TempDir) -> Value {
    let path = dir.path().join("claviger/profiles.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// Runs a command that asks no server.
async fn alone(dir: &tempfile::TempDir, args: &[&str]) -> (Exit, Captured) {
    let Command::Client(client) = command(args) else {
        panic!("not a client")
    };
    let mut captured = at_home(dir);
    let exit = run_client(client, &mut captured.io()).await;
    (exit, captured)
}

#[tokio::test]
async fn who_logged_in_is_known_to_that_endpoint_and_to_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::with_pages(vec![vec![], vec![]]);
    let person = Captured {
        answers: Some(vec!["the-stored-token"]),
        ..at_home(&dir)
    };
    let (exit, io) = run_with(&fake, &["login", "--profile=prod"], person).await;
    assert_eq!(exit, Exit::Ok, "{}", io.err());
    assert!(io.err().contains("as profile `prod`") && !io.err().contains("the-stored-token"));
    let file = stored(&dir);
    assert_eq!(file["current"], "prod");
    assert_eq!(file["profiles"]["prod"]["token"], "the-stored-token");
    assert!(fake.calls.lock().unwrap()[0].starts_with("Bearer the-stored-token: ListKeysRequest"));
    // `run_with` serves at another socket each time: this is another endpoint.
    let (exit, io) = run_with(&fake, &["keys", "list", "--profile=prod"], at_home(&dir)).await;
    assert_eq!(exit, Exit::Denied, "{}", io.err());
    assert!(
        io.err()
            .contains("the token of profile `prod` is for another endpoint"),
        "{}",
        io.err()
    );
    assert_eq!(fake.calls.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_profile_has_the_endpoint_and_the_token_of_later_commands() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("s");
    let fake = Fake::with_pages(vec![vec![], vec![]]);
    let listener = tokio::net::UnixListener::bind(&socket).unwrap();
    let server = tonic::transport::Server::builder()
        .add_service(crate::grpc::proto::v1::key_admin_server::KeyAdminServer::new(fake.clone()))
        .serve_with_incoming(tokio_stream::wrappers::UnixListenerStream::new(listener));
    let endpoint: &'static str = format!("unix:{}", socket.display()).leak();
    let asking = async {
        let Command::Client(login) = command(&["login"]) else {
            panic!("not a client")
        };
        let mut person = Captured {
            answers: Some(vec![endpoint, "the-stored-token"]),
            ..at_home(&dir)
        };
        assert_eq!(run_client(login, &mut person.io()).await, Exit::Ok);
        let (exit, io) = alone(&dir, &["keys", "list"]).await;
        assert_eq!((exit, io.err().as_str()), (Exit::Ok, "no keys\n"));
    };
    tokio::select! {
        () = asking => {}
        served = server => panic!("{served:?}"),
    }
    let calls = fake.calls.lock().unwrap();
    assert!(
        calls
            .iter()
            .all(|call| call.starts_with("Bearer the-stored-token: ")),
        "{calls:?}"
    );
    assert_eq!(calls.len(), 2);
}

#[tokio::test]
async fn a_token_that_the_server_does_not_know_is_not_kept() {
    let dir = tempfile::tempdir().unwrap();
    let mut captured = at_home(&dir);
    captured.input = b"wrong-token\n".to_vec();
    let (exit, io) = run_with(&Fake::default(), &["login", "--token-file=-"], captured).await;
    assert_eq!(exit, Exit::Denied, "{}", io.err());
    assert!(!dir.path().join("claviger").exists());
    let (exit, io) = run_with(&Fake::default(), &["login"], at_home(&dir)).await;
    assert_eq!(exit, Exit::Usage);
    assert!(io.err().contains("`--token-file FILE`"), "{}", io.err());
}

#[tokio::test]
async fn profiles_are_listed_chosen_and_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["--profile=a", "--profile=b"] {
        let mut captured = at_home(&dir);
        captured.input = format!("token-of-{name}").into_bytes();
        let fake = Fake::with_pages(vec![vec![]]);
        let (exit, _) = run_with(&fake, &["login", name, "--token-file=-"], captured).await;
        assert_eq!(exit, Exit::Ok);
    }
    let (_, io) = alone(&dir, &["profiles", "list"]).await;
    let lines: Vec<_> = io.out().lines().map(str::to_owned).collect();
    assert!(
        lines[1].starts_with("         a") && lines[2].starts_with("*        b"),
        "{lines:?}"
    );
    assert!(!io.out().contains("token-of"));
    assert_eq!(alone(&dir, &["profiles", "use", "a"]).await.0, Exit::Ok);
    assert_eq!(stored(&dir)["current"], "a");
    assert_eq!(alone(&dir, &["profiles", "use", "c"]).await.0, Exit::Usage);
    assert_eq!(
        alone(&dir, &["keys", "list", "--profile=c"]).await.0,
        Exit::Usage
    );
    assert_eq!(alone(&dir, &["logout"]).await.0, Exit::Ok);
    assert_eq!(alone(&dir, &["profiles", "remove", "b"]).await.0, Exit::Ok);
    let (_, io) = alone(&dir, &["profiles", "list", "-o=json"]).await;
    assert_eq!(
        serde_json::from_str::<Value>(&io.out()).unwrap()["profiles"],
        Value::Array(Vec::new())
    );
    assert_eq!(alone(&dir, &["logout"]).await.0, Exit::Usage);
}

#[tokio::test]
async fn profiles_that_are_not_needed_are_not_in_the_way() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("claviger")).unwrap();
    std::fs::write(dir.path().join("claviger/profiles.json"), "not ours").unwrap();
    let with_token = || {
        let mut captured = at_home(&dir);
        captured
            .environment
            .push(("CLAVIGER_TOKEN", "admin-token".to_owned()));
        captured
    };
    // The endpoint is always given here.
    let fake = Fake::with_pages(vec![vec![]]);
    let (exit, io) = run_with(&fake, &["keys", "list"], with_token()).await;
    assert_eq!(exit, Exit::Ok, "{}", io.err());
    let (exit, io) = run_with(&fake, &["check"], at_home(&dir)).await;
    assert_eq!(exit, Exit::Ok, "{}", io.err());
    for (args, captured) in [
        (&["keys", "list"] as &[&str], at_home(&dir)),
        (&["keys", "list", "--profile=prod"], with_token()),
        (&["check", "--profile=prod"], at_home(&dir)),
    ] {
        let (exit, io) = run_with(&fake, args, captured).await;
        assert_eq!(exit, Exit::Usage, "{args:?} {}", io.err());
        assert!(io.err().contains("profiles.json"), "{}", io.err());
    }
}
