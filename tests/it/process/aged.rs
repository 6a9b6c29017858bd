//! Connections that have reached their age: clients go on over others, and nobody notices.

use std::convert::Infallible;
use std::error::Error as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use claviger::client::{AuthorizeLayer, Demand};
use claviger::grpc::proto::v1::authorize_client::AuthorizeClient;
use claviger::grpc::proto::v1::fleet_client::FleetClient;
use claviger::grpc::proto::v1::insights_client::InsightsClient;
use claviger::grpc::proto::v1::{self, Reason};
use http::StatusCode;
use http_body_util::Full;
use tokio::task::JoinSet;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt as _;
use tower::{Layer as _, Service as _, service_fn};

use crate::harness::{
    Admin, Folder, PATIENCE, Process, Rig, RigOptions, SOAK, Visitors, check_of, figure, key,
    revision, sooner_or_later,
};

/// The shortest age.
const AGE: [&str; 2] = ["--max-connection-age", "1s"];
/// How many connections reach it while clients call.
const AGED: f64 = if SOAK { 500.0 } else { 24.0 };
const CLIENTS: usize = 8;

/// A token that opens nothing.
const NOBODYS: &str = "nobody-has-this-token-0123456789";

fn aged(process: &Process) -> f64 {
    process.metric("claviger_aged_connections_total")
}

/// Waits until so many more have reached their age.
fn wait_for(process: &Process, more: f64) {
    let goal = aged(process) + more;
    sooner_or_later(|| match aged(process) {
        so_far if so_far >= goal => Ok(()),
        so_far => Err(so_far),
    });
}

/// What a caller that never pauses was told.
#[derive(Default)]
struct Told {
    allowed: usize,
    /// Calls that ended in the client: one that learns that its connection is let go drops the next call.
    dropped: usize,
    faults: Vec<Status>,
}

/// Asks without a pause until told to stop.
async fn ask(channel: Channel, token: String, stop: Arc<AtomicBool>) -> Told {
    let mut client = AuthorizeClient::new(channel);
    let mut told = Told::default();
    while !stop.load(Ordering::SeqCst) {
        let mut request = Request::new(check_of("default", &token));
        request.set_timeout(PATIENCE);
        match client.check(request).await {
            Ok(answer) if answer.get_ref().reason() == Reason::Ok => told.allowed += 1,
            Ok(answer) => panic!("{answer:?}"),
            Err(status) if came_too_late(&status) => told.dropped += 1,
            Err(status) => told.faults.push(status),
        }
    }
    told
}

/// Whether the call came when its connection was being let go: hyper's clients drop it.
fn came_too_late(status: &Status) -> bool {
    let mut cause = status.source();
    while let Some(error) = cause {
        let hyper = error.downcast_ref::<hyper::Error>();
        let h2 = error.downcast_ref::<h2::Error>();
        if hyper.is_some_and(hyper::Error::is_canceled)
            || h2.is_some_and(|h2| h2.is_go_away() && h2.reason() == Some(h2::Reason::NO_ERROR))
        {
            return true;
        }
        cause = error.source();
    }
    false
}

#[test]
fn no_call_that_the_service_takes_fails_over_connections_that_age() {
    let process = Process::start(&Folder::new(), &AGE);
    let admin = process.admin();
    let made = admin.make("default", key("caller", &[]));
    let stop = Arc::new(AtomicBool::new(false));
    let mut callers = JoinSet::new();
    let clients: Vec<Admin> = (0..CLIENTS).map(|_| process.admin()).collect();
    for client in clients.iter().chain(&clients) {
        let ask = ask(client.channel(), made.token.clone(), Arc::clone(&stop));
        callers.spawn_on(ask, client.runtime.handle());
    }
    wait_for(&process, AGED);
    stop.store(true, Ordering::SeqCst);
    let mut all = Told::default();
    for told in admin.runtime.block_on(callers.join_all()) {
        all.allowed += told.allowed;
        all.dropped += told.dropped;
        all.faults.extend(told.faults);
    }
    assert!(all.faults.is_empty(), "{:#?}", all.faults);
    // The service has seen no other calls than those that were answered, but for what was dropped on its way.
    let decided = process.metric("claviger_decisions_total{surface=\"authorize\",reason=\"OK\"}");
    let (least, most) = (all.allowed, all.allowed + all.dropped);
    assert!(
        (least as f64..=most as f64).contains(&decided),
        "{decided} of {least} to {most}"
    );
    figure(&format!(
        "connection age: {} calls without a pause over {} connections that reached it, 0 failed, {} dropped by their client",
        all.allowed,
        aged(&process),
        all.dropped,
    ));
}

