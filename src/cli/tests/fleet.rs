//! `fleet` and `--wait` against servers that answer what a test wants.

use std::sync::{Arc, Mutex};

use prost_types::Timestamp;
use serde_json::{Value, json};
use tonic::service::Routes;
use tonic::{Request, Response, Status};

use super::super::Exit;
use super::super::io::testing::Captured;
use super::fake::{self, run_against};
use super::usage_error;
use crate::grpc::proto::v1;
use v1::fleet_server::{Fleet, FleetServer};

#[derive(Clone, Default)]
struct Fake {
    replicas: Vec<v1::Replica>,
    propagation: v1::Propagation,
    verified: v1::VerifyIndexResponse,
    /// What was asked for, and within which time.
    heard: Arc<Mutex<Vec<String>>>,
}

impl Fake {
    fn heard<T: std::fmt::Debug>(&self, request: &Request<T>) {
        let within = request.metadata().get("grpc-timeout").unwrap();
        let heard = format!("{:?} within {within:?}", request.get_ref());
        self.heard.lock().unwrap().push(heard);
    }
}

#[tonic::async_trait]
impl Fleet for Fake {
    async fn list_replicas(
        &self,
        request: Request<v1::ListReplicasRequest>,
    ) -> Result<Response<v1::ListReplicasResponse>, Status> {
        self.heard(&request);
        Ok(Response::new(v1::ListReplicasResponse {
            replicas: self.replicas.clone(),
            revision: "e.9".to_owned(),
        }))
    }

    async fn wait_for_revision(
        &self,
        request: Request<v1::WaitForRevisionRequest>,
    ) -> Result<Response<v1::WaitForRevisionResponse>, Status> {
        self.heard(&request);
        Ok(Response::new(v1::WaitForRevisionResponse {
            propagation: Some(self.propagation.clone()),
            revision: "e.9".to_owned(),
        }))
    }

    async fn verify_index(
        &self,
        request: Request<v1::VerifyIndexRequest>,
    ) -> Result<Response<v1::VerifyIndexResponse>, Status> {
        self.heard(&request);
        Ok(Response::new(self.verified.clone()))
    }

    async fn forget_replica(
        &self,
        request: Request<v1::ForgetReplicaRequest>,
    ) -> Result<Response<v1::ForgetReplicaResponse>, Status> {
        self.heard(&request);
        Ok(Response::new(v1::ForgetReplicaResponse {}))
    }
}

async fn run(fake: &Fake, args: &[&str]) -> (Exit, Captured) {
    let captured = Captured {
        environment: vec![("CLAVIGER_TOKEN", "admin-token".to_owned())],
        ..Captured::default()
    };
    let services = Routes::new(FleetServer::new(fake.clone()));
    run_against(services, args, captured).await
}

/// Two minutes before now.
fn earlier() -> Option<Timestamp> {
    Some(Timestamp {
        seconds: 1_767_225_480,
        nanos: 0,
    })
}

fn replica(name: &str, state: v1::replica::State, counts: bool) -> v1::Replica {
    v1::Replica {
        id: format!("rep_{name}"),
        name: name.to_owned(),
        version: "1.2.3".to_owned(),
        state: state.into(),
        applied_revision: "e.7".to_owned(),
        counts,
        strict_revocation: !counts,
        behind: 2,
        last_seen: earlier(),
        ..Default::default()
    }
}

fn complete(total: i32) -> v1::Propagation {
    v1::Propagation {
        complete: true,
        total,
        applied: total,
        ..Default::default()
    }
}

/// Two of three have it.
fn incomplete() -> v1::Propagation {
    let missing = v1::UnconfirmedReplica {
        replica: "rep_c".to_owned(),
        name: "pod-\u{1b}c".to_owned(),
        last_revision: "e.7".to_owned(),
        last_seen: earlier(),
    };
    v1::Propagation {
        total: 3,
        applied: 2,
        unconfirmed: vec![missing],
        ..Default::default()
    }
}

const MISSING: &str =
    "in force on 2 of 3; not confirmed by pod-\u{fffd}c (rep_c), last seen 2 minutes ago\n";

