//! Long lists, and many decisions at once.

use std::io::{self, Write};

use serde_json::Value;

use super::super::io::testing::Captured;
use super::super::{Command, Exit, run_client};
use super::command;
use super::fake::{Fake, run};
use crate::grpc::proto::v1;

fn key(id: &str, name: &str) -> v1::Key {
    v1::Key {
        id: id.to_owned(),
        display_name: name.to_owned(),
        state: 1,
        ..Default::default()
    }
}

fn two_pages() -> Fake {
    Fake::with_pages(vec![
        vec![key("key_1", "a shop with a long name"), key("key_2", "鍵")],
        vec![key("key_3", "b")],
    ])
}

#[tokio::test]
async fn all_pages_are_one_document_of_json() {
    let args = ["keys", "list", "--all", "-o=json"];
    let (exit, io) = run(&two_pages(), &args, b"").await;
    assert_eq!(exit, Exit::Ok, "{}", io.err());
    let value: Value = serde_json::from_str(&io.out()).unwrap();
    let ids: Vec<_> = value["keys"]
        .as_array()
        .unwrap()
        .iter()
        .map(|k| k["id"].as_str().unwrap())
        .collect();
    assert_eq!(ids, ["key_1", "key_2", "key_3"]);
    assert_eq!(value["next_page_token"], "");
    assert_eq!(value["tokens"], Value::Array(Vec::new()));
    let (_, none) = run(&Fake::with_pages(vec![vec![]]), &args, b"").await;
    let value: Value = serde_json::from_str(&none.out()).unwrap();
    assert_eq!(value["keys"], Value::Array(Vec::new()));
}

#[tokio::test]
async fn all_pages_are_one_table() {
    let (exit, io) = run(&two_pages(), &["keys", "list", "--all"], b"").await;
    assert_eq!(exit, Exit::Ok, "{}", io.err());
    assert_eq!(
        io.out(),
        "\
STATE   NAME                     ID     SCOPES  SUBSCRIPTIONS  EXPIRES  LAST USED
ACTIVE  a shop with a long name  key_1  -       -              never    never
ACTIVE  鍵                       key_2  -       -              never    never
ACTIVE  b                        key_3  -       -              never    never
"
    );
}

#[tokio::test]
async fn one_page_says_how_to_have_the_next() {
    let (exit, io) = run(&two_pages(), &["keys", "list", "--page-size=2"], b"").await;
    assert_eq!(exit, Exit::Ok);
    assert_eq!(io.out().lines().count(), 3);
    assert_eq!(
        io.err(),
        "there are more: `--all`, or `--page-token page1`\n"
    );
    let (_, none) = run(&Fake::with_pages(vec![vec![]]), &["keys", "list"], b"").await;
    assert_eq!(
        (none.out().as_str(), none.err().as_str()),
        ("", "no keys\n")
    );
}

/// A reader that goes away after the first page, as `head` does.
struct Gone(usize);

impl Write for Gone {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.0 {
            0 => Err(io::ErrorKind::BrokenPipe.into()),
            _ => Ok(bytes.len()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0 -= 1;
        Ok(())
    }
}

#[tokio::test]
async fn a_reader_that_goes_away_ends_a_list_quietly() {
    let fake = two_pages();
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("s");
    let listener = tokio::net::UnixListener::bind(&socket).unwrap();
    let server = tonic::transport::Server::builder()
        .add_service(v1::key_admin_server::KeyAdminServer::new(fake))
        .serve_with_incoming(tokio_stream::wrappers::UnixListenerStream::new(listener));
    let endpoint = format!("--endpoint=unix:{}", socket.display());
    let Command::Client(client) = command(&["keys", "list", "--all", &endpoint]) else {
        panic!("not a client")
    };
    let mut captured = Captured {
        environment: vec![("CLAVIGER_TOKEN", "t".to_owned())],
        ..Captured::default()
    };
    {
        let mut io = captured.io();
        io.out = Box::new(Gone(1));
        tokio::select! {
            exit = run_client(client, &mut io) => assert_eq!(exit, Exit::Failed),
            served = server => panic!("{served:?}"),
        }
    }
    assert_eq!(captured.err(), "");
}

#[tokio::test]
async fn a_batch_is_asked_about_as_the_options_say() {
    let fake = Fake::default();
    let lines = "{\"credential\": {\"token\": \"good\"}}\n{\"credential\": {\"token\": \"good\", \"presentation\": \"BASIC\"}}\n{}\n";
    let args = ["check", "--batch=-", "--presentation=query"];
    let (_, io) = run(&fake, &args, lines.as_bytes()).await;
    let call = fake.calls.lock().unwrap().pop().unwrap();
    for (said, times) in [
        ("presentation: 4", 1),
        ("presentation: 3", 1),
        ("credential: None", 1),
    ] {
        assert_eq!(
            call.matches(said).count(),
            times,
            "{said} {call} {}",
            io.err()
        );
    }
    // A file that turned out empty proves nothing.
    for empty in ["", "\n \n"] {
        let (exit, io) = run(&fake, &["check", "--batch=-"], empty.as_bytes()).await;
        assert_eq!(exit, Exit::Usage, "{}", io.err());
        assert!(io.err().contains("has no request"), "{}", io.err());
    }
}

#[tokio::test]
async fn many_decisions_are_asked_for_at_once() {
    let lines = "\
{\"credential\": {\"token\": \"good-1\", \"presentation\": \"BEARER\"}, \"required_scopes\": [\"b\"]}

{\"credential\": {\"token\": \"bad-2\"}}
{\"credential\": {\"token\": \"odd-3\"}}
";
    let fake = Fake::default();
    let args = ["check", "--batch=-", "--scope=a", "-o=json"];
    let (exit, io) = run(&fake, &args, lines.as_bytes()).await;
    assert_eq!(exit, Exit::Failed, "{}", io.err());
    let answers: Vec<Value> = io
        .out()
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    assert_eq!(answers[0]["line"], 1);
    assert_eq!(answers[0]["response"]["decision"], "ALLOW");
    assert_eq!(
        (&answers[1]["line"], &answers[1]["response"]["decision"]),
        (&3.into(), &"DENY".into())
    );
    assert!(answers[2]["error"].is_object());
    let call = fake.calls.lock().unwrap().remove(0);
    assert!(
        call.contains(r#"required_scopes: ["b"]"#) && call.contains(r#"required_scopes: ["a"]"#),
        "{call}"
    );
    let (exit, _) = run(
        &fake,
        &["check", "--batch=-"],
        b"{\"credential\": {\"token\": \"good\"}}",
    )
    .await;
    assert_eq!(exit, Exit::Ok);
    let (exit, io) = run(
        &fake,
        &["check", "--batch=-"],
        b"{}\n{\"credential\": {\"tokn\": \"s3cret\"}}",
    )
    .await;
    assert_eq!(exit, Exit::Usage);
    assert!(
        io.err()
            .starts_with("error: line 2: `credential.tokn` is unknown here")
            && !io.err().contains("s3cret"),
        "{}",
        io.err()
    );
}
