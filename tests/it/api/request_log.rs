//! The request log: what a row holds, which requests it has, who sees it, and for how long.

use std::time::Duration;

use claviger::grpc::proto::v1::credential_location::Location;
use claviger::grpc::proto::v1::{self, Decision, Reason};

use super::check::http;
use super::stage::{Made, Stage, asking, creating, duration, holding, invalid, ok, routing};
use crate::harness::server::Client;

const PATIENCE: Duration = Duration::from_secs(30);

impl Stage {
    /// Switches the log of `acme`.
    pub(crate) async fn log(&self, log: v1::RequestLog) {
        let settings = v1::WorkspaceSettings {
            request_log: log.into(),
            ..Default::default()
        };
        self.configure("acme", settings).await;
    }

    /// The log of `acme` as a caller sees it, once it has this many rows.
    pub(crate) async fn logged(
        &self,
        by: &Client,
        filter: v1::DecisionFilter,
        count: usize,
    ) -> Vec<v1::LoggedDecision> {
        let request = v1::ListDecisionsRequest {
            workspace: "acme".to_owned(),
            filter: Some(filter),
            page_size: 1_000,
            ..Default::default()
        };
        let wait = async {
            loop {
                let answer = ok(by.insights().list_decisions(request.clone()).await);
                if answer.decisions.len() >= count {
                    return answer.decisions;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let rows = tokio::time::timeout(PATIENCE, wait).await;
        let rows = rows.expect("the log has that many rows in time");
        assert_eq!(rows.len(), count, "{rows:#?}");
        rows
    }

    /// A request with this credential for a path.
    pub(crate) fn http(token: &str, path: &str, ip: &str, scopes: &[&str]) -> v1::CheckRequest {
        let headers = [("x-api-key", token), ("user-agent", "tests")];
        v1::CheckRequest {
            credential: None,
            http: Some(v1::HttpRequest {
                headers: headers
                    .iter()
                    .map(|(name, value)| v1::HttpHeader {
                        name: (*name).to_owned(),
                        value: (*value).to_owned(),
                    })
                    .collect(),
                path: path.to_owned(),
                ..Default::default()
            }),
            source_ip: ip.to_owned(),
            ..asking("acme", token, scopes)
        }
    }

    pub(crate) async fn bound_key(&self, scopes: &[&str], subscriptions: &[&str]) -> Made {
        let key = v1::Key {
            subscriptions: subscriptions.iter().map(|s| (*s).to_owned()).collect(),
            ..holding(scopes)
        };
        self.make(creating("acme", key)).await
    }
}

fn nothing() -> v1::DecisionFilter {
    v1::DecisionFilter::default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_says_what_was_decided_about_whom_and_never_what_was_presented() {
    let stage = Stage::set().await;
    stage.log(v1::RequestLog::All).await;
    let key = stage.bound_key(&["orders:read"], &["basic"]).await;
    let path = format!("/v1/orders/42?page=2&token={}", key.primary);
    let asked = Stage::http(&key.primary, &path, "192.0.2.7", &["orders:read"]);
    let answer = stage.check(asked).await;
    assert_eq!(answer.decision(), Decision::Allow);
    let rows = stage.logged(&stage.acme, nothing(), 1).await;
    let row = &rows[0];
    assert_eq!(row.workspace, "acme");
    assert_eq!(row.decision(), Decision::Allow);
    assert_eq!(row.reason(), Reason::Ok);
    assert_eq!(
        (&row.key_id, &row.secret_id),
        (&key.id(), &answer.secret_id)
    );
    assert_eq!(row.subscription, "basic");
    assert_eq!(row.presentation(), v1::Presentation::Header);
    assert_eq!(row.source_ip, "192.0.2.7");
    assert_eq!(
        (row.method.as_str(), row.path.as_str()),
        ("", "/v1/orders/42")
    );
    assert_eq!(row.surface(), v1::Surface::Authorize);
    assert_eq!(row.required_scopes, ["orders:read"]);
    assert_eq!(row.revision, answer.revision);
    assert_eq!((row.id.len(), row.replica.len()), (32, 8));
    assert_eq!(row.time.unwrap().seconds, 1_800_000_000);
    assert!(row.missing.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_workspace_says_live_which_requests_are_logged() {
    let stage = Stage::set().await;
    let key = stage.key(&["orders:read"]).await;
    let allowed = || stage.check(asking("acme", &key.primary, &["orders:read"]));
    let denied = || stage.check(asking("acme", &key.primary, &["orders:write"]));
    let sampled = |share: Option<f64>| v1::WorkspaceSettings {
        request_log: v1::RequestLog::DeniedAndSampled.into(),
        request_log_sample: share,
        ..Default::default()
    };
    stage.configure("acme", sampled(Some(0.0))).await;
    for _ in 0..200 {
        allowed().await;
    }
    denied().await;
    let rows = stage.logged(&stage.acme, nothing(), 1).await;
    assert_eq!(rows[0].reason(), Reason::InsufficientScope);

    stage.log(v1::RequestLog::Off).await;
    denied().await;
    stage.log(v1::RequestLog::All).await;
    for _ in 0..10 {
        allowed().await;
    }
    stage.logged(&stage.acme, nothing(), 11).await;

    // A share of one in two: what is logged is neither all nor nothing, and is what the settings say again.
    stage.configure("acme", sampled(Some(0.5))).await;
    let workspace = v1::GetWorkspaceRequest {
        id: "acme".to_owned(),
    };
    let workspace = ok(stage.acme.directory().get_workspace(workspace).await).workspace;
    let settings = workspace.unwrap().settings.unwrap();
    assert_eq!(settings.request_log_sample, Some(0.5));
    for _ in 0..400 {
        allowed().await;
    }
    denied().await;
    let denials = v1::DecisionFilter {
        decision: Decision::Deny.into(),
        ..Default::default()
    };
    // Those of a time are written together: once the denial is there, all of before are.
    stage.logged(&stage.acme, denials, 2).await;
    let request = v1::ListDecisionsRequest {
        page_size: 1_000,
        ..Default::default()
    };
    let all = ok(stage.acme.insights().list_decisions(request).await).decisions;
    assert!((100..=311).contains(&(all.len() - 12)), "{}", all.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn decisions_are_found_by_each_filter_and_page_by_page_newest_first() {
    let stage = Stage::set().await;
    stage.log(v1::RequestLog::All).await;
    let (one, two) = (
        stage.bound_key(&["orders:read"], &["basic"]).await,
        stage.bound_key(&["orders:read"], &["pro"]).await,
    );
    let mut asked = 0;
    for (key, ip, scope) in [
        (&one, "192.0.2.1", "orders:read"),
        (&one, "192.0.2.2", "orders:write"),
        (&two, "192.0.2.1", "orders:read"),
        (&two, "2001:db8::7", "orders:write"),
    ] {
        stage.advance(Duration::from_secs(60));
        stage
            .check(Stage::http(&key.primary, "/", ip, &[scope]))
            .await;
        asked += 1;
    }
    let unknown = "nobody-made-this-9f86d081884c7d65";
    stage.advance(Duration::from_secs(60));
    stage
        .check(Stage::http(unknown, "/", "192.0.2.2", &["orders:read"]))
        .await;
    asked += 1;
    let all = stage.logged(&stage.acme, nothing(), asked).await;
    let times: Vec<_> = all.iter().map(|row| row.time.unwrap().seconds).collect();
    assert!(times.is_sorted_by(|a, b| a > b), "{times:?}");
    let ids = |rows: &[v1::LoggedDecision]| -> Vec<String> {
        rows.iter().map(|row| row.id.clone()).collect()
    };
    let moment = |n: usize| all[n].time;
    let filter = v1::DecisionFilter::default;
    for (filter, found) in [
        (
            v1::DecisionFilter {
                key_id: one.id(),
                ..filter()
            },
            &[3, 4][..],
        ),
        (
            v1::DecisionFilter {
                subscription: "pro".to_owned(),
                ..filter()
            },
            &[1, 2],
        ),
        (
            v1::DecisionFilter {
                reason: Reason::InsufficientScope.into(),
                ..filter()
            },
            &[1, 3],
        ),
        (
            v1::DecisionFilter {
                reason: Reason::Ok.into(),
                ..filter()
            },
            &[2, 4],
        ),
        (
            v1::DecisionFilter {
                decision: Decision::Deny.into(),
                ..filter()
            },
            &[0, 1, 3],
        ),
        (
            v1::DecisionFilter {
                decision: Decision::Allow.into(),
                ..filter()
            },
            &[2, 4],
        ),
        (
            v1::DecisionFilter {
                source_ip: "192.0.2.2".to_owned(),
                ..filter()
            },
            &[0, 3],
        ),
        (
            v1::DecisionFilter {
                source_ip: "2001:DB8::7".to_owned(),
                ..filter()
            },
            &[1],
        ),
        (
            v1::DecisionFilter {
                route: "no-such-route".to_owned(),
                ..filter()
            },
            &[],
        ),
        (
            v1::DecisionFilter {
                start_time: moment(2),
                end_time: moment(0),
                ..filter()
            },
            &[1, 2],
        ),
        (
            v1::DecisionFilter {
                key_id: two.id(),
                decision: Decision::Deny.into(),
                source_ip: "2001:db8::7".to_owned(),
                ..filter()
            },
            &[1],
        ),
    ] {
        let expected: Vec<_> = found.iter().map(|n| all[*n].id.clone()).collect();
        let what = format!("{filter:?}");
        let rows = stage.logged(&stage.acme, filter, found.len()).await;
        assert_eq!(ids(&rows), expected, "{what}");
    }
    let (mut paged, mut token) = (Vec::new(), String::new());
    loop {
        let request = v1::ListDecisionsRequest {
            page_size: 2,
            page_token: token,
            ..Default::default()
        };
        let page = ok(stage.acme.insights().list_decisions(request).await);
        assert!(page.decisions.len() <= 2);
        paged.extend(ids(&page.decisions));
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(paged, ids(&all));
    // A token belongs to its list.
    let request = v1::ListDecisionsRequest {
        page_size: 1,
        ..Default::default()
    };
    let token = ok(stage.acme.insights().list_decisions(request).await).next_page_token;
    let other = v1::ListDecisionsRequest {
        filter: Some(v1::DecisionFilter {
            key_id: one.id(),
            ..filter()
        }),
        page_token: token,
        ..Default::default()
    };
    invalid(
        stage.acme.insights().list_decisions(other).await,
        "page_token",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_bound_to_subscriptions_sees_theirs_alone_and_another_tenant_nothing() {
    let stage = Stage::set().await;
    stage.log(v1::RequestLog::All).await;
    let bound = stage.bound(&["claviger:*"], &["basic"]).await;
    let (theirs, others) = (
        stage.bound_key(&["orders:read"], &["basic"]).await,
        stage.bound_key(&["orders:read"], &["pro"]).await,
    );
    for key in [&theirs, &others] {
        stage
            .check(asking("acme", &key.primary, &["orders:read"]))
            .await;
        // Denied before it was asked for which subscription: still the key's only one.
        stage
            .check(asking("acme", &key.primary, &["orders:write"]))
            .await;
    }
    stage.logged(&stage.acme, nothing(), 4).await;
    let rows = stage.logged(&bound, nothing(), 2).await;
    assert!(
        rows.iter().all(|row| row.key_id == theirs.id()),
        "{rows:#?}"
    );
    let foreign = v1::DecisionFilter {
        subscription: "pro".to_owned(),
        ..Default::default()
    };
    stage.logged(&bound, foreign, 0).await;
    let own = v1::ListDecisionsRequest::default();
    let seen = ok(stage.other.insights().list_decisions(own).await).decisions;
    assert!(seen.is_empty(), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_go_with_their_retention_and_all_of_them_with_their_workspace() {
    let stage = Stage::set().await;
    let settings = v1::WorkspaceSettings {
        request_log: v1::RequestLog::All.into(),
        request_log_retention: duration(7_200),
        ..Default::default()
    };
    stage.configure("acme", settings).await;
    let key = stage.key(&["orders:read"]).await;
    let ask = || stage.check(asking("acme", &key.primary, &["orders:read"]));
    ask().await;
    stage.logged(&stage.acme, nothing(), 1).await;
    stage.advance(Duration::from_secs(7_100));
    ask().await;
    stage.logged(&stage.acme, nothing(), 2).await;
    let stage = stage.restart().await;
    stage.logged(&stage.acme, nothing(), 2).await;

    // A workspace that is made again under the same name knows nothing of what was.
    let workspace = || v1::CreateWorkspaceRequest {
        workspace: Some(v1::Workspace {
            id: "brief".to_owned(),
            settings: Some(v1::WorkspaceSettings {
                request_log: v1::RequestLog::All.into(),
                ..Default::default()
            }),
            ..Default::default()
        }),
        ..Default::default()
    };
    ok(stage.system.directory().create_workspace(workspace()).await);
    stage
        .check(asking("brief", "nobody-made-this-9f86d081884c7d65", &["a"]))
        .await;
    let listing = v1::ListDecisionsRequest {
        workspace: "brief".to_owned(),
        ..Default::default()
    };
    let listed = || async {
        let listed = stage
            .system
            .insights()
            .list_decisions(listing.clone())
            .await;
        ok(listed).decisions.len()
    };
    let wait = async {
        while listed().await == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap();
    let delete = v1::DeleteWorkspaceRequest {
        id: "brief".to_owned(),
        ..Default::default()
    };
    ok(stage.system.directory().delete_workspace(delete).await);
    ok(stage.system.directory().create_workspace(workspace()).await);
    assert_eq!(listed().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_off_the_record_is_known_as_such_in_a_header_that_only_another_route_names() {
    let stage = Stage::set().await;
    let settings = v1::WorkspaceSettings {
        request_log: v1::RequestLog::All.into(),
        unmatched_requests: v1::UnmatchedRequests::Deny.into(),
        ..Default::default()
    };
    stage.configure("acme", settings).await;
    let own = v1::Route {
        locations: vec![v1::CredentialLocation {
            location: Some(Location::Header("X-Own-Key".to_owned())),
        }],
        ..routing("acme", "own", "/own").route.unwrap()
    };
    let create = v1::CreateRouteRequest {
        route: Some(own),
        ..Default::default()
    };
    ok(stage.acme.routes().create_route(create).await);
    let made = async |off_the_record| {
        let key = v1::Key {
            off_the_record,
            ..holding(&["orders:read"])
        };
        stage.make(creating("acme", key)).await
    };
    let (unseen, seen) = (made(true).await, made(false).await);
    for key in [unseen, seen] {
        let header = ("x-own-key", &*key.primary);
        let answer = stage.check(http(&[header], "/elsewhere")).await;
        assert_eq!(answer.reason(), Reason::RouteUnknown);
        // Where a route is known, and something else is wrong.
        let two = [header, ("X-Own-Key", "another-key-16b")];
        let answer = stage.check(http(&two, "/own")).await;
        assert_eq!(answer.reason(), Reason::AmbiguousCredential);
    }
    let rows = stage.logged(&stage.acme, nothing(), 2).await;
    let mut reasons: Vec<_> = rows.iter().map(v1::LoggedDecision::reason).collect();
    // Of the same moment, they are in no order.
    reasons.sort();
    assert_eq!(reasons, [Reason::AmbiguousCredential, Reason::RouteUnknown]);
}
