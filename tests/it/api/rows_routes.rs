//! The rows of `Routes`.

use claviger::grpc::proto::v1;

use super::rows::{CONTROL, Foreign, Names, READ, ROUTES, Row, Spoil};
use super::stage::{mask, request_id, routing};

/// In an order in which all good requests succeed.
pub(crate) fn of_routes(n: &Names) -> Vec<Row> {
    vec![create(n), get(n), list(n), find(n), update(n), delete(n)]
}

fn create(n: &Names) -> Row {
    let good = v1::CreateRouteRequest {
        request_id: request_id(60),
        ..routing(&n.workspace, "brand-new", "/brand/{new}")
    };
    fn route(r: &mut v1::CreateRouteRequest) -> &mut v1::Route {
        r.route.as_mut().unwrap()
    }
    fn header(r: &mut v1::CreateRouteRequest, name: &str, demand: v1::header_factor::Demand) {
        let factor = v1::HeaderFactor {
            name: name.to_owned(),
            demand: Some(demand),
            ..Default::default()
        };
        route(r).factors = vec![v1::Factor {
            factor: Some(v1::factor::Factor::Header(factor)),
        }];
    }
    fn jwt(r: &mut v1::CreateRouteRequest, claim: &str) {
        route(r).factors = vec![v1::Factor {
            factor: Some(v1::factor::Factor::Jwt(v1::JwtFactor {
                claim: claim.to_owned(),
                ..Default::default()
            })),
        }];
    }
    fn source(r: &mut v1::CreateRouteRequest, source: v1::subscription_source::Source) {
        route(r).subscription = Some(v1::SubscriptionSource {
            source: Some(source),
        });
    }
    fn location(location: v1::credential_location::Location) -> v1::CredentialLocation {
        v1::CredentialLocation {
            location: Some(location),
        }
    }
    use v1::credential_location::Location;
    use v1::header_factor::Demand;
    use v1::subscription_source::Source;
    let one_of = |values: &[&str], tags: &[&str]| {
        let texts = |list: &[&str]| list.iter().map(|t| (*t).to_owned()).collect();
        Demand::OneOf(v1::HeaderValues {
            values: texts(values),
            tags: texts(tags),
        })
    };
    Spoil::new("Routes/CreateRoute", ROUTES, Foreign::NotFound, good)
        .bad_request_id(|r| &mut r.request_id)
        .bad_wait(|r| (&mut r.wait, &mut r.wait_deadline))
        .bad("route", |r| r.route = None)
        .bad("route.id", |r| route(r).id.clear())
        .bad("route.id", |r| route(r).id = "a b".to_owned())
        .bad("route.display_name", |r| {
            route(r).display_name = CONTROL.to_owned()
        })
        .bad("route.hosts[1]", |r| {
            route(r).hosts = vec!["a.example.com".to_owned(), "a b".to_owned()]
        })
        .bad("route.hosts", |r| {
            route(r).hosts = (0..33).map(|n| format!("h{n}.example.com")).collect()
        })
        .bad("route.hosts", |r| {
            route(r).hosts = (0..32).map(|n| format!("h{n}.example.com")).collect();
            route(r).methods = (b'A'..=b'I').map(|b| char::from(b).to_string()).collect();
        })
        .bad("route.path", |r| route(r).path.clear())
        .bad("route.path", |r| route(r).path = "/a/../b".to_owned())
        .bad("route.path", |r| route(r).path = "/{a}/{a}".to_owned())
        .bad("route.methods[0]", |r| {
            route(r).methods = vec!["get".to_owned()]
        })
        .bad("route.methods[0]", |r| {
            route(r).methods = vec!["CONNECT".to_owned()]
        })
        .bad("route.grpc", |r| {
            route(r).grpc = vec![v1::GrpcService {
                service: "a.B".to_owned(),
                methods: Vec::new(),
            }]
        })
        .bad("route.grpc[0].service", |r| {
            route(r).path.clear();
            route(r).grpc = vec![v1::GrpcService {
                service: "a/B".to_owned(),
                methods: Vec::new(),
            }];
        })
        .bad("route.required_scopes[0]", |r| {
            route(r).required_scopes = vec!["undeclared".to_owned()]
        })
        .bad("route.required_scopes[0]", |r| {
            route(r).required_scopes = vec!["orders:*".to_owned()]
        })
        .bad("route.any_of_scopes[0]", |r| {
            route(r).any_of_scopes = vec!["claviger:keys:read".to_owned()]
        })
        .bad("route.subscription.capture", |r| {
            source(r, Source::Capture("missing".to_owned()))
        })
        .bad("route.subscription.header", |r| {
            source(r, Source::Header("Authorization".to_owned()))
        })
        .bad("route.subscription.fixed", |r| {
            source(r, Source::Fixed("nobody-sells-this".to_owned()))
        })
        .bad("route.factors[0]", |r| {
            route(r).factors = vec![v1::Factor { factor: None }]
        })
        .bad("route.factors[0].jwt.claim", |r| jwt(r, ""))
        .bad("route.factors[0].jwt.claim", |r| jwt(r, CONTROL))
        .bad("route.locations[0]", |r| {
            jwt(r, "sub");
            route(r).locations = vec![location(Location::Bearer(true))];
        })
        .bad("route.locations[0].header", |r| {
            route(r).locations = vec![location(Location::Header("cookie".to_owned()))]
        })
        .bad("route.factors[0].header.name", |r| {
            header(r, "x key", Demand::Present(true))
        })
        .bad("route.factors[0].header.name", |r| {
            header(r, "x-api-key", Demand::Present(true))
        })
        .bad("route.factors[0].header", |r| {
            header(r, "x-tracking", Demand::Present(false))
        })
        .bad("route.factors[0].header.key_with_scope", |r| {
            header(
                r,
                "x-tracking",
                Demand::KeyWithScope("undeclared".to_owned()),
            )
        })
        .bad("route.factors[0].header.one_of", |r| {
            header(r, "x-tracking", one_of(&[], &[]))
        })
        .bad("route.factors[0].header.one_of.values[1]", |r| {
            header(r, "x-tracking", one_of(&["good", "a,b"], &[]))
        })
        .bad("route.factors[0].header.one_of.tags[0]", |r| {
            header(r, "x-tracking", one_of(&[], &["00"]))
        })
        .bad("route.access", |r| {
            route(r).access = v1::Access::Grandfathered.into()
        })
        .bad("route.access", |r| route(r).access = 99)
        .bad("route.labels", |r| {
            route(r).labels = [("Bad Name".to_owned(), String::new())].into()
        })
        .bad("route.claims_hosts", |r| route(r).claims_hosts = true)
        .done()
}