#[tokio::test]
async fn the_list_shows_who_is_behind_and_warns_of_whom_nothing_is_heard() {
    use v1::replica::State;
    let fake = Fake {
        replicas: vec![
            v1::Replica {
                answering: true,
                leading: true,
                behind: 0,
                ..replica("a", State::Serving, true)
            },
            replica("b", State::Joining, true),
            replica("c", State::Silent, true),
            replica("d", State::Silent, false),
        ],
        ..Fake::default()
    };
    let (exit, captured) = run(&fake, &["fleet"]).await;
    assert_eq!(exit, Exit::Ok, "{}", captured.err());
    let out = captured.out();
    for line in [
        "STATE    NAME                 ID     APPLIED  BEHIND  STRICT  LAST SEEN      VERSION",
        "SERVING  a (answers) (leads)  rep_a  e.7      0       no      2 minutes ago  1.2.3",
        "JOINING  b                    rep_b  e.7      2       no      2 minutes ago  1.2.3",
        "SILENT   d                    rep_d  e.7      2       yes     2 minutes ago  1.2.3",
    ] {
        assert!(out.contains(line), "{out}");
    }
    let warnings = captured.err();
    let [may_decide, stopped] = warnings.lines().collect::<Vec<_>>().try_into().unwrap();
    assert!(may_decide.starts_with("warning: c (rep_c) was last seen 2 minutes ago: it may be"));
    assert!(stopped.starts_with("warning: d (rep_d) was last seen 2 minutes ago: it has stopped"));

    let (_, captured) = run(&fake, &["fleet", "-o", "json"]).await;
    let found: Value = serde_json::from_str(&captured.out()).unwrap();
    assert_eq!(found["revision"], "e.9");
    let expected = json!({
        "id": "rep_c", "name": "c", "version": "1.2.3", "state": "SILENT", "applied_revision": "e.7",
        "strict_revocation": false, "counts": true, "start_time": null,
        "last_seen": "2025-12-31T23:58:00Z", "behind": 2, "answering": false,
        "leading": false,
    });
    assert_eq!(found["replicas"][2], expected);
}

#[tokio::test]
async fn a_wait_ends_with_0_only_where_the_change_is_everywhere() {
    for (propagation, exit, said) in [
        (complete(3), Exit::Ok, "in force on all 3 replicas\n"),
        (complete(2), Exit::Ok, "in force on both replicas\n"),
        (complete(1), Exit::Ok, "in force on the only replica\n"),
        (incomplete(), Exit::Failed, MISSING),
        (
            v1::Propagation {
                total: 1,
                applied: 1,
                ..Default::default()
            },
            Exit::Failed,
            "in force on 1 of 1; who else is there can't be told now\n",
        ),
    ] {
        let fake = Fake {
            propagation: propagation.clone(),
            ..Fake::default()
        };
        let args = ["fleet", "wait", "e.9", "--for=30s"];
        let (ended, captured) = run(&fake, &args).await;
        assert_eq!(ended, exit);
        assert_eq!(captured.err(), said);
        assert_eq!(captured.out(), "e.9\n");
        let heard = fake.heard.lock().unwrap().remove(0);
        assert!(heard.contains("revision: \"e.9\"") && heard.contains("seconds: 30"));
        // The call may take as long as it may without a wait, and the wait.
        assert!(heard.ends_with("within \"40000000u\""), "{heard}");

        let (ended, captured) = run(&fake, &["fleet", "wait", "-o", "json"]).await;
        assert_eq!(ended, exit);
        let found: Value = serde_json::from_str(&captured.out()).unwrap();
        assert_eq!(found["propagation"]["complete"], propagation.complete);
        assert_eq!(found["propagation"]["total"], propagation.total);
    }
}

#[tokio::test]
async fn a_replica_is_forgotten_by_its_id() {
    let fake = Fake::default();
    let (exit, captured) = run(&fake, &["fleet", "forget", "rep_c"]).await;
    assert_eq!(
        (exit, captured.err().as_str()),
        (Exit::Ok, "forgot `rep_c`\n")
    );
    assert!(fake.heard.lock().unwrap()[0].contains("id: \"rep_c\""));
    usage_error(&["fleet", "forget"]);
}

