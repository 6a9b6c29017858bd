//! What Envoy's requests leave behind: a row of the request log each, and nothing at all of a key that is off the record.

use std::path::{Path, PathBuf};
use std::time::Instant;

use claviger::grpc::proto::v1::{self, Decision, Key, Reason};

use crate::harness::{
    EnvoyOptions, PATIENCE, Rig, RigOptions, Target, between_looks, demands, get, header, key,
};

/// What one client alone sends.
struct Only {
    address: &'static str,
    path: &'static str,
}

const SEEN: Only = Only {
    address: "203.0.113.88",
    path: "seen-8842",
};
const UNSEEN: Only = Only {
    address: "198.51.100.77",
    path: "unseen-7731",
};

fn log_all(rig: &Rig) {
    set(
        rig,
        v1::WorkspaceSettings {
            request_log: v1::RequestLog::All.into(),
            ..Default::default()
        },
    );
}

fn set(rig: &Rig, settings: v1::WorkspaceSettings) {
    let update = v1::UpdateWorkspaceRequest {
        workspace: Some(v1::Workspace {
            id: "default".to_owned(),
            settings: Some(settings),
            ..Default::default()
        }),
        ..Default::default()
    };
    rig.admin.update_workspace(update).unwrap();
}

/// The log, once it has as many rows.
fn logged(rig: &Rig, count: usize) -> Vec<v1::LoggedDecision> {
    let began = Instant::now();
    loop {
        let request = v1::ListDecisionsRequest {
            page_size: 1_000,
            ..Default::default()
        };
        let rows = rig.admin.list_decisions(request).unwrap().decisions;
        if rows.len() >= count {
            return rows;
        }
        assert!(began.elapsed() < PATIENCE, "{rows:#?}");
        between_looks();
    }
}

fn usage(rig: &Rig, key: &str, count: i64) -> Vec<v1::UsagePoint> {
    let began = Instant::now();
    loop {
        let request = v1::GetUsageRequest {
            key_id: key.to_owned(),
            group_by: vec![v1::UsageDimension::Reason.into()],
            ..Default::default()
        };
        let points = rig.admin.get_usage(request).unwrap().points;
        let sum: i64 = points.iter().map(|point| point.count).sum();
        if sum >= count {
            assert_eq!(sum, count, "{points:#?}");
            return points;
        }
        assert!(began.elapsed() < PATIENCE, "{points:#?}");
        between_looks();
    }
}

/// Every request that leaves a trace where it may.
fn all_kinds(rig: &Rig, only: &Only, token: &str) {
    let with = |path: &str, headers: &[(&str, &str)]| {
        let mut all = vec![header("x-forwarded-for", only.address)];
        all.extend(headers.iter().map(|(name, value)| header(name, value)));
        rig.envoy.get(format!("{path}/{}", only.path), &all).status
    };
    assert_eq!(with("/orders", &[("x-api-key", token)]), 200);
    // Where a route is open, or lets pass who has no key; nobody looks whose the key is then, or two may be there.
    assert_eq!(with("/open", &[("x-api-key", token)]), 200);
    let two = [("x-api-key", token), ("api-key", "another-key-16b")];
    assert_eq!(with("/keyless", &two), 200);
    // Without a scope it lacks; twice, in a way that can be read differently; and where nothing is demanded, which is told
    // before it is looked at whose the key is.
    assert_eq!(with("/write", &[("x-api-key", token)]), 403);
    assert_eq!(
        with(
            "/orders",
            &[("x-api-key", token), ("api-key", "another-key-16b")]
        ),
        400
    );
    assert_eq!(with("/undemanded", &[("x-api-key", token)]), 403);
    let bearer = format!("Bearer {token}");
    assert_eq!(with("/undemanded", &[("authorization", &bearer)]), 403);
}

/// Whether a text stands in any file below these.
fn stands(text: &str, places: &[PathBuf]) -> bool {
    let holds = |path: &Path| {
        let bytes = std::fs::read(path).unwrap();
        bytes.windows(text.len()).any(|w| w == text.as_bytes())
    };
    places.iter().any(|place| {
        if place.is_dir() {
            let inside = std::fs::read_dir(place).unwrap();
            let inside: Vec<_> = inside.map(|entry| entry.unwrap().path()).collect();
            stands(text, &inside)
        } else {
            holds(place)
        }
    })
}