fn get(n: &Names) -> Row {
    let good = v1::GetRouteRequest {
        workspace: n.workspace.clone(),
        id: n.route.clone(),
    };
    Spoil::new("Routes/GetRoute", READ, Foreign::NotFound, good)
        .bad("workspace", |r| r.workspace = CONTROL.to_owned())
        .bad("id", |r| r.id.clear())
        .bad("id", |r| r.id = "x".repeat(65))
        .done()
}

fn list(n: &Names) -> Row {
    let good = v1::ListRoutesRequest {
        workspace: n.workspace.clone(),
        ..Default::default()
    };
    Spoil::new("Routes/ListRoutes", READ, Foreign::NotFound, good)
        .bad("workspace", |r| r.workspace = CONTROL.to_owned())
        .bad("page_size", |r| r.page_size = -1)
        .bad("page_token", |r| r.page_token = CONTROL.to_owned())
        .done()
}

fn find(n: &Names) -> Row {
    let good = v1::MatchRouteRequest {
        workspace: n.workspace.clone(),
        path: "/v1/basic/orders".to_owned(),
        ..Default::default()
    };
    Spoil::new("Routes/MatchRoute", READ, Foreign::NotFound, good)
        .bad("workspace", |r| r.workspace = CONTROL.to_owned())
        .bad("path", |r| r.path.clear())
        .bad("path", |r| r.path = format!("/{}", "x".repeat(8_192)))
        .done()
}

fn update(n: &Names) -> Row {
    let good = v1::UpdateRouteRequest {
        route: Some(v1::Route {
            workspace: n.workspace.clone(),
            id: n.route.clone(),
            display_name: "Orders".to_owned(),
            ..Default::default()
        }),
        update_mask: mask(&["display_name"]),
        request_id: request_id(61),
        ..Default::default()
    };
    fn route(r: &mut v1::UpdateRouteRequest) -> &mut v1::Route {
        r.route.as_mut().unwrap()
    }
    Spoil::new("Routes/UpdateRoute", ROUTES, Foreign::NotFound, good)
        .bad_request_id(|r| &mut r.request_id)
        .bad_wait(|r| (&mut r.wait, &mut r.wait_deadline))
        .bad("route", |r| r.route = None)
        .bad("route.id", |r| route(r).id.clear())
        .bad("route.display_name", |r| {
            route(r).display_name = "x".repeat(129)
        })
        .bad("update_mask", |r| r.update_mask = mask(&["create_time"]))
        .bad("update_mask", |r| r.update_mask = mask(&["keyless_uses"]))
        .bad("route.path", |r| {
            r.update_mask = mask(&["path"]);
            route(r).path = "//".to_owned();
        })
        .bad("route.path", |r| r.update_mask = mask(&["path"]))
        .bad("route.subscription.capture", |r| {
            r.update_mask = mask(&["subscription"]);
            route(r).subscription = Some(v1::SubscriptionSource {
                source: Some(v1::subscription_source::Source::Capture("no".to_owned())),
            });
        })
        .done()
}

fn delete(n: &Names) -> Row {
    let good = v1::DeleteRouteRequest {
        workspace: n.workspace.clone(),
        id: n.spare_route.clone(),
        request_id: request_id(62),
        ..Default::default()
    };
    Spoil::new("Routes/DeleteRoute", ROUTES, Foreign::NotFound, good)
        .bad_request_id(|r| &mut r.request_id)
        .bad_wait(|r| (&mut r.wait, &mut r.wait_deadline))
        .bad("workspace", |r| r.workspace = CONTROL.to_owned())
        .bad("id", |r| r.id = "a/b".to_owned())
        .done()
}
