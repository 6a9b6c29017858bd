//! The tree against a naive matcher, which looks at every route and compares how specific they are.

use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::*;
use crate::domain::route::{Route, RouteSettings};
use crate::domain::time::Time;
use crate::index::intern::Sets;
use crate::index::routes::RouteTable;

fn route(n: usize, settings: RouteSettings) -> Route {
    Route {
        workspace: "acme".parse().unwrap(),
        id: format!("r{n}").parse().unwrap(),
        settings,
        keyless: false,
        create_time: Time::from_micros(0),
        update_time: Time::from_micros(0),
        revision: 1,
    }
}

fn table(routes: &[Route]) -> RouteTable {
    let changes = routes.iter().map(|r| (r.id.clone(), Some(r.clone())));
    RouteTable::changed(None, None, changes, &mut Sets::default()).unwrap_or_default()
}

fn settings(hosts: &[&str], path: &str, methods: &[&str]) -> RouteSettings {
    RouteSettings {
        hosts: hosts.iter().map(|h| h.parse().unwrap()).collect(),
        path: Some(path.parse().unwrap()),
        methods: methods.iter().map(|m| (*m).to_owned()).collect(),
        ..RouteSettings::default()
    }
}

/// How specific a route is for a request: the larger wins. None: it does not take it.
fn specific(
    settings: &RouteSettings,
    host: &str,
    method: &str,
    segments: &[&str],
) -> Option<Vec<usize>> {
    let by_host = match &*settings.hosts {
        [] => Some(0),
        hosts => hosts
            .iter()
            .filter_map(|pattern| match pattern.suffix() {
                None => (pattern.as_str() == host).then_some(usize::MAX),
                Some(suffix) => {
                    (host.len() > suffix.len() && host.ends_with(suffix)).then_some(suffix.len())
                }
            })
            .max(),
    }?;
    let by_method = match &*settings.methods {
        [] => 0,
        methods => methods.iter().any(|m| m == method).then_some(1)?,
    };
    let mut key = vec![by_host];
    let mut left = segments.iter();
    let mut ended = true;
    for segment in settings.path.as_ref()?.segments() {
        if let Segment::Rest(_) = segment {
            key.push(0);
            ended = false;
            break;
        }
        let found = left.next()?;
        key.push(match segment {
            Segment::Literal(text) => (text == found).then_some(3)?,
            _ => 2,
        });
    }
    if ended {
        // The end of the path, said outright, is more than whatever comes.
        left.next().is_none().then_some(())?;
        key.push(1);
    }
    key.push(by_method);
    Some(key)
}

fn naive<'r>(routes: &'r [Route], host: &str, method: &str, segments: &[&str]) -> Option<&'r str> {
    routes
        .iter()
        .filter_map(|r| specific(&r.settings, host, method, segments).map(|s| (s, r.id.as_str())))
        .max()
        .map(|(_, id)| id)
}

fn some_route() -> impl Strategy<Value = RouteSettings> {
    let hosts = subsequence(
        vec![
            "a.example.com",
            "example.com",
            "*.example.com",
            "*.com",
            "*.a.example.com",
        ],
        0..=2,
    );
    let segment = select(vec!["a", "b", "c", "{x}"]);
    let path = (prop::collection::vec(segment, 0..=4), any::<bool>()).prop_map(|(parts, rest)| {
        let named = parts.iter().enumerate().map(|(i, part)| match *part {
            "{x}" => format!("/{{x{i}}}"),
            text => format!("/{text}"),
        });
        let mut path: String = named.collect();
        if rest {
            path.push_str("/{rest=**}");
        }
        if path.is_empty() {
            "/".to_owned()
        } else {
            path
        }
    });
    let methods = subsequence(vec!["GET", "POST", "PUT"], 0..=2);
    (hosts, path, methods).prop_map(|(hosts, path, methods)| settings(&hosts, &path, &methods))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_tree_finds_the_route_that_a_look_at_all_of_them_finds(
        all in prop::collection::vec(some_route(), 1..=12),
        asked in prop::collection::vec((
            select(vec!["a.example.com", "example.com", "b.a.example.com", "x.com", "other", ""]),
            select(vec!["GET", "POST", "DELETE", ""]),
            prop::collection::vec(select(vec!["a", "b", "c", "d"]), 0..=5),
        ), 20),
    ) {
        // As saving does: no two have a shape in common.
        let mut taken = std::collections::BTreeSet::new();
        let mut routes = Vec::new();
        for settings in all {
            let shapes = settings.shapes();
            if taken.is_disjoint(&shapes) {
                taken.extend(shapes);
                routes.push(route(routes.len(), settings));
            }
        }
        let table = table(&routes);
        for (host, method, segments) in asked {
            let path = format!("/{}?q=/z", segments.join("/"));
            let found = table.find(host.as_bytes(), method.as_bytes(), path.as_bytes()).unwrap();
            let found = found.map(|m| m.route.id.as_str().to_owned());
            let expected = naive(&routes, host, method, &segments);
            prop_assert_eq!(found.as_deref(), expected, "{} {} {}", method, host, path);
        }
    }
}

