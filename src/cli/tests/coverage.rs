//! Every call of the API has a command.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use tokio_stream::wrappers::UnixListenerStream;
use tonic::service::Routes;
use tonic::transport::Server;

use super::super::io::testing::Captured;
use super::super::{Command, healthcheck, run_client};
use super::command;
use crate::grpc::proto;

/// Commands, one for each call at least; what they need on standard input is a line of JSON.
pub(super) const COMMANDS: [&[&str]; 64] = [
    &["keys", "create", "n"],
    &["keys", "get", "key_1"],
    &["keys", "list"],
    &["keys", "update", "key_1", "--scope=a"],
    &["keys", "enable", "key_1"],
    &["keys", "disable", "key_1"],
    &["keys", "regenerate", "key_1"],
    &["keys", "revoke", "key_1", "sec_1"],
    &["keys", "reveal", "key_1"],
    &["keys", "acknowledge", "key_1"],
    &["keys", "delete", "key_1"],
    &["keys", "undelete", "key_1"],
    &["keys", "lookup", "--sha256=00"],
    &["import", "-", "--format=jsonl", "--retry-for=0s"],
    &["export"],
    &["check"],
    &["check", "--batch=-"],
    &["explain", "key_1"],
    &["audit", "list"],
    &["audit", "watch"],
    &["workspaces", "create", "w"],
    &["workspaces", "get", "w"],
    &["workspaces", "list"],
    &["workspaces", "update", "w", "--name=n"],
    &["workspaces", "delete", "w"],
    &["subscriptions", "create", "s"],
    &["subscriptions", "get", "s"],
    &["subscriptions", "list"],
    &["subscriptions", "update", "s", "--name=n"],
    &["subscriptions", "delete", "s"],
    &["scopes", "create", "a:b"],
    &["scopes", "get", "a:b"],
    &["scopes", "list"],
    &["scopes", "update", "a:b", "--name=n"],
    &["scopes", "delete", "a:b"],
    &["postbacks", "test", "key_1"],
    &["postbacks", "deliveries"],
    &["postbacks", "redeliver", "evt_1"],
    &[
        "postbacks",
        "publish",
        "key_1",
        "--type=a.b",
        "--event-id=e",
    ],
    &["postbacks", "signing-secrets", "create"],
    &["postbacks", "signing-secrets", "rotate"],
    &["postbacks", "signing-secrets", "list"],
    &["routes", "create", "r", "--path=/"],
    &["routes", "get", "r"],
    &["routes", "list"],
    &["routes", "update", "r", "--name=n"],
    &["routes", "delete", "r"],
    &["routes", "match", "/"],
    &["principals", "get", "p"],
    &["principals", "list"],
    &["principals", "set", "p", "--name=n"],
    &["principals", "delete", "p"],
    &["principals", "sync", "-"],
    &["decisions", "list"],
    &["usage"],
    &["shadow", "report"],
    &["shadow", "reset", "key_1"],
    &["hygiene"],
    &["leaks", "report"],
    &["leak-rules"],
    &["fleet"],
    &["fleet", "wait"],
    &["fleet", "forget", "rep_1"],
    &["verify-index"],
];

/// Calls without a command, each with the reason.
const WITHOUT: [(&str, &str); 2] = [
    (
        "/envoy.service.auth.v3.Authorization/Check",
        "Envoy's; `check` asks the same of `Authorize`",
    ),
    (
        "/grpc.health.v1.Health/Watch",
        "`healthcheck` asks once; who waits asks again",
    ),
];

#[tokio::test]
async fn every_call_of_the_api_has_a_command() {
    let heard = Arc::new(Mutex::new(BTreeSet::new()));
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("s");
    let listener = tokio::net::UnixListener::bind(&socket).unwrap();
    let listening = Arc::clone(&heard);
    let note = move |request: http::Request<_>| {
        listening
            .lock()
            .unwrap()
            .insert(request.uri().path().to_owned());
        request
    };
    let server = Server::builder()
        .layer(tower::util::MapRequestLayer::new(note))
        .add_routes(Routes::default())
        .serve_with_incoming(UnixListenerStream::new(listener));
    let endpoint = format!("--endpoint=unix:{}", socket.display());
    let asking = async {
        for args in COMMANDS {
            let args: Vec<_> = args.iter().copied().chain([endpoint.as_str()]).collect();
            let Command::Client(client) = command(&args) else {
                panic!("{args:?} is no client")
            };
            let line = r#"{"import_id": "i", "key": {}, "primary": {"external_token": {}}}"#;
            let input = match args.first() {
                Some(&"check") => "{}",
                Some(&"principals") => r#"{"id": "p"}"#,
                _ => line,
            };
            let mut captured = Captured {
                input: input.into(),
                environment: vec![("CLAVIGER_TOKEN", "t".to_owned())],
                ..Captured::default()
            };
            run_client(client, &mut captured.io()).await;
        }
        let Command::Healthcheck(health) = command(&["healthcheck", &endpoint]) else {
            panic!("not healthcheck")
        };
        healthcheck(health, &mut Captured::default().io()).await;
    };
    tokio::select! {
        () = asking => {}
        served = server => panic!("{served:?}"),
    }
    let heard = heard.lock().unwrap().clone();
    let without = |method: &String| WITHOUT.iter().any(|(name, _)| name == method);
    let missing: Vec<_> = proto::methods()
        .into_iter()
        .filter(|method| !heard.contains(method) && !without(method))
        .collect();
    assert!(missing.is_empty(), "no command calls {missing:?}");
    for (method, reason) in WITHOUT {
        assert!(
            !reason.is_empty() && !heard.contains(method),
            "{method} has a command"
        );
        assert!(proto::methods().contains(method), "there is no {method}");
    }
}