#[test]
fn a_guarded_service_lets_every_request_through_over_connections_that_age() {
    let process = Process::start(&Folder::new(), &AGE);
    let admin = process.admin();
    admin.declare("default", &["orders:read"]);
    let made = admin.make("default", key("caller", &["orders:read"]));
    let layer = {
        let _in_runtime = admin.runtime.enter();
        AuthorizeLayer::new(admin.channel(), Demand::all_of(["orders:read"])).deadline(PATIENCE)
    };
    let stop = Arc::new(AtomicBool::new(false));
    let mut callers = JoinSet::new();
    for _ in 0..CLIENTS {
        let (layer, stop, token) = (layer.clone(), Arc::clone(&stop), made.token.clone());
        let visit = async move {
            let behind = service_fn(|_| async {
                Ok::<_, Infallible>(http::Response::new(Full::<Bytes>::default()))
            });
            let mut guarded = layer.layer(behind);
            let mut statuses = Vec::new();
            while !stop.load(Ordering::SeqCst) {
                let request = http::Request::get("/orders").header("x-api-key", &token);
                let request = request.body(Full::<Bytes>::default()).unwrap();
                statuses.push(guarded.call(request).await.unwrap().status());
            }
            statuses
        };
        callers.spawn_on(visit, admin.runtime.handle());
    }
    wait_for(&process, AGED / 8.0);
    stop.store(true, Ordering::SeqCst);
    let statuses = admin.runtime.block_on(callers.join_all()).concat();
    let refused: Vec<_> = statuses.iter().filter(|s| **s != StatusCode::OK).collect();
    assert!(refused.is_empty(), "{refused:?} of {}", statuses.len());
    figure(&format!(
        "connection age: {} requests to a guarded service over {} connections that reached it, {} refused",
        statuses.len(),
        aged(&process),
        refused.len(),
    ));
}

#[test]
fn requests_through_envoy_over_connections_that_age_all_succeed() {
    let rig = Rig::start(&RigOptions {
        args: AGE.to_vec(),
        ..RigOptions::default()
    });
    let made = rig.admin.make("default", key("caller", &["orders:read"]));
    let pause = std::time::Duration::from_millis(1);
    let visitors = Visitors::start(CLIENTS, pause, rig.envoy.address(), &made.token);
    // Envoy has one for requests, one for its looks at health.
    wait_for(&rig.process, AGED / 4.0);
    let (asked, faults) = visitors.stop();
    assert!(
        faults.is_empty(),
        "{} of {asked}: {faults:#?}",
        faults.len()
    );
    figure(&format!(
        "connection age behind Envoy: {asked} requests over {} connections that reached it, {} failed",
        aged(&rig.process),
        faults.len()
    ));
}

#[test]
fn a_call_under_way_outlives_the_age_of_its_connection() {
    let process = Process::start(&Folder::new(), &["--max-connection-age", "3s"]);
    // Whoever asks beside it does so over a connection that is young.
    let now = process.admin().decide("default", NOBODYS).revision;
    let (epoch, n) = now.split_once('.').unwrap();
    let slow = process.admin();
    let request = slow.request(v1::WaitForRevisionRequest {
        revision: format!("{epoch}.{}", n.parse::<u64>().unwrap() + 1),
        wait_deadline: Some(PATIENCE.try_into().unwrap()),
    });
    let mut client = FleetClient::new(slow.channel());
    let waiting = slow
        .runtime
        .spawn(async move { client.wait_for_revision(request).await });
    wait_for(&process, 1.0);
    assert!(!waiting.is_finished());
    process.admin().make("default", key("made meanwhile", &[]));
    let answer = slow.runtime.block_on(waiting).unwrap().unwrap();
    assert!(answer.into_inner().propagation.unwrap().complete);
}

#[test]
fn a_watch_is_told_that_its_connection_has_aged_and_goes_on_where_it_was() {
    let process = Process::start(&Folder::new(), &AGE);
    let mut position = process.admin().decide("default", NOBODYS).revision;
    let from = revision(&position);
    let (mut seen, mut made) = (Vec::new(), Vec::new());
    let mut streams = 0;
    while streams < 3 {
        let named = format!("key {}", made.len());
        made.push(process.admin().make("default", key(&named, &[])).id);
        let watcher = process.admin();
        let request = watcher.request(v1::WatchEventsRequest {
            workspace: "default".to_owned(),
            after: position.clone(),
            ..Default::default()
        });
        let end = watcher.runtime.block_on(async {
            let mut client = InsightsClient::new(watcher.channel());
            let mut stream = client.watch_events(request).await?.into_inner();
            loop {
                let message = stream.message().await?.expect("it ends with a word why");
                seen.extend(message.events);
                position = message.position;
            }
        });
        let end: Result<(), Status> = end;
        let end = end.unwrap_err();
        // A machine that is busy enough lets it age before anything is sent.
        if !came_too_late(&end) {
            let reason = end
                .get_error_details()
                .error_info()
                .map(|i| i.reason.clone());
            assert_eq!(
                (end.code(), reason.as_deref()),
                (Code::Unavailable, Some("CONNECTION_AGED"))
            );
            streams += 1;
        }
    }
    let told: Vec<&str> = seen.iter().map(|e| e.resource_id.as_str()).collect();
    assert!(
        made.iter()
            .map(String::as_str)
            .take(told.len())
            .eq(told.iter().copied())
    );
    let revisions = seen.iter().map(|e| revision(&e.revision));
    assert!(revisions.eq(from + 1..=from + told.len() as u64));
    assert!(told.len() >= 2, "{told:?}");
}
