//! That a key off the record leaves nothing of any request: neither in the databases, nor in log, traces, metrics, POSTbacks.
//! Whatever it does, one that is on the record does after it, so that what is looked for can be found.

use std::path::{Path, PathBuf};

use claviger::grpc::proto::v1::{self, Key, Reason};

use super::recorded::{logged, usage};
use crate::harness::{
    EnvoyOptions, Made, Receiver, Rig, RigOptions, Target, authority, demands, get, header, key,
    register, sooner_or_later,
};

/// What the requests of one client alone hold.
struct Marks {
    /// Where it comes from, a network around that, and an address outside it.
    address: &'static str,
    network: &'static str,
    elsewhere: &'static str,
    path: &'static str,
    query: &'static str,
    agent: &'static str,
    trace: &'static str,
}

const SEEN: Marks = Marks {
    address: "203.0.113.88",
    network: "203.0.113.64/26",
    elsewhere: "192.0.2.111",
    path: "seen-path-8842",
    query: "seen-query-8842",
    agent: "seen-agent-8842",
    trace: "8842c0de8842c0de8842c0de8842c0de",
};
const UNSEEN: Marks = Marks {
    address: "198.51.100.77",
    network: "198.51.100.64/26",
    elsewhere: "192.0.2.201",
    path: "unseen-path-7731",
    query: "unseen-query-7731",
    agent: "unseen-agent-7731",
    trace: "7731c0de7731c0de7731c0de7731c0de",
};

/// One client: its marks, its keys, and who is told of them.
struct Client {
    marks: Marks,
    /// The key that most of its requests present.
    own: Made,
    /// One whose networks are in shadow.
    shadowed: Made,
    /// One that is always on the record, which routes accept with a further key alone.
    ordinary: Made,
    /// That further key.
    further: Made,
    told: Receiver,
}

impl Client {
    fn of(marks: Marks, off_the_record: bool, rig: &Rig) -> Self {
        let told = Receiver::start();
        let make = |made: Key| rig.admin.make("default", made);
        let fenced = || Key {
            off_the_record,
            allowed_cidrs: vec![marks.network.to_owned()],
            postback_url: told.url(),
            ..key("a key", &["orders:read"])
        };
        let shadow = v1::Enforcement {
            network: v1::EnforcementMode::Shadow.into(),
            ..Default::default()
        };
        Self {
            own: make(fenced()),
            shadowed: make(Key {
                enforcement: Some(shadow),
                ..fenced()
            }),
            ordinary: make(key("an ordinary one", &["orders:read"])),
            further: make(Key {
                off_the_record,
                ..key("a further one", &["tracking"])
            }),
            marks,
            told,
        }
    }

    /// The status of a request from there, with this route before its path, and these headers.
    fn asks(&self, rig: &Rig, from: &str, route: &str, headers: &[(&str, &str)]) -> u16 {
        let marks = &self.marks;
        let trace = format!("00-{}-00f067aa0ba902b7-01", marks.trace);
        let mut all = vec![
            header("x-forwarded-for", from),
            header("user-agent", marks.agent),
            header("traceparent", trace),
        ];
        all.extend(headers.iter().map(|(name, value)| header(name, value)));
        let path = format!("{route}/{}?page={}", marks.path, marks.query);
        rig.envoy.get(path, &all).status
    }

    /// Every kind of request that leaves a trace where it may.
    fn does_it_all(&self, rig: &Rig) {
        let (here, elsewhere) = (self.marks.address, self.marks.elsewhere);
        let token = &*self.own.token;
        let with = |route: &str, headers: &[(&str, &str)]| self.asks(rig, here, route, headers);
        let one = [("x-api-key", token)];
        let two = [("x-api-key", token), ("api-key", "another-key-16b")];
        assert_eq!(with("/orders", &one), 200);
        // Where a route is open, or lets pass who has no key; nobody looks whose the key is then, or two may be there.
        assert_eq!(with("/open", &one), 200);
        assert_eq!(with("/keyless", &two), 200);
        // Without a scope it lacks; twice, in a way that can be read differently; and where nothing is demanded, which is
        // told before it is looked at whose the key is.
        assert_eq!(with("/write", &one), 403);
        assert_eq!(with("/orders", &two), 400);
        assert_eq!(with("/undemanded", &one), 403);
        let bearer = format!("Bearer {token}");
        assert_eq!(with("/undemanded", &[("authorization", &bearer)]), 403);
        // Beside another key: where that is let in, and where that is refused.
        let beside = [
            ("x-api-key", &*self.ordinary.token),
            ("x-tracking", &self.further.token),
        ];
        assert_eq!(with("/tracked", &beside), 200);
        assert_eq!(with("/tracked-write", &beside), 403);
        // From outside its networks, which are in shadow or are not.
        let shadowed = [("x-api-key", &*self.shadowed.token)];
        assert_eq!(self.asks(rig, elsewhere, "/orders", &shadowed), 200);
        assert_eq!(self.asks(rig, elsewhere, "/orders", &one), 403);
        // Dead.
        rig.admin.enable(&self.own.id, false).unwrap();
        assert_eq!(with("/orders", &one), 401);
    }

