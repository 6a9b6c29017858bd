//! `explain` and `audit` against a server that answers what a test wants.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use futures::StreamExt as _;
use futures::stream::BoxStream;
use prost_types::{Struct, Timestamp, Value as WireValue, value::Kind};
use serde_json::Value;
use tonic::service::Routes;
use tonic::{Request, Response, Status};

use super::super::Exit;
use super::super::io::testing::Captured;
use super::fake::run_against;
use crate::grpc::proto::v1;
use v1::insights_server::{Insights, InsightsServer};

/// What each coming stream says before it ends.
type Streams = Arc<Mutex<VecDeque<Vec<Result<v1::WatchEventsResponse, Status>>>>>;

#[derive(Clone, Default)]
struct Fake {
    explained: v1::ExplainResponse,
    heard: Arc<Mutex<Vec<v1::ExplainRequest>>>,
    listed: Arc<Mutex<Vec<v1::ListAuditEventsRequest>>>,
    watched: Arc<Mutex<Vec<String>>>,
    streams: Streams,
}

#[tonic::async_trait]
impl Insights for Fake {
    async fn explain(
        &self,
        request: Request<v1::ExplainRequest>,
    ) -> Result<Response<v1::ExplainResponse>, Status> {
        self.heard.lock().unwrap().push(request.into_inner());
        Ok(Response::new(self.explained.clone()))
    }

    async fn list_audit_events(
        &self,
        request: Request<v1::ListAuditEventsRequest>,
    ) -> Result<Response<v1::ListAuditEventsResponse>, Status> {
        self.listed.lock().unwrap().push(request.into_inner());
        Ok(Response::new(v1::ListAuditEventsResponse {
            events: vec![event(7)],
            next_page_token: String::new(),
        }))
    }

    async fn list_decisions(
        &self,
        _: Request<v1::ListDecisionsRequest>,
    ) -> Result<Response<v1::ListDecisionsResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn get_usage(
        &self,
        _: Request<v1::GetUsageRequest>,
    ) -> Result<Response<v1::GetUsageResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn get_shadow_report(
        &self,
        _: Request<v1::GetShadowReportRequest>,
    ) -> Result<Response<v1::GetShadowReportResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn reset_shadow_report(
        &self,
        _: Request<v1::ResetShadowReportRequest>,
    ) -> Result<Response<v1::ResetShadowReportResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn get_key_hygiene(
        &self,
        _: Request<v1::GetKeyHygieneRequest>,
    ) -> Result<Response<v1::GetKeyHygieneResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    type WatchEventsStream = BoxStream<'static, Result<v1::WatchEventsResponse, Status>>;

    async fn watch_events(
        &self,
        request: Request<v1::WatchEventsRequest>,
    ) -> Result<Response<Self::WatchEventsStream>, Status> {
        self.watched
            .lock()
            .unwrap()
            .push(request.into_inner().after);
        let messages = self.streams.lock().unwrap().pop_front();
        let messages = futures::stream::iter(messages.unwrap_or_default());
        Ok(Response::new(messages.boxed()))
    }
}

fn event(n: u64) -> v1::AuditEvent {
    let number = |n: f64| WireValue {
        kind: Some(Kind::NumberValue(n)),
    };
    v1::AuditEvent {
        revision: format!("e.{n}"),
        time: Some(Timestamp {
            seconds: 1_767_225_600,
            nanos: 0,
        }),
        actor: "key_1".to_owned(),
        action: "UPDATE".to_owned(),
        workspace: "acme".to_owned(),
        resource_kind: "KEY".to_owned(),
        resource_id: format!("key_{n}"),
        after: Some(Struct {
            fields: [
                ("whole".to_owned(), number(3.0)),
                ("half".to_owned(), number(0.5)),
            ]
            .into(),
        }),
        changed_fields: vec!["settings.enabled".to_owned()],
        ..Default::default()
    }
}