#[tokio::test]
async fn a_change_of_a_key_waits_when_told_and_says_how_far_it_came() {
    for (propagation, exit, said) in [
        (complete(3), Exit::Ok, "in force on all 3 replicas\n"),
        (incomplete(), Exit::Failed, MISSING),
    ] {
        let fake = fake::Fake {
            propagation: Some(propagation),
            ..fake::Fake::default()
        };
        for args in [
            &["keys", "disable", "--wait", "key_1"] as &[&str],
            &["keys", "update", "key_1", "--scope=a", "--wait=5s"],
        ] {
            let (ended, captured) = fake::run(&fake, args, b"").await;
            assert_eq!(ended, exit, "{args:?}");
            assert!(captured.err().ends_with(said), "{}", captured.err());
            let heard = fake.calls.lock().unwrap().pop().unwrap();
            assert!(heard.contains("wait: AllReplicas"), "{heard}");
            assert!(heard.contains("seconds: 5"), "{heard}");
        }
        let args = ["keys", "disable", "key_1", "--wait", "-o", "json"];
        let (ended, captured) = fake::run(&fake, &args, b"").await;
        assert_eq!(ended, exit);
        let found: Value = serde_json::from_str(&captured.out()).unwrap();
        assert_eq!(found["propagation"]["total"], 3);
        assert_eq!(captured.err(), said);
    }
}

#[tokio::test]
async fn who_does_not_wait_asks_for_nothing_and_is_told_nothing() {
    let fake = fake::Fake::default();
    let (exit, captured) = fake::run(&fake, &["keys", "disable", "key_1", "-o=json"], b"").await;
    assert_eq!((exit, captured.err().as_str()), (Exit::Ok, ""));
    let found: Value = serde_json::from_str(&captured.out()).unwrap();
    assert_eq!(found["propagation"], Value::Null);
    let heard = fake.calls.lock().unwrap().pop().unwrap();
    assert!(heard.contains("wait_deadline: None"), "{heard}");
    usage_error(&["keys", "disable", "key_1", "--wait=soon"]);
    // What gives access takes no wait.
    usage_error(&["keys", "undelete", "key_1", "--wait"]);
}

/// What `verify-index` is answered, where kinds of these names differ.
fn verified(differ: &[&str]) -> v1::VerifyIndexResponse {
    let kind = |name: &str| v1::VerifiedKind {
        kind: name.to_owned(),
        equal: !differ.contains(&name),
        index_count: 3,
        database_count: 3,
        index_digest: "aa".to_owned(),
        database_digest: "aa".to_owned(),
    };
    v1::VerifyIndexResponse {
        equal: differ.is_empty(),
        revision: "e.9".to_owned(),
        replica: "rep_a".to_owned(),
        name: "a".to_owned(),
        kinds: ["routes", "keys", "secrets"].map(kind).into(),
    }
}

#[tokio::test]
async fn an_index_that_differs_is_told_with_what_differs_and_by_the_exit_code() {
    let mut fake = Fake {
        verified: verified(&[]),
        ..Fake::default()
    };
    let (exit, captured) = run(&fake, &["verify-index"]).await;
    assert_eq!(exit, Exit::Ok, "{}", captured.err());
    assert!(
        captured
            .err()
            .contains("a (rep_a) at e.9 is what the database holds")
    );
    assert!(captured.out().contains("secrets"), "{}", captured.out());

    fake.verified = verified(&["keys", "secrets"]);
    let (exit, captured) = run(&fake, &["verify-index"]).await;
    assert_eq!(exit, Exit::Failed);
    assert!(
        captured.err().contains("keys, secrets differ"),
        "{}",
        captured.err()
    );
    let (exit, captured) = run(&fake, &["verify-index", "--output", "json"]).await;
    assert_eq!(exit, Exit::Failed);
    let value: Value = serde_json::from_str(&captured.out()).unwrap();
    assert_eq!(value["equal"], json!(false));
    assert_eq!(
        value["kinds"][1],
        json!({
            "kind": "keys",
            "equal": false,
            "index_count": 3,
            "database_count": 3,
            "index_digest": "aa",
            "database_digest": "aa",
        })
    );
}
