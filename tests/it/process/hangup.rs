//! A client that hangs up while its change is being made: the change is done or not done, never half, and what is decided
//! is what is stored.

use std::time::Duration;

use claviger::grpc::proto::v1::key_admin_client::KeyAdminClient;
use claviger::grpc::proto::v1::{self, Decision, Key, key, secret};
use tonic::Status;
use tonic::transport::Channel;

use crate::harness::{Admin, Folder, Made, Process, key as settings, register};

type Client = KeyAdminClient<Channel>;

/// How long a caller waits before it hangs up: from before the request has left until after the answer has come.
fn cuts() -> impl Iterator<Item = Duration> {
    (0..25).map(|n| Duration::from_micros(n * n * 50))
}

/// Calls that change a key; each is cut.
const CHANGES: [&str; 4] = ["disable", "delete", "regenerate", "create"];

async fn change(what: &str, admin: &Admin, made: &Made) -> Result<Option<String>, Status> {
    let mut client = Client::new(admin.channel());
    let id = made.id.clone();
    match what {
        "disable" => {
            let request = v1::UpdateKeyRequest {
                key: Some(Key {
                    id,
                    enabled: Some(false),
                    ..Key::default()
                }),
                ..Default::default()
            };
            client.update_key(admin.request(request)).await?;
            Ok(None)
        }
        "delete" => {
            let request = v1::DeleteKeyRequest {
                id,
                ..Default::default()
            };
            client.delete_key(admin.request(request)).await?;
            Ok(None)
        }
        "regenerate" => {
            let request = v1::RegenerateSecretRequest {
                key_id: id,
                ..Default::default()
            };
            let answer = client.regenerate_secret(admin.request(request)).await?;
            Ok(Some(answer.into_inner().tokens[0].token.clone()))
        }
        _ => {
            let request = v1::CreateKeyRequest {
                workspace: "default".to_owned(),
                key: Some(settings("made while hanging up", &[])),
                ..Default::default()
            };
            let answer = client.create_key(admin.request(request)).await?;
            Ok(Some(answer.into_inner().tokens[0].token.clone()))
        }
    }
}

#[test]
fn a_client_that_hangs_up_in_the_middle_of_a_change_leaves_it_done_or_not_done() {
    let folder = Folder::new();
    let mut process = Process::start(&folder, &[]);
    let admin = process.admin();
    let mut keys = Vec::new();
    let (mut answered, mut cut_off) = (0, 0);
    for cut in cuts() {
        for what in CHANGES {
            let made = admin.make("default", settings(what, &[]));
            let call = change(what, &admin, &made);
            let outcome = admin
                .runtime
                .block_on(async { tokio::time::timeout(cut, call).await });
            match outcome {
                Ok(token) => {
                    answered += 1;
                    token.unwrap().iter().for_each(|t| register(t));
                }
                Err(_) => cut_off += 1,
            }
            keys.push(made);
        }
    }
    assert!(cut_off > 0, "nobody hung up");
    assert!(answered + cut_off == keys.len());

    // Changes are made one after the other, so that with this one the last of those above is over.
    admin.make("default", settings("last", &[]));
    assert_decided_as_stored(&admin, &keys);
    assert!(process.stop().success());
    let process = Process::start(&folder, &[]);
    assert_decided_as_stored(&process.admin(), &keys);
}

/// Each key is whole, and the decision about its first token is the one that follows from what is stored.
fn assert_decided_as_stored(admin: &Admin, made: &[Made]) {
    let page = admin
        .list_keys(v1::ListKeysRequest {
            workspace: "default".to_owned(),
            filter: Some(v1::KeyFilter {
                states: vec![
                    key::State::Active.into(),
                    key::State::Disabled.into(),
                    key::State::Deleted.into(),
                ],
                ..Default::default()
            }),
            page_size: 1000,
            ..Default::default()
        })
        .unwrap();
    for key in &page.keys {
        let live = |s: &&v1::Secret| s.state() == secret::State::Active;
        assert_eq!(key.secrets.iter().filter(live).count(), 1, "{key:?}");
    }
    let tokens: Vec<String> = made.iter().map(|m| m.token.clone()).collect();
    for (made, decision) in made.iter().zip(admin.decide_all("default", &tokens)) {
        let key = page.keys.iter().find(|k| k.id == made.id).unwrap();
        let reason = match key.state() {
            key::State::Deleted => v1::Reason::KeyDeleted,
            key::State::Disabled => v1::Reason::KeyDisabled,
            _ if key.secrets.len() > 1 => v1::Reason::SecretRevoked,
            _ => v1::Reason::Ok,
        };
        assert_eq!(decision.reason(), reason, "{key:?}");
        let allow = decision.decision() == Decision::Allow;
        assert_eq!(allow, reason == v1::Reason::Ok);
    }
}