fn message(events: &[u64], position: &str) -> Result<v1::WatchEventsResponse, Status> {
    Ok(v1::WatchEventsResponse {
        events: events.iter().map(|n| event(*n)).collect(),
        position: position.to_owned(),
    })
}

async fn run(fake: &Fake, args: &[&str], mut captured: Captured) -> (Exit, Captured) {
    captured
        .environment
        .push(("CLAVIGER_TOKEN", "admin-token".to_owned()));
    let services = Routes::new(InsightsServer::new(fake.clone()));
    run_against(services, args, captured).await
}

fn explained(decision: v1::Decision) -> v1::ExplainResponse {
    let step =
        |check: v1::explain_step::Check, outcome: v1::explain_step::Outcome, reason, why: &str| {
            v1::ExplainStep {
                check: check.into(),
                outcome: outcome.into(),
                reason,
                detail: why.to_owned(),
            }
        };
    use v1::explain_step::{Check, Outcome};
    let reason = i32::from(v1::Reason::IpNotAllowed);
    v1::ExplainResponse {
        decision: Some(v1::CheckResponse {
            decision: decision.into(),
            reason,
            http_status: 403,
            ..Default::default()
        }),
        steps: vec![
            step(Check::Demand, Outcome::Passed, 0, "demands `a`"),
            step(
                Check::Network,
                Outcome::Failed,
                reason,
                "192.0.2.1 is in none of 10.0.0.0/8",
            ),
            step(
                Check::Scopes,
                Outcome::NotReached,
                0,
                "NETWORK decided before",
            ),
        ],
        time: None,
    }
}

#[tokio::test]
async fn an_explanation_is_read_step_by_step_and_its_exit_code_is_the_decision() {
    for (decision, exit) in [
        (v1::Decision::Deny, Exit::Failed),
        (v1::Decision::Allow, Exit::Ok),
        (v1::Decision::Unspecified, Exit::Failed),
    ] {
        let fake = Fake {
            explained: explained(decision),
            ..Fake::default()
        };
        let args = [
            "explain",
            "key_1",
            "--scope=a",
            "--source-ip=192.0.2.1",
            "--via=envoy",
            "--at=1h",
        ];
        let (ended, captured) = run(&fake, &args, Captured::default()).await;
        assert_eq!(ended, exit, "{}", captured.err());
        let out = captured.out();
        for line in [
            "CHECK",
            "DEMAND   PASSED       demands `a`",
            "NETWORK  FAILED       IP_NOT_ALLOWED: 192.0.2.1 is in none of 10.0.0.0/8",
            "SCOPES   NOT_REACHED  NETWORK decided before",
        ] {
            assert!(out.contains(line), "{out}");
        }
        let heard = fake.heard.lock().unwrap().remove(0);
        assert_eq!(heard.key_id, "key_1");
        assert_eq!(heard.surface(), v1::explain_request::Surface::Envoy);
        assert_eq!(heard.at_time.unwrap().seconds, 1_767_225_600 + 3_600);
        assert_eq!(heard.check.unwrap().required_scopes, ["a"]);
    }
}

#[tokio::test]
async fn a_request_is_read_from_a_file_of_headers() {
    let fake = Fake::default();
    let captured = Captured {
        input: b"X-Api-Key: clv_secret\r\nAccept: a: b\n\n".to_vec(),
        ..Captured::default()
    };
    let args = ["explain", "--headers-file=-", "--path=/v1?x=1", "-o=json"];
    let (_, captured) = run(&fake, &args, captured).await;
    let heard = fake.heard.lock().unwrap().remove(0);
    let http = heard.check.unwrap().http.unwrap();
    let headers: Vec<_> = http.headers.iter().map(|h| (&*h.name, &*h.value)).collect();
    assert_eq!(headers, [("X-Api-Key", "clv_secret"), ("Accept", "a: b")]);
    assert_eq!(http.path, "/v1?x=1");
    assert!(!captured.out().contains("clv_secret"));
    let wrong = Captured {
        input: b"no header".to_vec(),
        ..Captured::default()
    };
    let (exit, _) = run(&fake, &args, wrong).await;
    assert_eq!(exit, Exit::Usage);
}