#[track_caller]
fn finds(table: &RouteTable, request: &str, expected: Option<&str>) {
    let mut parts = request.split(' ');
    let [method, host, path] = std::array::from_fn(|_| parts.next().unwrap());
    let found = table
        .find(host.as_bytes(), method.as_bytes(), path.as_bytes())
        .unwrap();
    assert_eq!(found.map(|m| m.route.id.as_str()), expected, "{request}");
}

#[test]
fn the_most_specific_route_takes_a_request() {
    let routes = [
        settings(&[], "/v1/{subscription}/messages", &["POST"]),
        settings(&[], "/v1/gold/messages", &[]),
        settings(&[], "/v1/{rest=**}", &[]),
        settings(&["api.example.com"], "/{rest=**}", &["GET"]),
        settings(&["*.example.com"], "/v1/{subscription}/messages", &[]),
    ];
    let routes: Vec<_> = routes
        .into_iter()
        .enumerate()
        .map(|(n, s)| route(n, s))
        .collect();
    let table = table(&routes);
    for (request, expected) in [
        ("POST x.org /v1/tin/messages", Some("r0")),
        ("POST x.org /v1/tin/messages/", Some("r0")),
        ("POST x.org /v1/gold/messages", Some("r1")),
        ("POST x.org /v1/%67old/messages?a=b", Some("r1")),
        ("GET x.org /v1/tin/messages", Some("r2")),
        ("GET x.org /v1", Some("r2")),
        ("GET x.org /v2", None),
        ("GET API.example.com:443 /v1/gold/messages", Some("r3")),
        ("POST api.example.com /v1/gold/messages", Some("r4")),
        ("PUT api.example.com /v1/x", Some("r2")),
        ("CONNECT x.org /v1", None),
        ("OPTIONS x.org *", None),
    ] {
        finds(&table, request, expected);
    }
    assert_eq!(table.find(b"x.org", b"GET", b"").unwrap().map(|_| ()), None);
    assert!(table.find(b"x.org", b"GET", b"/v1/../v2").is_err());
    assert!(table.find(b"x.org", b"GET", b"*").is_err());
}

#[test]
fn parameters_do_not_get_a_request_around_the_route_that_names_its_segment() {
    let routes = [
        settings(&[], "/v1/admin", &[]),
        settings(&[], "/v1/{rest=**}", &[]),
    ];
    let routes: Vec<_> = routes
        .into_iter()
        .enumerate()
        .map(|(n, s)| route(n, s))
        .collect();
    let table = table(&routes);
    finds(&table, "GET h /v1/other;x=1", Some("r1"));
    for path in [
        "/v1/admin;x=1",
        "/v1/admin%3bx",
        "/v1/admin;",
        "/v1;y/admin",
    ] {
        let found = table.find(b"h", b"GET", path.as_bytes());
        assert_eq!(found.unwrap_err(), BadPath::Parameters, "{path}");
    }
}

#[test]
fn a_grpc_service_is_its_paths() {
    use crate::domain::route::pattern::GrpcService;
    let of = |service: &str, methods: &[&str]| RouteSettings {
        grpc: vec![GrpcService {
            service: service.to_owned(),
            methods: methods.iter().map(|m| (*m).to_owned()).collect(),
        }],
        ..RouteSettings::default()
    };
    let routes = [
        of("a.v1.B", &[]),
        of("a.v1.B", &["Get"]),
        of("a.v1.C", &["Get"]),
    ];
    let routes: Vec<_> = routes
        .into_iter()
        .enumerate()
        .map(|(n, s)| route(n, s))
        .collect();
    let table = table(&routes);
    finds(&table, "POST h /a.v1.B/List", Some("r0"));
    finds(&table, "POST h /a.v1.B/Get", Some("r1"));
    finds(&table, "POST h /a.v1.C/Get", Some("r2"));
    finds(&table, "POST h /a.v1.C/List", None);
}

#[test]
fn a_changed_table_keeps_counts_and_takes_no_older_state() {
    let first = route(0, settings(&[], "/a", &[]));
    let table = table(std::slice::from_ref(&first));
    let now = Time::from_micros(7);
    let reason = crate::domain::decision::Reason::NoCredential;
    table.get("r0").unwrap().uses.note(reason, now);
    let newer = Route {
        revision: 5,
        settings: settings(&[], "/b", &[]),
        ..first.clone()
    };
    let change = |table: &RouteTable, route: Option<Route>| {
        RouteTable::changed(
            Some(table),
            None,
            [("r0".parse().unwrap(), route)],
            &mut Sets::default(),
        )
    };
    let table = change(&table, Some(newer)).unwrap();
    finds(&table, "GET h /b", Some("r0"));
    assert_eq!(table.get("r0").unwrap().uses.read(), [(reason, 1, now)]);
    let table = change(&table, Some(first)).unwrap();
    finds(&table, "GET h /b", Some("r0"));
    assert!(change(&table, None).is_none());
}
