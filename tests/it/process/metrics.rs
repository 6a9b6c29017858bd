//! What `/metrics` says of all that goes on beside decisions: rows and counts on their way, POSTbacks, routes that are passed
//! without a key, watches, leaks.

use std::time::Instant;

use claviger::grpc::proto::v1::{self, insights_client::InsightsClient};

use crate::harness::{
    Answer, Folder, PATIENCE, Process, Receiver, Target, authority, between_looks, check_of, get,
    key, register,
};

fn metrics(process: &Process) -> String {
    get(&Target::Tcp(process.http), "/metrics", &[]).text()
}

/// The value of one series.
fn value(metrics: &str, series: &str) -> i64 {
    let of_series = |line: &str| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok();
    let found = metrics.lines().find_map(of_series);
    found.unwrap_or_else(|| panic!("no `{series}` in:\n{metrics}"))
}

fn wait_for(process: &Process, series: &str, wanted: impl Fn(i64) -> bool) {
    let began = Instant::now();
    loop {
        let now = metrics(process);
        let found = value(&now, series);
        if wanted(found) {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "{series} is {found}");
        between_looks();
    }
}

fn start() -> Process {
    let ca = authority().certificate.to_str().unwrap();
    let args = ["--postback-allow", "127.0.0.0/8", "--postback-ca-file", ca];
    Process::start(&Folder::of_suite(), &args)
}

#[test]
fn every_family_has_a_name_of_its_own_and_says_what_it_is() {
    let process = start();
    let text = metrics(&process);
    assert!(text.ends_with("# EOF\n"));
    let mut names = Vec::new();
    for line in text.lines() {
        if let Some(of) = line.strip_prefix("# TYPE ") {
            names.push(of.split(' ').next().unwrap().to_owned());
        }
    }
    for name in &names {
        assert!(name.starts_with("claviger_"), "{name}");
        let helps = text.lines().filter_map(|l| l.strip_prefix("# HELP "));
        let helps: Vec<_> = helps
            .filter_map(|help| help.strip_prefix(name.as_str())?.strip_prefix(' '))
            .collect();
        assert!(
            matches!(&helps[..], [help] if help.len() > 10),
            "{name}: {helps:?}"
        );
    }
    let all = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), all, "{names:?}");
    for series in [
        "claviger_request_log_written_total",
        "claviger_request_log_dropped_total",
        "claviger_request_log_queued",
        "claviger_usage_pending",
        "claviger_flush_failures_total{kind=\"usage\"}",
        "claviger_flush_failures_total{kind=\"request_log\"}",
        "claviger_flush_failures_total{kind=\"last_used\"}",
        "claviger_postbacks_delivered_total",
        "claviger_postbacks_given_up_total",
        "claviger_postbacks_passed_over_total",
        "claviger_postbacks_failed_attempts_total{failure=\"TIMEOUT\"}",
        "claviger_postbacks_pending",
        "claviger_postbacks_dead",
        "claviger_postbacks_oldest_pending_age_seconds",
        "claviger_grandfathered_total{reason=\"NO_CREDENTIAL\"}",
        "claviger_shadowed_total{reason=\"IP_NOT_ALLOWED\"}",
        "claviger_under_way{kind=\"watch\"}",
        "claviger_shed_total{kind=\"watch\"}",
        "claviger_leaked_secrets_total",
    ] {
        assert_eq!(value(&text, series), 0, "{series}");
    }
}

#[test]
fn what_is_recorded_and_who_passes_without_a_key_and_who_watches_can_be_scraped() {
    let process = start();
    let admin = process.admin();
    let scheme = |key_scheme: v1::KeyScheme| v1::WorkspaceSettings {
        key_scheme: key_scheme.into(),
        request_log: v1::RequestLog::All.into(),
        ..Default::default()
    };
    admin.change_settings("default", scheme(v1::KeyScheme::Off));
    let route = v1::Route {
        workspace: "default".to_owned(),
        id: "old".to_owned(),
        path: "/old".to_owned(),
        ..Default::default()
    };
    let create = v1::CreateRouteRequest {
        route: Some(route),
        ..Default::default()
    };
    admin.create_route(create).unwrap();
    admin.change_settings("default", scheme(v1::KeyScheme::On));
    let without_key = v1::CheckRequest {
        workspace: "default".to_owned(),
        http: Some(v1::HttpRequest {
            path: "/old".to_owned(),
            ..Default::default()
        }),
        ..Default::default()
    };
    for _ in 0..3 {
        let answer = admin.check(without_key.clone()).unwrap();
        assert_eq!(answer.route, "old");
    }
    let made = admin.make("default", key("one", &[]));
    for _ in 0..4 {
        admin.check(check_of("default", &made.token)).unwrap();
    }
    let now = metrics(&process);
    let passed = "claviger_grandfathered_total{reason=\"NO_CREDENTIAL\"}";
    assert_eq!(value(&now, passed), 3);
    wait_for(&process, "claviger_request_log_written_total", |n| n == 7);
    wait_for(&process, "claviger_request_log_queued", |n| n == 0);
    wait_for(&process, "claviger_usage_pending", |n| n == 0);
    assert_eq!(
        value(&metrics(&process), "claviger_request_log_dropped_total"),
        0
    );

    let leak = || v1::ReportLeakRequest {
        workspace: "default".to_owned(),
        leaks: vec![v1::FoundToken {
            token: made.token.clone(),
            ..Default::default()
        }],
    };
    admin.report_leak(leak()).unwrap();
    // Told again, it is the same one.
    admin.report_leak(leak()).unwrap();
    assert_eq!(
        value(&metrics(&process), "claviger_leaked_secrets_total"),
        1
    );

    let watch = || {
        let mut insights = InsightsClient::new(admin.channel());
        let mut request = admin.request(v1::WatchEventsRequest::default());
        request.metadata_mut().remove("grpc-timeout");
        let watching = async move { insights.watch_events(request).await };
        admin.runtime.block_on(watching).unwrap().into_inner()
    };
    let both = (watch(), watch());
    let open = "claviger_under_way{kind=\"watch\"}";
    wait_for(&process, open, |n| n == 2);
    drop(both);
    wait_for(&process, open, |n| n == 0);
}

#[test]
fn how_many_postbacks_wait_and_how_many_were_given_up_can_be_scraped() {
    let process = start();
    let admin = process.admin();
    let secret = v1::CreateSigningSecretRequest::default();
    register(&admin.create_signing_secret(secret).unwrap().text);
    let receiver = Receiver::start();
    receiver.answer(Answer::Status(500));
    let told = |answer: Answer| {
        receiver.answer(answer);
        let told = v1::Key {
            postback_url: receiver.url(),
            ..key("told", &[])
        };
        admin.make("default", told)
    };
    told(Answer::Status(500));
    let failed = "claviger_postbacks_failed_attempts_total{failure=\"STATUS\"}";
    wait_for(&process, failed, |n| n >= 1);
    wait_for(&process, "claviger_postbacks_pending", |n| n == 1);
    wait_for(
        &process,
        "claviger_postbacks_oldest_pending_age_seconds",
        |n| n >= 1,
    );
    // Who is gone is told of nothing more.
    told(Answer::Status(410));
    wait_for(&process, "claviger_postbacks_given_up_total", |n| n >= 1);
    wait_for(&process, "claviger_postbacks_dead", |n| n >= 1);
    receiver.answer(Answer::Status(204));
    told(Answer::Status(204));
    wait_for(&process, "claviger_postbacks_delivered_total", |n| n >= 1);
}