#[tokio::test]
async fn the_log_is_listed_by_what_is_asked_for() {
    let fake = Fake::default();
    let args = [
        "audit",
        "list",
        "--action=update,reveal",
        "--kind=key",
        "--actor=key_1",
        "--id=key_7",
        "--since=1h",
        "--until=2026-01-01T00:00:00Z",
        "-w=acme",
    ];
    let (exit, captured) = run(&fake, &args, Captured::default()).await;
    assert_eq!(exit, Exit::Ok, "{}", captured.err());
    let asked = fake.listed.lock().unwrap().remove(0);
    assert_eq!(asked.actions, ["UPDATE", "REVEAL"]);
    assert_eq!(asked.resource_kinds, ["KEY"]);
    assert_eq!((&*asked.actor, &*asked.resource_id), ("key_1", "key_7"));
    assert_eq!(asked.workspace, "acme");
    assert_eq!(asked.start_time.unwrap().seconds, 1_767_225_600 - 3_600);
    assert_eq!(asked.end_time.unwrap().seconds, 1_767_225_600);
    let out = captured.out();
    assert!(out.contains("2026-01-01T00:00:00Z  key_1  UPDATE"), "{out}");
    assert!(out.contains("KEY key_7  settings.enabled  e.7"), "{out}");
    let (_, captured) = run(&fake, &["audit", "list", "-o=json"], Captured::default()).await;
    let value: Value = serde_json::from_str(&captured.out()).unwrap();
    assert_eq!(value["events"][0]["after"]["whole"], 3);
    assert_eq!(value["events"][0]["after"]["half"], 0.5);
    assert_eq!(value["events"][0]["before"], Value::Null);
}

#[tokio::test]
async fn a_watch_goes_on_by_itself_behind_what_it_has_shown() {
    let streams = VecDeque::from([
        vec![
            message(&[], "e.1"),
            message(&[2, 3], "e.3"),
            Err(Status::unavailable("gone")),
        ],
        vec![message(&[4], "e.4")],
        vec![
            message(&[5], "e.5"),
            message(&[], "e.9"),
            Err(Status::failed_precondition("pruned")),
        ],
    ]);
    let fake = Fake {
        streams: Arc::new(Mutex::new(streams)),
        ..Fake::default()
    };
    let (exit, captured) = run(&fake, &["audit", "watch", "-o=json"], Captured::default()).await;
    // This can't be waited out.
    assert_eq!(exit, Exit::Conflict);
    assert_eq!(*fake.watched.lock().unwrap(), ["", "e.3", "e.4"]);
    let lines: Vec<Value> = captured
        .out()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let shown: Vec<_> = lines.iter().map(|line| line["position"].clone()).collect();
    assert_eq!(shown, ["e.3", "e.4", "e.5"]);
    assert_eq!(lines[0]["events"][1]["resource_id"], "key_3");
    let told: Vec<_> = captured.err().lines().map(str::to_owned).collect();
    assert_eq!(
        told,
        [
            "gone; watching on in 200ms",
            "the server ended the stream; watching on in 200ms",
            "error: pruned",
        ]
    );
}

#[tokio::test]
async fn who_interrupts_a_watch_is_told_how_to_go_on() {
    let (interrupt, wanted) = tokio::sync::oneshot::channel();
    interrupt.send(()).unwrap();
    let captured = Captured {
        interrupt: Some(wanted),
        ..Captured::default()
    };
    let args = ["audit", "watch", "--after=e.1"];
    let (exit, captured) = run(&Fake::default(), &args, captured).await;
    assert_eq!(exit, Exit::Interrupted);
    assert_eq!(captured.err(), "to go on: `--after e.1`\n");
}