#[test]
fn a_key_off_the_record_leaves_nothing_of_any_request_but_the_hourly_count() {
    let mut rig = Rig::start(&RigOptions {
        args: vec!["--trusted-proxies", "127.0.0.0/8", "--log", "trace"],
        envoy: EnvoyOptions {
            routes: vec![
                demands("/write", &[("scopes", "orders:write")]),
                demands("/undemanded", &[]),
                demands("/open", &[]),
                demands("/keyless", &[]),
            ],
            use_remote_address: Some(false),
            ..EnvoyOptions::default()
        },
    });
    let switch = |key_scheme: v1::KeyScheme| {
        set(
            &rig,
            v1::WorkspaceSettings {
                key_scheme: key_scheme.into(),
                request_log: v1::RequestLog::All.into(),
                ..Default::default()
            },
        );
    };
    switch(v1::KeyScheme::Off);
    for (id, access) in [
        ("open", v1::Access::Public),
        ("keyless", v1::Access::KeyRequired),
    ] {
        let route = v1::Route {
            workspace: "default".to_owned(),
            id: id.to_owned(),
            path: format!("/{id}/{{rest=**}}"),
            access: access.into(),
            ..Default::default()
        };
        let create = v1::CreateRouteRequest {
            route: Some(route),
            ..Default::default()
        };
        rig.admin.create_route(create).unwrap();
    }
    switch(v1::KeyScheme::On);
    let make = |off_the_record| {
        let made = Key {
            off_the_record,
            ..key("a key", &["orders:read"])
        };
        rig.admin.make("default", made)
    };
    let (unseen, seen) = (make(true), make(false));
    all_kinds(&rig, &UNSEEN, &unseen.token);
    all_kinds(&rig, &SEEN, &seen.token);
    let rows = logged(&rig, 7);
    assert_eq!(rows.len(), 7, "{rows:#?}");
    assert!(
        rows.iter()
            .all(|row| row.source_ip == SEEN.address && row.key_id != unseen.id)
    );
    let reasons: Vec<_> = rows.iter().map(v1::LoggedDecision::reason).collect();
    let (nothing, ambiguous) = (Reason::NothingDemanded, Reason::AmbiguousCredential);
    assert_eq!(
        reasons,
        [
            nothing,
            nothing,
            ambiguous,
            Reason::InsufficientScope,
            Reason::Ok,
            Reason::Ok,
            Reason::Ok
        ]
    );
    let routes: Vec<_> = rows.iter().map(|row| row.route.as_str()).collect();
    assert_eq!(routes, ["", "", "", "", "keyless", "open", ""]);
    // Both are counted, by the hour and by nothing finer.
    for made in [&unseen, &seen] {
        let points = usage(&rig, &made.id, 2);
        assert!(
            points
                .iter()
                .all(|p| p.start_time.unwrap().seconds % 3_600 == 0)
        );
    }
    let found = rig.admin.keys("default");
    let used = |id: &str| {
        let key = found.iter().find(|key| key.id == id).unwrap();
        key.last_used_time.unwrap()
    };
    let last_used = used(&unseen.id);
    assert_eq!((last_used.seconds % 3_600, last_used.nanos), (0, 0));

    let metrics = get(&Target::Tcp(rig.process.http), "/metrics", &[]).text();
    assert!(rig.process.stop().success());
    let mut log = rig.process.log.so_far();
    log.push_str(&metrics);
    let places = rig.process.folder().kept();
    for (text, kept) in [
        (SEEN.address, true),
        (SEEN.path, true),
        (UNSEEN.address, false),
        (UNSEEN.path, false),
    ] {
        assert_eq!(stands(text, &places), kept, "{text}");
        assert!(!log.contains(text), "{text}: {log}");
    }
    assert!(!log.contains(&unseen.id));
}

#[test]
fn a_row_of_envoys_has_method_and_path_without_its_query() {
    let rig = Rig::start(&RigOptions::default());
    log_all(&rig);
    let made = rig.admin.make("default", key("a key", &["orders:read"]));
    let path = "/orders/42?page=2&apikey=none";
    let status = rig
        .envoy
        .get(
            path,
            &[header("authorization", format!("Bearer {}", made.token))],
        )
        .status;
    assert_eq!(status, 400);
    assert_eq!(rig.with_key("/orders/43?page=2", &made.token).status, 200);
    let rows = logged(&rig, 2);
    let row = &rows[0];
    assert_eq!(
        (row.method.as_str(), row.path.as_str()),
        ("GET", "/orders/43")
    );
    assert_eq!(
        (row.decision(), row.surface()),
        (Decision::Allow, v1::Surface::Envoy)
    );
    assert_eq!(
        (&row.key_id, row.source_ip.as_str()),
        (&made.id, "127.0.0.1")
    );
    assert_eq!(row.required_scopes, ["orders:read"]);
    assert_eq!(
        (rows[1].path.as_str(), rows[1].reason()),
        ("/orders/42", Reason::AmbiguousCredential)
    );
}
