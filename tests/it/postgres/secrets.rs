//! What a thief of the database's files or of its logs finds: no token, and no digest that is not keyed.

use claviger::grpc::proto::v1::{self, Reason, secret_source::Source};
use tonic::Code;

use super::{Stage, administrator};
use crate::harness::{Admin, key, register, scan};

#[test]
fn neither_the_files_of_the_cluster_nor_all_its_statements_hold_a_token() {
    let mut stage = Stage::set();
    stage.postgres.log_everything();
    let mut process = stage.process("one");
    let admin = administrator(&process);
    let recoverable = v1::Workspace {
        id: "default".to_owned(),
        settings: Some(v1::WorkspaceSettings {
            secret_storage: v1::SecretStorage::Recoverable.into(),
            ..Default::default()
        }),
        ..Default::default()
    };
    admin
        .update_workspace(v1::UpdateWorkspaceRequest {
            workspace: Some(recoverable),
            update_mask: Some(prost_types::FieldMask {
                paths: vec!["settings".to_owned()],
            }),
            ..Default::default()
        })
        .unwrap();

    // Generated, so that it can be shown again, and repeated: the answer is kept for that.
    let generated = v1::CreateKeyRequest {
        workspace: "default".to_owned(),
        key: Some(key("generated", &[])),
        request_id: "5c2b8c1e-6d4a-4c9b-8e7f-000000000001".to_owned(),
        ..Default::default()
    };
    let first = created(&admin, &generated);
    assert_eq!(created(&admin, &generated), first);
    // Somebody else's; and a second key with the same one, which the database is the last to refuse.
    let foreign = "foreign_9cKx2LmQ4vTz7RwB1nYp5HsJ8dGf3A";
    register(foreign);
    let external = v1::CreateKeyRequest {
        workspace: "default".to_owned(),
        key: Some(key("external", &[])),
        primary: Some(v1::SecretSource {
            source: Some(Source::ExternalToken(v1::ExternalToken {
                token: foreign.to_owned(),
                allow_weak: false,
            })),
        }),
        ..Default::default()
    };
    let made = admin.create_key(external.clone()).unwrap().key.unwrap();
    let status = admin.create_key(external).unwrap_err();
    assert_eq!(status.code(), Code::AlreadyExists, "{status:?}");
    let next = admin
        .regenerate_secret(v1::RegenerateSecretRequest {
            key_id: made.id,
            ..Default::default()
        })
        .unwrap();
    register(&next.tokens[0].token);
    assert_eq!(admin.decide("default", &first).reason(), Reason::Ok);
    assert_eq!(
        admin.decide("default", foreign).reason(),
        Reason::SecretRevoked
    );
    let unknown = "nobodys_9cKx2LmQ4vTz7RwB1nYp5HsJ8dGf3A";
    register(unknown);
    assert_eq!(
        admin.decide("default", unknown).reason(),
        Reason::UnknownKey
    );

    assert!(process.stop().success());
    // With the write-ahead log, and what was freed in the tables. The folder with the logs is searched at the end.
    let log = stage.postgres.stop();
    let data = stage.postgres.data();
    assert!(data.join("pg_wal").is_dir());
    assert_eq!(scan(&data), Vec::<String>::new());
    assert!(log.contains("INSERT INTO \"keys\""), "{log}");
    assert!(log.contains("parameters: $1"), "{log}");
}

/// Makes a key; its token, registered.
fn created(admin: &Admin, request: &v1::CreateKeyRequest) -> String {
    let answer = admin.create_key(request.clone()).unwrap();
    let token = answer.tokens[0].token.clone();
    register(&token);
    token
}