    /// What its receiver was told so far, the kinds in alphabetical order.
    fn events(&self, rig: &Rig) -> Vec<String> {
        let of = |made: &Made| {
            let request = v1::ListDeliveriesRequest {
                key_id: made.id.clone(),
                ..Default::default()
            };
            rig.admin.list_deliveries(request).unwrap().deliveries
        };
        let all = [of(&self.own), of(&self.shadowed)].concat();
        let mut kinds: Vec<_> = all.into_iter().map(|d| d.r#type).collect();
        kinds.sort();
        kinds
    }
}

/// In shapes that the tables of either database and the texts of logs have it.
fn stands(text: &str, places: &[PathBuf]) -> bool {
    let holds = |path: &Path| {
        // A journal may go away meanwhile.
        let bytes = std::fs::read(path).unwrap_or_default();
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

/// Claviger and Envoy with a route of each kind, and everything logged: what is asked, and what the process does.
fn stage() -> Rig {
    let ca = authority().certificate.to_str().unwrap();
    let read = [("scopes", "orders:read")];
    let write = [("scopes", "orders:write")];
    let rig = Rig::start(&RigOptions {
        // For people, the log has the spans of each event too.
        args: vec![
            "--trusted-proxies",
            "127.0.0.0/8",
            "--log",
            "trace",
            "--log-format",
            "pretty",
            "--postback-allow",
            "127.0.0.0/8",
            "--postback-ca-file",
            ca,
        ],
        envoy: EnvoyOptions {
            routes: vec![
                demands("/write", &write),
                demands("/undemanded", &[]),
                demands("/open", &[]),
                demands("/keyless", &[]),
                demands("/tracked", &read),
                demands("/tracked-write", &write),
            ],
            use_remote_address: Some(false),
            ..EnvoyOptions::default()
        },
    });
    let switch = |key_scheme: v1::KeyScheme| {
        rig.admin.change_settings(
            "default",
            v1::WorkspaceSettings {
                key_scheme: key_scheme.into(),
                request_log: v1::RequestLog::All.into(),
                ..Default::default()
            },
        );
    };
    rig.admin.declare("default", &["tracking"]);
    let add = |id: &str, access: v1::Access, factors: Vec<v1::Factor>| {
        let route = v1::Route {
            workspace: "default".to_owned(),
            id: id.to_owned(),
            path: format!("/{id}/{{rest=**}}"),
            access: access.into(),
            factors,
            ..Default::default()
        };
        let create = v1::CreateRouteRequest {
            route: Some(route),
            ..Default::default()
        };
        rig.admin.create_route(create).unwrap();
    };
    let further = || {
        let header = v1::HeaderFactor {
            name: "x-tracking".to_owned(),
            demand: Some(v1::header_factor::Demand::KeyWithScope(
                "tracking".to_owned(),
            )),
            ..Default::default()
        };
        vec![v1::Factor {
            factor: Some(v1::factor::Factor::Header(header)),
        }]
    };
    switch(v1::KeyScheme::Off);
    add("open", v1::Access::Public, Vec::new());
    add("keyless", v1::Access::KeyRequired, Vec::new());
    switch(v1::KeyScheme::On);
    add("tracked", v1::Access::KeyRequired, further());
    add("tracked-write", v1::Access::KeyRequired, further());
    let secret = v1::CreateSigningSecretRequest::default();
    register(&rig.admin.create_signing_secret(secret).unwrap().text);
    rig
}

/// When somebody passed the route from before the last time without a key that will do: once that is written down, and, where
/// a moment is looked for, once it is one.
fn last_keyless(rig: &Rig, moment: bool) -> prost_types::Timestamp {
    sooner_or_later(|| {
        let request = v1::GetRouteRequest {
            workspace: "default".to_owned(),
            id: "keyless".to_owned(),
        };
        let route = rig.admin.get_route(request).unwrap().route.unwrap();
        let last = route.keyless_uses.first().and_then(|used| used.last_time);
        last.filter(|last| !moment || !on_the_hour(*last))
            .ok_or(route.keyless_uses)
    })
}

/// Of the requests of both clients the log has those of one.
fn assert_rows(rig: &Rig) {
    let rows = logged(rig, 12);
    let sources: Vec<_> = rows.iter().map(|row| row.source_ip.as_str()).collect();
    let (here, elsewhere) = (SEEN.address, SEEN.elsewhere);
    let mut expected = [here; 12];
    expected[1..3].fill(elsewhere);
    assert_eq!(sources, expected, "{rows:#?}");
    let found: Vec<_> = rows
        .iter()
        .map(|row| (row.reason(), row.route.as_str()))
        .collect();
    let none = |reason: Reason| (reason, "");
    let expected = [
        none(Reason::KeyDisabled),
        none(Reason::IpNotAllowed),
        none(Reason::Ok),
        (Reason::InsufficientScope, "tracked-write"),
        (Reason::Ok, "tracked"),
        none(Reason::NothingDemanded),
        none(Reason::NothingDemanded),
        none(Reason::AmbiguousCredential),
        none(Reason::InsufficientScope),
        (Reason::Ok, "keyless"),
        (Reason::Ok, "open"),
        none(Reason::Ok),
    ];
    assert_eq!(found, expected);
}

/// What is known of moments: of what a key off the record had part in, nothing finer than the hour.
fn assert_moments(rig: &Rig, client: &Client) {
    for (made, count) in [
        (&client.own, 4),
        (&client.shadowed, 1),
        (&client.ordinary, 2),
    ] {
        let points = usage(rig, &made.id, count);
        let mut starts = points.iter().map(|point| point.start_time.unwrap());
        assert!(starts.all(on_the_hour));
    }
    let off = client.marks.address == UNSEEN.address;
    let own = [
        &client.own,
        &client.shadowed,
        &client.ordinary,
        &client.further,
    ];
    for made in own {
        let last_used = sooner_or_later(|| {
            let keys = rig.admin.keys("default");
            let key = keys.into_iter().find(|key| key.id == made.id).unwrap();
            key.last_used_time.ok_or(key.id)
        });
        assert_eq!(on_the_hour(last_used), off, "{}", made.id);
    }
}

fn on_the_hour(time: prost_types::Timestamp) -> bool {
    (time.seconds % 3_600, time.nanos) == (0, 0)
}

#[test]
fn a_key_off_the_record_leaves_nothing_in_databases_log_traces_metrics_and_postbacks() {
    let mut rig = stage();
    let mut unseen = Client::of(UNSEEN, true, &rig);
    let mut seen = Client::of(SEEN, false, &rig);
    unseen.does_it_all(&rig);
    assert!(on_the_hour(last_keyless(&rig, false)));
    seen.does_it_all(&rig);
    assert!(!on_the_hour(last_keyless(&rig, true)));
    assert_rows(&rig);
    assert_moments(&rig, &unseen);
    assert_moments(&rig, &seen);

    // What strangers did is told in its order: once the last of it is, what is not told by then never is.
    let created = "key.created";
    let told = rig.admin.runtime.block_on(seen.told.take(6));
    let told: String = told.into_iter().map(|arrived| arrived.body).collect();
    let (dead, outside) = ("key.dead_key_used", "key.used_outside_networks");
    let expected = [created, created, dead, "key.disabled", outside, outside];
    assert_eq!(seen.events(&rig), expected);
    assert_eq!(unseen.events(&rig), [created, created, "key.disabled"]);
    assert!(told.contains(SEEN.address) && told.contains(SEEN.elsewhere));

    let metrics = get(&Target::Tcp(rig.process.http), "/metrics", &[]).text();
    let counted = "claviger_decisions_total{surface=\"envoy\",reason=\"INSUFFICIENT_SCOPE\"} 4";
    assert!(metrics.contains(counted), "{metrics}");
    // With the journals of the databases, which an orderly stop leaves empty, and without.
    let places = rig.process.folder().kept();
    let running = |text: &str| stands(text, &places);
    let dump = rig.process.folder().dump();
    let found = |text: &str| running(text) || dump.contains(text);
    assert!(
        [UNSEEN.address, UNSEEN.elsewhere, UNSEEN.path]
            .iter()
            .all(|text| !found(text))
    );
    assert!(rig.process.stop().success());
    let log = rig.process.log.rest();
    assert!(log.contains(" TRACE ") && log.contains("Connection{peer=Server}"));
    let places = rig.process.folder().kept();
    let untold: String = unseen.told.rest().into_iter().map(|a| a.body).collect();
    let only_told = [log, metrics].concat();
    for marks in [SEEN, UNSEEN] {
        let seen = marks.address == SEEN.address;
        // What is kept of a request, where anything is.
        for text in [marks.address, marks.elsewhere, marks.path] {
            assert_eq!(stands(text, &places) || dump.contains(text), seen, "{text}");
            assert!(
                !only_told.contains(text) && !untold.contains(text),
                "{text}"
            );
        }
        // What never is.
        for text in [marks.query, marks.agent, marks.trace] {
            assert!(!stands(text, &places) && !dump.contains(text), "{text}");
            assert!(
                !only_told.contains(text) && !untold.contains(text),
                "{text}"
            );
        }
    }
    for made in [&unseen.own, &unseen.shadowed, &unseen.further] {
        assert!(!only_told.contains(&made.id), "{}", made.id);
    }
}
