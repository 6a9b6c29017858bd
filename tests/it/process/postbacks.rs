//! POSTbacks of the real binary: what was accepted survives `kill -9`, and is verified by the library that receivers use.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::{Command, Stdio};

use claviger::grpc::proto::v1;
use serde_json::json;

use crate::harness::{
    Answer, Arrived, Folder, Process, Receiver, authority, figure, key, register, repository, tools,
};

const EVENTS: usize = 100;

#[test]
fn every_accepted_event_survives_kill_9_and_is_verified_by_the_standard_webhooks_library() {
    let folder = Folder::new();
    let mut receiver = Receiver::start();
    let ca = authority().certificate.to_str().unwrap().to_owned();
    let args = [
        "--postback-allow",
        "127.0.0.0/8",
        "--postback-ca-file",
        &*ca,
    ];
    let mut process = Process::start(&folder, &args);
    let admin = process.admin();
    let secret = admin
        .create_signing_secret(v1::CreateSigningSecretRequest::default())
        .unwrap()
        .text;
    register(&secret);
    // Some are on their way when the process dies, the others wait.
    receiver.answer(Answer::Nothing);
    let url = receiver.url();
    let request = v1::CreateKeyRequest {
        key: Some(v1::Key {
            postback_url: url,
            ..key("told", &[])
        }),
        ..Default::default()
    };
    let made = admin.create_key(request).unwrap();
    register(&made.tokens[0].token);
    let key_id = made.key.unwrap().id;
    let mut accepted = BTreeSet::new();
    for n in 0..EVENTS {
        let request = v1::PublishEventRequest {
            key_id: key_id.clone(),
            event_id: n.to_string(),
            r#type: "message.delivered".to_owned(),
            data_json: format!("{{\"text\": \"Grüße {n}\"}}"),
        };
        let answer = admin.publish_event(request).unwrap();
        accepted.insert(answer.delivery.unwrap().id);
    }
    let first = admin.runtime.block_on(receiver.next());
    assert_eq!(first.path, "/hook");
    process.kill();
    receiver.rest();
    receiver.answer(Answer::Status(204));

    let process = Process::start(&folder, &args);
    let mut arrived: Vec<Arrived> = Vec::new();
    let mut ids = BTreeSet::new();
    while !accepted.is_subset(&ids) {
        let next = admin.runtime.block_on(receiver.next());
        ids.insert(next.id.clone());
        arrived.push(next);
    }
    assert_eq!(
        verify(&secret, &arrived),
        format!("{0} good, {0} changed ones found\n", arrived.len())
    );
    drop(process);
    figure(&format!(
        "POSTbacks: {EVENTS} events accepted, `kill -9` before they were delivered: 0 lost, {} signatures verified by `standardwebhooks`",
        arrived.len()
    ));
}

/// What the library says of these.
fn verify(secret: &str, arrived: &[Arrived]) -> String {
    let messages: Vec<_> = arrived
        .iter()
        .map(|a| {
            let headers = json!({
                "webhook-id": a.id,
                "webhook-timestamp": a.timestamp,
                "webhook-signature": a.signature,
            });
            json!({ "headers": headers, "body": a.body })
        })
        .collect();
    let input = json!({ "secret": secret, "messages": messages }).to_string();
    let mut node = Command::new("node")
        .arg(repository().join("tests/it/process/verify.cjs"))
        .env("NODE_PATH", tools("standardwebhooks/node_modules"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = node.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).unwrap();
    drop(stdin);
    let output = node.wait_with_output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}
